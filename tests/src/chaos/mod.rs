//! Chaos: providers that fail in every way, behind a real Envoy under load, and the count of what clients got.
//!
//! `make chaos` plays all of it, `tests/chaos.rs` a part. A request is *lost* when its client has no complete good answer
//! though a target was healthy and nothing had been released to it.

pub mod cell;
pub mod client;
pub mod fault;
pub mod gateway;
pub mod hostile;
pub mod judge;
pub mod live;
pub mod moving;
pub mod run;
mod script;
pub mod server;
pub mod table;
