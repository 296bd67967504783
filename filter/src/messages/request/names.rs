//! Names: what a client of Messages calls what its request's chat completion says.
//!
//! Pure. A second translation, from chat completion to the target's format, drops and refuses in the chat completion's
//! words. What it can find in one that was written here is named in this table; what stands in messages and tools was
//! checked on the way.

use crate::chat::error::ErrorReply;

const THINKING: &str = "thinking";

const NAMES: [(&str, &str); 5] = [
    ("max_completion_tokens", "max_tokens"),
    (
        "parallel_tool_calls",
        "tool_choice.disable_parallel_tool_use",
    ),
    ("pointsman.top_k", "top_k"),
    ("stop", "stop_sequences"),
    ("user", "metadata.user_id"),
];

/// The client's names for one chat completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// The field that `reasoning_effort` came from.
    effort: &'static str,
}

// === impl Names ===

impl Default for Names {
    fn default() -> Self {
        Names { effort: THINKING }
    }
}

impl Names {
    pub(super) fn with_effort(effort: &'static str) -> Self {
        Names { effort }
    }

    /// A chat completion's field, as the client names it.
    pub fn of(self, field: &str) -> &str {
        if field == "reasoning_effort" {
            return self.effort;
        }
        let name = NAMES.iter().find(|(chat, _)| *chat == field);
        name.map_or(field, |(_, client)| client)
    }

    /// A refusal of the chat completion, whose message begins with the field, in the client's words.
    pub fn refusal(self, refusal: ErrorReply) -> ErrorReply {
        let Some(field) = refusal.param.as_deref() else {
            return refusal;
        };
        let name = self.of(field);
        let message = match refusal.message.strip_prefix(field) {
            Some(words) => format!("{name}{words}"),
            None => refusal.message.clone(),
        };
        ErrorReply {
            message,
            param: Some(name.to_owned()),
            ..refusal
        }
    }
}
