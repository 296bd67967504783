//! Request: what routing needs to know of a chat completion request, read in one pass over its body.
//!
//! The same reading serves Messages requests, see `messages::view`: what differs is a [`Dialect`].
//!
//! Nothing of the body is kept but the model's name and text up to the cut; all else is skipped without being
//! stored, however deep it nests. An error names the path of the mistake and never quotes the body.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::content::{Content, CutText};
pub use super::fault::BadRequest;
use super::fault::{Holder, Place, Watch, clean, no_string, not_json, not_utf8};
use super::json::count;
use super::message::{Collector, Messages};
use super::needs::{Digest, Heard, Needs, Opening};

/// Characters of a model's name.
const MAX_MODEL: usize = 256;
/// Bytes of the longest JSON string of that many characters: each an escaped surrogate pair, and the quotes.
const MAX_MODEL_RAW: usize = MAX_MODEL * 12 + 2;
/// Top-level keys. OpenAI documents about forty; the bound keeps the search for duplicates short.
const MAX_KEYS: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRequest {
    pub model: String,
    /// Byte range in the body of the model's whole JSON value, quotes included.
    pub model_span: Range<usize>,
    pub stream: bool,
    /// A stream is to end in a chunk of usage: `stream_options.include_usage`.
    pub include_usage: bool,
    /// More than one choice is asked for: `n`.
    pub many_choices: bool,
    pub conversation: Conversation,
    pub needs: Needs,
}

/// What a classifier may see of the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// System and developer messages, joined by newlines, cut.
    pub system: String,
    /// The latest user message, cut; parts that are not text are named by kind, like `[image_url]`.
    pub user: String,
    /// The end of that message, where `user` does not reach so far; cut.
    pub user_end: String,
    /// Characters of that message; where `user_end` is not kept, of `user`.
    pub user_chars: usize,
    /// The user message before it, its beginning, cut.
    pub previous: String,
    /// User messages.
    pub turns: usize,
    /// Tools on offer.
    pub tools: usize,
    pub messages: usize,
    /// Up to and including the latest user message; 0 without one. It stays the same through a tool loop.
    pub messages_to_user: usize,
    pub ends_in_tool_result: bool,
    /// A message carries `reasoning_details`: thinking that belongs to the provider that wrote it.
    pub has_reasoning: bool,
}

/// Characters kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    pub system: usize,
    pub user: usize,
    /// Of the end of what `user` leaves out.
    pub user_end: usize,
    /// Of the user message before the latest.
    pub previous: usize,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's chat completions.
    #[default]
    Chat,
    /// Anthropic's Messages: `system` and a required `max_tokens` at the top level, tool results among a user's blocks.
    Messages,
    /// A Messages request whose tokens are to be counted: as [`Dialect::Messages`], without `max_tokens`.
    CountTokens,
}

impl Dialect {
    /// Messages in either form.
    pub fn is_messages(self) -> bool {
        self != Dialect::Chat
    }
}

/// Reads a request's body; memory beyond the body is bounded by `cut`.
pub fn parse(body: &[u8], cut: Cut) -> Result<ChatRequest, BadRequest> {
    read(body, cut, Dialect::Chat)
}

pub(crate) fn read(body: &[u8], cut: Cut, dialect: Dialect) -> Result<ChatRequest, BadRequest> {
    let text = std::str::from_utf8(body).map_err(|e| not_utf8(&e))?;
    let watch = Watch::new();
    let mut json = serde_json::Deserializer::from_str(text);
    watch.wants(Place::Body, "must be a JSON object");
    let top = json
        .deserialize_any(Top {
            watch: &watch,
            cut,
            dialect,
        })
        .map_err(|e| watch.explain(&e))?;
    json.end().map_err(|e| not_json(&e))?;

    let raw = top.model.ok_or_else(|| {
        Place::Model.fault(
            "missing_model",
            "is missing; name a model, a tier, or \"auto\"",
        )
    })?;
    let model = read_model(raw.get())?;
    let model_span = span_of(raw.get(), text)
        .ok_or_else(|| Place::Model.fault("invalid_json", "could not be located"))?;
    let (mut conversation, opening) = top.conversation.ok_or_else(|| {
        Place::Messages.fault(
            "missing_messages",
            "is missing; send an array of at least one message",
        )
    })?;
    if conversation.messages == 0 {
        return Err(Place::Messages.fault("empty_messages", "is empty; send at least one message"));
    }
    if dialect == Dialect::Messages && top.max_tokens.is_none() {
        let words = "is missing; say how many tokens the answer may have";
        return Err(Place::MaxTokens.fault("missing_max_tokens", words));
    }
    conversation.tools = top.tools;
    if let Some(first) = top.system {
        conversation.system = joined(first, &conversation.system);
    }
    let needs = Needs {
        max_output: top.max_output.or(top.max_tokens),
        opening: opening.behind(top.system_digest),
        ..top.needs
    };
    Ok(ChatRequest {
        model,
        model_span,
        stream: top.stream,
        include_usage: top.include_usage,
        many_choices: top.many_choices,
        conversation,
        needs,
    })
}

fn read_model(raw: &str) -> Result<String, BadRequest> {
    let too_long = || Place::Model.fault("invalid_type", "must be at most 256 characters");
    if !raw.starts_with('"') {
        return Err(Place::Model.fault("invalid_type", "must be a string"));
    }
    if raw.len() > MAX_MODEL_RAW {
        return Err(too_long());
    }
    // Skipping a string does not check its \u escapes for lone surrogates; reading it does.
    let model: String = serde_json::from_str(raw).map_err(|_| {
        Place::Model.fault(
            "invalid_json",
            "is not a valid JSON string; check its escapes",
        )
    })?;
    if model.is_empty() {
        return Err(Place::Model.fault(
            "missing_model",
            "is empty; name a model, a tier, or \"auto\"",
        ));
    }
    if model.chars().nth(MAX_MODEL).is_some() {
        return Err(too_long());
    }
    Ok(model)
}

/// The top-level instructions, then those among the messages, whichever came first in the body.
fn joined(mut first: CutText, then: &str) -> String {
    if !first.as_str().is_empty() && !then.is_empty() {
        first.push("\n");
    }
    first.push(then);
    first.into_string()
}

/// Where `part`, a slice of `whole`, lies in it: the distance of their addresses.
pub fn span_of(part: &str, whole: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (whole.get(start..end) == Some(part)).then_some(start..end)
}

/// The top level, before what it lacks is known.
#[derive(Default)]
struct Found<'de> {
    model: Option<&'de RawValue>,
    stream: bool,
    include_usage: bool,
    many_choices: bool,
    /// Of a Messages request, with what still fits.
    system: Option<CutText>,
    system_digest: Option<Digest>,
    max_tokens: Option<u32>,
    /// By its newer name, which comes first.
    max_output: Option<u32>,
    tools: usize,
    conversation: Option<(Conversation, Opening)>,
    /// But for what is above.
    needs: Needs,
}

struct Top<'w> {
    watch: &'w Watch,
    cut: Cut,
    dialect: Dialect,
}

/// The keys of the top level so far.
pub(crate) struct Seen<'de>(Vec<Cow<'de, str>>);

/// Borrowed where it has no escapes.
pub(crate) struct Key;

struct Stream;

struct WholeNumber;

/// How many tools a list has; anything else has none.
struct Tools<'n>(&'n mut Needs);

// === impl Top ===

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    no_string!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let watch = self.watch;
        let mut found = Found::default();
        let mut seen = Seen::new();
        while let Some(key) = map.next_key_seed(Key)? {
            seen.admits(&key).map_err(|fault| watch.raise(fault))?;
            match key.as_ref() {
                "model" => found.model = Some(map.next_value()?),
                "stream" => {
                    watch.wants(Place::Stream, "must be true, false or null");
                    found.stream = map.next_value_seed(Stream)?;
                }
                "stream_options" if self.dialect == Dialect::Chat => {
                    found.include_usage = asks_usage(map.next_value()?);
                }
                "n" if self.dialect == Dialect::Chat => {
                    found.many_choices = asks_many(map.next_value()?);
                }
                "messages" => {
                    let mut collector = Collector::new(watch, self.cut, self.dialect);
                    map.next_value_seed(Messages(&mut collector))?;
                    let (conversation, needs, opening) = collector.finish();
                    found.conversation = Some((conversation, opening));
                    found.needs.join(&needs);
                }
                "system" if self.dialect.is_messages() => {
                    let mut text = CutText::new(self.cut.system);
                    let mut heard = Heard::message(Digest::default());
                    let content = Content::new(watch, &mut text, &mut heard, Holder::System);
                    map.next_value_seed(content)?;
                    found.system = Some(text);
                    found.system_digest = Some(heard.digest);
                    found.needs.add(&heard);
                }
                "max_tokens" if self.dialect.is_messages() => {
                    watch.wants(Place::MaxTokens, "must be a whole number");
                    let limit = map.next_value_seed(WholeNumber)?;
                    found.max_tokens = Some(tokens(limit));
                }
                "max_tokens" => found.max_tokens = count(Some(map.next_value()?)).map(tokens),
                "max_completion_tokens" if self.dialect == Dialect::Chat => {
                    found.max_output = count(Some(map.next_value()?)).map(tokens);
                }
                "tools" => found.tools = map.next_value_seed(Tools(&mut found.needs))?,
                "functions" if self.dialect == Dialect::Chat => {
                    map.next_value_seed(Tools(&mut found.needs))?;
                }
                "response_format" if self.dialect == Dialect::Chat => {
                    found.needs.answer(map.next_value()?);
                }
                "output_format" if self.dialect.is_messages() => {
                    found.needs.answer(map.next_value()?);
                }
                "output_config" if self.dialect.is_messages() => {
                    found.needs.answer_in(map.next_value()?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            seen.add(key);
        }
        Ok(found)
    }
}

/// More than a number holds is as good as no limit.
fn tokens(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// Of whatever else they are the provider judges.
fn asks_usage(options: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Options {
        include_usage: bool,
    }
    let options = options.get();
    options.starts_with('{')
        && serde_json::from_str::<Options>(options).is_ok_and(|options| options.include_usage)
}

/// Of whatever else it is the provider judges.
fn asks_many(n: &RawValue) -> bool {
    serde_json::from_str::<f64>(n.get()).is_ok_and(|n| n > 1.0)
}

// === impl Seen ===

impl<'de> Seen<'de> {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(16))
    }

    /// Refuses a key that occurred before, and one too many.
    pub(crate) fn admits(&self, key: &str) -> Result<(), BadRequest> {
        if self.0.iter().any(|seen| seen == key) {
            let key = clean(key);
            return Err(BadRequest {
                code: "duplicate_key",
                message: format!("the key `{key}` occurs twice at the top level; send it once"),
                param: Some(key),
            });
        }
        if self.0.len() == MAX_KEYS {
            let words = "has more than 256 keys at the top level; send fewer";
            return Err(Place::Body.fault("too_many_keys", words));
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, key: Cow<'de, str>) {
        self.0.push(key);
    }
}

// === impl Key ===

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

// === impl Stream ===

impl<'de> DeserializeSeed<'de> for Stream {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_any(self)
    }
}

impl Visitor<'_> for Stream {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean or null")
    }

    no_string!();

    fn visit_bool<E>(self, stream: bool) -> Result<bool, E> {
        Ok(stream)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

// === impl WholeNumber ===

impl<'de> DeserializeSeed<'de> for WholeNumber {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<u64, D::Error> {
        d.deserialize_any(self)
    }
}

impl Visitor<'_> for WholeNumber {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    no_string!();

    fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }
}

// === impl Tools ===

impl<'de> DeserializeSeed<'de> for Tools<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<usize, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tools<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        let mut len = 0usize;
        while let Some(tool) = seq.next_element()? {
            self.0.offer(tool);
            len = len.saturating_add(1);
        }
        Ok(len)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(0)
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_str<E>(self, _: &str) -> Result<usize, E> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
