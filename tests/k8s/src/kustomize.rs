//! What a folder's kustomization builds, by `kubectl kustomize`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pointsman_tests::k8s::kustomize;
use pointsman_tests::render::root;
use serde::Deserialize;
use serde_json::Value;

/// The names that kustomize looks for.
const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The resources of a folder, in kustomize's order. None is no error: a folder may hold what others build from.
pub fn build(folder: &Path) -> Result<Vec<Value>, String> {
    documents(&kustomize::text(folder)?).map_err(|e| format!("kubectl wrote what is no YAML: {e}"))
}

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

/// The documents of a YAML file; empty ones are left out.
pub(crate) fn documents(yaml: &str) -> Result<Vec<Value>, serde_norway::Error> {
    let mut documents = Vec::new();
    for document in serde_norway::Deserializer::from_str(yaml) {
        let document = Value::deserialize(document)?;
        if !document.is_null() {
            documents.push(document);
        }
    }
    Ok(documents)
}

/// The folder as a reader of the output knows it: from the repository, if it is in it.
pub fn shown(folder: &Path) -> String {
    let from_root = folder.strip_prefix(root()).unwrap_or(folder);
    from_root.display().to_string()
}
