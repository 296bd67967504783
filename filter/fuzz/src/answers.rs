//! What must hold of a whole answer, whichever format it was translated from.

use pointsman::messages;
use pointsman::provider::translate::{Answer, NoAnswer, Told};

use crate::asks::TOLD;
use crate::choices;
use crate::json::{list, text, tree};

const FINISHES: [&str; 4] = ["stop", "length", "tool_calls", "content_filter"];

/// A translated answer is a chat completion, and one that a client of Messages can be given as well.
pub fn check(bytes: &[u8], to_chat: fn(&[u8], &Told<'_>) -> Result<Answer, NoAnswer>) {
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
}
