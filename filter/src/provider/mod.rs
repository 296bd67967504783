//! The provider role: upstream, once per attempt.

pub mod sse;
