//! A document before it means anything: the one shape that JSON text and a protobuf `Struct` both become.
//!
//! Bounded in bytes and depth, so that everything after it may recurse. A key that occurs twice is a mistake, never "the last
//! one wins": two people edited the same tier, and one of them would be wondering.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::error::{Errors, PolicyErrors, field_path, item_path};

/// Bytes of a document.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Lists and maps inside each other.
pub const MAX_DEPTH: usize = 64;

/// A node of the document.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    List(Vec<Value>),
    /// In the document's order; no key twice.
    Map(Vec<(String, Value)>),
}

/// Where a node is, for the path of an error. Borrowed, so that a document without mistakes costs no path.
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

/// Reads one node at `place`.
struct Node<'a> {
    place: &'a Place<'a>,
    /// Lists and maps that this one is in.
    depth: usize,
    errors: &'a RefCell<Errors>,
}

// === impl Value ===

impl Value {
    /// Parses JSON text. Duplicate keys go to `errors`, and the first of them counts; what is not JSON ends it.
    pub(super) fn from_json(text: &str, errors: &mut Errors) -> Result<Self, PolicyErrors> {
        let found = RefCell::new(std::mem::take(errors));
        let mut json = serde_json::Deserializer::from_str(text);
        let node = Node {
            place: &Place::Root,
            depth: 0,
            errors: &found,
        };
        let value = node
            .deserialize(&mut json)
            .and_then(|value| json.end().map(|()| value));
        *errors = found.into_inner();
        // serde_json's message says what and where, and quotes nothing of the text.
        value.map_err(|error| PolicyErrors::whole(format!("the policy is not valid JSON: {error}")))
    }

    /// For `expected a list, found a string`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

// === impl Place ===

impl Place<'_> {
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field(parent, name) => field_path(&parent.path(), name),
            Self::Item(parent, index) => item_path(&parent.path(), *index),
        }
    }
}

// === impl Node ===

impl Node<'_> {
    /// The depth of what is in this list or map.
    fn inside<E: de::Error>(&self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(self.depth.saturating_add(1))
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.inside()?;
        let mut list = Vec::new();
        loop {
            let place = Place::Item(self.place, list.len());
            let Some(value) = seq.next_element_seed(Node {
                place: &place,
                depth,
                errors: self.errors,
            })?
            else {
                return Ok(Value::List(list));
            };
            list.push(value);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.inside()?;
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let place = Place::Field(self.place, &key);
            let value = map.next_value_seed(Node {
                place: &place,
                depth,
                errors: self.errors,
            })?;
            if seen.insert(key.clone()) {
                entries.push((key, value));
            } else if let Ok(mut errors) = self.errors.try_borrow_mut()
                && !errors.is_full()
            {
                errors.push(&place.path(), "given twice");
            }
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<Value, &str>) {
        let mut errors = Errors::default();
        let value = Value::from_json(text, &mut errors);
        let result = value
            .and_then(|value| errors.into_result().map(|()| value))
            .map_err(|e| e.to_string());
        assert_eq!(result, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn json() {
        use Value::{Bool, List, Map, Null, Number};
        check("{}", Ok(Map(vec![])));
        check(
            r#"{"b": [null, true, -1, 2.5], "a": "\u0061"}"#,
            Ok(Map(vec![
                (
                    "b".into(),
                    List(vec![Null, Bool(true), Number(-1.0), Number(2.5)]),
                ),
                ("a".into(), Value::String("a".into())),
            ])),
        );
        check("{\"a\":1,\"\\u0061\":2}", Err("a: given twice"));
        check(
            r#"{"a": [0, {"b": {"c": 1, "c": 2, "c": 3}}], "a": 0}"#,
            Err("a[1].b.c: given twice; a[1].b.c: given twice; a: given twice"),
        );
        check(
            "{\"a\":",
            Err("the policy is not valid JSON: EOF while parsing a value at line 1 column 5"),
        );
        check(
            "{} x",
            Err("the policy is not valid JSON: trailing characters at line 1 column 4"),
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let parse =
            |text: &str| Value::from_json(text, &mut Errors::default()).map_err(|e| e.to_string());
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(
            parse(&nested(MAX_DEPTH + 1)).unwrap_err(),
            "the policy is not valid JSON: nested deeper than 64 at line 1 column 66"
        );
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
