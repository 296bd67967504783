//! A whole chat completion as a Message.
//!
//! Pure. The content's order is thinking, text, refusal, tool uses. Strings are copied as the JSON text that they came
//! as, and a tool's input is the arguments' own text.
//!
//! What has no counterpart is left out: further choices, `logprobs`, audio, and reasoning that Claude did not sign
//! (`reasoning_content`, `reasoning`, `reasoning_details` of other formats). A thinking block needs a signature, and
//! one without would be refused when the client sends it back to Anthropic
//! (<https://docs.claude.com/en/docs/build-with-claude/extended-thinking>).

use std::borrow::Cow;
use std::io::Write;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use self::completion::{Completion, Text, Thinking, ToolCall};
use self::parts::{MessageId, MessageUsage, ToolUseId, escaped, is_failure, stop_reason};
use crate::chat::json::object;
use crate::provider::translate::{Answer, NoAnswer};

pub(in crate::messages) mod completion;
pub(in crate::messages) mod parts;

/// A Message's content while it is written.
struct Content {
    out: Vec<u8>,
    blocks: u32,
}

/// The Message for a chat completion. `model` is for completions that do not name theirs.
///
/// There is none without a choice that has a message, or if it reports an error: in an `error` beside the choices, or in
/// the choice's finish reason.
pub fn from_chat(body: &[u8], model: &str) -> Result<Answer, NoAnswer> {
    let completion = Completion::read(body).ok_or(NoAnswer)?;
    if completion.is_error() {
        return Err(NoAnswer);
    }
    let choice = completion.choice().ok_or(NoAnswer)?;
    let message = choice.message().ok_or(NoAnswer)?;
    if is_failure(choice.finish_reason()) {
        return Err(NoAnswer);
    }
    let usage = completion.usage().unwrap_or_default();

    let mut content = Content {
        out: Vec::with_capacity(body.len()),
        blocks: 0,
    };
    // Writing into a vector cannot fail, here and below.
    let _ = write!(
        content.out,
        r#"{{"id":"{}","type":"message","role":"assistant","model":"#,
        MessageId::new(completion.id)
    );
    let _ = match Text::read(completion.model) {
        Some(model) => write!(content.out, r#""{model}""#),
        None => write!(content.out, r#""{}""#, escaped(model)),
    };
    content.out.extend_from_slice(br#","content":["#);

    message.thinking(&mut |thinking| content.thinking(thinking));
    message.texts(&mut |text| content.text(text));
    let refusal = message.refusal();
    if let Some(refusal) = refusal {
        content.text(refusal);
    }
    let mut tool_use = false;
    let id = Text::read(completion.id);
    message.tool_calls(&mut |call| tool_use |= content.tool_use(call, id));

    let Content { mut out, .. } = content;
    let _ = write!(
        out,
        r#"],"stop_reason":"{}","stop_sequence":null,"usage":{}}}"#,
        stop_reason(choice.finish_reason(), refusal.is_some(), tool_use),
        MessageUsage(usage)
    );
    Ok(Answer { body: out, usage })
}

// === impl Content ===

impl Content {
    fn begin(&mut self) -> &mut Vec<u8> {
        if self.blocks > 0 {
            self.out.push(b',');
        }
        self.blocks = self.blocks.saturating_add(1);
        &mut self.out
    }

    fn thinking(&mut self, thinking: Thinking<'_>) {
        let _ = match thinking {
            Thinking::Redacted(data) => write!(
                self.begin(),
                r#"{{"type":"redacted_thinking","data":"{data}"}}"#
            ),
            Thinking::Plain {
                text,
                signature: Some(signature),
                ..
            } => write!(
                self.begin(),
                r#"{{"type":"thinking","thinking":"{}","signature":"{signature}"}}"#,
                text.unwrap_or(Text(""))
            ),
            Thinking::Plain { .. } => return,
        };
    }

    fn text(&mut self, text: Text<'_>) {
        let _ = write!(self.begin(), r#"{{"type":"text","text":"{text}"}}"#);
    }

    /// Whether it is one: a call without a name cannot be carried out.
    fn tool_use(&mut self, call: ToolCall<'_>, completion: Option<Text<'_>>) -> bool {
        let Some(name) = call.name else {
            return false;
        };
        let id = ToolUseId {
            call: call.id,
            completion,
            block: self.blocks,
        };
        let _ = write!(
            self.begin(),
            r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{}}}"#,
            input(call.arguments)
        );
        true
    }
}

/// A tool's input: the arguments' text, if that is one JSON object, or the object that a server sent in its place.
///
/// Of anything else (cut short by the token limit, none at all, a model's slip) it is `{}`: the format wants an object,
/// and the tool then tells the model which argument is missing.
fn input(arguments: Option<&RawValue>) -> Cow<'_, str> {
    let Some(json) = arguments.map(RawValue::get) else {
        return Cow::Borrowed("{}");
    };
    if json.starts_with('{') {
        return Cow::Borrowed(json);
    }
    serde_json::from_str::<Decoded<'_>>(json)
        .ok()
        .map(|decoded| decoded.0)
        .filter(|text| object::<IgnoredAny>(text).is_some())
        .unwrap_or(Cow::Borrowed("{}"))
}

/// Borrows where there is no escape, which `Cow` alone does not.
#[derive(serde::Deserialize)]
struct Decoded<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
pub(in crate::messages) mod tests;
