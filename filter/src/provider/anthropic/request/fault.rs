//! Fault: what of a request cannot be translated, where it stands, and what becomes of it.
//!
//! A message names a place by its JSON path and never quotes what stands there.

use std::fmt;

use crate::chat::error::{ErrorReply, INVALID_REQUEST};
use crate::provider::translate::Unsupported;

pub(super) type Read<T> = Result<T, ErrorReply>;

/// A place in the client's body, like `messages[3].content[0]`. Written out only for an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Field(&'static str),
    Index(usize),
}

/// What was left out so far, under the policy's rule for it.
#[derive(Debug)]
pub(super) struct Losses {
    rule: Unsupported,
    dropped: Vec<&'static str>,
}

/// 400 for the value at `at`; the message is `<path> <words>`.
pub(super) fn bad(code: &'static str, at: &Path<'_>, words: &str) -> ErrorReply {
    refusal(code, Some(at.to_string()), words)
}

/// 400 for a value of the wrong JSON type.
pub(super) fn wrong_type(at: &Path<'_>, words: &str) -> ErrorReply {
    bad("invalid_type", at, words)
}

/// 400 for content that the provider's format cannot carry, whatever the policy says of parameters.
pub(super) fn uncarried(at: &Path<'_>, words: &str) -> ErrorReply {
    bad("unsupported_content", at, words)
}

/// 400 for `param`, or for the body as a whole.
pub(super) fn refusal(code: &'static str, param: Option<String>, words: &str) -> ErrorReply {
    let place = param.as_deref().unwrap_or("the body");
    ErrorReply {
        status: 400,
        kind: INVALID_REQUEST,
        code,
        message: format!("{place} {words}"),
        param,
    }
}

// === impl Path ===

impl<'p> Path<'p> {
    pub(super) const fn top(name: &'static str) -> Self {
        Self {
            parent: None,
            step: Step::Field(name),
        }
    }

    pub(super) const fn field(&'p self, name: &'static str) -> Self {
        Self {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    pub(super) const fn index(&'p self, index: usize) -> Self {
        Self {
            parent: Some(self),
            step: Step::Index(index),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As deep as the fields that this module names, about six.
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

// === impl Losses ===

impl Losses {
    pub(super) fn new(rule: Unsupported) -> Self {
        Self {
            rule,
            dropped: Vec::new(),
        }
    }

    /// The parameter at `at` has no counterpart here: left out under `name`, or refused with `<path> <words>`.
    pub(super) fn lose(&mut self, name: &'static str, at: &Path<'_>, words: &str) -> Read<()> {
        self.lose_at(name, Some(at.to_string()), words)
    }

    /// As [`Losses::lose`], for a place that has no fixed name.
    pub(super) fn lose_at(
        &mut self,
        name: &'static str,
        param: Option<String>,
        words: &str,
    ) -> Read<()> {
        if self.rule == Unsupported::Refuse {
            return Err(refusal("unsupported_parameter", param, words));
        }
        self.note(name);
        Ok(())
    }

    /// Left out and named, never refused.
    pub(super) fn note(&mut self, name: &'static str) {
        if !self.dropped.contains(&name) {
            self.dropped.push(name);
        }
    }

    pub(super) fn into_dropped(self) -> Vec<&'static str> {
        self.dropped
    }
}
