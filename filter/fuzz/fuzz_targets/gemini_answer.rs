//! A translated answer is a chat completion, and one that a client of Messages can be given as well.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::messages;
use pointsman::provider::gemini::answer::to_chat;
use pointsman_fuzz::asks::TOLD;
use pointsman_fuzz::choices;
use pointsman_fuzz::json::{list, text, tree};

const FINISHES: [&str; 4] = ["stop", "length", "tool_calls", "content_filter"];

fuzz_target!(|bytes: &[u8]| {
    let Some(([], body)) = choices::<0>(bytes) else {
        return;
    };
    let Ok(answer) = to_chat(body, &TOLD) else {
        return;
    };
    let message = messages::answer::from_chat(&answer.body, TOLD.model).expect("a message");
    let _ = tree(&message.body);
    let Some(completion) = tree(&answer.body) else {
        return;
    };
    assert_eq!(completion["object"], "chat.completion");
    assert_eq!(completion["created"], TOLD.created);
    let _ = (text(&completion, "id"), text(&completion, "model"));
    assert!(completion["usage"]["total_tokens"].is_u64());
    for choice in list(&completion, "choices") {
        assert!(
            FINISHES.contains(&text(choice, "finish_reason")),
            "{choice}"
        );
        let message = &choice["message"];
        assert_eq!(message["role"], "assistant");
        assert!(message["content"].is_string() || message["content"].is_null());
        if message.get("tool_calls").is_some() {
            for call in list(message, "tool_calls") {
                let _ = (text(call, "id"), text(&call["function"], "name"));
                let _ = text(&call["function"], "arguments");
            }
        }
    }
});
