use proptest::prelude::*;

use super::*;

mod cuts;

const CUT: Cut = Cut {
    system: 10,
    user: 8,
    user_end: 0,
    previous: 0,
};

fn read(body: &str) -> ChatRequest {
    match parse(body.as_bytes(), CUT) {
        Ok(request) => request,
        Err(bad) => panic!("{body}: {bad:?}"),
    }
}

fn with_messages(messages: &str) -> String {
    format!(r#"{{"model":"auto","messages":[{messages}]}}"#)
}

#[test]
fn conversations() {
    // (system, user, messages, messages_to_user, ends_in_tool_result)
    let check = |messages: &str, expected: (&str, &str, usize, usize, bool)| {
        let c = read(&with_messages(messages)).conversation;
        let found = (
            c.system.as_str(),
            c.user.as_str(),
            c.messages,
            c.messages_to_user,
            c.ends_in_tool_result,
        );
        assert_eq!(found, expected, "{messages}");
    };
    check(r#"{"role":"user","content":"hi"}"#, ("", "hi", 1, 1, false));
    check(r#"{"content":"hi","role":"user"}"#, ("", "hi", 1, 1, false));
    check(r#"{"role":"user","content":null}"#, ("", "", 1, 1, false));
    check(r#"{"role":"user"}"#, ("", "", 1, 1, false));
    check(
        r#"{"role":"system","content":"be"}"#,
        ("be", "", 1, 0, false),
    );
    // Several system messages are joined; developer counts as one; the cut holds for all of them together.
    check(
        r#"{"role":"system","content":"abcd"},{"role":"system","content":""},{"role":"developer","content":"efghijkl"},{"role":"user","content":"x"}"#,
        ("abcd\nefghi", "x", 4, 4, false),
    );
    // Cut on a character, not on a byte.
    check(
        r#"{"role":"user","content":"ääääääääää"}"#,
        ("", "ääääääää", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":"\ud83d\ude00\ud83d\ude00abcdefghijkl"}"#,
        ("", "😀😀abcdef", 1, 1, false),
    );
    // The latest user message, and a tool loop after it.
    check(
        r#"{"role":"user","content":"one"},{"role":"assistant","content":"a"},{"role":"user","content":"two"},{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},{"role":"tool","tool_call_id":"1","content":"42"}"#,
        ("", "two", 5, 3, true),
    );
    check(
        r#"{"role":"user","content":"a"},{"role":"function","content":"b"}"#,
        ("", "a", 2, 1, true),
    );
    check(
        r#"{"role":"tool","content":"b"},{"role":"assistant","content":"a"}"#,
        ("", "", 2, 0, false),
    );
    // Parts: text counts, the rest is named by kind.
    check(
        r#"{"role":"user","content":[{"type":"text","text":"a"},{"text":"b","type":"text"}]}"#,
        ("", "a\nb", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":[{"type":"file","file":{"file_data":"x"}}]}"#,
        ("", "[file]", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":[{"type":"text","text":"a"},{"text":"secret","type":"aud"}]}"#,
        ("", "a\n[aud]", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":[{"text":{"a":[1]},"type":"x"}]}"#,
        ("", "[x]", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":[{"type":"Image\nURL"}]}"#,
        ("", "[other]", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":[{"type":""}]}"#,
        ("", "[other]", 1, 1, false),
    );
    check(r#"{"role":"user","content":[]}"#, ("", "", 1, 1, false));
    // Twice the same key inside a message: the last counts, in every field alike.
    check(
        r#"{"role":"system","content":"a","role":"user","content":"b"}"#,
        ("", "b", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":"a","content":null}"#,
        ("", "", 1, 1, false),
    );
    check(
        r#"{"role":"user","content":[{"type":"x","type":"text","text":"a","text":"b"}]}"#,
        ("", "b", 1, 1, false),
    );
    check(
        r#"{"r\u006fle":"us\u0065r","cont\u0065nt":"a\u0062"}"#,
        ("", "ab", 1, 1, false),
    );
}

#[test]
fn models_and_streams() {
    let check = |head: &str, model: &str, raw: &str, stream: bool| {
        let body = format!(r#"{{{head},"messages":[{{"role":"user","content":"x"}}]}}"#);
        let request = read(&body);
        assert_eq!(request.model, model, "{head}");
        assert_eq!(&body[request.model_span], raw, "{head}");
        assert_eq!(request.stream, stream, "{head}");
    };
    check(r#""model":"gpt-5""#, "gpt-5", r#""gpt-5""#, false);
    check("\"model\" : \n \"gpt-5\"  ", "gpt-5", r#""gpt-5""#, false);
    check(
        r#""mod\u0065l":"a\u0062\"","stream":true"#,
        "ab\"",
        r#""a\u0062\"""#,
        true,
    );
    check(r#""stream":false,"model":"ä""#, "ä", r#""ä""#, false);
    check(r#""stream":null,"model":"x""#, "x", r#""x""#, false);
    // A nested `model` is not ours.
    check(
        r#""metadata":{"model":"y"},"model":"x""#,
        "x",
        r#""x""#,
        false,
    );
    let longest = "ä".repeat(256);
    check(
        &format!(r#""model":"{longest}""#),
        &longest,
        &format!(r#""{longest}""#),
        false,
    );
    let escaped = r"\ud83d\ude00".repeat(256);
    check(
        &format!(r#""model":"{escaped}""#),
        &"😀".repeat(256),
        &format!(r#""{escaped}""#),
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
    let message = |message: &str, code: &str, param: &str| {
        check(&with_messages(message), code, Some(param));
    };
    check("", "invalid_json", None);
    check("{", "invalid_json", None);
    check("{\"SECRET", "invalid_json", None);
    check(r#"{"model":"SECRET" "x":1}"#, "invalid_json", None);
    check(r#"{"a":01}"#, "invalid_json", None);
    check(r#"{1:2}"#, "invalid_json", None);
    check("\u{feff}{}", "invalid_json", None);
    check(
        &format!("{} x", with_messages(r#"{"role":"user"}"#)),
        "invalid_json",
        None,
    );
    check(
        &format!("{}{{}}", with_messages(r#"{"role":"user"}"#)),
        "invalid_json",
        None,
    );
    for body in [
        "[]",
        "null",
        "1",
        "-1",
        "1.5",
        "true",
        r#""SECRET""#,
        "[[1]]",
    ] {
        check(body, "not_an_object", None);
    }
    check("{}", "missing_model", Some("model"));
    check(
        r#"{"model":"","messages":[{"role":"user"}]}"#,
        "missing_model",
        Some("model"),
    );
    for model in ["null", "1", r#"["SECRET"]"#, "{}", "true"] {
        let body = format!(r#"{{"model":{model},"messages":[{{"role":"user"}}]}}"#);
        check(&body, "invalid_type", Some("model"));
    }
    check(
        &format!(r#"{{"model":"{}"}}"#, "a".repeat(257)),
        "invalid_type",
        Some("model"),
    );
    check(
        &format!(r#"{{"model":"{}"}}"#, "a".repeat(100_000)),
        "invalid_type",
        Some("model"),
    );
    check(r#"{"model":"\ud83d"}"#, "invalid_json", Some("model"));
    check(r#"{"model":"m"}"#, "missing_messages", Some("messages"));
    check(
        r#"{"model":"m","messages":[]}"#,
        "empty_messages",
        Some("messages"),
    );
    for messages in ["null", r#""SECRET""#, "{}", "1"] {
        let body = format!(r#"{{"model":"m","messages":{messages}}}"#);
        check(&body, "invalid_type", Some("messages"));
    }
    for stream in [r#""true""#, "1", "[]", "{}"] {
        check(
            &format!(r#"{{"stream":{stream}}}"#),
            "invalid_type",
            Some("stream"),
        );
    }
    check(
        r#"{"model":"a","model":"b"}"#,
        "duplicate_key",
        Some("model"),
    );
    check(
        r#"{"model":"a","mod\u0065l":"b"}"#,
        "duplicate_key",
        Some("model"),
    );
    check(
        r#"{"messages":[],"stream":true,"messages":[]}"#,
        "duplicate_key",
        Some("messages"),
    );
    check(
        r#"{"x\n`\"ä":1,"x\n`\"ä":2}"#,
        "duplicate_key",
        Some("x????"),
    );
    let long = "k".repeat(1000);
    check(
        &format!(r#"{{"{long}":1,"{long}":2}}"#),
        "duplicate_key",
        Some(&"k".repeat(64)),
    );
    let keys: Vec<_> = (0..257).map(|i| format!(r#""k{i}":0"#)).collect();
    check(&format!("{{{}}}", keys.join(",")), "too_many_keys", None);

    message(r#""SECRET""#, "invalid_type", "messages[0]");
    message(r#"{"role":"user"},null"#, "invalid_type", "messages[1]");
    message(
        r#"{"content":"SECRET"}"#,
        "invalid_type",
        "messages[0].role",
    );
    message(r#"{"role":null}"#, "invalid_type", "messages[0].role");
    message(r#"{"role":["user"]}"#, "invalid_type", "messages[0].role");
    message(
        r#"{"role":"user","content":1}"#,
        "invalid_type",
        "messages[0].content",
    );
    message(
        r#"{"role":"user","content":{"SECRET":1}}"#,
        "invalid_type",
        "messages[0].content",
    );
    message(
        r#"{"role":"user","content":["SECRET"]}"#,
        "invalid_type",
        "messages[0].content[0]",
    );
    message(
        r#"{"role":"user","content":[{"type":"x"},{"text":"SECRET"}]}"#,
        "invalid_type",
        "messages[0].content[1].type",
    );
    message(
        r#"{"role":"user","content":[{"type":7}]}"#,
        "invalid_type",
        "messages[0].content[0].type",
    );
    for text in [
        "",
        r#","text":null"#,
        r#","text":["SECRET"]"#,
        r#","text":1"#,
    ] {
        message(
            &format!(r#"{{"role":"user","content":[{{"type":"text"{text}}}]}}"#),
            "invalid_type",
            "messages[0].content[0].text",
        );
    }
}

#[test]
fn messages_of_mistakes() {
    let check = |body: &[u8], expected: &str| {
        assert_eq!(parse(body, CUT).expect_err(expected).message, expected);
    };
    check(
        b"{\n\"a\":}",
        "the body is not valid JSON: expected value at line 2 column 5",
    );
    check(
        b"{\"a\":\"\xff\"}",
        "the body is not UTF-8 from byte 6 on; send JSON in UTF-8",
    );
    check(b"[]", "the body must be a JSON object");
    check(
        b"{\"a\":1,\"a\":1}",
        "the key `a` occurs twice at the top level; send it once",
    );
    check(
        b"{\"messages\":[{\"role\":\"user\",\"content\":3}]}",
        "messages[0].content must be a string, null, or an array of parts",
    );
}

/// A worker's stack is small: depth must cost none, wherever it is.
#[test]
fn deep_nesting() {
    const DEPTH: usize = 10_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
        let truncated = open.repeat(DEPTH);
        let bad = |body: String| parse(body.as_bytes(), CUT).expect_err("refused").code;

        read(&format!(
            r#"{{"x":{deep},"model":"m","messages":[{{"role":"user"}}]}}"#
        ));
        read(&with_messages(&format!(
            r#"{{"role":"user","tool_calls":{deep}}}"#
        )));
        read(&with_messages(&format!(
            r#"{{"role":"user","content":[{{"type":"x","y":{deep},"text":{deep}}}]}}"#
        )));
        for place in [
            format!(r#"{{"model":{deep},"messages":[{{"role":"user"}}]}}"#),
            format!(r#"{{"stream":{deep}}}"#),
            with_messages(&format!(r#"{{"role":{deep}}}"#)),
            with_messages(&format!(
                r#"{{"role":"user","content":[{{"type":{deep}}}]}}"#
            )),
            format!(r#"{{"messages":{deep}}}"#),
            with_messages(&format!(r#"{{"role":"user","content":{deep}}}"#)),
        ] {
            assert_eq!(bad(place), "invalid_type");
        }
        assert_eq!(bad(format!(r#"{{"x":{truncated}"#)), "invalid_json");
        assert_ne!(bad(deep), "");
        assert_ne!(bad(truncated), "");
    }
}

#[test]
fn cut_of_nothing() {
    let body = with_messages(
        r#"{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]}"#,
    );
    let conversation = parse(
        body.as_bytes(),
        Cut {
            system: 0,
            user: 0,
            ..Cut::default()
        },
    )
    .unwrap()
    .conversation;
    assert_eq!(
        (conversation.system.as_str(), conversation.user.as_str()),
        ("", "")
    );
}

const VALID: &str = r#"{"model":"gpt-5\u0061","stream":true,"temperature":0.10,"messages":[{"role":"system","content":"be brief ä"},{"role":"user","content":[{"type":"text","text":"h\u00e4llo"},{"type":"image_url","image_url":{"url":"data:x"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},{"role":"tool","content":"42"}],"tools":[{"type":"function"}]}"#;

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
    fn any_text_is_cut_on_a_character(text in ".{0,40}", model in ".{1,40}", space in "[ \n\t]{0,5}", system in 0usize..50, user in 0usize..50) {
        let quoted = serde_json::to_string(&text).unwrap();
        let body = format!(
            r#"{{"model":{space}{}{space},"messages":[{{"role":"system","content":{quoted}}},{{"role":"user","content":{quoted}}}]}}"#,
            serde_json::to_string(&model).unwrap()
        );
        let cut = Cut { system, user, ..Cut::default() };
        let request = parse(body.as_bytes(), cut).unwrap();
        holds(body.as_bytes(), cut);
        prop_assert_eq!(request.model, model);
        prop_assert_eq!(request.conversation.system, text.chars().take(system).collect::<String>());
        prop_assert_eq!(request.conversation.user, text.chars().take(user).collect::<String>());
    }
}

#[test]
fn what_a_translation_must_know() {
    // (include_usage, has_reasoning)
    let check = |more: &str, message: &str, expected: (bool, bool)| {
        let body = format!(
            r#"{{"model":"m"{more},"messages":[{{"role":"user","content":"x"}},{{"role":"assistant"{message}}}]}}"#
        );
        let request = read(&body);
        let found = (request.include_usage, request.conversation.has_reasoning);
        assert_eq!(found, expected, "{body}");
    };
    check("", "", (false, false));
    check(
        r#","stream_options":{"include_usage":true}"#,
        "",
        (true, false),
    );
    check(
        r#","stream_options":{"a":[1],"include_usage":true}"#,
        "",
        (true, false),
    );
    check(
        r#","stream\u005foptions":{"include_usage":true}"#,
        "",
        (true, false),
    );
    // What is of a wrong type asks for nothing: the provider says so.
    for options in [
        "null",
        "{}",
        r#"{"include_usage":false}"#,
        r#"{"include_usage":1}"#,
        "[true]",
        "7",
    ] {
        check(
            &format!(r#","stream_options":{options}"#),
            "",
            (false, false),
        );
    }
    for (n, many) in [
        ("1", false),
        ("1.0", false),
        ("2", true),
        ("2e0", true),
        ("null", false),
        ("\"3\"", false),
    ] {
        let body =
            format!(r#"{{"n":{n},"model":"m","messages":[{{"role":"user","content":"x"}}]}}"#);
        assert_eq!(read(&body).many_choices, many, "{body}");
    }
    check("", r#","reasoning_details":[]"#, (false, true));
    check("", r#","reasoning\u005fdetails":null"#, (false, true));
    check("", r#","reasoning_content":"x""#, (false, false));
}
