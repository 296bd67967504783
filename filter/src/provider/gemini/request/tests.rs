//! Requests as OpenAI's clients send them, and what Gemini is sent.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;
use crate::fixtures::{check_source, read};
use crate::provider::translate::Unsupported;

/// A file of `tests/fixtures/gemini/request`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    #[serde(default)]
    ask: Options,
    chat: Box<RawValue>,
    expected: Option<Value>,
    error: Option<Fault>,
    #[serde(default)]
    dropped: Vec<String>,
    /// What the body has to contain, byte by byte.
    #[serde(default)]
    verbatim: Vec<String>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    model: String,
    stream: bool,
    max_tokens: u32,
    unsupported: String,
    prompt_cache: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    param: Option<String>,
    message_contains: String,
    code: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: "gemini-2.5-flash".to_owned(),
            stream: false,
            max_tokens: 4096,
            unsupported: "drop".to_owned(),
            prompt_cache: false,
        }
    }
}

impl Options {
    fn ask(&self) -> Ask<'_> {
        Ask {
            model: &self.model,
            stream: self.stream,
            max_tokens: self.max_tokens,
            unsupported: match self.unsupported.as_str() {
                "drop" => Unsupported::Drop,
                "refuse" => Unsupported::Refuse,
                other => panic!("unsupported: {other}"),
            },
            prompt_cache: self.prompt_cache,
        }
    }
}

static CASES: LazyLock<Vec<(String, Case)>> = LazyLock::new(|| read("gemini/request", 128));

#[test]
fn fixtures() {
    for (name, case) in &*CASES {
        check_source(name, &case.source);
        let result = from_chat(case.chat.get().as_bytes(), &case.ask.ask());
        match (result, &case.expected, &case.error) {
            (Ok(asked), Some(expected), None) => {
                let body = String::from_utf8(asked.body).unwrap();
                let got: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(&got, expected, "{name}: {body}");
                assert_eq!(asked.dropped, case.dropped, "{name}");
                for part in &case.verbatim {
                    assert!(body.contains(part), "{name}: no {part} in {body}");
                }
            }
            (Err(reply), None, Some(fault)) => {
                assert_eq!(reply.status, 400, "{name}");
                assert_eq!(reply.kind, "invalid_request_error", "{name}");
                assert_eq!(reply.param, fault.param, "{name}: {}", reply.message);
                assert_eq!(reply.code, fault.code, "{name}: {}", reply.message);
                assert!(
                    reply.message.contains(&fault.message_contains),
                    "{name}: {}",
                    reply.message
                );
            }
            (result, ..) => panic!("{name}: {result:?}"),
        }
    }
}

fn check_fault(body: &[u8], code: &str, param: Option<&str>) {
    let reply = from_chat(body, &Options::default().ask()).unwrap_err();
    assert_eq!(
        (reply.code, reply.param.as_deref()),
        (code, param),
        "{}",
        reply.message
    );
    assert!(!reply.message.contains("secret"), "{}", reply.message);
}

#[test]
fn bodies_that_are_none() {
    check_fault(b"", "not_an_object", None);
    check_fault(b"[{\"secret\":1}]", "not_an_object", None);
    check_fault(b"{\"messages\":\"\xFF\"}", "invalid_json", None);
    check_fault(b"{\"messages\":[}", "invalid_json", None);
    check_fault(b"{\"messages\":[]} secret", "invalid_json", None);
    check_fault(
        b"{\"messages\":[],\"messages\":\"secret\"}",
        "invalid_json",
        None,
    );
    check_fault(
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"secret \\ud800\"}]}",
        "invalid_json",
        None,
    );
    check_fault(
        b"{\"messages\":\"secret\"}",
        "invalid_type",
        Some("messages"),
    );
    check_fault(
        b"{\"messages\":[\"secret\"]}",
        "invalid_type",
        Some("messages[0]"),
    );
    check_fault(
        b"{\"messages\":[{\"role\":{\"secret\":[1]}}]}",
        "invalid_type",
        Some("messages[0].role"),
    );
}

/// What is not read may nest as deep as it likes; what is read stops at the parser's bound.
#[test]
fn depth() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    for unread in [deep("[", "]"), deep("{\"a\":", "}").replace(":}", ":1}")] {
        let body = format!(
            "{{\"x\":{unread},\"messages\":[{{\"role\":\"user\",\"content\":\"Hi\",\"y\":{unread}}}]}}"
        );
        assert!(from_chat(body.as_bytes(), &Options::default().ask()).is_ok());
        let body = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":{unread}}}]}}");
        assert!(from_chat(body.as_bytes(), &Options::default().ask()).is_err());
    }
}

/// Structs are far larger than the text of an item that is none.
#[test]
fn wrong_items_end_a_list() {
    for item in ["0", "{}", "[]", "\"a\"", "{\"a\":1}"] {
        let items = vec![item; 1000].join(",");
        let good = "{\"role\":\"user\",\"content\":[]}";
        let body = format!("{{\"messages\":[{good},{items}],\"stop\":[\"\",\"\"]}}");
        let chat = parse(body.as_bytes()).unwrap();
        let messages = chat.messages.need("messages", "").unwrap();
        assert_eq!(messages.len(), 2, "{item}");
        let code = if item.starts_with('{') {
            "missing_required_parameter"
        } else {
            "invalid_type"
        };
        let param = if item.starts_with('{') {
            "messages[1].role"
        } else {
            "messages[1]"
        };
        check_fault(body.as_bytes(), code, Some(param));
    }
}

/// Every way that a request can be refused names a place and says what to do, and the codes are a closed set.
#[test]
fn codes() {
    let codes: BTreeSet<&str> = CASES
        .iter()
        .filter_map(|(_, case)| from_chat(case.chat.get().as_bytes(), &case.ask.ask()).err())
        .map(|reply| reply.code)
        .collect();
    let expected = [
        "invalid_type",
        "invalid_value",
        "missing_required_parameter",
        "unsupported_content",
        "unsupported_parameter",
    ];
    assert_eq!(codes, expected.into());
}

/// What holds for every body that is sent.
fn check_body(asked: &Asked) {
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    let turns = body["contents"].as_array().unwrap();
    assert!(!turns.is_empty());
    for turn in turns {
        assert!(!turn["parts"].as_array().unwrap().is_empty());
    }
    for pair in turns.windows(2) {
        assert_ne!(pair[0]["role"], pair[1]["role"]);
    }
    let names: BTreeSet<_> = asked.dropped.iter().collect();
    assert_eq!(names.len(), asked.dropped.len());
}

fn message() -> impl Strategy<Value = Value> {
    let content = prop_oneof![
        Just(Value::Null),
        Just(serde_json::json!("")),
        Just(serde_json::json!("Hi")),
        Just(serde_json::json!([])),
        Just(
            serde_json::json!([{"type": "text", "text": "{\"a\":1}"}, {"type": "text", "text": ""}])
        ),
        Just(serde_json::json!(1)),
    ];
    let role = prop_oneof!["system", "developer", "user", "assistant", "tool", "x"];
    let details = prop_oneof![
        Just(Value::Null),
        Just(
            serde_json::json!([{"type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "c2ln"}])
        ),
        Just(
            serde_json::json!([{"type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "c2ln", "id": "1"}])
        ),
    ];
    (role, content, 0usize..3, details).prop_map(|(role, content, calls, details)| {
        let calls: Vec<_> = (0..calls)
            .map(|id| serde_json::json!({"id": id.to_string(), "function": {"name": "f", "arguments": "{}"}}))
            .collect();
        serde_json::json!({
            "role": role, "content": content, "tool_calls": calls, "tool_call_id": "0", "reasoning_details": details
        })
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = from_chat(&bytes, &Options::default().ask());
    }

    #[test]
    fn no_text_panics(text in "\\{[{}\\[\\]:,\"a-z0-9 ]{0,60}\\}") {
        let _ = from_chat(text.as_bytes(), &Options::default().ask());
    }

    #[test]
    fn conversations_alternate(
        messages in proptest::collection::vec(message(), 0..8),
        model in prop_oneof!["gemini-3-flash", "gemini-2.5-pro", "x", ""],
    ) {
        let body = serde_json::json!({"messages": messages}).to_string();
        let options = Options { model, ..Options::default() };
        if let Ok(asked) = from_chat(body.as_bytes(), &options.ask()) {
            check_body(&asked);
        }
    }

    #[test]
    fn broken_fixtures_do_not_panic(pick in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (_, case) = &CASES[pick.index(CASES.len())];
        let mut body = case.chat.get().as_bytes().to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(asked) = from_chat(&body, &case.ask.ask()) {
            check_body(&asked);
        }
        let _ = from_chat(&body[..at], &case.ask.ask());
    }

    #[test]
    fn any_model_and_path(model in ".{0,20}", stream in any::<bool>()) {
        thinking::family(&model);
        let path = crate::provider::gemini::path(&model, stream);
        prop_assert!(path.contains("enerateContent"));
    }
}
