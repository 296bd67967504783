//! Judge: is a 200 the answer that it claims to be?
//!
//! Pure. A stream is judged by its first real event and the same way however it was split; a one-shot answer by the
//! whole body. Nothing of a body is kept in what is returned.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::openai::usage;
use super::sse::{Decoder, Event};
use crate::chat::json::{each, entries, object};
use crate::chat::usage::Usage;

/// How an attempt ended, as `X-Routed-Attempts` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The status that the provider answered with.
    Status(u16),
    ConnectFailure,
    Timeout,
    Reset,
    /// The client went away before the answer began.
    ClientLeft,
    /// A 200 without an answer in it.
    Empty,
    /// A 200 that is an error, or not of the format.
    BadEvent,
    /// A 400: the request has more tokens than the model reads.
    TooLong,
}

/// The text is no [`Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a status nor the name of an attempt's outcome")]
pub struct UnknownOutcome;

/// What is known of a stream so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No real event yet: keep holding.
    Undecided,
    /// Pass everything held, and everything to come.
    Release,
    /// Nothing was passed on, so the next target can still answer.
    Bad(Outcome),
}

/// Watches a 200 `text/event-stream` answer until its first real event.
///
/// Real is what a client would show or act on: a choice with a non-empty field in its delta other than `role`, a
/// finish reason, or a completion's `text`. Comments, pings, role-only deltas and chunks without choices (Azure's
/// prompt filter results) are not: providers send them before they know whether they can answer. An error before the
/// first real event is [`Outcome::BadEvent`] whatever it says, so that the next target is tried.
#[derive(Debug)]
pub struct StreamJudge {
    decoder: Decoder,
    verdict: Verdict,
    /// Bytes that may still be held.
    room: usize,
}

/// What a whole 200 one-shot answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneShot {
    Good,
    /// Nothing, or white space.
    Empty,
    /// Not one JSON object: cut short, or a page of something in between.
    NotJson,
    /// An error object, sent as 200.
    Error,
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::ConnectFailure => f.write_str("connect_failure"),
            Self::Timeout => f.write_str("timeout"),
            Self::Reset => f.write_str("reset"),
            Self::ClientLeft => f.write_str("client_left"),
            Self::Empty => f.write_str("empty"),
            Self::BadEvent => f.write_str("bad_event"),
            Self::TooLong => f.write_str("too_long"),
        }
    }
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        match text {
            "connect_failure" => Ok(Self::ConnectFailure),
            "timeout" => Ok(Self::Timeout),
            "reset" => Ok(Self::Reset),
            "client_left" => Ok(Self::ClientLeft),
            "empty" => Ok(Self::Empty),
            "bad_event" => Ok(Self::BadEvent),
            "too_long" => Ok(Self::TooLong),
            status if status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit()) => {
                status.parse().map(Self::Status).map_err(|_| UnknownOutcome)
            }
            _ => Err(UnknownOutcome),
        }
    }
}

// === impl StreamJudge ===

impl StreamJudge {
    /// `max_held`: bytes held at most. A stream that has no real event within them is released unjudged: holding more
    /// would cost memory in every worker, and a provider that sends that much is answering.
    pub fn new(max_held: usize) -> Self {
        Self {
            decoder: Decoder::new(max_held),
            verdict: Verdict::Undecided,
            room: max_held,
        }
    }

    /// The next bytes of the body. Once decided, the verdict stays.
    pub fn push(&mut self, chunk: &[u8]) -> Verdict {
        if self.verdict != Verdict::Undecided {
            return self.verdict;
        }
        // Only what may be held is looked at, so that the verdict does not depend on how the stream was split.
        let seen = chunk.get(..self.room).unwrap_or(chunk);
        self.room = self.room.saturating_sub(seen.len());
        let mut verdict = Verdict::Undecided;
        let read = self.decoder.push(seen, &mut |event| {
            verdict = judge_event(event);
            keep_going(verdict)
        });
        if verdict == Verdict::Undecided && (read.is_err() || seen.len() < chunk.len()) {
            verdict = Verdict::Release;
        }
        self.verdict = verdict;
        verdict
    }

    /// The stream has ended: decided, or [`Outcome::Empty`].
    pub fn finish(&mut self) -> Verdict {
        if self.verdict == Verdict::Undecided {
            let mut verdict = Verdict::Undecided;
            let read = self.decoder.finish(&mut |event| {
                verdict = judge_event(event);
                keep_going(verdict)
            });
            self.verdict = match verdict {
                Verdict::Undecided if read.is_err() => Verdict::Release,
                Verdict::Undecided => Verdict::Bad(Outcome::Empty),
                decided => decided,
            };
        }
        self.verdict
    }
}

fn keep_going(verdict: Verdict) -> ControlFlow<()> {
    match verdict {
        Verdict::Undecided => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    }
}

// === events ===

/// The fields of a chunk that tell; the rest is skipped. Values stay raw: one of an unexpected type is not an error
/// here, it is merely not real.
#[derive(Deserialize)]
struct Chunk<'a> {
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
    delta: Option<&'a RawValue>,
    /// Instead of a delta, from those who stream whole messages.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    /// Legacy completions.
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

fn judge_event(event: Event<'_>) -> Verdict {
    let data = event.data.trim_ascii();
    match event.event {
        b"ping" => return Verdict::Undecided,
        b"error" => return Verdict::Bad(Outcome::BadEvent),
        _ => {}
    }
    if data == b"[DONE]" {
        return Verdict::Bad(Outcome::Empty);
    }
    if data.is_empty() {
        // `data:` alone keeps a connection alive, as a comment does.
        return Verdict::Undecided;
    }
    let Some(chunk) = std::str::from_utf8(data).ok().and_then(object::<Chunk<'_>>) else {
        return Verdict::Bad(Outcome::BadEvent);
    };
    if chunk.error.is_some() || chunk.object.is_some_and(is_error_tag) {
        return Verdict::Bad(Outcome::BadEvent);
    }
    if chunk.choices.is_some_and(any_real) {
        Verdict::Release
    } else {
        Verdict::Undecided
    }
}

/// Whether a list has a real choice; what is no list has none.
fn any_real(choices: &RawValue) -> bool {
    let mut found = false;
    each(Some(choices), |choice| {
        found = found || object(choice.get()).is_some_and(|choice| is_real(&choice));
    });
    found
}

fn is_real(choice: &Choice<'_>) -> bool {
    let says = |value: Option<&RawValue>| value.is_some_and(|value| !is_blank(value));
    says(choice.finish_reason)
        || says(choice.text)
        || [choice.delta, choice.message]
            .into_iter()
            .flatten()
            .any(|delta| has_content(delta.get()))
}

/// Whether an object has a non-empty field other than `role`; what is no object has none.
fn has_content(delta: &str) -> bool {
    let mut found = false;
    entries(delta, |key, value| {
        found |= key != "role" && !is_blank(value)
    });
    found
}

/// `null`, `""`, `[]` and `{}`.
pub fn is_blank(value: &RawValue) -> bool {
    let value = value.get();
    let inside = |open, close| {
        value
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
    };
    let hollow = |inside: Option<&str>| inside.is_some_and(|inside| inside.trim_ascii().is_empty());
    matches!(value, "null" | "\"\"") || hollow(inside('[', ']')) || hollow(inside('{', '}'))
}

/// vLLM's errors of old: `{"object": "error", "message": …}`.
pub(super) fn is_error_tag(object: &RawValue) -> bool {
    object.get() == "\"error\""
}

// === one-shot ===

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum AnswerKey {
    Error,
    Object,
    Choices,
    Usage,
    #[serde(other)]
    Other,
}

#[derive(Default)]
struct Answer {
    error: bool,
    choices: bool,
    usage: Usage,
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Answer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Answer, M::Error> {
                let mut answer = Answer::default();
                while let Some(key) = map.next_key()? {
                    match key {
                        AnswerKey::Error => {
                            answer.error |= map.next_value::<Option<IgnoredAny>>()?.is_some()
                        }
                        AnswerKey::Object => answer.error |= is_error_tag(map.next_value()?),
                        AnswerKey::Choices => {
                            answer.choices |= map.next_value::<Option<IgnoredAny>>()?.is_some()
                        }
                        AnswerKey::Usage => {
                            let json = map.next_value::<&RawValue>()?.get();
                            answer.usage = usage::read(json).unwrap_or_default();
                        }
                        AnswerKey::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(answer)
            }
        }

        json.deserialize_map(Fields)
    }
}

/// Judges a whole 200 answer, and reads what it cost. One pass, no tree, and values are skipped without recursion,
/// however deep.
pub fn read_one_shot(body: &[u8]) -> (OneShot, Usage) {
    if body.trim_ascii().is_empty() {
        return (OneShot::Empty, Usage::default());
    }
    let answer = std::str::from_utf8(body)
        .ok()
        .and_then(|body| serde_json::from_str::<Answer>(body).ok());
    match answer {
        None => (OneShot::NotJson, Usage::default()),
        Some(Answer {
            error: true,
            choices: false,
            usage,
        }) => (OneShot::Error, usage),
        Some(Answer { usage, .. }) => (OneShot::Good, usage),
    }
}

/// The verdict of [`read_one_shot`] alone.
pub fn judge_one_shot(body: &[u8]) -> OneShot {
    read_one_shot(body).0
}

impl OneShot {
    /// The attempt's outcome, if this is a failure.
    pub fn failure(self) -> Option<Outcome> {
        match self {
            Self::Good => None,
            Self::Empty => Some(Outcome::Empty),
            Self::NotJson | Self::Error => Some(Outcome::BadEvent),
        }
    }
}

/// Whether a `content-type` is `text/event-stream`, whatever its parameters.
pub fn is_event_stream(content_type: &[u8]) -> bool {
    let media_type = content_type
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default();
    media_type
        .trim_ascii()
        .eq_ignore_ascii_case(b"text/event-stream")
}

#[cfg(test)]
mod tests;
