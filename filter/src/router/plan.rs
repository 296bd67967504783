//! Plan: everything that the attempts of a request need, best target first.
//!
//! Pure. The plan travels with the request, in filter state, so that a reload of the policy changes nothing for
//! a request under way.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use super::decide::Choice;
use super::degrade::Degraded;
use crate::chat::request::{ChatRequest, Dialect};
use crate::health::{Key, Rules, Standing};
use crate::http::Headers;
use crate::policy::{Api, Policy, Target, Timeouts, Unsupported};
use crate::provider::{anthropic, gemini, openai};
use crate::telemetry::report::Told;

/// Attempts that one tier, or one model, may cost at most.
pub const MAX_ATTEMPTS: usize = 8;

/// Attempts that one request may cost at most: its tier's, and those of the tier that it degrades to.
pub const MAX_TARGETS: usize = 2 * MAX_ATTEMPTS;

/// Tokens to allow where nobody sets a limit and `max_output` of the model is not known: what Anthropic's oldest models that
/// are still served can write (<https://docs.claude.com/en/docs/about-claude/models/overview>).
const MAX_TOKENS: u32 = 4096;

/// Everything that an attempt needs, and no more: no policy, no client header that its provider may not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<'a> {
    /// Bytes of the client's body; a different length means that another filter changed it.
    pub body_len: usize,
    /// Where the JSON string of `model` stands in it.
    pub model_span: Range<usize>,
    pub client: Dialect,
    pub stream: bool,
    /// The client asked for a stream's usage.
    pub include_usage: bool,
    /// A message carries a provider's thinking.
    pub has_reasoning: bool,
    /// The client asked for more than one choice.
    pub many_choices: bool,
    /// For the metrics: the tier's name, or `none`.
    pub tier: &'a str,
    /// The tier of the targets that are there for the case that the decided tier's have all failed; empty without such.
    pub degraded_to: &'a str,
    /// Bytes of a one-shot answer to hold at most.
    pub hold_answer: usize,
    pub attempt_timeout_ms: u64,
    pub health: Rules,
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
    /// Of the tier that the request degrades to.
    pub is_degraded: bool,
    /// As the provider is told.
    pub sent_as: &'a str,
    /// Tokens to allow where the client sets no limit and the format wants one.
    pub max_tokens: u32,
    /// Tokens that the model reads; 0 where that is not known.
    pub context: u32,
    pub unsupported: Unsupported,
    pub prompt_cache: bool,
    pub stream_usage: bool,
    pub key: Key,
    pub standing: Standing,
    /// What policy sets, and what of the client's it lets pass to this provider.
    pub headers: Vec<(&'a str, &'a str)>,
}

/// How long a request may go without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Of one attempt.
    pub attempt: Duration,
    /// Of all attempts together.
    pub total: Duration,
}

/// That of a choice, for a stream or a one-shot answer.
pub fn budget(policy: &Policy, choice: &Choice, stream: bool) -> Budget {
    let timeouts = timeouts(policy, choice);
    let (attempt, total) = match stream {
        true => (timeouts.first_token, timeouts.first_token_total),
        false => (timeouts.one_shot, timeouts.one_shot_total),
    };
    Budget { attempt, total }
}

/// A choice's timeouts: its tier's, else the policy's.
fn timeouts(policy: &Policy, choice: &Choice) -> Timeouts {
    let of_tier = match choice {
        Choice::Tier(name) => policy.tier(&name.0).and_then(|t| t.timeouts),
        Choice::Model(_) => None,
    };
    of_tier.unwrap_or(policy.timeouts)
}

/// What a provider answers to a request to count tokens says nothing of how it answers others: some count none.
pub fn rules(policy: &Policy, client: Dialect) -> Rules {
    let Rules {
        cooldown,
        retry_budget,
    } = policy.health;
    Rules {
        cooldown: cooldown.filter(|_| client != Dialect::CountTokens),
        retry_budget,
    }
}

/// What a plan is made from, beside the policy.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'p> {
    pub choice: &'p Choice,
    pub targets: &'p [&'p Target],
    pub degraded: Option<&'p Degraded<'p>>,
    /// Of each of them; one that is not there is healthy.
    pub standings: &'p [Standing],
    pub request: &'p ChatRequest,
    pub body_len: usize,
    pub client: Dialect,
    pub headers: &'p Headers,
    pub told: &'p [Told],
}

/// Write the plan of a request.
pub fn plan<'p>(policy: &Policy, planned: Planned<'p>) -> Plan<'p> {
    let Planned {
        choice, request, ..
    } = planned;
    let attempt_timeout = budget(policy, choice, request.stream).attempt;
    let told = planned.told.iter();
    let degraded = planned.degraded;
    let targets = planned.targets.iter().enumerate();
    Plan {
        body_len: planned.body_len,
        model_span: request.model_span.clone(),
        client: planned.client,
        stream: request.stream,
        include_usage: request.include_usage,
        has_reasoning: request.conversation.has_reasoning,
        many_choices: request.many_choices,
        tier: tier_label(choice),
        degraded_to: degraded.map_or("", |to| &to.tier.0),
        hold_answer: policy.limits.hold_answer,
        attempt_timeout_ms: u64::try_from(attempt_timeout.as_millis()).unwrap_or(u64::MAX),
        health: rules(policy, planned.client),
        user_agent: planned.headers.text("user-agent"),
        told: told.map(|(name, value)| (*name, &**value)).collect(),
        targets: targets
            .map(|(at, target)| PlannedTarget {
                is_degraded: degraded.is_some_and(|degraded| degraded.has(target)),
                standing: planned.standings.get(at).copied().unwrap_or_default(),
                ..planned_target(policy, target, planned)
            })
            .collect(),
    }
}

/// A choice's tier, for metrics.
pub fn tier_label(choice: &Choice) -> &str {
    match choice {
        Choice::Tier(tier) => &tier.0,
        Choice::Model(_) => "none",
    }
}

fn planned_target<'p>(
    policy: &Policy,
    target: &'p Target,
    planned: Planned<'p>,
) -> PlannedTarget<'p> {
    let provider = &target.provider;
    let client = planned.headers;
    let passed = provider
        .pass_headers
        .iter()
        .filter_map(|name| Some((name.as_str(), client.text(name)?)));
    let set = provider
        .set_headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let is_given = |name: &str| {
        let set = provider.set_headers.iter().map(|(name, _)| name);
        set.chain(&provider.pass_headers).any(|given| given == name)
    };
    let of_api = of_api(provider.api, planned)
        .into_iter()
        .filter(|(name, _)| !is_given(name));
    let path = openai::path(&provider.path, &target.sent_as);
    let model = policy.models.get(&target.model);
    let max_output = model.and_then(|model| model.max_output);
    let context = model.and_then(|model| model.context);
    PlannedTarget {
        provider: &provider.name,
        cluster: &provider.cluster,
        api: provider.api,
        host: &provider.host,
        path: match (provider.api, planned.client) {
            (Api::Gemini, _) => gemini::path(&path, planned.request.stream).into(),
            (Api::Anthropic, Dialect::CountTokens) => count_path(&path).into(),
            _ => path,
        },
        model: &target.model,
        is_degraded: false,
        sent_as: &target.sent_as,
        max_tokens: max_output.unwrap_or(MAX_TOKENS),
        context: context.unwrap_or_default(),
        unsupported: provider.unsupported,
        prompt_cache: provider.prompt_cache,
        stream_usage: provider.stream_usage,
        key: Key::of(target),
        standing: Standing::Healthy,
        headers: of_api.chain(set).chain(passed).collect(),
    }
}

/// What a format wants in its headers. A client of Messages knows for which version of the API, and with which of its beta
/// features, it wrote its body: where that passes, they do.
fn of_api<'p>(api: Api, planned: Planned<'p>) -> Vec<(&'p str, &'p str)> {
    if api != Api::Anthropic {
        return Vec::new();
    }
    let (name, ours) = anthropic::VERSION_HEADER;
    if !planned.client.is_messages() {
        return vec![(name, ours)];
    }
    let client = planned.headers;
    let beta = client.text(anthropic::BETA_HEADER);
    let beta = beta.map(|features| (anthropic::BETA_HEADER, features));
    let version = (name, client.text(name).unwrap_or(ours));
    std::iter::once(version).chain(beta).collect()
}

/// <https://docs.claude.com/en/api/messages-count-tokens>
fn count_path(messages: &str) -> String {
    match messages.split_once('?') {
        Some((path, query)) => format!("{path}/count_tokens?{query}"),
        None => format!("{messages}/count_tokens"),
    }
}
