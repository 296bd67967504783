//! The stand-ins over real HTTP, as a gateway meets them.

mod anthropic;
mod gemini;
mod openai;

use serde_json::{Value, json};

use super::StandIn;
use super::answer::{sample, sign};
use crate::client::{self, Reply};

/// `POST`, with Anthropic's version header, which the others do not mind.
async fn post(to: &StandIn, path: &str, body: &Value) -> Reply {
    let headers: [(&[u8], &[u8]); 2] = [
        (b"content-type", b"application/json"),
        (b"anthropic-version", b"2023-06-01"),
    ];
    post_with(to, path, &headers, body).await
}

async fn post_with(to: &StandIn, path: &str, headers: &[(&[u8], &[u8])], body: &Value) -> Reply {
    let request = client::request("POST", path, headers, body.to_string().as_bytes());
    let reply = client::send(to.address.port(), &request).await;
    reply.expect("the stand-in answers")
}

/// A value with what is at this pointer replaced; `Null` removes it, and a path's last field may be new.
fn with(value: &Value, pointer: &str, new: &Value) -> Value {
    let mut value = value.clone();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    let parent = value.pointer_mut(parent).expect("the parent is there");
    match parent {
        Value::Object(fields) if new.is_null() => {
            fields.remove(field);
        }
        Value::Array(list) if field == "-" => list.push(new.clone()),
        Value::Array(list) => list[field.parse::<usize>().expect("an index")] = new.clone(),
        parent => parent[field] = new.clone(),
    }
    value
}

#[test]
fn a_sample_is_of_the_schema() {
    let check = |schema: Value, expected: Value| assert_eq!(sample(&schema), expected, "{schema}");
    check(
        json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]}),
        json!({"a": "stand-in"}),
    );
    check(
        json!({"type": "object", "properties": {"a": {"enum": ["x", "y"]}, "b": {"const": 3}}}),
        json!({"a": "x", "b": 3}),
    );
    check(
        json!({"type": "ARRAY", "items": {"type": "BOOLEAN"}}),
        json!([true]),
    );
    check(
        json!({"$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [{"type": ["number", "null"]}]}}}),
        json!(1),
    );
    check(json!({"$ref": "#"}), Value::Null);
    check(Value::Null, json!("stand-in"));
}

#[test]
fn a_signature_is_of_its_key_and_text() {
    assert_eq!(sign("a", "b"), sign("a", "b"));
    assert_ne!(sign("a", "b"), sign("ab", ""));
    assert_ne!(sign("a", "b"), sign("a", "c"));
    assert_eq!(sign("a", "b").len(), 24);
}
