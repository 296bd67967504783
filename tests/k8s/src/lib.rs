//! What Kubernetes gets.

pub mod image;
