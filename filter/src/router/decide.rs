//! Decide: which tier or model a request gets, and why.
//!
//! Pure. The first that applies: the tier header, a named tier, model or alias; what is left is for the policy's steps, see
//! [`super::cascade`]. Every refusal says what would have been allowed.

use std::sync::Arc;

use super::order;
use crate::chat::error::{self, ErrorReply};
use crate::chat::request::ChatRequest;
use crate::classify::local::opinion::Opinion;
use crate::classify::rules::{self, Facts};
use crate::http::Headers;
use crate::policy::{
    AUTO, AliasTarget, CallerLimits, Policy, Provider, Rule, Step, StepKind, TierName, nearest_n,
};

/// Where a decision came from: `X-Routing-Source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Header,
    Model,
    Rule,
    Local,
    Llm,
    Cache,
    Default,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Header => "header",
            Source::Model => "model",
            Source::Rule => "rule",
            Source::Local => "local",
            Source::Llm => "llm",
            Source::Cache => "cache",
            Source::Default => "default",
        }
    }

    fn certainty(self) -> Option<f32> {
        match self {
            Source::Header | Source::Model | Source::Rule => Some(1.0),
            Source::Local | Source::Llm | Source::Cache | Source::Default => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Tier(TierName),
    /// Pinned: this model's own targets, then its fallbacks.
    Model(Arc<str>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub choice: Choice,
    pub source: Source,
    pub reason: String,
    /// How often such a decision is right, 0 to 1: 1 where the client or the operator said it, `None` where an LLM judged or
    /// nobody did.
    pub confidence: Option<f32>,
}

impl Decision {
    pub fn tier(tier: &TierName, source: Source, reason: impl Into<String>) -> Self {
        Decision {
            choice: Choice::Tier(tier.clone()),
            source,
            reason: reason.into(),
            confidence: source.certainty(),
        }
    }

    pub fn by_opinion(opinion: &Opinion) -> Self {
        Decision {
            confidence: Some(opinion.confidence),
            ..Decision::tier(&opinion.tier, Source::Local, opinion.reason.as_str())
        }
    }

    /// As it is told, in two digits: 1.00 is for what the client or the operator said, and no model's word is that.
    pub fn told_confidence(&self) -> Option<f32> {
        match self.source {
            Source::Local => self.confidence.map(|confidence| confidence.min(0.99)),
            _ => self.confidence,
        }
    }

    /// `None` for a pinned model.
    pub fn tier_name(&self) -> Option<&TierName> {
        match &self.choice {
            Choice::Tier(tier) => Some(tier),
            Choice::Model(_) => None,
        }
    }
}

impl Step {
    /// Who says what this step says.
    pub fn source(&self) -> Source {
        match self.kind {
            StepKind::Rules(_) => Source::Rule,
            StepKind::Local(_) => Source::Local,
            StepKind::Llm(_) => Source::Llm,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Decided(Decision),
    /// Only the policy's steps can tell.
    Classify,
}

/// What a caller may use.
#[derive(Debug, Clone, Copy)]
pub struct Access<'p> {
    policy: &'p Policy,
    limits: Option<&'p CallerLimits>,
}

impl<'p> Access<'p> {
    pub fn of(policy: &'p Policy, caller: &str) -> Self {
        Access {
            policy,
            limits: policy.limits_of(caller),
        }
    }

    pub fn tier(&self, tier: &TierName) -> bool {
        self.limits.is_none_or(|l| l.tiers.contains(tier))
    }

    pub fn model(&self, model: &str) -> bool {
        match self.limits {
            None => true,
            Some(CallerLimits {
                models: Some(models),
                ..
            }) => models.iter().any(|m| &**m == model),
            Some(limits) => self
                .policy
                .tiers
                .iter()
                .filter(|t| limits.tiers.contains(&t.name))
                .flat_map(|t| &t.targets)
                .any(|t| &*t.model == model),
        }
    }

    /// Whether a provider keeps this caller's requests where they may be.
    pub fn region(&self, provider: &Provider) -> bool {
        let regions = self.limits.and_then(|l| l.regions.as_ref());
        let region = provider.region.as_ref();
        regions.is_none_or(|regions| region.is_some_and(|region| regions.contains(region)))
    }

    /// Whether a model, by its name at the provider, is of a version that this caller may get.
    pub fn version(&self, sent_as: &str) -> bool {
        let is_of = |version: &String| match version.strip_suffix('*') {
            Some(prefix) => sent_as.starts_with(prefix),
            None => version == sent_as,
        };
        let versions = self.limits.and_then(|l| l.versions.as_ref());
        versions.is_none_or(|versions| versions.iter().any(is_of))
    }

    /// Whether its requests may say which providers come first.
    pub fn orders_providers(&self) -> bool {
        self.limits.is_some_and(|limits| limits.order_providers)
    }

    /// The tiers on offer, in the policy's order.
    pub fn tiers(&self) -> impl Iterator<Item = &'p crate::policy::Tier> + '_ {
        self.policy.tiers.iter().filter(|t| self.tier(&t.name))
    }

    pub fn models(&self) -> impl Iterator<Item = &'p Arc<str>> + '_ {
        self.policy.models.keys().filter(|m| self.model(m))
    }

    /// An alias is on offer where what it stands for is.
    pub fn alias(&self, target: &AliasTarget) -> bool {
        match target {
            AliasTarget::Tier(tier) => self.tier(tier),
            AliasTarget::Model(model) => self.model(model),
        }
    }

    /// Where this caller's requests go that nothing else decided.
    pub fn default_tier(&self) -> &'p TierName {
        let fallback = &self.policy.default_tier;
        match self.limits {
            Some(limits) if !limits.tiers.contains(fallback) => {
                limits.tiers.first().unwrap_or(fallback)
            }
            _ => fallback,
        }
    }

    fn tier_names(&self) -> String {
        join(self.tiers().map(|t| &*t.name.0))
    }
}

pub(super) fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 40;
    let mut names = names;
    let mut text = names.by_ref().take(SHOWN).collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        text.push_str("none");
    }
    if names.next().is_some() {
        text.push_str(", …");
    }
    text
}

/// What is asked, by whom.
#[derive(Debug)]
pub struct Asked<'a> {
    pub caller: &'a str,
    /// Without the query.
    pub path: &'a str,
    pub headers: &'a Headers,
    pub request: &'a ChatRequest,
}

impl Asked<'_> {
    /// The first rule that matches, and its place.
    pub(super) fn rule<'p>(&self, rules: &'p [Rule]) -> Option<(usize, &'p Rule)> {
        let facts = Facts {
            path: self.path,
            caller: self.caller,
            model: &self.request.model,
            header: &|name| self.headers.get(name),
        };
        rules::first_match(rules, &facts)
    }
}

pub fn decide(policy: &Policy, asked: &Asked<'_>) -> Result<Verdict, ErrorReply> {
    let access = Access::of(policy, asked.caller);
    // What would be refused in the end is refused before a classifier is asked.
    order::providers(policy, &access, asked.headers)?;
    if let Some(value) = asked.headers.get(crate::telemetry::headers::LLM_POLICY) {
        return by_header(policy, &access, value).map(Verdict::Decided);
    }
    let name = asked.request.model.as_str();
    if let Some(decision) = by_name(policy, &access, name)? {
        return Ok(Verdict::Decided(decision));
    }
    let is_routed = || name == AUTO || policy.route_models.unknown || is_routed(policy, name);
    if is_routed() || has_rule(policy, asked) {
        return Ok(Verdict::Classify);
    }
    Err(unknown_model(policy, &access, name))
}

fn by_header(policy: &Policy, access: &Access<'_>, value: &[u8]) -> Result<Decision, ErrorReply> {
    let asked = std::str::from_utf8(value).unwrap_or_default().trim();
    let Some(tier) = policy.tier(asked) else {
        return Err(ErrorReply {
            status: 400,
            kind: error::INVALID_REQUEST,
            code: "unknown_tier",
            message: format!(
                "X-LLM-Policy names no tier of this gateway; use one of: {}",
                access.tier_names()
            ),
            param: None,
        });
    };
    if !access.tier(&tier.name) {
        return Err(tier_refused(access, &tier.name.0));
    }
    Ok(Decision::tier(
        &tier.name,
        Source::Header,
        "X-LLM-Policy names the tier",
    ))
}

/// `None`: the name is none of ours, so it is for the rules and the classifier.
fn by_name(
    policy: &Policy,
    access: &Access<'_>,
    name: &str,
) -> Result<Option<Decision>, ErrorReply> {
    let (choice, reason) = if let Some(tier) = policy.tier(name) {
        (Choice::Tier(tier.name.clone()), "model names the tier")
    } else if let Some(model) = policy.models.get(name) {
        (
            Choice::Model(model.name.clone()),
            "model is named by the client",
        )
    } else {
        match policy.aliases.get(name) {
            None => return Ok(None),
            Some(AliasTarget::Tier(tier)) => {
                (Choice::Tier(tier.clone()), "model is an alias of the tier")
            }
            Some(AliasTarget::Model(model)) => (
                Choice::Model(model.clone()),
                "model is an alias of this model",
            ),
        }
    };
    match &choice {
        Choice::Tier(tier) if !access.tier(tier) => return Err(tier_refused(access, &tier.0)),
        Choice::Model(model) if !access.model(model) => return Err(model_refused(access, model)),
        _ => {}
    }
    Ok(Some(Decision {
        choice,
        source: Source::Model,
        reason: reason.to_owned(),
        confidence: Source::Model.certainty(),
    }))
}

/// A rule may be for names that nothing else knows.
fn has_rule(policy: &Policy, asked: &Asked<'_>) -> bool {
    policy.classify.iter().any(|step| match &step.kind {
        StepKind::Rules(rules) => !step.shadow && asked.rule(rules).is_some(),
        _ => false,
    })
}

fn is_routed(policy: &Policy, name: &str) -> bool {
    policy
        .route_models
        .names
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        })
}

pub(super) fn tier_refused(access: &Access<'_>, tier: &str) -> ErrorReply {
    ErrorReply {
        status: 403,
        kind: error::PERMISSION,
        code: "tier_not_allowed",
        message: format!(
            "you may not use tier {tier}; allowed: {}",
            access.tier_names()
        ),
        param: None,
    }
}

fn model_refused(access: &Access<'_>, model: &str) -> ErrorReply {
    ErrorReply {
        status: 403,
        kind: error::PERMISSION,
        code: "model_not_allowed",
        message: format!(
            "you may not use model {model}; allowed models: {}; allowed tiers: {}, {AUTO}",
            join(access.models().map(|m| &**m)),
            access.tier_names()
        ),
        param: Some("model".to_owned()),
    }
}

fn unknown_model(policy: &Policy, access: &Access<'_>, name: &str) -> ErrorReply {
    let known = access
        .models()
        .map(|m| &**m)
        .chain(access.tiers().map(|t| &*t.name.0))
        .chain(
            policy
                .aliases
                .iter()
                .filter(|(_, target)| access.alias(target))
                .map(|(name, _)| name.as_str()),
        );
    let near = nearest_n(name, known, 3);
    let hint = if near.is_empty() {
        format!("GET {} lists them.", policy.admit.models_path)
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    ErrorReply {
        status: 404,
        kind: error::INVALID_REQUEST,
        code: "model_not_found",
        message: format!(
            "this gateway has no such model or tier; {hint} Use {AUTO} to let it choose."
        ),
        param: Some("model".to_owned()),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
