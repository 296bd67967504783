//! What the client, the log and the metrics are told.

pub mod headers;
pub mod metrics;
pub mod report;
pub mod state;
pub mod tokens;
