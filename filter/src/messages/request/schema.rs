//! Schema: whether OpenAI can hold an answer, or a tool's arguments, to a JSON Schema (`strict`).
//!
//! Pure. Strict mode takes a part of JSON Schema and answers 400 to the rest, and Anthropic's constrained outputs take
//! more: properties that are not required, `default`, `allOf`
//! (<https://docs.claude.com/en/docs/build-with-claude/structured-outputs>). So a schema is strict if everything in it is
//! known to be taken; what is not known is not. What OpenAI takes is after
//! <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>, and that nothing stands beside `$ref`
//! after <https://github.com/langchain-ai/langchainjs/pull/11384>.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Bytes of a schema that is looked at. OpenAI's limit is 120,000 characters of names and values.
const MAX_BYTES: usize = 120_000;
/// Objects inside each other. Lists and alternatives are counted too, so that this is on the safe side.
const MAX_DEPTH: usize = 10;
const MAX_PROPERTIES: usize = 5_000;
/// Of all `enum`s together.
const MAX_ENUM_VALUES: usize = 1_000;
/// Of one `enum`; a longer one has a limit of characters as well.
const MAX_ENUM: usize = 250;

/// Keywords beside those that hold other schemas. `$schema`, and `definitions`, are in what OpenAI's own SDK sends:
/// <https://github.com/openai/openai-node/blob/master/tests/helpers/zod.test.ts>.
const PLAIN: [&str; 17] = [
    "$schema",
    "additionalProperties",
    "const",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "title",
    "type",
];
const FORMATS: [&str; 9] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "time",
    "uuid",
];
const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// What has been counted of a schema so far.
#[derive(Default)]
struct Counted {
    properties: usize,
    enum_values: usize,
}

/// Whether strict mode takes it.
pub(super) fn is_strict(schema: &RawValue) -> bool {
    let json = schema.get();
    if json.len() > MAX_BYTES {
        return false;
    }
    // Depth beyond 128 is an error.
    let Ok(Value::Object(root)) = serde_json::from_str(json) else {
        return false;
    };
    // The root is an object and no alternative.
    root.get("type").and_then(Value::as_str) == Some("object")
        && !root.contains_key("anyOf")
        && Counted::default().takes(&root, 1)
}

// === impl Counted ===

impl Counted {
    fn takes(&mut self, schema: &Map<String, Value>, depth: usize) -> bool {
        if depth > MAX_DEPTH {
            return false;
        }
        if let Some(target) = schema.get("$ref") {
            let is_local = target.as_str().is_some_and(|path| path.starts_with('#'));
            return is_local && schema.len() == 1;
        }
        let deeper = depth.saturating_add(1);
        for (key, value) in schema {
            let taken = match (key.as_str(), value) {
                ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
                    self.properties = self.properties.saturating_add(schemas.len());
                    schemas
                        .values()
                        .all(|schema| self.takes_value(schema, deeper))
                }
                ("anyOf", Value::Array(schemas)) => schemas
                    .iter()
                    .all(|schema| self.takes_value(schema, deeper)),
                ("items", schema) => self.takes_value(schema, deeper),
                ("format", Value::String(format)) => FORMATS.contains(&format.as_str()),
                ("enum", Value::Array(values)) => {
                    self.enum_values = self.enum_values.saturating_add(values.len());
                    values.len() <= MAX_ENUM
                }
                ("format" | "enum", _) => false,
                (key, _) => PLAIN.contains(&key),
            };
            if !taken {
                return false;
            }
        }
        self.properties <= MAX_PROPERTIES
            && self.enum_values <= MAX_ENUM_VALUES
            && is_typed(schema)
            && (!may_be(schema, "object") || is_closed(schema))
            && (!may_be(schema, "array") || schema.contains_key("items"))
    }

    fn takes_value(&mut self, schema: &Value, depth: usize) -> bool {
        schema
            .as_object()
            .is_some_and(|schema| self.takes(schema, depth))
    }
}

/// It says what it is: by a type, several, or alternatives.
fn is_typed(schema: &Map<String, Value>) -> bool {
    let is_known = |name: &Value| name.as_str().is_some_and(|name| TYPES.contains(&name));
    match schema.get("type") {
        Some(Value::Array(names)) => !names.is_empty() && names.iter().all(is_known),
        Some(name) => is_known(name),
        None => schema.contains_key("anyOf"),
    }
}

fn may_be(schema: &Map<String, Value>, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::Array(names)) => names.iter().any(|name| name == kind),
        Some(name) => name == kind,
        None => false,
    }
}

/// An object has the properties that it names, every one of them, and no others.
fn is_closed(schema: &Map<String, Value>) -> bool {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return false;
    };
    let Some(required) = schema.get("required").and_then(Value::as_array) else {
        return false;
    };
    let required: BTreeSet<_> = required.iter().filter_map(Value::as_str).collect();
    schema.get("additionalProperties") == Some(&Value::Bool(false))
        && required.len() == properties.len()
        && required.iter().all(|name| properties.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, expected: bool) {
        let raw = RawValue::from_string(schema.to_owned()).unwrap();
        assert_eq!(is_strict(&raw), expected, "{schema}");
    }

    /// An object with one property of this schema.
    fn with_property(schema: &str) -> String {
        format!(
            r#"{{"type":"object","properties":{{"a":{schema}}},"required":["a"],"additionalProperties":false}}"#
        )
    }

    #[test]
    fn what_strict_mode_takes() {
        check(
            r#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#,
            true,
        );
        for property in [
            r#"{"type":"string","description":"d","title":"t"}"#,
            r#"{"type":["string","null"],"enum":["a",null]}"#,
            r#"{"type":"string","format":"date-time","pattern":"^a"}"#,
            r#"{"type":"integer","minimum":1,"maximum":3,"multipleOf":1}"#,
            r#"{"type":"string","const":"a"}"#,
            r#"{"type":"array","items":{"type":"number"},"minItems":1}"#,
            r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
            r##"{"$ref":"#"}"##,
            &with_property(r#"{"type":"boolean"}"#),
        ] {
            check(&with_property(property), true);
        }
        check(
            r##"{"$schema":"http://json-schema.org/draft-07/schema#","$defs":{"d":{"type":"string"}},"type":"object","properties":{"a":{"$ref":"#/$defs/d"}},"required":["a"],"additionalProperties":false}"##,
            true,
        );
    }

    #[test]
    fn what_strict_mode_refuses() {
        for schema in [
            "{}",
            r#"{"type":"object"}"#,
            r#"{"type":"array","items":{"type":"string"}}"#,
            r#"{"anyOf":[{"type":"object","properties":{},"required":[],"additionalProperties":false}]}"#,
            // A property that is not required, or another in its place.
            r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"required":["a"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"required":["a","a"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["b"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}"#,
            r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":{"type":"string"}}"#,
        ] {
            check(schema, false);
        }
        for property in [
            "{}",
            "true",
            r#"{"description":"of no type"}"#,
            r#"{"type":"money"}"#,
            r#"{"type":"string","default":"a"}"#,
            r#"{"type":"string","minLength":1}"#,
            r#"{"type":"string","format":"uri"}"#,
            r#"{"type":"array"}"#,
            r#"{"type":["object","null"]}"#,
            r#"{"oneOf":[{"type":"string"}]}"#,
            r#"{"allOf":[{"type":"string"}]}"#,
            r#"{"anyOf":[{"type":"string"},{"type":"object"}]}"#,
            r##"{"$ref":"#/$defs/d","description":"d"}"##,
            r#"{"$ref":"https://example.com/schema"}"#,
        ] {
            check(&with_property(property), false);
        }
    }

    #[test]
    fn sizes() {
        let nested = |objects: usize| {
            (1..objects).fold(with_property(r#"{"type":"string"}"#), |inner, _| {
                with_property(&inner)
            })
        };
        // The string inside is a level too.
        check(&nested(MAX_DEPTH - 1), true);
        check(&nested(MAX_DEPTH), false);
        check(&nested(1_000), false);
        let values = |count: usize| {
            let values: Vec<_> = (0..count).map(|n| n.to_string()).collect();
            with_property(&format!(
                r#"{{"type":"integer","enum":[{}]}}"#,
                values.join(",")
            ))
        };
        check(&values(MAX_ENUM), true);
        check(&values(MAX_ENUM + 1), false);
        let long = format!(
            r#"{{"type":"string","description":"{}"}}"#,
            "d".repeat(MAX_BYTES)
        );
        check(&with_property(&long), false);
    }
}
