//! Content: the text of one message, a string or an array of parts.
//!
//! Text is collected only up to the cut, always whole characters; what is not text is named by its kind.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fault::{Holder, Place, Watch, no_string};
use super::needs::{self, Block, Heard};

/// Bytes of a part's kind that is shown; a longer one is `other`.
const MAX_KIND: usize = 32;

/// Text that stops growing at a number of characters, and the end of what did not fit.
#[derive(Default)]
pub(super) struct CutText {
    text: String,
    /// Characters that still fit.
    left: usize,
    /// The latest characters of what did not fit, `end_limit` of them and now and then more.
    end: String,
    end_limit: usize,
    /// Characters of the whole.
    total: usize,
}

/// A length of a [`CutText`] to go back to.
#[derive(Clone, Copy)]
struct Mark {
    len: usize,
    left: usize,
    total: usize,
}

/// Reads a message's content into a text, and what it needs.
pub(super) struct Content<'c> {
    watch: &'c Watch,
    text: &'c mut CutText,
    heard: &'c mut Heard,
    holder: Holder,
}

/// What kinds of parts a content has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kinds {
    /// Blocks of type `tool_result`, which only Messages requests know.
    pub(super) tool_results: bool,
    /// Anything else, and a string.
    pub(super) others: bool,
}

struct Part<'c> {
    watch: &'c Watch,
    text: &'c mut CutText,
    heard: &'c mut Heard,
    /// What holds it, and its index there.
    place: (Holder, usize),
}

struct PartText<'c>(&'c mut CutText, &'c mut Heard);

/// A string that is only recognised, never kept.
pub(super) struct Word<F>(pub(super) F);

enum Kind {
    Text,
    ToolResult,
    /// Cleaned.
    Named(String),
}

/// A key of a part that is read.
enum Field {
    Type,
    Text,
    Needs(needs::Field),
    Other,
}

// === impl CutText ===

impl CutText {
    /// Takes `limit` characters.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            left: limit,
            ..Self::default()
        }
    }

    /// Empties it, and keeps its memory. It takes `limit` characters, and the last `end_limit` of what is beyond them.
    pub(super) fn restart(&mut self, limit: usize, end_limit: usize) {
        self.text.clear();
        self.end.clear();
        self.left = limit;
        self.end_limit = end_limit;
        self.total = 0;
    }

    /// Appends what fits.
    pub(super) fn push(&mut self, text: &str) {
        let mut rest = text;
        if self.left > 0 {
            let (fits, beyond, count) = split_at_char(text, self.left);
            self.text.push_str(fits);
            self.left = self.left.saturating_sub(count);
            self.total = self.total.saturating_add(count);
            rest = beyond;
        }
        if self.end_limit > 0 && !rest.is_empty() {
            self.total = self.total.saturating_add(rest.chars().count());
            self.end.push_str(last_chars(rest, self.end_limit));
            // A character has four bytes at most; trimming seldom, the cost stays in proportion to what is pushed.
            if self.end.len() > self.end_limit.saturating_mul(8) {
                self.trim_end();
            }
        }
    }

    fn trim_end(&mut self) {
        let kept = last_chars(&self.end, self.end_limit).len();
        let dropped = self.end.len().saturating_sub(kept);
        self.end.drain(..dropped);
    }

    /// The last characters of what did not fit.
    pub(super) fn end(&mut self) -> &str {
        self.trim_end();
        &self.end
    }

    /// Characters of the whole, where its end is kept too.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn into_string(self) -> String {
        self.text
    }

    fn mark(&self) -> Mark {
        Mark {
            len: self.text.len(),
            left: self.left,
            total: self.total,
        }
    }

    /// Takes back what a part pushed, and sets the part apart from the one before it.
    fn restart_part(&mut self, before: Mark) {
        if self.total != before.total {
            self.text.truncate(before.len);
            self.left = before.left;
            self.total = before.total;
            // What the part pushed out of it is gone; that a part is taken back is rare.
            self.end.clear();
        }
        if before.len > 0 {
            self.push("\n");
        }
    }
}

/// The first `count` characters, the rest, and how many characters the first are.
pub(crate) fn split_at_char(text: &str, count: usize) -> (&str, &str, usize) {
    // No more bytes than characters wanted: all of it fits.
    if text.len() <= count {
        return (text, "", text.chars().count());
    }
    match text.char_indices().nth(count) {
        Some((at, _)) => {
            let (first, rest) = text.split_at_checked(at).unwrap_or((text, ""));
            (first, rest, count)
        }
        None => (text, "", text.chars().count()),
    }
}

/// The last `count` characters.
pub(crate) fn last_chars(text: &str, count: usize) -> &str {
    let Some(before) = count.checked_sub(1) else {
        return "";
    };
    let at = text.char_indices().rev().nth(before);
    at.and_then(|(at, _)| text.get(at..)).unwrap_or(text)
}

// === impl Content ===

impl<'c> Content<'c> {
    pub(super) fn new(
        watch: &'c Watch,
        text: &'c mut CutText,
        heard: &'c mut Heard,
        holder: Holder,
    ) -> Self {
        Self {
            watch,
            text,
            heard,
            holder,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Content<'_> {
    type Value = Kinds;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Kinds, D::Error> {
        self.watch.wants(
            Place::Content(self.holder),
            "must be a string, null, or an array of parts",
        );
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Content<'_> {
    type Value = Kinds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, null or an array")
    }

    fn visit_str<E>(self, text: &str) -> Result<Kinds, E> {
        self.text.push(text);
        self.heard.text(text);
        Ok(Kinds::STRING)
    }

    fn visit_unit<E>(self) -> Result<Kinds, E> {
        Ok(Kinds::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kinds, A::Error> {
        let Content {
            watch,
            text,
            heard,
            holder,
        } = self;
        let mut kinds = Kinds::default();
        let mut index = 0usize;
        loop {
            let part = Part {
                watch,
                text: &mut *text,
                heard: &mut *heard,
                place: (holder, index),
            };
            let Some(kind) = seq.next_element_seed(part)? else {
                return Ok(kinds);
            };
            kinds.add(&kind);
            index = index.saturating_add(1);
        }
    }
}

// === impl Kinds ===

impl Kinds {
    const STRING: Self = Self {
        tool_results: false,
        others: true,
    };

    pub(super) fn only_tool_results(self) -> bool {
        self.tool_results && !self.others
    }

    fn add(&mut self, kind: &Kind) {
        match kind {
            Kind::ToolResult => self.tool_results = true,
            Kind::Text | Kind::Named(_) => self.others = true,
        }
    }
}

// === impl Part ===

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Kind, D::Error> {
        let (holder, part) = self.place;
        self.watch
            .wants(Place::Part(holder, part), "must be an object with a type");
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    no_string!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let Part {
            watch,
            text,
            heard,
            place,
        } = self;
        let (holder, part) = place;
        let (before, heard_before) = (text.mark(), *heard);
        let mut needs = needs::Part::default();
        let mut kind = None;
        let mut has_text = false;
        while let Some(field) = map.next_key_seed(Word(Field::of))? {
            match field {
                Field::Type => {
                    let place = Place::PartType(holder, part);
                    watch.wants(place, "must be a string");
                    let both = Word(|name: &str| (Kind::of(name), Block::of(name)));
                    let (name, block) = map.next_value_seed(both)?;
                    kind = Some(name);
                    needs.block = block;
                }
                Field::Text => {
                    text.restart_part(before);
                    *heard = heard_before;
                    has_text = map.next_value_seed(PartText(text, heard))?;
                }
                Field::Needs(field) => needs.take(field, map.next_value()?),
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        needs.count(heard);
        let Some(kind) = kind else {
            let place = Place::PartType(holder, part);
            let words = "is missing; set it to text or another kind of part";
            return Err(watch.raise(place.fault("invalid_type", words)));
        };
        let name = match &kind {
            Kind::Text if has_text => return Ok(kind),
            Kind::Text => {
                let place = Place::PartText(holder, part);
                let fault = place.fault("invalid_type", "must be a string in a part of type text");
                return Err(watch.raise(fault));
            }
            Kind::ToolResult => "[tool_result]",
            Kind::Named(name) => name,
        };
        text.restart_part(before);
        text.push(name);
        Ok(kind)
    }
}

impl Field {
    fn of(key: &str) -> Self {
        match key {
            "type" => Field::Type,
            "text" => Field::Text,
            _ => needs::Field::of(key).map_or(Field::Other, Field::Needs),
        }
    }
}

impl Kind {
    fn of(name: &str) -> Self {
        let clean = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
        match name {
            "text" => Kind::Text,
            "tool_result" => Kind::ToolResult,
            _ if (1..=MAX_KIND).contains(&name.len()) && name.bytes().all(clean) => {
                Kind::Named(format!("[{name}]"))
            }
            _ => Kind::Named("[other]".to_owned()),
        }
    }
}

// === impl PartText ===

/// Whether it is a string: a part of another type may hold anything under `text`, and the type may come later.
impl<'de> DeserializeSeed<'de> for PartText<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PartText<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        self.0.push(text);
        self.1.text(text);
        Ok(true)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(false)
    }
}

// === impl Word ===

impl<'de, T, F: Fn(&str) -> T> DeserializeSeed<'de> for Word<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<T, D::Error> {
        d.deserialize_str(self)
    }
}

impl<T, F: Fn(&str) -> T> Visitor<'_> for Word<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(self.0(text))
    }
}
