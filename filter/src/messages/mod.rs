//! Clients that speak Anthropic's Messages: their requests as chat completions, and the answers back.
//!
//! Pure. The way there and back goes through OpenAI's format, so that any target can serve such a client; a target that
//! speaks Messages itself gets the client's own body.

pub mod answer;
pub mod canned;
pub mod error;
pub mod request;
pub mod stream;
pub mod view;
