//! What Kubernetes gets, proved without a cluster: that kustomize builds `k8s/`, that each resource is what its schema says, and the
//! filter's image.

use std::path::{Path, PathBuf};

pub mod builtin;
pub mod check;
pub mod crds;
pub mod image;
pub mod keywords;
pub mod kustomize;
pub mod report;
pub mod resource;
pub mod schema;

/// The repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// A variable of the environment; empty is as if it were not there, as make exports it.
fn var(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// An executable: where make installs it, else on the `PATH`.
fn executable(installed: &str, name: &str) -> Option<PathBuf> {
    let installed = root().join(installed);
    if installed.is_file() {
        return Some(installed);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
