//! A rewritten request is JSON, and differs from the client's by the edits alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::provider::openai::find_model_span;
use pointsman::provider::openai::request::{Edits, rewrite};
use pointsman_fuzz::choices;
use serde_json::{Map, Value, json};

const MODEL: &str = "gpt-5";

/// What the edits mean, on a tree.
fn expect(mut body: Map<String, Value>, ask_usage: bool, strip_reasoning: bool) -> Value {
    body.insert("model".into(), MODEL.into());
    if ask_usage {
        let options = body.entry("stream_options").or_insert(Value::Null);
        if options.is_null() {
            *options = json!({});
        }
        if let Some(options) = options.as_object_mut() {
            let include = options.entry("include_usage").or_insert(Value::Null);
            if matches!(include, Value::Null | Value::Bool(_)) {
                *include = true.into();
            }
        }
    }
    without_thinking(body.into(), strip_reasoning)
}

/// Which of a message's thinking goes is left out of account: of a name that comes twice a tree knows one.
fn without_thinking(mut body: Value, strip_reasoning: bool) -> Value {
    let messages = body.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten().filter(|_| strip_reasoning) {
        let message = message.as_object_mut().expect("an object");
        for key in ["reasoning", "reasoning_content", "reasoning_details"] {
            message.remove(key);
        }
    }
    body
}

/// A detail of a format that is Claude's or Gemini's alone.
fn is_ours(detail: &Value) -> bool {
    let format = detail.get("format").and_then(Value::as_str);
    matches!(format, Some("anthropic-claude-v1" | "google-gemini-v1"))
}

fuzz_target!(|bytes: &[u8]| {
    let Some(([flags, start, end], body)) = choices::<3>(bytes) else {
        return;
    };
    let (ask_usage, strip_reasoning) = (flags & 1 != 0, flags & 2 != 0);
    let mut edits = Edits {
        model: MODEL,
        model_span: usize::from(*start)..usize::from(*end),
        ask_usage,
        strip_reasoning,
    };
    rewrite(body, &edits);

    let Some(span) = find_model_span(body) else {
        return;
    };
    edits.model_span = span;
    let Some(out) = rewrite(body, &edits) else {
        assert!(strip_reasoning);
        return;
    };
    // Deeper than a tree can be read, or with a number that none holds: nothing to compare.
    let Ok(tree) = serde_json::from_slice(body) else {
        return;
    };
    let out: Value = serde_json::from_slice(&out).expect("JSON");
    let messages = out.get("messages").and_then(Value::as_array);
    let details = messages
        .into_iter()
        .flatten()
        .filter_map(|message| message.get("reasoning_details")?.as_array());
    assert!(!strip_reasoning || !details.flatten().any(is_ours));
    assert_eq!(
        without_thinking(out, strip_reasoning),
        expect(tree, ask_usage, strip_reasoning)
    );
});
