//! Kubernetes without a cluster: manifests are built as a user builds them, and what a mesh's control plane would make of them
//! is written down as a configuration in the layout of `envoy/`, which the renderer and every scene take instead.

pub mod envoy_gateway;
pub mod istio;
pub mod kustomize;
pub mod layout;
pub mod patch;

use std::path::Path;

/// Builds a variant by its name, and writes what its proxy is served into `dir`.
pub fn write(name: &str, dir: &Path) -> Result<(), String> {
    match name {
        "envoy-gateway" => {
            let folder = crate::render::root().join("k8s/envoy-gateway");
            envoy_gateway::write_layout(&kustomize::build(&folder)?, dir)
        }
        "istio-gateway" => istio::write(&istio::GATEWAY, dir),
        "istio-sidecar" => istio::write(&istio::SIDECAR, dir),
        _ => Err(format!("no configuration {name:?}; there are: {NAMES}")),
    }
}

const NAMES: &str = "envoy-gateway, istio-gateway, istio-sidecar";
