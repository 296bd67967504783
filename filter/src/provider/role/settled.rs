//! What an attempt that ended leaves to those that come after it: where a retry goes, what the next plans know of its target, and
//! the end of a chain.
//!
//! Pure: the table is the host's, the budget the worker's.

use std::time::Duration;

use super::ProviderAttempt;
use super::response::{Ended, Serving, wider};
use crate::chat::error::ErrorReply;
use crate::health::Kind;
use crate::health::budget::Budget;
use crate::health::learn::Attempt;
use crate::health::signs::Sign;
use crate::http::{Action, Host, Reply};
use crate::messages;
use crate::provider::error::last_error;
use crate::router::handover;
use crate::router::plan::Plan;
use crate::telemetry::state::{self, Attempts};
use crate::worker::Worker;

// === impl ProviderAttempt ===

impl ProviderAttempt {
    /// A stream broke off after it was released: too late for this request, and news for those that come.
    pub fn broke_off(&mut self, worker: &mut Worker, host: &dyn Host) -> Vec<Action> {
        let serving = self.serving.as_ref();
        serving.map_or_else(Vec::new, |serving| {
            serving.learn(Sign::Bad(Kind::Overload, None), worker, host)
        })
    }

    /// The time that is over was the request's, most of it spent elsewhere perhaps: nothing is learnt of this attempt's target.
    pub(super) fn blame_nobody(&mut self) {
        let serving = self.serving.as_mut();
        if let Some(ended) = serving.and_then(|serving| serving.ended.as_mut()) {
            ended.sign = Sign::Nothing;
        }
    }

    pub(super) fn take_ended(&mut self) -> Option<Ended> {
        self.serving.as_mut()?.ended.take()
    }

    pub(super) fn settle(
        &mut self,
        ended: Ended,
        worker: &mut Worker,
        host: &dyn Host,
    ) -> Vec<Action> {
        let Some(serving) = &mut self.serving else {
            return Vec::new();
        };
        let mut actions = serving.learn(ended.sign, worker, host);
        if ended.moves_on {
            actions.extend(serving.point_on(ended, &mut worker.health.budget, host));
        }
        actions
    }

    /// Envoy retries, and nobody is left to be asked: what is left in the plan was asked before, and may not be asked again.
    pub(super) fn end_chain(&self, plan: &Plan<'_>, attempts: &Attempts) -> Vec<Action> {
        let Some(target) = plan.targets.get(attempts.target) else {
            return vec![Action::Reply(
                (&ErrorReply::misconfigured("the plan has no target")).into(),
            )];
        };
        let asked = (target.provider, target.model, target.api);
        let (status, body) = last_error(asked, attempts, None);
        let body = messages::error::in_form(plan.client, status, body);
        vec![Action::Reply(Reply::json(status, Vec::new(), body))]
    }
}

// === impl Serving ===

impl Serving {
    fn learn(&self, sign: Sign, worker: &mut Worker, host: &dyn Host) -> Vec<Action> {
        let Some(cooldown) = &self.health.cooldown else {
            return Vec::new();
        };
        let attempt = Attempt {
            key: self.key,
            standing: self.standing,
            started: self.started,
            cooldown,
        };
        let change = worker.health.learn(attempt, sign, host);
        change.map_or_else(Vec::new, |change| {
            change.told(&self.provider, &self.model).into()
        })
    }

    /// Where a retry goes, and how the attempts went so far. Envoy asks for it after this attempt has reported its end: `on_done`
    /// comes before its retry timer.
    fn point_on(&mut self, ended: Ended, budget: &mut Budget, host: &dyn Host) -> Vec<Action> {
        let mut handed_over = std::mem::take(&mut self.handed_over);
        let Some((plan, _)) = Plan::decode(&handed_over) else {
            return Vec::new();
        };
        let target = self.attempts.target;
        let wider = match ended.is_too_long {
            true => wider(&plan, target),
            false => None,
        };
        let next = wider.unwrap_or_else(|| next_target(&plan, target, budget, || host.now()));
        // At the end of the chain the route still needs one.
        let last = plan.targets.len().saturating_sub(1);
        let cluster = plan.targets.get(next.min(last)).map(|t| t.cluster);
        let cluster = cluster.unwrap_or_default().as_bytes().to_vec();
        self.attempts.next = next;
        handover::set_attempts(&mut handed_over, &self.attempts);
        vec![
            Action::SetState(state::PLAN, handed_over),
            Action::SetState(state::CLUSTER, cluster),
        ]
    }
}

/// The target after this one, by its index; their number where none is left. One that was asked already is asked again only if the
/// worker's budget has room for it.
fn next_target(
    plan: &Plan<'_>,
    target: usize,
    budget: &mut Budget,
    now: impl Fn() -> Duration,
) -> usize {
    let begin = target.saturating_add(1);
    let (asked, left) = plan
        .targets
        .split_at_checked(begin)
        .unwrap_or((&plan.targets, &[]));
    let is_asked = |key| asked.iter().any(|target| target.key == key);
    let next = left
        .iter()
        .position(|target| !is_asked(target.key) || budget.spend(plan.health.retry_budget, now()));
    next.map_or(plan.targets.len(), |at| begin.saturating_add(at))
}
