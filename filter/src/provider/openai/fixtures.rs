//! The cases under `tests/fixtures/openai/`: one file each, named for what it shows.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

/// Every case of a part, by its file's name.
pub(super) fn cases<T: DeserializeOwned>(part: &str, at_least: usize) -> Vec<(String, T)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/openai")
        .join(part);
    let mut cases: Vec<(String, T)> = fs::read_dir(&folder)
        .expect("a folder of cases")
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let json = fs::read_to_string(&path).expect("a readable case");
            let case = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, case)
        })
        .collect();
    assert!(
        cases.len() >= at_least,
        "{part}: only {} cases",
        cases.len()
    );
    cases.sort_by(|(a, _), (b, _)| a.cmp(b));
    cases
}

/// Fails where a source is no address of a web page.
pub(super) fn check_source(name: &str, source: &str) {
    assert!(source.starts_with("https://"), "{name}: no source");
}
