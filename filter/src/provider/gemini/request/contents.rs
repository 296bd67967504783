//! Contents: the messages as Gemini's turns.
//!
//! Turns alternate: what one side says in several messages is one turn. System and developer messages become the
//! system instruction, wherever they stand. Empty texts are left out, and so are messages that had nothing else.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::chat;
use super::fault::{self, Losses, Refused};
use super::media;
use super::place::{At, Call};
use super::shape::{Field, List};
use super::signature::{self, Signatures};
use super::wire::{Content, Data, FunctionCall, FunctionResponse, Part, Response, Role};

const STRING: &str = "must be a string";
const OBJECT: &str = "must be an object";
const CONTENT: &str = "must be a string or an array of parts";

#[derive(Debug, Default)]
pub(super) struct Contents<'a> {
    pub turns: Vec<Content<'a>>,
    pub system: Vec<Part<'a>>,
    /// Names of the functions called so far, by the call's id: Gemini wants a result to name its function.
    calls: BTreeMap<&'a str, &'a str>,
}

/// Reads all messages. `needs_signatures`: see [`signature::fill`].
pub(super) fn read<'a>(
    messages: &'a List<chat::Message<'a>>,
    needs_signatures: bool,
    losses: &mut Losses,
) -> Result<Contents<'a>, Refused> {
    let mut contents = Contents::default();
    for (message, field) in messages.iter().enumerate() {
        let at = At::message(message);
        contents.message(at, field.need(at, OBJECT)?, losses)?;
    }
    if contents.turns.is_empty() {
        // Gemini wants a turn; instructions alone are a request of OpenAI's, so they become the user's.
        let parts = std::mem::take(&mut contents.system);
        contents.push(Role::User, parts);
    }
    if contents.turns.is_empty() {
        return Err(fault::invalid(
            "messages",
            "has no content; send at least one message with text in it",
        ));
    }
    if needs_signatures {
        signature::fill(&mut contents.turns);
    }
    Ok(contents)
}

// === impl Contents ===

impl<'a> Contents<'a> {
    fn message(
        &mut self,
        at: At,
        message: &'a chat::Message<'a>,
        losses: &mut Losses,
    ) -> Result<(), Refused> {
        let role = message.role.need(at.dot("role"), STRING)?;
        let is_named = message.name.is_some_and(|name| name.get() != "\"\"");
        if role != "tool" && is_named {
            losses.lose("messages[].name", at.dot("name"))?;
        }
        match role.as_ref() {
            "system" | "developer" => {
                let texts = texts(at, &message.content, Speaker::System)?;
                self.system
                    .extend(texts.into_iter().map(|text| Data::Text(text).into()));
            }
            "user" => {
                let parts = user(at, &message.content, losses)?;
                self.push(Role::User, parts);
            }
            "assistant" => {
                let parts = self.assistant(at, message)?;
                self.push(Role::Model, parts);
            }
            "tool" => {
                let result = self.tool(at, message)?;
                self.push(Role::User, vec![result]);
            }
            "function" => {
                return Err(fault::content(
                    at.dot("role"),
                    "is of the deprecated functions; send the result in a message of role tool",
                ));
            }
            _ => {
                return Err(fault::invalid(
                    at.dot("role"),
                    "must be system, developer, user, assistant or tool",
                ));
            }
        }
        Ok(())
    }

    fn push(&mut self, role: Role, mut parts: Vec<Part<'a>>) {
        if parts.is_empty() {
            return;
        }
        match self.turns.last_mut() {
            Some(turn) if turn.role == role => turn.parts.append(&mut parts),
            _ => self.turns.push(Content { role, parts }),
        }
    }

    fn assistant(
        &mut self,
        at: At,
        message: &'a chat::Message<'a>,
    ) -> Result<Vec<Part<'a>>, Refused> {
        if message.audio.is_some() {
            return Err(fault::content(
                at.dot("audio"),
                "names audio that only OpenAI has; send its transcript as content",
            ));
        }
        if message.function_call.is_some() {
            return Err(fault::content(
                at.dot("function_call"),
                "is of the deprecated functions; send it in tool_calls",
            ));
        }
        let mut parts: Vec<Part<'a>> = texts(at, &message.content, Speaker::Assistant)?
            .into_iter()
            .map(|text| Data::Text(text).into())
            .collect();
        let refusal = message.refusal.get(at.dot("refusal"), STRING)?;
        if let Some(refusal) = refusal.filter(|refusal| !refusal.is_empty()) {
            parts.push(Data::Text(refusal).into());
        }
        let mut signatures = Signatures::read(message.reasoning_details);
        signatures.sign_text(&mut parts);
        let calls = message
            .tool_calls
            .get(at.dot("tool_calls"), "must be an array")?;
        for (index, call) in calls.into_iter().flatten().enumerate() {
            let call = self.call(at.call(index), call)?;
            parts.push(Part {
                thought_signature: signatures.of_call(call.id),
                data: Data::FunctionCall(call),
            });
        }
        Ok(parts)
    }

    fn call(
        &mut self,
        at: Call,
        call: &'a Field<chat::ToolCall<'a>>,
    ) -> Result<FunctionCall<'a>, Refused> {
        let call = call.need(at, OBJECT)?;
        let kind = at.dot("type");
        if call
            .kind
            .get(kind, STRING)?
            .is_some_and(|kind| kind != "function")
        {
            return Err(fault::content(
                kind,
                "must be function: Gemini calls no other tools of the client's",
            ));
        }
        let id = call.id.need(at.dot("id"), STRING)?;
        let function = call.function.need(at.dot("function"), OBJECT)?;
        let name = function.name.need(at.dot("function.name"), STRING)?;
        let path = at.dot("function.arguments");
        let arguments = function
            .arguments
            .get(path, STRING)?
            .map_or("", Cow::as_ref);
        // A call without arguments may have come as an empty string.
        let arguments = if arguments.trim_ascii().is_empty() {
            "{}"
        } else {
            arguments
        };
        let args = object(arguments)
            .ok_or_else(|| fault::invalid(path, "must be a JSON object, in a string"))?;
        self.calls.insert(id, name);
        Ok(FunctionCall { id, name, args })
    }

    fn tool(&self, at: At, message: &'a chat::Message<'a>) -> Result<Part<'a>, Refused> {
        let path = at.dot("tool_call_id");
        let id = message.tool_call_id.need(path, STRING)?;
        let name = self.calls.get(id.as_ref()).ok_or_else(|| {
            fault::invalid(path, "is the id of no earlier tool call; send the assistant's message with that call before it")
        })?;
        let texts = texts(at, &message.content, Speaker::Tool)?;
        let response = match texts.as_slice() {
            [text] => object(text).map_or(
                Response::Text {
                    output: Cow::Borrowed(*text),
                },
                |object| Response::Object(Cow::Borrowed(object)),
            ),
            _ => {
                let text = texts.concat();
                match object(&text) {
                    Some(object) => Response::Object(Cow::Owned(object.to_owned())),
                    None => Response::Text {
                        output: Cow::Owned(text),
                    },
                }
            }
        };
        Ok(Data::FunctionResponse(FunctionResponse { id, name, response }).into())
    }
}

/// The text as a JSON object, if it is one.
fn object(text: &str) -> Option<&RawValue> {
    if !text.trim_ascii_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn user<'a>(
    at: At,
    content: &'a Field<chat::Content<'a>>,
    losses: &mut Losses,
) -> Result<Vec<Part<'a>>, Refused> {
    let Some(chat::Content::Parts(list)) = content.get(at.dot("content"), CONTENT)? else {
        let texts = texts(at, content, Speaker::User)?;
        return Ok(texts
            .into_iter()
            .map(|text| Data::Text(text).into())
            .collect());
    };
    let mut parts = Vec::with_capacity(list.len());
    for (at, part) in at.parts(list) {
        parts.extend(media::user_part(at, part.need(at, OBJECT)?, losses)?.map(Part::from));
    }
    Ok(parts)
}

/// Whose content is text and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    System,
    User,
    Assistant,
    Tool,
}

/// The texts of a message that are not empty.
fn texts<'a>(
    at: At,
    content: &'a Field<chat::Content<'a>>,
    speaker: Speaker,
) -> Result<Vec<&'a str>, Refused> {
    let mut texts = Vec::new();
    match content.get(at.dot("content"), CONTENT)? {
        None => {}
        Some(chat::Content::Text(text)) => texts.push(text.as_ref()),
        Some(chat::Content::Parts(parts)) => {
            for (at, part) in at.parts(parts) {
                texts.push(text_of(at, part.need(at, OBJECT)?, speaker)?);
            }
        }
    }
    texts.retain(|text| !text.is_empty());
    Ok(texts)
}

fn text_of<'a>(at: At, part: &'a chat::Part<'a>, speaker: Speaker) -> Result<&'a str, Refused> {
    let kind = part.kind.need(at.dot("type"), STRING)?;
    match (kind.as_ref(), speaker) {
        ("text", _) => Ok(part.text.need(at.dot("text"), STRING)?),
        ("refusal", Speaker::Assistant) => Ok(part.refusal.need(at.dot("refusal"), STRING)?),
        _ => Err(fault::content(
            at.dot("type"),
            match speaker {
                Speaker::System => {
                    "must be text in a system or developer message; send it in a user's message"
                }
                Speaker::User => "must be text",
                Speaker::Assistant => {
                    "must be text or refusal in an assistant's message; send it in a user's message"
                }
                Speaker::Tool => {
                    "must be text in a tool's message; send it in a user's message after the results"
                }
            },
        )),
    }
}
