//! The edge: the only file that knows proxy-wasm.
//!
//! Callbacks become events, actions become host calls. Values are read as bytes; a host call is made only in a phase
//! in which Envoy answers it, since the SDK panics on any status that it does not expect. Calls of this file's own
//! never panic and what fails is logged without the value.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action as Flow, BufferType, ContextType, LogLevel, MapType, MetricType};

use crate::chat::error::ErrorReply;
use crate::classify::reply;
use crate::http::{Action, Callout, CalloutEnd, HeaderLine, Headers, Host, Reply};
use crate::policy::{CallerSource, Policy};
use crate::provider::adapt::{Ending, Passed};
use crate::provider::headers::KEPT;
use crate::provider::role::{self as provider, ProviderAttempt, is_providers_fault};
use crate::router::handover;
use crate::router::role::{self as router, Router};
use crate::telemetry::headers::ROUTED_ATTEMPTS;
use crate::telemetry::state::{self, Attempts};
use crate::worker::Worker;

/// How long the first body byte may take before the header-stop flag is thought missing.
const FLAG_PATIENCE: Duration = Duration::from_secs(5);

/// An attempt whose own timeout ended it before that had its whole body at hand for longer than any filter holds one.
const ATTEMPT_PATIENCE: Duration = Duration::from_millis(500);

const FLAG_MISSING: &str = "set allow_on_headers_stop_iteration: true in this plugin's PluginConfig (EnvoyFilter or EnvoyPatchPolicy on Kubernetes; Envoy 1.35 or newer)";

/// Of Envoy's response flags those that say that the client went away, or spoke no HTTP: DownstreamConnectionTermination,
/// DownstreamProtocolError and DownstreamRemoteReset, by their order in
/// <https://github.com/envoyproxy/envoy/blob/main/envoy/stream_info/stream_info.h>.
const CLIENT_LEFT: u64 = 1 << 14 | 1 << 18 | 1 << 28;

/// Requests that are watched for a missing flag at a time.
const MAX_WATCHED: usize = 256;

/// Requests whose time is kept at a time; a request beyond them has Envoy's timeouts only.
const MAX_TIMED: usize = 65_536;

/// How late a request may learn that its time is over.
const TICK: Duration = Duration::from_millis(100);

/// Metrics that a worker defines at most: label values come from the policy, but policies change.
const MAX_METRICS: usize = 4096;

/// A body larger than this is never asked for in one piece.
const MAX_BUFFER: usize = 64 * 1024 * 1024;

thread_local! {
    /// A VM serves one worker: this is the worker's.
    static WORKER: RefCell<Worker> = RefCell::new(Worker::default());
    static METRICS: RefCell<Metrics> = RefCell::new(Metrics::default());
}

/// Called once per VM.
pub fn start() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}

#[derive(Default)]
enum Role {
    /// No configuration was accepted yet.
    #[default]
    None,
    Router(Arc<Policy>),
    Provider,
}

/// One plugin configuration.
#[derive(Default)]
struct Root {
    role: Role,
    watch: Rc<Watch>,
    timed: Rc<Timed>,
}

/// Finds out that `allow_on_headers_stop_iteration` is missing: a request that is held at its headers then never
/// gets a body.
#[derive(Default)]
struct Watch {
    /// A held request got its body: the flag is there.
    is_proved: Cell<bool>,
    held: RefCell<Vec<(u32, Duration)>>,
}

impl Watch {
    fn hold(&self, context: u32) {
        let mut held = self.held.borrow_mut();
        if !self.is_proved.get() && held.len() < MAX_WATCHED {
            held.push((context, now()));
        }
    }

    fn body_came(&self) {
        if !self.is_proved.replace(true) {
            self.held.borrow_mut().clear();
        }
    }

    /// How long it was held without a body, if it was.
    fn forget(&self, context: u32) -> Option<Duration> {
        if self.is_proved.get() {
            return None;
        }
        let mut held = self.held.borrow_mut();
        let at = held.iter().position(|(id, _)| *id == context)?;
        let (_, since) = held.swap_remove(at);
        Some(now().saturating_sub(since))
    }

    fn overdue(&self) -> Vec<u32> {
        let now = now();
        let is_overdue = |since: &Duration| now.saturating_sub(*since) >= FLAG_PATIENCE;
        let mut held = self.held.borrow_mut();
        let overdue = held
            .iter()
            .filter(|(_, s)| is_overdue(s))
            .map(|(id, _)| *id)
            .collect();
        held.retain(|(_, since)| !is_overdue(since));
        overdue
    }
}

/// The state machine of a request, which the tick tells that its time is over.
type Shared = Rc<RefCell<Router>>;

/// The requests that wait for an answer's headers, and until when: by a clock that nobody sets, since a machine that was
/// paused has its time of day set forward, and all requests under way would be out of time at once.
#[derive(Default)]
struct Timed {
    waiting: RefCell<BTreeMap<u32, (Instant, Shared)>>,
    /// The tick is [`TICK`] and not longer.
    is_ticking: Cell<bool>,
}

impl Timed {
    /// Called by a request, whose root context the tick is.
    fn hold(&self, context: u32, router: &Shared, within: Duration) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MAX_TIMED {
            return;
        }
        let Some(until) = Instant::now().checked_add(within) else {
            return;
        };
        waiting.insert(context, (until, Rc::clone(router)));
        if !self.is_ticking.replace(true) {
            let _ = hostcalls::set_tick_period(TICK);
        }
    }

    fn forget(&self, context: u32) {
        self.waiting.borrow_mut().remove(&context);
    }

    fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    fn overdue(&self) -> Vec<(u32, Shared)> {
        if self.is_idle() {
            return Vec::new();
        }
        let now = Instant::now();
        let mut waiting = self.waiting.borrow_mut();
        let overdue = waiting.extract_if(.., |_, (until, _)| *until <= now);
        overdue.map(|(id, (_, router))| (id, router)).collect()
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let role = property(&["plugin_root_id"]).unwrap_or_default();
        let result = match role.as_slice() {
            b"router" => configure(size).map(Role::Router),
            b"provider" => Ok(Role::Provider),
            _ => Err("root_id must be router or provider".to_owned()),
        };
        match result {
            Ok(role) => {
                self.role = role;
                let _ = hostcalls::set_tick_period(Duration::from_secs(1));
                true
            }
            Err(why) => {
                log::error!(
                    "pointsman: configuration refused, the one before keeps serving: {why}"
                );
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if self.timed.is_idle() && self.watch.is_proved.get() {
            self.timed.is_ticking.set(false);
            let _ = hostcalls::set_tick_period(Duration::ZERO);
            return;
        }
        for (context, router) in self.timed.overdue() {
            out_of_time(context, &router);
        }
        if self.watch.is_proved.get() {
            return;
        }
        let error = ErrorReply::misconfigured(format!(
            "no byte of a request body reached the filter within 5 s: {FLAG_MISSING}"
        ));
        for context in self.watch.overdue() {
            if hostcalls::set_effective_context(context).is_ok() {
                log::error!("pointsman: {}", error.message);
                send(&(&error).into());
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let watch = Rc::clone(&self.watch);
        Some(match &self.role {
            Role::Router(policy) => Box::new(RouterStream {
                id,
                watch,
                timed: Rc::clone(&self.timed),
                machine: Rc::new(RefCell::new(Router::new(Arc::clone(policy)))),
            }),
            Role::Provider => Box::new(ProviderStream {
                id,
                watch,
                machine: ProviderAttempt::default(),
            }),
            Role::None => Box::new(Unconfigured),
        })
    }
}

fn configure(size: usize) -> Result<Arc<Policy>, String> {
    let bytes = buffer(BufferType::PluginConfiguration, 0, size);
    Policy::from_bytes(&bytes)
        .map(Arc::new)
        .map_err(|errors| errors.to_string())
}

/// Answers for a plugin that has no configuration; Envoy does not get here.
struct Unconfigured;

impl Context for Unconfigured {}

impl HttpContext for Unconfigured {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Flow {
        let error = ErrorReply::misconfigured("the filter has no policy; see Envoy's log");
        send(&(&error).into());
        Flow::Pause
    }
}

// === router role ===

struct RouterStream {
    id: u32,
    watch: Rc<Watch>,
    timed: Rc<Timed>,
    machine: Shared,
}

/// What comes of an event. Nothing, if a host call re-entered this VM.
fn advance(machine: &RefCell<Router>, event: router::Event<'_>) -> Vec<Action> {
    let actions = with(&WORKER, |worker| {
        let mut machine = machine.try_borrow_mut().ok()?;
        Some(machine.on(event, worker, &Envoy))
    });
    actions.flatten().unwrap_or_default()
}

/// Called by the tick.
fn out_of_time(context: u32, machine: &RefCell<Router>) {
    if hostcalls::set_effective_context(context).is_err() {
        return;
    }
    let attempts = attempts();
    let count = property(&["upstream", "request_attempt_count"]);
    let count = count.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    let reported = u64::try_from(attempts.begun).unwrap_or(u64::MAX);
    let actions = advance(
        machine,
        router::Event::OutOfTime {
            attempts,
            is_under_way: count.is_none_or(|count| count > reported),
        },
    );
    carry_out(actions);
}

/// How the attempts went so far.
fn attempts() -> Attempts {
    property(&[state::PLAN])
        .and_then(|bytes| handover::attempts(&bytes))
        .unwrap_or_default()
}

impl RouterStream {
    fn on(&mut self, event: router::Event<'_>) -> Flow {
        let Carried {
            flow,
            callout,
            within,
        } = carry_out(advance(&self.machine, event));
        if let Some(within) = within {
            self.timed.hold(self.id, &self.machine, within);
        }
        let Some(callout) = callout else {
            return flow;
        };
        // Whether the request waits for it, the actions said.
        if dispatch(&callout) {
            return flow;
        }
        let is_awaited = self.is(Router::awaits_callout);
        let after = self.on(router::Event::Callout(CalloutEnd::NotSent));
        if is_awaited { after } else { flow }
    }

    /// Asks the state machine. `false`, if a host call re-entered this VM.
    fn is(&self, ask: impl FnOnce(&Router) -> bool) -> bool {
        self.machine.try_borrow().is_ok_and(|machine| ask(&machine))
    }

    fn caller_metadata(&self) -> Option<Vec<u8>> {
        let machine = self.machine.try_borrow().ok()?;
        let Some(CallerSource::Metadata(path)) = &machine.policy().caller else {
            return None;
        };
        let mut full = vec!["metadata", "filter_metadata"];
        full.extend(path.iter().map(String::as_str));
        property(&full)
    }

    fn whole_body(&mut self, size: usize) -> Flow {
        let body = buffer(BufferType::HttpRequestBody, 0, size);
        self.on(router::Event::RequestBody(&body))
    }
}

impl Context for RouterStream {
    fn on_http_call_response(&mut self, _: u32, num_headers: usize, body_size: usize, _: usize) {
        let is_awaited = self.is(Router::awaits_callout);
        let flow = if num_headers == 0 {
            self.on(router::Event::Callout(CalloutEnd::Reset))
        } else {
            let headers = headers_named(MapType::HttpCallResponseHeaders, &[":status"]);
            // One byte too many is enough to refuse it: a huge answer is not copied into the VM, which never shrinks.
            let size = body_size.min(reply::MAX_BODY.saturating_add(1));
            let body = buffer(BufferType::HttpCallResponseBody, 0, size);
            self.on(router::Event::Callout(CalloutEnd::Answered {
                status: headers.status(),
                body: &body,
            }))
        };
        if is_awaited && flow == Flow::Continue {
            let _ = hostcalls::resume_http_request();
        }
    }

    fn on_done(&mut self) -> bool {
        self.watch.forget(self.id);
        self.timed.forget(self.id);
        self.on(router::Event::Done);
        true
    }
}

impl HttpContext for RouterStream {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Flow {
        let flow = self.on(router::Event::RequestHeaders {
            headers: all_headers(MapType::HttpRequestHeaders),
            caller_metadata: self.caller_metadata(),
            end_of_stream,
        });
        if flow == Flow::Pause && self.is(Router::reads_request_body) {
            self.watch.hold(self.id);
        }
        flow
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Flow {
        self.watch.body_came();
        if !self.is(Router::reads_request_body) {
            return Flow::Continue;
        }
        if end_of_stream {
            return self.whole_body(size);
        }
        self.on(router::Event::RequestBodyGrew { buffered: size })
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Flow {
        if !self.is(Router::reads_request_body) {
            return Flow::Continue;
        }
        self.whole_body(MAX_BUFFER)
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Flow {
        self.timed.forget(self.id);
        if !self.is(Router::enriches) {
            return Flow::Continue;
        }
        let good = headers_named(MapType::HttpResponseHeaders, &[":status", ROUTED_ATTEMPTS]);
        if self.is(|machine| machine.is_told(&good)) {
            return Flow::Continue;
        }
        let details = property(&["response", "code_details"]);
        self.on(router::Event::ResponseHeaders {
            headers: all_headers(MapType::HttpResponseHeaders),
            attempts: attempts(),
            is_from_provider: details.as_deref() == Some(b"via_upstream"),
            end_of_stream,
        })
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Flow {
        if !self.is(Router::reads_response_body) {
            return Flow::Continue;
        }
        let body = buffer(BufferType::HttpResponseBody, 0, size);
        self.on(router::Event::ResponseBody {
            body: &body,
            end_of_stream,
        })
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Flow {
        self.on_http_response_body(MAX_BUFFER, true)
    }
}

// === provider role ===

struct ProviderStream {
    id: u32,
    watch: Rc<Watch>,
    machine: ProviderAttempt,
}

impl ProviderStream {
    fn on(&mut self, event: provider::Event<'_>) -> Flow {
        let actions = with(&WORKER, |worker| self.machine.on(event, worker, &Envoy));
        carry_out(actions.unwrap_or_default()).flow
    }

    fn whole_body(&mut self, size: usize) -> Flow {
        let body = buffer(BufferType::HttpRequestBody, 0, size);
        self.on(provider::Event::RequestBody(&body))
    }
}

impl Context for ProviderStream {
    fn on_done(&mut self) -> bool {
        let held = self.watch.forget(self.id);
        if held.is_some_and(|held| held >= ATTEMPT_PATIENCE) {
            log::error!(
                "pointsman: an attempt ended before it got the request's body: {FLAG_MISSING}"
            );
        }
        // The filter answered while this was under way: only the router role's tick does so.
        if !self.machine.is_reported() && property(&[state::REPLY]).is_some() {
            self.on(provider::Event::OutOfTime);
        }
        if !self.machine.is_reported() && client_left() {
            self.on(provider::Event::Left);
            return true;
        }
        let failure = match self.machine.is_reported() {
            true => None,
            false => property(&["upstream", "transport_failure_reason"]),
        };
        let has_broken = self.machine.is_open_ended()
            && property(&["response", "code_details"]).is_some_and(|why| is_providers_fault(&why));
        self.on(provider::Event::Done {
            connect_failed: failure.is_some_and(|f| !f.is_empty()),
            has_broken,
        });
        true
    }
}

impl HttpContext for ProviderStream {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Flow {
        let handed_over = property(&[state::PLAN]);
        let is_retry = handed_over.as_deref().is_some_and(handover::is_retry);
        let cluster = is_retry
            .then(|| property(&["xds", "cluster_name"]))
            .flatten();
        let cluster = cluster.map(|name| String::from_utf8_lossy(&name).into_owned());
        let flow = self.on(provider::Event::RequestHeaders {
            headers: headers_kept(),
            handed_over,
            retried_at: cluster.as_deref(),
            end_of_stream,
        });
        if flow == Flow::Pause && self.machine.reads_request_body() {
            self.watch.hold(self.id);
        }
        flow
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Flow {
        self.watch.body_came();
        if !self.machine.reads_request_body() {
            return Flow::Continue;
        }
        if !end_of_stream {
            return Flow::Pause;
        }
        self.whole_body(size)
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Flow {
        if !self.machine.reads_request_body() {
            return Flow::Continue;
        }
        self.whole_body(MAX_BUFFER)
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Flow {
        if !self.machine.awaits_response() {
            return Flow::Continue;
        }
        self.on(provider::Event::ResponseHeaders {
            headers: all_headers(MapType::HttpResponseHeaders),
            end_of_stream,
        })
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Flow {
        if self.machine.is_streaming() {
            let held = self.machine.held();
            let bytes = buffer(
                BufferType::HttpResponseBody,
                held,
                size.saturating_sub(held),
            );
            match self.machine.pass(&bytes, end_of_stream) {
                Passed::AsItCame => {}
                Passed::Replaced(body) => replace_response_body(body),
                Passed::Held => {
                    carry_out(self.machine.noted(false));
                    return Flow::Pause;
                }
            }
            carry_out(self.machine.noted(end_of_stream));
            return Flow::Continue;
        }
        let Some(range) = self.machine.wanted(size, end_of_stream) else {
            return Flow::Continue;
        };
        let bytes = buffer(BufferType::HttpResponseBody, range.start, range.len());
        self.on(provider::Event::ResponseBody {
            bytes: &bytes,
            buffered: size,
            end_of_stream,
        })
    }

    /// Of the body only what Envoy holds can be read and replaced here: on any other the host call fails, and the SDK panics.
    fn on_http_response_trailers(&mut self, _: usize) -> Flow {
        if !self.machine.is_streaming() {
            return self.on_http_response_body(MAX_BUFFER, true);
        }
        match self.machine.end_in_trailers() {
            Ending::Said => {}
            Ending::Replaced(body) => replace_response_body(body),
            Ending::Cut => {
                let _ = hostcalls::reset_http_response();
            }
        }
        carry_out(self.machine.noted(true));
        Flow::Continue
    }
}

/// Whether it is the client that ended this exchange: Envoy's flags for that are set by when the attempt is told of its end.
fn client_left() -> bool {
    let flags = property(&["response", "flags"]);
    let flags = flags.and_then(|flags| flags.try_into().ok().map(u64::from_le_bytes));
    flags.is_some_and(|flags| flags & CLIENT_LEFT != 0)
}

// === carrying out ===

/// What the actions ask for beyond what is carried out.
struct Carried {
    flow: Flow,
    /// To send.
    callout: Option<Callout>,
    /// The time that the answer's headers have.
    within: Option<Duration>,
}

fn carry_out(actions: Vec<Action>) -> Carried {
    let mut flow = Flow::Continue;
    let mut callout = None;
    let mut within = None;
    for action in actions {
        match action {
            Action::Continue => flow = Flow::Continue,
            Action::Pause => flow = Flow::Pause,
            Action::SetRequestHeaders(headers) => set_all(MapType::HttpRequestHeaders, &headers),
            Action::SetRequestHeader(name, value) => {
                let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(&value));
            }
            Action::RemoveRequestHeader(name) => {
                let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, &name);
            }
            Action::ReplaceRequestBody(body) => {
                let _ = hostcalls::set_buffer(BufferType::HttpRequestBody, 0, MAX_BUFFER, &body);
            }
            Action::ReplaceResponseBody(body) => replace_response_body(&body),
            Action::SetResponseHeaders(headers) => set_all(MapType::HttpResponseHeaders, &headers),
            Action::SetResponseHeader(name, value) => {
                let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(&value));
            }
            Action::RemoveResponseHeader(name) => {
                let _ = hostcalls::remove_map_value(MapType::HttpResponseHeaders, &name);
            }
            Action::SetState(key, value) => {
                let _ = hostcalls::set_property(vec![key], Some(&value));
            }
            Action::ClearRouteCache => {
                if hostcalls::call_foreign_function("clear_route_cache", None).is_err() {
                    log::error!(
                        "pointsman: clear_route_cache failed; the route may be the wrong one"
                    );
                }
            }
            Action::AnswerWithin(time) => within = Some(time),
            Action::Dispatch(request) => callout = Some(request),
            Action::Reply(reply) => {
                send(&reply);
                flow = Flow::Pause;
            }
            Action::Log(level, message) => log::log!(level, "pointsman: {message}"),
            Action::Count(name, by) => count(name, by),
        }
    }
    Carried {
        flow,
        callout,
        within,
    }
}

fn replace_response_body(body: &[u8]) {
    let _ = hostcalls::set_buffer(BufferType::HttpResponseBody, 0, MAX_BUFFER, body);
}

fn set_all(map: MapType, headers: &[HeaderLine]) {
    let lines = headers.iter().map(|(n, v)| (&**n, &**v)).collect();
    let _ = hostcalls::set_map_bytes(map, lines);
}

fn dispatch(callout: &Callout) -> bool {
    let length = callout.body.len().to_string();
    let headers = vec![
        (":method", "POST"),
        (":path", &callout.path),
        (":authority", &callout.host),
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
        ("content-length", &length),
    ];
    let sent = hostcalls::dispatch_http_call(
        &callout.cluster,
        headers,
        Some(&callout.body),
        Vec::new(),
        callout.timeout,
    );
    sent.is_ok()
}

fn send(reply: &Reply) {
    // Filter state, since it can be written in every phase: request headers are gone when an answer is replaced, and the
    // SDK panics on it.
    let form = match reply.is_events() {
        true => state::REPLY_EVENTS,
        false => state::REPLY_JSON,
    };
    let _ = hostcalls::set_property(vec![state::REPLY], Some(form));
    let headers = reply
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let _ = hostcalls::send_http_response(u32::from(reply.status), headers, Some(&reply.body));
}

fn count(name: String, by: i64) {
    let id = with(&METRICS, |metrics| metrics.id(name));
    if let Some(id) = id.flatten() {
        let _ = hostcalls::increment_metric(id, by);
    }
}

/// The counters that this VM has defined.
#[derive(Default)]
struct Metrics(HashMap<String, u32>);

impl Metrics {
    fn id(&mut self, name: String) -> Option<u32> {
        if let Some(id) = self.0.get(&name) {
            return Some(*id);
        }
        if self.0.len() >= MAX_METRICS {
            return None;
        }
        let id = hostcalls::define_metric(MetricType::Counter, &name).ok()?;
        self.0.insert(name, id);
        Some(id)
    }
}

// === asking ===

struct Envoy;

impl Host for Envoy {
    fn now(&self) -> Duration {
        now()
    }

    /// The standard library seeds its hashers from the host's randomness, once per thread, and each differs from the last.
    fn random(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }

    fn shared(&self, key: &str) -> (Vec<u8>, Option<u32>) {
        let (value, token) = hostcalls::get_shared_data(key).unwrap_or_default();
        (value.unwrap_or_default(), token)
    }

    fn share(&self, key: &str, value: &[u8], token: Option<u32>) -> bool {
        hostcalls::set_shared_data(key, Some(value), token).is_ok()
    }
}

// === reading ===

/// Nanoseconds of the host's clock, as a duration since its epoch.
fn now() -> Duration {
    hostcalls::get_current_time()
        .ok()
        .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default()
}

fn all_headers(map: MapType) -> Headers {
    let headers = hostcalls::get_map_bytes(map)
        .unwrap_or_default()
        .into_iter();
    Headers(headers.map(|(name, value)| (name.into(), value)).collect())
}

/// Some headers, each its first value: far cheaper than all of them.
fn headers_named(map: MapType, names: &[&'static str]) -> Headers {
    let value = |name| hostcalls::get_map_value_bytes(map, name).ok().flatten();
    let found = names
        .iter()
        .filter_map(|name| Some(((*name).into(), value(name)?)));
    Headers(found.collect())
}

/// What an attempt takes over from the request headers as they are.
fn headers_kept() -> Headers {
    let mut kept = Headers::default();
    for (first, others) in KEPT {
        let found = headers_named(MapType::HttpRequestHeaders, &[first]);
        if !found.0.is_empty() {
            kept.0.extend(found.0);
            kept.0
                .extend(headers_named(MapType::HttpRequestHeaders, others).0);
        }
    }
    kept
}

fn buffer(kind: BufferType, start: usize, size: usize) -> Vec<u8> {
    if size == 0 {
        return Vec::new();
    }
    hostcalls::get_buffer(kind, start, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}

/// Use what the worker owns. `None` only if a host call re-entered this VM, which policy forbids.
fn with<T, R>(
    key: &'static std::thread::LocalKey<RefCell<T>>,
    work: impl FnOnce(&mut T) -> R,
) -> Option<R> {
    key.with(|cell| cell.try_borrow_mut().ok().map(|mut value| work(&mut value)))
}
