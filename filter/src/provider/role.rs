//! The provider role's state machine: events of one attempt in, actions out.
//!
//! Pure. Each attempt sets everything that it owns, absolutely: what an earlier attempt wrote is still there.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use super::headers::{AttemptHeaders, is_removed_from_response, request_headers};
use super::judge::{OneShot, Outcome, StreamJudge, Verdict, is_event_stream, judge_one_shot};
use super::{error, openai};
use crate::chat::error::ErrorReply;
use crate::http::{Action, Count, HeaderLine, Headers};
use crate::policy::Api;
use crate::router::handover;
use crate::router::plan::{Plan, PlannedTarget};
use crate::telemetry::headers as names;
use crate::telemetry::report;
use crate::telemetry::state::{self, Attempts};

/// Bytes of a stream that are held while nothing real has come.
const MAX_HELD_STREAM: usize = 256 * 1024;

/// Set by the `unavailable` sink, which stands in for a provider without a host.
pub const NO_HOST_HEADER: &str = "x-pointsman-no-host";

/// The status of an answer that turned out to be none; Envoy retries it.
const BAD_ANSWER: &str = "502";

/// Envoy's timers count from when its event loop last woke, and so end a little early by the clock.
const TIMER_SLACK: Duration = Duration::from_millis(50);

/// Warnings that a worker remembers having given.
const MAX_WARNED: usize = 1024;

const STAYED: &str = "a retry stayed at its cluster: failover across providers needs refresh_cluster_on_retry in the route's retry_policy (Envoy 1.39 or newer)";

/// What happens to an attempt, as the host tells it.
#[derive(Debug)]
pub enum Event<'a> {
    RequestHeaders {
        headers: Headers,
        /// Filter state [`state::PLAN`]. `None`: the router role did not see this request.
        handed_over: Option<Vec<u8>>,
        /// Envoy's name for where this attempt was sent. Of use on a retry only, and not free to ask for.
        retried_at: Option<&'a str>,
        end_of_stream: bool,
    },
    /// The whole body.
    RequestBody(&'a [u8]),
    /// All of them.
    ResponseHeaders {
        headers: Headers,
        end_of_stream: bool,
    },
    /// The bytes that [`ProviderAttempt::wanted`] asked for.
    ResponseBody {
        bytes: &'a [u8],
        /// Bytes held in all.
        buffered: usize,
        end_of_stream: bool,
    },
    /// The attempt is over. `connect_failed`: it never had a connection.
    Done { connect_failed: bool },
}

impl Event<'_> {
    /// Whether this event looks at the clock: reading it is not free.
    pub fn is_timed(&self) -> bool {
        matches!(self, Event::RequestHeaders { .. } | Event::Done { .. })
    }
}

/// What the attempts of one worker share: what was warned of already.
#[derive(Debug, Default)]
pub struct Warned(HashSet<String>);

impl Warned {
    /// The warning, if it was not given before.
    fn once(&mut self, level: log::Level, message: String) -> Option<Action> {
        if self.0.len() >= MAX_WARNED || !self.0.insert(message.clone()) {
            return None;
        }
        Some(Action::Log(level, message))
    }
}

/// One attempt.
#[derive(Debug, Default)]
pub struct ProviderAttempt {
    state: State,
    serving: Option<Serving>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    New,
    /// Not the router role's, or nothing is left to do.
    Passing,
    /// Headers are ready, the body is to come.
    Sending(Sending),
    Waiting,
    JudgingStream {
        judge: StreamJudge,
        seen: usize,
    },
    HoldingAnswer,
    /// An error that goes to the client, and what it will be reported as.
    HoldingError(Outcome),
}

#[derive(Debug)]
struct Sending {
    /// Complete but for `content-length`.
    headers: Vec<HeaderLine>,
    body_len: usize,
    model_span: Range<usize>,
    api: Api,
    sent_as: String,
}

/// Whom this attempt asks, and what it will report.
#[derive(Debug)]
struct Serving {
    provider: String,
    model: String,
    stream: bool,
    hold_answer: usize,
    /// No target comes after this attempt's.
    is_last: bool,
    timeout: Duration,
    started: Duration,
    handed_over: Vec<u8>,
    /// This attempt included; its outcome is not, until it is reported.
    attempts: Attempts,
    /// What the client is told of the decision.
    told: Vec<HeaderLine>,
    /// The answer's headers as they came.
    answer: Headers,
    is_reported: bool,
}

impl ProviderAttempt {
    pub fn reads_request_body(&self) -> bool {
        matches!(self.state, State::Sending(_))
    }

    pub fn awaits_response(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Whether there is nothing more to say of this attempt.
    pub fn is_reported(&self) -> bool {
        self.serving.as_ref().is_none_or(|s| s.is_reported)
    }

    /// The part of the `buffered` response bytes that is to be shown, `None` if this role is through with them.
    pub fn wanted(&self, buffered: usize, end_of_stream: bool) -> Option<Range<usize>> {
        match &self.state {
            State::JudgingStream { seen, .. } => Some(*seen..buffered),
            State::HoldingAnswer if end_of_stream => Some(0..buffered),
            State::HoldingAnswer | State::HoldingError(_) => Some(0..0),
            _ => None,
        }
    }

    /// Advance. `now` is any clock that goes forward; see [`Event::is_timed`].
    pub fn on(&mut self, event: Event<'_>, warned: &mut Warned, now: Duration) -> Vec<Action> {
        match event {
            Event::RequestHeaders {
                headers,
                handed_over,
                retried_at,
                end_of_stream,
            } => match handed_over {
                Some(handed) => {
                    let mut actions = self.on_request(headers, handed, retried_at, warned, now);
                    if end_of_stream && self.reads_request_body() {
                        actions.extend(self.on_request_body(b""));
                    }
                    actions
                }
                None => {
                    self.state = State::Passing;
                    vec![Action::Continue]
                }
            },
            Event::RequestBody(body) => self.on_request_body(body),
            Event::ResponseHeaders {
                headers,
                end_of_stream,
            } => self.on_response_headers(headers, end_of_stream, warned),
            Event::ResponseBody {
                bytes,
                buffered,
                end_of_stream,
            } => self.on_response_body(bytes, buffered, end_of_stream),
            Event::Done { connect_failed } => self.on_done(connect_failed, now),
        }
    }

    fn on_request(
        &mut self,
        headers: Headers,
        handed_over: Vec<u8>,
        retried_at: Option<&str>,
        warned: &mut Warned,
        now: Duration,
    ) -> Vec<Action> {
        self.state = State::Passing;
        let Some((plan, mut attempts)) = Plan::decode(&handed_over) else {
            return misconfigured("the router role and the provider role are not of one version");
        };
        let mut actions = Vec::new();
        let index = match attempts.begun {
            0 => 0,
            _ => match retried(&plan, &attempts, retried_at) {
                Ok(index) => index,
                Err(Retry::Stayed(index)) => {
                    actions.extend(warned.once(log::Level::Error, STAYED.to_owned()));
                    index
                }
                Err(Retry::Lost(cluster)) => {
                    return misconfigured(&format!(
                        "the route sent a retry to cluster {cluster}, which its plan does not name; map filter state wasm.{} in the route's cluster specifier",
                        state::CLUSTER
                    ));
                }
            },
        };
        let Some(target) = plan.targets.get(index) else {
            return misconfigured("the plan has no target");
        };
        let next = plan.targets.get(index.saturating_add(1)).unwrap_or(target);
        attempts.begun = attempts.begun.saturating_add(1);
        attempts.target = index;
        let next_cluster = next.cluster.as_bytes().to_vec();
        actions.push(Action::SetState(state::CLUSTER, next_cluster));
        actions.push(Action::Pause);
        self.state = State::Sending(Sending {
            headers: attempt_headers(&headers, &plan, target),
            body_len: plan.body_len,
            model_span: plan.model_span.clone(),
            api: target.api,
            sent_as: target.sent_as.to_string(),
        });
        self.serving = Some(Serving {
            provider: target.provider.to_string(),
            model: target.model.to_string(),
            stream: plan.stream,
            hold_answer: plan.hold_answer,
            is_last: attempts.begun >= plan.targets.len(),
            timeout: Duration::from_millis(plan.attempt_timeout_ms),
            started: now,
            attempts,
            told: told(&plan),
            answer: Headers::default(),
            is_reported: false,
            handed_over,
        });
        actions
    }

    fn on_request_body(&mut self, body: &[u8]) -> Vec<Action> {
        let State::Sending(mut sending) = std::mem::replace(&mut self.state, State::Waiting) else {
            self.state = State::Passing;
            return vec![Action::Continue];
        };
        // Another filter may have changed the body since the router role read it.
        let span = if body.len() == sending.body_len {
            Some(sending.model_span)
        } else {
            openai::find_model_span(body)
        };
        let rewritten = match sending.api {
            Api::OpenAi => {
                span.and_then(|span| openai::rewrite_model(body, span, &sending.sent_as))
            }
        };
        let Some(rewritten) = rewritten else {
            self.state = State::Passing;
            return misconfigured("a filter between the two roles damaged the request body");
        };
        let length = rewritten.len().to_string().into_bytes();
        sending
            .headers
            .push(("content-length".into(), length.into()));
        vec![
            Action::SetRequestHeaders(sending.headers),
            Action::ReplaceRequestBody(rewritten),
            Action::Continue,
        ]
    }

    // === response ===

    fn on_response_headers(
        &mut self,
        headers: Headers,
        end_of_stream: bool,
        warned: &mut Warned,
    ) -> Vec<Action> {
        let (State::Waiting, Some(serving)) = (&self.state, &mut self.serving) else {
            return vec![Action::Continue];
        };
        serving.answer = headers;
        let headers = &serving.answer;
        self.state = State::Passing;
        let status = headers.status();
        if !(200..300).contains(&status) {
            let outcome = match headers.get(NO_HOST_HEADER) {
                // The sink says nothing else; a provider that forges it lies about no one but itself.
                Some(_) if status == 503 => Outcome::ConnectFailure,
                _ => Outcome::Status(status),
            };
            // Not retried by Envoy, and no business of the client's: where a provider has moved to.
            if status < 400 {
                return self.reject(Outcome::Status(status));
            }
            let goes_to_client = serving.is_last || !error::moves_on(status);
            let mut actions = Vec::new();
            if matches!(status, 401..=404) {
                let provider = &serving.provider;
                let repair = error::repair(status);
                actions.extend(warned.once(
                    log::Level::Error,
                    format!(
                        "provider {provider} answered {status} for model {}: {repair}",
                        serving.model
                    ),
                ));
            }
            // The router role reads it whole. Held here, an error that stalls or breaks off still ends by the attempt's
            // timeout or its reset; released, it would hang.
            if goes_to_client && !end_of_stream && error::is_read(headers) {
                self.state = State::HoldingError(outcome);
                actions.push(Action::Pause);
                return actions;
            }
            actions.extend(self.release(outcome));
            return actions;
        }
        if end_of_stream {
            return self.reject(Outcome::Empty);
        }
        // What is compressed against our asking cannot be judged; it is passed as it is.
        if headers
            .get("content-encoding")
            .is_some_and(|e| !e.eq_ignore_ascii_case(b"identity"))
        {
            return self.release(Outcome::Status(status));
        }
        let is_stream = headers.get("content-type").is_some_and(is_event_stream);
        if serving.stream && is_stream {
            self.state = State::JudgingStream {
                judge: StreamJudge::new(MAX_HELD_STREAM),
                seen: 0,
            };
            return vec![Action::Pause];
        }
        self.state = State::HoldingAnswer;
        vec![Action::Pause]
    }

    fn on_response_body(
        &mut self,
        bytes: &[u8],
        buffered: usize,
        end_of_stream: bool,
    ) -> Vec<Action> {
        match &mut self.state {
            State::JudgingStream { judge, seen } => {
                *seen = buffered;
                let mut verdict = judge.push(bytes);
                if verdict == Verdict::Undecided && end_of_stream {
                    verdict = judge.finish();
                }
                match verdict {
                    Verdict::Undecided => vec![Action::Pause],
                    Verdict::Release => self.release(Outcome::Status(200)),
                    Verdict::Bad(outcome) => self.reject(outcome),
                }
            }
            State::HoldingAnswer if end_of_stream => match judge_one_shot(bytes) {
                OneShot::Good => self.release(Outcome::Status(200)),
                OneShot::Empty => self.reject(Outcome::Empty),
                OneShot::NotJson | OneShot::Error => self.reject(Outcome::BadEvent),
            },
            State::HoldingAnswer => {
                let held_enough = self
                    .serving
                    .as_ref()
                    .is_none_or(|s| buffered > s.hold_answer);
                if held_enough {
                    self.release(Outcome::Status(200))
                } else {
                    vec![Action::Pause]
                }
            }
            State::HoldingError(_) if !end_of_stream && buffered <= error::MAX_ERROR_BODY => {
                vec![Action::Pause]
            }
            State::HoldingError(outcome) => {
                let outcome = *outcome;
                self.release(outcome)
            }
            _ => vec![Action::Continue],
        }
    }

    /// Let the answer go on to the client, or to Envoy's retry.
    fn release(&mut self, outcome: Outcome) -> Vec<Action> {
        let mut actions = self.report(outcome);
        if let Some(serving) = &mut self.serving {
            let is_good = matches!(outcome, Outcome::Status(200..=299));
            actions.extend(serving.adapted_headers(is_good));
        }
        actions.push(Action::Continue);
        actions
    }

    /// The answer is none: give it a status that Envoy retries.
    fn reject(&mut self, outcome: Outcome) -> Vec<Action> {
        let mut actions = self.report(outcome);
        if let Some(serving) = &mut self.serving {
            actions.extend(serving.adapted_headers(false));
        }
        actions.push(Action::SetResponseHeader(":status", BAD_ANSWER.into()));
        actions.push(Action::Continue);
        actions
    }

    fn on_done(&mut self, connect_failed: bool, now: Duration) -> Vec<Action> {
        let Some(serving) = &self.serving else {
            return Vec::new();
        };
        let took = now.saturating_sub(serving.started);
        let outcome = if connect_failed {
            Outcome::ConnectFailure
        } else if took.saturating_add(took.min(TIMER_SLACK)) >= serving.timeout {
            Outcome::Timeout
        } else {
            Outcome::Reset
        };
        self.report(outcome)
    }

    /// Write down how the attempt ended, once. A good one is told to the client with its answer; of a failed one the next
    /// attempt, or the router role's error, must know.
    fn report(&mut self, outcome: Outcome) -> Vec<Action> {
        self.state = State::Passing;
        let Some(serving) = self.serving.as_mut().filter(|s| !s.is_reported) else {
            return Vec::new();
        };
        serving.is_reported = true;
        let outcomes = &mut serving.attempts.outcomes;
        if !outcomes.is_empty() {
            outcomes.push_str(", ");
        }
        // Writing to a String does not fail.
        let _ = write!(outcomes, "{}={outcome}", serving.provider);
        let mut actions = Vec::with_capacity(4);
        if !matches!(outcome, Outcome::Status(200..=299)) {
            let mut handed_over = std::mem::take(&mut serving.handed_over);
            handover::set_attempts(&mut handed_over, &serving.attempts);
            actions.push(Action::SetState(state::PLAN, handed_over));
        }
        actions.push(Action::Count(Count {
            metric: "pointsman_attempts_total",
            tags: vec![
                ("provider", serving.provider.clone().into()),
                ("model", serving.model.clone().into()),
                ("outcome", outcome.to_string().into()),
            ],
        }));
        actions
    }
}

// === impl Serving ===

impl Serving {
    /// The answer's headers without what is not the provider's to say, and, if it goes to the client as it is, with what the
    /// client is told.
    fn adapted_headers(&mut self, is_told: bool) -> Vec<Action> {
        let answer = std::mem::take(&mut self.answer).0.into_iter();
        if !is_told {
            let removed = answer.filter(|(name, _)| is_removed_from_response(name));
            return removed
                .map(|(name, _)| Action::RemoveResponseHeader(name))
                .collect();
        }
        let kept = answer.filter(|(name, _)| !is_removed_from_response(name));
        let mut headers: Vec<HeaderLine> = kept.map(|(n, v)| (n, Cow::Owned(v))).collect();
        let served_by = Some((self.provider.as_str(), self.model.as_str()));
        let attempts = report::of_attempts(served_by, &self.attempts.outcomes).into_iter();
        headers.extend(attempts.map(|(name, value)| {
            let value = match value {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            };
            (Cow::Borrowed(name), value)
        }));
        headers.append(&mut self.told);
        vec![Action::SetResponseHeaders(headers)]
    }
}

/// A retry that did not go where it was planned to.
enum Retry<'a> {
    /// To the cluster of an earlier target, this one.
    Stayed(usize),
    /// To a cluster of no target.
    Lost(&'a str),
}

/// The target of a retry, by its index: the one after the last, which past the end is the last again. Without
/// `refresh_cluster_on_retry` a retry comes back to the cluster of the attempt before, and so to its target.
fn retried<'a>(
    plan: &Plan<'_>,
    attempts: &Attempts,
    cluster: Option<&'a str>,
) -> Result<usize, Retry<'a>> {
    let last = plan.targets.len().saturating_sub(1);
    let planned = attempts.target.saturating_add(1).min(last);
    let Some(cluster) = cluster else {
        return Ok(planned);
    };
    let is_at = |target: &PlannedTarget<'_>| target.cluster == cluster;
    if plan.targets.get(planned).is_some_and(is_at) {
        return Ok(planned);
    }
    match plan.targets.iter().position(is_at) {
        Some(index) => Err(Retry::Stayed(index)),
        None => Err(Retry::Lost(cluster)),
    }
}

fn attempt_headers(
    current: &Headers,
    plan: &Plan<'_>,
    target: &PlannedTarget<'_>,
) -> Vec<HeaderLine> {
    request_headers(
        current,
        &AttemptHeaders {
            host: target.host,
            path: &target.path,
            stream: plan.stream,
            user_agent: plan.user_agent,
            added: &target.headers,
        },
    )
}

/// What the plan says of the decision, as lines of the answer.
fn told(plan: &Plan<'_>) -> Vec<HeaderLine> {
    let lines = plan.told.iter().filter_map(|(name, value)| {
        let name = names::RESPONSE.iter().find(|known| **known == *name)?;
        Some((Cow::Borrowed(*name), Cow::Owned(value.as_bytes().to_vec())))
    });
    lines.collect()
}

fn misconfigured(message: &str) -> Vec<Action> {
    vec![
        Action::Log(log::Level::Error, message.to_owned()),
        Action::Reply((&ErrorReply::misconfigured(message)).into()),
    ]
}

#[cfg(test)]
#[path = "role_tests.rs"]
mod tests;
