//! A streamed chat completion as a streamed Message.
//!
//! Pure. Whatever comes, the output ends in one `message_stop` or one `error`, blocks are numbered 0, 1, 2… and come one
//! after the other, and of a whole Message every block that starts stops. Kept are a few numbers, and
//! what of tool calls has to wait (see `calls.rs`).
//!
//! The message starts with the first thing to show, so that an answer that fails before is an error and nothing else.
//! It ends with `[DONE]`, or with the stream if a finish reason came: the usage is sent behind the finish reason, and
//! the format tells it together with why the message stopped.
//!
//! Reasoning that Claude did not sign is not given (see [`answer`](super::answer)); a `ping` is, in its place, so
//! that no client takes a model that thinks for a dead one. Thinking of Claude's is given as it comes; its signature
//! comes last, and a server that leaves it out leaves the block without.

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::calls::{CallError, Calls};
use self::events::Delta;
use super::answer::completion::{Choice, Completion, Message, Text, Thinking, ToolCall};
use super::answer::parts::{MessageId, escaped, is_failure, stop_reason};
use super::error::{API, in_stream};
use crate::chat::usage::Usage;
use crate::provider::sse::Event;
use crate::provider::translate::{Progress, Translator};

mod arguments;
mod calls;
mod events;

const NOT_JSON: &str = "the provider's stream is not of its format; send the request again";
const NO_ANSWER: &str = "the provider ended its stream without an answer; send the request again";
const CUT: &str =
    "the provider's stream was cut before the answer was complete; send the request again";
const BROKEN_OFF: &str = "the provider broke off its answer with an error; send the request again";

/// Translates OpenAI's chunks into Anthropic's events.
#[derive(Debug)]
pub struct Stream {
    /// JSON text of the model's name, for chunks that do not name theirs.
    model: String,
    state: State,
    usage: Usage,
    block: Block,
    /// The number of the block that starts next.
    next_block: u32,
    calls: Calls,
    refused: bool,
    stop_reason: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was written.
    Before,
    /// `message_start` was.
    Started,
    Done,
    Failed,
}

/// The block that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    Text,
    Refusal,
    Thinking {
        index: Option<u64>,
        /// It ends with its signature.
        signed: bool,
    },
    /// Those of [`Calls`].
    Calls,
}

/// Why a stream fails: the error's type, and the JSON text of its message.
type Failure<'a> = (&'static str, Cow<'a, str>);

// === impl Stream ===

impl Stream {
    /// `model` is for chunks that do not name theirs.
    pub fn new(model: &str) -> Self {
        Self {
            model: escaped(model),
            state: State::Before,
            usage: Usage::default(),
            block: Block::None,
            next_block: 0,
            calls: Calls::default(),
            refused: false,
            stop_reason: None,
        }
    }

    fn chunk(&mut self, data: &[u8], out: &mut Vec<u8>) -> Progress {
        match self.read(data, out) {
            Ok(progress) => progress,
            Err((kind, message)) => self.fail(kind, &message, out),
        }
    }

    fn read<'a>(&mut self, data: &'a [u8], out: &mut Vec<u8>) -> Result<Progress, Failure<'a>> {
        let chunk = Completion::read(data).ok_or((API, NOT_JSON.into()))?;
        if chunk.is_error() {
            return Err(reported(data));
        }
        if let Some(usage) = chunk.usage() {
            self.usage = usage;
        }
        let Some(choice) = chunk.first_choice() else {
            return Ok(Progress::Silent);
        };
        let mut progress = Progress::Silent;
        if let Some(delta) = choice.delta() {
            progress = self.delta(&chunk, &delta, out)?;
        }
        if let Some(reason) = choice.finish_reason() {
            if is_failure(Some(reason)) {
                return Err((API, BROKEN_OFF.into()));
            }
            self.finish(&chunk, &choice, out);
            progress = Progress::Real;
        }
        Ok(progress)
    }

    fn delta<'a>(
        &mut self,
        chunk: &Completion<'a>,
        delta: &Message<'a>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, Failure<'a>> {
        let before = out.len();
        delta.thinking(&mut |thinking| self.thinking(chunk, thinking, out));
        delta.texts(&mut |text| self.text(chunk, Block::Text, text, out));
        if let Some(refusal) = delta.refusal() {
            self.refused = true;
            self.text(chunk, Block::Refusal, refusal, out);
        }
        let mut calls = Calling {
            any: false,
            failure: None,
        };
        delta.tool_calls(&mut |call| {
            calls.any = true;
            if calls.failure.is_none() {
                calls.failure = self.tool_call(chunk, &call, out).err();
            }
        });
        if let Some(failure) = calls.failure {
            return Err((API, escaped(&failure.to_string()).into()));
        }
        if out.len() == before && delta.reasons() {
            self.start(chunk, out);
            events::ping(out);
        }
        // Parts of a call that is held are real though nothing is written yet.
        Ok(if calls.any || out.len() > before {
            Progress::Real
        } else {
            Progress::Silent
        })
    }

    fn start(&mut self, chunk: &Completion<'_>, out: &mut Vec<u8>) {
        if self.state == State::Before {
            self.state = State::Started;
            let model = Text::read(chunk.model).unwrap_or(Text(&self.model));
            events::message_start(MessageId::new(chunk.id), model, self.usage, out);
        }
    }

    /// Ends the open block, and makes `block` the open one. Returns its number.
    fn open(&mut self, chunk: &Completion<'_>, block: Block, out: &mut Vec<u8>) -> u32 {
        self.start(chunk, out);
        self.close(out);
        self.block = block;
        self.take_number()
    }

    fn take_number(&mut self) -> u32 {
        let number = self.next_block;
        self.next_block = number.saturating_add(1);
        number
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.block, Block::None) {
            Block::None => {}
            Block::Calls => self.calls.close(out),
            Block::Text | Block::Refusal | Block::Thinking { .. } => {
                events::block_stop(self.current(), out);
            }
        }
    }

    /// The open block's number, unless it is one of the calls'.
    fn current(&self) -> u32 {
        self.next_block.saturating_sub(1)
    }

    fn text(&mut self, chunk: &Completion<'_>, kind: Block, text: Text<'_>, out: &mut Vec<u8>) {
        if self.block != kind {
            let block = self.open(chunk, kind, out);
            events::text_start(block, out);
        }
        events::delta(self.current(), Delta::Text, text, out);
    }

    fn thinking(&mut self, chunk: &Completion<'_>, thinking: Thinking<'_>, out: &mut Vec<u8>) {
        let (index, text, signature) = match thinking {
            Thinking::Redacted(data) => {
                let block = self.open(chunk, Block::None, out);
                events::redacted_thinking_start(block, data, out);
                events::block_stop(block, out);
                return;
            }
            Thinking::Plain {
                index,
                text,
                signature,
            } => (index, text, signature),
        };
        if text.is_none() && signature.is_none() {
            return;
        }
        let signed = Block::Thinking {
            index,
            signed: true,
        };
        let unsigned = Block::Thinking {
            index,
            signed: false,
        };
        if self.block == signed && text.is_none() && index.is_some() {
            // The signature again.
            return;
        }
        if self.block != unsigned {
            let block = self.open(chunk, unsigned, out);
            events::thinking_start(block, out);
        }
        if let Some(text) = text {
            events::delta(self.current(), Delta::Thinking, text, out);
        }
        if let Some(signature) = signature {
            self.block = signed;
            events::delta(self.current(), Delta::Signature, signature, out);
        }
    }

    fn tool_call(
        &mut self,
        chunk: &Completion<'_>,
        call: &ToolCall<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let at = match self.calls.find(call) {
            Some(at) => at,
            None => {
                let Some(name) = call.name else {
                    // Without arguments there is nothing to miss.
                    let is_empty = call.has_no_arguments();
                    return if is_empty {
                        Ok(())
                    } else {
                        Err(CallError::NoName)
                    };
                };
                let block = if self.block == Block::Calls {
                    self.take_number()
                } else {
                    self.open(chunk, Block::Calls, out)
                };
                let id = Text::read(chunk.id);
                self.calls.begin(call, name, id, block, out)?
            }
        };
        match call.arguments.map(json_text) {
            Some(arguments) => self.calls.push(at, Text(&arguments), out),
            None => Ok(()),
        }
    }

    fn finish(&mut self, chunk: &Completion<'_>, choice: &Choice<'_>, out: &mut Vec<u8>) {
        self.start(chunk, out);
        self.close(out);
        self.stop_reason.get_or_insert(stop_reason(
            choice.finish_reason(),
            self.refused,
            self.calls.any(),
        ));
    }

    fn done(&mut self, out: &mut Vec<u8>) -> Progress {
        if self.state == State::Before {
            return self.fail(API, NO_ANSWER, out);
        }
        self.close(out);
        let stop = self
            .stop_reason
            .unwrap_or_else(|| stop_reason(None, self.refused, self.calls.any()));
        events::message_stop(stop, self.usage, out);
        self.state = State::Done;
        Progress::Done
    }

    /// `message` is JSON text. Open blocks stay open: an error ends them all.
    fn fail(&mut self, kind: &str, message: &str, out: &mut Vec<u8>) -> Progress {
        events::error(kind, Text(message), out);
        self.state = State::Failed;
        self.calls = Calls::default();
        Progress::Failed
    }

    /// What the stream ended as, if it has.
    fn ended(&self) -> Option<Progress> {
        match self.state {
            State::Before | State::Started => None,
            State::Done => Some(Progress::Done),
            State::Failed => Some(Progress::Failed),
        }
    }
}

/// After the end every call returns what the end was.
impl Translator for Stream {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Progress {
        let data = event.data.trim_ascii();
        if let Some(ended) = self.ended() {
            return ended;
        }
        match event.event {
            b"ping" => Progress::Silent,
            b"error" => {
                let (kind, message) = reported(data);
                self.fail(kind, &message, out)
            }
            // `data:` alone keeps a connection alive, as a comment does.
            _ if data.is_empty() => Progress::Silent,
            _ if data == b"[DONE]" => self.done(out),
            _ => self.chunk(data, out),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Progress {
        match self.ended() {
            Some(ended) => ended,
            None if self.stop_reason.is_some() => self.done(out),
            None => self.fail(API, CUT, out),
        }
    }

    fn usage(&self) -> Usage {
        self.usage
    }
}

/// An error that a provider has put into a stream, in whatever form, as the event that an SDK raises on.
pub fn write_error(data: &[u8], out: &mut Vec<u8>) {
    let (kind, message) = reported(data);
    events::error(kind, Text(&message), out);
}

/// The error of a stream that ended before the answer did.
pub fn write_cut(out: &mut Vec<u8>) {
    events::error(API, Text(CUT), out);
}

/// What went on among the tool calls of one delta.
struct Calling {
    any: bool,
    failure: Option<CallError>,
}

/// The error that an event reports.
fn reported(data: &[u8]) -> Failure<'_> {
    let (kind, message) = std::str::from_utf8(data).map_or((API, None), in_stream);
    (kind, message.map_or(BROKEN_OFF, |message| message.0).into())
}

/// The JSON text of arguments, without quotes: they are a string, or the object itself from those who do not know.
fn json_text(arguments: &RawValue) -> Cow<'_, str> {
    let json = arguments.get();
    match json
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(escaped(json)),
    }
}

#[cfg(test)]
mod tests;
