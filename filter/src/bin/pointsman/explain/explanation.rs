//! What `explain` found out. Its field names are `--json`'s, documented in the README, and stay as they are.

use std::fmt;

use pointsman::chat::error::ErrorReply;
use pointsman::chat::request::{ChatRequest, Dialect};
use pointsman::policy::Api;
use pointsman::router::decide::{Choice, Decision};
use serde::Serialize;

use super::Client;

#[derive(Debug, Serialize)]
pub struct Explanation {
    pub policy: PolicySeen,
    pub request: RequestSeen,
    pub steps: Vec<StepSeen>,
    pub decision: Option<DecisionSeen>,
    /// Until a stream's first event, or until a one-shot answer is whole.
    pub attempt_timeout_ms: Option<u128>,
    /// For all attempts together.
    pub total_timeout_ms: Option<u128>,
    /// The policy's own words, for when all attempts have failed.
    pub degraded_answer: Option<String>,
    /// Why targets are in this order, where it is not simply the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    pub targets: Vec<TargetSeen>,
    /// What the client is answered instead of being routed.
    pub refusal: Option<Refusal>,
}

#[derive(Debug, Serialize)]
pub struct PolicySeen {
    pub file: String,
    pub at: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct RequestSeen {
    /// `chat`, `messages` or `count_tokens`.
    pub speaks: &'static str,
    pub path: String,
    pub caller: String,
    pub model: Option<String>,
    pub stream: Option<bool>,
    pub user_messages: Option<usize>,
    /// Of the latest user message.
    pub characters: Option<usize>,
    pub tools: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Decided,
    /// The next step is asked.
    Unsure,
    NoMatch,
    WouldAsk,
    Skipped,
    Refused,
    NotReached,
}

#[derive(Debug, Serialize)]
pub struct StepSeen {
    /// `names`, `rules`, `local` or `llm`.
    pub step: &'static str,
    pub shadow: bool,
    pub verdict: Verdict,
    /// In words.
    pub said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalSeen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmSeen>,
}

#[derive(Debug, Serialize)]
pub struct LocalSeen {
    pub confidence: f32,
    pub min_confidence: f32,
    pub expected_cost: f32,
    pub max_cost: f32,
    pub probabilities: Vec<Probability>,
    /// The tier that the model itself chose, and the next likely one: features speak for the one against the other.
    pub judged: String,
    pub against: Option<String>,
    pub features: Vec<Feature>,
}

#[derive(Debug, Serialize)]
pub struct Probability {
    pub tier: String,
    pub probability: f32,
}

#[derive(Debug, Serialize)]
pub struct Feature {
    /// `words`, `mark`, `history` or `bias`.
    pub kind: &'static str,
    pub name: String,
    /// Natural logarithm of the odds.
    pub weight: f32,
}

#[derive(Debug, Serialize)]
pub struct LlmSeen {
    pub cluster: String,
    pub model: String,
    pub timeout_ms: u128,
}

#[derive(Debug, Serialize)]
pub struct DecisionSeen {
    pub tier: Option<String>,
    pub model: Option<String>,
    pub source: &'static str,
    pub reason: String,
    pub confidence: Option<f32>,
    /// The LLM classifier would be asked: this is what follows if it fails.
    pub provisional: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// The client's body but for the model and what policy says.
    AsItIs,
    Translated,
    /// The provider's format has no counterpart for parts of it.
    Drops,
    Refuses,
    LeftOut,
}

#[derive(Debug, Serialize)]
pub struct TargetSeen {
    /// From 1; of one that is left out none.
    pub attempt: Option<usize>,
    pub provider: String,
    pub cluster: String,
    pub api: Api,
    pub model: String,
    pub sent_as: String,
    /// The tier that it is of, if the request degrades to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded_to: Option<String>,
    pub takes: Takes,
    pub dropped: Vec<&'static str>,
    pub refusal: Option<Refusal>,
    pub left_out: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    pub param: Option<String>,
}

// === impl RequestSeen ===

impl RequestSeen {
    pub fn of(client: &Client) -> Self {
        RequestSeen {
            speaks: match client.dialect {
                Dialect::Chat => "chat",
                Dialect::Messages => "messages",
                Dialect::CountTokens => "count_tokens",
            },
            path: client.path.clone(),
            caller: client.caller.clone(),
            model: None,
            stream: None,
            user_messages: None,
            characters: None,
            tools: None,
        }
    }

    pub fn read(&mut self, request: &ChatRequest) {
        let talk = &request.conversation;
        self.model = Some(request.model.clone());
        self.stream = Some(request.stream);
        self.user_messages = Some(talk.turns);
        self.characters = Some(talk.user_chars);
        self.tools = Some(talk.tools);
    }
}

// === impl StepSeen ===

impl StepSeen {
    pub fn new(step: &'static str, verdict: Verdict, said: impl Into<String>) -> Self {
        StepSeen {
            step,
            shadow: false,
            verdict,
            said: said.into(),
            tier: None,
            rule: None,
            local: None,
            llm: None,
        }
    }
}

// === impl DecisionSeen ===

impl DecisionSeen {
    pub fn of(decision: &Decision, provisional: bool) -> Self {
        let model = match &decision.choice {
            Choice::Model(model) => Some(model.to_string()),
            Choice::Tier(_) => None,
        };
        DecisionSeen {
            tier: decision.tier_name().map(ToString::to_string),
            model,
            source: decision.source.as_str(),
            reason: decision.reason.clone(),
            confidence: decision.confidence,
            provisional,
        }
    }
}

// === impl Refusal ===

impl From<&ErrorReply> for Refusal {
    fn from(reply: &ErrorReply) -> Self {
        Refusal {
            status: reply.status,
            code: reply.code,
            message: reply.message.clone(),
            param: reply.param.clone(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "refused, {} {}: {}",
            self.status, self.code, self.message
        )
    }
}
