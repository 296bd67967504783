//! A translated answer is a Message: blocks of known types, and every tool's input an object.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::messages::answer::from_chat;
use pointsman_fuzz::choices;
use pointsman_fuzz::json::{text, tree};

fuzz_target!(|bytes: &[u8]| {
    let Some(([], body)) = choices::<0>(bytes) else {
        return;
    };
    let Ok(answer) = from_chat(body, "m") else {
        return;
    };
    let Some(message) = tree(&answer.body) else {
        return;
    };
    assert_eq!(message["type"], "message");
    assert_eq!(message["role"], "assistant");
    let _ = (text(&message, "id"), text(&message, "model"));
    let _ = text(&message, "stop_reason");
    let usage = &message["usage"];
    assert!(usage["input_tokens"].is_u64() && usage["output_tokens"].is_u64());
    for block in message["content"].as_array().expect("blocks") {
        let _ = match text(block, "type") {
            "text" => text(block, "text"),
            "thinking" => text(block, "signature"),
            "redacted_thinking" => text(block, "data"),
            "tool_use" => {
                assert!(block["input"].is_object(), "{block}");
                assert!(!text(block, "id").is_empty());
                text(block, "name")
            }
            kind => panic!("{kind} is no block"),
        };
    }
});
