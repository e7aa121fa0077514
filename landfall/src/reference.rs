//! The part of docs/reference that is written from the binary. With `LANDFALL_BLESS=1` its tests write it anew.

mod flags;
mod iam;
mod metrics;
mod monitoring;

use std::{fs, path::Path};

fn is_up_to_date(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    // Only the whole binary has all of it.
    if std::env::var_os("LANDFALL_BLESS").is_some() && cfg!(feature = "aws") {
        fs::write(&file, text).unwrap();
    }
    let mut found = fs::read_to_string(&file).unwrap_or_default();
    if cfg!(not(feature = "aws")) {
        // What this build has not is not looked at.
        found = found.split_inclusive('\n').filter(|line| !line.contains("`landfall_aws_")).collect();
    }
    for (number, (found, wanted)) in found.lines().zip(text.lines()).enumerate() {
        assert_eq!(found, wanted, "{} line {}", file.display(), number + 1);
    }
    assert!(found == text, "{} is out of date; run the tests with LANDFALL_BLESS=1", file.display());
}
