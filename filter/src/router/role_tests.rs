use std::borrow::Cow;

use super::*;
use crate::health::learn;
use crate::health::signs::Sign;
use crate::health::{Cooldown, Key, Kind, Standing};
use crate::http::tests::Still;
use crate::router::plan::Plan;

const POLICY: &str = r#"{
  "version": 1,
  "default_tier": "fast",
  "admit": {"max_body": 4096},
  "tiers": {
    "fast": {"description": "short", "targets": [{"provider": "a", "model": "m-a"}, {"provider": "b", "model": "m-b"}],
             "timeouts": {"first_token": "3s", "one_shot": "40s"}},
    "slow": {"description": "long", "targets": [{"provider": "b", "model": "m-slow"}]}
  },
  "providers": {"a": {"cluster": "ca", "api": "openai", "host": "a.test", "pass_headers": ["x-pass"]},
                "b": {"cluster": "cb", "api": "openai", "set_headers": {"x-set": "1"}}},
  "classify": [{"llm": {"cluster": "judge", "model": "j", "timeout": "800ms"}}],
  "log_reason": true
}"#;

pub(super) const CHAT: &[u8] =
    br#"{"model":"auto","messages":[{"role":"user","content":"hello"}]}"#;

pub(super) struct Exchange {
    pub(super) router: Router,
    worker: Worker,
    host: Still,
}

impl Exchange {
    fn new() -> Self {
        Exchange::with(Worker::default())
    }

    fn with(worker: Worker) -> Self {
        let policy = Policy::from_bytes(POLICY.as_bytes()).expect("the test's policy is valid");
        Exchange {
            router: Router::new(Arc::new(policy)),
            worker,
            host: Still::at(1000),
        }
    }

    pub(super) fn on(&mut self, event: Event<'_>) -> Vec<Action> {
        self.router.on(event, &mut self.worker, &self.host)
    }

    pub(super) fn headers(
        &mut self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
    ) -> Vec<Action> {
        let pseudo = [(":method", method), (":path", path), (":authority", "gw")];
        self.on(Event::RequestHeaders {
            headers: headers(&[&pseudo, more].concat()),
            caller_metadata: None,
            end_of_stream: false,
        })
    }

    fn chat(&mut self, body: &[u8]) -> Vec<Action> {
        self.headers("POST", "/v1/chat/completions", &[]);
        self.on(Event::RequestBody(body))
    }

    fn callout(&mut self, content: &str) -> Vec<Action> {
        let body = serde_json::json!({"choices": [{"message": {"content": content}}]}).to_string();
        self.host.wait(Duration::from_millis(73));
        self.on(Event::Callout(CalloutEnd::Answered {
            status: 200,
            body: body.as_bytes(),
        }))
    }

    pub(super) fn answer(
        &mut self,
        status: &str,
        more: &[(&str, &str)],
        attempts: Attempts,
    ) -> Vec<Action> {
        self.on(Event::ResponseHeaders {
            headers: headers(&[&[(":status", status)], more].concat()),
            attempts,
            is_from_provider: true,
            end_of_stream: false,
        })
    }
}

pub(super) fn headers(list: &[(&str, &str)]) -> Headers {
    let own = |(n, v): &(&str, &str)| (Cow::Owned((*n).to_owned()), v.as_bytes().to_vec());
    Headers(list.iter().map(own).collect())
}

pub(super) fn attempts(outcomes: &str, begun: usize, target: usize) -> Attempts {
    Attempts {
        begun,
        target,
        next: target + 1,
        outcomes: outcomes.to_owned(),
    }
}

fn state_of<'a>(actions: &'a [Action], key: &str) -> Option<&'a [u8]> {
    actions.iter().find_map(|a| match a {
        Action::SetState(k, value) if *k == key => Some(value.as_slice()),
        _ => None,
    })
}

pub(super) fn reply_of(actions: &[Action]) -> (u16, serde_json::Value) {
    actions
        .iter()
        .find_map(|a| match a {
            Action::Reply(r) => Some((r.status, serde_json::from_slice(&r.body).expect("JSON"))),
            _ => None,
        })
        .expect("a reply")
}

fn response_headers(actions: &[Action]) -> Vec<(&str, &str)> {
    actions
        .iter()
        .filter_map(|a| match a {
            Action::SetResponseHeader(name, value) => Some((*name, &**value)),
            _ => None,
        })
        .collect()
}

/// What the provider role is to tell the client of the decision.
fn told(actions: &[Action]) -> Vec<(String, String)> {
    let bytes = state_of(actions, state::PLAN).expect("bytes");
    let (plan, _) = Plan::decode(bytes).expect("a plan");
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    plan.told.iter().map(own).collect()
}

fn says(actions: &[Action], name: &str, value: &str) -> bool {
    told(actions).contains(&(name.to_owned(), value.to_owned()))
}

#[test]
fn what_is_not_ours_passes_untouched() {
    for (method, path) in [
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/chat/completions/x"),
        ("GET", "/v1/modelsx"),
        ("POST", "/v1/models"),
    ] {
        let mut exchange = Exchange::new();
        assert_eq!(
            exchange.headers(method, path, &[]),
            [Action::Continue],
            "{method} {path}"
        );
        assert_eq!(
            exchange.answer("200", &[], Attempts::default()),
            [Action::Continue]
        );
    }
}

#[test]
fn a_named_tier_is_handed_over_at_once() {
    let mut exchange = Exchange::new();
    let held = exchange.headers(
        "POST",
        "/v1/chat/completions?x=1",
        &[
            ("x-llm-policy", "fast"),
            ("x-envoy-max-retries", "99"),
            ("x-pointsman-reply", "1"),
            ("x-routed-model", "forged"),
            ("user-agent", "me"),
            ("x-pass", "yes"),
            ("cookie", "secret"),
        ],
    );
    assert_eq!(held.last(), Some(&Action::Pause));
    let actions = exchange.on(Event::RequestBody(CHAT));
    assert_eq!(actions.last(), Some(&Action::Continue));
    assert_eq!(state_of(&actions, state::CLUSTER), Some(&b"ca"[..]));
    assert!(actions.contains(&Action::ClearRouteCache));

    let (plan, _) = Plan::decode(state_of(&actions, state::PLAN).expect("bytes")).expect("a plan");
    assert_eq!(plan.attempt_timeout_ms, 40_000);
    assert_eq!(plan.body_len, CHAT.len());
    assert_eq!(&CHAT[plan.model_span.clone()], br#""auto""#);
    assert_eq!(plan.user_agent, Some("me"));
    let seen: Vec<_> = plan
        .targets
        .iter()
        .map(|t| (t.host, &*t.path, t.sent_as, t.headers.len()))
        .collect();
    assert_eq!(
        seen,
        [
            ("a.test", "/v1/chat/completions", "m-a", 1),
            ("cb", "/v1/chat/completions", "m-b", 1)
        ]
    );
    assert!(
        !String::from_utf8_lossy(state_of(&actions, state::PLAN).expect("a plan"))
            .contains("secret")
    );

    for (name, value) in [
        ("x-envoy-max-retries", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "40000"),
    ] {
        assert!(actions.contains(&Action::SetRequestHeader(name, value.to_owned())));
    }
    let removed: Vec<&str> = actions
        .iter()
        .filter_map(|a| match a {
            Action::RemoveRequestHeader(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        removed,
        ["x-envoy-max-retries", "x-pointsman-reply", "x-routed-model"]
    );
}

#[test]
fn a_stream_has_its_own_timeout() {
    let mut exchange = Exchange::new();
    let actions = exchange
        .chat(br#"{"model":"fast","stream":true,"messages":[{"role":"user","content":"x"}]}"#);
    let (plan, _) = Plan::decode(state_of(&actions, state::PLAN).expect("bytes")).expect("a plan");
    assert_eq!((plan.stream, plan.attempt_timeout_ms), (true, 3000));
}

#[test]
fn the_classifier_decides_and_the_answer_says_so() {
    let mut exchange = Exchange::new();
    let asked = exchange.chat(CHAT);
    assert!(matches!(&asked[..], [.., Action::Pause, Action::Dispatch(c)] if c.cluster == "judge"));
    let actions = exchange
        .callout(r#"{"tier":"slow","reason":"it is\r\nlong","estimated_complexity":"high"}"#);
    assert_eq!(state_of(&actions, state::CLUSTER), Some(&b"cb"[..]));
    assert_eq!(
        state_of(&actions, state::REASON),
        Some(&b"high complexity: it is long"[..])
    );
    let decided = [
        ("x-routing-tier", "slow"),
        ("x-routing-reason", "high complexity: it is long"),
        ("x-routing-source", "llm"),
        ("x-classification-time", "73ms"),
    ];
    assert_eq!(
        told(&actions),
        decided.map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
    // The provider role has told it all.
    let good = [(":status", "200"), ("x-routed-attempts", "b=200")];
    assert!(exchange.router.is_told(&headers(&good)));
    assert!(!exchange.router.is_told(&headers(&good[..1])));
    assert!(
        !exchange
            .router
            .is_told(&headers(&[(":status", "502"), good[1]]))
    );
    // An answer of Envoy's own.
    let told = exchange.on(Event::ResponseHeaders {
        headers: headers(&[
            (":status", "504"),
            ("set-cookie", "x"),
            ("x-routing-confidence", "forged"),
        ]),
        attempts: attempts("b=timeout", 1, 0),
        is_from_provider: false,
        end_of_stream: false,
    });
    let attempted = [
        ("x-routed-provider", "b"),
        ("x-routed-model", "m-slow"),
        ("x-routed-attempts", "b=timeout"),
    ];
    let over = [("x-should-retry", "false")];
    assert_eq!(
        response_headers(&told),
        [&attempted[..], &decided, &over].concat()
    );
    for removed in ["set-cookie", "x-routing-confidence"] {
        assert!(told.contains(&Action::RemoveResponseHeader(removed.into())));
    }
    assert_eq!(told.last(), Some(&Action::Continue));
}

#[test]
fn the_same_question_is_asked_once() {
    let mut first = Exchange::new();
    first.chat(CHAT);
    first.callout("slow");
    let mut second = Exchange::with(first.worker);
    let actions = second.chat(CHAT);
    assert_eq!(state_of(&actions, state::CLUSTER), Some(&b"cb"[..]));
    assert!(!actions.iter().any(|a| matches!(a, Action::Dispatch(_))));
    assert!(says(&actions, "x-routing-source", "cache"));
}

#[test]
fn whatever_the_classifier_does_the_default_tier_serves() {
    type End = CalloutEnd<'static>;
    let answered = |status, body: &'static str| -> End {
        CalloutEnd::Answered {
            status,
            body: body.as_bytes(),
        }
    };
    for (end, waited, expected) in [
        (
            CalloutEnd::NotSent,
            0,
            "classifier has no healthy host, or no cluster",
        ),
        (CalloutEnd::Reset, 5, "classifier connection failed"),
        // Envoy's clock and the filter's differ: seen 3 ms early.
        (
            answered(504, "upstream request timeout"),
            797,
            "classifier timed out after 800 ms",
        ),
        (CalloutEnd::Reset, 797, "classifier timed out after 800 ms"),
        (
            answered(
                503,
                "upstream connect error or disconnect/reset before headers. reset reason: x",
            ),
            5,
            "classifier connection failed",
        ),
        (answered(504, ""), 900, "classifier answered status 504"),
        (answered(503, ""), 10, "classifier answered status 503"),
        (answered(500, "oops"), 10, "classifier answered status 500"),
    ] {
        let mut exchange = Exchange::new();
        exchange.chat(CHAT);
        exchange.host.wait(Duration::from_millis(waited));
        let actions = exchange.on(Event::Callout(end));
        assert_eq!(state_of(&actions, state::REASON), Some(expected.as_bytes()));
        assert_eq!(state_of(&actions, state::CLUSTER), Some(&b"ca"[..]));
        assert!(says(&actions, "x-routing-source", "default"));
        // A failure is not cached: the next one asks again.
        let mut next = Exchange::with(exchange.worker);
        assert!(matches!(&next.chat(CHAT)[..], [.., Action::Dispatch(_)]));
    }
}

#[test]
fn a_dead_classifier_is_skipped_after_five_failures_and_probed_by_one() {
    let mut worker = Worker::default();
    for _ in 0..5 {
        let mut exchange = Exchange::with(worker);
        exchange.chat(CHAT);
        exchange.on(Event::Callout(CalloutEnd::Reset));
        worker = exchange.worker;
    }
    let asks = |worker: Worker, now: u64| -> (bool, Exchange) {
        let mut exchange = Exchange::with(worker);
        exchange.host = Still::at(now);
        let actions = exchange.chat(CHAT);
        let asks = actions.iter().any(|a| matches!(a, Action::Dispatch(_)));
        (asks, exchange)
    };
    let (asked, exchange) = asks(worker, 1009);
    assert!(!asked);
    let (asked, probe) = asks(exchange.worker, 1011);
    assert!(asked);
    let (asked, mut other) = asks(probe.worker, 1011);
    assert!(!asked, "one probe at a time");
    // The probe's client leaves: the slot is given back.
    let mut probe = Exchange {
        worker: std::mem::take(&mut other.worker),
        ..probe
    };
    probe.on(Event::Done);
    assert_eq!(probe.worker.in_flight, 0);
    assert!(asks(probe.worker, 1011).0);
}

#[test]
fn refusals_are_openai_errors() {
    let chat = "/v1/chat/completions";
    let mut exchange = Exchange::new();
    let refused = exchange.headers("POST", chat, &[("content-encoding", "gzip")]);
    assert_eq!(reply_of(&refused).0, 415);
    let refused = Exchange::new().headers("POST", chat, &[("content-length", "4097")]);
    assert_eq!(reply_of(&refused).0, 413);

    let mut exchange = Exchange::new();
    exchange.headers("POST", chat, &[]);
    assert_eq!(
        exchange.on(Event::RequestBodyGrew { buffered: 4096 }),
        [Action::Pause]
    );
    let (status, body) = reply_of(&exchange.on(Event::RequestBodyGrew { buffered: 4097 }));
    assert_eq!(
        (status, &body["error"]["code"]),
        (413, &"request_too_large".into())
    );

    let (status, body) = reply_of(&Exchange::new().chat(b"{"));
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &"invalid_json".into())
    );
    let mut exchange = Exchange::new();
    let empty = exchange.on(Event::RequestHeaders {
        headers: headers(&[(":method", "POST"), (":path", chat)]),
        caller_metadata: None,
        end_of_stream: true,
    });
    assert_eq!(reply_of(&empty).0, 400);
}

#[test]
fn models_are_listed() {
    let list = |path: &str| reply_of(&Exchange::new().headers("GET", path, &[]));
    let (status, body) = list("/v1/models?limit=3");
    let ids: Vec<_> = body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| m["id"].clone())
        .collect();
    assert_eq!(
        (status, ids),
        (
            200,
            vec![
                "auto".into(),
                "fast".into(),
                "slow".into(),
                "m-a".into(),
                "m-b".into(),
                "m-slow".into()
            ]
        )
    );
    assert_eq!(list("/v1/models/m-a").1["owned_by"], "a");
    assert_eq!(list("/v1/models/none").0, 404);
}

#[test]
fn when_every_attempt_failed_the_last_error_is_told() {
    let limited =
        br#"{"error":{"message":"slow down","type":"rate_limit_error","code":null,"param":null}}"#;
    for (status, body, outcomes, expected, code) in [
        (
            "429",
            &limited[..],
            "a=503, b=429",
            429,
            serde_json::Value::Null,
        ),
        (
            "401",
            br#"{"error":{"message":"bad key sk-123"}}"#,
            "a=503, b=401",
            502,
            "provider_auth_failed".into(),
        ),
        (
            "404",
            b"{}",
            "a=503, b=404",
            502,
            "provider_model_not_found".into(),
        ),
    ] {
        let mut exchange = Exchange::new();
        exchange.headers("POST", "/v1/chat/completions", &[("x-llm-policy", "fast")]);
        exchange.on(Event::RequestBody(CHAT));
        let more = [
            ("content-type", "application/json"),
            ("retry-after", "7"),
            ("x-secret", "1"),
        ];
        let held = exchange.answer(status, &more, attempts(outcomes, 2, 1));
        assert_eq!(held, [Action::Pause]);
        let actions = exchange.on(Event::ResponseBody {
            body,
            end_of_stream: true,
        });
        let (status, body) = reply_of(&actions);
        assert_eq!((status, &body["error"]["code"]), (expected, &code));
        let [Action::Reply(reply)] = &actions[..] else {
            panic!("one reply");
        };
        assert!(!String::from_utf8_lossy(&reply.body).contains("sk-123"));
        let told: Vec<_> = reply
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert!(told.contains(&("retry-after", "7")));
        assert!(told.contains(&("x-routed-attempts", outcomes)));
        assert!(told.contains(&("x-routed-provider", "b")));
        assert!(!told.iter().any(|(n, _)| *n == "x-secret"));
    }
}

#[test]
fn an_answer_to_a_request_that_no_provider_role_adapted_is_not_given_out() {
    let mut exchange = Exchange::new();
    exchange.headers("POST", "/v1/chat/completions", &[("x-llm-policy", "fast")]);
    exchange.on(Event::RequestBody(CHAT));
    let (status, body) = reply_of(&exchange.answer("200", &[], Attempts::default()));
    assert_eq!(status, 500);
    assert_eq!(body["error"]["code"], "gateway_misconfigured");
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("root_id provider"), "{message}");
}

#[test]
fn a_reload_changes_nothing_for_a_request_under_way() {
    let mut exchange = Exchange::new();
    exchange.chat(CHAT);
    // The root context has another policy by now; this request's is its own.
    let actions = exchange.callout("slow");
    assert_eq!(state_of(&actions, state::CLUSTER), Some(&b"cb"[..]));
}

// === clients of Messages ===

pub(super) const MESSAGES: &[u8] =
    br#"{"model":"fast","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;

impl Exchange {
    pub(super) fn messages(&mut self, path: &str, body: &[u8]) -> Vec<Action> {
        self.headers(
            "POST",
            path,
            &[("anthropic-version", "2026-10-21"), ("anthropic-beta", "b")],
        );
        self.on(Event::RequestBody(body))
    }

    pub(super) fn with_policy(edit: impl Fn(&str) -> String) -> Self {
        let policy = Policy::from_bytes(edit(POLICY).as_bytes()).expect("valid");
        let mut exchange = Exchange::new();
        exchange.router = Router::new(Arc::new(policy));
        exchange
    }
}

#[test]
fn a_messages_request_is_planned_as_any_other() {
    let of_anthropic = |policy: &str| {
        policy.replace(
            r#""cluster": "cb", "api": "openai""#,
            r#""cluster": "cb", "api": "anthropic""#,
        )
    };
    let mut exchange = Exchange::with_policy(of_anthropic);
    let actions = exchange.messages("/v1/messages?beta=true", MESSAGES);
    let (plan, _) = Plan::decode(state_of(&actions, state::PLAN).expect("bytes")).expect("a plan");
    assert_eq!((plan.client, plan.tier), (Dialect::Messages, "fast"));
    let [a, b] = &plan.targets[..] else {
        panic!("{plan:?}");
    };
    // What Anthropic's API is told passes to no other.
    assert_eq!(
        (&*a.path, &a.headers[..]),
        ("/v1/chat/completions", &[][..])
    );
    let passed = [
        ("anthropic-version", "2026-10-21"),
        ("anthropic-beta", "b"),
        ("x-set", "1"),
    ];
    assert_eq!((&*b.path, &b.headers[..]), ("/v1/messages", &passed[..]));
    // A chat completion goes out in our words.
    let mut exchange = Exchange::with_policy(of_anthropic);
    exchange.headers(
        "POST",
        "/v1/chat/completions",
        &[("x-llm-policy", "fast"), ("anthropic-version", "1999")],
    );
    let actions = exchange.on(Event::RequestBody(CHAT));
    let (plan, _) = Plan::decode(state_of(&actions, state::PLAN).expect("bytes")).expect("a plan");
    assert_eq!(
        plan.targets[1].headers[0],
        ("anthropic-version", "2023-06-01")
    );
}

#[test]
fn tokens_are_counted_by_those_who_can() {
    let count = br#"{"model":"auto","messages":[{"role":"user","content":"hello"}]}"#;
    let path = "/v1/messages/count_tokens";
    let refused = Exchange::new().messages(path, count);
    let (status, body) = reply_of(&refused);
    assert_eq!(
        (status, &body["error"]["type"]),
        (404, &"not_found_error".into())
    );
    let mut exchange = Exchange::with_policy(|policy| {
        policy.replace(
            r#""cluster": "cb", "api": "openai""#,
            r#""cluster": "cb", "api": "anthropic""#,
        )
    });
    let actions = exchange.messages(path, count);
    assert!(
        !actions.iter().any(|a| matches!(a, Action::Dispatch(_))),
        "no classifier"
    );
    let (plan, _) = Plan::decode(state_of(&actions, state::PLAN).expect("bytes")).expect("a plan");
    let paths: Vec<&str> = plan.targets.iter().map(|t| &*t.path).collect();
    assert_eq!(paths, [path]);
    assert_eq!(plan.health.cooldown, None, "what cannot count may serve");
    assert!(says(&actions, "x-routing-source", "default"));
}

#[test]
fn errors_are_in_the_form_of_messages() {
    let error = |actions: &[Action], expected: (u16, &str)| {
        let (status, body) = reply_of(actions);
        assert_eq!(body["type"], "error", "{body}");
        assert_eq!(
            (status, body["error"]["type"].as_str().unwrap_or_default()),
            expected
        );
        body["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let invalid = (400, "invalid_request_error");
    error(&Exchange::new().messages("/v1/messages", b"{"), invalid);
    let missing = Exchange::new().messages("/v1/messages", CHAT);
    assert!(error(&missing, invalid).contains("max_tokens"));
    let large = Exchange::new().headers("POST", "/v1/messages", &[("content-length", "9999")]);
    error(&large, (413, "request_too_large"));

    // A provider's, in OpenAI's form, and Envoy's own.
    for (is_from_provider, status, outcomes, expected) in [
        (true, "429", "a=503, b=429", (429, "rate_limit_error")),
        (true, "401", "a=503, b=401", (502, "api_error")),
        (false, "504", "a=timeout, b=timeout", (504, "timeout_error")),
    ] {
        let mut exchange = Exchange::new();
        exchange.messages("/v1/messages", MESSAGES);
        let held = exchange.on(Event::ResponseHeaders {
            headers: headers(&[
                (":status", status),
                ("content-type", "application/json"),
                ("retry-after", "7"),
            ]),
            attempts: attempts(outcomes, 2, 1),
            is_from_provider,
            end_of_stream: false,
        });
        assert_eq!(held, [Action::Pause]);
        let told = exchange.on(Event::ResponseBody {
            body: br#"{"error":{"message":"slow down","type":"x","param":null,"code":null}}"#,
            end_of_stream: true,
        });
        let message = error(&told, expected);
        assert!(!message.is_empty());
        let [Action::Reply(reply)] = &told[..] else {
            panic!("{told:?}");
        };
        let has =
            |name: &str, value: &str| reply.headers.iter().any(|(n, v)| n == name && v == value);
        assert!(has("retry-after", "7") && has("x-routed-attempts", outcomes));
    }
}

/// What the plan says of its targets, and what the client is told.
fn planned(actions: &[Action]) -> (String, String) {
    let plan = state_of(actions, state::PLAN).expect("a plan");
    let (plan, _) = Plan::decode(plan).expect("a plan");
    let targets: Vec<_> = plan
        .targets
        .iter()
        .map(|target| format!("{}:{:?}", target.model, target.standing))
        .collect();
    let told = plan
        .told
        .iter()
        .find(|(name, _)| *name == names::ROUTING_SKIPPED);
    let skipped = told.map(|(_, value)| (*value).to_owned());
    (targets.join(" "), skipped.unwrap_or_default())
}

/// The probe is one request's, in whichever worker it is; with no token left it is nobody's.
#[test]
fn a_target_that_failed_is_planned_last_and_probed_by_one_request() {
    const FAST: &[u8] = br#"{"model":"fast","messages":[{"role":"user","content":"hello"}]}"#;
    let healthy = ("m-a:Healthy m-b:Healthy", "");
    let open = ("m-b:Healthy m-a:Open", "a/m-a=cooldown");
    let probe = ("m-a:Probe m-b:Healthy", "");
    // So many seconds after `m-a` was refused, with so many tokens, as so many requests: what each plans.
    for (seconds, tokens, expected) in [
        (0, 9, &[open, open][..]),
        (9, 9, &[probe, open, open]),
        (9, 0, &[open, open]),
        (9, 1, &[probe, open]),
        // The probe was never heard of again.
        (9 + 50, 9, &[probe, open]),
        (9999, 9, &[healthy]),
    ] {
        let mut host = Still::at(1000);
        let mut other = Exchange::new();
        let policy = Arc::clone(&other.router.policy);
        let attempt = learn::Attempt {
            key: Key::of(&policy.tiers[0].targets[0]),
            standing: Standing::Healthy,
            started: host.now(),
            cooldown: &Cooldown::default(),
        };
        other
            .worker
            .health
            .learn(attempt, Sign::Bad(Kind::Refused, None), &host);
        host.wait(Duration::from_secs(seconds));
        for expected in expected {
            let mut exchange = Exchange::new();
            let rules = policy.health.retry_budget;
            let budget = &mut exchange.worker.health.budget;
            while budget.spend(rules, host.now()) {}
            // A request earns a fifth itself.
            (0..tokens * 4).for_each(|_| budget.earn(rules));
            exchange.host = host;
            let actions = exchange.chat(FAST);
            let (order, skipped) = planned(&actions);
            assert_eq!(
                (&*order, &*skipped),
                *expected,
                "{seconds} s, {tokens} tokens"
            );
            let half_open = actions.iter().any(|action| {
                matches!(action, Action::Count(name, 1) if name.contains("to=.=half_open;.why=.=refused;."))
            });
            assert_eq!(half_open, *expected == probe);
            assert!(actions.contains(&Action::SetRequestHeader("x-envoy-max-retries", "1".into())));
            host = exchange.host;
        }
    }
}
