//! Messages, and the chat completions that they become.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::usage::Usage;
use crate::fixtures;

pub(in crate::provider::anthropic) const TOLD: Told<'static> = Told {
    created: 1_700_000_000,
    model: "asked-for",
    include_usage: false,
};

/// The cases of a folder of fixtures, by name.
pub(in crate::provider::anthropic) fn cases(part: &str, at_least: usize) -> Vec<(String, Value)> {
    let cases: Vec<(String, Value)> = fixtures::read(&format!("anthropic/{part}"), at_least);
    for (name, case) in &cases {
        assert!(case["source"].is_string(), "{name} names no source");
    }
    cases
}

/// Checks the tokens that a case names, if it does.
pub(in crate::provider::anthropic) fn check_usage(name: &str, case: &Value, usage: Usage) {
    let Some(expected) = case.get("usage") else {
        return;
    };
    let usage = json!({
        "prompt": usage.prompt,
        "completion": usage.completion,
        "cached": usage.cached,
        "cache_write": usage.cache_write,
        "reasoning": usage.reasoning,
    });
    assert_eq!(&usage, expected, "{name}");
}

/// Checks that what is copied byte for byte is there.
pub(in crate::provider::anthropic) fn check_contains(name: &str, case: &Value, out: &[u8]) {
    let out = std::str::from_utf8(out).expect("UTF-8");
    for part in case["contains"].as_array().into_iter().flatten() {
        let part = part.as_str().expect("text");
        assert!(out.contains(part), "{name}: {part} is not in {out}");
    }
}

#[test]
fn fixtures() {
    for (name, case) in cases("answer", 45) {
        let body = match case["body"].as_str() {
            Some(body) => body.to_owned(),
            None => case["answer"].to_string(),
        };
        let answer = to_chat(body.as_bytes(), &TOLD);
        let expected = &case["expected"];
        if expected.is_null() {
            assert_eq!(answer, Err(NoAnswer), "{name}");
            continue;
        }
        let answer = answer.unwrap_or_else(|_| panic!("{name}: no answer"));
        let completion: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let expected = json!({
            "id": expected["id"],
            "object": "chat.completion",
            "created": TOLD.created,
            "model": expected["model"],
            "choices": [{
                "index": 0,
                "message": expected["message"],
                "logprobs": null,
                "finish_reason": expected["finish_reason"],
            }],
            "usage": expected["usage"],
        });
        assert_eq!(completion, expected, "{name}");
        check_usage(&name, &case, answer.usage);
        check_contains(&name, &case, &answer.body);
    }
}

#[test]
fn byte_for_byte() {
    let body = concat!(
        r#"{"id":"msg_1","type":"message","model":"claude","content":[{"type":"thinking","thinking":"Hm","#,
        r#""signature":"c2ln"},{"type":"text","text":"Hi"},{"type":"tool_use","id":"t1","name":"f","input":{"a": 1}}],"#,
        r#""stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}"#,
    );
    let answer = to_chat(body.as_bytes(), &TOLD).expect("an answer");
    let expected = concat!(
        r#"{"id":"msg_1","object":"chat.completion","created":1700000000,"model":"claude","choices":[{"index":0,"#,
        r#""message":{"role":"assistant","content":"Hi","refusal":null,"reasoning_content":"Hm","reasoning_details":["#,
        r#"{"type":"reasoning.text","text":"Hm","signature":"c2ln","format":"anthropic-claude-v1","index":0}],"#,
        r#""tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},"#,
        r#""logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"#,
        r#""total_tokens":3,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0}}}"#,
    );
    assert_eq!(std::str::from_utf8(&answer.body), Ok(expected));
}

#[test]
fn deep_nesting_is_copied_or_skipped() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(
        r#"{{"content":[{{"type":"new","x":{deep}}},{{"type":"tool_use","id":"t","name":"f","input":{deep}}}]}}"#
    );
    let answer = to_chat(body.as_bytes(), &TOLD).expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let call = &answer["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], deep);
}

#[test]
fn memory_follows_the_input() {
    let block = r#"{"type":"text","text":"0123456789"}"#;
    let body = format!(r#"{{"content":[{}]}}"#, vec![block; 10_000].join(","));
    let answer = to_chat(body.as_bytes(), &TOLD).expect("an answer");
    assert!(answer.body.capacity() <= body.len() + 512);
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = to_chat(&body, &TOLD);
    }

    #[test]
    fn cut_anywhere_is_no_answer(at in 0usize..1000) {
        let body = br#"{"type":"message","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn"}"#;
        if let Some(cut) = body.get(..at).filter(|cut| cut.len() < body.len()) {
            prop_assert_eq!(to_chat(cut, &TOLD), Err(NoAnswer));
        }
    }

    /// Whatever text, input and names: they come out as they went in, and all is JSON.
    #[test]
    fn values_survive(texts in prop::collection::vec(any::<String>(), 0..4), key in any::<String>(), n in any::<i64>()) {
        let input = json!({ (&key): [n, &texts] });
        let mut content: Vec<_> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
        content.push(json!({"type": "thinking", "thinking": &key, "signature": &key}));
        content.push(json!({"type": "tool_use", "id": &key, "name": &key, "input": &input}));
        let body = json!({"id": &key, "content": content, "stop_reason": "tool_use"}).to_string();
        let answer = to_chat(body.as_bytes(), &TOLD).expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let message = &answer["choices"][0]["message"];
        prop_assert_eq!(message["content"].as_str().unwrap_or_default(), texts.concat());
        prop_assert_eq!(message["reasoning_content"].as_str().unwrap_or_default(), &key);
        prop_assert_eq!(&message["reasoning_details"][0]["text"], &json!(key));
        let call = &message["tool_calls"][0];
        prop_assert_eq!(&call["id"], &json!(key));
        prop_assert_eq!(&call["function"]["arguments"], &json!(input.to_string()));
    }
}
