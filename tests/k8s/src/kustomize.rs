//! The folders that `kubectl kustomize` builds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pointsman_tests::render::root;
use serde_json::Value;

/// The names that kustomize looks for.
const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Every folder under this one that builds by itself: a component builds only as part of another.
pub fn folders(under: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![under.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            }
        }
        if builds(&folder) {
            found.push(folder);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether there is a kustomization that is no component. One that cannot be read builds, and fails then.
fn builds(folder: &Path) -> bool {
    let mut files = FILES.iter().map(|name| folder.join(name));
    let Some(file) = files.find(|file| file.is_file()) else {
        return false;
    };
    let document = fs::read_to_string(file).ok();
    let document: Option<Value> = document.and_then(|text| serde_norway::from_str(&text).ok());
    document.is_none_or(|document| document["kind"] != "Component")
}

/// The folder as a reader of the output knows it: from the repository, if it is in it.
pub fn shown(folder: &Path) -> String {
    let from_root = folder.strip_prefix(root()).unwrap_or(folder);
    from_root.display().to_string()
}
