//! Fault: why a chat completion cannot be put into Gemini's words, and what is lost where it can.
//!
//! A message is a path and fixed words: nothing of the body gets in.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::chat::error::{ErrorReply, INVALID_REQUEST};
use crate::provider::parameters::UNKNOWN;
use crate::provider::translate::Unsupported;

/// Boxed: an error is rare, and every step returns one.
pub(super) type Refused = Box<ErrorReply>;

/// What the provider has no counterpart for.
#[derive(Debug)]
pub(super) struct Losses {
    unsupported: Unsupported,
    /// Their names.
    dropped: BTreeSet<&'static str>,
}

fn refusal(code: &'static str, path: impl Display, words: &str) -> Refused {
    let path = path.to_string();
    Box::new(ErrorReply {
        status: 400,
        kind: INVALID_REQUEST,
        code,
        message: format!("{path} {words}"),
        param: Some(path),
    })
}

/// A fault of the body as a whole, which has no path.
pub(super) fn body(code: &'static str, message: String) -> Refused {
    Box::new(ErrorReply {
        status: 400,
        kind: INVALID_REQUEST,
        code,
        message,
        param: None,
    })
}

pub(super) fn missing(path: impl Display, want: &str) -> Refused {
    refusal(
        "missing_required_parameter",
        path,
        &format!("is missing; it {want}"),
    )
}

pub(super) fn wrong_type(path: impl Display, want: &str) -> Refused {
    refusal("invalid_type", path, want)
}

pub(super) fn invalid(path: impl Display, words: &str) -> Refused {
    refusal("invalid_value", path, words)
}

/// Content that the provider cannot be given: never dropped, for an answer without it would be another answer.
pub(super) fn content(path: impl Display, words: &str) -> Refused {
    refusal("unsupported_content", path, words)
}

/// A parameter that cannot be left out without changing what is asked.
pub(super) fn parameter(path: impl Display, words: &str) -> Refused {
    refusal("unsupported_parameter", path, words)
}

// === impl Losses ===

impl Losses {
    pub(super) fn new(unsupported: Unsupported) -> Self {
        Self {
            unsupported,
            dropped: BTreeSet::new(),
        }
    }

    /// Gives up `name`, or refuses the request for `path`, as policy says.
    pub(super) fn lose(&mut self, name: &'static str, path: impl Display) -> Result<(), Refused> {
        let words = "has no counterpart in Gemini's API; leave it out";
        self.give_up(name, || parameter(path, words))
    }

    /// Gives up a field that is not known; `path`: where its name is fit to be one.
    pub(super) fn lose_unknown(&mut self, path: Option<String>) -> Result<(), Refused> {
        let words = "is a field that Gemini's API does not know; leave it out";
        self.give_up(UNKNOWN, || match path {
            Some(path) => parameter(path, words),
            None => body("unsupported_parameter", format!("the body {words}")),
        })
    }

    fn give_up(
        &mut self,
        name: &'static str,
        refusal: impl FnOnce() -> Refused,
    ) -> Result<(), Refused> {
        match self.unsupported {
            Unsupported::Refuse => Err(refusal()),
            Unsupported::Drop => {
                self.dropped.insert(name);
                Ok(())
            }
        }
    }

    /// The names, in alphabetical order.
    pub(super) fn into_dropped(self) -> Vec<&'static str> {
        self.dropped.into_iter().collect()
    }
}
