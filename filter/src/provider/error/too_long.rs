//! Too long: whether a provider refused a request for more tokens than its model reads.
//!
//! Pure. A body that only quotes such words is taken for one: then a target that reads more is asked in vain, which costs an
//! attempt and loses nothing.

/// What they say, in lower case:
/// - OpenAI `code` and messages, old and new: <https://github.com/langchain-ai/langchain/issues/11001>,
///   <https://github.com/openai/codex/issues/3416>;
/// - Anthropic: <https://docs.claude.com/en/docs/build-with-claude/context-windows>;
/// - Gemini: <https://github.com/google-gemini/gemini-cli/issues/5618>;
/// - vLLM: <https://github.com/vllm-project/vllm/issues/12165>, <https://github.com/thu-coai/Glyph/issues/9>.
const WORDS: &[&str] = &[
    "context_length_exceeded",
    "maximum context length",
    "exceeds the context window",
    "prompt is too long",
    "exceed context limit",
    "input token count",
    "too long to fit into the model",
    "longer than the maximum model length",
];

/// Of the body of a 400, as far as it was read.
pub fn is_too_long(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    WORDS.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_from_other_mistakes() {
        for (body, expected) in [
            (
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                true,
            ),
            (
                r#"{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","code":null}}"#,
                true,
            ),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                true,
            ),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"}}"#,
                true,
            ),
            (
                r#"[{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}]"#,
                true,
            ),
            (
                r#"{"error":{"message":"The decoder prompt (length 163840) is longer than the maximum model length of 131072.","code":400}}"#,
                true,
            ),
            (
                r#"{"error":{"message":"max_tokens is too large: 100000","code":"invalid_value"}}"#,
                false,
            ),
            (
                r#"{"error":{"message":"temperature must be at most 2"}}"#,
                false,
            ),
            ("", false),
            ("\u{fffd}", false),
        ] {
            assert_eq!(is_too_long(body.as_bytes()), expected, "{body}");
        }
        assert!(!is_too_long(b"\xff\xfe"));
    }
}
