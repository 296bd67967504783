//! Pointsman: AI request routing inside Envoy.
//!
//! One `.wasm`, two roles, chosen by the plugin's `root_id`: `router` (downstream, once per request) and
//! `provider` (upstream, once per attempt). Everything but [`host`] is pure: bytes and values in, values out.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod chat;
pub mod classify;
#[cfg(test)]
mod fixtures;
pub mod fnv;
pub mod health;
#[cfg(target_family = "wasm")]
mod host;
pub mod http;
pub mod messages;
pub mod policy;
pub mod provider;
pub mod router;
pub mod telemetry;
pub mod worker;

#[cfg(target_family = "wasm")]
proxy_wasm::main! {{
    host::start();
}}
