//! Kubernetes without a cluster: manifests are built as a user builds them, and what a mesh's control plane would make of them
//! is written down as a configuration in the layout of `envoy/`, which the renderer and every scene take instead.

pub mod envoy_gateway;
pub mod istio;
pub mod kustomize;
pub mod layout;
pub mod patch;
