//! Messages: reads roles and text out of `messages`, and skips all else.
//!
//! Text is collected only up to the cut, always whole characters. One buffer serves every message. A key that
//! occurs twice inside a message counts as its last occurrence, in every field alike.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fault::{Place, Watch, no_string};
use super::request::{Conversation, Cut};

/// Bytes of a part's kind that is shown; a longer one is `other`.
const MAX_KIND: usize = 32;

/// What was read so far, and the buffer of the message being read.
pub(super) struct Collector<'w> {
    watch: &'w Watch,
    cut: Cut,
    found: Conversation,
    system_left: usize,
    text: String,
    text_left: usize,
}

pub(super) struct Messages<'c, 'w>(pub(super) &'c mut Collector<'w>);

struct Message<'c, 'w>(&'c mut Collector<'w>, usize);

struct Content<'c, 'w>(&'c mut Collector<'w>, usize);

struct Part<'c, 'w>(&'c mut Collector<'w>, usize, usize);

struct PartText<'c, 'w>(&'c mut Collector<'w>);

#[derive(Clone, Copy)]
enum Role {
    System,
    User,
    ToolResult,
    Other,
}

enum Kind {
    Text,
    /// Cleaned.
    Named(String),
}

/// A key of a message or of a part that is read.
enum Field {
    Role,
    Content,
    Type,
    Text,
    Other,
}

// === impl Collector ===

impl<'w> Collector<'w> {
    pub(super) fn new(watch: &'w Watch, cut: Cut) -> Self {
        Self {
            watch,
            cut,
            found: Conversation::default(),
            system_left: cut.system,
            text: String::new(),
            text_left: 0,
        }
    }

    pub(super) fn finish(self) -> Conversation {
        self.found
    }

    /// The role may come after the content, so that the longer cut holds until the message is whole.
    fn clear(&mut self) {
        self.text.clear();
        self.text_left = self.cut.system.max(self.cut.user);
    }

    fn push(&mut self, text: &str) {
        push_cut(&mut self.text, &mut self.text_left, text);
    }

    fn end_message(&mut self, role: Role) {
        self.found.messages = self.found.messages.saturating_add(1);
        self.found.ends_in_tool_result = matches!(role, Role::ToolResult);
        match role {
            Role::System if !self.text.is_empty() => {
                let system = &mut self.found.system;
                if !system.is_empty() {
                    push_cut(system, &mut self.system_left, "\n");
                }
                push_cut(system, &mut self.system_left, &self.text);
            }
            Role::User => {
                self.found.messages_to_user = self.found.messages;
                self.found.user.clear();
                let mut left = self.cut.user;
                push_cut(&mut self.found.user, &mut left, &self.text);
            }
            Role::System | Role::ToolResult | Role::Other => {}
        }
    }
}

/// Appends what fits into `left` characters.
fn push_cut(to: &mut String, left: &mut usize, text: &str) {
    for c in text.chars() {
        let Some(rest) = left.checked_sub(1) else {
            return;
        };
        *left = rest;
        to.push(c);
    }
}

// === impl Messages ===

impl<'de> DeserializeSeed<'de> for Messages<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        let watch = self.0.watch;
        watch.expect(Place::Messages, "must be an array of messages");
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Messages<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    no_string!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0usize;
        while seq.next_element_seed(Message(self.0, index))?.is_some() {
            index = index.saturating_add(1);
        }
        Ok(())
    }
}

// === impl Message ===

impl<'de> DeserializeSeed<'de> for Message<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        self.0.watch.expect(
            Place::Message(self.1),
            "must be an object with a role and content",
        );
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Message<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    no_string!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Message(collector, index) = self;
        let mut role = None;
        collector.clear();
        while let Some(field) = map.next_key_seed(Word(Field::of))? {
            match field {
                Field::Role => {
                    collector
                        .watch
                        .expect(Place::Role(index), "must be a string");
                    role = Some(map.next_value_seed(Word(Role::of))?);
                }
                Field::Content => {
                    collector.clear();
                    map.next_value_seed(Content(collector, index))?;
                }
                Field::Type | Field::Text | Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let Some(role) = role else {
            let words = "is missing; set it to system, user, assistant or tool";
            let fault = Place::Role(index).fault("invalid_type", words);
            return Err(collector.watch.raise(fault));
        };
        collector.end_message(role);
        Ok(())
    }
}

impl Role {
    fn of(name: &str) -> Self {
        match name {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            // `function` is what tool results were called before `tool`.
            "tool" | "function" => Role::ToolResult,
            _ => Role::Other,
        }
    }
}

impl Field {
    fn of(key: &str) -> Self {
        match key {
            "role" => Field::Role,
            "content" => Field::Content,
            "type" => Field::Type,
            "text" => Field::Text,
            _ => Field::Other,
        }
    }
}

// === impl Content ===

impl<'de> DeserializeSeed<'de> for Content<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        self.0.watch.expect(
            Place::Content(self.1),
            "must be a string, null, or an array of parts",
        );
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Content<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, null or an array")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut part = 0usize;
        while seq.next_element_seed(Part(self.0, self.1, part))?.is_some() {
            part = part.saturating_add(1);
        }
        Ok(())
    }
}

// === impl Part ===

impl<'de> DeserializeSeed<'de> for Part<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        let Part(ref collector, message, part) = self;
        collector
            .watch
            .expect(Place::Part(message, part), "must be an object with a type");
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    no_string!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Part(collector, message, part) = self;
        let before = (collector.text.len(), collector.text_left);
        let mut kind = None;
        let mut has_text = false;
        while let Some(field) = map.next_key_seed(Word(Field::of))? {
            match field {
                Field::Type => {
                    let place = Place::PartType(message, part);
                    collector.watch.expect(place, "must be a string");
                    kind = Some(map.next_value_seed(Word(Kind::of))?);
                }
                Field::Text => {
                    collector.restart_part(before);
                    has_text = map.next_value_seed(PartText(collector))?;
                }
                Field::Role | Field::Content | Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match kind {
            Some(Kind::Text) if has_text => Ok(()),
            Some(Kind::Text) => {
                let place = Place::PartText(message, part);
                let fault = place.fault("invalid_type", "must be a string in a part of type text");
                Err(collector.watch.raise(fault))
            }
            Some(Kind::Named(name)) => {
                collector.restart_part(before);
                collector.push(&name);
                Ok(())
            }
            None => {
                let place = Place::PartType(message, part);
                let words = "is missing; set it to text, image_url or another kind of part";
                Err(collector.watch.raise(place.fault("invalid_type", words)))
            }
        }
    }
}

impl Collector<'_> {
    /// Takes back what this part pushed, and sets it apart from the part before it.
    fn restart_part(&mut self, (len, left): (usize, usize)) {
        self.text.truncate(len);
        self.text_left = left;
        if len > 0 {
            self.push("\n");
        }
    }
}

impl Kind {
    fn of(name: &str) -> Self {
        let clean = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
        match name {
            "text" => Kind::Text,
            _ if (1..=MAX_KIND).contains(&name.len()) && name.bytes().all(clean) => {
                Kind::Named(format!("[{name}]"))
            }
            _ => Kind::Named("[other]".to_owned()),
        }
    }
}

// === impl PartText ===

/// Whether it is a string: a part of another type may hold anything under `text`, and the type may come later.
impl<'de> DeserializeSeed<'de> for PartText<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PartText<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        self.0.push(text);
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

/// A string that is only recognised, never kept.
struct Word<F>(F);

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
