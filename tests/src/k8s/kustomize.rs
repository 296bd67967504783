//! `kubectl kustomize`, which works without a cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_norway::Value;

use crate::render;

/// The resources that a folder builds to, in kustomize's order. None is no error: a folder may hold what others build from.
pub fn build(folder: &Path) -> Result<Vec<Value>, String> {
    documents(&text(folder)?).map_err(|e| format!("kubectl wrote what is no YAML: {e}"))
}

/// The same as YAML. No cluster is asked for anything.
pub fn text(folder: &Path) -> Result<String, String> {
    let kubectl = kubectl()?.ok_or(
        "kubectl is missing: `make k8s-check` installs one on linux x86-64; elsewhere https://kubernetes.io/docs/tasks/tools, \
         or name one: KUBECTL=/path/to/kubectl",
    )?;
    let output = Command::new(&kubectl)
        .arg("kustomize")
        .arg(folder)
        .output()
        .map_err(|e| format!("{}: {e}", kubectl.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `KUBECTL`, or the one that make installed, or the one of the `PATH`.
pub fn kubectl() -> Result<Option<PathBuf>, String> {
    if let Some(named) = render::var("KUBECTL")? {
        return Ok(Some(named.into()));
    }
    Ok(executable(".venv/kubectl", "kubectl"))
}

/// A program: in the folder that make installs it into, else on the `PATH`.
pub fn executable(installed: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders =
        std::iter::once(render::root().join(installed)).chain(std::env::split_paths(&path));
    folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
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
