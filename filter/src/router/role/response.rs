//! The router role's second half: an answer is let through, or an error is made of it that no SDK answers by asking again.

use super::{Router, State};
use crate::chat::error::ErrorReply;
use crate::http::{Action, Headers, Host, Reply};
use crate::messages;
use crate::policy::Api;
use crate::provider::error::{MAX_ERROR_BODY, is_read, last_error, moves_on};
use crate::provider::headers::is_removed_from_response;
use crate::router::deadline;
use crate::router::degrade::Canned;
use crate::telemetry::report::{Report, Told};
use crate::telemetry::state::Attempts;

/// Whether an SDK may send the request again by itself, whatever the status.
const SHOULD_RETRY: &str = "x-should-retry";

#[derive(Debug)]
pub(super) struct Failing {
    status: u16,
    headers: Vec<(String, String)>,
    attempts: Attempts,
    /// A provider's, whose words are weighed; else Envoy's own.
    is_from_provider: bool,
    /// Every target was tried.
    is_over: bool,
    /// The client gets this instead.
    canned: Option<Canned>,
}

// === impl Router ===

impl Router {
    pub(super) fn on_response_headers(
        &mut self,
        headers: &Headers,
        attempts: Attempts,
        (is_from_provider, end_of_stream): (bool, bool),
        host: &dyn Host,
    ) -> Vec<Action> {
        let Some(report) = &self.report else {
            return vec![Action::Continue];
        };
        let is_handed_over = matches!(self.state, State::HandedOver(_));
        if is_handed_over && is_from_provider && attempts.begun == 0 {
            return self.unadapted();
        }
        let status = headers.status();
        let failed = is_handed_over && status >= 300 && is_from_provider;
        // Envoy's own words, when it was through with the targets.
        let is_given_up = is_handed_over
            && !is_from_provider
            && (matches!(status, 503 | 504) || (status >= 500 && attempts.begun > 0));
        // They are OpenAI's (`local_reply_config`): for a client of Messages they are put into its form.
        let is_foreign = !is_from_provider && status >= 400 && self.client.is_messages();
        let would_move_on = match is_from_provider {
            true => moves_on(status),
            false => matches!(status, 502..=504) && attempts.begun > 0,
        };
        let canned = match std::mem::replace(&mut self.state, State::Passing) {
            State::HandedOver(handed) => handed.canned.filter(|_| would_move_on),
            _ => None,
        };
        if !failed && !is_foreign && canned.is_none() {
            return enrich(report, headers, &attempts, is_given_up);
        }
        let kept = headers
            .0
            .iter()
            .filter(|(name, _)| is_kept_on_failure(name))
            .filter_map(|(name, value)| {
                Some((name.to_string(), String::from_utf8(value.clone()).ok()?))
            })
            .collect();
        let failing = Failing {
            status,
            headers: kept,
            attempts,
            is_from_provider,
            is_over: failed || is_given_up,
            canned,
        };
        let is_heard = is_read(headers) && failing.canned.is_none();
        if end_of_stream || (is_from_provider && !is_heard) {
            return self.fail(b"", failing, host);
        }
        self.state = State::Failing(failing);
        vec![Action::Pause]
    }

    pub(super) fn on_response_body(
        &mut self,
        body: &[u8],
        end_of_stream: bool,
        host: &dyn Host,
    ) -> Vec<Action> {
        if !self.reads_response_body() {
            return vec![Action::Continue];
        }
        let is_too_large = body.len() > MAX_ERROR_BODY;
        if !end_of_stream && !is_too_large {
            return vec![Action::Pause];
        }
        let State::Failing(failing) = self.take_state() else {
            return vec![Action::Continue];
        };
        let read = if is_too_large { b"" } else { body };
        self.fail(read, failing, host)
    }

    /// There is no time left: nobody is waited for any more.
    pub(super) fn on_out_of_time(
        &mut self,
        mut attempts: Attempts,
        is_under_way: bool,
        host: &dyn Host,
    ) -> Vec<Action> {
        let handed = match self.take_state() {
            State::HandedOver(handed) => handed,
            other => {
                self.state = other;
                return Vec::new();
            }
        };
        // What it says goes out with this reply, which passes this role once more.
        let report = self.report.take().unwrap_or_default();
        if is_under_way {
            deadline::time_out(&mut attempts, &report.targets);
        }
        if let Some(canned) = handed.canned {
            return canned.reply(owned(report.unserved(&attempts)), host);
        }
        let error = deadline::error(handed.stream, handed.budget);
        let mut reply = messages::error::reply(self.client, &error);
        reply.headers.extend(owned(report.headers(&attempts)));
        reply.headers.push(no_retry());
        vec![Action::Reply(reply)]
    }

    /// A provider was sent the client's request as it came: whatever it answered is not given out, so that nobody
    /// takes this for service.
    fn unadapted(&mut self) -> Vec<Action> {
        self.state = State::Passing;
        let report = self.report.get_or_insert_default();
        let provider = report.targets.first().map_or("?", |t| &t.provider);
        let message = format!(
            "the provider role did not run for provider {provider:?}: its cluster needs this filter, with root_id provider, in its upstream http_filters (HttpProtocolOptions) before upstream_codec"
        );
        vec![
            Action::Log(log::Level::Error, message.clone()),
            self.refuse(&ErrorReply::misconfigured(message)),
        ]
    }

    /// The answer when every attempt failed, in the client's form.
    fn fail(&mut self, body: &[u8], failing: Failing, host: &dyn Host) -> Vec<Action> {
        self.state = State::Passing;
        let Failing {
            status,
            headers: mut kept,
            attempts,
            is_from_provider,
            is_over,
            canned,
        } = failing;
        let report = self.report.take().unwrap_or_default();
        if let Some(canned) = canned {
            return canned.reply(owned(report.unserved(&attempts)), host);
        }
        let (status, body) = match is_from_provider {
            true => {
                let asked = report.served_by(&attempts);
                let asked = asked.map_or(("", "", Api::OpenAi), |target| {
                    (&*target.provider, &*target.model, target.api)
                });
                last_error(asked, &attempts, Some((status, body)))
            }
            false => (status, body.to_vec()),
        };
        let body = messages::error::in_form(self.client, status, body);
        kept.extend(owned(report.headers(&attempts)));
        if is_over {
            kept.push(no_retry());
        }
        vec![Action::Reply(Reply::json(status, kept, body))]
    }
}

fn owned(told: Vec<Told>) -> Vec<(String, String)> {
    let own = |(name, value): Told| (name.to_owned(), value.into_owned());
    told.into_iter().map(own).collect()
}

/// The official SDKs obey it: without it they would ask again, and every target would be tried again for each time.
fn no_retry() -> (String, String) {
    (SHOULD_RETRY.to_owned(), "false".to_owned())
}

/// Let an answer that the provider role did not finish go to the client: with what it is told, and without what only the
/// gateway may say. `is_over`: every target was tried.
fn enrich(report: &Report, headers: &Headers, attempts: &Attempts, is_over: bool) -> Vec<Action> {
    let names = headers.0.iter().map(|(name, _)| name);
    let removed = names.filter(|name| is_removed_from_response(name));
    let mut actions: Vec<Action> = removed
        .map(|name| Action::RemoveResponseHeader(name.clone()))
        .collect();
    let told = report.headers(attempts).into_iter();
    actions.extend(told.map(|(name, value)| Action::SetResponseHeader(name, value)));
    if is_over {
        actions.push(Action::SetResponseHeader(SHOULD_RETRY, "false".into()));
    }
    actions.push(Action::Continue);
    actions
}

/// What of a failed answer's headers is the client's business.
fn is_kept_on_failure(name: &str) -> bool {
    matches!(
        name,
        "retry-after" | "retry-after-ms" | "x-request-id" | "request-id"
    ) || name.starts_with("x-ratelimit-")
}
