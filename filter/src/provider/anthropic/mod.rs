//! Anthropic's wire format: Messages, first-party.
//!
//! Pure. Written from Anthropic's API reference, <https://docs.claude.com/en/api/messages> and its pages on streaming,
//! tool use, extended thinking, prompt caching and errors.

pub mod answer;
pub mod error;
pub mod stream;
