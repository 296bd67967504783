//! Translate: what all wire formats have in common, seen from a client that speaks OpenAI's chat completions.
//!
//! Pure. Each format is a folder with three parts: `request` turns a chat completion request into the provider's,
//! `answer` turns its whole answer back, `stream` its events. They take bytes and write bytes, call no host and know no
//! clock; a body that cannot be translated is an error that names the field and never quotes it.

use super::sse::Event;
use crate::chat::error::ErrorReply;
use crate::chat::usage::Usage;

/// What a request needs beside the client's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask<'a> {
    /// The model's name at the provider.
    pub model: &'a str,
    pub stream: bool,
    /// Tokens to allow where the client sets no limit and the provider wants one.
    pub max_tokens: u32,
    pub unsupported: Unsupported,
    /// Mark long stable prefixes for the provider's prompt cache, where it has to be told.
    pub prompt_cache: bool,
}

/// What becomes of a parameter that the provider has no counterpart for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unsupported {
    /// Left out, and named in [`Asked::dropped`].
    #[default]
    Drop,
    /// The request is answered 400, naming the field.
    Refuse,
}

/// A request in the provider's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub body: Vec<u8>,
    /// Parameters that were left out, as the client names them, each once.
    pub dropped: Vec<&'static str>,
}

/// A request as a provider wants it, or why there is none.
pub type AskResult = Result<Asked, ErrorReply>;

/// What an answer needs beside the provider's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// Seconds since 1970, for `created`.
    pub created: u64,
    /// For answers that do not name their model.
    pub model: &'a str,
    /// A stream ends in a chunk of usage: the client asked for it (`stream_options.include_usage`).
    pub include_usage: bool,
}

/// A whole answer in OpenAI's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub body: Vec<u8>,
    pub usage: Usage,
}

/// The provider's 200 is none: not of its format, or an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an answer of the provider's format")]
pub struct NoAnswer;

/// What one event of a stream was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing that a client would show or act on: a ping, a role, a start.
    Silent,
    /// Content, a tool call, thinking, a finish reason, a refusal.
    Real,
    /// The stream is complete; `data: [DONE]` was written. What follows is ignored.
    Done,
    /// An error, or not of the format: an OpenAI error event was written, and what follows is ignored.
    Failed,
}

/// A stream being translated: server-sent events in, server-sent events of the client's format out.
pub trait Translator: std::fmt::Debug {
    /// Appends what the client gets for `event` to `out`.
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Progress;

    /// The provider's stream has ended. If it was not complete an error event is appended, so that no client takes it
    /// for a whole answer.
    fn end(&mut self, out: &mut Vec<u8>) -> Progress;

    /// The answer is complete but for words that are only said at [`Translator::end`]: what was said since may wait for them,
    /// since a stream that ends in trailers has no place for words of its own.
    fn waits_for_end(&self) -> bool {
        false
    }

    /// What is known of the tokens so far.
    fn usage(&self) -> Usage;
}
