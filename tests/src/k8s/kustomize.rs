//! `kubectl kustomize`, which works without a cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_norway::Value;

use crate::render;

/// The resources that a folder builds to, in kustomize's order, as the YAML or JSON that `T` says. None is no error: a folder may hold
/// what others build from.
pub fn build<T: DeserializeOwned>(folder: &Path) -> Result<Vec<T>, String> {
    documents(&text(folder)?).map_err(|e| format!("kubectl wrote what is no YAML: {e}"))
}

/// The same as YAML. No cluster is asked for anything.
fn text(folder: &Path) -> Result<String, String> {
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
fn kubectl() -> Result<Option<PathBuf>, String> {
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
pub fn documents<T: DeserializeOwned>(yaml: &str) -> Result<Vec<T>, serde_norway::Error> {
    let documents = serde_norway::Deserializer::from_str(yaml);
    documents
        .filter_map(|document| Option::deserialize(document).transpose())
        .collect()
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
