//! JSON: read without copying, written as it came.
//!
//! A string is carried over as the text between its quotes, escapes and all: neither unescaped nor escaped again.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::request::Key;

/// Reads an object. serde would take an array for a struct as well, field by field.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if !json.trim_ascii_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// What stands between a string's quotes; nothing where there is no string.
pub(crate) fn inside(json: Option<&RawValue>) -> Option<&str> {
    json?.get().strip_prefix('"')?.strip_suffix('"')
}

/// What stands between a string's quotes, unless that is nothing.
pub(crate) fn inside_of_some(json: Option<&RawValue>) -> Option<&str> {
    inside(json).filter(|text| !text.is_empty())
}

/// A string's value, to be compared: copied only where it has escapes.
pub(crate) fn word(json: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let text = inside(json)?;
    if text.contains('\\') {
        return serde_json::from_str(json?.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(text))
}

/// A count; nothing where it is no whole number of 64 bits.
pub(crate) fn count(json: Option<&RawValue>) -> Option<u64> {
    serde_json::from_str(json?.get()).ok()
}

/// Visits a list's items, and nothing of anything else. One by one: a list of millions costs no memory.
pub(crate) fn each<'a>(json: Option<&'a RawValue>, visit: impl FnMut(&'a RawValue)) {
    if let Some(list) = json.filter(|json| json.get().starts_with('[')) {
        // Nothing is reported: a raw value is JSON.
        let _ = serde_json::Deserializer::from_str(list.get()).deserialize_seq(Each(visit));
    }
}

/// Visits an object's keys and values as they come, and nothing of anything else.
pub(crate) fn entries<'a>(json: &'a str, visit: impl FnMut(&str, &'a RawValue)) {
    if json.starts_with('{') {
        let _ = serde_json::Deserializer::from_str(json).deserialize_map(Entries(visit));
    }
}

struct Each<F>(F);

struct Entries<F>(F);

impl<'a, F: FnMut(&'a RawValue)> Visitor<'a> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

impl<'a, F: FnMut(&str, &'a RawValue)> Visitor<'a> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            (self.0)(&key, map.next_value()?);
        }
        Ok(())
    }
}

pub(crate) fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A string, from what stood between another's quotes.
pub(crate) fn push_inside(out: &mut Vec<u8>, inside: &str) {
    out.push(b'"');
    push(out, inside);
    out.push(b'"');
}

/// A string that holds `text`.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    // Strings always serialise, and writing to a Vec does not fail.
    let _ = serde_json::to_writer(out, text);
}

pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    let _ = write!(out, "{number}");
}
