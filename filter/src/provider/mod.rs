//! The provider role: upstream, once per attempt.

pub mod error;
pub mod headers;
pub mod judge;
pub mod openai;
pub mod role;
pub mod sse;
