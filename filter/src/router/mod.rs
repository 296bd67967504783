//! The router role: downstream, once per request.

pub mod cache;
