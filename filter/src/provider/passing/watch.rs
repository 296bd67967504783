//! Watch: what the few events that are read say of a stream: its cost, its end, and whether that is an end that the
//! client's SDK understands.
//!
//! Pure. An answer of chat completions is complete with `[DONE]`, or, of the servers that send none, where the stream ends
//! after every choice has had its finish reason; a Message is with `message_stop`. An error that the official SDKs do not
//! raise on is written anew: they raise on an `error` that is not empty
//! (<https://github.com/openai/openai-python/blob/main/src/openai/_streaming.py>,
//! <https://github.com/openai/openai-node/blob/master/src/core/streaming.ts>), and on an event of the name `error`
//! (<https://github.com/anthropics/anthropic-sdk-python/blob/main/src/anthropic/_streaming.py>,
//! <https://github.com/anthropics/anthropic-sdk-typescript/blob/main/src/core/streaming.ts>).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Format, StreamEnd};
use crate::chat::error::{SERVER, error_body};
use crate::chat::json::{count, each, object, word};
use crate::chat::usage::Usage;
use crate::messages;
use crate::provider::error;
use crate::provider::judge::is_error_tag;
use crate::provider::openai::usage;
use crate::provider::sse::{Event, encode};

/// OpenRouter's finish reason for an answer that failed half-way.
const FAILED: &str = "error";

#[derive(Debug)]
pub(super) struct Watch {
    format: Format,
    usage: Usage,
    is_done: bool,
    has_failed: bool,
    /// An event was too large to be read: it may have been the last of the answer.
    is_unread: bool,
    seen: Choices,
    finished: Choices,
    /// What takes the place of an error.
    words: Vec<u8>,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    /// It is taken out.
    Cut,
    /// An error that passes; nothing may follow.
    Last,
    /// An error in whose place come [`Watch::words`]; nothing may follow.
    Reworded,
}

/// A set of choices, by their index. OpenAI takes `n` up to 128.
#[derive(Debug, Clone, Copy, Default)]
struct Choices(u128);

/// The fields of a chunk that tell. Values stay raw: one of an unexpected type is not an error here.
#[derive(Default, Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            usage: Usage::default(),
            is_done: false,
            has_failed: false,
            is_unread: false,
            seen: Choices::default(),
            finished: Choices::default(),
            words: Vec::new(),
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// What is told before the stream has ended. A finish reason alone is no end: more is to come.
    pub(super) fn ended(&self) -> Option<StreamEnd> {
        match (self.has_failed, self.is_done) {
            (true, _) => Some(StreamEnd::Error),
            (false, true) => Some(StreamEnd::Complete),
            (false, false) => None,
        }
    }

    /// An event passed unread.
    pub(super) fn pass_unread(&mut self) {
        self.is_unread = true;
    }

    /// Whether a stream that has ended now, behind a whole event, is a whole answer. Where that cannot be known it is one.
    pub(super) fn is_complete(&self) -> bool {
        self.is_done || self.is_unread || self.finished.hold_all(self.seen)
    }

    /// The same where the stream has ended in an event that was too large to be read.
    pub(super) fn is_complete_without_the_last(&self) -> bool {
        self.is_done || self.finished.hold_all(self.seen)
    }

    /// What takes the place of the error that was noted.
    pub(super) fn words(&self) -> &[u8] {
        &self.words
    }

    pub(super) fn note(&mut self, event: Event<'_>) -> Fate {
        match self.format {
            Format::Chat { remove_usage, .. } => self.note_chunk(event, remove_usage),
            Format::Messages => self.note_frame(event),
        }
    }

    fn note_chunk(&mut self, event: Event<'_>, remove_usage: bool) -> Fate {
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            self.is_done = true;
            return Fate::Pass;
        }
        let text = std::str::from_utf8(data).ok();
        let chunk: Chunk<'_> = text.and_then(object).unwrap_or_default();
        let usage = chunk.usage.and_then(|json| usage::read(json.get()));
        // One that says nothing does not undo what was said.
        if let Some(usage) = usage.filter(|usage| *usage != Usage::default()) {
            self.usage = usage;
        }
        let (any_choice, breaks_off) = chunk
            .choices
            .map(|choices| self.note_choices(choices))
            .unwrap_or_default();
        let is_error = event.event == b"error"
            || chunk.error.is_some()
            || chunk.object.is_some_and(is_error_tag)
            || breaks_off;
        if is_error && !self.is_done {
            return self.fail_chat(event);
        }
        let is_usage_only = usage.is_some() && !any_choice && !is_error;
        match remove_usage && is_usage_only {
            true => Fate::Cut,
            false => Fate::Pass,
        }
    }

    /// Whether there is any choice, or what is none; and whether one of them failed half-way.
    fn note_choices(&mut self, choices: &RawValue) -> (bool, bool) {
        let mut breaks_off = false;
        let mut any = !choices.get().starts_with('[');
        each(Some(choices), |choice| {
            any = true;
            let Some(choice) = object::<Choice<'_>>(choice.get()) else {
                return;
            };
            let index = count(choice.index).unwrap_or_default();
            self.seen.add(index);
            let reason = word(choice.finish_reason).filter(|reason| !reason.is_empty());
            if let Some(reason) = reason {
                self.finished.add(index);
                breaks_off |= reason == FAILED;
            }
        });
        (any, breaks_off)
    }

    fn fail_chat(&mut self, event: Event<'_>) -> Fate {
        self.has_failed = true;
        // openai-node reads events of this name in another way.
        let is_thread = event.event.starts_with(b"thread.");
        let words = error::in_stream(event.data);
        let data = match &words {
            Some(words) => words,
            None if is_thread => event.data,
            None => return Fate::Last,
        };
        encode(Event { event: b"", data }, &mut self.words);
        Fate::Reworded
    }

    /// An event's kind stands in its data and in its name; an SDK goes by the name.
    fn note_frame(&mut self, event: Event<'_>) -> Fate {
        let text = std::str::from_utf8(event.data).ok();
        let frame: Frame<'_> = text.and_then(object).unwrap_or_default();
        let kind = word(frame.kind);
        let is = |name: &str| event.event == name.as_bytes() || kind.as_deref() == Some(name);
        if is("error") && !self.is_done {
            self.has_failed = true;
            if event.event == b"error" && messages::error::is_of_form(event.data) {
                return Fate::Last;
            }
            messages::stream::write_error(event.data, &mut self.words);
            return Fate::Reworded;
        }
        self.is_done |= is("message_stop");
        Fate::Pass
    }
}

// === impl Choices ===

impl Choices {
    fn add(&mut self, index: u64) {
        let bit = u32::try_from(index)
            .ok()
            .and_then(|at| 1u128.checked_shl(at));
        self.0 |= bit.unwrap_or_default();
    }

    /// Whether these are some, and all of `others` are among them.
    fn hold_all(self, others: Choices) -> bool {
        self.0 != 0 && others.0 & !self.0 == 0
    }
}

// === an early end ===

/// The event that tells a client that its answer is not whole.
pub(super) fn write_early_end(format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Chat { .. } => {
            let message = "the provider's stream ended before the answer was complete; send the request again";
            let data = &error_body(SERVER, "provider_stream_cut", message, None);
            encode(Event { event: b"", data }, out);
        }
        Format::Messages => messages::stream::write_cut(out),
    }
}
