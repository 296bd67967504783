//! Typed reads of a document's nodes: each answers with a value, or says at which path what was expected.
//!
//! A read that fails has already been reported, so that a caller goes on with `None` or a default, and every mistake of a document
//! is found in one pass. The policy is built from such defaults only to be thrown away.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Errors, field_path, item_path};
use super::names::repair;
use super::nearest::nearest;
use super::units::{parse_duration, parse_size, show_size};
use super::value::Value;

/// A node and its path.
#[derive(Debug)]
pub(super) struct At<'v> {
    pub(super) path: String,
    pub(super) value: &'v Value,
}

/// A map with known fields.
#[derive(Debug)]
pub(super) struct Fields<'v> {
    path: String,
    entries: &'v [(String, Value)],
    /// Known fields that an unknown one was probably meant to be: not reported as missing too.
    misspelled: Vec<&'static str>,
}

/// What a text may be made of.
#[derive(Debug)]
pub(super) struct Charset {
    /// For `must be 1 to 64 of a-z, …`.
    pub(super) what: &'static str,
    pub(super) max: usize,
    pub(super) allows: fn(u8) -> bool,
}

/// What fields were called before, and are called now.
const RENAMED: &[(&str, &str)] = &[("first_event", "first_token")];

fn renamed(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let (_, now) = RENAMED.iter().find(|(before, _)| *before == name)?;
    known.contains(now).then_some(now)
}

// === impl At ===

impl<'v> At<'v> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self {
            path: String::new(),
            value,
        }
    }

    fn expected<T>(&self, expected: &str, errors: &mut Errors) -> Option<T> {
        errors.push(
            &self.path,
            format!("expected {expected}, found {}", self.value.kind()),
        );
        None
    }

    /// A map of fields, of which each is one of `known`.
    pub(super) fn fields(&self, known: &[&'static str], errors: &mut Errors) -> Option<Fields<'v>> {
        let Value::Map(entries) = self.value else {
            return self.expected("a map", errors);
        };
        let mut misspelled = Vec::new();
        for (name, _) in entries {
            if errors.is_full() {
                break;
            }
            if known.contains(&name.as_str()) {
                continue;
            }
            let near = nearest(name, known.iter().copied());
            misspelled.extend(known.iter().filter(|known| near == Some(**known)));
            let repair = match renamed(name, known) {
                Some(now) => format!("; it is called \"{now}\" now"),
                None => repair(name, known.iter().copied()),
            };
            errors.push(
                &field_path(&self.path, name),
                format!("unknown field{repair}"),
            );
        }
        Some(Fields {
            path: self.path.clone(),
            entries,
            misspelled,
        })
    }

    /// A map whose keys are names, as many as `count` allows.
    pub(super) fn entries(
        &self,
        count: RangeInclusive<usize>,
        errors: &mut Errors,
    ) -> Option<Vec<(&'v str, At<'v>)>> {
        let Value::Map(entries) = self.value else {
            return self.expected("a map", errors);
        };
        self.check_count(entries.len(), count, errors)?;
        let at = |(name, value): &'v (String, Value)| {
            (
                name.as_str(),
                At {
                    path: field_path(&self.path, name),
                    value,
                },
            )
        };
        Some(entries.iter().map(at).collect())
    }

    pub(super) fn items(
        &self,
        count: RangeInclusive<usize>,
        errors: &mut Errors,
    ) -> Option<Vec<At<'v>>> {
        let Value::List(list) = self.value else {
            return self.expected("a list", errors);
        };
        self.check_count(list.len(), count, errors)?;
        let at = |(i, value)| At {
            path: item_path(&self.path, i),
            value,
        };
        Some(list.iter().enumerate().map(at).collect())
    }

    fn check_count(
        &self,
        len: usize,
        count: RangeInclusive<usize>,
        errors: &mut Errors,
    ) -> Option<()> {
        if count.contains(&len) {
            return Some(());
        }
        let message = match len {
            0 => "must not be empty".to_owned(),
            _ => format!("has {len} entries, at most {} are allowed", count.end()),
        };
        errors.push(&self.path, message);
        None
    }

    pub(super) fn string(&self, errors: &mut Errors) -> Option<&'v str> {
        match self.value {
            Value::String(text) => Some(text),
            _ => self.expected("a string", errors),
        }
    }

    /// A string made of `charset`.
    pub(super) fn text(&self, charset: &Charset, errors: &mut Errors) -> Option<&'v str> {
        let text = self.string(errors)?;
        charset.check(&self.path, text, errors).then_some(text)
    }

    pub(super) fn bool(&self, errors: &mut Errors) -> Option<bool> {
        match self.value {
            Value::Bool(bool) => Some(*bool),
            _ => self.expected("true or false", errors),
        }
    }

    pub(super) fn integer(&self, range: RangeInclusive<u32>, errors: &mut Errors) -> Option<u32> {
        let Value::Number(number) = *self.value else {
            return self.expected("a whole number", errors);
        };
        if number.fract() == 0.0
            && number >= f64::from(*range.start())
            && number <= f64::from(*range.end())
        {
            return Some(number as u32);
        }
        errors.push(
            &self.path,
            format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            ),
        );
        None
    }

    /// A price: finite, not negative.
    pub(super) fn amount(&self, errors: &mut Errors) -> Option<f64> {
        let Value::Number(number) = *self.value else {
            return self.expected("a number", errors);
        };
        if (0.0..=1e6).contains(&number) {
            return Some(number);
        }
        errors.push(&self.path, "must be a number from 0 to 1000000");
        None
    }

    /// A number from `least` to `most`.
    pub(super) fn number(&self, least: f64, most: f64, errors: &mut Errors) -> Option<f32> {
        let Value::Number(number) = *self.value else {
            return self.expected("a number", errors);
        };
        if (least..=most).contains(&number) {
            return Some(number as f32);
        }
        errors.push(
            &self.path,
            format!("must be a number from {least} to {most}"),
        );
        None
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// Bytes: a whole number, or text such as `512KiB`.
    pub(super) fn size(&self, range: RangeInclusive<u32>, errors: &mut Errors) -> Option<usize> {
        const EXPECTED: &str = "bytes, such as 524288, \"512KiB\" or \"4MiB\"";
        let bytes = match self.value {
            Value::Number(number) => {
                (number.fract() == 0.0 && *number >= 0.0).then_some(*number as u64)
            }
            Value::String(text) => parse_size(text),
            _ => return self.expected(EXPECTED, errors),
        };
        let Some(bytes) = bytes else {
            errors.push(&self.path, format!("expected {EXPECTED}"));
            return None;
        };
        if bytes >= u64::from(*range.start()) && bytes <= u64::from(*range.end()) {
            return usize::try_from(bytes).ok();
        }
        let (least, most) = (show_size(*range.start()), show_size(*range.end()));
        errors.push(&self.path, format!("must be from {least} to {most}"));
        None
    }

    /// A duration of 10 ms to `max`.
    pub(super) fn duration(&self, max: Duration, errors: &mut Errors) -> Option<Duration> {
        const EXPECTED: &str = "a duration, such as \"800ms\", \"1.5s\" or \"10m\"";
        let Value::String(text) = self.value else {
            return self.expected(EXPECTED, errors);
        };
        let Some(duration) = parse_duration(text) else {
            errors.push(&self.path, format!("expected {EXPECTED}"));
            return None;
        };
        if (Duration::from_millis(10)..=max).contains(&duration) {
            return Some(duration);
        }
        errors.push(
            &self.path,
            format!("must be from 10ms to {}h", max.as_secs() / 3600),
        );
        None
    }
}

// === impl Fields ===

impl<'v> Fields<'v> {
    pub(super) fn get(&self, name: &str) -> Option<At<'v>> {
        let (_, value) = self.entries.iter().find(|(field, _)| field == name)?;
        Some(At {
            path: self.path_of(name),
            value,
        })
    }

    pub(super) fn required(&self, name: &'static str, errors: &mut Errors) -> Option<At<'v>> {
        self.required_as(name, "required", errors)
    }

    /// `missing` is what is said where it is not there.
    pub(super) fn required_as(
        &self,
        name: &'static str,
        missing: &str,
        errors: &mut Errors,
    ) -> Option<At<'v>> {
        let found = self.get(name);
        if found.is_none() && !self.misspelled.contains(&name) {
            errors.push(&self.path_of(name), missing);
        }
        found
    }

    /// Whether all its fields are among `known`: whatever is not was reported.
    pub(super) fn is_known(&self, known: &[&str]) -> bool {
        self.entries
            .iter()
            .all(|(name, _)| known.contains(&name.as_str()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A switch that is off unless it is given.
    pub(super) fn flag(&self, name: &str, errors: &mut Errors) -> bool {
        self.get(name)
            .and_then(|at| at.bool(errors))
            .unwrap_or(false)
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        field_path(&self.path, name)
    }
}

// === impl Charset ===

impl Charset {
    /// Whether `text` is made of this, not empty and not too long; reported if not.
    pub(super) fn check(&self, path: &str, text: &str, errors: &mut Errors) -> bool {
        if self.admits(text) {
            return true;
        }
        errors.push(path, format!("must be 1 to {} of {}", self.max, self.what));
        false
    }

    pub(super) fn admits(&self, text: &str) -> bool {
        (1..=self.max).contains(&text.len()) && text.bytes().all(self.allows)
    }
}
