//! The suite: a real Envoy, real HTTP providers, one file for each thing that must hold.
//!
//! One binary, since each would link the same crates again. Its scenes share a process and run side by side: each has
//! ports and folders of its own, and none changes the environment or the working folder. What needs the machine for
//! itself is a binary of its own, beside this one.
//!
//! One file: `cargo test --workspace --test suite cascade::`. With another selection of packages, dependencies have other
//! features and are compiled again.

mod admit;
mod answers;
mod budget;
mod cache;
mod cascade;
mod classify;
mod cooldown;
mod decide;
mod dependencies;
mod failover;
mod fit;
mod formats;
mod hostile;
mod k8s;
mod main_job;
mod metrics;
mod misconfigured;
mod model;
mod order;
mod policy;
mod readme;
mod repo;
mod sdk;
mod sdk_formats;
mod secrets;
mod serve;
mod tls;
mod vm;
