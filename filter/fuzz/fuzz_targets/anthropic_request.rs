//! A translated request is one that the Messages API takes: turns alternate from the user's on, nothing is empty or blank,
//! and every tool call has its one result in the next turn.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use pointsman::provider::anthropic::request::from_chat;
use pointsman_fuzz::asks::{ANTHROPIC, ask, check_dropped};
use pointsman_fuzz::choices;
use pointsman_fuzz::json::{check_openai_error, list, text, tree};
use serde_json::Value;

/// Ids that a turn's blocks of a kind have, each once.
fn ids<'a>(turn: &'a Value, kind: &str, field: &str) -> BTreeSet<&'a str> {
    let mut ids = BTreeSet::new();
    for block in list(turn, "content")
        .iter()
        .filter(|block| block["type"] == kind)
    {
        assert!(ids.insert(text(block, field)), "an id twice: {turn}");
    }
    ids
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[model, flags], body)) = choices::<2>(bytes) else {
        return;
    };
    let ask = ask(&ANTHROPIC, model, flags);
    let asked = match from_chat(body, &ask) {
        Ok(asked) => asked,
        Err(refusal) => {
            assert_eq!(refusal.status, 400);
            return check_openai_error(&refusal.body(), true);
        }
    };
    check_dropped(&asked.dropped);
    let Some(request) = tree(&asked.body) else {
        return;
    };
    assert_eq!(request["model"], ask.model);
    assert_eq!(request.get("stream").is_some(), ask.stream);
    let max_tokens = request["max_tokens"].as_u64().expect("max_tokens");
    assert!(max_tokens > 0);
    if let Some(budget) = request["thinking"]["budget_tokens"].as_u64() {
        assert!(
            (1024..max_tokens).contains(&budget),
            "{budget} of {max_tokens}"
        );
    }
    let mut calls = BTreeSet::new();
    for (at, turn) in list(&request, "messages").iter().enumerate() {
        let is_user = at % 2 == 0;
        assert_eq!(turn["role"], if is_user { "user" } else { "assistant" });
        for block in list(turn, "content") {
            if block["type"] == "text" {
                assert!(!text(block, "text").trim().is_empty(), "blank: {turn}");
            }
            if block["type"] == "tool_use" {
                assert!(block["input"].is_object(), "no input: {block}");
            }
        }
        assert_eq!(ids(turn, "tool_result", "tool_use_id"), calls);
        calls = ids(turn, "tool_use", "id");
        assert!(calls.is_empty() || !is_user);
    }
    assert!(calls.is_empty(), "calls without results");
});
