//! Real Envoys, real providers.

pub mod client;
pub mod load;
pub mod upstream;
pub mod wire;
