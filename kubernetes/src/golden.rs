//! Files of the repository that are written from the code.

use std::{fs, path::Path};

/// Compares the file at `path`, seen from this crate's folder, with what the code says. `LANDFALL_BLESS=1` writes it anew.
pub(crate) fn is_up_to_date(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("LANDFALL_BLESS").is_some() {
        fs::write(&file, text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{} is out of date; run the tests with LANDFALL_BLESS=1", file.display());
}
