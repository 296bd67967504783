//! View: what routing needs to know of a Messages request, read in one pass over its body.
//!
//! Read as chat completions are, by the same code and into the same types, so that everything behind it is blind to
//! which of the two a client speaks. Nothing of the body is kept but the model's name and text up to the cut.
//!
//! What differs, after <https://docs.claude.com/en/api/messages>:
//! - `system` stands at the top level, a string or an array of text blocks. Messages of role `system`, which newer
//!   models take, are joined to it.
//! - Tool results are blocks of user messages. A message of nothing else is a turn of a tool loop, not the user's: the
//!   latest user message is one that holds something more.
//! - `max_tokens` is required, but where the tokens are only counted.

use crate::chat::request::{BadRequest, ChatRequest, Cut, Dialect, read};

/// Reads a request's body; memory beyond the body is bounded by `cut`.
pub fn parse(body: &[u8], cut: Cut) -> Result<ChatRequest, BadRequest> {
    read(body, cut, Dialect::Messages)
}

/// Reads the body of a request to count its tokens.
pub fn parse_count(body: &[u8], cut: Cut) -> Result<ChatRequest, BadRequest> {
    read(body, cut, Dialect::CountTokens)
}

#[cfg(test)]
mod tests;
