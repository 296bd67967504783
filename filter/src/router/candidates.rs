//! Candidates: which targets may serve a request, in which order, and which may not, and why.
//!
//! Pure. What is left out is told to the client, in the log, and by `pointsman explain`.

use std::fmt;

use super::decide::{Access, Choice};
use super::degrade::{self, Degraded};
use super::fit;
use super::order;
use super::plan::MAX_ATTEMPTS;
use super::refusal;
use crate::chat::error::ErrorReply;
use crate::chat::needs::Input;
use crate::chat::request::{ChatRequest, Dialect};
use crate::http::Headers;
use crate::policy::{Api, Policy, Target};

/// What candidates are chosen for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub choice: &'a Choice,
    pub access: &'a Access<'a>,
    pub caller: &'a str,
    /// As the client sent them.
    pub headers: &'a Headers,
    pub request: &'a ChatRequest,
    pub client: Dialect,
    /// Drawn for this request.
    pub random: u64,
}

#[derive(Debug, Clone)]
pub struct Candidates<'p> {
    /// In the order in which they are tried.
    pub targets: Vec<&'p Target>,
    pub skipped: Vec<Skipped<'p>>,
    /// Which of the targets are there only for the case that all others failed.
    pub degraded: Option<Degraded<'p>>,
}

/// A target that is not tried, or only after all others.
#[derive(Debug, Clone, Copy)]
pub struct Skipped<'p> {
    pub target: &'p Target,
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The caller may not use the model, or the tier that the request degrades to.
    NotAllowed,
    /// Tokens are counted by providers of `api: anthropic` only: what they count is the client's own body.
    CannotCount,
    /// The caller's requests may not go there.
    Region,
    /// The caller may get other versions only.
    Version,
    /// The provider's format has no place for such content.
    Format(Input),
    /// The model takes no such content.
    Input(Input),
    /// The model calls no tools.
    Tools,
    /// The model follows no schema.
    JsonSchema,
    /// The request has more tokens, as estimated, than the model's context.
    Context { tokens: u32, context: u32 },
    /// It failed lately: it is tried when all others have failed.
    CoolingDown,
}

/// The candidates of a choice.
///
/// # Errors
/// What the client is told: nobody is left, or it orders providers as it may not.
pub fn candidates<'p>(policy: &'p Policy, asked: Asked<'_>) -> Result<Candidates<'p>, ErrorReply> {
    let named = order::providers(policy, asked.access, asked.headers)?;
    let mut found = of_choice(policy, asked, &named);
    if found.targets.is_empty() {
        return Err(refusal::nobody(policy, asked, &found.skipped));
    }
    degrade::append(policy, asked, &named, &mut found);
    Ok(found)
}

/// Those of the choice itself.
pub(super) fn of_choice<'p>(
    policy: &'p Policy,
    asked: Asked<'_>,
    named: &[&str],
) -> Candidates<'p> {
    let mut found = gather(policy, asked);
    order::order(policy, asked, named, &mut found.targets);
    if asked.client == Dialect::CountTokens {
        found.keep(|target| match target.provider.api {
            Api::Anthropic => None,
            Api::OpenAi | Api::Gemini => Some(Why::CannotCount),
        });
    }
    found.keep(|target| fit::fault(policy, asked, target));
    found
}

/// In the policy's order. A tier that names a target twice means to try it twice; of a pinned model and its fallbacks each
/// target is there once.
fn gather<'p>(policy: &'p Policy, asked: Asked<'_>) -> Candidates<'p> {
    let mut found = Candidates {
        targets: Vec::new(),
        skipped: Vec::new(),
        degraded: None,
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
        if !self.has(target) && self.targets.len() < MAX_ATTEMPTS {
            self.targets.push(target);
        }
    }

    pub(super) fn has(&self, target: &Target) -> bool {
        self.targets.iter().any(|known| known.is_same(target))
    }

    pub(super) fn skip(&mut self, target: &'p Target, why: Why) {
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
}

pub(super) fn content(input: Input) -> &'static str {
    match input {
        Input::Image => "images",
        Input::Audio => "audio",
        Input::Video => "video",
        Input::File => "files",
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
    pub fn words(self) -> String {
        match self {
            Why::NotAllowed => "this caller may not use it".to_owned(),
            Why::CannotCount => "only api anthropic counts tokens".to_owned(),
            Why::Region => "this caller's requests may not go to its region".to_owned(),
            Why::Version => "this caller may not get this version of the model".to_owned(),
            Why::Format(input) => format!("its api has no place for {}", content(input)),
            Why::Input(input) => format!("the model takes no {}", content(input)),
            Why::Tools => "the model calls no tools".to_owned(),
            Why::JsonSchema => "the model follows no JSON schema".to_owned(),
            Why::Context { tokens, context } => {
                format!("about {tokens} tokens do not fit into its context of {context}")
            }
            Why::CoolingDown => "it failed lately, and is tried last".to_owned(),
        }
    }
}

/// A word for it.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::NotAllowed => "not_allowed",
            Why::CannotCount => "cannot_count",
            Why::Region => "region",
            Why::Version => "version",
            Why::Format(input) | Why::Input(input) => input.name(),
            Why::Tools => "tools",
            Why::JsonSchema => "json_schema",
            Why::Context { .. } => "context",
            Why::CoolingDown => "cooldown",
        })
    }
}

#[cfg(test)]
#[path = "candidates_tests.rs"]
mod tests;
