//! A chat completion that no model wrote.
//!
//! Pure. No token was spent, and the usage says so.

use serde_json::Value;

/// What is said, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    pub text: &'a str,
    /// For `model`: there was none, so whatever tells the client most.
    pub model: &'a str,
    /// Any number that no other answer has.
    pub id: u64,
    /// Seconds since 1970.
    pub created: u64,
}

const USAGE: &str = r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#;

/// One-shot.
pub fn completion(words: &Words<'_>) -> Vec<u8> {
    let choice = format!(
        r#"{{"index":0,"message":{{"role":"assistant","content":{},"refusal":null}},"logprobs":null,"finish_reason":"stop"}}"#,
        quoted(words.text)
    );
    object(words, "chat.completion", &choice, Some(USAGE)).into_bytes()
}

/// The whole of a stream.
pub fn stream(words: &Words<'_>, include_usage: bool) -> Vec<u8> {
    let mut out = String::new();
    for chunk in chunks(words, include_usage) {
        out.push_str("data: ");
        out.push_str(&chunk);
        out.push_str("\n\n");
    }
    out.push_str("data: [DONE]\n\n");
    out.into_bytes()
}

/// A stream's chunks.
pub fn chunks(words: &Words<'_>, include_usage: bool) -> Vec<String> {
    let chunk = |delta: &str, finish: &str| {
        let choice =
            format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}"#);
        let usage = include_usage.then_some("null");
        object(words, "chat.completion.chunk", &choice, usage)
    };
    let content = format!(r#"{{"content":{}}}"#, quoted(words.text));
    let mut chunks = vec![
        chunk(
            r#"{"role":"assistant","content":"","refusal":null}"#,
            "null",
        ),
        chunk(&content, "null"),
        chunk("{}", r#""stop""#),
    ];
    if include_usage {
        chunks.push(object(words, "chat.completion.chunk", "", Some(USAGE)));
    }
    chunks
}

fn object(words: &Words<'_>, kind: &str, choice: &str, usage: Option<&str>) -> String {
    let Words { id, created, .. } = words;
    let model = quoted(words.model);
    let usage = usage.map_or(String::new(), |usage| format!(r#","usage":{usage}"#));
    format!(
        r#"{{"id":"chatcmpl-{id:016x}","object":"{kind}","created":{created},"model":{model},"choices":[{choice}]{usage}}}"#
    )
}

/// JSON text.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WORDS: Words<'_> = Words {
        text: "Back \"soon\".\n",
        model: "fast",
        id: 0xab,
        created: 9,
    };

    #[test]
    fn one_shot() {
        let answer: Value = serde_json::from_slice(&completion(&WORDS)).expect("JSON");
        let expected = json!({
            "id": "chatcmpl-00000000000000ab", "object": "chat.completion", "created": 9, "model": "fast",
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": "Back \"soon\".\n", "refusal": null},
                "logprobs": null, "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        });
        assert_eq!(answer, expected);
    }

    #[test]
    fn streamed() {
        for include_usage in [false, true] {
            let body = String::from_utf8(stream(&WORDS, include_usage)).expect("text");
            let mut events: Vec<&str> = body.split_terminator("\n\n").collect();
            assert_eq!(events.pop(), Some("data: [DONE]"));
            let chunks: Vec<Value> = events
                .iter()
                .map(|e| {
                    serde_json::from_str(e.strip_prefix("data: ").expect("data")).expect("JSON")
                })
                .collect();
            let choice = |at: usize| chunks[at]["choices"][0].clone();
            assert_eq!(choice(0)["delta"]["role"], "assistant");
            assert_eq!(choice(1)["delta"]["content"], WORDS.text);
            assert_eq!(choice(2)["finish_reason"], "stop");
            assert_eq!(chunks.len(), 3 + usize::from(include_usage));
            for (at, chunk) in chunks.iter().enumerate() {
                assert_eq!(chunk["object"], "chat.completion.chunk");
                assert_eq!(chunk.get("usage").is_some(), include_usage);
                assert_eq!(chunk["usage"].is_object(), at == 3);
            }
        }
    }
}
