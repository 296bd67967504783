//! `kubectl kustomize`, which works without a cluster.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_norway::Value;

use crate::render;

/// The resources that a folder builds to.
pub fn build(dir: &Path) -> Result<Vec<Value>, String> {
    let kubectl = render::var("KUBECTL")?.unwrap_or_else(|| "kubectl".into());
    let fail = |e: &str| format!("{kubectl} kustomize {}: {e}", dir.display());
    let out = Command::new(&kubectl)
        .arg("kustomize")
        .arg(dir)
        .output()
        .map_err(|e| fail(&format!("{e}; name one by KUBECTL=/path/to/kubectl")))?;
    if !out.status.success() {
        return Err(fail(String::from_utf8_lossy(&out.stderr).trim()));
    }
    documents(&String::from_utf8_lossy(&out.stdout)).map_err(|e| fail(&e))
}

/// Every document of a YAML stream that is not empty.
pub fn documents(yaml: &str) -> Result<Vec<Value>, String> {
    let documents = serde_norway::Deserializer::from_str(yaml).map(Value::deserialize);
    let read: Result<Vec<Value>, _> = documents.collect();
    let mut read = read.map_err(|e| e.to_string())?;
    read.retain(|document| !document.is_null());
    Ok(read)
}

/// Those of one kind.
pub fn of_kind<'a>(resources: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    resources.iter().filter(move |r| r["kind"] == kind)
}

/// The one of this kind and name.
pub fn named<'a>(resources: &'a [Value], kind: &str, name: &str) -> Result<&'a Value, String> {
    let mut found = resources
        .iter()
        .filter(|r| r["kind"] == kind && r["metadata"]["name"] == name);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(format!("no {kind} {name:?} among what was built")),
        _ => Err(format!("two {kind} {name:?}")),
    }
}
