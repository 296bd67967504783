//! The events of a streamed Message, as bytes.
//!
//! Every event is one `data:` line: what is put in is JSON text, which holds no line end.
//!
//! <https://docs.claude.com/en/docs/build-with-claude/streaming>.

use std::fmt::{Arguments, Display};
use std::io::Write;

use crate::chat::usage::Usage;
use crate::messages::answer::completion::Text;
use crate::messages::answer::parts::{MessageId, MessageUsage};
use crate::messages::error::write_form;

/// What a content block's deltas carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delta {
    Text,
    InputJson,
    Thinking,
    Signature,
}

// === impl Delta ===

impl Delta {
    /// The delta's type, and the field that carries it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("text_delta", "text"),
            Self::InputJson => ("input_json_delta", "partial_json"),
            Self::Thinking => ("thinking_delta", "thinking"),
            Self::Signature => ("signature_delta", "signature"),
        }
    }
}

pub(super) fn message_start(id: MessageId<'_>, model: Text<'_>, usage: Usage, out: &mut Vec<u8>) {
    let usage = MessageUsage(usage);
    event(
        "message_start",
        format_args!(
            r#","message":{{"id":"{id}","type":"message","role":"assistant","model":"{model}","content":[],"stop_reason":null,"stop_sequence":null,"usage":{usage}}}"#
        ),
        out,
    );
}

pub(super) fn text_start(block: u32, out: &mut Vec<u8>) {
    block_start(block, format_args!(r#"{{"type":"text","text":""}}"#), out);
}

pub(super) fn thinking_start(block: u32, out: &mut Vec<u8>) {
    block_start(
        block,
        format_args!(r#"{{"type":"thinking","thinking":"","signature":""}}"#),
        out,
    );
}

pub(super) fn redacted_thinking_start(block: u32, data: Text<'_>, out: &mut Vec<u8>) {
    block_start(
        block,
        format_args!(r#"{{"type":"redacted_thinking","data":"{data}"}}"#),
        out,
    );
}

pub(super) fn tool_use_start(block: u32, id: impl Display, name: Text<'_>, out: &mut Vec<u8>) {
    block_start(
        block,
        format_args!(r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{{}}}}"#),
        out,
    );
}

fn block_start(block: u32, content: Arguments<'_>, out: &mut Vec<u8>) {
    event(
        "content_block_start",
        format_args!(r#","index":{block},"content_block":{content}"#),
        out,
    );
}

pub(super) fn delta(block: u32, delta: Delta, text: Text<'_>, out: &mut Vec<u8>) {
    let (kind, field) = delta.names();
    event(
        "content_block_delta",
        format_args!(r#","index":{block},"delta":{{"type":"{kind}","{field}":"{text}"}}"#),
        out,
    );
}

pub(super) fn block_stop(block: u32, out: &mut Vec<u8>) {
    event(
        "content_block_stop",
        format_args!(r#","index":{block}"#),
        out,
    );
}

/// The end of the message: why it stopped, what it cost, and `message_stop`.
pub(super) fn message_stop(stop_reason: &str, usage: Usage, out: &mut Vec<u8>) {
    let usage = MessageUsage(usage);
    event(
        "message_delta",
        format_args!(
            r#","delta":{{"stop_reason":"{stop_reason}","stop_sequence":null}},"usage":{usage}"#
        ),
        out,
    );
    event("message_stop", format_args!(""), out);
}

/// Nothing but a sign of life.
pub(super) fn ping(out: &mut Vec<u8>) {
    event("ping", format_args!(""), out);
}

pub(super) fn error(kind: &str, message: Text<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: error\ndata: ");
    write_form(kind, message, out);
    out.extend_from_slice(b"\n\n");
}

fn event(name: &str, fields: Arguments<'_>, out: &mut Vec<u8>) {
    // Writing into a vector cannot fail.
    let _ = write!(
        out,
        "event: {name}\ndata: {{\"type\":\"{name}\"{fields}}}\n\n"
    );
}
