//! Requests of clients that speak Messages, and the chat completions that they become.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::fixtures::{cases, check_source};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    source: String,
    #[serde(default)]
    unsupported: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(borrow)]
    messages: &'a RawValue,
    expected: Option<Value>,
    #[serde(default)]
    dropped: Vec<String>,
    error: Option<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    code: String,
    param: Option<String>,
}

fn dropping(body: &str) -> Translated {
    match to_chat(body.as_bytes(), Unsupported::Drop, Takes::OPENAI) {
        Ok(asked) => asked,
        Err(fault) => panic!("{body}: {fault:?}"),
    }
}

fn refused(body: &str) -> ErrorReply {
    to_chat(body.as_bytes(), Unsupported::Drop, Takes::OPENAI).expect_err(body)
}

fn with_messages(messages: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":9,"messages":[{messages}]}}"#)
}

fn with_top(top: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"x"}}],{top}}}"#)
}

#[test]
fn fixtures() {
    for (name, text) in cases("messages/request", 104) {
        let case: Case<'_> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_source(&name, &case.source);
        let unsupported = match case.unsupported.as_deref() {
            None => Unsupported::Drop,
            Some("refuse") => Unsupported::Refuse,
            Some(other) => panic!("{name}: {other}"),
        };
        let takes = match case.target.as_deref() {
            None => Takes::OPENAI,
            Some("gemini") => Takes::GEMINI,
            Some(other) => panic!("{name}: {other}"),
        };
        let asked = to_chat(case.messages.get().as_bytes(), unsupported, takes);
        match (asked, case.expected, case.error) {
            (Ok(asked), Some(expected), None) => {
                let body: Value = serde_json::from_slice(&asked.body).unwrap();
                assert_eq!(body, expected, "{name}");
                assert_eq!(asked.dropped, case.dropped, "{name}");
            }
            (Err(reply), None, Some(fault)) => {
                assert_eq!(
                    (reply.status, reply.code, &reply.param),
                    (400, fault.code.as_str(), &fault.param),
                    "{name}: {reply:?}"
                );
                let param = reply.param.as_deref().unwrap_or_default();
                assert!(reply.message.contains(param), "{name}: {reply:?}");
            }
            (asked, ..) => panic!("{name}: {asked:?}"),
        }
    }
}

#[test]
fn what_is_free_is_copied_byte_by_byte() {
    let check = |body: &str, expected: &str| {
        let asked = dropping(body);
        let text = String::from_utf8(asked.body).unwrap();
        assert!(text.contains(expected), "{text}");
    };
    let odd = r#"{ "z":1.0E2, "a" : 12345678901234567890123, "\u0061":[ ] }"#;
    check(
        &with_top(&format!(r#""tools":[{{"name":"t","input_schema":{odd}}}]"#)),
        &format!(r#""parameters":{odd}"#),
    );
    check(
        &with_top(&format!(
            r#""output_config":{{"format":{{"type":"json_schema","schema":{odd}}}}}"#
        )),
        &format!(r#""schema":{odd}"#),
    );
    check(
        &with_messages(&format!(
            r#"{{"role":"assistant","content":[{{"type":"tool_use","id":"i","name":"t","input":{odd}}}]}}"#
        )),
        &format!(r#""arguments":{}"#, serde_json::to_string(odd).unwrap()),
    );
    check(&with_top(r#""temperature":0.10"#), r#""temperature":0.10"#);
    check(
        r#"{"model":"m\u006f","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"m\u006f","messages":[{"role":"user","content":"x"}],"max_completion_tokens":9}"#,
    );
}

/// The order is one for prompt caches: what is stable comes out the same every time.
#[test]
fn whole_body() {
    let asked = dropping(
        r#"{"stream":true,"tools":[{"input_schema":{},"name":"t"}],"messages":[{"content":[{"text":"a","type":"text"},{"type":"image","source":{"data":"AA==","type":"base64","media_type":"image/png"}}],"role":"user"}],"system":"s","max_tokens":9,"model":"m"}"#,
    );
    assert_eq!(
        String::from_utf8(asked.body).unwrap(),
        concat!(
            r#"{"model":"m","messages":[{"role":"system","content":"s"},"#,
            r#"{"role":"user","content":[{"type":"text","text":"a"},"#,
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}],"#,
            r#""max_completion_tokens":9,"stream":true,"#,
            r#""tools":[{"type":"function","function":{"name":"t","parameters":{}}}]}"#
        )
    );
}

#[test]
fn mistakes() {
    let check = |body: &str, code: &str, param: Option<&str>| {
        let reply = refused(body);
        assert_eq!(
            (reply.status, reply.code, reply.param.as_deref()),
            (400, code, param),
            "{body}: {reply:?}"
        );
        assert!(!reply.message.contains("SECRET"), "{reply:?}");
        assert!(reply.message.len() < 200, "{reply:?}");
    };
    let block = |block: &str, code: &str, param: &str| {
        let message = format!(r#"{{"role":"user","content":[{block}]}}"#);
        let param = format!("messages[0].content[0]{param}");
        check(&with_messages(&message), code, Some(&param));
    };
    let reply_block = |block: &str, param: &str| {
        let message = format!(r#"{{"role":"assistant","content":[{block}]}}"#);
        let param = format!("messages[0].content[0]{param}");
        check(&with_messages(&message), "invalid_type", Some(&param));
    };
    let top = |top: &str, param: &str| check(&with_top(top), "invalid_type", Some(param));

    for body in ["", "{", "{\"SECRET", "{}x", r#"{"a":01}"#] {
        check(body, "invalid_json", None);
    }
    for body in ["[]", "null", "1", r#""SECRET""#] {
        check(body, "not_an_object", None);
    }
    check(
        r#"{"model":"a","mod\u0065l":"b"}"#,
        "duplicate_key",
        Some("model"),
    );
    check(r#"{"x\n":1,"x\n":1}"#, "duplicate_key", Some("x?"));
    let keys: Vec<_> = (0..257).map(|i| format!(r#""k{i}":0"#)).collect();
    check(&format!("{{{}}}", keys.join(",")), "too_many_keys", None);
    check(
        r#"{"model":"","max_tokens":1,"messages":[]}"#,
        "missing_model",
        Some("model"),
    );
    check(
        r#"{"model":["SECRET"],"max_tokens":1,"messages":[]}"#,
        "invalid_type",
        Some("model"),
    );
    check(
        r#"{"model":"m","max_tokens":1,"messages":{"SECRET":1}}"#,
        "invalid_type",
        Some("messages"),
    );

    check(
        &with_messages(r#""SECRET""#),
        "invalid_type",
        Some("messages[0]"),
    );
    check(
        &with_messages(r#"{"role":"user","content":"a","content":"SECRET"}"#),
        "duplicate_key",
        Some("messages[0]"),
    );
    check(
        &with_messages(r#"{"role":7,"content":"a"}"#),
        "invalid_type",
        Some("messages[0].role"),
    );
    check(
        &with_messages(r#"{"content":"a"}"#),
        "invalid_type",
        Some("messages[0].role"),
    );
    check(
        &with_messages(r#"{"role":"user","content":"\ud83dSECRET"}"#),
        "invalid_json",
        Some("messages[0].content"),
    );
    for content in ["null", "1", r#"{"SECRET":1}"#] {
        check(
            &with_messages(&format!(r#"{{"role":"user","content":{content}}}"#)),
            "invalid_type",
            Some("messages[0].content"),
        );
    }
    block(r#""SECRET""#, "invalid_type", "");
    block(r#"["SECRET"]"#, "invalid_type", "");
    block("{}", "invalid_type", ".type");
    block(r#"{"type":1}"#, "invalid_type", ".type");
    block(
        r#"{"type":"text","type":"text","text":"SECRET"}"#,
        "duplicate_key",
        "",
    );
    block(
        r#"{"type":"text","text":["SECRET"]}"#,
        "invalid_type",
        ".text",
    );
    block(r#"{"type":"image"}"#, "invalid_type", ".source");
    block(
        r#"{"type":"image","source":"SECRET"}"#,
        "invalid_type",
        ".source",
    );
    block(
        r#"{"type":"image","source":{"type":"base64","data":"SECRET"}}"#,
        "invalid_type",
        ".source.media_type",
    );
    block(
        r#"{"type":"image","source":{"type":"base64","media_type":"image/png,\"SECRET","data":""}}"#,
        "invalid_value",
        ".source.media_type",
    );
    block(
        r#"{"type":"image","source":{"type":"base64","media_type":"image/png"}}"#,
        "invalid_type",
        ".source.data",
    );
    block(
        r#"{"type":"image","source":{"type":"url"}}"#,
        "invalid_type",
        ".source.url",
    );
    block(
        r#"{"type":"document","source":{"type":"base64","media_type":"text/html","data":"SECRET"}}"#,
        "unsupported_content",
        ".source.media_type",
    );
    block(
        r#"{"type":"document","title":1,"source":{}}"#,
        "invalid_type",
        ".title",
    );
    block(
        r#"{"type":"search_result","title":"a","source":"b"}"#,
        "invalid_type",
        ".content",
    );
    block(
        r#"{"type":"search_result","title":"a","source":"b","content":"SECRET"}"#,
        "invalid_type",
        ".content",
    );
    block(
        r#"{"type":"tool_result","tool_use_id":"a","content":{"SECRET":1}}"#,
        "invalid_type",
        ".content",
    );
    block(
        r#"{"type":"tool_result","tool_use_id":"a","is_error":"SECRET"}"#,
        "invalid_type",
        ".is_error",
    );
    block(
        r#"{"type":"tool_result","tool_use_id":"a","content":[{"type":"tool_result","tool_use_id":"a"}]}"#,
        "unsupported_content",
        ".content[0].type",
    );
    block(
        r#"{"type":"tool_use","id":"a","name":"b","input":{}}"#,
        "unsupported_content",
        ".type",
    );
    reply_block(r#"{"type":"tool_use","name":"b","input":{}}"#, ".id");
    reply_block(r#"{"type":"tool_use","id":"a","input":{}}"#, ".name");
    reply_block(r#"{"type":"tool_use","id":"a","name":"b"}"#, ".input");
    reply_block(
        r#"{"type":"tool_use","id":"a","name":"b","input":"SECRET"}"#,
        ".input",
    );
    reply_block(r#"{"type":"thinking","signature":"SECRET"}"#, ".thinking");
    reply_block(
        r#"{"type":"thinking","thinking":"","signature":1}"#,
        ".signature",
    );
    reply_block(r#"{"type":"redacted_thinking"}"#, ".data");

    top(r#""system":1"#, "system");
    top(r#""system":["SECRET"]"#, "system[0]");
    top(r#""stream":"SECRET""#, "stream");
    top(r#""temperature":"SECRET""#, "temperature");
    top(r#""top_p":{}"#, "top_p");
    top(r#""stop_sequences":"SECRET""#, "stop_sequences");
    top(r#""stop_sequences":[1]"#, "stop_sequences[0]");
    top(r#""metadata":"SECRET""#, "metadata");
    top(r#""metadata":{"user_id":1}"#, "metadata.user_id");
    top(r#""tools":{}"#, "tools");
    top(r#""tools":["SECRET"]"#, "tools[0]");
    top(r#""tools":[{"input_schema":{}}]"#, "tools[0].name");
    top(
        r#""tools":[{"name":"a","input_schema":["SECRET"]}]"#,
        "tools[0].input_schema",
    );
    top(
        r#""tools":[{"name":"a","input_schema":{},"strict":1}]"#,
        "tools[0].strict",
    );
    top(r#""tool_choice":"SECRET""#, "tool_choice");
    top(r#""tool_choice":{}"#, "tool_choice.type");
    top(r#""tool_choice":{"type":"tool"}"#, "tool_choice.name");
    top(r#""thinking":true"#, "thinking");
    top(
        r#""thinking":{"type":"enabled","budget_tokens":-1}"#,
        "thinking.budget_tokens",
    );
    top(r#""output_config":1"#, "output_config");
    top(r#""output_config":{"effort":1}"#, "output_config.effort");
    top(r#""output_format":"SECRET""#, "output_format");
    top(
        r#""output_format":{"type":"json_schema"}"#,
        "output_format.schema",
    );
    check(
        &with_top(r#""output_config":{"effort":"SECRET"}"#),
        "invalid_value",
        Some("output_config.effort"),
    );
    for tokens in ["-1", "1.5", "[]"] {
        check(
            &format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"max_tokens":{tokens}}}"#
            ),
            "invalid_type",
            Some("max_tokens"),
        );
    }
    assert_eq!(
        refused(&with_messages(
            r#"{"role":"user","content":[{"type":"SECRET"}]}"#
        ))
        .message,
        "messages[0].content[0].type is a kind of block that the chosen target cannot be given; leave it out"
    );
}

/// A worker's stack is small: depth must cost none. What is copied may be deep, what is read is refused.
#[test]
fn deep_nesting() {
    const DEPTH: usize = 10_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
        dropping(&with_top(&format!(
            r#""container":{deep},"x":{deep},"tools":[{{"name":"t","input_schema":{{"a":{deep}}},"x":{deep}}}]"#
        )));
        dropping(&with_messages(&format!(
            r#"{{"role":"assistant","x":{deep},"content":[{{"type":"tool_use","id":"i","name":"n","input":{{"a":{deep}}}}}]}}"#
        )));
        for body in [
            with_top(&format!(r#""system":{deep}"#)),
            with_top(&format!(r#""metadata":[{deep}]"#)),
            with_top(&format!(r#""tools":[{deep}]"#)),
            with_top(&format!(r#""thinking":{deep}"#)),
            with_messages(&deep),
            with_messages(&format!(r#"{{"role":"user","content":{deep}}}"#)),
            with_messages(&format!(
                r#"{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"i","content":{deep}}}]}}"#
            )),
            with_messages(&format!(
                r#"{{"role":"user","content":[{{"type":"document","source":{deep}}}]}}"#
            )),
        ] {
            assert_eq!(refused(&body).code, "invalid_type");
        }
        assert_ne!(refused(&deep).code, "");
        assert_ne!(refused(&open.repeat(DEPTH)).code, "");
    }
}

const VALID: &str = r#"{"model":"m","max_tokens":9,"stream":true,"system":[{"type":"text","text":"s"}],"top_k":1,"messages":[{"role":"user","content":[{"type":"text","text":"h\u00e4"},{"type":"image","source":{"type":"url","url":"x"}}]},{"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"tool_use","id":"1","name":"n","input":{"a":[1]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","is_error":true,"content":[{"type":"text","text":"42"}]}]}],"tools":[{"name":"n","input_schema":{}}],"tool_choice":{"type":"any"},"thinking":{"type":"adaptive"}}"#;

/// Whatever was accepted is one JSON object, with a message; whatever was refused says why.
fn holds(body: &[u8]) {
    let ways = [Unsupported::Drop, Unsupported::Refuse];
    let takes = [Takes::OPENAI, Takes::GEMINI];
    for (unsupported, takes) in ways
        .into_iter()
        .flat_map(|way| takes.map(|takes| (way, takes)))
    {
        match to_chat(body, unsupported, takes) {
            Ok(asked) => {
                let chat: Value = serde_json::from_slice(&asked.body).unwrap();
                assert!(!chat["messages"].as_array().unwrap().is_empty());
                assert!(unsupported == Unsupported::Drop || asked.dropped.is_empty());
                // What is sent is a chat completion to the gateway's own reading, too.
                let cut = crate::chat::request::Cut {
                    system: 9,
                    user: 9,
                    ..Default::default()
                };
                let read = crate::chat::request::parse(&asked.body, cut);
                assert!(read.is_ok(), "{read:?}");
            }
            Err(reply) => assert_eq!(reply.status, 400),
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        holds(&body);
    }

    #[test]
    fn mutated_requests_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\u1entl \xc3".to_vec()), any::<bool>()), 0..4),
    ) {
        let mut body = VALID.as_bytes().to_vec();
        for (at, byte, insert) in changes {
            let at = at.index(body.len());
            if insert { body.insert(at, byte) } else { body[at] = byte }
        }
        holds(&body);
    }

    #[test]
    fn any_text_survives(text in ".{0,40}", other in ".{0,40}") {
        let quoted = serde_json::to_string(&text).unwrap();
        let other = serde_json::to_string(&other).unwrap();
        let asked = dropping(&with_messages(&format!(
            r#"{{"role":"user","content":[{{"type":"text","text":{quoted}}},{{"type":"text","text":{other}}}]}}"#
        )));
        let chat: Value = serde_json::from_slice(&asked.body).unwrap();
        prop_assert_eq!(chat["messages"][0]["content"][0]["text"].as_str(), Some(text.as_str()));
    }
}
