//! Read: a request taken apart one level at a time.
//!
//! Every value stays raw until its meaning is known, so that nothing is copied which is not used, depth costs no stack,
//! and a value of the wrong type is an error at its path. A path is built only when an error shows it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::chat::error::ErrorReply;
use crate::chat::request::BadRequest;

/// Where a value is, such as `messages[3].content[0].type`.
#[derive(Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Key(&'static str),
    Index(usize),
}

/// A field that may be absent.
pub(super) type Field<'a> = Option<&'a RawValue>;

// === impl Path ===

impl Path<'_> {
    pub(super) fn top(key: &'static str) -> Self {
        Self {
            parent: None,
            step: Step::Key(key),
        }
    }

    pub(super) fn key(&self, key: &'static str) -> Path<'_> {
        Path {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    pub(super) fn at(&self, index: usize) -> Path<'_> {
        Path {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    /// A fault at this place; the message is `<path> <words>`.
    pub(super) fn fault(&self, code: &'static str, words: &str) -> ErrorReply {
        BadRequest {
            code,
            message: format!("{self} {words}"),
            param: Some(self.to_string()),
        }
        .into()
    }

    pub(super) fn wrong_type(&self, words: &str) -> ErrorReply {
        self.fault("invalid_type", words)
    }

    /// Content that the answer depends on, and that a chat completion cannot carry.
    pub(super) fn unsupported(&self, words: &str) -> ErrorReply {
        self.fault("unsupported_content", words)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Key(key) if self.parent.is_none() => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

// === values ===

pub(super) fn is_text(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

pub(super) fn is_list(raw: &RawValue) -> bool {
    raw.get().starts_with('[')
}

/// A value that must be there; for a string, number or object that is never null.
pub(super) fn required<'a>(field: Field<'a>, path: Path<'_>) -> Result<&'a RawValue, ErrorReply> {
    field.ok_or_else(|| path.wrong_type("is missing"))
}

/// Borrowed where it has no escapes.
pub(super) fn text<'a>(raw: &'a RawValue, path: Path<'_>) -> Result<Cow<'a, str>, ErrorReply> {
    let inside = raw
        .get()
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or_else(|| path.wrong_type("must be a string"))?;
    if !inside.contains('\\') {
        return Ok(Cow::Borrowed(inside));
    }
    // A raw value's escapes were skipped, not read: a lone surrogate shows only now.
    serde_json::from_str(raw.get())
        .map(Cow::Owned)
        .map_err(|_| {
            path.fault(
                "invalid_json",
                "is not a valid JSON string; check its escapes",
            )
        })
}

pub(super) fn required_text<'a>(
    field: Field<'a>,
    path: Path<'_>,
) -> Result<Cow<'a, str>, ErrorReply> {
    text(required(field, path)?, path)
}

pub(super) fn optional_text<'a>(
    field: Field<'a>,
    path: Path<'_>,
) -> Result<Option<Cow<'a, str>>, ErrorReply> {
    field.map(|raw| text(raw, path)).transpose()
}

/// Absent is false.
pub(super) fn flag(field: Field<'_>, path: Path<'_>) -> Result<bool, ErrorReply> {
    match field.map(RawValue::get) {
        Some("true") => Ok(true),
        Some("false") | None => Ok(false),
        Some(_) => Err(path.wrong_type("must be true or false")),
    }
}

/// A number, as it was written.
pub(super) fn number<'a>(raw: &'a RawValue, path: Path<'_>) -> Result<&'a RawValue, ErrorReply> {
    if raw
        .get()
        .starts_with(|c: char| c == '-' || c.is_ascii_digit())
    {
        return Ok(raw);
    }
    Err(path.wrong_type("must be a number"))
}

pub(super) fn whole_number(raw: &RawValue, path: Path<'_>) -> Result<u64, ErrorReply> {
    raw.get()
        .parse()
        .map_err(|_| path.wrong_type("must be a whole number"))
}

/// An object, as it was written.
pub(super) fn any_object<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
) -> Result<&'a RawValue, ErrorReply> {
    if raw.get().starts_with('{') {
        return Ok(raw);
    }
    Err(path.wrong_type("must be an object"))
}

/// An object's fields. `T` must take every value raw: what is left to go wrong is a key that occurs twice.
pub(super) fn object<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    path: Path<'_>,
) -> Result<T, ErrorReply> {
    serde_json::from_str(any_object(raw, path)?.get())
        .map_err(|_| path.fault("duplicate_key", "has a key twice; send each once"))
}

/// Reads an array, one value after another, so that a long one costs no memory. Returns how many there were.
pub(super) fn each<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
    mut take: impl FnMut(&'a RawValue, Path<'_>) -> Result<(), ErrorReply>,
) -> Result<usize, ErrorReply> {
    struct Values<F>(F);

    impl<'de, F: FnMut(&'de RawValue) -> bool> Visitor<'de> for Values<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(value) = seq.next_element::<&RawValue>()? {
                if !(self.0)(value) {
                    return Err(A::Error::custom(""));
                }
            }
            Ok(())
        }
    }

    if !is_list(raw) {
        return Err(path.wrong_type("must be an array"));
    }
    let mut count = 0usize;
    let mut fault = None;
    let values = Values(|value| {
        fault = take(value, path.at(count)).err();
        count = count.saturating_add(1);
        fault.is_none()
    });
    let read = serde_json::Deserializer::from_str(raw.get()).deserialize_seq(values);
    match (fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Ok(())) => Ok(count),
        (None, Err(_)) => Err(path.fault("invalid_json", "is not a valid JSON array")),
    }
}
