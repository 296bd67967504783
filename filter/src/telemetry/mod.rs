//! What the client, the log and the metrics are told.

pub mod headers;
pub mod metrics;
