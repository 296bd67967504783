//! A translated request is a chat completion request, and says of itself what the Messages request did.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::chat::request::{Cut, parse};
use pointsman::messages::request::{Takes, to_chat};
use pointsman::messages::view;
use pointsman_fuzz::asks::{check_dropped, unsupported};
use pointsman_fuzz::choices;
use pointsman_fuzz::json::{check_openai_error, is_json, list, text, tree};

const CUT: Cut = Cut {
    system: 64,
    user: 64,
    user_end: 0,
    previous: 0,
    is_weighed: false,
};
const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&[flags], body)) = choices::<1>(bytes) else {
        return;
    };
    let takes = match flags & 2 {
        0 => Takes::OPENAI,
        _ => Takes::GEMINI,
    };
    let asked = match to_chat(body, unsupported(flags), takes) {
        Ok(asked) => asked,
        Err(refusal) => {
            assert_eq!(refusal.status, 400);
            return check_openai_error(&refusal.body(), true);
        }
    };
    check_dropped(&asked.dropped);
    if let Ok(seen) = view::parse(body, CUT) {
        let request = parse(&asked.body, CUT).expect("a chat completion request");
        assert_eq!(request.model, seen.model);
        assert_eq!(
            (request.stream, request.include_usage),
            (seen.stream, false)
        );
    }
    let Some(request) = tree(&asked.body) else {
        return;
    };
    for message in list(&request, "messages") {
        assert!(ROLES.contains(&text(message, "role")));
        if message.get("tool_calls").is_some() {
            for call in list(message, "tool_calls") {
                let arguments = text(&call["function"], "arguments");
                assert!(arguments.starts_with('{') && is_json(arguments.as_bytes()));
            }
        }
    }
});
