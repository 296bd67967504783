//! The Envoy that is measured: `envoy/` as it is served, with the filter.

use crate::envoy::Envoy;
use crate::{Result, Setup};

/// Renders `envoy/` into `setup.dir/ours` with every provider at `setup.provider_port`, and starts it.
pub async fn start_ours(_setup: &Setup, _concurrency: u32) -> Result<Envoy> {
    Err("this tree has no renderer yet; --control compares two bare Envoys".into())
}
