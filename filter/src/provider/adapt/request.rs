//! The request, on its way to the provider.

use std::ops::Range;

use super::Wire;
use crate::chat::error::ErrorReply;
use crate::chat::request::Dialect;
use crate::messages::request::{Takes, Translated, to_chat};
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
        let takes = match self.api {
            Api::Gemini => Takes::GEMINI,
            Api::OpenAi | Api::Anthropic => Takes::OPENAI,
        };
        let chat = to_chat(body, self.unsupported, takes).map_err(refused)?;
        let Translated {
            body,
            mut dropped,
            names,
        } = chat;
        if self.api != Api::Gemini {
            // Thinking that a Messages client sends back is Claude's.
            let edits = self.edits(&body, None, self.asks_usage(), true)?;
            let Adapted { body, .. } = as_it_is(rewrite(&body, &edits))?;
            return Ok(Adapted { body, dropped });
        }
        let asked = gemini::request::from_chat(&body, &self.ask())
            .map_err(|refusal| refused(names.refusal(refusal)))?;
        for name in asked.dropped.into_iter().map(|name| names.of(name)) {
            if !dropped.contains(&name) {
                dropped.push(name);
            }
        }
        let body = asked.body;
        Ok(Adapted { body, dropped })
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
        Err(refusal) => Err(refused(refusal)),
    }
}

fn refused(refusal: ErrorReply) -> Unadaptable {
    Unadaptable::Refused(Box::new(refusal))
}
