//! Texts that are kept in a file beside the tests, to be compared word for word.

use std::fs;

/// Compares what is said now with what is kept in a file of `tests`. `BLESS=1` writes it; read the difference.
pub fn compare(file: &str, text: &str) {
    let path = format!("{}/tests/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, text).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap();
    let different = kept.lines().zip(text.lines()).find(|(was, is)| was != is);
    assert!(kept == text, "BLESS=1 writes {path}\nwas, is: {different:#?}");
}
