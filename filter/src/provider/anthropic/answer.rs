//! Answer: a whole message of Anthropic's, as an OpenAI chat completion.
//!
//! Pure. One pass over the content, no tree: text is copied as it is written, and what a client of OpenAI's has no place
//! for is left out, never an error.
//!
//! Sources: <https://platform.claude.com/docs/en/api/messages/create> (the message and its blocks),
//! <https://platform.claude.com/docs/en/build-with-claude/extended-thinking> (thinking, redacted thinking),
//! <https://platform.openai.com/docs/api-reference/chat/object> (the chat completion) and
//! <https://openrouter.ai/docs/guides/best-practices/reasoning-tokens> (`reasoning_details`, for which OpenAI has no
//! field: a client that sends them back lets the model go on thinking where it was).
//!
//! What is left out: the tools that Anthropic runs itself (`server_tool_use` and every `…_tool_result`), since no client
//! of OpenAI's can answer or show them; a text's citations, whose places in the text it does not say; and every kind of
//! block that is not known here.

use std::fmt;

use serde::Deserialize;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use self::tokens::Tokens;
use crate::chat::json::{
    inside, inside_of_some, object, push, push_inside, push_number, push_string, word,
};
use crate::provider::translate::{Answer, NoAnswer, Told};

pub(super) mod tokens;

/// Bytes of an id and of a model's name. Every chunk of a stream repeats both, so a huge one would multiply.
const MAX_NAME: usize = 256;

/// The message. Values stay raw, so that one of an unexpected type matters only where it is needed.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_details: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A content block: the fields of all kinds that are read, here and in a stream's `content_block_start`.
#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    pub signature: Option<&'a RawValue>,
    /// Redacted thinking.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StopDetails<'a> {
    #[serde(borrow)]
    explanation: Option<&'a RawValue>,
}

/// The content, sorted into the fields of an OpenAI message. Each is JSON: the inside of a string, or of a list.
#[derive(Default)]
struct Parts {
    text: Vec<u8>,
    reasoning: Vec<u8>,
    reasoning_details: Vec<u8>,
    thoughts: u64,
    tool_calls: Vec<u8>,
}

/// Translates the body of a 200.
pub fn to_chat(body: &[u8], told: &Told<'_>) -> Result<Answer, NoAnswer> {
    let body = std::str::from_utf8(body).map_err(|_| NoAnswer)?;
    let message: Message<'_> = object(body).ok_or(NoAnswer)?;
    if message.error.is_some() || word(message.kind).as_deref() == Some("error") {
        return Err(NoAnswer);
    }
    let parts = message.content.and_then(Parts::read).ok_or(NoAnswer)?;
    let mut tokens = Tokens::default();
    tokens.note(message.usage);

    let mut out = Vec::with_capacity(body.len().saturating_add(512));
    push_head(
        &mut out,
        "chat.completion",
        message.id,
        message.model,
        told.created,
        told.model,
    );
    push(&mut out, "{\"index\":0,\"message\":");
    parts.push_message(refusal(message.stop_reason, message.stop_details), &mut out);
    push(&mut out, ",\"logprobs\":null,\"finish_reason\":\"");
    push(&mut out, finish_reason(message.stop_reason));
    push(&mut out, "\"}],\"usage\":");
    tokens.push(&mut out);
    push(&mut out, "}");
    Ok(Answer {
        body: out,
        usage: tokens.usage(),
    })
}

// === impl Parts ===

impl Parts {
    /// Reads a list of blocks, one at a time; `None` where it is no list of objects, or a block lacks what makes it one.
    fn read(content: &RawValue) -> Option<Self> {
        struct Blocks;

        impl<'de> Visitor<'de> for Blocks {
            type Value = Parts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of content blocks")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut blocks: S) -> Result<Parts, S::Error> {
                let mut parts = Parts::default();
                while let Some(block) = blocks.next_element::<&RawValue>()? {
                    object(block.get())
                        .and_then(|block| parts.add(&block))
                        .ok_or_else(|| S::Error::custom(""))?;
                }
                Ok(parts)
            }
        }

        let mut json = serde_json::Deserializer::from_str(content.get());
        serde::Deserializer::deserialize_seq(&mut json, Blocks).ok()
    }

    fn add(&mut self, block: &Block<'_>) -> Option<()> {
        match word(block.kind).as_deref() {
            Some("text") => push(&mut self.text, inside(block.text)?),
            Some("tool_use") => self.add_tool_call(block)?,
            Some("thinking") => {
                // Empty, or not there, where the request asked that it be omitted.
                let text = inside(block.thinking).unwrap_or_default();
                push(&mut self.reasoning, text);
                let index = self.next_detail();
                let signature = inside_of_some(block.signature);
                push_thought(&mut self.reasoning_details, Some(text), signature, index);
            }
            Some("redacted_thinking") => {
                let data = inside(block.data)?;
                let index = self.next_detail();
                push_redacted(&mut self.reasoning_details, data, index);
            }
            _ => {}
        }
        Some(())
    }

    /// The comma before a detail, and its index: they are counted among themselves, as OpenRouter counts them.
    fn next_detail(&mut self) -> u64 {
        let index = self.thoughts;
        if index > 0 {
            push(&mut self.reasoning_details, ",");
        }
        self.thoughts = index.saturating_add(1);
        index
    }

    fn add_tool_call(&mut self, block: &Block<'_>) -> Option<()> {
        let (id, name) = (inside(block.id)?, inside(block.name)?);
        let out = &mut self.tool_calls;
        if !out.is_empty() {
            push(out, ",");
        }
        push(out, "{\"id\":");
        push_inside(out, id);
        push(out, ",\"type\":\"function\",\"function\":{\"name\":");
        push_inside(out, name);
        push(out, ",\"arguments\":");
        push_string(out, block.input.map_or("{}", RawValue::get));
        push(out, "}}");
        Some(())
    }

    /// OpenAI's message. Its `content` is null where a tool call or a refusal stands in for it, and else a string, be it
    /// an empty one.
    fn push_message(&self, refusal: Option<&str>, out: &mut Vec<u8>) {
        push(out, "{\"role\":\"assistant\",\"content\":");
        if self.text.is_empty() && (!self.tool_calls.is_empty() || refusal.is_some()) {
            push(out, "null");
        } else {
            push(out, "\"");
            out.extend_from_slice(&self.text);
            push(out, "\"");
        }
        push(out, ",\"refusal\":");
        match refusal {
            Some(refusal) => push_inside(out, refusal),
            None => push(out, "null"),
        }
        for (before, part, after) in [
            (",\"reasoning_content\":\"", &self.reasoning, "\""),
            (",\"reasoning_details\":[", &self.reasoning_details, "]"),
            (",\"tool_calls\":[", &self.tool_calls, "]"),
        ] {
            if !part.is_empty() {
                push(out, before);
                out.extend_from_slice(part);
                push(out, after);
            }
        }
        push(out, "}");
    }
}

// === what a stream has as well ===

/// A completion's or a chunk's first fields, up to the first choice. The id stays Anthropic's; without one it is made of
/// the time, since clients expect a string.
pub(super) fn push_head(
    out: &mut Vec<u8>,
    object: &str,
    id: Option<&RawValue>,
    model: Option<&RawValue>,
    created: u64,
    fallback_model: &str,
) {
    let name = |json| inside_of_some(json).filter(|name| name.len() <= MAX_NAME);
    push(out, "{\"id\":");
    match name(id) {
        Some(id) => push_inside(out, id),
        None => {
            push(out, "\"chatcmpl-");
            push_number(out, created);
            push(out, "\"");
        }
    }
    push(out, ",\"object\":\"");
    push(out, object);
    push(out, "\",\"created\":");
    push_number(out, created);
    push(out, ",\"model\":");
    match name(model) {
        Some(model) => push_inside(out, model),
        None => push_string(out, fallback_model),
    }
    push(out, ",\"choices\":[");
}

/// OpenAI's `finish_reason` for Anthropic's `stop_reason`
/// (<https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons>).
///
/// `pause_turn` is `stop`: it says that Anthropic's own tools ran long and that the same content may be sent back to go on.
/// OpenAI has no such state, and an answer that is cut by `length` would be wrong: what is there is meant to be read.
pub(super) fn finish_reason(stop_reason: Option<&RawValue>) -> &'static str {
    match word(stop_reason).as_deref() {
        Some("max_tokens" | "model_context_window_exceeded") => "length",
        Some("tool_use") => "tool_calls",
        Some("refusal") => "content_filter",
        // `end_turn`, `stop_sequence`, `pause_turn`, and what may come: the model has stopped.
        _ => "stop",
    }
}

/// Why the model's maker refused, if it says: `stop_details.explanation`, text for people, often null
/// (<https://platform.claude.com/docs/en/test-and-evaluate/strengthen-guardrails/handle-streaming-refusals>).
///
/// OpenAI says `content_filter` where a filter left out content, as Anthropic's classifiers do, and has `refusal` for the
/// words to show; nothing is made up where there are none.
pub(super) fn refusal<'a>(
    stop_reason: Option<&RawValue>,
    stop_details: Option<&'a RawValue>,
) -> Option<&'a str> {
    if word(stop_reason).as_deref() != Some("refusal") {
        return None;
    }
    inside_of_some(object::<StopDetails<'a>>(stop_details?.get())?.explanation)
}

/// A `reasoning_details` item with what there is of a thought.
pub(super) fn push_thought(
    out: &mut Vec<u8>,
    text: Option<&str>,
    signature: Option<&str>,
    index: u64,
) {
    push(out, "{\"type\":\"reasoning.text\"");
    if let Some(text) = text {
        push(out, ",\"text\":");
        push_inside(out, text);
    }
    if let Some(signature) = signature {
        push(out, ",\"signature\":");
        push_inside(out, signature);
    }
    push_format(out, index);
}

/// A `reasoning_details` item of thinking that only Anthropic can read.
pub(super) fn push_redacted(out: &mut Vec<u8>, data: &str, index: u64) {
    push(out, "{\"type\":\"reasoning.encrypted\",\"data\":");
    push_inside(out, data);
    push_format(out, index);
}

fn push_format(out: &mut Vec<u8>, index: u64) {
    push(out, ",\"format\":\"anthropic-claude-v1\",\"index\":");
    push_number(out, index);
    push(out, "}");
}

#[cfg(test)]
pub(super) mod tests;
