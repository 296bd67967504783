use super::*;
use crate::chat::request::Dialect;
use crate::fnv::Fnv64;
use crate::health::{Cooldown, Key, RetryBudget, Rules, Standing, shared};
use crate::http::tests::Still;
use crate::policy::{Api, Unsupported};
use crate::provider::adapt::Passed;
use crate::provider::error;
use crate::provider::passing::StreamEnd;
use crate::router::handover;

const BODY: &[u8] = br#"{"n":1.0,"model":"auto","big":123456789012345678901234567890}"#;

fn plan(stream: bool) -> Plan<'static> {
    let target = |name: &'static str| PlannedTarget {
        is_degraded: false,
        provider: name,
        cluster: name,
        api: Api::OpenAi,
        host: name,
        path: Cow::Borrowed("/v1/chat/completions"),
        model: name,
        sent_as: name,
        max_tokens: 100,
        context: 0,
        unsupported: Unsupported::Drop,
        prompt_cache: false,
        stream_usage: false,
        key: Key(Fnv64::default().bytes(name.as_bytes()).0),
        standing: Standing::Healthy,
        headers: vec![("x-own", name)],
    };
    Plan {
        body_len: BODY.len(),
        model_span: 17..23,
        client: Dialect::Chat,
        stream,
        include_usage: false,
        has_reasoning: false,
        many_choices: false,
        tier: "fast",
        degraded_to: "",
        hold_answer: 100,
        attempt_timeout_ms: 2000,
        health: Rules::default(),
        user_agent: None,
        told: vec![("x-routing-tier", "fast")],
        targets: vec![target("a"), target("b")],
    }
}

/// The attempt is over, and nobody broke it.
const DONE: Event<'static> = Event::Done {
    connect_failed: false,
    has_broken: false,
};

/// The attempts that are over and the last one's target, and how they ended.
type Before = Option<((usize, usize), &'static str)>;

struct Exchange {
    attempt: ProviderAttempt,
    worker: Worker,
    host: Still,
}

impl Exchange {
    fn new() -> Self {
        Exchange {
            attempt: ProviderAttempt::default(),
            worker: Worker::default(),
            host: Still::at(50),
        }
    }

    fn on(&mut self, event: Event<'_>) -> Vec<Action> {
        self.attempt.on(event, &mut self.worker, &self.host)
    }

    /// Headers of an attempt, with what those before left.
    fn begin(&mut self, plan: &Plan<'_>, cluster: &str, before: Before) -> Vec<Action> {
        let mut handed_over = plan.encode();
        if let Some((attempts, outcomes)) = before {
            let (begun, target) = attempts;
            handover::set_attempts(
                &mut handed_over,
                &Attempts {
                    begun,
                    target,
                    next: target + 1,
                    outcomes: outcomes.to_owned(),
                },
            );
        }
        self.on(Event::RequestHeaders {
            headers: headers(&[
                (":method", "POST"),
                (":path", "/old"),
                (":authority", "old"),
                (":scheme", "https"),
                ("authorization", "Bearer key-of-a"),
                ("x-own", "a"),
                ("cookie", "c"),
                ("traceparent", "00-1"),
            ]),
            handed_over: Some(handed_over),
            retried_at: before.map(|_| cluster),
            end_of_stream: false,
        })
    }

    fn sent(stream: bool) -> Self {
        let mut exchange = Exchange::new();
        exchange.begin(&plan(stream), "a", None);
        exchange.on(Event::RequestBody(BODY));
        exchange
    }

    fn answer(&mut self, list: &[(&str, &str)], end_of_stream: bool) -> Vec<Action> {
        self.on(Event::ResponseHeaders {
            headers: headers(list),
            end_of_stream,
        })
    }

    fn body(&mut self, bytes: &[u8], end_of_stream: bool) -> Vec<Action> {
        self.on(Event::ResponseBody {
            bytes,
            buffered: bytes.len(),
            end_of_stream,
        })
    }
}

fn headers(list: &[(&str, &str)]) -> Headers {
    let own = |(n, v): &(&str, &str)| (Cow::Owned((*n).to_owned()), v.as_bytes().to_vec());
    Headers(list.iter().map(own).collect())
}

fn state_of(actions: &[Action], key: &str) -> Option<String> {
    actions.iter().find_map(|a| match a {
        Action::SetState(k, value) if *k == key => {
            Some(String::from_utf8_lossy(value).into_owned())
        }
        _ => None,
    })
}

/// What the client is told, or the next attempt.
fn outcome(actions: &[Action]) -> Option<String> {
    actions.iter().find_map(|action| match action {
        Action::SetState(state::PLAN, bytes) => Some(handover::attempts(bytes)?.outcomes),
        Action::SetResponseHeaders(_) => told(actions, "x-routed-attempts"),
        _ => None,
    })
}

fn told(actions: &[Action], name: &str) -> Option<String> {
    let headers = actions.iter().find_map(|action| match action {
        Action::SetResponseHeaders(headers) => Some(headers),
        _ => None,
    })?;
    let (_, value) = headers.iter().find(|(n, _)| n == name)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn is_rejected(actions: &[Action]) -> bool {
    actions.contains(&Action::SetResponseHeader(":status", "502".into()))
        && actions.last() == Some(&Action::Continue)
}

const STREAM: [(&str, &str); 2] = [(":status", "200"), ("content-type", "text/event-stream")];
const JSON: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];

#[test]
fn each_attempt_sets_all_of_its_own() {
    for (cluster, before) in [("a", None), ("b", Some(((1, 0), "a=503")))] {
        let mut exchange = Exchange::new();
        let held = exchange.begin(&plan(false), cluster, before);
        assert_eq!(held.last(), Some(&Action::Pause));
        let sent = exchange.on(Event::RequestBody(BODY));
        let [
            Action::SetRequestHeaders(set),
            Action::ReplaceRequestBody(body),
            Action::Continue,
        ] = &sent[..]
        else {
            panic!("{sent:?}");
        };
        let set = Headers(set.iter().map(|(n, v)| (n.clone(), v.to_vec())).collect());
        assert_eq!(set.text(":authority"), Some(cluster));
        assert_eq!(set.text(":path"), Some("/v1/chat/completions"));
        assert_eq!(set.text("x-own"), Some(cluster));
        assert_eq!(
            set.text("content-length"),
            Some(body.len().to_string().as_str())
        );
        assert_eq!(set.text("traceparent"), Some("00-1"));
        assert_eq!((set.get("authorization"), set.get("cookie")), (None, None));
        let expected = String::from_utf8_lossy(BODY).replace("auto", cluster);
        assert_eq!(String::from_utf8_lossy(body), expected);
    }
}

#[test]
fn a_body_that_another_filter_changed_is_read_again() {
    let mut exchange = Exchange::new();
    exchange.begin(&plan(false), "a", None);
    let sent = exchange.on(Event::RequestBody(br#"{"added":true,"model":"x"}"#));
    assert!(
        matches!(&sent[..], [_, Action::ReplaceRequestBody(b), _] if b == br#"{"added":true,"model":"a"}"#)
    );
    let mut exchange = Exchange::new();
    exchange.begin(&plan(false), "a", None);
    let refused = exchange.on(Event::RequestBody(b"no json"));
    assert!(matches!(&refused[..], [Action::Log(..), Action::Reply(r)] if r.status == 500));
}

#[test]
fn a_retry_that_stayed_serves_its_cluster_and_says_so_once() {
    let mut exchange = Exchange::new();
    let before = Some(((1, 0), "a=503"));
    let stays = |actions: &[Action]| {
        actions
            .iter()
            .any(|a| matches!(a, Action::Log(log::Level::Error, m) if m.contains("1.39")))
    };
    let first = exchange.begin(&plan(false), "a", before);
    assert!(stays(&first));
    exchange.on(Event::RequestBody(BODY));
    let failed = exchange.answer(&[(":status", "503")], true);
    let [Action::SetState(state::PLAN, bytes), ..] = &failed[..] else {
        panic!("{failed:?}");
    };
    let written = handover::attempts(bytes).expect("attempts");
    assert_eq!((written.begun, written.target), (2, 0));
    assert_eq!(written.outcomes, "a=503, a=503");
    exchange.attempt = ProviderAttempt::default();
    assert!(!stays(&exchange.begin(&plan(false), "a", before)));
    exchange.attempt = ProviderAttempt::default();
    let foreign = exchange.begin(&plan(false), "elsewhere", before);
    assert!(matches!(&foreign[..], [Action::Log(..), Action::Reply(r)] if r.status == 500));
}

#[test]
fn what_the_router_role_did_not_see_passes() {
    let mut exchange = Exchange::new();
    let event = Event::RequestHeaders {
        headers: headers(&[]),
        handed_over: None,
        retried_at: None,
        end_of_stream: false,
    };
    assert_eq!(exchange.on(event), [Action::Continue]);
    assert!(!exchange.attempt.reads_request_body());
}

#[test]
fn a_status_is_passed_on_and_written_down() {
    for (status, more, expected) in [
        ("503", None, "a=503"),
        ("404", None, "a=404"),
        ("503", Some((NO_HOST_HEADER, "1")), "a=connect_failure"),
        ("500", Some((NO_HOST_HEADER, "1")), "a=500"),
    ] {
        let mut exchange = Exchange::sent(true);
        let mut list = vec![(":status", status)];
        list.extend(more);
        let actions = exchange.answer(&list, false);
        assert_eq!(outcome(&actions).as_deref(), Some(expected));
        assert_eq!(state_of(&actions, state::CLUSTER).as_deref(), Some("b"));
        assert_eq!(actions.last(), Some(&Action::Continue));
        assert!(!is_rejected(&actions));
        assert_eq!(exchange.attempt.wanted(10, true), None);
        assert_eq!(exchange.on(DONE), []);
    }
}

/// Released at its headers, one whose body stalled hung, and one whose body broke off closed the client's connection.
#[test]
fn an_error_that_goes_to_the_client_is_held_until_it_is_whole() {
    for (before, cluster, status, expected) in [
        (None, "a", "400", "a=400"),
        (Some(((1, 0), "a=503")), "b", "503", "a=503, b=503"),
    ] {
        let held = || {
            let mut exchange = Exchange::new();
            exchange.begin(&plan(true), cluster, before);
            exchange.on(Event::RequestBody(BODY));
            let list = [(":status", status), ("content-type", "application/json")];
            assert_eq!(exchange.answer(&list, false), [Action::Pause]);
            assert_eq!(exchange.attempt.wanted(9, false), Some(0..0));
            assert_eq!(exchange.body(b"", false), [Action::Pause]);
            exchange
        };
        assert_eq!(outcome(&held().body(b"", true)).as_deref(), Some(expected));
        let mut broken = held();
        let done = broken.on(DONE);
        let reset = expected.replace(&format!("{cluster}={status}"), &format!("{cluster}=reset"));
        assert_eq!(outcome(&done), Some(reset));
        // Nobody reads these: nothing is waited for.
        for header in [
            ("content-type", "text/event-stream"),
            ("content-encoding", "gzip"),
        ] {
            let mut exchange = Exchange::sent(true);
            let actions = exchange.answer(&[(":status", "400"), header], false);
            assert_eq!(actions.last(), Some(&Action::Continue));
        }
    }
}

#[test]
fn a_provider_cannot_speak_for_envoy_or_for_the_gateway() {
    let forged = [
        "x-envoy-overloaded",
        "x-envoy-ratelimited",
        "x-envoy-immediate-health-check-fail",
        "x-pointsman-no-host",
        "x-routed-model",
        "x-routing-tier",
        "x-routing-confidence",
        "set-cookie",
        "openai-organization",
    ];
    let mut list = vec![(":status", "400"), ("retry-after", "7")];
    list.extend(forged.map(|name| (name, "forged")));
    // Passed on, and turned into an error.
    for status in ["503", "200"] {
        list[0].1 = status;
        let actions = Exchange::sent(true).answer(&list, true);
        let removed: Vec<&str> = actions
            .iter()
            .filter_map(|action| match action {
                Action::RemoveResponseHeader(name) => Some(&**name),
                _ => None,
            })
            .collect();
        assert_eq!(removed, forged, "{status}");
    }
    list[0].1 = "200";
    let mut exchange = Exchange::sent(false);
    exchange.answer(&list, false);
    let actions = exchange.body(b"{}", true);
    let given = actions.iter().find_map(|action| match action {
        Action::SetResponseHeaders(headers) => Some(headers),
        _ => None,
    });
    let given: Vec<(&str, &[u8])> = given
        .expect("headers")
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(
        given,
        [
            (":status", &b"200"[..]),
            ("retry-after", b"7"),
            ("x-routed-provider", b"a"),
            ("x-routed-model", b"a"),
            ("x-routed-attempts", b"a=200"),
            ("x-routing-tier", b"fast"),
        ]
    );
}

#[test]
fn outcomes_follow_one_another() {
    let mut exchange = Exchange::new();
    exchange.begin(&plan(false), "b", Some(((1, 0), "a=timeout")));
    exchange.on(Event::RequestBody(BODY));
    assert_eq!(
        outcome(&exchange.answer(&[(":status", "500")], true)).as_deref(),
        Some("a=timeout, b=500")
    );
}

#[test]
fn a_refused_key_is_warned_of_once() {
    let mut worker = Worker::default();
    let mut given = 0;
    for _ in 0..3 {
        let mut exchange = Exchange::sent(false);
        exchange.worker = worker;
        let actions = exchange.answer(&[(":status", "401")], false);
        given += actions
            .iter()
            .filter(|a| matches!(a, Action::Log(log::Level::Error, _)))
            .count();
        worker = exchange.worker;
    }
    assert_eq!(given, 1);
}

#[test]
fn a_stream_is_held_until_its_first_real_event() {
    let mut exchange = Exchange::sent(true);
    assert_eq!(exchange.answer(&STREAM, false), [Action::Pause]);
    assert_eq!(exchange.attempt.wanted(5, false), Some(0..5));
    let role = b": ping\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    assert_eq!(exchange.body(role, false), [Action::Pause]);
    assert_eq!(
        exchange.attempt.wanted(role.len() + 3, false),
        Some(role.len()..role.len() + 3)
    );
    let released = exchange.body(
        b"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n",
        false,
    );
    assert_eq!(outcome(&released).as_deref(), Some("a=200"));
    assert_eq!(released.last(), Some(&Action::Continue));
    assert_eq!(
        exchange.attempt.wanted(999, false),
        None,
        "what follows is not read"
    );
}

#[test]
fn a_stream_that_is_none_moves_on() {
    for (body, end, expected) in [
        (
            &b"data: {\"error\":{\"message\":\"overloaded\"}}\n\n"[..],
            false,
            "a=bad_event",
        ),
        (b"data: not json\n\n", false, "a=bad_event"),
        (b"data: [DONE]\n\n", false, "a=empty"),
        (b"", true, "a=empty"),
    ] {
        let mut exchange = Exchange::sent(true);
        exchange.answer(&STREAM, false);
        let actions = exchange.body(body, end);
        assert!(is_rejected(&actions), "{expected}");
        assert_eq!(outcome(&actions).as_deref(), Some(expected));
    }
    let mut exchange = Exchange::sent(true);
    let actions = exchange.answer(&STREAM, true);
    assert!(is_rejected(&actions));
    assert_eq!(outcome(&actions).as_deref(), Some("a=empty"));
}

#[test]
fn a_one_shot_answer_is_held_until_whole() {
    for (body, expected) in [
        (&b"{\"id\":1}"[..], Some("a=200")),
        (b"{\"id\":", None),
        (b"", None),
        (b"<html>", None),
        (b"{\"error\":{\"message\":\"x\"}}", None),
    ] {
        let mut exchange = Exchange::sent(false);
        assert_eq!(exchange.answer(&JSON, false), [Action::Pause]);
        assert_eq!(
            exchange.attempt.wanted(3, false),
            Some(0..0),
            "not read before it is whole"
        );
        assert_eq!(
            exchange.on(Event::ResponseBody {
                bytes: b"",
                buffered: 3,
                end_of_stream: false
            }),
            [Action::Pause]
        );
        let actions = exchange.body(body, true);
        match expected {
            Some(good) => {
                assert_eq!(outcome(&actions).as_deref(), Some(good));
                assert!(!is_rejected(&actions));
            }
            None => assert!(is_rejected(&actions), "{}", String::from_utf8_lossy(body)),
        }
    }
}

#[test]
fn an_answer_too_large_to_hold_is_released() {
    let mut exchange = Exchange::sent(false);
    exchange.answer(&JSON, false);
    let released = exchange.on(Event::ResponseBody {
        bytes: b"",
        buffered: 101,
        end_of_stream: false,
    });
    assert_eq!(outcome(&released).as_deref(), Some("a=200"));
}

#[test]
fn an_attempt_without_an_answer_says_how_it_ended() {
    for (waited, connect_failed, expected) in [
        (0, true, "a=connect_failure"),
        (2000, false, "a=timeout"),
        // Envoy's timer was early.
        (1950, false, "a=timeout"),
        (1949, false, "a=reset"),
    ] {
        let mut exchange = Exchange::sent(false);
        exchange.host.wait(Duration::from_millis(waited));
        assert_eq!(
            outcome(&exchange.on(Event::Done {
                connect_failed,
                has_broken: false
            }))
            .as_deref(),
            Some(expected)
        );
    }
}

/// The router role had no time left: a timeout, however short the attempt was, and told once.
#[test]
fn an_attempt_that_the_router_role_gave_up_timed_out() {
    let mut exchange = Exchange::sent(false);
    exchange.host.wait(Duration::from_millis(1));
    let actions = exchange.on(Event::OutOfTime);
    assert_eq!(outcome(&actions).as_deref(), Some("a=timeout"));
    let done = exchange.on(Event::Done {
        connect_failed: false,
        has_broken: false,
    });
    assert_eq!(done, []);
}

#[test]
fn the_tier_that_serves_instead_is_told_and_counted() {
    let mut degrading = plan(false);
    degrading.degraded_to = "spare";
    degrading.targets[1].is_degraded = true;
    for (cluster, before, expected) in [
        ("a", None, None),
        ("b", Some(((1, 0), "a=503")), Some("tier spare")),
    ] {
        let mut exchange = Exchange::new();
        exchange.begin(&degrading, cluster, before);
        exchange.on(Event::RequestBody(BODY));
        let json = [(":status", "200"), ("content-type", "application/json")];
        exchange.answer(&json, false);
        let body = br#"{"choices":[{"message":{"content":"x"}}]}"#;
        let actions = exchange.on(Event::ResponseBody {
            bytes: body,
            buffered: body.len(),
            end_of_stream: true,
        });
        let told = actions.iter().find_map(|action| match action {
            Action::SetResponseHeaders(lines) => {
                let line = lines.iter().find(|(n, _)| n == "x-routing-degraded");
                line.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            }
            _ => None,
        });
        assert_eq!(told.as_deref(), expected, "{actions:?}");
        let name = "tier=.=fast;.to=.=spare;.pointsman_degraded_total";
        let count = Action::Count(name.to_owned(), 1);
        assert_eq!(actions.contains(&count), expected.is_some());
    }
}

// === other formats ===

const ASKED: &[u8] =
    br#"{"model":"auto","logit_bias":{"1":2},"messages":[{"role":"user","content":"hi"}]}"#;
const ANSWER: &[u8] = br#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#;

fn plan_of(api: Api, client: Dialect, stream: bool) -> Plan<'static> {
    let mut plan = plan(stream);
    plan.client = client;
    plan.body_len = 0;
    plan.hold_answer = 10_000;
    for target in &mut plan.targets {
        target.api = api;
    }
    plan
}

fn asked(api: Api, stream: bool) -> (Exchange, Vec<Action>) {
    let mut exchange = Exchange::new();
    exchange.begin(&plan_of(api, Dialect::Chat, stream), "a", None);
    let sent = exchange.on(Event::RequestBody(ASKED));
    (exchange, sent)
}

fn tokens(actions: &[Action]) -> Vec<(String, i64)> {
    let counts = actions.iter().filter_map(|action| match action {
        Action::Count(name, by) => Some((name.strip_suffix(";.pointsman_tokens_total")?, *by)),
        _ => None,
    });
    counts
        .map(|(tags, by)| {
            let values = tags.split(";.").filter_map(|tag| tag.split("=.=").nth(1));
            (values.collect::<Vec<_>>().join(" "), by)
        })
        .collect()
}

#[test]
fn an_answer_in_another_format_is_translated_and_counted() {
    let (mut exchange, sent) = asked(Api::Anthropic, false);
    let [
        Action::SetRequestHeaders(_),
        Action::ReplaceRequestBody(body),
        Action::Continue,
    ] = &sent[..]
    else {
        panic!("{sent:?}");
    };
    let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(
        (&body["max_tokens"], &body["model"]),
        (&100.into(), &"a".into())
    );
    exchange.answer(
        &[
            (":status", "200"),
            ("content-type", "application/json; x"),
            ("content-length", "7"),
            ("request-id", "r"),
        ],
        false,
    );
    let actions = exchange.body(ANSWER, true);
    let given = actions.iter().find_map(|action| match action {
        Action::ReplaceResponseBody(body) => Some(body),
        _ => None,
    });
    let given = given.expect("another body");
    let answer: serde_json::Value = serde_json::from_slice(given).expect("JSON");
    assert_eq!(answer["choices"][0]["message"]["content"], "hello");
    for (name, value) in [
        ("content-type", Some("application/json")),
        ("content-length", Some(&*given.len().to_string())),
        ("request-id", Some("r")),
        ("x-routed-attempts", Some("a=200")),
        ("x-routing-dropped", Some("logit_bias")),
    ] {
        assert_eq!(told(&actions, name).as_deref(), value, "{name}");
    }
    assert_eq!(
        tokens(&actions),
        [
            ("a a fast input".to_owned(), 5),
            ("a a fast output".to_owned(), 2)
        ]
    );
    assert_eq!(
        state_of(&actions, state::INPUT_TOKENS).as_deref(),
        Some("5")
    );
    assert_eq!(
        state_of(&actions, state::OUTPUT_TOKENS).as_deref(),
        Some("2")
    );
    let done = exchange.on(DONE);
    assert_eq!(done, [], "counted once");
}

#[test]
fn a_stream_in_another_format_is_translated_and_counted_when_it_ends_or_is_left() {
    const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n";
    const TEXT: &str = "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n";
    const STOP: &str = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
    for is_left in [false, true] {
        let (mut exchange, _) = asked(Api::Anthropic, true);
        exchange.answer(&STREAM, false);
        let held = exchange.body(START.as_bytes(), false);
        assert_eq!(held.last(), Some(&Action::Pause));
        assert_eq!(state_of(&held, state::INPUT_TOKENS).as_deref(), Some("5"));
        assert_eq!(
            exchange.attempt.wanted(START.len() + 3, false),
            Some(START.len()..START.len() + 3)
        );
        let released = exchange.body(TEXT.as_bytes(), false);
        assert_eq!(
            told(&released, "content-type").as_deref(),
            Some("text/event-stream; charset=utf-8")
        );
        assert_eq!(state_of(&released, state::INPUT_TOKENS), None, "no news");
        assert!(tokens(&released).is_empty());
        assert!(exchange.attempt.is_streaming());
        let (spent, output) = if is_left {
            (exchange.on(DONE), 1)
        } else {
            let Passed::Replaced(given) = exchange.attempt.pass(STOP.as_bytes(), true) else {
                panic!("translated");
            };
            assert!(given.ends_with(b"data: [DONE]\n\n"));
            (exchange.attempt.noted(true), 2)
        };
        assert_eq!(
            tokens(&spent),
            [
                ("a a fast input".to_owned(), 5),
                ("a a fast output".to_owned(), output)
            ]
        );
        assert_eq!(exchange.on(DONE), []);
    }
}

/// Envoy writes the access log of a client that left before it tells the attempt: the log lacked what came after the first
/// real event.
#[test]
fn what_a_stream_says_of_its_tokens_is_in_the_log_at_once() {
    let said = |prompt: u64, completion: u64| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\"}}}}],\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion}}}}}\n\n"
        )
    };
    let mut exchange = Exchange::new();
    let mut plan = plan_of(Api::OpenAi, Dialect::Chat, true);
    plan.include_usage = true;
    exchange.begin(&plan, "a", None);
    exchange.on(Event::RequestBody(ASKED));
    exchange.answer(&STREAM, false);
    let silent = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let released = exchange.body(silent.as_bytes(), false);
    assert_eq!(state_of(&released, state::INPUT_TOKENS), None);
    let set = |key, value: &str| Action::SetState(key, value.into());
    for (bytes, expected) in [
        (silent.to_owned(), vec![]),
        (
            said(7, 1),
            vec![
                set(state::INPUT_TOKENS, "7"),
                set(state::OUTPUT_TOKENS, "1"),
            ],
        ),
        (silent.to_owned(), vec![]),
        (said(7, 1), vec![]),
        (said(7, 2), vec![set(state::OUTPUT_TOKENS, "2")]),
    ] {
        assert_eq!(
            exchange.attempt.pass(bytes.as_bytes(), false),
            Passed::AsItCame
        );
        assert_eq!(exchange.attempt.noted(false), expected, "{bytes}");
    }
    let done = exchange.on(DONE);
    let counted = [("a a fast input", 7), ("a a fast output", 2)];
    assert_eq!(tokens(&done), counted.map(|(tags, by)| (tags.into(), by)));
}

/// They were neither counted nor logged.
#[test]
fn the_tokens_of_a_stream_that_failed_before_its_first_real_event_are_counted() {
    const START: &str = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"usage\":{\"input_tokens\":5}}}\n\n";
    for (is_last, is_reset) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut plan = plan_of(Api::Anthropic, Dialect::Chat, true);
        if is_last {
            plan.targets.truncate(1);
        }
        let mut exchange = Exchange::new();
        exchange.begin(&plan, "a", None);
        exchange.on(Event::RequestBody(ASKED));
        exchange.answer(&STREAM, false);
        let held = exchange.body(START.as_bytes(), false);
        assert_eq!(state_of(&held, state::INPUT_TOKENS).as_deref(), Some("5"));
        let mut actions = match is_reset {
            true => vec![],
            false => exchange.body(b"data: {\"type\":\"error\"}\n\n", false),
        };
        actions.extend(exchange.on(DONE));
        // The answer of the next target is logged without them.
        let state = state_of(&actions, state::INPUT_TOKENS);
        assert_eq!(state.as_deref(), (!is_last).then_some("-"));
        assert_eq!(tokens(&actions), [("a a fast input".to_owned(), 5)]);
    }
}

#[test]
fn how_a_released_stream_ended_is_counted_once_and_told() {
    const REAL: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
    const ERROR: &str = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    const FINISH: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    const WHOLE: &str = "data: [DONE]\n\n";
    let complete = Some(StreamEnd::Complete);
    for (chunks, end, has_broken, ended, how) in [
        (&[WHOLE][..], true, false, complete, None),
        (&[WHOLE], false, true, complete, None),
        (&[FINISH], true, false, complete, None),
        (&[FINISH], false, true, None, Some("reset")),
        (
            &[],
            true,
            false,
            Some(StreamEnd::EarlyEnd),
            Some("early_end"),
        ),
        (
            &[REAL],
            true,
            true,
            Some(StreamEnd::EarlyEnd),
            Some("early_end"),
        ),
        (&[ERROR], true, true, Some(StreamEnd::Error), Some("error")),
        (
            &[ERROR, WHOLE],
            false,
            false,
            Some(StreamEnd::Error),
            Some("error"),
        ),
        (&[REAL], false, true, None, Some("reset")),
        // The client left.
        (&[REAL], false, false, None, None),
    ] {
        for (stream_usage, at_once) in [(false, false), (true, false), (true, true)] {
            let mut plan = plan_of(Api::OpenAi, Dialect::Chat, true);
            for target in &mut plan.targets {
                target.stream_usage = stream_usage;
            }
            let mut exchange = Exchange::new();
            exchange.begin(&plan, "a", None);
            exchange.on(Event::RequestBody(ASKED));
            exchange.answer(&STREAM, false);
            let mut actions = if at_once {
                let all = [&[REAL], chunks].concat().concat();
                exchange.body(all.as_bytes(), end)
            } else {
                let mut actions = exchange.body(REAL.as_bytes(), false);
                assert_eq!(exchange.attempt.ended(), None);
                for chunk in chunks {
                    exchange.attempt.pass(chunk.as_bytes(), false);
                    actions.extend(exchange.attempt.noted(false));
                }
                if end {
                    exchange.attempt.pass(b"", true);
                    actions.extend(exchange.attempt.noted(true));
                }
                actions
            };
            let what = format!("{chunks:?} {end} {has_broken}");
            assert_eq!(exchange.attempt.ended(), ended, "{what}");
            assert_eq!(exchange.attempt.is_open_ended(), ended.is_none(), "{what}");
            actions.extend(exchange.on(Event::Done {
                connect_failed: false,
                has_broken,
            }));
            let counted: Vec<&Action> = actions
                .iter()
                .filter(|a| matches!(a, Action::Count(name, _) if name.ends_with("broken_total")))
                .collect();
            let expected = how.map(|how| {
                let name =
                    format!("provider=.=a;.model=.=a;.how=.={how};.pointsman_streams_broken_total");
                Action::Count(name, 1)
            });
            assert_eq!(counted, expected.iter().collect::<Vec<_>>(), "{what}");
        }
    }
}

#[test]
fn what_a_format_cannot_say_is_answered_in_the_clients_form() {
    let audio = br#"{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"","format":"wav"}}]}]}"#;
    let server_tool = br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"container_upload","file_id":"f"}]}]}"#;
    for (client, api, body, key) in [
        (Dialect::Chat, Api::Anthropic, &audio[..], "code"),
        (Dialect::Messages, Api::OpenAi, server_tool, "type"),
    ] {
        let mut exchange = Exchange::new();
        exchange.begin(&plan_of(api, client, false), "a", None);
        let actions = exchange.on(Event::RequestBody(body));
        let [Action::Reply(reply)] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(reply.status, 400);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert!(body["error"][key].is_string(), "{body}");
        assert_eq!(body["type"] == "error", client == Dialect::Messages);
        let done = exchange.on(DONE);
        assert_eq!(done, [], "nobody was asked");
    }
}

/// Gemini says 400 of a key that it does not know: the gateway's fault, which the next target does not share.
#[test]
fn a_key_that_gemini_refuses_moves_on() {
    let refused = br#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;
    let wrong = br#"{"error":{"code":400,"message":"Bad field","status":"INVALID_ARGUMENT"}}"#;
    for (body, outcome_of, status) in [(&refused[..], "a=401", Some("401")), (wrong, "a=400", None)]
    {
        let (mut exchange, _) = asked(Api::Gemini, false);
        let held = exchange.answer(
            &[(":status", "400"), ("content-type", "application/json")],
            false,
        );
        assert_eq!(held, [Action::Pause]);
        assert_eq!(
            exchange.attempt.wanted(body.len(), true),
            Some(0..body.len())
        );
        check_released(&exchange.body(body, true), outcome_of, status);
    }
}

/// An error that was read is released, under another status if it is the gateway's fault.
fn check_released(actions: &[Action], expected: &str, status: Option<&str>) {
    assert_eq!(outcome(actions).as_deref(), Some(expected));
    let set = actions.iter().find_map(|action| match action {
        Action::SetResponseHeader(":status", status) => Some(&**status),
        _ => None,
    });
    assert_eq!(set, status);
    assert_eq!(actions.last(), Some(&Action::Continue));
}

/// Anthropic says 400 of an account without credit: the gateway's fault as well. An OpenAI-compatible server's 400 is the
/// client's, whatever it says.
#[test]
fn an_account_of_anthropics_without_credit_moves_on() {
    let spent = br#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}"#;
    let wrong = br#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too large"}}"#;
    for (api, body, outcome_of, status) in [
        (Api::Anthropic, &spent[..], "a=402", Some("402")),
        (Api::Anthropic, wrong, "a=400", None),
        (Api::OpenAi, spent, "a=400", None),
    ] {
        let (mut exchange, _) = asked(api, false);
        let head = [(":status", "400"), ("content-type", "application/json")];
        assert_eq!(exchange.answer(&head, false), [Action::Pause]);
        check_released(&exchange.body(body, true), outcome_of, status);
    }
}

/// Passed through the translation it would be garbled.
#[test]
fn a_compressed_answer_passes_where_nothing_reads_it_and_fails_where_something_must() {
    let gzip = [JSON[0], JSON[1], ("content-encoding", "gzip")];
    let (mut exchange, _) = asked(Api::OpenAi, false);
    assert_eq!(
        outcome(&exchange.answer(&gzip, false)).as_deref(),
        Some("a=200")
    );
    let (mut exchange, _) = asked(Api::Anthropic, false);
    let actions = exchange.answer(&gzip, false);
    assert!(is_rejected(&actions));
    assert_eq!(outcome(&actions).as_deref(), Some("a=bad_event"));
    let words =
        |a: &Action| matches!(a, Action::Log(log::Level::Error, m) if m.contains("compressed"));
    assert!(actions.iter().any(words));
}

#[test]
fn an_answer_too_large_to_be_translated_is_a_failure() {
    let (mut exchange, _) = asked(Api::Anthropic, false);
    exchange.answer(&JSON, false);
    let actions = exchange.on(Event::ResponseBody {
        bytes: b"",
        buffered: 10_001,
        end_of_stream: false,
    });
    assert!(is_rejected(&actions));
}

// === what an attempt leaves behind ===

/// What the next plans know of target `a`.
fn standing_of_a(exchange: &Exchange) -> Standing {
    let table = shared::read(&exchange.host);
    let now = shared::now(&exchange.host);
    let record = table.get(plan(false).targets[0].key);
    record.map_or(Standing::Healthy, |r| r.standing(now, &Cooldown::default()))
}

fn next_of(actions: &[Action]) -> Option<usize> {
    actions.iter().find_map(|action| match action {
        Action::SetState(state::PLAN, bytes) => Some(handover::attempts(bytes)?.next),
        _ => None,
    })
}

#[test]
fn what_came_of_an_attempt_is_known_to_the_next_plans() {
    let json = ("content-type", "application/json");
    let spent = br#"{"error":{"message":"You exceeded","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    for (status, body, known) in [
        ("200", &b"{\"id\":1}"[..], Standing::Healthy),
        ("400", b"{}", Standing::Healthy),
        ("503", b"{}", Standing::Shaky),
        ("401", b"{}", Standing::Open),
        ("429", b"{}", Standing::Shaky),
        ("429", spent, Standing::Open),
    ] {
        let mut exchange = Exchange::sent(false);
        let mut actions = exchange.answer(&[(":status", status), json], false);
        if actions.last() == Some(&Action::Pause) {
            let wanted = exchange.attempt.wanted(body.len(), true).expect("the body");
            actions = exchange.body(&body[wanted], true);
        }
        assert_eq!(outcome(&actions).as_deref(), Some(&*format!("a={status}")));
        assert_eq!(actions.last(), Some(&Action::Continue));
        assert_eq!(standing_of_a(&exchange), known, "{status}");
        let warned = |a: &Action| matches!(a, Action::Log(log::Level::Warn, m) if m.contains("provider a, model a"));
        assert_eq!(actions.iter().any(warned), known == Standing::Open);
        assert!(
            !actions
                .iter()
                .any(|a| matches!(a, Action::Log(_, m) if m.contains("exceeded")))
        );
    }
    // Switched off, nothing is held and nothing known.
    let mut exchange = Exchange::new();
    let mut plan = plan(false);
    plan.health.cooldown = None;
    exchange.begin(&plan, "a", None);
    exchange.on(Event::RequestBody(BODY));
    let actions = exchange.answer(&[(":status", "429"), json], false);
    assert_eq!(outcome(&actions).as_deref(), Some("a=429"));
    assert_eq!(standing_of_a(&exchange), Standing::Healthy);
}

/// A 429's body tells a quota from a rate; one that says nothing in time, or too much, tells neither.
#[test]
fn a_limit_is_held_for_its_words_and_for_no_longer_than_other_errors() {
    let limit = [(":status", "429"), ("content-type", "application/json")];
    let mut exchange = Exchange::sent(false);
    assert_eq!(exchange.answer(&limit, false), [Action::Pause]);
    assert_eq!(exchange.attempt.wanted(5, false), Some(0..0));
    let large = Event::ResponseBody {
        bytes: b"",
        buffered: error::MAX_ERROR_BODY + 1,
        end_of_stream: false,
    };
    assert_eq!(outcome(&exchange.on(large)).as_deref(), Some("a=429"));
    for other in [
        ("content-encoding", "gzip"),
        ("content-type", "text/event-stream"),
    ] {
        let mut exchange = Exchange::sent(false);
        let actions = exchange.answer(&[limit[0], other], false);
        assert_eq!(outcome(&actions).as_deref(), Some("a=429"), "{other:?}");
    }
    let mut exchange = Exchange::sent(false);
    assert_eq!(
        outcome(&exchange.answer(&limit, true)).as_deref(),
        Some("a=429")
    );
}

#[test]
fn a_client_that_leaves_is_no_failure_and_gives_a_probe_back() {
    let mut exchange = Exchange::sent(false);
    let actions = exchange.on(Event::Left);
    assert_eq!(outcome(&actions).as_deref(), Some("a=client_left"));
    assert_eq!(standing_of_a(&exchange), Standing::Healthy);
    for (left, probed) in [(false, true), (true, false)] {
        let mut exchange = Exchange::sent(false);
        exchange.answer(&[(":status", "401")], true);
        exchange.host.wait(Duration::from_secs(10));
        let now = shared::now(&exchange.host);
        let (key, cooldown) = (plan(false).targets[0].key, Cooldown::default());
        let claim = |exchange: &Exchange| {
            shared::claim(&exchange.host, key, Duration::from_secs(9), now, &cooldown)
        };
        assert!(claim(&exchange));
        let mut probe = plan(false);
        probe.targets[0].standing = Standing::Probe;
        exchange.attempt = ProviderAttempt::default();
        exchange.begin(&probe, "a", None);
        exchange.on(Event::RequestBody(BODY));
        if left {
            exchange.on(Event::Left);
        }
        assert_eq!(claim(&exchange), !probed);
    }
}

#[test]
fn a_stream_that_breaks_off_after_it_was_released_is_news() {
    let mut exchange = Exchange::sent(true);
    exchange.answer(&STREAM, false);
    exchange.body(
        b"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n",
        false,
    );
    assert_eq!(standing_of_a(&exchange), Standing::Healthy);
    exchange
        .attempt
        .broke_off(&mut exchange.worker, &exchange.host);
    assert_eq!(standing_of_a(&exchange), Standing::Shaky);
}

#[test]
fn a_repeat_takes_a_token_and_a_move_takes_none() {
    let of = |names: &[&str]| {
        let known = plan(false).targets;
        let target = |name: &&str| known.iter().find(|t| t.provider == *name).cloned();
        Plan {
            targets: names.iter().filter_map(target).collect(),
            ..plan(false)
        }
    };
    for (names, at, tokens, next, left) in [
        (&["a", "b"][..], 0, 0, 1, 0),
        (&["a", "a", "b"], 0, 1, 1, 0),
        (&["a", "a", "b"], 0, 0, 2, 0),
        (&["a", "a", "b"], 1, 1, 2, 1),
        (&["a", "b", "a"], 1, 0, 3, 0),
        (&["a", "b", "a"], 1, 1, 2, 0),
        (&["a", "a"], 0, 0, 2, 0),
        (&["a"], 0, 9, 1, 9),
    ] {
        let mut plan = of(names);
        plan.health.retry_budget = RetryBudget {
            permille: 1000,
            min_per_second: 20,
        };
        let rules = plan.health.retry_budget;
        let mut exchange = Exchange::new();
        let budget = &mut exchange.worker.health.budget;
        // What a worker begins with is spent.
        while budget.spend(rules, exchange.host.now()) {}
        (0..tokens).for_each(|_| budget.earn(rules));
        let before = (at > 0).then(|| ((at, at - 1), "x=503"));
        exchange.begin(&plan, plan.targets[at].cluster, before);
        exchange.on(Event::RequestBody(BODY));
        let actions = exchange.answer(&[(":status", "503")], true);
        assert_eq!(
            next_of(&actions),
            Some(next),
            "{names:?} at {at}, {tokens} tokens"
        );
        let cluster = plan.targets[next.min(names.len() - 1)].cluster;
        assert_eq!(state_of(&actions, state::CLUSTER).as_deref(), Some(cluster));
        let budget = &mut exchange.worker.health.budget;
        let now = exchange.host.now();
        let rest = (0..99).filter(|_| budget.spend(rules, now)).count();
        assert_eq!(rest, left, "{names:?} at {at}");
    }
}

/// Envoy has a retry left, and the plan nobody.
#[test]
fn where_nobody_is_left_the_chain_ends_with_the_last_error_in_the_clients_form() {
    for (client, outcomes, status, words) in [
        (Dialect::Chat, "a=503", 503, "provider \"a\" answered 503"),
        (
            Dialect::Messages,
            "a=503",
            503,
            "provider \"a\" answered 503",
        ),
        (
            Dialect::Chat,
            "a=401",
            502,
            "refused the gateway's credential",
        ),
        (Dialect::Chat, "a=timeout", 504, "did not answer in time"),
        (Dialect::Chat, "a=reset", 502, "did not answer at all"),
        (
            Dialect::Chat,
            "a=connect_failure",
            503,
            "could not be reached",
        ),
        (Dialect::Chat, "a=empty", 502, "without a usable answer"),
    ] {
        let mut exchange = Exchange::new();
        let mut plan = plan(false);
        plan.client = client;
        plan.targets[1] = plan.targets[0].clone();
        let mut handed_over = plan.encode();
        let attempts = Attempts {
            begun: 1,
            target: 0,
            next: 2,
            outcomes: outcomes.to_owned(),
        };
        handover::set_attempts(&mut handed_over, &attempts);
        let actions = exchange.on(Event::RequestHeaders {
            headers: Headers::default(),
            handed_over: Some(handed_over),
            retried_at: Some("a"),
            end_of_stream: false,
        });
        let [Action::Reply(reply)] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(reply.status, status, "{outcomes}");
        let body: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        let message = body["error"]["message"].as_str().expect("a message");
        assert!(message.contains(words), "{message}");
        assert_eq!(body["type"] == "error", client == Dialect::Messages);
        assert_eq!(
            exchange.on(Event::Done {
                connect_failed: false,
                has_broken: false,
            }),
            []
        );
    }
}
