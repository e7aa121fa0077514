//! The part of docs/reference that is written from the binary. With `LANDFALL_BLESS=1` its tests write it anew.

mod flags;
mod metrics;
mod monitoring;

use std::{fs, path::Path};

fn is_up_to_date(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    if std::env::var_os("LANDFALL_BLESS").is_some() {
        fs::write(&file, text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    for (number, (found, wanted)) in found.lines().zip(text.lines()).enumerate() {
        assert_eq!(found, wanted, "{} line {}", file.display(), number + 1);
    }
    assert!(found == text, "{} is out of date; run the tests with LANDFALL_BLESS=1", file.display());
}
