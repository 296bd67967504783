//! Stream: Anthropic's events, as chunks of an OpenAI chat completion.
//!
//! Pure. What is kept between events is the head of every chunk, the kind of the open block and a few counters; an event
//! is read where it lies and its text copied from there into the chunk. An event of another form is an error, except
//! where Anthropic says that new kinds may come: those are skipped. A stream ends in `[DONE]` or in one error.
//!
//! Source: <https://platform.claude.com/docs/en/build-with-claude/streaming> (order and kinds of events: blocks come one
//! after the other, counts are cumulative, an error may come at any time).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::chunk::Chunks;
use super::answer::tokens::Tokens;
use super::answer::{Block, finish_reason, push_head, refusal};
use super::error;
use crate::chat::error::{SERVER, error_body};
use crate::chat::json::{count, inside, object, word};
use crate::chat::usage::Usage;
use crate::provider::sse::Event;
use crate::provider::translate::{Progress, Told, Translator};

mod chunk;

/// A stream of Anthropic's being translated.
#[derive(Debug)]
pub struct Stream {
    created: u64,
    /// For a stream that does not name its model.
    model: String,
    include_usage: bool,
    tokens: Tokens,
    state: State,
}

#[derive(Debug)]
enum State {
    /// For `message_start`.
    Waiting,
    Running(Message),
    Done,
    Failed,
}

/// The message whose events come.
#[derive(Debug)]
struct Message {
    chunks: Chunks,
    block: Open,
    tool_calls: u64,
    thoughts: u64,
    /// Its finish reason is written.
    is_finished: bool,
}

/// The block that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    None,
    Text,
    Thinking {
        /// Among the thoughts.
        index: u64,
    },
    Tool {
        /// Anthropic's index, among all blocks.
        block: Option<u64>,
        /// OpenAI's, among the tool calls.
        call: u64,
        arguments: Arguments,
    },
    /// Of a kind that is left out, such as Anthropic's own tools; so are its deltas.
    Skipped,
}

/// What is written of a tool call's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arguments {
    None,
    Pieces,
    /// The block's start had them all. Anthropic's own is always empty there.
    Whole,
}

/// Not an event of the format.
struct BadEvent;

/// The fields of all kinds of event. Values stay raw, so that one of an unexpected type matters only where it is needed.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The message of `message_start`: its content is empty, and what it stops for is not known yet.
#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// The fields of all kinds of `content_block_delta`.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_json: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    signature: Option<&'a RawValue>,
}

/// The delta of `message_delta`.
#[derive(Deserialize)]
struct Stop<'a> {
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_details: Option<&'a RawValue>,
}

// === impl Stream ===

impl Translator for Stream {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Progress {
        match self.state {
            State::Waiting | State::Running(_) => {}
            State::Done => return Progress::Done,
            State::Failed => return Progress::Failed,
        }
        let data = event.data.trim_ascii();
        if data.is_empty() {
            // `data:` alone keeps a connection alive, as a comment does.
            return Progress::Silent;
        }
        self.read(event.event, data, out)
            .unwrap_or_else(|BadEvent| {
                let message = "the provider's stream has an event that is not of its format; send the request again, \
                               or name another tier or model";
                self.fail(SERVER, "provider_bad_event", message, out)
            })
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Progress {
        match self.state {
            State::Done => Progress::Done,
            State::Failed => Progress::Failed,
            State::Waiting | State::Running(_) => {
                let message = "the provider's stream ended before the answer was complete; send the request again";
                self.fail(SERVER, "provider_stream_cut", message, out)
            }
        }
    }

    fn usage(&self) -> Usage {
        self.tokens.usage()
    }
}

impl Stream {
    pub fn new(told: &Told<'_>) -> Self {
        Self {
            created: told.created,
            model: told.model.to_owned(),
            include_usage: told.include_usage,
            tokens: Tokens::default(),
            state: State::Waiting,
        }
    }

    /// An event's kind stands in its data and in its name; the data is what counts.
    fn read(&mut self, name: &[u8], data: &[u8], out: &mut Vec<u8>) -> Result<Progress, BadEvent> {
        let data = std::str::from_utf8(data).map_err(|_| BadEvent)?;
        let frame: Frame<'_> = object(data).ok_or(BadEvent)?;
        let name = || std::str::from_utf8(name).ok().map(Cow::Borrowed);
        let kind = word(frame.kind).or_else(name).unwrap_or_default();
        match (&*kind, &mut self.state) {
            ("message_start", _) => self.start(&frame, out),
            ("error", _) => Ok(self.provider_error(frame.error, out)),
            ("content_block_start", State::Running(message)) => message.open_block(&frame, out),
            ("content_block_delta", State::Running(message)) => message.delta(&frame, out),
            ("content_block_stop", State::Running(message)) => Ok(message.close_block(out)),
            ("message_delta", State::Running(message)) => {
                self.tokens.note(frame.usage);
                message.message_delta(&frame, out)
            }
            ("message_stop", State::Running(message)) => {
                message.stop(&self.tokens, out);
                self.state = State::Done;
                Ok(Progress::Done)
            }
            (
                "content_block_start"
                | "content_block_delta"
                | "content_block_stop"
                | "message_delta"
                | "message_stop",
                _,
            ) => Err(BadEvent),
            // `ping`, and what may come.
            _ => Ok(Progress::Silent),
        }
    }

    fn start(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<Progress, BadEvent> {
        let message: Start<'_> = frame
            .message
            .and_then(|message| object(message.get()))
            .ok_or(BadEvent)?;
        self.tokens.note(message.usage);
        // All chunks have one id and one role, so that a second start changes nothing.
        if let State::Waiting = self.state {
            let chunks = Chunks::new(self.include_usage, |head| {
                let object = "chat.completion.chunk";
                let (id, model) = (message.id, message.model);
                push_head(head, object, id, model, self.created, &self.model);
            });
            chunks.role(out);
            self.state = State::Running(Message::new(chunks));
        }
        Ok(Progress::Silent)
    }

    fn provider_error(&mut self, error: Option<&RawValue>, out: &mut Vec<u8>) -> Progress {
        // There is no status here: the type says it all.
        let Some(error) = error.and_then(|error| error::read(0, error)) else {
            let message = "the provider broke off its answer; send the request again";
            return self.fail(SERVER, "provider_failed", message, out);
        };
        let words = error.message.as_deref().unwrap_or(error.advice);
        let message = format!("the provider broke off its answer: {words}");
        self.fail(error.kind, error.code, &message, out)
    }

    fn fail(&mut self, kind: &str, code: &str, message: &str, out: &mut Vec<u8>) -> Progress {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&error_body(kind, code, message, None));
        out.extend_from_slice(b"\n\n");
        self.state = State::Failed;
        Progress::Failed
    }
}

// === impl Message ===

impl Message {
    fn new(chunks: Chunks) -> Self {
        Self {
            chunks,
            block: Open::None,
            tool_calls: 0,
            thoughts: 0,
            is_finished: false,
        }
    }

    fn open_block(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<Progress, BadEvent> {
        if self.is_finished {
            // Clients take a finish reason for a choice's last word: what follows would be lost, and nobody would see it.
            return Err(BadEvent);
        }
        let closed = self.close_block(out);
        let block: Block<'_> = frame
            .content_block
            .and_then(|block| object(block.get()))
            .ok_or(BadEvent)?;
        self.block = Open::Skipped;
        match word(block.kind).as_deref() {
            Some("text") => {
                self.block = Open::Text;
                Ok(self.text(inside(block.text).unwrap_or_default(), out))
            }
            Some("tool_use") => self.open_tool(count(frame.index), &block, out),
            Some("thinking") => {
                let index = next(&mut self.thoughts);
                self.block = Open::Thinking { index };
                // Both come empty, and their text in deltas.
                let thinking =
                    self.thinking(inside(block.thinking).unwrap_or_default(), index, out);
                let signature =
                    self.signature(inside(block.signature).unwrap_or_default(), index, out);
                Ok(if thinking == Progress::Silent {
                    signature
                } else {
                    thinking
                })
            }
            Some("redacted_thinking") => {
                let data = inside(block.data).ok_or(BadEvent)?;
                let index = next(&mut self.thoughts);
                self.chunks.redacted(data, index, out);
                Ok(Progress::Real)
            }
            _ => Ok(closed),
        }
    }

    fn open_tool(
        &mut self,
        index: Option<u64>,
        block: &Block<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, BadEvent> {
        let id = inside(block.id).ok_or(BadEvent)?;
        let name = inside(block.name).ok_or(BadEvent)?;
        let call = next(&mut self.tool_calls);
        self.chunks.tool_call(call, id, name, out);
        let input = block
            .input
            .map(RawValue::get)
            .filter(|input| !is_empty_object(input));
        if let Some(input) = input {
            self.chunks.whole_arguments(call, input, out);
        }
        self.block = Open::Tool {
            block: index,
            call,
            arguments: match input {
                Some(_) => Arguments::Whole,
                None => Arguments::None,
            },
        };
        Ok(Progress::Real)
    }

    fn delta(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<Progress, BadEvent> {
        let delta: Delta<'_> = frame
            .delta
            .and_then(|delta| object(delta.get()))
            .ok_or(BadEvent)?;
        let kind = word(delta.kind).ok_or(BadEvent)?;
        match (&*kind, self.block) {
            (_, Open::Skipped) => Ok(Progress::Silent),
            ("text_delta", Open::Text) => Ok(self.text(inside(delta.text).ok_or(BadEvent)?, out)),
            ("thinking_delta", Open::Thinking { index }) => {
                let thinking = inside(delta.thinking).ok_or(BadEvent)?;
                Ok(self.thinking(thinking, index, out))
            }
            ("signature_delta", Open::Thinking { index }) => {
                let signature = inside(delta.signature).ok_or(BadEvent)?;
                Ok(self.signature(signature, index, out))
            }
            (
                "input_json_delta",
                Open::Tool {
                    block,
                    call,
                    arguments,
                },
            ) => {
                // A piece of another call's arguments would make this one's wrong, and nobody would see it.
                let index = count(frame.index).or(block);
                let piece = inside(delta.partial_json).ok_or(BadEvent)?;
                if block.is_some() && index != block {
                    return Err(BadEvent);
                }
                if piece.is_empty() || arguments == Arguments::Whole {
                    return Ok(Progress::Silent);
                }
                self.block = Open::Tool {
                    block,
                    call,
                    arguments: Arguments::Pieces,
                };
                self.chunks.arguments(call, piece, out);
                Ok(Progress::Real)
            }
            ("text_delta" | "thinking_delta" | "signature_delta" | "input_json_delta", _) => {
                Err(BadEvent)
            }
            // `citations_delta`, which no chunk has a place for, and what may come.
            _ => Ok(Progress::Silent),
        }
    }

    fn close_block(&mut self, out: &mut Vec<u8>) -> Progress {
        let block = std::mem::replace(&mut self.block, Open::None);
        let Open::Tool {
            call,
            arguments: Arguments::None,
            ..
        } = block
        else {
            return Progress::Silent;
        };
        // Clients parse what they get: a tool without parameters is called with an empty object.
        self.chunks.whole_arguments(call, "{}", out);
        Progress::Real
    }

    /// There may be several; the first that has a stop reason ends the content.
    fn message_delta(
        &mut self,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, BadEvent> {
        let stop: Stop<'_> = frame
            .delta
            .and_then(|delta| object(delta.get()))
            .ok_or(BadEvent)?;
        if stop.stop_reason.is_none() || self.is_finished {
            return Ok(Progress::Silent);
        }
        let _ = self.close_block(out);
        if let Some(refusal) = refusal(stop.stop_reason, stop.stop_details) {
            self.chunks.refusal(refusal, out);
        }
        self.finish(stop.stop_reason, out);
        Ok(Progress::Real)
    }

    fn stop(&mut self, tokens: &Tokens, out: &mut Vec<u8>) {
        let _ = self.close_block(out);
        if !self.is_finished {
            self.finish(None, out);
        }
        self.chunks.done(tokens, out);
    }

    fn finish(&mut self, stop_reason: Option<&RawValue>, out: &mut Vec<u8>) {
        self.is_finished = true;
        self.chunks.finish(finish_reason(stop_reason), out);
    }

    fn text(&self, text: &str, out: &mut Vec<u8>) -> Progress {
        if text.is_empty() {
            return Progress::Silent;
        }
        self.chunks.content(text, out);
        Progress::Real
    }

    fn thinking(&self, text: &str, index: u64, out: &mut Vec<u8>) -> Progress {
        if text.is_empty() {
            return Progress::Silent;
        }
        self.chunks.thinking(text, index, out);
        Progress::Real
    }

    fn signature(&self, signature: &str, index: u64, out: &mut Vec<u8>) -> Progress {
        if signature.is_empty() {
            return Progress::Silent;
        }
        self.chunks.signature(signature, index, out);
        Progress::Real
    }
}

/// Counts one more, and says how many there were.
fn next(counter: &mut u64) -> u64 {
    let index = *counter;
    *counter = index.saturating_add(1);
    index
}

fn is_empty_object(json: &str) -> bool {
    let inside = json
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests;
