//! Candidates: which targets may serve a request, in which order, and which may not, and why.
//!
//! Pure. What is left out is told to the client, in the log, and by `pointsman explain`.

use std::fmt;
use std::sync::Arc;

use super::decide::{Access, Choice};
use super::plan::MAX_ATTEMPTS;
use crate::chat::error::{self, ErrorReply};
use crate::chat::request::{ChatRequest, Dialect};
use crate::policy::{Api, Policy, Target};

/// What candidates are chosen for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub choice: &'a Choice,
    pub access: &'a Access<'a>,
    pub request: &'a ChatRequest,
    pub client: Dialect,
}

#[derive(Debug, Clone)]
pub struct Candidates<'p> {
    /// In the order in which they are tried.
    pub targets: Vec<&'p Target>,
    pub skipped: Vec<Skipped<'p>>,
}

/// A target that is not tried.
#[derive(Debug, Clone, Copy)]
pub struct Skipped<'p> {
    pub target: &'p Target,
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The caller may not use the model.
    NotAllowed,
    /// Tokens are counted by providers of `api: anthropic` only: what they count is the client's own body.
    CannotCount,
}

/// The candidates of a choice.
///
/// # Errors
/// Nobody is left: what the client is told.
pub fn candidates<'p>(policy: &'p Policy, asked: Asked<'_>) -> Result<Candidates<'p>, ErrorReply> {
    let mut found = gather(policy, asked);
    if asked.client == Dialect::CountTokens {
        found.keep(|target| match target.provider.api {
            Api::Anthropic => None,
            Api::OpenAi | Api::Gemini => Some(Why::CannotCount),
        });
    }
    match found.targets.is_empty() {
        false => Ok(found),
        true => Err(found.nobody()),
    }
}

/// In the policy's order. A tier that names a target twice means to try it twice; of a pinned model and its fallbacks each
/// target is there once.
fn gather<'p>(policy: &'p Policy, asked: Asked<'_>) -> Candidates<'p> {
    let mut found = Candidates {
        targets: Vec::new(),
        skipped: Vec::new(),
    };
    match asked.choice {
        Choice::Tier(name) => {
            let tier = policy.tier(&name.0);
            let targets = tier.iter().flat_map(|tier| &tier.targets);
            found.targets = targets.take(MAX_ATTEMPTS).collect();
        }
        Choice::Model(name) => {
            let Some(model) = policy.models.get(name) else {
                return found;
            };
            model.targets.iter().for_each(|target| found.add(target));
            for name in &model.fallback {
                let targets = policy.models.get(name).into_iter();
                for target in targets.flat_map(|model| &model.targets) {
                    match asked.access.model(name) {
                        true => found.add(target),
                        false => found.skip(target, Why::NotAllowed),
                    }
                }
            }
        }
    }
    found
}

// === impl Candidates ===

impl<'p> Candidates<'p> {
    fn add(&mut self, target: &'p Target) {
        let is_known = self.targets.iter().any(|known| {
            Arc::ptr_eq(&known.provider, &target.provider) && known.sent_as == target.sent_as
        });
        if !is_known && self.targets.len() < MAX_ATTEMPTS {
            self.targets.push(target);
        }
    }

    fn skip(&mut self, target: &'p Target, why: Why) {
        self.skipped.push(Skipped { target, why });
    }

    /// Skips each of which `fault` says why.
    fn keep(&mut self, fault: impl Fn(&Target) -> Option<Why>) {
        let skipped = &mut self.skipped;
        self.targets.retain(|target| match fault(target) {
            None => true,
            Some(why) => {
                skipped.push(Skipped { target, why });
                false
            }
        });
    }

    /// What the client is told when no target is left.
    fn nobody(&self) -> ErrorReply {
        match self.skipped.iter().any(|s| s.why == Why::CannotCount) {
            true => nobody_counts(),
            false => ErrorReply {
                status: 500,
                kind: error::SERVER,
                code: "no_target",
                message: "the policy has no target for this request".to_owned(),
                param: None,
            },
        }
    }
}

fn nobody_counts() -> ErrorReply {
    ErrorReply {
        status: 404,
        kind: error::INVALID_REQUEST,
        code: "count_tokens_unsupported",
        message: "no target of this model or tier counts tokens: only providers of api anthropic do; name another model or tier"
            .to_owned(),
        param: Some("model".to_owned()),
    }
}

// === impl Skipped ===

/// As the client is told: `openai/gpt-5=cannot_count`.
impl fmt::Display for Skipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target {
            provider, model, ..
        } = self.target;
        write!(f, "{}/{model}={}", provider.name, self.why)
    }
}

// === impl Why ===

impl Why {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Why::NotAllowed => "this caller may not use the model",
            Why::CannotCount => "only api anthropic counts tokens",
        }
    }
}

/// A word for it.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::NotAllowed => "not_allowed",
            Why::CannotCount => "cannot_count",
        })
    }
}

#[cfg(test)]
#[path = "candidates_tests.rs"]
mod tests;
