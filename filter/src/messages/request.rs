//! Request: a Messages request as a chat completion request, for a target that speaks anything but Messages.
//!
//! Pure. What the answer depends on is translated or refused with its path; a parameter without counterpart is left
//! out and named, or refused, as policy says; a hint (`cache_control`) is left out silently. Free JSON, which is tools'
//! schemas and inputs, is copied byte by byte. Memory is a small multiple of the body's.
//!
//! From <https://docs.claude.com/en/api/messages> to <https://platform.openai.com/docs/api-reference/chat/create>.
//!
//! Decided here:
//! - `max_tokens` becomes `max_completion_tokens`, never both: OpenAI answers 400 to the old name for every reasoning
//!   model (<https://platform.openai.com/docs/api-reference/chat/create>), while a server that is too old for the new
//!   one mostly ignores it (<https://github.com/ollama/ollama/issues/7125>). An answer without its limit is better
//!   than none.
//! - A failed tool's result begins with `[error] `.
//! - Images and PDF files in tool results move into the user's message behind them, since a tool's message holds text
//!   alone; a mark stays in their place.
//! - A stream is not asked for its usage here: that is for policy to say, and for the provider's format.
//! - What a target beyond OpenAI's API takes, and a chat completion has no word for, goes in a member of the gateway's
//!   own (`pointsman.top_k`). It is written only for such a target, and its translation reads it.

mod names;
mod params;
mod parts;
mod read;
mod schema;
mod turns;
mod write;

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::chat::error::ErrorReply;
use crate::chat::fault::{Place, Watch, clean, no_string, not_json, not_utf8};
use crate::chat::request::{Key, Seen};
use crate::provider::gemini::request::MAX_STOP_SEQUENCES;
use crate::provider::translate::Unsupported;

use params::OutputConfig;
use read::{Field, Path, flag, number, object, required_text, whole_number};
use write::{Chat, NO_COUNTERPART};

pub use names::Names;

/// Top-level parameters of the Messages API and its betas that no chat completion has, with the value that is their
/// default anyway. `inference_geo` is one: where a target may be is the policy's to say.
const UNSUPPORTED: [(&str, &str); 15] = [
    ("anthropic_beta", ""),
    ("betas", ""),
    ("billing_policy", ""),
    ("compaction", ""),
    ("container", ""),
    ("context_management", ""),
    ("diagnostics", ""),
    ("fallback_credit_token", ""),
    ("fallbacks", ""),
    ("inference_geo", ""),
    ("mcp_servers", ""),
    ("service_tier", "\"auto\""),
    ("speed", "\"standard\""),
    ("thread", ""),
    ("user_profile_id", ""),
];

/// The top level. Null counts as absent.
#[derive(Default)]
struct Top<'a> {
    model: Field<'a>,
    messages: Field<'a>,
    max_tokens: Field<'a>,
    system: Field<'a>,
    stream: Field<'a>,
    temperature: Field<'a>,
    top_p: Field<'a>,
    top_k: Field<'a>,
    stop_sequences: Field<'a>,
    metadata: Field<'a>,
    tools: Field<'a>,
    tool_choice: Field<'a>,
    thinking: Field<'a>,
    output_config: Field<'a>,
    /// What `output_config.format` was called in its beta.
    output_format: Field<'a>,
    unsupported: Vec<&'static str>,
    /// The first key that is none of the API's, cleaned.
    unknown: Option<String>,
}

/// What the target that a chat completion is for takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takes {
    stop_sequences: usize,
    /// Characters of a user's name.
    user: usize,
    top_k: bool,
    /// Answers and arguments are held to any schema, not to those of OpenAI's strict mode alone.
    any_schema: bool,
    /// A tool's result without its call is refused.
    pairs_results: bool,
}

/// A request as a chat completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    pub body: Vec<u8>,
    /// Parameters that were left out, as the client names them, each once.
    pub dropped: Vec<&'static str>,
    /// For what a second translation says of the chat completion.
    pub names: Names,
}

/// Translates a request. `model` is copied: the caller replaces it with the target's.
pub fn to_chat(
    body: &[u8],
    unsupported: Unsupported,
    takes: Takes,
) -> Result<Translated, ErrorReply> {
    let text = std::str::from_utf8(body).map_err(|e| not_utf8(&e))?;
    let top = Top::read(text)?;

    let model = top.model.ok_or_else(|| missing("missing_model", "model"))?;
    if required_text(top.model, Path::top("model"))?.is_empty() {
        return Err(missing("missing_model", "model"));
    }
    let max_tokens = top
        .max_tokens
        .ok_or_else(|| missing("missing_max_tokens", "max_tokens"))?;
    let messages = top
        .messages
        .ok_or_else(|| missing("missing_messages", "messages"))?;

    let mut chat = Chat::new(model, unsupported, takes, body.len());
    if let Some(raw) = top.system {
        turns::system(raw, Path::top("system"), &mut chat)?;
    }
    let path = Path::top("messages");
    if turns::messages(messages, path, &mut chat)? == 0 {
        return Err(path.fault("empty_messages", "is empty; send at least one message"));
    }
    chat.end_messages();

    limit(max_tokens, &mut chat)?;
    top.sampling(&mut chat)?;
    top.tools(&mut chat)?;
    top.output(&mut chat)?;
    top.lose(&mut chat)?;
    Ok(chat.finish())
}

fn missing(code: &'static str, key: &'static str) -> ErrorReply {
    Path::top(key).fault(code, "is missing; the Messages API requires it")
}

fn limit(raw: &RawValue, chat: &mut Chat) -> Result<(), ErrorReply> {
    let path = Path::top("max_tokens");
    if whole_number(raw, path)? == 0 {
        let words = "must be at least 1; 0, which only fills Anthropic's prompt cache, has no counterpart \
                     at the chosen target";
        return Err(path.fault("invalid_value", words));
    }
    chat.field("max_completion_tokens", raw);
    Ok(())
}

// === impl Takes ===

impl Takes {
    /// <https://platform.openai.com/docs/api-reference/chat/create>. The ids of some coding agents are longer than a
    /// `user` may be, and a provider that finds them too long refuses the request for what is only a hint.
    pub const OPENAI: Takes = Takes {
        stop_sequences: 4,
        user: 64,
        top_k: false,
        any_schema: false,
        pairs_results: false,
    };

    /// <https://ai.google.dev/api/generate-content#generationconfig>. It has no user, which its translation says.
    pub const GEMINI: Takes = Takes {
        stop_sequences: MAX_STOP_SEQUENCES,
        user: usize::MAX,
        top_k: true,
        any_schema: true,
        pairs_results: true,
    };
}

// === impl Top ===

impl<'a> Top<'a> {
    fn read(body: &'a str) -> Result<Self, ErrorReply> {
        let watch = Watch::new();
        watch.wants(Place::Body, "must be a JSON object");
        let mut json = serde_json::Deserializer::from_str(body);
        let top = json
            .deserialize_any(Keys(&watch))
            .map_err(|e| watch.explain(&e))?;
        json.end().map_err(|e| not_json(&e))?;
        Ok(top)
    }

    fn slot(&mut self, key: &str) -> Option<&mut Field<'a>> {
        Some(match key {
            "model" => &mut self.model,
            "messages" => &mut self.messages,
            "max_tokens" => &mut self.max_tokens,
            "system" => &mut self.system,
            "stream" => &mut self.stream,
            "temperature" => &mut self.temperature,
            "top_p" => &mut self.top_p,
            "top_k" => &mut self.top_k,
            "stop_sequences" => &mut self.stop_sequences,
            "metadata" => &mut self.metadata,
            "tools" => &mut self.tools,
            "tool_choice" => &mut self.tool_choice,
            "thinking" => &mut self.thinking,
            "output_config" => &mut self.output_config,
            "output_format" => &mut self.output_format,
            _ => return None,
        })
    }

    fn take(&mut self, key: &str, value: &'a RawValue) {
        if value.get() == "null" {
            return;
        }
        if let Some(slot) = self.slot(key) {
            *slot = Some(value);
            return;
        }
        match UNSUPPORTED.iter().find(|(name, _)| *name == key) {
            Some((_, default)) if value.get() == *default => {}
            Some(_) if matches!(value.get(), "[]" | "{}") => {}
            Some((name, _)) => self.unsupported.push(name),
            // The protocol's version, in bodies for clouds that host Anthropic; and a hint for its prompt cache.
            None if matches!(key, "anthropic_version" | "cache_control") => {}
            None => {
                self.unknown.get_or_insert_with(|| clean(key));
            }
        }
    }

    fn sampling(&self, chat: &mut Chat) -> Result<(), ErrorReply> {
        if let Some(raw) = self.temperature {
            chat.field("temperature", number(raw, Path::top("temperature"))?);
        }
        if let Some(raw) = self.top_p {
            chat.field("top_p", number(raw, Path::top("top_p"))?);
        }
        if let Some(raw) = self.top_k {
            params::top_k(raw, Path::top("top_k"), chat)?;
        }
        if let Some(raw) = self.stop_sequences {
            let stop = params::stop(raw, Path::top("stop_sequences"), chat)?;
            if !stop.is_empty() {
                chat.field("stop", &stop);
            }
        }
        if flag(self.stream, Path::top("stream"))? {
            chat.field("stream", &true);
        }
        if let Some(raw) = self.metadata {
            let user = params::user(raw, Path::top("metadata"), chat)?;
            if let Some(user) = user {
                chat.field("user", &user);
            }
        }
        Ok(())
    }

    /// OpenAI takes a choice only with tools, so that both go together.
    fn tools(&self, chat: &mut Chat) -> Result<(), ErrorReply> {
        let path = Path::top("tool_choice");
        let choice = self
            .tool_choice
            .map(|raw| params::choice(raw, path))
            .transpose()?;
        let wanted = choice.as_ref().and_then(|(choice, _)| choice.wanted());
        let (tools, found) = match self.tools {
            Some(raw) => params::tools(raw, Path::top("tools"), wanted, chat)?,
            None => (Vec::new(), false),
        };
        if wanted.is_some() && !found {
            let words = "names no tool that the chosen target can be given";
            return Err(path.key("name").unsupported(words));
        }
        if tools.is_empty() {
            return match choice {
                Some((choice, _)) if choice.must_call() => {
                    let words =
                        "wants a call, and the chosen target can be given none of the tools";
                    Err(path.unsupported(words))
                }
                _ => Ok(()),
            };
        }
        chat.field("tools", &tools);
        if let Some((choice, one_at_a_time)) = &choice {
            chat.field("tool_choice", &choice.as_openai());
            if *one_at_a_time {
                chat.field("parallel_tool_calls", &false);
            }
        }
        Ok(())
    }

    fn output(&self, chat: &mut Chat) -> Result<(), ErrorReply> {
        let path = Path::top("output_config");
        let config: OutputConfig<'_> = match self.output_config {
            Some(raw) => object(raw, path)?,
            None => OutputConfig::default(),
        };
        if let Some((effort, name)) = params::effort(self.thinking, &config, &mut chat.losses)? {
            chat.field("reasoning_effort", &effort);
            chat.names = Names::with_effort(name);
        }
        let format = match (config.format, self.output_format) {
            (Some(raw), _) => {
                let name = "output_config.format.schema";
                params::response_format(raw, path.key("format"), name, chat)?
            }
            (None, Some(raw)) => {
                let name = "output_format.schema";
                params::response_format(raw, Path::top("output_format"), name, chat)?
            }
            (None, None) => return Ok(()),
        };
        chat.field("response_format", &format);
        Ok(())
    }

    /// A key that nobody knows can be refused by its name, but not named among what was left out.
    fn lose(&self, chat: &mut Chat) -> Result<(), ErrorReply> {
        for name in &self.unsupported {
            chat.losses.lose(name, Path::top(name), NO_COUNTERPART)?;
        }
        match &self.unknown {
            Some(key) => chat.losses.lose_unknown(key),
            None => Ok(()),
        }
    }
}

struct Keys<'w>(&'w Watch);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = Top<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    no_string!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut top = Top::default();
        let mut seen = Seen::new();
        while let Some(key) = map.next_key_seed(Key)? {
            seen.admits(&key).map_err(|fault| self.0.raise(fault))?;
            top.take(&key, map.next_value()?);
            seen.add(key);
        }
        Ok(top)
    }
}

#[cfg(test)]
mod tests;
