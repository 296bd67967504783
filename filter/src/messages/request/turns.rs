//! Turns: the messages of a Messages request as those of a chat completion, in their order.
//!
//! After <https://docs.claude.com/en/docs/agents-and-tools/tool-use/implement-tool-use> and
//! <https://docs.claude.com/en/docs/build-with-claude/extended-thinking>. An assistant's last message, which its models
//! continue (prefill), is sent as it is: whether an answer continues it is up to the target.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parts::{Block, each_block, text_blocks, unknown};
use super::read::{
    Field, Path, any_object, each, is_text, object, optional_text, required, required_text, text,
};
use super::write::{Chat, Content, Message, Part, Reasoning, ToolCall};
use crate::chat::error::ErrorReply;

/// Whose thinking it is, in OpenRouter's words: nobody else can read the signature.
const THINKING_FORMAT: &str = "anthropic-claude-v1";
/// Between an assistant's texts that stood apart, and between blocks of instructions.
const PARAGRAPH: &str = "\n\n";

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow)]
    role: Field<'a>,
    #[serde(borrow)]
    content: Field<'a>,
}

/// An assistant's message, block by block.
#[derive(Default)]
struct Assistant<'a> {
    text: Cow<'a, str>,
    /// Another block came after the text. Adjacent texts are one text that citations took apart.
    apart: bool,
    calls: Vec<ToolCall<'a>>,
    reasoning: Vec<Reasoning<'a>>,
}

/// The top-level instructions.
pub(super) fn system(raw: &RawValue, path: Path<'_>, chat: &mut Chat) -> Result<(), ErrorReply> {
    let text = text_blocks(raw, path, PARAGRAPH)?;
    if !text.is_empty() {
        chat.message(&Message::new("system", Content::Text(text)));
    }
    Ok(())
}

/// Returns how many there were.
pub(super) fn messages(
    raw: &RawValue,
    path: Path<'_>,
    chat: &mut Chat,
) -> Result<usize, ErrorReply> {
    let mut calls = BTreeSet::new();
    each(raw, path, |raw, path| {
        let turn: Turn<'_> = object(raw, path)?;
        let role = path.key("role");
        let at = path.key("content");
        let content = || required(turn.content, at);
        match required_text(turn.role, role)?.as_ref() {
            "user" => user(content()?, at, &calls, chat),
            "assistant" => assistant(content()?, at, &mut calls, chat),
            "system" => system(content()?, at, chat),
            _ => Err(role.fault("invalid_value", "must be user, assistant or system")),
        }
    })
}

/// Results come first, each its own message, as chat completions want them right behind the calls.
fn user(
    raw: &RawValue,
    path: Path<'_>,
    calls: &BTreeSet<Cow<'_, str>>,
    chat: &mut Chat,
) -> Result<(), ErrorReply> {
    if is_text(raw) {
        let content = Content::Text(text(raw, path)?);
        chat.message(&Message::new("user", content));
        return Ok(());
    }
    let mut results = false;
    let mut attached = Vec::new();
    let mut rest = Vec::new();
    each_block(raw, path, |block, path| {
        if block.kind(path)? != "tool_result" {
            return block.parts(path, &mut chat.losses, &mut rest);
        }
        results = true;
        let at = path.key("tool_use_id");
        let id = required_text(block.tool_use_id, at)?;
        if chat.takes.pairs_results && !calls.contains(&id) {
            let words = "is the id of no earlier tool_use; send the assistant's message with that block before it";
            return Err(at.fault("invalid_value", words));
        }
        let text = block.tool_result(path, &mut chat.losses, &mut attached)?;
        chat.message(&Message {
            tool_call_id: Some(id),
            ..Message::new("tool", Content::Text(text))
        });
        Ok(())
    })?;
    attached.append(&mut rest);
    let content = match attached.pop() {
        None if results => return Ok(()),
        None => Content::Text("".into()),
        Some(Part::Text { text }) if attached.is_empty() => Content::Text(text),
        Some(last) => {
            attached.push(last);
            Content::Parts(attached)
        }
    };
    chat.message(&Message::new("user", content));
    Ok(())
}

fn assistant<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
    calls: &mut BTreeSet<Cow<'a, str>>,
    chat: &mut Chat,
) -> Result<(), ErrorReply> {
    let mut turn = Assistant::default();
    if is_text(raw) {
        turn.text = text(raw, path)?;
    } else {
        each_block(raw, path, |block, path| turn.add(&block, path))?;
    }
    if chat.takes.pairs_results {
        calls.extend(turn.calls.iter().map(|call| call.id.clone()));
    }
    let content = if turn.text.is_empty() && !turn.calls.is_empty() {
        Content::Null
    } else {
        Content::Text(turn.text)
    };
    chat.message(&Message {
        tool_calls: turn.calls,
        reasoning_details: turn.reasoning,
        ..Message::new("assistant", content)
    });
    Ok(())
}

// === impl Assistant ===

impl<'a> Assistant<'a> {
    fn add(&mut self, block: &Block<'a>, path: Path<'_>) -> Result<(), ErrorReply> {
        match block.kind(path)?.as_ref() {
            "text" => {
                self.add_text(block.text(path)?);
                return Ok(());
            }
            "tool_use" => {
                let id = required_text(block.id, path.key("id"))?;
                let name = required_text(block.name, path.key("name"))?;
                let input =
                    any_object(required(block.input, path.key("input"))?, path.key("input"))?;
                self.calls.push(ToolCall::new(id, name, input.get()));
            }
            "thinking" => {
                let text = required_text(block.thinking, path.key("thinking"))?;
                let signature = optional_text(block.signature, path.key("signature"))?;
                self.reasoning.push(Reasoning::Text {
                    text,
                    signature,
                    format: THINKING_FORMAT,
                    index: self.reasoning.len(),
                });
            }
            "redacted_thinking" => {
                let data = required_text(block.data, path.key("data"))?;
                self.reasoning.push(Reasoning::Encrypted {
                    data,
                    format: THINKING_FORMAT,
                    index: self.reasoning.len(),
                });
            }
            _ => return Err(unknown(path)),
        }
        self.apart = true;
        Ok(())
    }

    fn add_text(&mut self, text: Cow<'a, str>) {
        if self.text.is_empty() {
            self.text = text;
        } else {
            let whole = self.text.to_mut();
            if self.apart {
                whole.push_str(PARAGRAPH);
            }
            whole.push_str(&text);
        }
        self.apart = false;
    }
}
