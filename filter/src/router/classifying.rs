//! The LLM classifier's step, per worker: the cache before it, the breaker around it, the callout, its answer.
//!
//! Pure: the clock is passed in, the callout is an action. Whatever goes wrong is a decision for the default tier,
//! and is not cached.

use std::time::Duration;

use super::cache::{Cached, Key};
use super::decide::{self, Access, Decision, Source};
use crate::chat::content::split_at_char;
use crate::classify::breaker::Permit;
use crate::classify::prompt::{self, Bucket, Question};
use crate::classify::reply;
use crate::http::{Callout, CalloutEnd};
use crate::policy::{LlmClassifier, Policy};
use crate::telemetry::headers;
use crate::worker::Worker;

// Envoy answers by these bodies for a classifier that does not.
const TIMED_OUT: &[u8] = b"upstream request timeout";
const UNREACHABLE: &[u8] = b"upstream connect error or disconnect/reset before headers";

/// By the clock that the filter reads, Envoy's timer may run early: by 3 ms, seen on an idle worker.
const EARLY: Duration = Duration::from_millis(20);

const FAILED: &str = "classifier connection failed";

/// A callout under way.
#[derive(Debug)]
pub struct Asking {
    key: Key,
    permit: Permit,
    started: Duration,
}

/// What comes of asking.
#[derive(Debug)]
pub enum Begun {
    /// From the cache.
    Decided(Decision),
    /// It is not asked: why.
    Skipped(&'static str),
    Ask(Asking, Callout),
}

/// What became of a classifier, for the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Hit,
    Answered,
    Failed,
    Skipped,
    /// The local model leaves it to the next step.
    Unsure,
}

impl Asked {
    pub fn as_str(self) -> &'static str {
        match self {
            Asked::Hit => "hit",
            Asked::Answered => "answered",
            Asked::Failed => "failed",
            Asked::Skipped => "skipped",
            Asked::Unsure => "unsure",
        }
    }
}

/// Begin: answered from the cache, skipped, or by a callout. `now` is any clock that goes forward.
pub fn begin(
    policy: &Policy,
    llm: &LlmClassifier,
    asked: &decide::Asked<'_>,
    worker: &mut Worker,
    now: Duration,
) -> Begun {
    let access = Access::of(policy, asked.caller);
    let offered: Vec<(&str, &str)> = access
        .tiers()
        .map(|t| (&*t.name.0, t.description.as_str()))
        .collect();
    let talk = &asked.request.conversation;
    let question = Question {
        tiers: &offered,
        // Another step may read more.
        system: split_at_char(&talk.system, llm.max_system_chars).0,
        user: split_at_char(&talk.user, llm.max_user_chars).0,
        bucket: Bucket::of(talk.messages_to_user),
        requested_model: &asked.request.model,
    };
    let key = Key {
        policy: policy.fingerprint,
        caller: if policy.cache.share_between_callers {
            String::new()
        } else {
            asked.caller.to_owned()
        },
        offered: offered
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(","),
        question: prompt::user_content(&question),
    };
    worker
        .cache
        .resize(policy.cache.max_bytes, policy.cache.ttl);
    // A tool's result goes on with a decided turn, however long the tool took.
    if let Some(hit) = worker.cache.get(&key, now, talk.ends_in_tool_result) {
        let decision = Decision::tier(&hit.tier, Source::Cache, hit.reason.as_str());
        return Begun::Decided(decision);
    }
    if worker.in_flight >= llm.max_in_flight {
        return Begun::Skipped("too many classifier calls are under way");
    }
    let permit = worker.breaker.permit(now);
    if permit == Permit::Skip {
        return Begun::Skipped("classifier is skipped after failures in a row");
    }
    worker.in_flight = worker.in_flight.saturating_add(1);
    let callout = Callout {
        cluster: llm.cluster.clone(),
        host: llm.host.clone(),
        path: llm.path.clone(),
        body: prompt::request_body(llm, &question),
        timeout: llm.timeout,
    };
    Begun::Ask(
        Asking {
            key,
            permit,
            started: now,
        },
        callout,
    )
}

impl Asking {
    /// The callout ended. An error is the reason why it decided nothing; reasons of failures are ours and quote nothing.
    pub fn end(
        self,
        policy: &Policy,
        caller: &str,
        end: CalloutEnd<'_>,
        worker: &mut Worker,
        now: Duration,
    ) -> (Result<Decision, String>, Duration) {
        worker.in_flight = worker.in_flight.saturating_sub(1);
        let took = now.saturating_sub(self.started);
        let access = Access::of(policy, caller);
        let offered: Vec<&str> = access.tiers().map(|t| &*t.name.0).collect();
        let timeout = policy.llm().map_or(Duration::ZERO, |llm| llm.timeout);
        let answer = judge(end, &offered, took, timeout).and_then(|verdict| {
            let tier = policy.tier(&verdict.tier);
            let tier = tier.ok_or_else(|| "classifier answered an unknown tier".to_owned())?;
            Ok((&tier.name, explain(&verdict)))
        });
        let decision = match answer {
            Ok((tier, reason)) => {
                worker.breaker.success(self.permit);
                let cached = Cached {
                    tier: tier.clone(),
                    reason: reason.clone(),
                };
                worker.cache.put(self.key, cached, now);
                Ok(Decision::tier(tier, Source::Llm, reason))
            }
            Err(reason) => {
                worker.breaker.failure(self.permit, now);
                Err(reason)
            }
        };
        (decision, took)
    }

    /// The client left before the classifier answered.
    pub fn abandon(self, worker: &mut Worker) {
        worker.in_flight = worker.in_flight.saturating_sub(1);
        worker.breaker.abandoned(self.permit);
    }
}

/// The classifier's own words, fit for a header.
fn explain(verdict: &reply::Verdict) -> String {
    let reason = verdict.reason.as_deref().unwrap_or("no reason given");
    match &verdict.complexity {
        Some(complexity) => headers::clean(&format!("{complexity} complexity: {reason}")),
        None => headers::clean(reason),
    }
}

fn judge(
    end: CalloutEnd<'_>,
    offered: &[&str],
    took: Duration,
    timeout: Duration,
) -> Result<reply::Verdict, String> {
    match end {
        CalloutEnd::NotSent => Err("classifier has no healthy host, or no cluster".to_owned()),
        // Its answer began, and the time was up before it was whole.
        CalloutEnd::Reset if took.saturating_add(EARLY) >= timeout => Err(timed_out(timeout)),
        CalloutEnd::Reset => Err(FAILED.to_owned()),
        CalloutEnd::Answered { status: 504, body } if body == TIMED_OUT => Err(timed_out(timeout)),
        CalloutEnd::Answered {
            status: 502 | 503,
            body,
        } if body.starts_with(UNREACHABLE) => Err(FAILED.to_owned()),
        CalloutEnd::Answered { status, .. } if !(200..300).contains(&status) => {
            Err(format!("classifier answered status {status}"))
        }
        CalloutEnd::Answered { body, .. } => {
            reply::parse(body, offered).map_err(|failure| failure.to_string())
        }
    }
}

fn timed_out(timeout: Duration) -> String {
    format!("classifier timed out after {} ms", timeout.as_millis())
}
