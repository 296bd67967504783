//! Fault: what is wrong with a request's body, and where.
//!
//! Never quotes the body. The one outside text that gets in is a duplicate key's name, through [`clean`].

use std::cell::Cell;
use std::fmt;

use serde::de;

/// Why a body is answered 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequest {
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// JSON path, such as `messages[3].content[0].type`.
    pub param: Option<String>,
}

/// A value in the body that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Body,
    Model,
    Stream,
    MaxTokens,
    Messages,
    Message(usize),
    Role(usize),
    Content(Holder),
    Part(Holder, usize),
    PartType(Holder, usize),
    PartText(Holder, usize),
}

/// What holds content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The top-level `system` of a Messages request.
    System,
    /// The message of this index.
    Message(usize),
}

/// Follows the parser, so that an error knows its place without a path being built for every value.
pub(crate) struct Watch {
    expected: Cell<(Place, &'static str)>,
    raised: Cell<Option<BadRequest>>,
}

// === impl Place ===

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Place::Body => f.write_str("the body"),
            Place::Model => f.write_str("model"),
            Place::Stream => f.write_str("stream"),
            Place::MaxTokens => f.write_str("max_tokens"),
            Place::Messages => f.write_str("messages"),
            Place::Message(m) => write!(f, "messages[{m}]"),
            Place::Role(m) => write!(f, "messages[{m}].role"),
            Place::Content(holder) => write!(f, "{holder}"),
            Place::Part(holder, p) => write!(f, "{holder}[{p}]"),
            Place::PartType(holder, p) => write!(f, "{holder}[{p}].type"),
            Place::PartText(holder, p) => write!(f, "{holder}[{p}].text"),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Holder::System => f.write_str("system"),
            Holder::Message(m) => write!(f, "messages[{m}].content"),
        }
    }
}

impl Place {
    /// A fault at this place; the message is `<place> <words>`.
    pub(crate) fn fault(self, code: &'static str, words: &str) -> BadRequest {
        BadRequest {
            code,
            message: format!("{self} {words}"),
            param: (self != Place::Body).then(|| self.to_string()),
        }
    }
}

// === impl Watch ===

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            expected: Cell::new((Place::Body, "")),
            raised: Cell::new(None),
        }
    }

    /// Says what is read next: a value of another type is this fault.
    pub(crate) fn wants(&self, place: Place, words: &'static str) {
        self.expected.set((place, words));
    }

    /// Stops the parser with a fault of our own.
    pub(crate) fn raise<E: de::Error>(&self, fault: BadRequest) -> E {
        self.raised.set(Some(fault));
        E::custom("")
    }

    pub(crate) fn explain(&self, error: &serde_json::Error) -> BadRequest {
        if !error.is_data() {
            return not_json(error);
        }
        self.raised.take().unwrap_or_else(|| {
            let (place, words) = self.expected.get();
            let code = match place {
                Place::Body => "not_an_object",
                _ => "invalid_type",
            };
            place.fault(code, words)
        })
    }
}

pub(crate) fn not_utf8(error: &std::str::Utf8Error) -> BadRequest {
    BadRequest {
        code: "invalid_json",
        message: format!(
            "the body is not UTF-8 from byte {} on; send JSON in UTF-8",
            error.valid_up_to()
        ),
        param: None,
    }
}

/// serde_json's words for syntax errors are fixed texts with line and column; only its data errors quote values.
pub(crate) fn not_json(error: &serde_json::Error) -> BadRequest {
    let message = if error.is_data() {
        format!(
            "the body is not valid JSON at line {} column {}",
            error.line(),
            error.column()
        )
    } else {
        format!("the body is not valid JSON: {error}")
    };
    BadRequest {
        code: "invalid_json",
        message,
        param: None,
    }
}

/// A hostile key made fit for a message: printable ASCII without quotes, at most 64 characters.
pub(crate) fn clean(key: &str) -> String {
    key.chars()
        .take(64)
        .map(|c| match c {
            '"' | '\\' | '`' => '?',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

/// Refuses strings without serde's default error, which would copy the whole string into a message.
macro_rules! no_string {
    () => {
        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(E::custom(""))
        }
    };
}
pub(crate) use no_string;
