//! Real Envoys, real providers.

pub mod envoy;
pub mod policy_file;
pub mod render;
pub mod standin;
