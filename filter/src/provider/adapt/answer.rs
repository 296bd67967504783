//! A whole answer, on its way back.

use super::Wire;
use crate::chat::request::Dialect;
use crate::chat::usage::Usage;
use crate::messages;
use crate::policy::Api;
use crate::provider::judge::{OneShot, Outcome, read_one_shot};
use crate::provider::translate::{Answer, NoAnswer, Told};
use crate::provider::{anthropic, gemini};

/// A good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// What the client gets; `None`: what came.
    pub body: Option<Vec<u8>>,
    pub usage: Usage,
}

// === impl Wire ===

impl Wire {
    pub(super) fn told(&self, created: u64) -> Told<'_> {
        Told {
            created,
            model: &self.model,
            // Messages tell it always.
            include_usage: self.include_usage || self.client.is_messages(),
        }
    }

    /// Judge a 200's body, and put it into the client's words. `created`: seconds since 1970. `Err`: how the attempt ended.
    pub fn answer(&self, body: &[u8], created: u64) -> Result<Whole, Outcome> {
        if body.trim_ascii().is_empty() {
            return Err(Outcome::Empty);
        }
        let told = self.told(created);
        let chat = match (self.client, self.api) {
            (Dialect::Chat, Api::OpenAi) | (Dialect::CountTokens, _) => {
                return match read_one_shot(body) {
                    (OneShot::Good, usage) => Ok(Whole { body: None, usage }),
                    (judged, _) => Err(judged.failure().unwrap_or(Outcome::BadEvent)),
                };
            }
            (Dialect::Messages, Api::OpenAi) => {
                return translated(messages::answer::from_chat(body, &self.model));
            }
            (Dialect::Chat | Dialect::Messages, Api::Anthropic) => {
                anthropic::answer::to_chat(body, &told)
            }
            (Dialect::Chat | Dialect::Messages, Api::Gemini) => {
                gemini::answer::to_chat(body, &told)
            }
        };
        match (self.client, self.api) {
            // Read to be judged and counted; it is in the client's words already.
            (Dialect::Messages, Api::Anthropic) => {
                let usage = chat.map_err(|NoAnswer| Outcome::BadEvent)?.usage;
                Ok(Whole { body: None, usage })
            }
            (Dialect::Messages, _) => translated(
                chat.and_then(|chat| messages::answer::from_chat(&chat.body, &self.model)),
            ),
            _ => translated(chat),
        }
    }
}

fn translated(answer: Result<Answer, NoAnswer>) -> Result<Whole, Outcome> {
    match answer {
        Ok(Answer { body, usage }) => Ok(Whole {
            body: Some(body),
            usage,
        }),
        Err(NoAnswer) => Err(Outcome::BadEvent),
    }
}
