//! Google's errors, from files, and what no file can hold.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::fixtures::cases;
use crate::provider::error::MAX_QUOTED;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    /// The status that the body came with; 200 is an event of a stream.
    status: u16,
    body: Value,
    /// `null` where the body is no error of Google's.
    expected: Option<Expected>,
    gateways_fault: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: u16,
    #[serde(rename = "type")]
    kind: String,
    code: String,
    quoted: String,
    /// The message of the client's error object.
    message: String,
}

#[test]
fn fixtures() {
    for (name, text) in cases("gemini/error", 24) {
        let case: Case = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(case.source.starts_with("https://"), "{name}");
        let body = case.body.to_string();
        let fault = read(case.status, body.as_bytes());
        assert_eq!(
            is_gateways_fault(case.status, body.as_bytes()),
            case.gateways_fault,
            "{name}"
        );
        let Some(expected) = case.expected else {
            assert_eq!(fault, None, "{name}");
            continue;
        };
        let fault = fault.unwrap_or_else(|| panic!("{name}: no fault"));
        assert_eq!(
            (fault.status, fault.kind, fault.code, &*fault.quoted),
            (
                expected.status,
                &*expected.kind,
                &*expected.code,
                &*expected.quoted
            ),
            "{name}"
        );
        let body: Value = serde_json::from_slice(&fault.body()).expect("JSON");
        assert_eq!(body["error"]["message"], expected.message, "{name}");
        assert_eq!(body["error"]["code"], expected.code, "{name}");
        assert_eq!(body["error"]["type"], expected.kind, "{name}");
    }
}

#[test]
fn statuses_by_name() {
    for (name, expected) in [
        ("INVALID_ARGUMENT", 400),
        ("FAILED_PRECONDITION", 403),
        ("OUT_OF_RANGE", 400),
        ("UNAUTHENTICATED", 401),
        ("PERMISSION_DENIED", 403),
        ("NOT_FOUND", 404),
        ("ABORTED", 409),
        ("ALREADY_EXISTS", 409),
        ("RESOURCE_EXHAUSTED", 429),
        ("CANCELLED", 499),
        ("INTERNAL", 500),
        ("UNKNOWN", 500),
        ("DATA_LOSS", 500),
        ("UNIMPLEMENTED", 501),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
        ("SOMETHING_NEW", 500),
    ] {
        let body = format!(r#"{{"error":{{"message":"x","status":"{name}"}}}}"#);
        let fault = read(200, body.as_bytes()).expect("a fault");
        assert_eq!(fault.status, expected, "{name}");
    }
}

#[test]
fn what_is_too_long_is_cut() {
    let body = format!(
        r#"{{"error":{{"message":"{}"}}}}"#,
        "\u{e9}".repeat(100_000)
    );
    let fault = read(500, body.as_bytes()).expect("a fault");
    assert_eq!(fault.quoted, "\u{e9}".repeat(MAX_QUOTED));
    let at_the_edge = format!("{} yy", "x".repeat(499));
    assert_eq!(quote(&at_the_edge), "x".repeat(499));
}

#[test]
fn deep_nesting_is_skipped() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"[{{"error":{{"message":"x","details":{deep},"code":{deep}}}}}]"#);
    assert_eq!(read(503, body.as_bytes()).expect("a fault").quoted, "x");
}

proptest! {
    #[test]
    fn always_an_openai_error(status in any::<u16>(), message in any::<String>(), code in any::<i32>()) {
        let body = serde_json::json!({"error": {"code": code, "message": message, "status": message}});
        let fault = read(status, body.to_string().as_bytes()).expect("a fault");
        prop_assert!((400..600).contains(&fault.status));
        let body: Value = serde_json::from_slice(&fault.body()).expect("JSON");
        prop_assert!(body["error"]["message"].is_string());
    }

    #[test]
    fn no_bytes_panic(status in any::<u16>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(status, &bytes);
        let _ = is_gateways_fault(status, &bytes);
    }
}
