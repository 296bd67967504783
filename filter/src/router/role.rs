//! The router role's state machine: events of one request in, actions out.
//!
//! Pure. A request keeps the policy that it met first, whatever is loaded while it runs.

use std::sync::Arc;
use std::time::Duration;

use super::admit::{self, Admission};
use super::cascade::{Cascade, Next, Said};
use super::classifying::{Asked, Asking};
use super::decide::{self, Access, Decision, Source, Verdict};
use super::degrade::Canned;
use crate::chat::error::{self, ErrorReply};
use crate::chat::models;
use crate::chat::request::{self, ChatRequest, Dialect};
use crate::http::{Action, CalloutEnd, Headers, Host, Reply};
use crate::messages::{self, view};
use crate::policy::{AUTO, Policy, TierName};
use crate::telemetry::headers as names;
use crate::telemetry::metrics::metric_name;
use crate::telemetry::report::Report;
use crate::telemetry::state::{self, Attempts};
use crate::worker::Worker;

mod hand_over;
mod response;

use response::Failing;

/// Why a request to count tokens went to the default tier.
pub const COUNTED: &str = "tokens are counted without asking the classifier";

/// What happens to a request, as the host tells it.
#[derive(Debug)]
pub enum Event<'a> {
    RequestHeaders {
        headers: Headers,
        /// What `caller: {metadata: …}` names.
        caller_metadata: Option<Vec<u8>>,
        end_of_stream: bool,
    },
    /// More of the body is there; `buffered` bytes in all.
    RequestBodyGrew {
        buffered: usize,
    },
    RequestBody(&'a [u8]),
    Callout(CalloutEnd<'a>),
    ResponseHeaders {
        /// Those of an answer that [`Router::is_told`] does not know.
        headers: Headers,
        /// As they are in filter state [`state::PLAN`].
        attempts: Attempts,
        /// A provider made this answer, not Envoy.
        is_from_provider: bool,
        end_of_stream: bool,
    },
    /// What there is of an answer that this role holds.
    ResponseBody {
        body: &'a [u8],
        end_of_stream: bool,
    },
    /// The time that [`Action::AnswerWithin`] gave is over, and the answer's headers are not there.
    OutOfTime {
        /// As they are in filter state [`state::PLAN`].
        attempts: Attempts,
        /// An attempt has begun that is not among them.
        is_under_way: bool,
    },
    /// The exchange is over, one way or another.
    Done,
}

/// One request.
#[derive(Debug)]
pub struct Router {
    policy: Arc<Policy>,
    state: State,
    /// What the answer's headers will say; `None` for a request that is not ours.
    report: Option<Report>,
    /// What the client speaks; errors are in its form.
    client: Dialect,
    /// The classifier is being asked beside the request.
    aside: Option<Aside>,
}

/// A classifier in shadow: the request does not wait for it.
#[derive(Debug)]
struct Aside {
    asking: Asking,
    caller: String,
    /// The tier that was chosen without it.
    decided: TierName,
    /// What the log says of other shadows.
    logged: String,
}

#[derive(Debug)]
enum State {
    New,
    /// Not ours, or already answered by us.
    Passing,
    Reading(Admitted),
    Asking(Box<Undecided>),
    HandedOver(Handed),
    /// A failed answer is held until it is whole.
    Failing(Failing),
}

/// What may become of a request that nobody answers.
#[derive(Debug)]
struct Handed {
    stream: bool,
    /// For all attempts together.
    budget: Duration,
    canned: Option<Canned>,
}

/// A request that waits for the classifier.
#[derive(Debug)]
struct Undecided {
    admitted: Admitted,
    request: ChatRequest,
    body_len: usize,
    cascade: Cascade,
    asking: Asking,
}

/// A request that was let in.
#[derive(Debug)]
struct Admitted {
    /// As the client sent them.
    headers: Headers,
    caller: String,
    path: String,
}

impl Router {
    pub fn new(policy: Arc<Policy>) -> Self {
        Router {
            policy,
            state: State::New,
            report: None,
            client: Dialect::Chat,
            aside: None,
        }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether the request waits for a classifier.
    pub fn awaits_callout(&self) -> bool {
        matches!(self.state, State::Asking(_))
    }

    /// Whether a request body is being waited for.
    pub fn reads_request_body(&self) -> bool {
        matches!(self.state, State::Reading(_))
    }

    /// Whether the response body is of interest.
    pub fn reads_response_body(&self) -> bool {
        matches!(self.state, State::Failing(_))
    }

    /// Whether the answer's headers are of interest.
    pub fn enriches(&self) -> bool {
        self.report.is_some()
    }

    /// Whether these, of `:status` and `X-Routed-Attempts`, are a good answer's that the provider role has finished: it says
    /// all that there is to say, and nothing is left to do. (A provider that forges it where the provider role is missing
    /// hides that set-up's mistake, and gains nothing.)
    pub fn is_told(&self, headers: &Headers) -> bool {
        matches!(self.state, State::HandedOver(_))
            && (200..300).contains(&headers.status())
            && headers.get(names::ROUTED_ATTEMPTS).is_some()
    }

    /// Advance.
    pub fn on(&mut self, event: Event<'_>, worker: &mut Worker, host: &dyn Host) -> Vec<Action> {
        match event {
            Event::RequestHeaders {
                headers,
                caller_metadata,
                end_of_stream,
            } => self.on_request_headers(headers, caller_metadata, end_of_stream, worker, host),
            Event::RequestBodyGrew { buffered } => self.on_body_grew(buffered),
            Event::RequestBody(body) => self.on_request_body(body, worker, host),
            Event::Callout(end) => self.on_callout(end, worker, host),
            Event::ResponseHeaders {
                headers,
                attempts,
                is_from_provider,
                end_of_stream,
            } => {
                let from = (is_from_provider, end_of_stream);
                self.on_response_headers(&headers, attempts, from, host)
            }
            Event::ResponseBody {
                body,
                end_of_stream,
            } => self.on_response_body(body, end_of_stream, host),
            Event::OutOfTime {
                attempts,
                is_under_way,
            } => self.on_out_of_time(attempts, is_under_way, host),
            Event::Done => {
                if let State::Asking(undecided) = self.take_state() {
                    undecided.asking.abandon(worker);
                }
                if let Some(aside) = self.aside.take() {
                    aside.asking.abandon(worker);
                }
                Vec::new()
            }
        }
    }

    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Passing)
    }

    // === request ===

    fn on_request_headers(
        &mut self,
        headers: Headers,
        metadata: Option<Vec<u8>>,
        end_of_stream: bool,
        worker: &mut Worker,
        host: &dyn Host,
    ) -> Vec<Action> {
        self.state = State::Passing;
        let mut actions = Vec::new();
        if let Some(id) = headers.text("x-request-id") {
            let id = names::clean(id).into_bytes();
            actions.push(Action::SetState(state::REQUEST_ID, id));
        }
        let admission = admit::admit(&self.policy.admit, &headers);
        let caller = || admit::caller(self.policy.caller.as_ref(), &headers, metadata.as_deref());
        let (path, client) = match admission {
            Admission::Chat { path, client } => (path, client),
            Admission::Models(id) => {
                actions.push(self.models(&caller(), id.as_deref()));
                return actions;
            }
            Admission::Pass => {
                actions.push(Action::Continue);
                return actions;
            }
        };
        let caller = caller();
        self.client = client;
        self.report = Some(Report::default());
        if caller != admit::ANONYMOUS {
            let named = names::clean(&caller).into_bytes();
            actions.push(Action::SetState(state::CALLER, named));
        }
        if let Err(refusal) = admit::check_headers(&headers, self.policy.admit.max_body) {
            actions.push(self.refuse(&refusal));
            return actions;
        }
        self.state = State::Reading(Admitted {
            headers,
            caller,
            path,
        });
        if end_of_stream {
            actions.extend(self.on_request_body(b"", worker, host));
        } else {
            actions.push(Action::Pause);
        }
        actions
    }

    fn models(&self, caller: &str, id: Option<&str>) -> Action {
        let access = Access::of(&self.policy, caller);
        let routed = std::iter::once(AUTO).chain(access.tiers().map(|t| &*t.name.0));
        let routed = routed.map(|id| (id, "pointsman"));
        let pinned = access.models().filter_map(|name| {
            let model = self.policy.models.get(name)?;
            let owner = model
                .targets
                .first()
                .map_or("pointsman", |t| &t.provider.name);
            Some((&**name, owner))
        });
        let aliases = self.policy.aliases.iter();
        let aliases = aliases.filter(|(_, target)| access.alias(target));
        let aliases = aliases.map(|(name, _)| (name.as_str(), "pointsman"));
        let mut offered = routed.chain(pinned).chain(aliases);
        let Some(id) = id else {
            return json_reply(200, models::models_list(offered));
        };
        match offered.find(|(name, _)| *name == id) {
            Some((name, owner)) => json_reply(200, models::model_object(name, owner)),
            None => {
                let list = &self.policy.admit.models_path;
                let refusal = ErrorReply {
                    status: 404,
                    kind: error::INVALID_REQUEST,
                    code: "model_not_found",
                    message: format!("this gateway offers no such model; GET {list} lists them"),
                    param: Some("model".to_owned()),
                };
                Action::Reply((&refusal).into())
            }
        }
    }

    fn on_body_grew(&mut self, buffered: usize) -> Vec<Action> {
        if self.reads_request_body() && buffered > self.policy.admit.max_body {
            self.state = State::Passing;
            return vec![self.refuse(&admit::too_large(self.policy.admit.max_body))];
        }
        vec![Action::Pause]
    }

    fn on_request_body(
        &mut self,
        body: &[u8],
        worker: &mut Worker,
        host: &dyn Host,
    ) -> Vec<Action> {
        let State::Reading(admitted) = self.take_state() else {
            return vec![Action::Continue];
        };
        if body.len() > self.policy.admit.max_body {
            return vec![self.refuse(&admit::too_large(self.policy.admit.max_body))];
        }
        let cut = self.policy.cut(body.len());
        let parsed = match self.client {
            Dialect::Chat => request::parse(body, cut),
            Dialect::Messages => view::parse(body, cut),
            Dialect::CountTokens => view::parse_count(body, cut),
        };
        let request = match parsed {
            Ok(request) => request,
            Err(bad) => return vec![self.refuse(&bad.into())],
        };
        let asked = decide::Asked {
            caller: &admitted.caller,
            path: &admitted.path,
            headers: &admitted.headers,
            request: &request,
        };
        match decide::decide(&self.policy, &asked) {
            Err(refusal) => vec![self.refuse(&refusal)],
            Ok(Verdict::Decided(decision)) => {
                let undecided = (admitted, request, body.len());
                self.hand_over(&undecided, &decision, None, worker, host)
            }
            Ok(Verdict::Classify) => {
                let undecided = (admitted, request, body.len());
                self.classify(undecided, Cascade::default(), None, worker, host)
            }
        }
    }

    /// Go on with the policy's steps. `classified_in`: how long the LLM classifier took, if it was asked.
    fn classify(
        &mut self,
        (admitted, request, body_len): (Admitted, ChatRequest, usize),
        mut cascade: Cascade,
        classified_in: Option<Duration>,
        worker: &mut Worker,
        host: &dyn Host,
    ) -> Vec<Action> {
        let asked = decide::Asked {
            caller: &admitted.caller,
            path: &admitted.path,
            headers: &admitted.headers,
            request: &request,
        };
        let next = cascade.next(&self.policy, &asked, worker, host.now());
        let results = std::mem::take(&mut cascade.results).into_iter();
        let mut actions: Vec<Action> = results.map(count_classification).collect();
        let decision = match next {
            Err(refusal) => {
                cascade.abandon(worker);
                actions.push(self.refuse(&refusal));
                return actions;
            }
            Ok(Next::Decided(decision)) => decision,
            // Tiers may differ in what they count, but not by what a classifier's call costs.
            Ok(Next::Ask(asking, _)) if self.client == Dialect::CountTokens => {
                asking.abandon(worker);
                let tier = Access::of(&self.policy, &admitted.caller).default_tier();
                Decision::tier(tier, Source::Default, COUNTED)
            }
            Ok(Next::Ask(asking, callout)) => {
                self.state = State::Asking(Box::new(Undecided {
                    admitted,
                    request,
                    body_len,
                    cascade,
                    asking,
                }));
                actions.extend([Action::Pause, Action::Dispatch(callout)]);
                return actions;
            }
        };
        let undecided = (admitted, request, body_len);
        actions.extend(self.decided(&undecided, cascade, &decision, classified_in, worker, host));
        actions
    }

    /// The steps came to a decision.
    fn decided(
        &mut self,
        undecided: &(Admitted, ChatRequest, usize),
        cascade: Cascade,
        decision: &Decision,
        classified_in: Option<Duration>,
        worker: &mut Worker,
        host: &dyn Host,
    ) -> Vec<Action> {
        let mut actions = self.tell_shadows(cascade, decision, &undecided.0.caller, worker);
        actions.extend(self.hand_over(undecided, decision, classified_in, worker, host));
        actions
    }

    /// What steps in shadow said is counted and logged; one that is still to be asked is asked beside the request.
    fn tell_shadows(
        &mut self,
        mut cascade: Cascade,
        decision: &Decision,
        caller: &str,
        worker: &mut Worker,
    ) -> Vec<Action> {
        let Some(decided) = decision.tier_name() else {
            cascade.abandon(worker);
            return Vec::new();
        };
        let said = cascade.said.iter();
        let mut actions: Vec<Action> = said.clone().map(|said| said.count(decided)).collect();
        let logged = said.map(Said::to_string).collect::<Vec<_>>().join(", ");
        if !logged.is_empty() {
            let logged = logged.clone().into_bytes();
            actions.push(Action::SetState(state::SHADOW, logged));
        }
        if self.client == Dialect::CountTokens {
            cascade.abandon(worker);
        } else if let Some((asking, callout)) = cascade.aside.take() {
            self.aside = Some(Aside {
                asking,
                caller: caller.to_owned(),
                decided: decided.clone(),
                logged,
            });
            actions.push(Action::Dispatch(callout));
        }
        actions
    }

    fn on_callout(
        &mut self,
        end: CalloutEnd<'_>,
        worker: &mut Worker,
        host: &dyn Host,
    ) -> Vec<Action> {
        let undecided = match self.take_state() {
            State::Asking(undecided) => *undecided,
            other => {
                self.state = other;
                return self.on_aside(end, worker, host.now());
            }
        };
        let Undecided {
            admitted,
            request,
            body_len,
            mut cascade,
            asking,
        } = undecided;
        let (answer, took) = asking.end(&self.policy, &admitted.caller, end, worker, host.now());
        let undecided = (admitted, request, body_len);
        match answer {
            Ok(decision) => {
                let mut actions = vec![count_classification((Source::Llm, Asked::Answered))];
                let took = Some(took);
                actions.extend(self.decided(&undecided, cascade, &decision, took, worker, host));
                actions
            }
            Err(reason) => {
                let mut actions = vec![
                    count_classification((Source::Llm, Asked::Failed)),
                    Action::Log(log::Level::Warn, reason.clone()),
                ];
                cascade.failed(reason);
                actions.extend(self.classify(undecided, cascade, Some(took), worker, host));
                actions
            }
        }
    }

    /// The classifier in shadow answered: too late to change anything, early enough to be counted.
    fn on_aside(&mut self, end: CalloutEnd<'_>, worker: &mut Worker, now: Duration) -> Vec<Action> {
        let Some(aside) = self.aside.take() else {
            return Vec::new();
        };
        let (answer, _) = aside
            .asking
            .end(&self.policy, &aside.caller, end, worker, now);
        let (result, tier) = match &answer {
            Ok(decision) => (Asked::Answered, decision.tier_name().cloned()),
            Err(_) => (Asked::Failed, None),
        };
        let said = Said {
            step: Source::Llm,
            tier,
            confidence: None,
        };
        let separator = if aside.logged.is_empty() { "" } else { ", " };
        let logged = format!("{}{separator}{said}", aside.logged);
        vec![
            count_classification((Source::Llm, result)),
            said.count(&aside.decided),
            Action::SetState(state::SHADOW, logged.into_bytes()),
        ]
    }

    /// The gateway's own error, in the client's form.
    fn refuse(&self, refusal: &ErrorReply) -> Action {
        Action::Reply(messages::error::reply(self.client, refusal))
    }
}

fn json_reply(status: u16, body: Vec<u8>) -> Action {
    Action::Reply(Reply::json(status, Vec::new(), body))
}

fn count_classification((step, result): (Source, Asked)) -> Action {
    let tags = [("step", step.as_str()), ("result", result.as_str())];
    Action::Count(metric_name("pointsman_classifications_total", &tags), 1)
}

#[cfg(test)]
#[path = "role_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "failed_tests.rs"]
mod failed_tests;
