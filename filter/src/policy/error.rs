//! What is wrong with a policy document: where, and how to repair it.
//!
//! A document is hostile until it is validated, and these lines go to a log. So a name taken from it is cleaned and cut before
//! it is put into a path or a message, and a value that may be a secret is never put there at all.

use std::fmt;

/// Mistakes listed of one document; the last line of a longer list says that there are more.
pub const MAX_ERRORS: usize = 50;

/// Characters of a name from the document that an error repeats.
const MAX_NAME: usize = 64;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    /// Such as `tiers.fast.targets[1].provider`; empty for the document as a whole.
    pub path: String,
    pub message: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Every mistake in a document, at most [`MAX_ERRORS`], never empty. Displayed as one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyErrors(pub Vec<PolicyError>);

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Errors(Vec<PolicyError>);

// === impl Errors ===

impl Errors {
    pub(super) fn push(&mut self, path: &str, message: impl Into<String>) {
        let error = match self.0.len().saturating_add(1) {
            ..MAX_ERRORS => PolicyError {
                path: path.to_owned(),
                message: message.into(),
            },
            MAX_ERRORS => PolicyError {
                path: String::new(),
                message: "more mistakes follow".to_owned(),
            },
            _ => return,
        };
        self.0.push(error);
    }

    /// Whether another mistake would not be listed, and the search for its repair is work for nothing.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_ERRORS
    }

    pub(super) fn into_result(self) -> Result<(), PolicyErrors> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(PolicyErrors(self.0))
        }
    }
}

impl PolicyErrors {
    /// One mistake about the document as a whole.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self(vec![PolicyError {
            path: String::new(),
            message: message.into(),
        }])
    }
}

/// A name from the document as an error may repeat it: printable ASCII, not long.
pub(crate) fn clean(name: &str) -> String {
    let mut chars = name.chars();
    let mut clean: String = chars
        .by_ref()
        .take(MAX_NAME)
        .map(|c| {
            if c == ' ' || c.is_ascii_graphic() {
                c
            } else {
                '?'
            }
        })
        .collect();
    if chars.next().is_some() {
        clean.push_str("...");
    }
    clean
}

/// The path of a map's entry.
pub fn field_path(parent: &str, name: &str) -> String {
    let name = if name.is_empty() {
        "\"\"".to_owned()
    } else {
        clean(name)
    };
    if parent.is_empty() {
        name
    } else {
        format!("{parent}.{name}")
    }
}

/// The path of a list's item.
pub fn item_path(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_mistakes_is_bounded_and_says_so() {
        let mut errors = Errors::default();
        for i in 0..200 {
            errors.push(&format!("f{i}"), "unknown field");
        }
        assert!(errors.is_full());
        let errors = errors.into_result().unwrap_err();
        assert_eq!(errors.0.len(), MAX_ERRORS);
        assert!(
            errors
                .to_string()
                .ends_with("f48: unknown field; more mistakes follow"),
            "{errors}"
        );
    }

    #[test]
    fn a_name_is_cleaned_and_cut() {
        assert_eq!(clean("a\nb\u{202e}c d"), "a?b?c d");
        assert_eq!(clean(&"x".repeat(65)), format!("{}...", "x".repeat(64)));
        assert_eq!(field_path("", ""), "\"\"");
        assert_eq!(field_path("tiers", "a\rb"), "tiers.a?b");
    }
}
