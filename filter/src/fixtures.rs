//! The cases under `tests/fixtures/`: a file each, named for what it shows. For tests only.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

/// Name and text of every case of one part, such as `gemini/answer`, by name.
pub(crate) fn cases(part: &str, at_least: usize) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(part);
    let mut cases: Vec<(String, String)> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| {
            let path = entry.expect("an entry").path();
            assert!(path.extension().is_some_and(|e| e == "json"), "{path:?}");
            let name = path.file_stem().expect("a name").to_string_lossy();
            let text = fs::read_to_string(&path).expect("UTF-8");
            (name.into_owned(), text)
        })
        .collect();
    cases.sort();
    assert!(cases.len() >= at_least, "{part}: {} cases", cases.len());
    cases
}

/// The same, read.
pub(crate) fn read<T: DeserializeOwned>(part: &str, at_least: usize) -> Vec<(String, T)> {
    let read = |(name, text): (String, String)| {
        let case = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{part}: {name}: {e}"));
        (name, case)
    };
    cases(part, at_least).into_iter().map(read).collect()
}

/// Fails where a source is no address of a web page.
pub(crate) fn check_source(name: &str, source: &str) {
    assert!(source.starts_with("https://"), "{name}: no source");
}
