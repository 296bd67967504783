//! Names of a document that other parts of it refer to. A reference that misses says which name was probably meant.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::error::{Errors, clean};
use super::nearest::nearest;
use super::reader::At;
use super::value::Value;

/// Known names that an error lists when none is near.
const LISTED: usize = 16;

/// Names that others may refer to: the tiers, the providers or the models.
#[derive(Debug)]
pub(super) struct Names<'v> {
    what: &'static str,
    /// `None` where the names could not be read: then a reference is not the mistake.
    known: Option<BTreeSet<&'v str>>,
}

/// `; did you mean "x"?`, or the known names if none is near.
pub(super) fn repair<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(name, known.clone()) {
        return format!("; did you mean \"{}\"?", clean(near));
    }
    let listed: Vec<_> = known
        .take(LISTED)
        .map(|name| format!("\"{}\"", clean(name)))
        .collect();
    if listed.is_empty() {
        String::new()
    } else {
        format!("; known: {}", listed.join(", "))
    }
}

// === impl Names ===

impl<'v> Names<'v> {
    pub(super) fn new(what: &'static str, known: Option<BTreeSet<&'v str>>) -> Self {
        Self { what, known }
    }

    /// The keys of a map.
    pub(super) fn keys(what: &'static str, at: Option<&At<'v>>) -> Self {
        let known = match at.map(|at| at.value) {
            Some(Value::Map(entries)) => {
                Some(entries.iter().map(|(name, _)| name.as_str()).collect())
            }
            _ => None,
        };
        Self { what, known }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.known
            .as_ref()
            .is_some_and(|known| known.contains(name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'v str> + Clone {
        self.known.iter().flatten().copied()
    }

    /// Whether the names could be read at all.
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// A reference to one of these names.
    pub(super) fn find(&self, at: &At<'v>, errors: &mut Errors) -> Option<&'v str> {
        let name = at.string(errors)?;
        if self.is_known() && !self.has(name) {
            if !errors.is_full() {
                let repair = repair(name, self.iter());
                errors.push(
                    &at.path,
                    format!("no {} \"{}\"{repair}", self.what, clean(name)),
                );
            }
            return None;
        }
        Some(name)
    }

    /// A list of references, none twice.
    pub(super) fn find_all(
        &self,
        at: &At<'v>,
        count: RangeInclusive<usize>,
        errors: &mut Errors,
    ) -> Vec<&'v str> {
        let mut names = Vec::new();
        for item in at.items(count, errors).unwrap_or_default() {
            let Some(name) = self.find(&item, errors) else {
                continue;
            };
            if names.contains(&name) {
                errors.push(&item.path, format!("\"{}\" is given twice", clean(name)));
            } else {
                names.push(name);
            }
        }
        names
    }
}
