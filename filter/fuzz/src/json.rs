//! JSON, as a client's parser sees it.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// By the grammar alone: any depth, any number, any escape.
pub fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// The tree of a JSON object. `None` where it is one that no tree can hold: what was copied verbatim may nest deep, or
/// have half a surrogate pair.
pub fn tree(bytes: &[u8]) -> Option<Value> {
    assert!(is_json(bytes), "not JSON: {}", bytes.escape_ascii());
    let is_object = bytes.trim_ascii_start().starts_with(b"{");
    assert!(is_object, "not an object: {}", bytes.escape_ascii());
    serde_json::from_slice(bytes).ok()
}

/// The elements of a field that is a list of at least one.
pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    let list = value[field].as_array().map(Vec::as_slice);
    let list = list.unwrap_or_else(|| panic!("{field} is no list: {value}"));
    assert!(!list.is_empty(), "{field} is empty: {value}");
    list
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    let text = value[field].as_str();
    text.unwrap_or_else(|| panic!("{field} is no string: {value}"))
}

/// `{"error": {"message": "…"}}`, whatever else is in it; of the gateway's own, all four fields as they should be.
pub fn check_openai_error(body: &[u8], is_own: bool) {
    #[derive(Deserialize)]
    struct Error<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: Error<'a>,
    }
    assert!(is_json(body), "not JSON: {}", body.escape_ascii());
    let Body { error } = serde_json::from_slice(body).expect("an error object");
    assert!(error.message.get().starts_with('"'), "no message");
    if is_own {
        let error = &tree(body).expect("a tree")["error"];
        let _ = (text(error, "type"), text(error, "code"));
        assert!(error["param"].is_string() || error["param"].is_null());
    }
}

/// `{"type": "error", "error": {"type": "…", "message": "…"}}`
pub fn check_anthropic_error(body: &[u8]) {
    #[derive(Deserialize)]
    struct Error<'a> {
        #[serde(borrow, rename = "type")]
        kind: &'a RawValue,
        #[serde(borrow)]
        message: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, rename = "type")]
        kind: &'a RawValue,
        #[serde(borrow)]
        error: Error<'a>,
    }
    assert!(is_json(body), "not JSON: {}", body.escape_ascii());
    let Body { kind, error } = serde_json::from_slice(body).expect("an error object");
    assert_eq!(kind.get(), "\"error\"");
    assert!(error.kind.get().starts_with('"') && error.message.get().starts_with('"'));
}
