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
pub(super) enum Place {
    Body,
    Model,
    Stream,
    Messages,
    Message(usize),
    Role(usize),
    Content(usize),
    Part(usize, usize),
    PartType(usize, usize),
    PartText(usize, usize),
}

/// Follows the parser, so that an error knows its place without a path being built for every value.
pub(super) struct Watch {
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
            Place::Messages => f.write_str("messages"),
            Place::Message(m) => write!(f, "messages[{m}]"),
            Place::Role(m) => write!(f, "messages[{m}].role"),
            Place::Content(m) => write!(f, "messages[{m}].content"),
            Place::Part(m, p) => write!(f, "messages[{m}].content[{p}]"),
            Place::PartType(m, p) => write!(f, "messages[{m}].content[{p}].type"),
            Place::PartText(m, p) => write!(f, "messages[{m}].content[{p}].text"),
        }
    }
}

impl Place {
    /// A fault at this place; the message is `<place> <words>`.
    pub(super) fn fault(self, code: &'static str, words: &str) -> BadRequest {
        BadRequest {
            code,
            message: format!("{self} {words}"),
            param: (self != Place::Body).then(|| self.to_string()),
        }
    }
}

// === impl Watch ===

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            expected: Cell::new((Place::Body, "")),
            raised: Cell::new(None),
        }
    }

    /// Says what is read next: a value of another type is this fault.
    pub(super) fn wants(&self, place: Place, words: &'static str) {
        self.expected.set((place, words));
    }

    /// Stops the parser with a fault of our own.
    pub(super) fn raise<E: de::Error>(&self, fault: BadRequest) -> E {
        self.raised.set(Some(fault));
        E::custom("")
    }

    pub(super) fn explain(&self, error: &serde_json::Error) -> BadRequest {
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

/// serde_json's words for syntax errors are fixed texts with line and column; only its data errors quote values.
pub(super) fn not_json(error: &serde_json::Error) -> BadRequest {
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
pub(super) fn clean(key: &str) -> String {
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
pub(super) use no_string;
