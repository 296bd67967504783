//! A tool call's arguments as they arrive: one JSON object, and where it ends.
//!
//! Nothing is kept but a depth, whatever the length. What comes before the object and behind it is not part of it, and
//! arguments that are none (`null`, a bare string) are left out altogether: a client's parser would fail on them, and
//! without them the input is `{}`.

use crate::messages::answer::completion::Text;

/// How far the object has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arguments {
    /// Nothing, or white space.
    Before,
    Inside {
        /// Open brackets and braces.
        depth: u32,
        in_string: bool,
        /// Behind a `\` in a string.
        escaped: bool,
    },
    /// Complete.
    Whole,
    /// Not an object.
    Refused,
}

// === impl Arguments ===

impl Arguments {
    /// Whether nothing more can come that a client would get.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Whole | Self::Refused)
    }

    /// The part of a fragment that belongs to the object, if any does.
    pub fn push<'a>(&mut self, fragment: Text<'a>) -> Option<Text<'a>> {
        if self.is_settled() {
            return None;
        }
        let mut object = fragment.0;
        let mut rest = object;
        while let Some((char, tail)) = next_char(rest) {
            *self = match *self {
                Self::Before if char.is_ascii_whitespace() => {
                    object = tail;
                    Self::Before
                }
                Self::Before if char == '{' => Self::Inside {
                    depth: 1,
                    in_string: false,
                    escaped: false,
                },
                Self::Inside {
                    depth,
                    in_string,
                    escaped,
                } => Self::inside(char, depth, in_string, escaped),
                Self::Before | Self::Whole | Self::Refused => Self::Refused,
            };
            match self {
                Self::Refused => return None,
                Self::Whole => {
                    let end = object.len().saturating_sub(tail.len());
                    return object.get(..end).map(Text);
                }
                Self::Before | Self::Inside { .. } => rest = tail,
            }
        }
        (!object.is_empty()).then_some(Text(object))
    }

    fn inside(char: char, depth: u32, in_string: bool, escaped: bool) -> Self {
        let (depth, in_string, escaped) = match char {
            _ if escaped => (depth, true, false),
            '\\' if in_string => (depth, true, true),
            '"' => (depth, !in_string, false),
            '{' | '[' if !in_string => (depth.saturating_add(1), false, false),
            '}' | ']' if !in_string => (depth.saturating_sub(1), false, false),
            _ => (depth, in_string, false),
        };
        if depth == 0 {
            return Self::Whole;
        }
        Self::Inside {
            depth,
            in_string,
            escaped,
        }
    }
}

/// The first character that a JSON string's text stands for, and the text behind it.
fn next_char(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let char = match chars.next()? {
        '\\' => match chars.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let hex = chars.as_str().get(..4)?;
                chars = chars.as_str().get(4..)?.chars();
                // Half of a surrogate pair is no character, and no bracket either.
                let code = u32::from_str_radix(hex, 16).ok()?;
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => other,
        },
        char => char,
    };
    Some((char, chars.as_str()))
}
