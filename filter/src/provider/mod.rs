//! The provider role: upstream, once per attempt.

pub mod judge;
pub mod sse;
