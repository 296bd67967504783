//! Request: the edits that a chat completion request needs on its way to a provider of OpenAI's format.
//!
//! Pure. One walk finds the places, one copy makes the edits: every byte between them is the client's. A value is skipped
//! without recursion, however deep it nests.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::chat::request::span_of;
use crate::provider::{anthropic, gemini};

/// What is to differ from the client's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edits<'a> {
    /// The model's name at the provider.
    pub model: &'a str,
    /// The model's whole JSON value in the body, quotes included.
    pub model_span: Range<usize>,
    /// The request is a stream, and shall end in a chunk of usage: `stream_options.include_usage`
    /// (<https://platform.openai.com/docs/api-reference/chat/create>) becomes true. Where `stream_options` or
    /// `include_usage` is of a type that no provider takes it stays, so that the provider says so.
    pub ask_usage: bool,
    /// No message keeps thinking in the form that this gateway writes it for Claude and Gemini: the signatures are theirs
    /// alone. Of `reasoning_details` (<https://openrouter.ai/docs/guides/best-practices/reasoning-tokens>) the entries of
    /// their formats go, and from a message that has some `reasoning` and `reasoning_content` as well. Entries of any
    /// other format are some `api: openai` provider's, which wants them back: such a message stays as it is.
    pub strip_reasoning: bool,
}

/// The body with the edits made.
///
/// `None` where it is not one JSON object, where `model_span` is not the place of its only top-level `model`, or, if
/// thinking is stripped, where `messages` is not a list of objects. A `stream_options` that occurs twice is edited twice.
pub fn rewrite(body: &[u8], edits: &Edits<'_>) -> Option<Vec<u8>> {
    if !edits.ask_usage && !edits.strip_reasoning {
        return super::rewrite_model(body, edits.model_span.clone(), edits.model);
    }
    let text = std::str::from_utf8(body).ok()?;
    let mut walk = Walk {
        text,
        edits,
        found: Vec::new(),
        has_model: false,
        has_options: false,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Top(&mut walk)).ok()?;
    json.end().ok()?;

    let mut model = serde_json::to_string(edits.model).ok()?;
    if edits.ask_usage && !walk.has_options {
        model.push_str(r#","stream_options":{"include_usage":true}"#);
    }
    walk.has_model.then(|| apply(text, &walk.found, &model))?
}

/// The model's text is longer than any other that is put in.
fn apply(text: &str, found: &[(Range<usize>, With)], model: &str) -> Option<Vec<u8>> {
    let room = text.len().saturating_add(model.len());
    let mut out = Vec::with_capacity(room.saturating_add(INCLUDE_OBJECT.len()));
    let mut copied = 0;
    for (place, with) in found {
        out.extend_from_slice(text.get(copied..place.start)?.as_bytes());
        let with = match with {
            With::Nothing => "",
            With::Model => model,
            With::Text(text) => text,
        };
        out.extend_from_slice(with.as_bytes());
        copied = place.end;
    }
    out.extend_from_slice(text.get(copied..)?.as_bytes());
    Some(out)
}

/// The formats of details that this gateway's translations write.
const OURS: [&str; 2] = [anthropic::THINKING_FORMAT, gemini::THINKING_FORMAT];

const INCLUDE_OBJECT: &str = r#"{"include_usage":true}"#;

/// What takes the place of some bytes.
#[derive(Debug, Clone, Copy)]
enum With {
    Nothing,
    Model,
    Text(&'static str),
}

/// The places found so far, in the body's order.
struct Walk<'a> {
    text: &'a str,
    edits: &'a Edits<'a>,
    found: Vec<(Range<usize>, With)>,
    has_model: bool,
    has_options: bool,
}

struct Top<'w, 'a>(&'w mut Walk<'a>);

struct Options<'w, 'a>(&'w mut Walk<'a>, Range<usize>);

struct Messages<'w, 'a>(&'w mut Walk<'a>);

struct Message<'w, 'a>(&'w mut Walk<'a>);

struct Details<'w, 'a>(&'w mut Walk<'a>);

/// How many of a message's details this gateway wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    None,
    Some,
    All,
}

/// Members that go from an object or a list: each with the comma before it; those with nothing kept before them, with the
/// comma behind.
#[derive(Debug, Default)]
struct Cuts {
    is_any_kept: bool,
    /// Where the first begins that has nothing kept before it.
    first: Option<usize>,
    /// Where the last member ended, kept or not.
    end: usize,
}

// === impl Walk ===

impl Walk<'_> {
    fn span<E: Error>(&self, part: &RawValue) -> Result<Range<usize>, E> {
        span_of(part.get(), self.text).ok_or_else(|| E::custom("not of this body"))
    }

    fn edit(&mut self, place: Range<usize>, with: With) {
        self.found.push((place, with));
    }

    fn model<E: Error>(&mut self, value: &RawValue) -> Result<(), E> {
        let span = self.span(value)?;
        if self.has_model || span != self.edits.model_span || !value.get().starts_with('"') {
            return Err(E::custom("another model than the one that was read"));
        }
        self.has_model = true;
        self.edit(span, With::Model);
        Ok(())
    }

    fn options<E: Error>(&mut self, value: &RawValue) -> Result<(), E> {
        self.has_options = true;
        let span = self.span(value)?;
        let json = value.get();
        if json == "null" {
            self.edit(span, With::Text(INCLUDE_OBJECT));
        } else if json.starts_with('{') {
            serde_json::Deserializer::from_str(json)
                .deserialize_map(Options(self, span))
                .map_err(E::custom)?;
        }
        Ok(())
    }
}

/// A key, or any string, without its quotes, its escapes read.
fn name(key: &RawValue) -> Cow<'_, str> {
    let json = key.get();
    if json.contains('\\') {
        // A lone surrogate cannot be read, and names nothing that is looked for.
        return serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned);
    }
    let inside = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'));
    Cow::Borrowed(inside.unwrap_or(json))
}

// === impl Top ===

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let walk = self.0;
        while let Some(key) = map.next_key::<&RawValue>()? {
            match name(key).as_ref() {
                "model" => walk.model(map.next_value()?)?,
                "stream_options" if walk.edits.ask_usage => walk.options(map.next_value()?)?,
                "messages" if walk.edits.strip_reasoning => map.next_value_seed(Messages(walk))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

// === impl Options ===

impl<'de> Visitor<'de> for Options<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stream options")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Options(walk, span) = self;
        let mut is_empty = true;
        let mut is_named = false;
        while let Some(key) = map.next_key::<&RawValue>()? {
            let value = map.next_value::<&RawValue>()?;
            is_empty = false;
            if name(key) == "include_usage" {
                is_named = true;
                if matches!(value.get(), "false" | "null") {
                    walk.edit(walk.span(value)?, With::Text("true"));
                }
            }
        }
        if !is_named {
            let inside = span.start.saturating_add("{".len());
            let member = match is_empty {
                true => r#""include_usage":true"#,
                false => r#""include_usage":true,"#,
            };
            walk.edit(inside..inside, With::Text(member));
        }
        Ok(())
    }
}

// === impl Messages ===

impl<'de> DeserializeSeed<'de> for Messages<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Messages<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut messages: S) -> Result<(), S::Error> {
        while messages.next_element_seed(Message(self.0))?.is_some() {}
        Ok(())
    }
}

// === impl Message ===

impl<'de> DeserializeSeed<'de> for Message<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    /// The edits are those of a message with thinking of ours; if it turns out to have none they are taken back.
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let walk = self.0;
        let before = walk.found.len();
        let mut cuts = Cuts::default();
        let mut has_ours = false;
        while let Some(key) = map.next_key::<&RawValue>()? {
            let start = walk.span(key)?.start;
            let value = map.next_value::<&RawValue>()?;
            let place = start..walk.span(value)?.end;
            let at = walk.found.len();
            let goes = match name(key).as_ref() {
                "reasoning" | "reasoning_content" => true,
                "reasoning_details" if value.get().starts_with('[') => {
                    let mut json = serde_json::Deserializer::from_str(value.get());
                    let ours = json
                        .deserialize_seq(Details(walk))
                        .map_err(M::Error::custom)?;
                    has_ours |= ours != Ours::None;
                    if ours == Ours::All {
                        walk.found.truncate(at);
                    }
                    ours == Ours::All
                }
                _ => false,
            };
            if let Some(cut) = cuts.next(place, goes) {
                // Before what was found inside a member that stays.
                walk.found.insert(at, (cut, With::Nothing));
            }
        }
        if !has_ours {
            walk.found.truncate(before);
        } else if let Some(cut) = cuts.last() {
            walk.edit(cut, With::Nothing);
        }
        Ok(())
    }
}

// === impl Details ===

impl<'de> Visitor<'de> for Details<'_, '_> {
    type Value = Ours;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of details")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut details: S) -> Result<Ours, S::Error> {
        let walk = self.0;
        let mut cuts = Cuts::default();
        let (mut ours, mut others) = (false, false);
        while let Some(detail) = details.next_element::<&RawValue>()? {
            let goes = is_ours(detail);
            ours |= goes;
            others |= !goes;
            if let Some(cut) = cuts.next(walk.span(detail)?, goes) {
                walk.edit(cut, With::Nothing);
            }
        }
        if let Some(cut) = cuts.last() {
            walk.edit(cut, With::Nothing);
        }
        Ok(match (ours, others) {
            (false, _) => Ours::None,
            (true, true) => Ours::Some,
            (true, false) => Ours::All,
        })
    }
}

/// Whether a detail's `format` is one that this gateway writes.
fn is_ours(detail: &RawValue) -> bool {
    struct Format;

    impl<'de> Visitor<'de> for Format {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a detail")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
            let mut found = false;
            while let Some(key) = map.next_key::<&RawValue>()? {
                let value = map.next_value::<&RawValue>()?;
                found |= name(key) == "format" && OURS.contains(&name(value).as_ref());
            }
            Ok(found)
        }
    }

    let json = detail.get();
    json.starts_with('{')
        && serde_json::Deserializer::from_str(json)
            .deserialize_map(Format)
            .unwrap_or(false)
}

// === impl Cuts ===

impl Cuts {
    /// The next member; what is to be cut now, if it is known.
    fn next(&mut self, place: Range<usize>, goes: bool) -> Option<Range<usize>> {
        let before = std::mem::replace(&mut self.end, place.end);
        if !goes {
            self.is_any_kept = true;
            return self.first.take().map(|from| from..place.start);
        }
        if self.is_any_kept {
            return Some(before..place.end);
        }
        self.first.get_or_insert(place.start);
        None
    }

    /// What is to be cut when there is no next one.
    fn last(self) -> Option<Range<usize>> {
        self.first.map(|from| from..self.end)
    }
}

#[cfg(test)]
mod tests;
