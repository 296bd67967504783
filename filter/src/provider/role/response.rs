//! The provider role's second half: an attempt's answer is judged, adapted, released or refused, and written down.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use super::{NO_HOST_HEADER, ProviderAttempt, State, TIMER_SLACK, Warned};
use crate::http::{Action, HeaderLine, Headers};
use crate::provider::adapt::{self, Step, Whole, Wire};
use crate::provider::error;
use crate::provider::headers::is_removed_from_response;
use crate::provider::judge::{Outcome, is_event_stream};
use crate::router::handover;
use crate::router::plan::{Plan, PlannedTarget};
use crate::telemetry::headers as names;
use crate::telemetry::metrics::metric_name;
use crate::telemetry::report;
use crate::telemetry::state::{self, Attempts};
use crate::telemetry::tokens::Tokens;

/// The status of an answer that turned out to be none; Envoy retries it.
const BAD_ANSWER: &str = "502";

/// Whom this attempt asks, and what it will report.
#[derive(Debug)]
pub(super) struct Serving {
    provider: String,
    model: String,
    /// For the metrics.
    tier: String,
    pub(super) wire: Wire,
    hold_answer: usize,
    /// No target comes after this attempt's.
    is_last: bool,
    timeout: Duration,
    started: Duration,
    pub(super) handed_over: Vec<u8>,
    /// This attempt included; its outcome is not, until it is reported.
    attempts: Attempts,
    /// What the client is told of the decision, and of what the provider was not.
    pub(super) told: Vec<HeaderLine>,
    /// The answer's headers as they came.
    answer: Headers,
    pub(super) is_reported: bool,
    pub(super) tokens: Tokens,
    is_broken_counted: bool,
}

/// What the answer's headers say of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// As the provider wrote it.
    AsItCame,
    /// Written anew: so many bytes of JSON.
    Json(usize),
    /// Written anew, event by event.
    Events,
}

// === impl ProviderAttempt ===

impl ProviderAttempt {
    fn log_tokens(&mut self) -> Vec<Action> {
        let serving = self.serving.as_mut();
        serving.map(|s| s.tokens.log()).unwrap_or_default()
    }

    pub(super) fn on_response_headers(
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
            return self.on_error(status, end_of_stream, warned);
        }
        if end_of_stream {
            return self.reject(Outcome::Empty);
        }
        // What is compressed against our asking cannot be judged. What need not be read is passed as it is.
        let is_compressed = headers
            .get("content-encoding")
            .is_some_and(|e| !e.eq_ignore_ascii_case(b"identity"));
        if is_compressed && serving.wire.passes() {
            return self.release(Outcome::Status(status), Body::AsItCame);
        }
        if is_compressed {
            let message = format!(
                "provider {} compressed its answer against our asking (accept-encoding: identity): it cannot be translated; turn the compression off, or have Envoy's decompressor run before this filter",
                serving.provider
            );
            let mut actions: Vec<Action> = warned
                .once(log::Level::Error, message)
                .into_iter()
                .collect();
            actions.extend(self.reject(Outcome::BadEvent));
            return actions;
        }
        let is_stream = headers.get("content-type").is_some_and(is_event_stream);
        self.state = if serving.wire.is_stream() && is_stream {
            let stream = serving.wire.stream(serving.started.as_secs());
            State::JudgingStream(Box::new(stream), 0)
        } else {
            State::HoldingAnswer
        };
        vec![Action::Pause]
    }

    fn on_error(&mut self, status: u16, end_of_stream: bool, warned: &mut Warned) -> Vec<Action> {
        let Some(serving) = &self.serving else {
            return vec![Action::Continue];
        };
        let headers = &serving.answer;
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
            self.state = State::HoldingError {
                outcome,
                is_read: status == 400 && error::hides_faults(serving.wire.api()),
            };
            actions.push(Action::Pause);
            return actions;
        }
        actions.extend(self.release(outcome, Body::AsItCame));
        actions
    }

    pub(super) fn on_response_body(
        &mut self,
        bytes: &[u8],
        buffered: usize,
        end_of_stream: bool,
    ) -> Vec<Action> {
        match std::mem::take(&mut self.state) {
            State::JudgingStream(mut stream, _) => {
                let step = stream.hold(bytes, end_of_stream);
                if let Some(serving) = &mut self.serving {
                    serving.tokens.usage = stream.usage();
                }
                match step {
                    Step::Hold => {
                        self.state = State::JudgingStream(stream, buffered);
                        let mut actions = self.log_tokens();
                        actions.push(Action::Pause);
                        actions
                    }
                    Step::Release => self.release_stream(stream, end_of_stream),
                    Step::Bad(outcome) => self.reject(outcome),
                }
            }
            State::HoldingAnswer if end_of_stream => self.on_whole_answer(bytes),
            State::HoldingAnswer => {
                let serving = self.serving.as_ref();
                if serving.is_none_or(|s| buffered <= s.hold_answer) {
                    self.state = State::HoldingAnswer;
                    return vec![Action::Pause];
                }
                match serving.is_some_and(|s| s.wire.passes()) {
                    true => self.release(Outcome::Status(200), Body::AsItCame),
                    false => self.reject(Outcome::BadEvent),
                }
            }
            State::HoldingError { outcome, is_read }
                if !end_of_stream && buffered <= error::MAX_ERROR_BODY =>
            {
                self.state = State::HoldingError { outcome, is_read };
                vec![Action::Pause]
            }
            State::HoldingError { outcome, is_read } => {
                let api = self.serving.as_ref().map(|s| s.wire.api());
                let fault = api
                    .filter(|_| is_read)
                    .and_then(|api| error::hidden_fault(api, bytes));
                let Some(status) = fault else {
                    return self.release(outcome, Body::AsItCame);
                };
                // A status that Envoy retries.
                let value = Cow::Owned(status.to_string());
                let mut actions = self.release(Outcome::Status(status), Body::AsItCame);
                actions.insert(0, Action::SetResponseHeader(":status", value));
                actions
            }
            other => {
                self.state = other;
                vec![Action::Continue]
            }
        }
    }

    fn on_whole_answer(&mut self, bytes: &[u8]) -> Vec<Action> {
        let Some(serving) = &mut self.serving else {
            return vec![Action::Continue];
        };
        let created = serving.started.as_secs();
        match serving.wire.answer(bytes, created) {
            Err(outcome) => self.reject(outcome),
            Ok(Whole { body, usage }) => {
                serving.tokens.usage = usage;
                let form = body
                    .as_ref()
                    .map_or(Body::AsItCame, |body| Body::Json(body.len()));
                let mut actions: Vec<Action> =
                    body.map(Action::ReplaceResponseBody).into_iter().collect();
                actions.extend(self.log_tokens());
                actions.extend(self.spent());
                actions.extend(self.release(Outcome::Status(200), form));
                actions
            }
        }
    }

    fn release_stream(&mut self, mut stream: Box<adapt::Stream>, end: bool) -> Vec<Action> {
        let held = stream.release();
        let form = match self.serving.as_ref().is_some_and(|s| s.wire.passes()) {
            true => Body::AsItCame,
            false => Body::Events,
        };
        let mut actions: Vec<Action> = held.map(Action::ReplaceResponseBody).into_iter().collect();
        actions.extend(self.release(Outcome::Status(200), form));
        self.state = State::Streaming(stream);
        actions.extend(self.noted(end));
        actions
    }

    /// Let the answer go on to the client, or to Envoy's retry.
    fn release(&mut self, outcome: Outcome, body: Body) -> Vec<Action> {
        let mut actions = self.report(outcome);
        if let Some(serving) = &mut self.serving {
            match outcome {
                Outcome::Status(200..=299) => actions.push(serving.good_headers(body)),
                _ => actions.extend(serving.bad_headers()),
            }
        }
        actions.push(Action::Continue);
        actions
    }

    /// The answer is none: give it a status that Envoy retries.
    fn reject(&mut self, outcome: Outcome) -> Vec<Action> {
        let mut actions = self.report(outcome);
        if let Some(serving) = &mut self.serving {
            actions.extend(serving.bad_headers());
        }
        actions.push(Action::SetResponseHeader(":status", BAD_ANSWER.into()));
        actions.push(Action::Continue);
        actions
    }

    pub(super) fn on_done(&mut self, connect_failed: bool, now: Duration) -> Vec<Action> {
        let Some(serving) = self.serving.as_ref().filter(|s| !s.is_reported) else {
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
            actions.extend(serving.point_on());
            actions.extend(match serving.is_last {
                true => serving.tokens.log(),
                false => serving.tokens.unlog(),
            });
        }
        let outcome = outcome.to_string();
        let tags = [
            ("provider", serving.provider.as_str()),
            ("model", serving.model.as_str()),
            ("outcome", outcome.as_str()),
        ];
        let name = metric_name("pointsman_attempts_total", &tags);
        actions.push(Action::Count(name, 1));
        actions
    }
}

// === impl Serving ===

impl Serving {
    pub(super) fn new(
        plan: &Plan<'_>,
        target: &PlannedTarget<'_>,
        attempts: Attempts,
        started: Duration,
    ) -> Self {
        Serving {
            provider: target.provider.to_owned(),
            model: target.model.to_owned(),
            tier: plan.tier.to_owned(),
            wire: Wire::new(plan, target),
            hold_answer: plan.hold_answer,
            is_last: attempts.begun >= plan.targets.len(),
            timeout: Duration::from_millis(plan.attempt_timeout_ms),
            started,
            handed_over: Vec::new(),
            attempts,
            told: Vec::new(),
            answer: Headers::default(),
            is_reported: false,
            tokens: Tokens::default(),
            is_broken_counted: false,
        }
    }

    /// Where a retry goes, and how the attempts went so far. Envoy asks for it after this attempt has reported its end: `on_done`
    /// comes before its retry timer.
    fn point_on(&mut self) -> Vec<Action> {
        let mut handed_over = std::mem::take(&mut self.handed_over);
        let Some((plan, _)) = Plan::decode(&handed_over) else {
            return Vec::new();
        };
        let next = next_target(&plan, self.attempts.target);
        let cluster = plan.targets.get(next).map(|target| target.cluster);
        let cluster = cluster.unwrap_or_default().as_bytes().to_vec();
        self.attempts.next = next;
        handover::set_attempts(&mut handed_over, &self.attempts);
        vec![
            Action::SetState(state::PLAN, handed_over),
            Action::SetState(state::CLUSTER, cluster),
        ]
    }

    /// The client is told what the provider was not.
    pub(super) fn drop_parameters(&mut self, dropped: &[&'static str]) {
        if !dropped.is_empty() {
            let value = names::clean(&dropped.join(", ")).into_bytes();
            let line = (Cow::Borrowed(names::ROUTING_DROPPED), Cow::Owned(value));
            self.told.push(line);
        }
    }

    /// The headers of an answer that goes to the client: without what is not the provider's to say, and with what the client
    /// is told.
    fn good_headers(&mut self, body: Body) -> Action {
        let (content_type, length) = match body {
            Body::AsItCame => (None, None),
            Body::Json(length) => (Some("application/json"), Some(length.to_string())),
            Body::Events => (Some("text/event-stream; charset=utf-8"), None),
        };
        let is_ours = |name: &str| {
            content_type.is_some() && matches!(name, "content-type" | "content-length")
        };
        let answer = std::mem::take(&mut self.answer).0.into_iter();
        let kept = answer.filter(|(name, _)| !is_removed_from_response(name) && !is_ours(name));
        let mut headers: Vec<HeaderLine> = kept.map(|(n, v)| (n, Cow::Owned(v))).collect();
        if let Some(content_type) = content_type {
            let value = Cow::Borrowed(content_type.as_bytes());
            headers.push((Cow::Borrowed("content-type"), value));
        }
        if let Some(length) = length {
            let value = Cow::Owned(length.into_bytes());
            headers.push((Cow::Borrowed("content-length"), value));
        }
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
        Action::SetResponseHeaders(headers)
    }

    /// Of the headers of an answer that Envoy, or the router role, is to deal with: what is not the provider's to say.
    fn bad_headers(&mut self) -> impl Iterator<Item = Action> {
        let answer = std::mem::take(&mut self.answer).0.into_iter();
        let removed = answer.filter(|(name, _)| is_removed_from_response(name));
        removed.map(|(name, _)| Action::RemoveResponseHeader(name))
    }

    /// A stream of this attempt broke after it was released; once.
    pub(super) fn count_broken(&mut self, how: &str) -> Option<Action> {
        if std::mem::replace(&mut self.is_broken_counted, true) {
            return None;
        }
        let tags = [
            ("provider", self.provider.as_str()),
            ("model", self.model.as_str()),
            ("how", how),
        ];
        let name = metric_name("pointsman_streams_broken_total", &tags);
        Some(Action::Count(name, 1))
    }

    pub(super) fn count_tokens(&mut self) -> Vec<Action> {
        let tags = [
            ("provider", self.provider.as_str()),
            ("model", self.model.as_str()),
            ("tier", self.tier.as_str()),
        ];
        self.tokens.count(tags)
    }
}

/// The target after this one, by its index; after the last the last again, should Envoy retry more often than planned.
fn next_target(plan: &Plan<'_>, target: usize) -> usize {
    let last = plan.targets.len().saturating_sub(1);
    target.saturating_add(1).min(last)
}
