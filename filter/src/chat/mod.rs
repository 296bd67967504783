//! OpenAI chat completions: what is read is typed, what is not read is kept as it came.
//!
//! Pure. A message made here never holds text of a body: at most a key's name, cleaned and cut.

pub(crate) mod content;
pub mod error;
pub(crate) mod fault;
pub(crate) mod json;
mod message;
pub mod models;
pub mod needs;
pub mod request;
pub mod usage;
