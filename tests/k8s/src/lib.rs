//! What Kubernetes gets, proved without a cluster: that kustomize builds `k8s/`, that each resource is what its schema says, and the
//! filter's image.

pub mod builtin;
pub mod check;
pub mod crds;
pub mod image;
pub mod keywords;
pub mod kustomize;
pub mod report;
pub mod resource;
pub mod schema;
