//! A CRD's structural schema as JSON Schema: strict, as an API server is that is asked to refuse what it does not know.
//!
//! Pure. A structural schema says types and fields once, outside of `allOf`, `anyOf`, `oneOf` and `not`: there every object is
//! closed. What these four hold only narrows values, and is taken over.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::keywords::{MAP_KEYS, PATTERN};

const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";

/// What narrows a value, and means the same in both.
const SAME: [&str; 15] = [
    "type",
    "enum",
    "required",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// The formats that mean the same in both. Others are notes, or for CEL.
const FORMATS: [&str; 6] = ["date", "date-time", "ipv4", "ipv6", "uri", "uuid"];

/// What a resource may be called: a DNS subdomain.
const NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// What a label may say.
const LABEL: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// What becomes of fields that a part of a schema does not name.
#[derive(Clone, Copy, PartialEq)]
enum Unknown {
    Refused,
    /// A branch of `allOf` and the like names only those that it narrows.
    Ignored,
}

/// The schema of a whole resource.
pub fn strict(schema: &Value) -> Value {
    let mut strict = node(schema, Unknown::Refused);
    // Of the metadata a CRD may narrow the name; its fields are the API server's.
    strict["properties"]["apiVersion"] = json!({"type": "string"});
    strict["properties"]["kind"] = json!({"type": "string"});
    strict["properties"]["metadata"] = metadata(&schema["properties"]["metadata"]);
    let mut required: BTreeSet<&str> = BTreeSet::from(["apiVersion", "kind", "metadata"]);
    let further = schema["required"].as_array().into_iter().flatten();
    required.extend(further.filter_map(Value::as_str));
    strict["required"] = json!(required);
    strict
}

/// What a manifest may say about itself. What only the API server writes is left out.
fn metadata(narrowed: &Value) -> Value {
    let texts = |of: Value| json!({"type": "object", "additionalProperties": of});
    let narrowed = node(&narrowed["properties"]["name"], Unknown::Refused);
    let name = json!({"type": "string", "maxLength": 253, PATTERN: NAME, "allOf": [narrowed]});
    let label = json!({"type": "string", "maxLength": 63, PATTERN: LABEL});
    json!({
        "type": "object",
        "properties": {
            "name": name,
            "generateName": {"type": "string"},
            "namespace": {"type": "string"},
            "labels": texts(label),
            "annotations": texts(json!({"type": "string"})),
            "finalizers": {"type": "array", "items": {"type": "string"}},
            "ownerReferences": {"type": "array", "items": {"type": "object"}},
        },
        "additionalProperties": false,
        "anyOf": [{"required": ["name"]}, {"required": ["generateName"]}],
    })
}

fn node(schema: &Value, unknown: Unknown) -> Value {
    let mut strict = Map::new();
    let Value::Object(schema) = schema else {
        return Value::Object(strict);
    };
    for keyword in SAME {
        if let Some(value) = schema.get(keyword) {
            strict.insert(keyword.to_owned(), value.clone());
        }
    }
    if let Some(pattern) = schema.get("pattern") {
        strict.insert(PATTERN.to_owned(), pattern.clone());
    }
    alternatives(schema, &mut strict);
    let is = |keyword: &str| schema.get(keyword) == Some(&Value::Bool(true));
    if is(INT_OR_STRING) {
        strict.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if is("nullable") {
        allow_null(&mut strict);
    }
    format(schema, &mut strict);
    let unknown_here = if is(PRESERVES) {
        Unknown::Ignored
    } else {
        unknown
    };
    fields(schema, &mut strict, unknown, unknown_here);
    if is(EMBEDDED) {
        // A resource within: it has what every resource has.
        let mut properties = strict.remove("properties").unwrap_or_else(|| json!({}));
        for name in ["apiVersion", "kind", "metadata"] {
            if properties[name].is_null() {
                properties[name] = json!({});
            }
        }
        strict.insert("properties".to_owned(), properties);
    }
    items(schema, &mut strict, unknown);
    Value::Object(strict)
}

fn alternatives(schema: &Map<String, Value>, strict: &mut Map<String, Value>) {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(branches)) = schema.get(keyword) {
            let branches = branches.iter().map(|branch| node(branch, Unknown::Ignored));
            strict.insert(keyword.to_owned(), branches.collect());
        }
    }
    if let Some(not) = schema.get("not") {
        strict.insert("not".to_owned(), node(not, Unknown::Ignored));
    }
}

fn allow_null(strict: &mut Map<String, Value>) {
    if let Some(Value::String(of_type)) = strict.get("type") {
        let or_null = json!([of_type, "null"]);
        strict.insert("type".to_owned(), or_null);
    }
    if let Some(Value::Array(values)) = strict.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

fn format(schema: &Map<String, Value>, strict: &mut Map<String, Value>) {
    match schema.get("format").and_then(Value::as_str) {
        Some("int32") => {
            for (keyword, limit) in [("minimum", i32::MIN), ("maximum", i32::MAX)] {
                strict.entry(keyword).or_insert(limit.into());
            }
        }
        Some(format) if FORMATS.contains(&format) => {
            strict.insert("format".to_owned(), format.into());
        }
        _ => {}
    }
}

/// What is no field of an object is refused, unless the object keeps what it does not know.
fn fields(
    schema: &Map<String, Value>,
    strict: &mut Map<String, Value>,
    below: Unknown,
    here: Unknown,
) {
    if let Some(Value::Object(properties)) = schema.get("properties") {
        let properties = properties.iter();
        let properties = properties.map(|(name, schema)| (name.clone(), node(schema, below)));
        strict.insert("properties".to_owned(), Value::Object(properties.collect()));
    }
    match schema.get("additionalProperties") {
        Some(Value::Bool(true)) => {}
        Some(values @ Value::Object(_)) => {
            strict.insert("additionalProperties".to_owned(), node(values, below));
        }
        _ if here == Unknown::Ignored => {}
        _ if schema
            .get("type")
            .is_some_and(|of_type| of_type == "object") =>
        {
            strict.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
        _ => {}
    }
}

fn items(schema: &Map<String, Value>, strict: &mut Map<String, Value>, unknown: Unknown) {
    if let Some(of) = schema.get("items") {
        strict.insert("items".to_owned(), node(of, unknown));
    }
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => {
            strict.insert("uniqueItems".to_owned(), Value::Bool(true));
        }
        Some("map") => {
            let keys = schema.get(MAP_KEYS).cloned().unwrap_or_default();
            strict.insert(MAP_KEYS.to_owned(), keys);
        }
        _ => {}
    }
}
