//! Read: JSON values out of the client's body, one level at a time.
//!
//! Every value stays raw until it is wanted, so that an error knows its path and free JSON is copied as it came.
//! `null` is the same as absent. serde would take an array for a struct; here it is an error.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fault::{Path, Read, bad, refusal, wrong_type};

/// The top level of a request.
#[derive(Debug)]
pub(super) struct Body<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// `null` of a field that is there.
pub(super) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

/// An object's fields. `T` keeps them raw, so that all that can fail is a key that occurs twice.
pub(super) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue, at: &Path<'_>) -> Read<T> {
    if !raw.get().starts_with('{') {
        return Err(wrong_type(at, "must be an object"));
    }
    serde_json::from_str(raw.get())
        .map_err(|_| bad("invalid_json", at, "has a key twice; send each key once"))
}

pub(super) fn list<'a>(raw: &'a RawValue, at: &Path<'_>) -> Read<Vec<&'a RawValue>> {
    serde_json::from_str(raw.get()).map_err(|_| wrong_type(at, "must be an array"))
}

pub(super) fn text<'a>(raw: &'a RawValue, at: &Path<'_>) -> Read<Cow<'a, str>> {
    if !raw.get().starts_with('"') {
        return Err(wrong_type(at, "must be a string"));
    }
    // Skipping a string does not check its \u escapes for lone surrogates; reading it does.
    let read: Result<Text<'a>, _> = serde_json::from_str(raw.get());
    read.map(|text| text.0).map_err(|_| {
        let words = "is not a valid JSON string; check its escapes";
        bad("invalid_json", at, words)
    })
}

/// A string that must be there and say something.
pub(super) fn word<'a>(raw: Option<&'a RawValue>, at: &Path<'_>) -> Read<Cow<'a, str>> {
    let raw = raw.ok_or_else(|| wrong_type(at, "is missing; send a string"))?;
    let word = text(raw, at)?;
    if word.is_empty() {
        return Err(bad("invalid_value", at, "is empty; send a string"));
    }
    Ok(word)
}

pub(super) fn boolean(raw: &RawValue, at: &Path<'_>) -> Read<bool> {
    match raw.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong_type(at, "must be true or false")),
    }
}

pub(super) fn number(raw: &RawValue, at: &Path<'_>) -> Read<f64> {
    serde_json::from_str(raw.get()).map_err(|_| wrong_type(at, "must be a number"))
}

/// A number of tokens, at least one.
pub(super) fn tokens(raw: &RawValue, at: &Path<'_>) -> Read<u64> {
    match serde_json::from_str(raw.get()) {
        Ok(0) | Err(_) => Err(wrong_type(at, "must be a whole number of at least 1")),
        Ok(tokens) => Ok(tokens),
    }
}

// === impl Body ===

impl<'a> Body<'a> {
    pub(super) fn read(body: &'a [u8]) -> Read<Self> {
        let not_json = || refusal("invalid_json", None, "is not one JSON object in UTF-8");
        let text = std::str::from_utf8(body).map_err(|_| not_json())?;
        serde_json::from_str(text).map_err(|_| not_json())
    }

    /// A field's value, unless it is `null`. Of a key that occurs twice the last counts.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.fields()
            .rev()
            .find(|&(key, _)| key == name)
            .map(|(_, value)| value)
            .filter(|value| !is_null(value))
    }

    pub(super) fn fields(&self) -> impl DoubleEndedIterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Body<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Body<'de>, M::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some((Text(key), value)) = map.next_entry()? {
                    fields.push((key, value));
                }
                Ok(Body(fields))
            }
        }

        json.deserialize_map(Fields)
    }
}
