//! The cases under `tests/fixtures/gemini/`.

use std::fs;
use std::path::Path;

/// Name and text of every case of one part.
pub(super) fn cases(part: &str, at_least: usize) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/gemini")
        .join(part);
    let mut cases: Vec<(String, String)> = fs::read_dir(&folder)
        .expect("the folder of fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy();
            (
                name.into_owned(),
                fs::read_to_string(&path).expect("a fixture"),
            )
        })
        .collect();
    cases.sort();
    assert!(
        cases.len() >= at_least,
        "{part}: {} cases, expected {at_least}",
        cases.len()
    );
    cases
}
