//! Requests of a Messages client on their way to providers of other formats.

use proptest::prelude::*;

use super::*;

/// A mended fault: such a stream asked for its usage whatever the policy said. What the client is told of it stays whole.
#[test]
fn a_messages_clients_stream_is_asked_for_its_usage_unless_the_policy_has_spoken() {
    let sent = |wire: &Wire, body: &str| {
        let adapted = wire.request(body.as_bytes(), None).expect("a request");
        serde_json::from_slice::<Value>(&adapted.body).expect("JSON")
    };
    let body = asked(Dialect::Messages, true);
    // Not a field of the API: it says nothing.
    let confused = body.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    let whole = asked(Dialect::Messages, false);
    let mut wire = wire(Dialect::Messages, Api::OpenAi, true);
    for include_usage in [false, true] {
        wire.include_usage = include_usage;
        wire.stream_usage = true;
        for body in [&body, &confused] {
            assert_eq!(
                sent(&wire, body)["stream_options"],
                json!({"include_usage": true})
            );
        }
        wire.stream_usage = false;
        for body in [&body, &confused, &whole] {
            assert_eq!(sent(&wire, body).get("stream_options"), None);
        }
    }
    wire.stream = false;
    wire.stream_usage = true;
    assert_eq!(sent(&wire, &whole).get("stream_options"), None);

    wire.stream = true;
    let events = events(Api::OpenAi);
    let (text, usage) = given(&wire, &[events.as_bytes()]);
    assert_eq!(usage, SPENT);
    assert!(text.contains(r#""input_tokens":5,"#), "{text}");
    assert!(text.contains(r#""output_tokens":2}"#), "{text}");
    wire.stream_usage = false;
    let untold: String = events
        .split_inclusive("\n\n")
        .filter(|event| !event.contains("prompt_tokens"))
        .collect();
    let (text, usage) = given(&wire, &[untold.as_bytes()]);
    assert_eq!(usage, Usage::default());
    let end = text.split("event: message_delta").nth(1).expect("an end");
    assert!(end.contains(r#""output_tokens":0}"#), "{text}");
}

/// A mended fault: what the second translation dropped or refused was named as in a chat completion.
#[test]
fn a_messages_client_at_gemini_reads_its_own_names() {
    let tools = r#""tools":[{"name":"t","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true}"#;
    let sequences = r#""stop_sequences":["a","b","c","d","e","f"]"#;
    let body = |more: &str| {
        format!(
            r#"{{"model":"auto","max_tokens":9,"messages":[{{"role":"user","content":"hi"}}],{more}}}"#
        )
    };
    let mut wire = wire(Dialect::Messages, Api::Gemini, false);
    for (more, name) in [
        (r#""metadata":{"user_id":"u"}"#, "metadata.user_id"),
        (tools, "tool_choice.disable_parallel_tool_use"),
        (sequences, "stop_sequences"),
        (
            r#""thinking":{"type":"enabled","budget_tokens":1024}"#,
            "thinking",
        ),
        (
            r#""output_config":{"effort":"low"}"#,
            "output_config.effort",
        ),
        (r#""service_tier":"standard_only""#, "service_tier"),
    ] {
        wire.unsupported = Unsupported::Drop;
        let adapted = wire.request(body(more).as_bytes(), None);
        assert_eq!(adapted.expect(name).dropped, [name]);
        wire.unsupported = Unsupported::Refuse;
        let refused = wire.request(body(more).as_bytes(), None);
        let Err(Unadaptable::Refused(refusal)) = refused else {
            panic!("{name}: {refused:?}");
        };
        assert_eq!(refusal.param.as_deref(), Some(name));
        assert!(refusal.message.starts_with(name), "{refusal:?}");
    }
    let image = |source: &str| {
        format!(
            r#"{{"role":"user","content":[{{"type":"text","text":"hi"}},{{"type":"image","source":{source}}}]}}"#
        )
    };
    let result =
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"42"}]}"#;
    for (body, path) in [
        (
            body(r#""stream":false"#).replace(":9", ":9223372036854775808"),
            "max_tokens",
        ),
        (body(r#""top_k":9223372036854775808"#), "top_k"),
        (
            format!(
                r#"{{"model":"auto","max_tokens":9,"system":"s","messages":[{{"role":"user","content":"a"}},{}]}}"#,
                image(r#"{"type":"url","url":"ftp://a/b.png"}"#)
            ),
            "messages[1].content[1].source.url",
        ),
        (
            format!(
                r#"{{"model":"auto","max_tokens":9,"system":"s","messages":[{{"role":"user","content":"a"}},{result}]}}"#
            ),
            "messages[1].content[0].tool_use_id",
        ),
        (
            r#"{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":""}]}"#
                .to_owned(),
            "messages",
        ),
    ] {
        let refused = wire.request(body.as_bytes(), None);
        let Err(Unadaptable::Refused(refusal)) = refused else {
            panic!("{path}: {refused:?}");
        };
        assert_eq!(refusal.param.as_deref(), Some(path));
        assert!(refusal.message.starts_with(path), "{refusal:?}");
    }
}

/// A mended fault: Gemini takes five, and the fifth was lost on the way through a chat completion, which takes four.
#[test]
fn a_messages_client_at_gemini_keeps_top_k_and_its_fifth_stop_sequence() {
    let body = r#"{"model":"auto","max_tokens":9,"top_k":40,"stop_sequences":["a","b","c","d","e"],"messages":[{"role":"user","content":"hi"}]}"#;
    let sent = |api: Api| {
        let adapted = wire(Dialect::Messages, api, false).request(body.as_bytes(), None);
        let Adapted { body, dropped } = adapted.expect("a request");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        (body, dropped)
    };
    let (body, dropped) = sent(Api::Gemini);
    let config = &body["generationConfig"];
    assert_eq!(config["stopSequences"], json!(["a", "b", "c", "d", "e"]));
    assert_eq!(config["topK"], 40);
    assert_eq!(dropped, [""; 0]);
    // The gateway's own member goes to nobody else.
    let (body, dropped) = sent(Api::OpenAi);
    assert!(!body.to_string().contains("top_k"), "{body}");
    assert_eq!(body["stop"], json!(["a", "b", "c", "d"]));
    assert_eq!(dropped, ["top_k", "stop_sequences"]);
}

/// Words of a chat completion, or of the gateway's own, that a client of Messages did not write.
const FOREIGN: [&str; 9] = [
    "tool_calls",
    "tool_call_id",
    "image_url",
    "file_data",
    "function",
    "max_completion_tokens",
    "reasoning_effort",
    "response_format",
    "pointsman",
];

const VALID: &str = r#"{"model":"m","max_tokens":9,"stream":true,"system":"s","top_k":1,"stop_sequences":["a"],"temperature":0.5,"metadata":{"user_id":"u"},"messages":[{"role":"user","content":[{"type":"text","text":"h"},{"type":"image","source":{"type":"url","url":"https://x"}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AA=="}}]},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"n","input":{"a":[1]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"42"}]}],"tools":[{"name":"n","input_schema":{}}],"tool_choice":{"type":"tool","name":"n","disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":1024},"output_config":{"format":{"type":"json_schema","schema":{}}}}"#;

proptest! {
    #[test]
    fn nothing_is_named_in_words_that_the_client_did_not_write(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\u1e9ntl-".to_vec()), any::<bool>()), 0..3),
        gemini in any::<bool>(),
        refuse in any::<bool>(),
    ) {
        let mut body = VALID.as_bytes().to_vec();
        for (at, byte, insert) in changes {
            let at = at.index(body.len());
            if insert { body.insert(at, byte) } else { body[at] = byte }
        }
        let api = if gemini { Api::Gemini } else { Api::OpenAi };
        let mut wire = wire(Dialect::Messages, api, true);
        if refuse {
            wire.unsupported = Unsupported::Refuse;
        }
        let names = match wire.request(&body, None) {
            Ok(adapted) => adapted.dropped.join(" "),
            Err(Unadaptable::Refused(refusal)) => refusal.param.unwrap_or_default(),
            Err(Unadaptable::Damaged) => panic!("what was written cannot be read"),
        };
        for word in FOREIGN {
            prop_assert!(!names.contains(word), "{names}");
        }
    }
}
