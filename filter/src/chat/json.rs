//! JSON: read without copying, written as it came.
//!
//! A string is carried over as the text between its quotes, escapes and all: neither unescaped nor escaped again.

use std::borrow::Cow;
use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

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
