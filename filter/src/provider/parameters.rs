//! Parameters: which top-level fields a chat completion request has, for the formats that have to say what they lose.
//!
//! Pure. A format that translates names what it leaves out, and so what it does not know as well. Invariant: every format
//! draws that line in the same place.

/// Under this name fields are lost that are not known, however many.
pub const UNKNOWN: &str = "unknown fields";

/// The fields of <https://platform.openai.com/docs/api-reference/chat/create>.
const KNOWN: [&str; 37] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "max_completion_tokens",
    "max_tokens",
    "stop",
    "temperature",
    "top_p",
    "n",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "modalities",
    "audio",
    "prediction",
    "web_search_options",
    "user",
    "safety_identifier",
    "service_tier",
    "store",
    "metadata",
    "moderation",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
];

/// What a Messages client says and a chat completion has no word for: written for Gemini alone, which does.
pub const TOP_K: &str = "pointsman.top_k";

pub fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// A client's name for a field as a path, if it is fit for a message.
pub fn path_of(name: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (name.len() <= 64 && name.bytes().all(fits)).then(|| name.to_owned())
}
