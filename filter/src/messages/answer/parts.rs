//! Parts that a whole Message and a streamed one have in common.
//!
//! <https://docs.claude.com/en/api/messages> and <https://docs.claude.com/en/api/handling-stop-reasons>.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};

use serde_json::value::RawValue;

use super::completion::Text;
use crate::chat::usage::Usage;

/// The prefix of a Message's id. Clients and logs tell Messages by it.
const ID_PREFIX: &str = "msg_";

/// A Message's id: the completion's own, with the prefix.
pub(in crate::messages) struct MessageId<'a>(Option<Text<'a>>);

/// A tool use's id: the call's own, or one that is unique as long as the completion's id is.
///
/// The client sends it back, maybe to Anthropic, which refuses ids with other characters than letters, digits, `_` and `-`
/// (<https://docs.claude.com/en/api/messages>). So where there are others `_` takes their place, and a hash is added: ids
/// that differ stay different, and the same id becomes the same in whole answers and in streams.
pub(in crate::messages) struct ToolUseId<'a> {
    pub call: Option<Text<'a>>,
    pub completion: Option<Text<'a>>,
    /// Which block of the message it is.
    pub block: u32,
}

/// Usage as Anthropic counts it: what was read from and written to the cache is not part of `input_tokens`.
pub(in crate::messages) struct MessageUsage(pub Usage);

// === impl MessageId ===

impl<'a> MessageId<'a> {
    pub fn new(id: Option<&'a RawValue>) -> Self {
        Self(Text::read(id))
    }
}

impl fmt::Display for MessageId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) if id.0.starts_with(ID_PREFIX) => write!(f, "{id}"),
            Some(id) => write!(f, "{ID_PREFIX}{id}"),
            None => write!(f, "{ID_PREFIX}unnamed"),
        }
    }
}

// === impl ToolUseId ===

impl fmt::Display for ToolUseId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.call, self.completion) {
            (Some(id), _) => write_clean(id, f),
            (None, Some(completion)) => {
                f.write_str("toolu_")?;
                write_clean(completion, f)?;
                write!(f, "_{}", self.block)
            }
            (None, None) => write!(f, "toolu_{}", self.block),
        }
    }
}

fn write_clean(id: Text<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if id.0.chars().all(fits) {
        return write!(f, "{id}");
    }
    for c in id.0.chars() {
        f.write_char(if fits(c) { c } else { '_' })?;
    }
    // Of fixed keys: the same id is the same number, always.
    let mut hasher = DefaultHasher::new();
    hasher.write(id.0.as_bytes());
    write!(f, "_{:016x}", hasher.finish())
}

// === impl MessageUsage ===

impl fmt::Display for MessageUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage {
            prompt,
            completion,
            cached,
            cache_write,
            ..
        } = self.0;
        let input = prompt.saturating_sub(cached).saturating_sub(cache_write);
        write!(
            f,
            r#"{{"input_tokens":{input},"cache_creation_input_tokens":{cache_write},"cache_read_input_tokens":{cached},"output_tokens":{completion}}}"#
        )
    }
}

/// Whether a finish reason says that the answer failed half-way (OpenRouter's):
/// <https://openrouter.ai/docs/api-reference/overview>.
pub(in crate::messages) fn is_failure(finish_reason: Option<Text<'_>>) -> bool {
    finish_reason == Some(Text("error"))
}

/// `stop_reason` for a finish reason.
///
/// `tool_use` is said if and only if there is one: some servers finish a tool call with `stop`, and an agent that is
/// told of a tool use and finds none is stuck. Which stop sequence was met OpenAI's format does not tell.
pub(in crate::messages) fn stop_reason(
    finish_reason: Option<Text<'_>>,
    refused: bool,
    tool_use: bool,
) -> &'static str {
    match finish_reason.map(|reason| reason.0) {
        Some("length") => "max_tokens",
        Some("content_filter") => "refusal",
        _ if refused => "refusal",
        _ if tool_use => "tool_use",
        _ => "end_turn",
    }
}

/// A string's JSON text, without its quotes.
pub(in crate::messages) fn escaped(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap_or_default();
    let inner = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}
