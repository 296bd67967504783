//! The provider role's state machine: events of one attempt in, actions out.
//!
//! Pure. Each attempt sets everything that it owns, absolutely: what an earlier attempt wrote is still there.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use super::adapt::{self, Adapted, Unadaptable};
use super::headers::{AttemptHeaders, request_headers};
use super::judge::Outcome;
use super::passing::StreamEnd;
use crate::chat::error::ErrorReply;
use crate::http::{Action, HeaderLine, Headers, Host};
use crate::messages;
use crate::router::plan::{Plan, PlannedTarget};
use crate::telemetry::headers as names;
use crate::telemetry::state::{self, Attempts};
use crate::worker::Worker;

mod released;
mod response;
mod settled;

pub use released::is_providers_fault;
use response::Serving;

/// Set by the `unavailable` sink, which stands in for a provider without a host.
pub const NO_HOST_HEADER: &str = "x-pointsman-no-host";

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
    /// The router role had no time left for this attempt, and has answered: it is over.
    OutOfTime,
    /// It is over because the client went away.
    Left,
    /// The attempt is over.
    Done {
        /// It never had a connection.
        connect_failed: bool,
        /// The provider's connection broke: see [`ProviderAttempt::is_open_ended`].
        has_broken: bool,
    },
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
    /// A stream without a real event yet; so many bytes of it were seen.
    JudgingStream(Box<adapt::Stream>, usize),
    /// A stream that was released.
    Streaming(Box<adapt::Stream>),
    HoldingAnswer,
    /// An error that goes to the client, or whose body may tell what it is, and what it will be reported as.
    HoldingError {
        outcome: Outcome,
        reads: Reads,
    },
}

/// What the body of an error is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    /// It may tell that it is the gateway's fault.
    Fault,
    /// It may tell a quota that is used up from a rate limit.
    Limits,
}

#[derive(Debug)]
struct Sending {
    /// Complete but for `content-length`.
    headers: Vec<HeaderLine>,
    body_len: usize,
    model_span: Range<usize>,
}

impl ProviderAttempt {
    pub fn reads_request_body(&self) -> bool {
        matches!(self.state, State::Sending(_))
    }

    pub fn awaits_response(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Whether there is nothing more to say of how this attempt ended.
    pub fn is_reported(&self) -> bool {
        self.serving.as_ref().is_none_or(|s| s.is_reported)
    }

    /// The part of the `buffered` response bytes that is to be shown, `None` if this role is through with them.
    pub fn wanted(&self, buffered: usize, end_of_stream: bool) -> Option<Range<usize>> {
        match &self.state {
            State::JudgingStream(_, seen) => Some(*seen..buffered),
            State::HoldingAnswer if end_of_stream => Some(0..buffered),
            State::HoldingError {
                reads: Reads::Fault | Reads::Limits,
                ..
            } if end_of_stream => Some(0..buffered),
            State::HoldingAnswer | State::HoldingError { .. } => Some(0..0),
            _ => None,
        }
    }

    /// Advance.
    pub fn on(&mut self, event: Event<'_>, worker: &mut Worker, host: &dyn Host) -> Vec<Action> {
        let warned = &mut worker.warned;
        let mut actions = match event {
            Event::RequestHeaders {
                headers,
                handed_over,
                retried_at,
                end_of_stream,
            } => match handed_over {
                Some(handed) => {
                    let mut actions =
                        self.on_request(headers, handed, retried_at, warned, host.now());
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
            Event::OutOfTime => {
                let actions = self.report(Outcome::Timeout);
                self.blame_nobody();
                actions
            }
            Event::Done {
                connect_failed,
                has_broken,
            } => {
                let mut actions = self.on_done(connect_failed, host.now());
                actions.extend(self.spent());
                let is_reset = has_broken && self.is_open_ended();
                if is_reset {
                    actions.extend(self.broken("reset"));
                }
                if is_reset || self.ended().is_some_and(|end| end != StreamEnd::Complete) {
                    actions.extend(self.broke_off(worker, host));
                }
                actions
            }
            Event::Left => {
                let mut actions = self.report(Outcome::ClientLeft);
                actions.extend(self.spent());
                actions
            }
        };
        if let Some(ended) = self.take_ended() {
            // Before what lets the answer go on.
            let said = self.settle(ended, worker, host);
            actions.splice(..0, said);
        }
        actions
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
        if attempts.begun > 0 && attempts.next >= plan.targets.len() {
            return self.end_chain(&plan, &attempts);
        }
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
        attempts.begun = attempts.begun.saturating_add(1);
        attempts.target = index;
        actions.push(Action::Pause);
        self.state = State::Sending(Sending {
            headers: attempt_headers(&headers, &plan, target),
            body_len: plan.body_len,
            model_span: plan.model_span.clone(),
        });
        let mut serving = Serving::new(&plan, target, attempts, now);
        serving.told = told(&plan);
        serving.handed_over = handed_over;
        self.serving = Some(serving);
        actions
    }

    fn on_request_body(&mut self, body: &[u8]) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, State::Waiting);
        let (State::Sending(mut sending), Some(serving)) = (state, &mut self.serving) else {
            self.state = State::Passing;
            return vec![Action::Continue];
        };
        // Another filter may have changed the body since the router role read it.
        let is_known = body.len() == sending.body_len;
        let model_span = is_known.then_some(sending.model_span);
        match serving.wire.request(body, model_span) {
            Ok(Adapted { body, dropped }) => {
                serving.drop_parameters(&dropped);
                let length = body.len().to_string().into_bytes();
                sending
                    .headers
                    .push(("content-length".into(), length.into()));
                vec![
                    Action::SetRequestHeaders(sending.headers),
                    Action::ReplaceRequestBody(body),
                    Action::Continue,
                ]
            }
            Err(Unadaptable::Refused(refusal)) => {
                let reply = messages::error::reply(serving.wire.client(), &refusal);
                // Nobody was asked.
                serving.is_reported = true;
                self.state = State::Passing;
                vec![Action::Reply(reply)]
            }
            Err(Unadaptable::Damaged) => {
                serving.is_reported = true;
                self.state = State::Passing;
                misconfigured("a filter between the two roles damaged the request body")
            }
        }
    }
}

/// A retry that did not go where it was planned to.
enum Retry<'a> {
    /// To the cluster of an earlier target, this one.
    Stayed(usize),
    /// To a cluster of no target.
    Lost(&'a str),
}

/// The target of a retry, by its index: the one that the attempt before named. Without
/// `refresh_cluster_on_retry` a retry comes back to the cluster of the attempt before, and so to its target.
fn retried<'a>(
    plan: &Plan<'_>,
    attempts: &Attempts,
    cluster: Option<&'a str>,
) -> Result<usize, Retry<'a>> {
    let last = plan.targets.len().saturating_sub(1);
    let planned = attempts.next.min(last);
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
mod tests;
