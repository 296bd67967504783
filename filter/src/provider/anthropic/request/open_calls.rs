//! Open calls: the tool calls of an assistant's turn that await their results.
//!
//! The API refuses a call without a result, a result without a call, and a second result; so does this, naming the
//! message. <https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls>

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Path, Read, bad, refusal};
use super::message::Call;

/// Calls by what their results name them by, and their ids at the provider.
#[derive(Debug, Default)]
pub(super) struct OpenCalls<'a>(BTreeMap<Key<'a>, Open<'a>>, BTreeSet<Cow<'a, str>>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Id(Cow<'a, str>),
    /// Of a legacy function call, which has no id.
    Function(Cow<'a, str>),
}

#[derive(Debug)]
struct Open<'a> {
    /// As the provider gets it.
    id: Cow<'a, str>,
    message: usize,
    /// `None` for a legacy function call.
    call: Option<usize>,
    answered: bool,
}

/// An id with no character that the API refuses: it takes letters, digits, `_` and `-`. Other providers' ids may have
/// more, and a conversation may have begun with another provider. The same id becomes the same everywhere.
fn clean_id(id: Cow<'_, str>) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.chars().all(fits) {
        return id;
    }
    Cow::Owned(id.chars().map(|c| if fits(c) { c } else { '_' }).collect())
}

// === impl OpenCalls ===

impl<'a> OpenCalls<'a> {
    /// Opens a call of `tool_calls`, and returns its id at the provider. `place` is of the message, and of the call in
    /// it.
    pub(super) fn open(
        &mut self,
        id: Cow<'a, str>,
        place: (usize, usize),
        at: &Path<'_>,
    ) -> Read<Cow<'a, str>> {
        let mut cleaned = clean_id(id.clone());
        // Two ids may differ only in what is cleaned.
        if !self.1.insert(cleaned.clone()) && !self.0.contains_key(&Key::Id(id.clone())) {
            cleaned = Cow::Owned(format!("{cleaned}_{}", place.1));
            if !self.1.insert(cleaned.clone()) {
                let words = "is too like the id of another call of this turn; use letters, digits, _ and - alone";
                return Err(bad("invalid_value", &at.field("id"), words));
            }
        }
        let open = Open {
            id: cleaned.clone(),
            message: place.0,
            call: Some(place.1),
            answered: false,
        };
        if self.0.insert(Key::Id(id), open).is_some() {
            let words = "is the id of another call of this turn; give each call its own";
            return Err(bad("invalid_value", &at.field("id"), words));
        }
        Ok(cleaned)
    }

    /// Opens a legacy function call, whose id is made here.
    pub(super) fn open_function(
        &mut self,
        call: &Call<'a>,
        message: usize,
        at: &Path<'_>,
    ) -> Read<Cow<'a, str>> {
        let open = Open {
            id: call.id.clone(),
            message,
            call: None,
            answered: false,
        };
        let key = Key::Function(call.name.clone());
        if self.0.insert(key, open).is_some() {
            let words = "calls a function that awaits its result; send the result first";
            return Err(bad("invalid_value", at, words));
        }
        Ok(call.id.clone())
    }

    /// The id at the provider of the call that a tool message answers.
    pub(super) fn answer(&mut self, id: Cow<'a, str>, at: &Path<'_>) -> Read<Cow<'a, str>> {
        self.close(&Key::Id(id), at)
    }

    pub(super) fn answer_function(
        &mut self,
        name: Cow<'a, str>,
        at: &Path<'_>,
    ) -> Read<Cow<'a, str>> {
        self.close(&Key::Function(name), at)
    }

    fn close(&mut self, key: &Key<'a>, at: &Path<'_>) -> Read<Cow<'a, str>> {
        match self.0.get_mut(key) {
            None => {
                let words = "names no call of the assistant message before it; \
                             send each result right after the message that calls for it";
                Err(bad("invalid_value", at, words))
            }
            Some(open) if open.answered => {
                let words =
                    "names a call that already has its result; send one result for each call";
                Err(bad("invalid_value", at, words))
            }
            Some(open) => {
                open.answered = true;
                Ok(open.id.clone())
            }
        }
    }

    /// The turn after the calls has ended: forgets them, if each has its result.
    pub(super) fn all_answered(&mut self) -> Read<()> {
        let first = |(_, open): &(&Key<'a>, &Open<'a>)| (open.message, open.call);
        let missing = self
            .0
            .iter()
            .filter(|(_, open)| !open.answered)
            .min_by_key(first);
        if let Some((_, open)) = missing {
            let message = open.message;
            let param = match open.call {
                Some(call) => format!("messages[{message}].tool_calls[{call}]"),
                None => format!("messages[{message}].function_call"),
            };
            let words =
                "has no result; send a tool message for it right after the assistant message";
            return Err(refusal("invalid_value", Some(param), words));
        }
        self.0.clear();
        self.1.clear();
        Ok(())
    }
}
