//! The request, on its way to the provider.

use std::ops::Range;

use super::Wire;
use crate::chat::error::ErrorReply;
use crate::chat::request::Dialect;
use crate::messages;
use crate::policy::Api;
use crate::provider::openai::request::{Edits, rewrite};
use crate::provider::translate::{Ask, Asked};
use crate::provider::{anthropic, gemini, openai};

/// What the provider gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapted {
    pub body: Vec<u8>,
    /// Parameters that were left out, as the client names them.
    pub dropped: Vec<&'static str>,
}

/// Why the provider gets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unadaptable {
    /// The client's request cannot be said in the provider's format.
    Refused(Box<ErrorReply>),
    /// The body is not the one that the router role let in.
    Damaged,
}

// === impl Wire ===

impl Wire {
    /// `model_span`: where the model stands in the body, if that is known.
    pub fn request(
        &self,
        body: &[u8],
        model_span: Option<Range<usize>>,
    ) -> Result<Adapted, Unadaptable> {
        match (self.client, self.api) {
            (Dialect::Chat, Api::OpenAi) => {
                let edits = self.edits(body, model_span, self.asks_usage(), self.has_reasoning)?;
                as_it_is(rewrite(body, &edits))
            }
            (Dialect::Chat, Api::Anthropic) => {
                translated(anthropic::request::from_chat(body, &self.ask()))
            }
            (Dialect::Chat, Api::Gemini) => {
                translated(gemini::request::from_chat(body, &self.ask()))
            }
            (Dialect::Messages | Dialect::CountTokens, Api::Anthropic) => {
                let edits = self.edits(body, model_span, false, false)?;
                as_it_is(rewrite(body, &edits))
            }
            (Dialect::Messages, Api::OpenAi | Api::Gemini) => self.messages_to_chat(body),
            // The plan leaves such targets out.
            (Dialect::CountTokens, Api::OpenAi | Api::Gemini) => Err(Unadaptable::Damaged),
        }
    }

    fn messages_to_chat(&self, body: &[u8]) -> Result<Adapted, Unadaptable> {
        let chat = translated(messages::request::to_chat(body, self.unsupported))?;
        let mut adapted = match self.api {
            // Thinking that a Messages client sends back is Claude's.
            Api::OpenAi => as_it_is(rewrite(
                &chat.body,
                &self.edits(&chat.body, None, false, true)?,
            )),
            _ => translated(gemini::request::from_chat(&chat.body, &self.ask())),
        }?;
        for name in chat.dropped {
            if !adapted.dropped.contains(&name) {
                adapted.dropped.push(name);
            }
        }
        Ok(adapted)
    }

    fn edits(
        &self,
        body: &[u8],
        model_span: Option<Range<usize>>,
        ask_usage: bool,
        strip_reasoning: bool,
    ) -> Result<Edits<'_>, Unadaptable> {
        let model_span = model_span.or_else(|| openai::find_model_span(body));
        Ok(Edits {
            model: &self.model,
            model_span: model_span.ok_or(Unadaptable::Damaged)?,
            ask_usage,
            strip_reasoning,
        })
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            model: &self.model,
            stream: self.stream,
            max_tokens: self.max_tokens,
            unsupported: self.unsupported,
            prompt_cache: self.prompt_cache,
        }
    }
}

fn as_it_is(body: Option<Vec<u8>>) -> Result<Adapted, Unadaptable> {
    let body = body.ok_or(Unadaptable::Damaged)?;
    Ok(Adapted {
        body,
        dropped: Vec::new(),
    })
}

fn translated(asked: Result<Asked, ErrorReply>) -> Result<Adapted, Unadaptable> {
    match asked {
        Ok(Asked { body, dropped }) => Ok(Adapted { body, dropped }),
        Err(refusal) => Err(Unadaptable::Refused(Box::new(refusal))),
    }
}
