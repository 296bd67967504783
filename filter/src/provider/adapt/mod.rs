//! Adapt: which translations lie between what a client speaks and what a provider speaks.
//!
//! Pure. A client of OpenAI's format and a provider of it, or Messages on both sides: the body passes, but for the model and
//! what policy says. Any other pair meets in OpenAI's format.

mod answer;
mod request;
mod stream;

pub use answer::Whole;
pub use request::{Adapted, Unadaptable};
pub use stream::{Ending, Passed, Step, Stream};

use crate::chat::request::Dialect;
use crate::policy::{Api, Unsupported};
use crate::router::plan::{Plan, PlannedTarget};

/// The two ends of an attempt, and what their translation needs to know.
#[derive(Debug, Clone)]
pub struct Wire {
    client: Dialect,
    api: Api,
    stream: bool,
    include_usage: bool,
    has_reasoning: bool,
    /// The client asked for more than one choice.
    many_choices: bool,
    /// The model's name at the provider.
    model: String,
    max_tokens: u32,
    unsupported: Unsupported,
    prompt_cache: bool,
    stream_usage: bool,
    /// Bytes of the largest event of a stream that is read.
    max_event_bytes: usize,
}

impl Wire {
    pub fn new(plan: &Plan<'_>, target: &PlannedTarget<'_>) -> Self {
        Wire {
            client: plan.client,
            api: target.api,
            stream: plan.stream,
            include_usage: plan.include_usage,
            has_reasoning: plan.has_reasoning,
            many_choices: plan.many_choices,
            model: target.sent_as.to_owned(),
            max_tokens: target.max_tokens,
            unsupported: target.unsupported,
            prompt_cache: target.prompt_cache,
            stream_usage: target.stream_usage,
            max_event_bytes: plan.hold_answer,
        }
    }

    pub fn client(&self) -> Dialect {
        self.client
    }

    pub fn api(&self) -> Api {
        self.api
    }

    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// Whether a good answer reaches the client as the provider wrote it.
    pub fn passes(&self) -> bool {
        match self.api {
            Api::OpenAi => self.client == Dialect::Chat,
            Api::Anthropic => self.client.is_messages(),
            Api::Gemini => false,
        }
    }

    /// The gateway alone asks for the chunk of usage. Only a client of chat completions can have asked itself.
    fn asks_usage(&self) -> bool {
        let client_asks = self.include_usage && self.client == Dialect::Chat;
        self.stream && self.stream_usage && !client_asks
    }
}

#[cfg(test)]
mod tests;
