//! Changes to what was rendered, before or while Envoy runs: an operator's edits, and an operator's mistakes.
//!
//! Each is written by rename, as the renderer writes.

use std::fs;
use std::path::Path;

use serde_norway::Value;

/// Replaces `from`, which must be there, wherever it is.
pub fn replace(dir: &Path, file: &str, from: &str, to: &str) {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(text.contains(from), "{file} has no {from:?} to replace");
    write(dir, file, text.replace(from, to));
}

/// Changes a YAML file in structure.
pub fn yaml(dir: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut value = serde_norway::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
    change(&mut value);
    let text = serde_norway::to_string(&value).expect("YAML is written again");
    write(dir, file, text);
}

/// Replaces a whole file.
pub fn write(dir: &Path, file: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.join(file);
    let mut new = path.clone();
    new.set_extension("edited");
    fs::write(&new, bytes).unwrap_or_else(|e| panic!("{}: {e}", new.display()));
    fs::rename(&new, &path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
