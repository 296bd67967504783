//! Request: an OpenAI chat completion as the body of Gemini's generateContent.
//!
//! Pure. Everything borrows from the client's body until the new one is written, so memory is a small multiple of it.
//! Content that Gemini cannot be given is refused; a parameter that it has no counterpart for is dropped and named, or
//! refused, as policy says. The model is in the path, see [`path`](super::path), and so is whether the answer streams.
//! Gemini caches prompts unasked, so [`Ask::prompt_cache`] has nothing to do, and it wants no limit of tokens, so
//! [`Ask::max_tokens`] neither.

use crate::chat::error::ErrorReply;
use crate::provider::translate::{Ask, AskResult, Asked};

pub use generation::MAX_STOP_SEQUENCES;

use chat::Chat;
use fault::{Losses, Refused};
use thinking::Family;
use wire::{Generate, SystemInstruction};

mod chat;
mod contents;
mod fault;
mod generation;
mod lost;
mod media;
mod place;
mod shape;
mod signature;
mod thinking;
mod tools;
mod wire;

/// Translates a chat completion request for `ask.model`.
pub fn from_chat(body: &[u8], ask: &Ask<'_>) -> AskResult {
    translate(body, ask).map_err(|refused: Refused| -> ErrorReply { *refused })
}

fn translate(body: &[u8], ask: &Ask<'_>) -> Result<Asked, Refused> {
    let chat = parse(body)?;
    let family = thinking::family(ask.model);
    let mut losses = Losses::new(ask.unsupported);

    lost::read(&chat, &mut losses)?;
    let (tools, tool_config) = tools::read(&chat, &mut losses)?;
    let generation_config = generation::read(&chat, family, &mut losses)?;
    let messages = chat
        .messages
        .need("messages", "must be an array of messages")?;
    let needs_signatures = matches!(family, Family::Level { .. });
    let contents = contents::read(messages, needs_signatures, &mut losses)?;

    let generate = Generate {
        contents: contents.turns,
        system_instruction: (!contents.system.is_empty()).then_some(SystemInstruction {
            parts: contents.system,
        }),
        tools,
        tool_config,
        generation_config,
    };
    let mut out = Vec::with_capacity(body.len());
    serde_json::to_writer(&mut out, &generate).map_err(|_| {
        fault::body(
            "invalid_json",
            "the body could not be written anew".to_owned(),
        )
    })?;
    Ok(Asked {
        body: out,
        dropped: losses.into_dropped(),
    })
}

fn parse(body: &[u8]) -> Result<Chat<'_>, Refused> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let from = error.valid_up_to();
        fault::body(
            "invalid_json",
            format!("the body is not UTF-8 from byte {from} on; send JSON in UTF-8"),
        )
    })?;
    // serde would take a list for a struct, member by member.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(fault::body(
            "not_an_object",
            "the body must be a JSON object".to_owned(),
        ));
    }
    // Not serde's own words, which may quote the body.
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = format!(
            "the body is not valid JSON, nests deeper than 128, or has a key twice, at line {line} column {column}"
        );
        fault::body("invalid_json", message)
    })
}

#[cfg(test)]
mod tests;
