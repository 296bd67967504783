//! Real Envoys, real HTTP providers, and what measures them.

pub mod chaos;
pub mod client;
pub mod edit;
pub mod envoy;
pub mod gateway;
pub mod health;
pub mod http2;
pub mod k8s;
pub mod load;
pub mod others;
pub mod policy_file;
pub mod port;
pub mod render;
pub mod scenes;
pub mod standin;
pub mod tap;
pub mod until;
pub mod upstream;
pub mod wire;
