//! The CustomResourceDefinitions of a folder: which kinds there are, and each one's schema.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pointsman_tests::k8s::kustomize::documents;
use pointsman_tests::render::root;
use serde_json::Value;

use crate::resource::Gvk;

/// Beside the checkout, where `CRDS` names no other folder.
pub const DEFAULT: &str = "../shared/data/crds";

/// How to get them, for who has none. The versions are those that the manifests were last checked with.
pub const ORIGINS: &str = "  Istio (about 1.31)           manifests/charts/base/files/crd-all.gen.yaml of https://github.com/istio/istio at a release's tag
  Envoy Gateway (after 1.9.0)  charts/gateway-helm/charts/crds/crds/generated/*.yaml of https://github.com/envoyproxy/gateway at a release's tag
  Gateway API (after 1.6.1)    standard-install.yaml of https://github.com/kubernetes-sigs/gateway-api/releases; experimental-install.yaml has more kinds
  Prometheus operator          example/prometheus-operator-crd/*.yaml of https://github.com/prometheus-operator/prometheus-operator at a release's tag";

/// The schemas by what they are for.
#[derive(Debug)]
pub struct Crds {
    pub folder: PathBuf,
    schemas: BTreeMap<Gvk, Value>,
}

/// The folder that is named, or by `CRDS`, or the default if it is there. `Err`: the one that is named is none.
pub fn folder(named: Option<PathBuf>) -> Result<Option<PathBuf>, String> {
    // Empty is as if it were not there, as make exports it.
    let of_environment = std::env::var_os("CRDS").filter(|folder| !folder.is_empty());
    match named.or(of_environment.map(PathBuf::from)) {
        Some(folder) if folder.is_dir() => Ok(Some(folder)),
        Some(folder) => Err(format!("CRDs: {} is no folder", folder.display())),
        None => Ok(Some(root().join(DEFAULT)).filter(|folder| folder.is_dir())),
    }
}

/// YAML files, those nearest to the top first: a kind that a folder below has too (another channel's) is the upper one's.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut level = vec![folder.to_owned()];
    while !level.is_empty() {
        let mut below = Vec::new();
        let mut here = Vec::new();
        for folder in level {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                match path.extension() {
                    _ if path.is_dir() => below.push(path),
                    Some(extension) if extension == "yaml" || extension == "yml" => here.push(path),
                    _ => {}
                }
            }
        }
        here.sort();
        found.append(&mut here);
        level = below;
    }
    Ok(found)
}

// === impl Crds ===

impl Crds {
    /// Every definition in a folder tree. What else its files hold is left out.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let mut schemas = BTreeMap::new();
        let files = files(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for file in files {
            let named = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
            let text = fs::read_to_string(&file).map_err(|e| named(&e))?;
            if !text.contains("CustomResourceDefinition") {
                continue;
            }
            for document in documents(&text).map_err(|e| named(&e))? {
                for (gvk, schema) in definitions(document) {
                    schemas.entry(gvk).or_insert(schema);
                }
            }
        }
        if schemas.is_empty() {
            return Err(format!("{}: holds no CRD", folder.display()));
        }
        Ok(Self {
            folder: folder.to_owned(),
            schemas,
        })
    }

    pub fn schema(&self, gvk: &Gvk) -> Option<&Value> {
        self.schemas.get(gvk)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Gvk, &Value)> {
        self.schemas.iter()
    }
}

/// The served versions of a CRD; none, if it is another kind of resource.
fn definitions(mut document: Value) -> Vec<(Gvk, Value)> {
    if document["kind"] != "CustomResourceDefinition" {
        return Vec::new();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let group = text(&document["spec"]["group"]);
    let kind = text(&document["spec"]["names"]["kind"]);
    let Value::Array(versions) = document["spec"]["versions"].take() else {
        return Vec::new();
    };
    versions
        .into_iter()
        .filter(|version| version["served"] == true)
        .map(|mut version| {
            let gvk = Gvk {
                group: group.clone(),
                version: text(&version["name"]),
                kind: kind.clone(),
            };
            (gvk, version["schema"]["openAPIV3Schema"].take())
        })
        .collect()
}
