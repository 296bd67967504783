//! Whole answers, from files, and what no file can hold.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::chat::usage::Usage;
use crate::fixtures::cases;

const TOLD: Told<'_> = Told {
    created: 1_700_000_000,
    model: "gemini-told",
    include_usage: false,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    /// The body as it is, white space included; or as text, where it is not JSON.
    body: Option<Box<RawValue>>,
    text: Option<String>,
    /// `null` where there is no answer.
    expected: Option<Value>,
    /// Prompt, cached, completion, reasoning.
    #[serde(default)]
    usage: [u64; 4],
}

#[test]
fn fixtures() {
    for (name, text) in cases("gemini/answer", 48) {
        let case: Case = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(case.source.starts_with("https://"), "{name}");
        let body = match (&case.body, &case.text) {
            (Some(body), None) => body.get(),
            (None, Some(text)) => text,
            _ => panic!("{name}: either a body or a text"),
        };
        let Some(expected) = case.expected else {
            assert_eq!(to_chat(body.as_bytes(), &TOLD), Err(NoAnswer), "{name}");
            continue;
        };
        let answer = to_chat(body.as_bytes(), &TOLD).unwrap_or_else(|e| panic!("{name}: {e}"));
        let got: Value = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|e| panic!("{name}: {e}: {}", String::from_utf8_lossy(&answer.body)));
        assert_eq!(got, expected, "{name}: {got:#}");
        let [prompt, cached, completion, reasoning] = case.usage;
        let usage = Usage {
            prompt,
            completion,
            cached,
            cache_write: 0,
            reasoning,
        };
        assert_eq!(answer.usage, usage, "{name}");
    }
}

fn body_of(answer: &str) -> Value {
    let answer = to_chat(answer.as_bytes(), &TOLD).expect("an answer");
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// Google's names, and MODEL_ARMOR of Vertex AI, whose page is
/// <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse>.
#[test]
fn finish_reasons() {
    for (reason, expected) in [
        ("STOP", "stop"),
        ("FINISH_REASON_UNSPECIFIED", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("OTHER", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("IMAGE_PROHIBITED_CONTENT", "content_filter"),
        ("IMAGE_OTHER", "content_filter"),
        ("IMAGE_RECITATION", "content_filter"),
        ("NO_IMAGE", "content_filter"),
        ("UNEXPECTED_TOOL_CALL", "content_filter"),
        ("TOO_MANY_TOOL_CALLS", "content_filter"),
        ("MISSING_THOUGHT_SIGNATURE", "content_filter"),
        ("MALFORMED_RESPONSE", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("SOMETHING_NEW", "content_filter"),
    ] {
        let choice = |parts: &str| {
            let body = format!(
                r#"{{"candidates":[{{"content":{{"parts":[{parts}]}},"finishReason":"{reason}"}}]}}"#
            );
            body_of(&body)["choices"][0].take()
        };
        assert_eq!(
            choice(r#"{"text":"Hi"}"#)["finish_reason"],
            expected,
            "{reason}"
        );
        assert_eq!(
            choice(r#"{"text":"Hi"}"#)["message"]["refusal"],
            Value::Null
        );
        let call = choice(r#"{"functionCall":{"name":"f"}}"#);
        let with_call = if expected == "stop" {
            "tool_calls"
        } else {
            expected
        };
        assert_eq!(call["finish_reason"], with_call, "{reason}");
        let empty = choice("");
        let refusal = format!("the provider stopped the answer: {reason}");
        match expected {
            "content_filter" => assert_eq!(empty["message"]["refusal"], refusal),
            _ => assert_eq!(empty["message"]["content"], ""),
        }
    }
}

#[test]
fn a_reason_that_is_no_name_is_not_quoted() {
    for reason in [r#""<b>""#, r#""a\"b""#, "7", "{}", "[\"SAFETY\"]"] {
        let body = body_of(&format!(
            r#"{{"candidates":[{{"finishReason":{reason}}}]}}"#
        ));
        let choice = &body["choices"][0];
        assert_eq!(choice["finish_reason"], "content_filter");
        let refusal = "the provider stopped the answer: a reason that the gateway does not know";
        assert_eq!(choice["message"]["refusal"], refusal);
    }
}

#[test]
fn arguments_are_verbatim() {
    let args = "{ \"z\": 1.0e2,\n\t\"a\":12345678901234567890123, \"z\":\"\\u00e9\\\"\" }";
    let body = body_of(&format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"f","args":{args}}}}}]}}}}]}}"#
    ));
    let call = &body["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], args);
}

#[test]
fn made_ids_are_stable_and_differ_between_answers() {
    let id = |name: &str, created| {
        let body = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"{name}"}}}}]}}}}]}}"#
        );
        let told = Told { created, ..TOLD };
        let answer = to_chat(body.as_bytes(), &told).expect("an answer");
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let call = &body["choices"][0]["message"]["tool_calls"][0]["id"];
        let text = |id: &Value| id.as_str().expect("a string").to_owned();
        (text(&body["id"]), text(call))
    };
    assert_eq!(id("f", 1), id("f", 1));
    assert_ne!(id("f", 1).0, id("g", 1).0);
    assert_ne!(id("f", 1).1, id("f", 2).1);
    let (answer, call) = id("f", 1);
    assert!(answer.starts_with("chatcmpl-") && call.starts_with("call_") && call.len() <= 40);
}

#[test]
fn names_that_are_too_long_are_not_taken() {
    let long = "x".repeat(255);
    let answer = |name: &str| {
        body_of(&format!(
            r#"{{"candidates":[{{}}],"responseId":"{name}","modelVersion":"{name}"}}"#
        ))
    };
    assert_eq!(answer(&long)["model"], "gemini-told");
    assert!(answer(&long)["id"].as_str().expect("a string").len() < 40);
    assert_eq!(answer(&long[..254])["model"], long[..254]);
    assert_eq!(answer(&long[..254])["id"], long[..254]);
}

#[test]
fn choices_are_bounded() {
    let answer = |choices: usize| {
        let body = format!(r#"{{"candidates":[{}]}}"#, vec!["{}"; choices].join(","));
        to_chat(body.as_bytes(), &TOLD)
    };
    assert!(answer(MAX_CHOICES).is_ok());
    assert_eq!(answer(MAX_CHOICES + 1), Err(NoAnswer));
}

#[test]
fn deep_nesting_is_copied_and_skipped() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(
        r#"{{"new":{deep},"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"f","args":{deep}}}}}]}}}}]}}"#
    );
    let body = body_of(&body);
    let call = &body["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], deep);
}

/// JSON of the right names and of any values.
fn response() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("7".to_owned()),
        Just("\"STOP\"".to_owned()),
        Just("\"\\ud83d\\\"\"".to_owned()),
        Just("true".to_owned()),
        Just("{\"name\":\"f\",\"args\":{}}".to_owned()),
    ];
    value.prop_recursive(6, 40, 4, |inner| {
        let key = prop_oneof![
            Just("candidates"),
            Just("content"),
            Just("parts"),
            Just("text"),
            Just("thought"),
            Just("thoughtSignature"),
            Just("functionCall"),
            Just("inlineData"),
            Just("executableCode"),
            Just("logprobsResult"),
            Just("chosenCandidates"),
            Just("finishReason"),
            Just("promptFeedback"),
            Just("blockReason"),
            Just("usageMetadata"),
            Just("index"),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|list| format!("[{}]", list.join(","))),
            proptest::collection::btree_map(key, inner, 0..4).prop_map(|fields| {
                let fields: Vec<String> =
                    fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = to_chat(&bytes, &TOLD);
    }

    #[test]
    fn what_is_written_is_json(candidates in response(), feedback in response(), usage in response()) {
        let body = format!(r#"{{"candidates":[{candidates}],"promptFeedback":{feedback},"usageMetadata":{usage}}}"#);
        if let Ok(answer) = to_chat(body.as_bytes(), &TOLD) {
            prop_assert!(serde_json::from_slice::<&RawValue>(&answer.body).is_ok());
        }
    }

    #[test]
    fn any_text_arrives(text in any::<String>(), thought in any::<String>()) {
        let body = serde_json::json!({"candidates": [{"content": {"parts": [
            {"text": &thought, "thought": true}, {"text": &text}, {"text": &text}
        ]}}]});
        let message = body_of(&body.to_string())["choices"][0]["message"].take();
        prop_assert_eq!(message["content"].as_str(), Some(&*format!("{text}{text}")));
        prop_assert_eq!(message["reasoning_content"].as_str().unwrap_or_default(), thought);
    }
}
