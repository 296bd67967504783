//! A translated request is one that Gemini takes: turns alternate, none is empty, and every part is of one kind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::provider::gemini::request::from_chat;
use pointsman_fuzz::asks::{GEMINI, ask, check_dropped};
use pointsman_fuzz::choices;
use pointsman_fuzz::json::{check_openai_error, list, text, tree};

const KINDS: [&str; 5] = [
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&[model, flags], body)) = choices::<2>(bytes) else {
        return;
    };
    let asked = match from_chat(body, &ask(&GEMINI, model, flags)) {
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
    let mut before = None;
    for turn in list(&request, "contents") {
        let role = text(turn, "role");
        assert!(matches!(role, "user" | "model"));
        assert_ne!(before.replace(role), Some(role), "turns do not alternate");
        for part in list(turn, "parts") {
            let kinds = KINDS.iter().filter(|kind| part.get(**kind).is_some());
            assert_eq!(kinds.count(), 1, "{part}");
            assert!(part.get("functionCall").is_none() || role == "model");
            assert!(part.get("functionResponse").is_none() || role == "user");
            if let Some(call) = part.get("functionCall") {
                assert!(call["args"].is_object(), "{call}");
            }
            if let Some(response) = part.get("functionResponse") {
                assert!(response["response"].is_object(), "{response}");
            }
        }
    }
});
