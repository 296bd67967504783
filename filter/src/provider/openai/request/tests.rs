//! Bodies as clients send them, and as they leave.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{find_model_span, rewrite_model};
use super::*;
use crate::fixtures::{check_source, read};
use crate::provider::translate::Told;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    ask_usage: bool,
    strip_reasoning: bool,
    body: Box<RawValue>,
    /// Absent where the request is refused.
    expected: Option<Box<RawValue>>,
}

fn edit(body: &str, ask_usage: bool, strip_reasoning: bool) -> Option<String> {
    let edits = Edits {
        model: "gpt-5",
        model_span: find_model_span(body.as_bytes())?,
        ask_usage,
        strip_reasoning,
    };
    let out = rewrite(body.as_bytes(), &edits)?;
    Some(String::from_utf8(out).expect("UTF-8"))
}

#[test]
fn requests() {
    for (name, case) in read::<Case>("openai/request", 31) {
        check_source(&name, &case.source);
        let out = edit(case.body.get(), case.ask_usage, case.strip_reasoning);
        let expected = case.expected.as_ref().map(|body| body.get());
        assert_eq!(out.as_deref(), expected, "{name}");
    }
}

#[test]
fn wrong_spans() {
    let body = br#"{"a":"b","model":"auto","model_":"c","n":{"model":"d"}}"#;
    let right = find_model_span(body).expect("has a model");
    for (start, end) in [
        (0, 0),
        (5, 8),
        (right.start, right.end + 1),
        (right.start + 1, right.end),
        (right.end, right.start),
        (1, 9000),
        (usize::MAX, usize::MAX),
    ] {
        let mut edits = Edits {
            model: "x",
            model_span: start..end,
            ask_usage: true,
            strip_reasoning: false,
        };
        assert_eq!(rewrite(body, &edits), None, "{start}..{end}");
        edits.model_span = right.clone();
        assert!(rewrite(body, &edits).is_some());
    }
}

#[test]
fn no_json_object() {
    for body in [
        "",
        "[]",
        "{",
        r#"{"model":"auto"} x"#,
        r#"{"model":"auto","messages":[{"reasoning":1,}]}"#,
        r#"{"model":"auto","messages":[{"reasoning":1}"#,
        r#"{"model":"auto","messages":{"reasoning":1}}"#,
        r#"{"model":"auto","messages":[[1]]}"#,
    ] {
        let edits = Edits {
            model: "x",
            model_span: 9..15,
            ask_usage: false,
            strip_reasoning: true,
        };
        assert_eq!(rewrite(body.as_bytes(), &edits), None, "{body}");
    }
}

#[test]
fn deep_nesting_is_skipped() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = |thinking: &str, options: &str| {
        format!(
            "{{\"model\":\"gpt-5\",\"x\":{deep},\"messages\":[{{\"content\":{deep}{thinking}}}],\
             \"stream_options\":{{{options}\"x\":{deep}}}}}"
        )
    };
    let thinking = format!(
        ",\"reasoning\":{deep},\"reasoning_details\":[{{\"format\":\"google-gemini-v1\",\"data\":{deep}}}]"
    );
    let out = edit(&body(&thinking, ""), true, true);
    assert!(out == Some(body("", "\"include_usage\":true,")));
}

/// What a client got as `reasoning_details` from Claude or Gemini, and hands to a third provider.
#[test]
fn details_that_our_translations_write_go_and_those_of_others_stay() {
    let told = Told {
        created: 1,
        model: "m",
        include_usage: false,
    };
    let claude = br#"{"type":"message","id":"i","role":"assistant","model":"m","stop_reason":"end_turn","content":[
        {"type":"thinking","thinking":"Hm","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"text","text":"Hi"}]}"#;
    let gemini = br#"{"candidates":[{"index":0,"finishReason":"STOP","content":{"parts":[
        {"text":"Hm","thought":true},{"text":"Hi","thoughtSignature":"s"},{"functionCall":{"name":"f","args":{}},"thoughtSignature":"t"}]}}]}"#;
    let answers = [
        anthropic::answer::to_chat(claude, &told).expect("an answer"),
        gemini::answer::to_chat(gemini, &told).expect("an answer"),
    ];
    for answer in answers {
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let mut message = answer["choices"][0]["message"].clone();
        assert!(message["reasoning_details"].is_array(), "{message}");
        let sent = |message: &Value| {
            let body = json!({"model": "auto", "messages": [message]}).to_string();
            let out: Value = serde_json::from_str(&edit(&body, false, true)?).ok()?;
            Some(out["messages"][0].clone())
        };
        let out = sent(&message).expect("a request");
        for name in ["reasoning_details", "reasoning_content", "reasoning"] {
            assert_eq!(out.get(name), None, "{out}");
        }
        let other =
            json!({"type": "reasoning.summary", "summary": "Hm", "format": "xai-responses-v1"});
        message["reasoning_details"]
            .as_array_mut()
            .expect("a list")
            .push(other.clone());
        let out = sent(&message).expect("a request");
        assert_eq!(out["reasoning_details"], json!([other]));
    }
}

// === properties ===

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!({"reasoning": 1, "stream_options": null, "model": "x"})),
        Just(json!([{"reasoning": 1}])),
        proptest::collection::vec(
            prop_oneof![
                Just(json!({"format": "anthropic-claude-v1", "text": "a, ]"})),
                Just(json!({"index": 1, "format": "google-gemini-v1"})),
                Just(json!({"format": "openai-responses-v1"})),
                Just(json!("google-gemini-v1")),
            ],
            0..4,
        )
        .prop_map(Value::from),
    ]
}

/// Members in any order, those that are edited among them; written with white space and escapes.
fn object(names: &'static [&'static str]) -> impl Strategy<Value = Vec<(String, Value)>> {
    let name = prop_oneof![
        prop::sample::select(names).prop_map(str::to_owned),
        any::<String>(),
    ];
    proptest::collection::vec((name, scalar()), 0..6)
}

fn write(members: &[(String, String)], blank: &str) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{blank}{name}{blank}:{blank}{value}{blank}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A name as JSON, its underscores escaped or not.
fn quote(name: &str, is_escaped: bool) -> String {
    let json = json!(name).to_string();
    match is_escaped {
        true => json.replace('_', "\\u005f"),
        false => json,
    }
}

/// What the edits mean, on a tree.
fn expect(mut body: Map<String, Value>, ask_usage: bool, strip_reasoning: bool) -> Value {
    body.insert("model".into(), "gpt-5".into());
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
    if strip_reasoning {
        for message in body["messages"].as_array_mut().expect("a list") {
            let message = message.as_object_mut().expect("an object");
            let details = message.get_mut("reasoning_details");
            let Some(details) = details.and_then(Value::as_array_mut) else {
                continue;
            };
            let before = details.len();
            details.retain(|detail| {
                !matches!(
                    detail["format"].as_str(),
                    Some("anthropic-claude-v1" | "google-gemini-v1")
                )
            });
            let left = details.len();
            if left < before {
                message
                    .retain(|name, _| !matches!(name.as_str(), "reasoning" | "reasoning_content"));
            }
            if left < before && left == 0 {
                message.remove("reasoning_details");
            }
        }
    }
    body.into()
}

proptest! {
    #[test]
    fn the_edits_and_nothing_else(
        messages in proptest::collection::vec(
            object(&["reasoning", "reasoning_details", "reasoning_content", "role", "content"]),
            0..4,
        ),
        options in prop::option::of(object(&["include_usage", "include_obfuscation"])),
        at in 0usize..3,
        blank in "[ \n\t]{0,2}",
        is_escaped: bool,
        ask_usage: bool,
        strip_reasoning: bool,
    ) {
        let encode = |members: &Vec<(String, Value)>| {
            // Of a name that comes twice the tree knows one.
            let mut names = std::collections::HashSet::new();
            let members: Vec<_> = members
                .iter()
                .filter(|(name, _)| names.insert(name.clone()))
                .map(|(name, value)| (quote(name, is_escaped), value.to_string()))
                .collect();
            write(&members, &blank)
        };
        let messages: Vec<String> = messages.iter().map(encode).collect();
        let messages = format!("[{blank}{}]", messages.join(","));
        let mut members = vec![("\"messages\"".to_owned(), messages)];
        if let Some(options) = options {
            members.push((quote("stream_options", is_escaped), encode(&options)));
        }
        members.insert(at.min(members.len()), ("\"model\"".to_owned(), "\"auto\"".to_owned()));
        let body = write(&members, &blank);

        let out = edit(&body, ask_usage, strip_reasoning).expect("a good request");
        let tree: Map<String, Value> = serde_json::from_str(&body).expect("JSON");
        let out_tree: Value = serde_json::from_str(&out).expect("JSON");
        prop_assert_eq!(&out_tree, &expect(tree, ask_usage, strip_reasoning), "{}", &body);
        // A second time there is nothing left to do.
        prop_assert_eq!(edit(&out, ask_usage, strip_reasoning), Some(out));
    }

    #[test]
    fn without_flags_it_is_rewrite_model(body in any::<Vec<u8>>(), start in 0usize..40, end in 0usize..40) {
        let edits = Edits { model: "x", model_span: start..end, ask_usage: false, strip_reasoning: false };
        prop_assert_eq!(rewrite(&body, &edits), rewrite_model(&body, start..end, "x"));
    }

    #[test]
    fn no_panic(
        body in r#"[{}\[\]":, a-z]{0,12}("model":"a"|"messages":\[|"stream_options":\{|\{"reasoning":|[{}\[\]":,0 ]){0,8}"#,
        start in 0usize..40,
        end in 0usize..40,
        flags: (bool, bool),
    ) {
        let model_span = find_model_span(body.as_bytes()).unwrap_or(start..end);
        let edits = Edits { model: "x", model_span, ask_usage: flags.0, strip_reasoning: flags.1 };
        rewrite(body.as_bytes(), &edits);
    }
}
