//! Degrade: what a request gets when everybody whom its tier names has failed it.
//!
//! Pure. Another tier's targets come after the tier's own, so that the same chain goes on; a canned answer takes the place of
//! the error.

use std::sync::Arc;

use super::candidates::{Asked, Candidates, Why, of_choice};
use super::decide::Choice;
use crate::chat::canned::{self, Words};
use crate::chat::request::{ChatRequest, Dialect};
use crate::http::{Action, Host, Reply};
use crate::messages;
use crate::policy::{Degrade, Policy, Target, TierName};
use crate::telemetry::headers as names;
use crate::telemetry::metrics::metric_name;

/// What [`names::ROUTING_DEGRADED`] says of a canned answer.
const ANSWER: &str = "answer";

/// The tier that a request degrades to, and the targets that are there for that.
#[derive(Debug, Clone)]
pub struct Degraded<'p> {
    pub tier: &'p TierName,
    targets: Vec<&'p Target>,
}

/// Puts the targets of the tier that the choice degrades to after its own. Tokens are counted by the decided tier's models or not
/// at all.
pub fn append<'p>(
    policy: &'p Policy,
    asked: Asked<'_>,
    named: &[&str],
    found: &mut Candidates<'p>,
) {
    let Some(Degrade::Tier(tier)) = of(policy, asked.choice) else {
        return;
    };
    if asked.client == Dialect::CountTokens {
        return;
    }
    let choice = Choice::Tier(tier.clone());
    let more = of_choice(
        policy,
        Asked {
            choice: &choice,
            ..asked
        },
        named,
    );
    if !asked.access.tier(tier) {
        let refused = more.targets.into_iter();
        return refused.for_each(|target| found.skip(target, Why::NotAllowed));
    }
    // Who has just failed is not asked the same again.
    let new = more.targets.into_iter().filter(|target| !found.has(target));
    let new: Vec<_> = new.collect();
    found.skipped.extend(more.skipped);
    if !new.is_empty() {
        found.targets.extend(&new);
        found.degraded = Some(Degraded { tier, targets: new });
    }
}

fn of<'p>(policy: &'p Policy, choice: &Choice) -> Option<&'p Degrade> {
    match choice {
        Choice::Tier(name) => policy.tier(&name.0)?.degrade.as_ref(),
        Choice::Model(_) => None,
    }
}

/// The words that the policy has for the choice, if they may answer such a client.
pub fn words<'p>(policy: &'p Policy, choice: &Choice, client: Dialect) -> Option<&'p Arc<str>> {
    match of(policy, choice) {
        Some(Degrade::Answer(text)) if client != Dialect::CountTokens => Some(text),
        _ => None,
    }
}

/// As [`names::ROUTING_DEGRADED`] says it.
pub fn to_tier(tier: &str) -> String {
    names::clean(&format!("tier {tier}"))
}

/// A request was answered by whom its tier does not name.
pub fn count(tier: &str, to: &str) -> Action {
    let tags = [("tier", tier), ("to", to)];
    Action::Count(metric_name("pointsman_degraded_total", &tags), 1)
}

/// The policy's own words, for one request.
#[derive(Debug, Clone)]
pub struct Canned {
    text: Arc<str>,
    tier: TierName,
    is_messages: bool,
    stream: bool,
    include_usage: bool,
}

// === impl Degraded ===

impl Degraded<'_> {
    pub fn has(&self, target: &Target) -> bool {
        self.targets.iter().any(|own| std::ptr::eq(*own, target))
    }
}

// === impl Canned ===

impl Canned {
    /// If the choice has such, and this is a request that words can answer.
    pub fn of(
        policy: &Policy,
        choice: &Choice,
        request: &ChatRequest,
        client: Dialect,
    ) -> Option<Self> {
        let Choice::Tier(tier) = choice else {
            return None;
        };
        words(policy, choice, client).map(|text| Canned {
            text: Arc::clone(text),
            tier: tier.clone(),
            is_messages: client.is_messages(),
            stream: request.stream,
            include_usage: request.include_usage,
        })
    }

    /// The answer in the client's form, with `told` in its headers, and its count.
    pub fn reply(&self, told: Vec<(String, String)>, host: &dyn Host) -> Vec<Action> {
        let words = Words {
            text: &self.text,
            model: &self.tier.0,
            id: host.random(),
            created: host.now().as_secs(),
        };
        let body = match (self.is_messages, self.stream) {
            (false, false) => canned::completion(&words),
            (false, true) => canned::stream(&words, self.include_usage),
            (true, false) => messages::canned::message(&words),
            (true, true) => messages::canned::stream(&words),
        };
        let mut headers = told;
        let degraded = (names::ROUTING_DEGRADED.to_owned(), ANSWER.to_owned());
        headers.push(degraded);
        let reply = match self.stream {
            true => Reply::events(headers, body),
            false => Reply::json(200, headers, body),
        };
        vec![count(&self.tier.0, ANSWER), Action::Reply(reply)]
    }
}

#[cfg(test)]
#[path = "degrade_tests.rs"]
mod tests;
