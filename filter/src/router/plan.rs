//! Plan: which targets serve this request, best first.
//!
//! Pure. The plan travels with the request, in filter state, so that a reload of the policy changes nothing for
//! a request under way.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::decide::{Access, Choice};
use crate::chat::request::ChatRequest;
use crate::http::Headers;
use crate::policy::{Api, Policy, Target, Timeouts};
use crate::provider::openai;
use crate::telemetry::report::Told;

/// Attempts that one request may cost at most.
pub const MAX_ATTEMPTS: usize = 8;

/// Everything that an attempt needs, and no more: no policy, no client header that its provider may not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<'a> {
    /// Bytes of the client's body; a different length means that another filter changed it.
    pub body_len: usize,
    /// Where the JSON string of `model` stands in it.
    pub model_span: Range<usize>,
    pub stream: bool,
    /// Bytes of a one-shot answer to hold at most.
    pub hold_answer: usize,
    pub attempt_timeout_ms: u64,
    pub user_agent: Option<&'a str>,
    /// What the client is told of the decision: the contract's response headers.
    pub told: Vec<(&'a str, &'a str)>,
    pub targets: Vec<PlannedTarget<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTarget<'a> {
    pub provider: &'a str,
    pub cluster: &'a str,
    pub api: Api,
    pub host: &'a str,
    /// Path and query, whole.
    pub path: Cow<'a, str>,
    /// As the client is told.
    pub model: &'a str,
    /// As the provider is told.
    pub sent_as: &'a str,
    /// What policy sets, and what of the client's it lets pass to this provider.
    pub headers: Vec<(&'a str, &'a str)>,
}

/// The targets of a choice, in order. A tier that names one twice means to try it twice.
pub fn targets<'p>(policy: &'p Policy, choice: &Choice, access: &Access<'_>) -> Vec<&'p Target> {
    match choice {
        Choice::Tier(name) => {
            let tier = policy.tier(&name.0);
            let targets = tier.iter().flat_map(|tier| &tier.targets);
            targets.take(MAX_ATTEMPTS).collect()
        }
        Choice::Model(name) => of_model(policy, name, access),
    }
}

/// A model's own targets, then its fallbacks', each once.
fn of_model<'p>(policy: &'p Policy, name: &str, access: &Access<'_>) -> Vec<&'p Target> {
    let Some(model) = policy.models.get(name) else {
        return Vec::new();
    };
    let fallback = model.fallback.iter().filter(|name| access.model(name));
    let fallback = fallback.filter_map(|name| policy.models.get(name));
    let mut found: Vec<&Target> = Vec::new();
    for target in std::iter::once(model)
        .chain(fallback)
        .flat_map(|m| &m.targets)
    {
        let is_known = found
            .iter()
            .any(|t| Arc::ptr_eq(&t.provider, &target.provider) && t.sent_as == target.sent_as);
        if !is_known && found.len() < MAX_ATTEMPTS {
            found.push(target);
        }
    }
    found
}

/// A choice's timeouts: its tier's, else the policy's.
pub fn timeouts(policy: &Policy, choice: &Choice) -> Timeouts {
    let of_tier = match choice {
        Choice::Tier(name) => policy.tier(&name.0).and_then(|t| t.timeouts),
        Choice::Model(_) => None,
    };
    of_tier.unwrap_or(policy.timeouts)
}

/// Write the plan of a request.
pub fn plan<'p>(
    policy: &Policy,
    choice: &Choice,
    targets: &[&'p Target],
    request: &ChatRequest,
    body_len: usize,
    client: &'p Headers,
    told: &'p [Told],
) -> Plan<'p> {
    let timeouts = timeouts(policy, choice);
    let attempt_timeout = if request.stream {
        timeouts.first_event
    } else {
        timeouts.one_shot
    };
    Plan {
        body_len,
        model_span: request.model_span.clone(),
        stream: request.stream,
        hold_answer: policy.limits.hold_answer,
        attempt_timeout_ms: u64::try_from(attempt_timeout.as_millis()).unwrap_or(u64::MAX),
        user_agent: client.text("user-agent"),
        told: told.iter().map(|(name, value)| (*name, &**value)).collect(),
        targets: targets.iter().map(|t| planned(t, client)).collect(),
    }
}

fn planned<'p>(target: &'p Target, client: &'p Headers) -> PlannedTarget<'p> {
    let provider = &target.provider;
    let passed = provider
        .pass_headers
        .iter()
        .filter_map(|name| Some((name.as_str(), client.text(name)?)));
    let set = provider
        .set_headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    PlannedTarget {
        provider: &provider.name,
        cluster: &provider.cluster,
        api: provider.api,
        host: &provider.host,
        path: match provider.api {
            Api::OpenAi => openai::path(&provider.path, &target.sent_as),
        },
        model: &target.model,
        sent_as: &target.sent_as,
        headers: set.chain(passed).collect(),
    }
}
