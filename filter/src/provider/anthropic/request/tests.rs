//! Requests as clients send them, and what the Messages API gets. The cases are files, so that the provider's own
//! types can judge them as well: `tests/fixtures/anthropic/judge.py`.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::super::translate::Unsupported;
use super::media::decode_text;
use super::rules::{Form, Off};
use super::*;
use crate::fixtures;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    source: String,
    #[serde(default)]
    ask: Options,
    #[serde(borrow)]
    chat: &'a RawValue,
    expected: Option<Value>,
    error: Option<Fault>,
    #[serde(default)]
    dropped: Vec<String>,
    /// Pieces of the translated body, byte for byte.
    #[serde(default)]
    verbatim: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
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

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            model: "claude-haiku-4-5".to_owned(),
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

static CASES: LazyLock<Vec<(String, String)>> =
    LazyLock::new(|| fixtures::cases("anthropic/request", 145));

#[test]
fn cases() {
    for (name, text) in &*CASES {
        let case: Case<'_> = serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        check(name, &case);
    }
}

fn check(name: &str, case: &Case<'_>) {
    fixtures::check_source(name, &case.source);
    let got = from_chat(case.chat.get().as_bytes(), &case.ask.ask());
    match (got, &case.expected, &case.error) {
        (Ok(asked), Some(expected), None) => {
            let body = String::from_utf8(asked.body).unwrap();
            let value: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(&value, expected, "{name}: {body}");
            assert_eq!(asked.dropped, case.dropped, "{name}");
            for piece in &case.verbatim {
                assert!(body.contains(piece), "{name}: {piece} is not in {body}");
            }
        }
        (Err(reply), None, Some(expected)) => {
            assert_eq!(reply.status, 400, "{name}");
            assert_eq!(reply.param, expected.param, "{name}: {}", reply.message);
            assert_eq!(reply.code, expected.code, "{name}: {}", reply.message);
            assert!(
                reply.message.contains(&expected.message_contains),
                "{name}: {}",
                reply.message
            );
        }
        (got, ..) => panic!("{name}: {got:?}"),
    }
}

fn default_ask(body: &[u8]) -> AskResult {
    from_chat(body, &Options::default().ask())
}

/// The code of the refusal of a body.
fn code(body: &[u8]) -> &'static str {
    default_ask(body).unwrap_err().code
}

#[test]
fn bodies_that_are_no_request() {
    for body in [
        "",
        "null",
        "[]",
        "{",
        "{} {}",
        r#"{"messages":[{"role":"user","content":"Hi"}]"#,
    ] {
        assert_eq!(code(body.as_bytes()), "invalid_json", "{body}");
    }
    assert_eq!(code(b"{\"a\":\"\xff\"}"), "invalid_json");
    assert_eq!(code(b"{}"), "invalid_type");
    assert_eq!(
        code(br#"{"messages":[{"role":"user","role":"user"}]}"#),
        "invalid_json"
    );
    assert_eq!(
        code(br#"{"messages":[{"role":"user","content":"\ud800"}]}"#),
        "invalid_json"
    );
}

/// White space, key order, escapes and numbers: nothing of it is read.
#[test]
fn free_json_is_copied_byte_for_byte() {
    let schema = r#"{ "type":"object", "z":1e999, "a":[ 1.0 , 0.10],"\u0061":"\u00e9" }"#;
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"Hi"}}],
        "tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}],
        "response_format":{{"type":"json_schema","json_schema":{{"name":"s","schema":{schema}}}}}}}"#
    );
    let out = String::from_utf8(default_ask(body.as_bytes()).unwrap().body).unwrap();
    assert!(
        out.contains(&format!(r#""input_schema":{schema}"#)),
        "{out}"
    );
    assert!(out.contains(&format!(r#""schema":{schema}"#)), "{out}");
}

#[test]
fn nothing_of_a_body_is_in_a_message() {
    for body in [
        r#"{"messages":[{"role":"SECRET","content":"SECRET"}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"SECRET"}]}]}"#,
        r#"{"messages":[{"role":"tool","tool_call_id":"SECRET","content":"SECRET"}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"SECRET"}}]}]}"#,
        r#"{"messages":[{"role":"user","content":"Hi"}],"temperature":"SECRET"}"#,
        r#"{"messages":[{"role":"user","content":"Hi"}],"tool_choice":"SECRET"}"#,
        r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"SECRET"}}]}]}"#,
    ] {
        let reply = default_ask(body.as_bytes()).unwrap_err();
        assert!(!format!("{reply:?}").contains("SECRET"), "{reply:?}");
    }
}

#[test]
fn key_that_is_unfit_for_a_message_is_not_named() {
    let body = r#"{"messages":[{"role":"user","content":"Hi"}],"a b\n":1}"#;
    let options = Options {
        unsupported: "refuse".to_owned(),
        ..Options::default()
    };
    let reply = from_chat(body.as_bytes(), &options.ask()).unwrap_err();
    assert_eq!((reply.code, reply.param), ("unsupported_parameter", None));
}

/// Skipped JSON costs no stack, however deep; what is read is never deep.
#[test]
fn deep_json() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let message = r#"{"role":"user","content":"Hi"}"#;
    let schema = format!(r#"{{"type":"object","x":{deep}}}"#);
    let tools = format!(
        r#"{{"messages":[{message}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#
    );
    let body = default_ask(tools.as_bytes()).unwrap().body;
    assert!(String::from_utf8(body).unwrap().contains(&schema));

    let unknown = format!(r#"{{"messages":[{message}],"x":{deep}}}"#);
    assert_eq!(
        default_ask(unknown.as_bytes()).unwrap().dropped,
        ["unknown fields"]
    );
    let content = format!(r#"{{"messages":[{{"role":"user","content":{deep}}}]}}"#);
    assert_eq!(code(content.as_bytes()), "invalid_type");
}

#[test]
fn rules_of_models() {
    let check = |model: &str, thinking: Form, sampling: bool, forced_tools: bool| {
        let rules = Rules::of(model);
        let got = (rules.thinking, rules.sampling, rules.forced_tools);
        assert_eq!(got, (thinking, sampling, forced_tools), "{model}");
    };
    let adaptive = Form::Adaptive;
    check("claude-3-opus-20240229", Form::None, true, true);
    check("claude-3-5-sonnet-20241022", Form::None, true, true);
    check("claude-3-7-sonnet-latest", Form::Budget, true, true);
    check("claude-sonnet-4-20250514", Form::Budget, true, true);
    check("claude-opus-4-1", Form::Budget, true, true);
    check("claude-haiku-4-5-20251001", Form::Budget, true, true);
    check("anthropic/claude-sonnet-4.5", Form::Budget, true, true);
    check("claude-opus-4-6", adaptive(Off::Omitted), true, true);
    check("claude-opus-4-8", adaptive(Off::Omitted), false, true);
    check("claude-sonnet-5", adaptive(Off::Disabled), false, true);
    check("claude-opus-5", adaptive(Off::Disabled), false, true);
    check("claude-fable-5", adaptive(Off::Never), false, true);
    check("claude-mythos-5-1", adaptive(Off::Never), false, false);
    check("claude-haiku-5-5", adaptive(Off::Disabled), false, true);
    check(
        "claude-sonnet-5-5",
        adaptive(Off::BetweenTools),
        false,
        false,
    );
    check("claude-opus-5-5", adaptive(Off::Never), false, false);
    check("claude-fable-5-2", adaptive(Off::Never), false, false);
    // Newer than the table, or of no version.
    check("claude-opus-6", adaptive(Off::Never), false, false);
    check("claude-mythos-preview", adaptive(Off::Never), false, false);
    check("", adaptive(Off::Never), false, false);
}

/// Not asked for, the thinking of newer models came as signatures without a word; a last word of the assistant's was a
/// provider's 400.
#[test]
fn what_newer_models_refuse_or_leave_out() {
    let check = |model: &str, prefill: bool, omits: bool, forced: bool| {
        let rules = Rules::of(model);
        let got = (
            rules.prefill,
            rules.omits_thinking,
            rules.thinks_when_forced,
        );
        assert_eq!(got, (prefill, omits, forced), "{model}");
    };
    check("claude-3-7-sonnet-latest", true, false, false);
    check("claude-sonnet-4-5-20250929", true, false, false);
    check("claude-opus-4-6", false, false, false);
    check("claude-sonnet-4.6", false, false, false);
    check("claude-opus-4-7", false, true, false);
    check("claude-opus-4-8", false, true, true);
    check("claude-sonnet-5", false, true, true);
    check("claude-haiku-5-5", false, true, true);
    check("claude-mythos-preview", false, true, true);
}

#[test]
fn base64() {
    let check = |base64: &str, text: Option<&str>| {
        assert_eq!(decode_text(base64).as_deref(), text, "{base64}");
    };
    check("", Some(""));
    check("YQ==", Some("a"));
    check("YWI=", Some("ab"));
    check("YWJj", Some("abc"));
    check("YWJjZA", Some("abcd"));
    check("w6nmvKI=", Some("é漢"));
    check("Y", None);
    check("YW J", None);
    check("YQ==YQ==", None);
    check("/w==", None);
}

/// Chat messages of every kind, well formed and not.
fn message() -> impl Strategy<Value = String> {
    let content = prop_oneof![
        Just(r#""Hi ""#.to_owned()),
        Just(r#""""#.to_owned()),
        Just("null".to_owned()),
        Just(r#"[{"type":"text","text":"Hi"},{"type":"refusal","refusal":"No"}]"#.to_owned()),
        Just(r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]"#.to_owned()),
    ];
    let calls = prop_oneof![
        Just(String::new()),
        "[abc]".prop_map(|id| format!(
            r#","tool_calls":[{{"id":"{id}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]"#
        )),
        "[abc]".prop_map(|id| format!(r#","tool_call_id":"{id}""#)),
        Just(r#","function_call":{"name":"f","arguments":""},"name":"f""#.to_owned()),
        Just(
            r#","reasoning_details":[{"type":"reasoning.text","text":"t","signature":"s","format":"anthropic-claude-v1"}]"#
                .to_owned()
        ),
    ];
    let role = prop_oneof![
        Just("system"),
        Just("user"),
        Just("assistant"),
        Just("tool"),
        Just("function")
    ];
    (role, content, calls).prop_map(|(role, content, calls)| {
        format!(r#"{{"role":"{role}","content":{content}{calls}}}"#)
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = default_ask(&body);
    }

    #[test]
    fn no_cut_panics(cut in 0usize..2000, which in 0usize..200) {
        let (_, text) = &CASES[which % CASES.len()];
        let case: Case<'_> = serde_json::from_str(text).unwrap();
        let chat = case.chat.get().as_bytes();
        let _ = from_chat(&chat[..cut % (chat.len() + 1)], &case.ask.ask());
    }

    /// What the API demands of `messages` holds for every conversation that is translated, in whatever order its
    /// messages came.
    #[test]
    fn turns_are_as_the_api_demands(messages in proptest::collection::vec(message(), 0..8), thinks: bool, newer: bool) {
        let effort = if thinks { r#","reasoning_effort":"low""# } else { "" };
        let body = format!(r#"{{"messages":[{}]{effort}}}"#, messages.join(","));
        let model = if newer { "claude-opus-5" } else { "claude-haiku-4-5" };
        let options = Options { model: model.to_owned(), ..Options::default() };
        let Ok(asked) = from_chat(body.as_bytes(), &options.ask()) else { return Ok(()) };
        let request: Value = serde_json::from_slice(&asked.body).unwrap();
        let turns = request["messages"].as_array().unwrap();
        let mut open: Vec<&Value> = Vec::new();
        for (i, turn) in turns.iter().enumerate() {
            let role = if i % 2 == 0 { "user" } else { "assistant" };
            prop_assert_eq!(&turn["role"], role);
            let blocks = turn["content"].as_array().unwrap();
            prop_assert!(!blocks.is_empty());
            let results = blocks.iter().take_while(|block| block["type"] == "tool_result").count();
            let mut answered: Vec<&Value> = blocks[..results].iter().map(|block| &block["tool_use_id"]).collect();
            answered.sort_by_key(|id| id.as_str());
            open.sort_by_key(|id| id.as_str());
            prop_assert_eq!(&answered, &open);
            prop_assert!(blocks[results..].iter().all(|block| block["type"] != "tool_result"));
            prop_assert!(blocks.iter().all(|block| block["type"] != "text" || !block["text"].as_str().unwrap().trim().is_empty()));
            prop_assert!(blocks.last().unwrap()["type"] != "thinking");
            open = blocks.iter().filter(|block| block["type"] == "tool_use").map(|block| &block["id"]).collect();
        }
        prop_assert!(open.is_empty());
        prop_assert!(!newer || turns.last().unwrap()["role"] == "user");
    }
}
