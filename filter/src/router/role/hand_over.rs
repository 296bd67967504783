//! The router role's last word on a request: candidates, their health, the plan, and its handover to the provider role.

use std::sync::Arc;
use std::time::Duration;

use super::{Admitted, Handed, Router, State};
use crate::chat::request::ChatRequest;
use crate::health::rules::millis;
use crate::health::{learn, shared};
use crate::http::{Action, Host};
use crate::policy::Target;
use crate::router::admit;
use crate::router::candidates::{self, Candidates, candidates};
use crate::router::decide::{Access, Decision};
use crate::router::degrade::Canned;
use crate::router::plan;
use crate::router::standing::{self, Ordered};
use crate::telemetry::headers as names;
use crate::telemetry::metrics::metric_name;
use crate::telemetry::report::{self, Planned};
use crate::telemetry::state;
use crate::worker::Worker;

// === impl Router ===

impl Router {
    pub(super) fn hand_over(
        &mut self,
        (admitted, request, body_len): &(Admitted, ChatRequest, usize),
        decision: &Decision,
        classified_in: Option<Duration>,
        worker: &mut Worker,
        host: &dyn Host,
    ) -> Vec<Action> {
        let access = Access::of(&self.policy, &admitted.caller);
        let asked = candidates::Asked {
            choice: &decision.choice,
            access: &access,
            caller: &admitted.caller,
            headers: &admitted.headers,
            request,
            client: self.client,
            random: host.random(),
        };
        let Candidates {
            targets,
            skipped,
            degraded,
        } = match candidates(&self.policy, asked) {
            Ok(candidates) => candidates,
            Err(refusal) => return vec![self.refuse(&refusal)],
        };
        let budget = plan::budget(&self.policy, &decision.choice, request.stream);
        let Ordered {
            targets,
            standings,
            cooling,
            probe,
        } = self.by_health(targets, budget.attempt, worker, host);
        let skipped = [skipped, cooling].concat();
        let client = &admitted.headers;
        let mut decided = report::of_decision(decision, classified_in);
        decided.extend(report::of_skipped(&skipped));
        let plan = plan::plan(
            &self.policy,
            plan::Planned {
                choice: &decision.choice,
                targets: &targets,
                degraded: degraded.as_ref(),
                standings: &standings,
                request,
                body_len: *body_len,
                client: self.client,
                headers: client,
                told: &decided,
            },
        );
        let budget = budget.total;
        let canned = Canned::of(&self.policy, &decision.choice, request, self.client);
        let first = plan.targets.first();
        let first = first.map_or(&b""[..], |target| target.cluster.as_bytes());
        let reserved = admit::reserved(client).into_iter();
        let mut actions: Vec<Action> = reserved.map(Action::RemoveRequestHeader).collect();
        actions.extend([
            Action::SetRequestHeader(
                "x-envoy-max-retries",
                targets.len().saturating_sub(1).to_string(),
            ),
            Action::SetRequestHeader(
                "x-envoy-upstream-rq-per-try-timeout-ms",
                plan.attempt_timeout_ms.to_string(),
            ),
            Action::SetState(state::PLAN, plan.encode()),
            Action::SetState(state::CLUSTER, first.to_vec()),
            Action::ClearRouteCache,
            Action::AnswerWithin(budget),
        ]);
        if self.policy.log_reason {
            let reason = names::clean(&decision.reason).into_bytes();
            actions.push(Action::SetState(state::REASON, reason));
        }
        let tags = [("tier", plan.tier), ("source", decision.source.as_str())];
        actions.push(Action::Count(
            metric_name("pointsman_requests_total", &tags),
            1,
        ));
        actions.extend(probe.map(|(target, why)| {
            let provider = &target.provider.name;
            learn::transition(provider, &target.model, "half_open", why.as_str())
        }));
        actions.push(Action::Continue);
        let report = self.report.get_or_insert_default();
        report.targets = targets
            .iter()
            .map(|t| Planned {
                provider: Arc::clone(&t.provider.name),
                model: Arc::clone(&t.model),
                api: t.provider.api,
            })
            .collect();
        report.decided = decided;
        self.state = State::HandedOver(Handed {
            stream: request.stream,
            budget,
            canned,
        });
        actions
    }

    /// The candidates in the order of their health. A healthy fleet costs one read of nothing.
    fn by_health<'p>(
        &self,
        targets: Vec<&'p Target>,
        timeout: Duration,
        worker: &mut Worker,
        host: &dyn Host,
    ) -> Ordered<'p> {
        let rules = plan::rules(&self.policy, self.client);
        let budget = &mut worker.health.budget;
        budget.earn(rules.retry_budget);
        let known = rules
            .cooldown
            .map(|cooldown| (cooldown, shared::read(host)));
        let Some((cooldown, mut table)) = known.filter(|(_, table)| !table.is_empty()) else {
            return Ordered::healthy(targets);
        };
        let time = host.now();
        let now = millis(time);
        if table.is_stale(now, &cooldown) {
            table.forget(now, &cooldown);
            shared::forget(host, now, &cooldown);
        }
        standing::order(targets, &table, now, &cooldown, |key| {
            if !budget.spend(rules.retry_budget, time) {
                return false;
            }
            let is_ours = shared::claim(host, key, timeout, now, &cooldown);
            if !is_ours {
                budget.refund();
            }
            is_ours
        })
    }
}
