//! Place: where in the messages something is, written out only for an error.

use std::fmt::{self, Display};

/// A message, or a part of its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    message: usize,
    part: Option<usize>,
}

/// A tool call of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    message: At,
    index: usize,
}

/// A member of the object at `P`; it may be a path of several.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<P>(P, &'static str);

// === impl At ===

impl At {
    pub(super) fn message(message: usize) -> Self {
        Self {
            message,
            part: None,
        }
    }

    pub(super) fn dot(self, member: &'static str) -> Member<Self> {
        Member(self, member)
    }

    pub(super) fn call(self, index: usize) -> Call {
        Call {
            message: self,
            index,
        }
    }

    pub(super) fn parts<T>(self, parts: &[T]) -> impl Iterator<Item = (At, &T)> {
        parts.iter().enumerate().map(move |(index, part)| {
            let at = At {
                part: Some(index),
                ..self
            };
            (at, part)
        })
    }
}

impl Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "messages[{}]", self.message)?;
        match self.part {
            Some(part) => write!(f, ".content[{part}]"),
            None => Ok(()),
        }
    }
}

// === impl Call ===

impl Call {
    pub(super) fn dot(self, member: &'static str) -> Member<Self> {
        Member(self, member)
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.tool_calls[{}]", self.message, self.index)
    }
}

// === impl Member ===

impl<P: Display> Display for Member<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}
