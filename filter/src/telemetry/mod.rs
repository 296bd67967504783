//! What the client, the log and the metrics are told.
