//! OpenAI's wire format: a request goes as the client sent it, but for its model; an answer comes as the provider sent
//! it.
//!
//! Pure. What is rewritten differs from the client's body in the value of the top-level `model`, and in nothing else:
//! not in order, white space, number formats or unknown fields. [`request`] makes the few further edits that policy may
//! ask for; [`usage`] reads what an answer cost.

pub mod request;
pub mod usage;

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::chat::request::span_of;

/// The path and query of a request: `{model}` in the template stands for the model's name, percent-encoded but for
/// what RFC 3986 calls unreserved, so that no name leaves its path segment.
pub fn path<'a>(template: &'a str, model: &str) -> Cow<'a, str> {
    if !template.contains("{model}") {
        return Cow::Borrowed(template);
    }
    let mut out = String::with_capacity(template.len().saturating_add(model.len()));
    let mut pieces = template.split("{model}");
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        push_encoded(model, &mut out);
        out.push_str(piece);
    }
    Cow::Owned(out)
}

fn push_encoded(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte))
            }
            // Writing to a String does not fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

/// The body with another model's name.
///
/// `span` is the model's whole JSON value, quotes included. `None` where it does not lie in the body or is no JSON
/// string there: then it belongs to another body, and [`find_model_span`] finds the right one.
pub fn rewrite_model(body: &[u8], span: Range<usize>, model: &str) -> Option<Vec<u8>> {
    let before = body.get(..span.start)?;
    let after = body.get(span.end..)?;
    let old = body.get(span)?;
    if old.first() != Some(&b'"') || old.last() != Some(&b'"') {
        return None;
    }
    // Two strings and what is between them start and end with a quote as well.
    serde_json::from_slice::<IgnoredAny>(old).ok()?;
    let new = serde_json::to_string(model).ok()?;
    let mut out = Vec::with_capacity(
        before
            .len()
            .saturating_add(new.len())
            .saturating_add(after.len()),
    );
    out.extend_from_slice(before);
    out.extend_from_slice(new.as_bytes());
    out.extend_from_slice(after);
    Some(out)
}

/// Where the top-level `model` stands in a body, quotes included; `None` where the body is not one JSON object with
/// exactly one `model` that is a string.
pub fn find_model_span(body: &[u8]) -> Option<Range<usize>> {
    let text = std::str::from_utf8(body).ok()?;
    let Model(model) = serde_json::from_str(text).ok()?;
    let model = model.get();
    if !model.starts_with('"') {
        return None;
    }
    span_of(model, text)
}

struct Model<'a>(&'a RawValue);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Model,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Model<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Model<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a model")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Model<'de>, M::Error> {
                let mut model = None;
                while let Some(key) = map.next_key()? {
                    match key {
                        Key::Model if model.is_some() => {
                            return Err(M::Error::duplicate_field("model"));
                        }
                        Key::Model => model = Some(map.next_value()?),
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                model
                    .map(Model)
                    .ok_or_else(|| M::Error::missing_field("model"))
            }
        }

        json.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths() {
        for (template, model, expected) in [
            ("/v1/chat/completions", "gpt-5", "/v1/chat/completions"),
            (
                "/openai/deployments/{model}/chat?api-version=1",
                "gpt-4.1",
                "/openai/deployments/gpt-4.1/chat?api-version=1",
            ),
            ("/{model}/{model}", "a", "/a/a"),
            ("/m/{model}", "meta/llama 3:8b", "/m/meta%2Fllama%203%3A8b"),
            (
                "/m/{model}",
                "../?x=%#\u{e9}\r\n",
                "/m/..%2F%3Fx%3D%25%23%C3%A9%0D%0A",
            ),
            ("/m/{model}", "{model}", "/m/%7Bmodel%7D"),
            ("/m/{mod}", "a", "/m/{mod}"),
            ("", "a", ""),
        ] {
            assert_eq!(path(template, model), expected);
        }
    }

    /// Checks a rewriting in which the model's place is found.
    fn check(body: &str, model: &str, expected: &str) {
        let span = find_model_span(body.as_bytes()).expect("has a model");
        let out = rewrite_model(body.as_bytes(), span, model).expect("a right span");
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn rewriting() {
        check(r#"{"model":"auto"}"#, "gpt-5", r#"{"model":"gpt-5"}"#);
        check(r#"{"model":""}"#, "gpt-5", r#"{"model":"gpt-5"}"#);
        check(
            r#"{"mod\u0065l":"a\"b\\"}"#,
            "gpt-5",
            r#"{"mod\u0065l":"gpt-5"}"#,
        );
        check(
            r#"{"model":"a"}"#,
            "q\"\\\n\u{e9}",
            "{\"model\":\"q\\\"\\\\\\n\u{e9}\"}",
        );
        // Numbers that a float would damage, order, white space, nested models, unknown fields.
        check(
            " {\n\"z\": 1e2, \"seed\":9007199254740993, \"t\":0.10,\t\"model\" : \"auto\" , \"m\":[{\"model\":\"x\"}], \"a\":1.0} \n",
            "gpt-5",
            " {\n\"z\": 1e2, \"seed\":9007199254740993, \"t\":0.10,\t\"model\" : \"gpt-5\" , \"m\":[{\"model\":\"x\"}], \"a\":1.0} \n",
        );
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        check(
            &format!("{{\"a\":{deep},\"model\":\"x\"}}"),
            "y",
            &format!("{{\"a\":{deep},\"model\":\"y\"}}"),
        );
    }

    #[test]
    fn one_allocation() {
        let out = rewrite_model(br#"{"model":"auto"}"#, 9..15, "gpt-5").expect("a right span");
        assert_eq!(out.capacity(), out.len());
    }

    #[test]
    fn no_model_to_find() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"["model","x"]"#,
            r#"{"model":1}"#,
            r#"{"model":null}"#,
            r#"{"model":["a"]}"#,
            r#"{"a":{"model":"x"}}"#,
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
            r#"{"model":"a""#,
            r#"{"model":"a"} x"#,
        ] {
            assert_eq!(find_model_span(body.as_bytes()), None, "{body}");
        }
        assert_eq!(find_model_span(b"{\"model\":\"a\",\"b\":\"\xFF\"}"), None);
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn wrong_spans() {
        let body = br#"{"model":"auto","a":"b"}"#;
        for span in [
            0..0,
            9..14,
            10..15,
            9..9,
            9..10,
            15..9,
            9..100,
            100..200,
            usize::MAX..usize::MAX,
            1..15,
            9..23,
            16..23,
        ] {
            assert_eq!(rewrite_model(body, span.clone(), "x"), None, "{span:?}");
        }
    }

    proptest! {
        #[test]
        fn only_the_model_changes(
            old in any::<String>(),
            new in any::<String>(),
            before in "[ \n]{0,3}",
            other in any::<String>(),
        ) {
            let json = |text: &str| serde_json::to_string(text).expect("a string");
            let body = |model: &str| format!("{before}{{\"o\":{},\"model\":{before}{}}}", json(&other), json(model));
            let span = find_model_span(body(&old).as_bytes()).expect("has a model");
            prop_assert_eq!(&body(&old)[span.clone()], &json(&old));
            prop_assert_eq!(rewrite_model(body(&old).as_bytes(), span, &new), Some(body(&new).into_bytes()));
        }

        #[test]
        fn no_panic(body in proptest::collection::vec(any::<u8>(), 0..64), start in 0usize..70, end in 0usize..70) {
            find_model_span(&body);
            rewrite_model(&body, start..end, "x");
        }

        #[test]
        fn encoded_paths_stay_in_their_segment(model in any::<String>()) {
            let path = path("/a/{model}/b", &model);
            prop_assert_eq!(path.matches('/').count(), 3);
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte)));
        }
    }
}
