//! Errors in OpenAI's form, and in Anthropic's.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::chat::error::INVALID_REQUEST as KIND;
use crate::fixtures::cases;

#[derive(Deserialize)]
struct Case<'a> {
    source: String,
    status: u16,
    /// JSON, or what is none as a string.
    #[serde(borrow)]
    body: &'a RawValue,
    error: Value,
    /// The body is returned as it is.
    #[serde(default)]
    verbatim: bool,
}

#[test]
fn fixtures() {
    for (name, json) in cases("messages/error", 18) {
        let case: Case<'_> = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(case.source.starts_with("https://"), "{name}");
        let text: Option<String> = serde_json::from_str(case.body.get()).ok();
        let body = text.as_deref().unwrap_or(case.body.get());
        let given = from_openai(case.status, body.as_bytes());
        if case.verbatim {
            assert_eq!(given, body.as_bytes(), "{name}");
            continue;
        }
        let value: Value = serde_json::from_slice(&given).unwrap();
        assert_eq!(value, case.error, "{name}");
        // In Anthropic's form it stays.
        assert_eq!(from_openai(case.status, &given), given, "{name}");
    }
}

#[test]
fn own_errors() {
    let reply = ErrorReply {
        status: 413,
        kind: KIND,
        code: "body_too_large",
        message: "say \"less\"\n".to_owned(),
        param: Some("messages".to_owned()),
    };
    let expected =
        r#"{"type":"error","error":{"type":"request_too_large","message":"say \"less\"\n"}}"#;
    assert_eq!(String::from_utf8(body(&reply)).unwrap(), expected);
    assert_eq!(from_openai(413, &reply.body()), body(&reply));
}

proptest! {
    #[test]
    fn always_of_the_form(status in any::<u16>(), bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let given: Value = serde_json::from_slice(&from_openai(status, &bytes)).unwrap();
        prop_assert_eq!(&given["type"], "error");
        prop_assert!(given["error"]["message"].is_string());
    }
}
