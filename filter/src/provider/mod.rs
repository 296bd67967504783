//! The provider role: upstream, once per attempt.

pub mod adapt;
pub mod anthropic;
pub mod error;
pub mod gemini;
pub mod headers;
pub mod judge;
pub mod openai;
pub(crate) mod parameters;
pub mod passing;
pub mod role;
pub mod sse;
pub mod translate;
