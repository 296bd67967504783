//! Conversation: the chat's messages as a system prompt and turns.
//!
//! Turns alternate and begin with the user's; every tool call is answered in the very next turn, before all else that
//! the turn says; no text is blank. That is what the API demands of `messages`:
//! <https://platform.claude.com/docs/en/api/messages>,
//! <https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls>

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::block::{Block, Role, Turn};
use super::content::{Parts, read_content};
use super::details::read_details;
use super::fault::{Losses, Path, Read, bad, refusal, wrong_type};
use super::message::{Call, Message, function_call, tool_calls};
use super::open_calls::OpenCalls;
use super::read::{list, object, text, word};

/// Said by the user ahead of a conversation that the assistant opens.
const OPENING: &str = "(The conversation begins.)";

/// Said by the user behind a conversation that ends with the assistant, to a model that takes no such end. An instruction
/// in its place is what the documentation advises:
/// <https://platform.claude.com/docs/en/about-claude/models/migration-guide>
const GO_ON: &str = "(Go on from where your last message ends, without repeating it.)";

#[derive(Debug)]
pub(super) struct Conversation<'a> {
    /// System and developer messages, wherever they stood, as text blocks.
    pub(super) system: Vec<Block<'a>>,
    /// At least one.
    pub(super) turns: Vec<Turn<'a>>,
}

/// What is read so far.
struct Builder<'a> {
    system: Vec<Block<'a>>,
    turns: Vec<Turn<'a>>,
    /// Of the turn being read.
    role: Role,
    /// Of a user's turn: tool results, which come first.
    results: Vec<Block<'a>>,
    content: Vec<Block<'a>>,
    calls: OpenCalls<'a>,
    /// Thinking blocks are read.
    thinks: bool,
}

/// `thinks`: the model takes thinking blocks.
pub(super) fn read_messages<'a>(
    raw: &'a RawValue,
    thinks: bool,
    losses: &mut Losses,
) -> Read<Conversation<'a>> {
    let at = Path::top("messages");
    let mut builder = Builder {
        system: Vec::new(),
        turns: Vec::new(),
        role: Role::User,
        results: Vec::new(),
        content: Vec::new(),
        calls: OpenCalls::default(),
        thinks,
    };
    for (i, raw) in list(raw, &at)?.into_iter().enumerate() {
        builder.message(raw, i, &at.index(i), losses)?;
    }
    builder.finish()
}

// === impl Conversation ===

impl Conversation<'_> {
    /// The conversation ends in tool results whose call came without thinking blocks: a model that thinks by budget
    /// refuses to go on thinking from there.
    /// <https://platform.claude.com/docs/en/build-with-claude/thinking-tool-workflows>
    pub(super) fn calls_without_thinking(&self) -> bool {
        let [.., call, results] = self.turns.as_slice() else {
            return false;
        };
        let is_result = |block: &Block<'_>| matches!(block, Block::ToolResult { .. });
        results.content.iter().any(is_result)
            && !call.content.first().is_some_and(Block::is_thinking)
    }

    /// The answer goes on from a text of the assistant's.
    pub(super) fn is_prefilled(&self) -> bool {
        self.turns
            .last()
            .is_some_and(|turn| turn.role == Role::Assistant)
    }

    /// Ends it with the user's turn.
    pub(super) fn ask_to_go_on(&mut self) {
        self.turns.push(Turn {
            role: Role::User,
            content: Block::text(Cow::Borrowed(GO_ON)).into_iter().collect(),
        });
    }
}

// === impl Builder ===

impl<'a> Builder<'a> {
    fn message(
        &mut self,
        raw: &'a RawValue,
        index: usize,
        at: &Path<'_>,
        losses: &mut Losses,
    ) -> Read<()> {
        let message: Message<'a> = object(raw, at)?;
        let role_at = at.field("role");
        let role = word(message.role, &role_at)?;
        match role.as_ref() {
            "system" | "developer" => self.content_of(&message, at, Parts::Text, losses, true),
            "user" => {
                self.enter(Role::User)?;
                self.content_of(&message, at, Parts::Media, losses, false)
            }
            "assistant" => {
                self.enter(Role::Assistant)?;
                self.assistant(&message, index, at, losses)
            }
            "tool" => {
                self.enter(Role::User)?;
                let id = word(message.tool_call_id, &at.field("tool_call_id"))?;
                let answers = self.calls.answer(id, &at.field("tool_call_id"))?;
                self.result(answers, &message, at)
            }
            "function" => {
                self.enter(Role::User)?;
                let name = word(message.name, &at.field("name"))?;
                let answers = self.calls.answer_function(name, &at.field("name"))?;
                self.result(answers, &message, at)
            }
            _ => {
                let words = "must be system, developer, user, assistant or tool";
                Err(bad("invalid_value", &role_at, words))
            }
        }
    }

    fn content_of(
        &mut self,
        message: &Message<'a>,
        at: &Path<'_>,
        parts: Parts,
        losses: &mut Losses,
        is_system: bool,
    ) -> Read<()> {
        self.lose_name(message, at, losses)?;
        let at = at.field("content");
        let raw = message
            .content
            .ok_or_else(|| wrong_type(&at, "is missing; send a string or an array of parts"))?;
        let out = if is_system {
            &mut self.system
        } else {
            &mut self.content
        };
        read_content(raw, &at, parts, out)
    }

    /// The Messages API knows no names of participants.
    fn lose_name(&self, message: &Message<'a>, at: &Path<'_>, losses: &mut Losses) -> Read<()> {
        let at = at.field("name");
        match message.name {
            Some(name) if !text(name, &at)?.is_empty() => {
                let words = "has no counterpart at this provider; leave it out";
                losses.lose("messages[].name", &at, words)
            }
            _ => Ok(()),
        }
    }

    fn assistant(
        &mut self,
        message: &Message<'a>,
        index: usize,
        at: &Path<'_>,
        losses: &mut Losses,
    ) -> Read<()> {
        self.lose_name(message, at, losses)?;
        message.refuse_audio(at)?;
        if let Some(raw) = message.reasoning_details.filter(|_| self.thinks) {
            read_details(raw, &mut self.content);
        }
        if let Some(raw) = message.content {
            read_content(
                raw,
                &at.field("content"),
                Parts::Refusals,
                &mut self.content,
            )?;
        }
        if let Some(raw) = message.refusal {
            self.content
                .extend(Block::text(text(raw, &at.field("refusal"))?));
        }
        if let Some(raw) = message.tool_calls {
            let at = at.field("tool_calls");
            tool_calls(raw, &at, &mut |i, call| {
                let id = self.calls.open(call.id.clone(), (index, i), &at.index(i))?;
                self.tool_use(id, call);
                Ok(())
            })?;
        }
        if let Some(raw) = message.function_call {
            let at = at.field("function_call");
            let call = function_call(raw, index, &at)?;
            let id = self.calls.open_function(&call, index, &at)?;
            self.tool_use(id, call);
        }
        Ok(())
    }

    fn tool_use(&mut self, id: Cow<'a, str>, call: Call<'a>) {
        self.content.push(Block::ToolUse {
            id,
            name: call.name,
            input: call.input,
        });
    }

    fn result(&mut self, id: Cow<'a, str>, message: &Message<'a>, at: &Path<'_>) -> Read<()> {
        let mut content = Vec::new();
        if let Some(raw) = message.content {
            read_content(raw, &at.field("content"), Parts::Media, &mut content)?;
        }
        self.results.push(Block::ToolResult {
            tool_use_id: id,
            content,
            cache_control: None,
        });
        Ok(())
    }

    /// The next message is of `role`: ends the turn before it, unless it is the same one's.
    fn enter(&mut self, role: Role) -> Read<()> {
        if self.role != role {
            self.end_turn()?;
            self.role = role;
        }
        Ok(())
    }

    fn end_turn(&mut self) -> Read<()> {
        let role = self.role;
        let mut content = std::mem::take(&mut self.content);
        match role {
            Role::User => {
                self.calls.all_answered()?;
                let rest = std::mem::replace(&mut content, std::mem::take(&mut self.results));
                content.extend(rest);
            }
            Role::Assistant => trim_thinking(&mut content),
        }
        match self.turns.last_mut() {
            _ if content.is_empty() => {}
            // What stood between them was empty.
            Some(last) if last.role == role => last.content.extend(content),
            _ => self.turns.push(Turn { role, content }),
        }
        Ok(())
    }

    fn finish(mut self) -> Read<Conversation<'a>> {
        self.end_turn()?;
        self.calls.all_answered()?;
        let Self {
            mut system,
            mut turns,
            ..
        } = self;
        trim_end(&mut turns);
        match turns.first() {
            // The API wants a message; all that was asked stands in the system prompt.
            None if !system.is_empty() => turns.push(Turn {
                role: Role::User,
                content: std::mem::take(&mut system),
            }),
            None => {
                let words = "says nothing; send at least one message with text";
                return Err(refusal("invalid_value", Some("messages".to_owned()), words));
            }
            Some(first) if first.role == Role::Assistant => {
                let opening = Turn {
                    role: Role::User,
                    content: Block::text(Cow::Borrowed(OPENING)).into_iter().collect(),
                };
                turns.insert(0, opening);
            }
            Some(_) => {}
        }
        Ok(Conversation { system, turns })
    }
}

/// A turn may not end in thinking: nothing came of it.
fn trim_thinking(content: &mut Vec<Block<'_>>) {
    while content.last().is_some_and(Block::is_thinking) {
        content.pop();
    }
}

/// A conversation that ends with the assistant's text may not end in white space.
/// <https://platform.claude.com/docs/en/build-with-claude/prompt-engineering/prefill-claudes-response>
fn trim_end(turns: &mut [Turn<'_>]) {
    let Some(Turn {
        role: Role::Assistant,
        content,
    }) = turns.last_mut()
    else {
        return;
    };
    if let Some(Block::Text { text, .. }) = content.last_mut() {
        let end = text.trim_end().len();
        match text {
            Cow::Borrowed(borrowed) => *borrowed = borrowed.get(..end).unwrap_or_default(),
            Cow::Owned(owned) => owned.truncate(end),
        }
    }
}
