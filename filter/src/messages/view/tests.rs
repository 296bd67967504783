//! Bodies as clients of the Messages API send them, and what routing sees of them.

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

const CUT: Cut = Cut {
    system: 10,
    user: 8,
    user_end: 0,
    previous: 0,
    is_weighed: false,
};

fn read(body: &str) -> ChatRequest {
    match parse(body.as_bytes(), CUT) {
        Ok(request) => request,
        Err(bad) => panic!("{body}: {bad:?}"),
    }
}

fn with_messages(messages: &str) -> String {
    format!(r#"{{"model":"auto","max_tokens":1024,"messages":[{messages}]}}"#)
}

fn with_top(top: &str) -> String {
    format!(
        r#"{{"model":"auto","max_tokens":1,{top},"messages":[{{"role":"user","content":"x"}}]}}"#
    )
}

#[test]
fn conversations() {
    // (user, messages, messages_to_user, ends_in_tool_result)
    let check = |messages: &str, expected: (&str, usize, usize, bool)| {
        let c = read(&with_messages(messages)).conversation;
        let found = (
            c.user.as_str(),
            c.messages,
            c.messages_to_user,
            c.ends_in_tool_result,
        );
        assert_eq!(found, expected, "{messages}");
    };
    check(r#"{"role":"user","content":"hi"}"#, ("hi", 1, 1, false));
    check(r#"{"content":"hi","role":"user"}"#, ("hi", 1, 1, false));
    check(r#"{"role":"assistant","content":"hi"}"#, ("", 1, 0, false));
    check(r#"{"role":"user","content":[]}"#, ("", 1, 1, false));
    check(r#"{"role":"user"}"#, ("", 1, 1, false));
    check(
        r#"{"role":"user","content":[{"type":"text","text":"a"},{"text":"b","type":"text","cache_control":{"type":"ephemeral"}}]}"#,
        ("a\nb", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"x"}}]}"#,
        ("[image]", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"}}]}"#,
        ("[documen", 1, 1, false),
    );
    // Cut on a character, not on a byte.
    check(
        r#"{"role":"user","content":"ääääääääää"}"#,
        ("ääääääää", 1, 1, false),
    );
    // A tool loop: the user's message stays the same through it.
    check(
        r#"{"role":"user","content":"one"},{"role":"assistant","content":"a"},{"role":"user","content":"two"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"42"}]}"#,
        ("two", 5, 3, true),
    );
    check(
        r#"{"role":"user","content":"one"},{"role":"user","content":[{"tool_use_id":"t","type":"tool_result"},{"type":"tool_result"}]},{"role":"assistant","content":"a"}"#,
        ("one", 3, 1, false),
    );
    // With something more it is the user's again, and still ends in a tool result.
    check(
        r#"{"role":"user","content":"one"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"42"},{"type":"text","text":"no"}]}"#,
        ("[tool_re", 2, 2, true),
    );
    check(
        r#"{"role":"user","content":[{"type":"text","text":"no"},{"type":"tool_\u0072esult","content":[{"type":"text","text":"secret"}]}]}"#,
        ("no\n[tool", 1, 1, true),
    );
    check(
        r#"{"role":"user","content":[{"type":"tool_result"}]}"#,
        ("", 1, 0, true),
    );
    // Only a user's blocks are results; OpenAI's roles mean nothing here.
    check(
        r#"{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_result"}]}"#,
        ("a", 2, 1, false),
    );
    check(
        r#"{"role":"user","content":"a"},{"role":"tool","content":"b"},{"role":"developer","content":"b"}"#,
        ("a", 3, 1, false),
    );
    // Twice the same key inside a message: the last counts, in every field alike.
    check(
        r#"{"role":"user","content":[{"type":"tool_result"}],"content":"b"}"#,
        ("b", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":"b","content":[{"type":"text","type":"tool_result"}]}"#,
        ("", 1, 0, true),
    );
    check(
        r#"{"r\u006fle":"us\u0065r","cont\u0065nt":"a\u0062"}"#,
        ("ab", 1, 1, false),
    );
}

#[test]
fn systems() {
    let check = |body: &str, expected: &str| {
        assert_eq!(read(body).conversation.system, expected, "{body}");
    };
    check(&with_top(r#""x":1"#), "");
    check(&with_top(r#""system":"be brief""#), "be brief");
    check(&with_top(r#""system":null"#), "");
    check(&with_top(r#""system":[]"#), "");
    check(&with_top(r#""s\u0079stem":"b\u0065""#), "be");
    check(&with_top(r#""system":"0123456789abc""#), "0123456789");
    check(
        &with_top(
            r#""system":[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]"#,
        ),
        "a\nb",
    );
    // Before or after the messages, and before those among them.
    let messages = r#"[{"role":"user","content":"x"},{"role":"system","content":"then"},{"role":"system","content":[{"type":"text","text":"last"}]}]"#;
    for body in [
        format!(r#"{{"model":"m","max_tokens":1,"system":"1st","messages":{messages}}}"#),
        format!(r#"{{"messages":{messages},"model":"m","max_tokens":1,"system":"1st"}}"#),
    ] {
        check(&body, "1st\nthen\nl");
    }
    check(
        &format!(r#"{{"model":"m","max_tokens":1,"messages":{messages}}}"#),
        "then\nlast",
    );
    check(
        &format!(r#"{{"model":"m","max_tokens":1,"system":"","messages":{messages}}}"#),
        "then\nlast",
    );
    // A chat completion has no such key.
    let chat =
        crate::chat::request::parse(with_top(r#""system":{"a":1}"#).as_bytes(), CUT).unwrap();
    assert_eq!(chat.conversation.system, "");
}

#[test]
fn models_and_streams() {
    let check = |head: &str, model: &str, raw: &str, stream: bool| {
        let body = format!(
            r#"{{{head},"messages":[{{"role":"user","content":"x"}}],"max_tokens":0,"thinking":{{"type":"adaptive"}}}}"#
        );
        let request = read(&body);
        assert_eq!(request.model, model, "{head}");
        assert_eq!(&body[request.model_span], raw, "{head}");
        assert_eq!(request.stream, stream, "{head}");
    };
    check(r#""model":"claude-x""#, "claude-x", r#""claude-x""#, false);
    check("\"model\" : \n \"m\"  ", "m", r#""m""#, false);
    check(
        r#""mod\u0065l":"a\u0062\"","stream":true"#,
        "ab\"",
        r#""a\u0062\"""#,
        true,
    );
    check(r#""stream":false,"model":"ä""#, "ä", r#""ä""#, false);
    check(r#""stream":null,"model":"x""#, "x", r#""x""#, false);
    check(
        r#""metadata":{"model":"y"},"model":"x""#,
        "x",
        r#""x""#,
        false,
    );
}

#[test]
fn mistakes() {
    let check = |body: &str, code: &str, param: Option<&str>| {
        let bad = parse(body.as_bytes(), CUT).expect_err(body);
        assert_eq!(
            (bad.code, bad.param.as_deref()),
            (code, param),
            "{body}: {bad:?}"
        );
        assert!(!bad.message.contains("SECRET"), "{bad:?}");
        assert!(bad.message.len() < 200, "{bad:?}");
    };
    let message = |message: &str, param: &str| {
        check(&with_messages(message), "invalid_type", Some(param));
    };
    check("", "invalid_json", None);
    check("{\"SECRET", "invalid_json", None);
    check("{}}", "invalid_json", None);
    check("[]", "not_an_object", None);
    check(r#""SECRET""#, "not_an_object", None);
    check("{}", "missing_model", Some("model"));
    check(
        r#"{"model":"","max_tokens":1,"messages":[{"role":"user"}]}"#,
        "missing_model",
        Some("model"),
    );
    check(
        r#"{"model":1,"max_tokens":1,"messages":[{"role":"user"}]}"#,
        "invalid_type",
        Some("model"),
    );
    check(
        r#"{"model":"m","max_tokens":1}"#,
        "missing_messages",
        Some("messages"),
    );
    check(
        r#"{"model":"m","max_tokens":1,"messages":[]}"#,
        "empty_messages",
        Some("messages"),
    );
    check(r#"{"messages":"SECRET"}"#, "invalid_type", Some("messages"));
    check(
        r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#,
        "missing_max_tokens",
        Some("max_tokens"),
    );
    for value in [
        "null",
        "-1",
        "1.5",
        r#""SECRET""#,
        "[1]",
        "{}",
        "true",
        "1e3",
    ] {
        check(
            &format!(r#"{{"max_tokens":{value}}}"#),
            "invalid_type",
            Some("max_tokens"),
        );
    }
    check(r#"{"stream":1}"#, "invalid_type", Some("stream"));
    for key in ["model", "max_tokens", "system", "messages", "stream", "x"] {
        let value = match key {
            "max_tokens" => "1",
            "messages" => "[]",
            "stream" => "true",
            _ => r#""SECRET""#,
        };
        check(
            &format!(r#"{{"{key}":{value},"{key}":{value}}}"#),
            "duplicate_key",
            Some(key),
        );
    }
    check(
        r#"{"system":"a","s\u0079stem":"b"}"#,
        "duplicate_key",
        Some("system"),
    );
    for (system, param) in [
        ("1", "system"),
        (r#"{"SECRET":1}"#, "system"),
        (r#"["SECRET"]"#, "system[0]"),
        (
            r#"[{"type":"text","text":"a"},{"text":"SECRET"}]"#,
            "system[1].type",
        ),
        (r#"[{"type":"text","text":1}]"#, "system[0].text"),
        (r#"[{"type":"text"}]"#, "system[0].text"),
    ] {
        check(
            &format!(r#"{{"system":{system}}}"#),
            "invalid_type",
            Some(param),
        );
    }
    message(r#""SECRET""#, "messages[0]");
    message(r#"{"role":"user"},null"#, "messages[1]");
    message(r#"{"content":"SECRET"}"#, "messages[0].role");
    message(r#"{"role":1}"#, "messages[0].role");
    message(r#"{"role":"user","content":1}"#, "messages[0].content");
    message(
        r#"{"role":"user","content":["SECRET"]}"#,
        "messages[0].content[0]",
    );
    message(
        r#"{"role":"user","content":[{"type":"image"},{"text":"SECRET"}]}"#,
        "messages[0].content[1].type",
    );
    message(
        r#"{"role":"user","content":[{"type":"text","text":null}]}"#,
        "messages[0].content[0].text",
    );
    assert_eq!(
        parse(b"{\"a\":\"\xff\"}", CUT).unwrap_err().message,
        "the body is not UTF-8 from byte 6 on; send JSON in UTF-8"
    );
    assert_eq!(
        parse(br#"{"model":"m","messages":[{"role":"user"}]}"#, CUT)
            .unwrap_err()
            .message,
        "max_tokens is missing; say how many tokens the answer may have"
    );
}

/// A worker's stack is small: depth must cost none, wherever it is.
#[test]
fn deep_nesting() {
    const DEPTH: usize = 10_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
        let bad = |body: String| parse(body.as_bytes(), CUT).expect_err("refused").code;

        read(&with_top(&format!(r#""tools":{deep}"#)));
        read(&with_messages(&format!(
            r#"{{"role":"assistant","content":[{{"type":"tool_use","input":{deep}}}]}}"#
        )));
        read(&with_messages(&format!(
            r#"{{"role":"user","content":[{{"type":"tool_result","content":{deep},"text":{deep}}}]}}"#
        )));
        for place in [
            with_top(&format!(r#""system":{deep}"#)),
            with_top(&format!(r#""system":[{deep}]"#)),
            format!(r#"{{"max_tokens":{deep}}}"#),
            format!(r#"{{"messages":{deep}}}"#),
            with_messages(&format!(r#"{{"role":"user","content":{deep}}}"#)),
            with_messages(&format!(r#"{{"role":{deep}}}"#)),
        ] {
            assert_eq!(bad(place), "invalid_type");
        }
        assert_eq!(bad(open.repeat(DEPTH)), bad(open.to_owned()));
    }
}

const VALID: &str = r#"{"model":"claude-\u0061","max_tokens":1024,"stream":true,"system":[{"type":"text","text":"be brief ä"}],"temperature":0.10,"messages":[{"role":"user","content":[{"type":"text","text":"h\u00e4llo"},{"type":"image","source":{"type":"url","url":"x"}}]},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"n","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"42"}]}],"tools":[]}"#;

/// Whatever was accepted, the span is a JSON string that says the model.
fn holds(body: &[u8], cut: Cut) {
    if let Ok(request) = parse(body, cut) {
        let raw = &body[request.model_span.clone()];
        assert_eq!(
            serde_json::from_slice::<String>(raw).unwrap(),
            request.model
        );
        let conversation = request.conversation;
        assert!(conversation.system.chars().count() <= cut.system);
        assert!(conversation.user.chars().count() <= cut.user);
        assert!(conversation.messages_to_user <= conversation.messages);
        assert!(serde_json::from_slice::<IgnoredAny>(body).is_ok());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        holds(&body, CUT);
    }

    #[test]
    fn mutated_requests_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\u1entl \xc3".to_vec()), any::<bool>()), 0..4),
        cut in (0usize..30, 0usize..30),
    ) {
        let mut body = VALID.as_bytes().to_vec();
        for (at, byte, insert) in changes {
            let at = at.index(body.len());
            if insert { body.insert(at, byte) } else { body[at] = byte }
        }
        holds(&body, Cut { system: cut.0, user: cut.1, ..Cut::default() });
    }

    #[test]
    fn the_order_of_keys_changes_nothing(
        order in Just(vec![
            r#""model":"m""#,
            r#""max_tokens":5"#,
            r#""system":"one""#,
            r#""stream":true"#,
            r#""messages":[{"role":"user","content":"x"},{"role":"system","content":"two"}]"#,
        ]).prop_shuffle(),
        system in 0usize..10,
    ) {
        let body = format!("{{{}}}", order.join(","));
        let request = parse(body.as_bytes(), Cut { system, user: 9, ..Cut::default() }).unwrap();
        prop_assert_eq!(request.conversation.system, "one\ntwo".chars().take(system).collect::<String>());
        prop_assert_eq!(request.conversation.user, "x");
        prop_assert_eq!((request.model.as_str(), request.stream), ("m", true));
        prop_assert_eq!(&body[request.model_span], r#""m""#);
    }
}

#[test]
fn a_count_needs_no_limit() {
    let body = br#"{"model":"auto","messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(parse(body, CUT).unwrap_err().code, "missing_max_tokens");
    assert_eq!(parse_count(body, CUT).unwrap().conversation.user, "x");
}
