//! Messages: reads roles and text out of `messages`, and skips all else.
//!
//! One buffer serves every message. A key that occurs twice inside a message counts as its last occurrence, in every
//! field alike.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::content::{Content, CutText, Kinds, Word, last_chars, split_at_char};
use super::fault::{Holder, Place, Watch, no_string};
use super::needs::{Calls, Heard, Needs, Opening};
use super::request::{Conversation, Cut, Dialect};

/// What was read so far, and the text of the message being read.
pub(super) struct Collector<'w> {
    watch: &'w Watch,
    cut: Cut,
    dialect: Dialect,
    found: Conversation,
    /// Of the messages.
    system: CutText,
    text: CutText,
    needs: Needs,
    opening: Opening,
    /// Of the message being read.
    heard: Heard,
}

pub(super) struct Messages<'c, 'w>(pub(super) &'c mut Collector<'w>);

struct Message<'c, 'w>(&'c mut Collector<'w>, usize);

#[derive(Clone, Copy)]
enum Role {
    System,
    User,
    ToolResult,
    Other,
}

/// A key of a message that is read.
enum Field {
    Role,
    Content,
    Reasoning,
    ToolCalls,
    FunctionCall,
    Other,
}

// === impl Collector ===

impl<'w> Collector<'w> {
    pub(super) fn new(watch: &'w Watch, cut: Cut, dialect: Dialect) -> Self {
        Self {
            watch,
            cut,
            dialect,
            found: Conversation::default(),
            system: CutText::new(cut.system),
            text: CutText::default(),
            needs: Needs::default(),
            opening: Opening::default(),
            heard: Heard::default(),
        }
    }

    pub(super) fn finish(self) -> (Conversation, Needs, Opening) {
        let conversation = Conversation {
            system: self.system.into_string(),
            ..self.found
        };
        (conversation, self.needs, self.opening)
    }

    /// The role may come after the content, so that the longer cut holds until the message is whole.
    fn clear(&mut self) {
        self.text
            .restart(self.cut.system.max(self.cut.user), self.cut.user_end);
        self.heard = Heard::message(self.opening.digest());
    }

    fn end_message(&mut self, role: Role, kinds: Kinds) {
        self.found.messages = self.found.messages.saturating_add(1);
        self.heard.tools |= matches!(role, Role::ToolResult);
        self.needs.add(&self.heard);
        // Where results are blocks of user messages, a message of nothing else is no user's.
        let blocks = self.dialect.is_messages();
        self.found.ends_in_tool_result = match role {
            Role::ToolResult => true,
            Role::User => blocks && kinds.tool_results,
            Role::System | Role::Other => false,
        };
        match role {
            Role::System => self.end_system_message(),
            Role::User if blocks && kinds.only_tool_results() => {}
            Role::User => self.end_user_message(),
            Role::ToolResult | Role::Other => {}
        }
    }

    fn end_system_message(&mut self) {
        self.opening.system(self.heard.digest);
        let text = self.text.as_str();
        if text.is_empty() {
            return;
        }
        if !self.system.as_str().is_empty() {
            self.system.push("\n");
        }
        self.system.push(text);
    }

    fn end_user_message(&mut self) {
        self.opening.user(self.heard.digest);
        let found = &mut self.found;
        found.messages_to_user = found.messages;
        found.turns = found.turns.saturating_add(1);
        if self.cut.previous > 0 {
            std::mem::swap(&mut found.previous, &mut found.user);
            let kept = split_at_char(&found.previous, self.cut.previous).0.len();
            found.previous.truncate(kept);
        }
        let (user, beyond, _) = split_at_char(self.text.as_str(), self.cut.user);
        found.user.clear();
        found.user.push_str(user);
        found.user_chars = self.text.total();
        found.user_end.clear();
        if self.cut.user_end > 0 {
            // The buffer is as long as the longer cut.
            found.user_end.push_str(beyond);
            found.user_end.push_str(self.text.end());
            let kept = last_chars(&found.user_end, self.cut.user_end).len();
            let dropped = found.user_end.len().saturating_sub(kept);
            found.user_end.drain(..dropped);
        }
    }
}

// === impl Messages ===

impl<'de> DeserializeSeed<'de> for Messages<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        let watch = self.0.watch;
        watch.wants(Place::Messages, "must be an array of messages");
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
        self.0.watch.wants(
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
        let mut kinds = Kinds::default();
        let mut calls = Calls::default();
        collector.clear();
        while let Some(field) = map.next_key_seed(Word(Field::of))? {
            match field {
                Field::Role => {
                    collector
                        .watch
                        .wants(Place::Role(index), "must be a string");
                    let dialect = collector.dialect;
                    role = Some(map.next_value_seed(Word(|name: &str| Role::of(name, dialect)))?);
                }
                Field::Content => {
                    collector.clear();
                    let holder = Holder::Message(index);
                    let (text, heard) = (&mut collector.text, &mut collector.heard);
                    let content = Content::new(collector.watch, text, heard, holder);
                    kinds = map.next_value_seed(content)?;
                }
                Field::Reasoning => {
                    collector.found.has_reasoning = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Field::ToolCalls => calls.tools = Some(map.next_value()?),
                Field::FunctionCall => calls.function = Some(map.next_value()?),
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let Some(role) = role else {
            let words = match collector.dialect {
                Dialect::Chat => "is missing; set it to system, user, assistant or tool",
                Dialect::Messages | Dialect::CountTokens => {
                    "is missing; set it to user or assistant"
                }
            };
            let fault = Place::Role(index).fault("invalid_type", words);
            return Err(collector.watch.raise(fault));
        };
        collector.heard.calls(calls);
        collector.end_message(role, kinds);
        Ok(())
    }
}

impl Role {
    fn of(name: &str, dialect: Dialect) -> Self {
        match (name, dialect) {
            ("system", _) | ("developer", Dialect::Chat) => Role::System,
            ("user", _) => Role::User,
            // `function` is what tool results were called before `tool`.
            ("tool" | "function", Dialect::Chat) => Role::ToolResult,
            _ => Role::Other,
        }
    }
}

impl Field {
    fn of(key: &str) -> Self {
        match key {
            "role" => Field::Role,
            "content" => Field::Content,
            "reasoning_details" => Field::Reasoning,
            "tool_calls" => Field::ToolCalls,
            "function_call" => Field::FunctionCall,
            _ => Field::Other,
        }
    }
}
