//! Budgets: how long a request may go without an answer, over all its attempts, and what it gets then: another tier, the
//! policy's own words, or an error that no SDK answers by asking again.
//!
//! What a provider does is in the name of the model that it is asked for. Alpha speaks HTTP/2, the others HTTP/1.1.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use pointsman_tests::client::{self, Conn, Reply};
use pointsman_tests::edit;
use pointsman_tests::envoy::Reload;
use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::http2;
use pointsman_tests::scenes;
use pointsman_tests::upstream::{Behaviour, Seen, Step};
use serde_json::{Value, json};

const KEY: &str = "key-of-anybody";
const LIMITED: &str = "key-of-limited";

/// For an attempt 300 ms, for all 700 ms.
const POLICY: &str = "
version: 1
default_tier: good
caller: {header: x-client-id}
callers: {limited: {tiers: [best]}}
tiers:
  good: {description: d, targets: [{provider: gamma, model: m-good}]}
  pings-http2: {description: d, targets: [{provider: alpha, model: pings}, {provider: gamma, model: m-good}]}
  pings-http1: {description: d, targets: [{provider: beta, model: pings}, {provider: gamma, model: m-good}]}
  stalls:
    description: all of them stall, each in its way
    targets: [{provider: alpha, model: m-stalls}, {provider: beta, model: stalls-late}, {provider: gamma, model: m-stalls}]
  held-http2:
    description: the second holds the answer's headers when the time is over
    targets: [{provider: beta, model: slowly-503}, {provider: alpha, model: stalls-late}]
    timeouts: {first_token: 400ms, one_shot: 400ms, first_token_total: 400ms, one_shot_total: 400ms}
  held-http1:
    description: the same
    targets: [{provider: alpha, model: slowly-503}, {provider: beta, model: pings}]
    timeouts: {first_token: 400ms, one_shot: 400ms, first_token_total: 400ms, one_shot_total: 400ms}
  patient:
    description: in its second attempt when its time is over
    targets: [{provider: alpha, model: slowly-503}, {provider: beta, model: stalls-late}]
    timeouts: {first_token: 3s, first_token_total: 3s}
  lives: {description: d, targets: [{provider: beta, model: m-lives}]}
  hops:
    description: fails again and again, and so is often between two attempts
    degrade: {tier: hops-on}
    targets: [&a {provider: alpha, model: a-503}, &b {provider: beta, model: b-503}, *a, *b, *a, *b, *a, *b]
    timeouts: {first_token: 50ms, one_shot: 50ms, first_token_total: 50ms, one_shot_total: 50ms}
  hops-on:
    description: the same, of other models
    targets: [&c {provider: alpha, model: c-503}, &d {provider: beta, model: d-503}, *c, *d, *c, *d, *c, *d]
  best:
    description: fails
    targets: [{provider: alpha, model: best-503}, {provider: beta, model: best-503}]
    degrade: {tier: good}
  many:
    description: more targets than a tier may have
    degrade: {tier: hops-good}
    targets: [*a, *b, *a, *b, *a, *b, *a, *b]
  hops-good: {description: d, targets: [*c, *d, {provider: gamma, model: m-good}]}
  unhealthy: {description: d, targets: [{provider: alpha, model: best-503}, {provider: beta, model: urges-429}]}
  stalled: {description: d, targets: [{provider: alpha, model: m-stalls}]}
  breaks: {description: d, targets: [{provider: beta, model: resets}]}
  words-503: {description: d, targets: [{provider: alpha, model: w-503}, {provider: beta, model: w-503}], degrade: &words {answer: 'Sorry: \"later\".'}}
  words-401: {description: d, targets: [{provider: beta, model: w-401}], degrade: *words}
  words-stalls: {description: d, targets: [{provider: alpha, model: m-stalls}], degrade: *words}
  words-reset: {description: d, targets: [{provider: beta, model: resets}], degrade: *words}
  words-empty: {description: d, targets: [{provider: beta, model: empty}], degrade: *words}
  words-late:
    description: out of time
    targets: [{provider: beta, model: slowly-503}, {provider: alpha, model: m-stalls}]
    timeouts: {first_token: 400ms, one_shot: 400ms, first_token_total: 400ms, one_shot_total: 400ms}
    degrade: *words
  words-400: {description: d, targets: [{provider: alpha, model: w-503}, {provider: beta, model: w-400}], degrade: *words}
  words-good: {description: d, targets: [{provider: gamma, model: m-good}], degrade: *words}
providers:
  alpha: {cluster: alpha, api: openai, host: alpha.test}
  beta: {cluster: beta, api: openai, host: beta.test}
  gamma: {cluster: gamma, api: openai, host: gamma.test}
timeouts: {first_token: 300ms, one_shot: 300ms, first_token_total: 700ms, one_shot_total: 700ms}
cooldown: {enabled: false}
retry_budget: {ratio: 1, min_per_second: 1000}
";

const WORDS: &str = "Sorry: \"later\".";

fn provide(seen: &Seen) -> Behaviour {
    let model = seen.model();
    let name = model.rsplit('-').next().unwrap_or_default();
    match model.as_str() {
        "pings" => {
            let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
            let pings = [": waiting\n\n", "event: ping\ndata: {}\n\n", role];
            let writes = pings.iter().cycle().take(200);
            Behaviour::StreamBytes {
                writes: writes.map(|ping| Bytes::from(*ping)).collect(),
                gap: Duration::from_millis(20),
            }
        }
        "m-stalls" => Behaviour::StallBeforeHeaders,
        "stalls-late" => Behaviour::StallAfterHeaders,
        "slowly-503" => Behaviour::Steps(vec![
            Step::Pause(Duration::from_millis(200)),
            Step::Write("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".into()),
        ]),
        "m-lives" => Behaviour::Stream {
            events: 21,
            gap: Duration::from_millis(100),
        },
        "resets" => Behaviour::ResetAtOnce,
        "empty" => Behaviour::EmptyOk,
        "urges-429" => Behaviour::Status {
            status: 429,
            headers: vec![
                ("x-should-retry".into(), "true".into()),
                ("retry-after".into(), "0".into()),
            ],
            body: Bytes::new(),
        },
        _ => name.parse().map_or(Behaviour::Ok, Behaviour::error),
    }
}

/// Nobody is ejected for what he does here.
fn prepare(dir: &std::path::Path) {
    http2::ask(dir, "alpha");
    edit::yaml(dir, "clusters.yaml", |clusters| {
        let list = clusters["resources"].as_sequence_mut();
        for cluster in list.expect("a list").iter_mut() {
            let fields = cluster.as_mapping_mut().expect("a cluster");
            fields.remove("outlier_detection");
        }
    });
}

async fn start(name: &str) -> Gateway {
    let options = Options {
        policy: POLICY.to_owned(),
        client_keys: vec![
            ("anybody".into(), KEY.into()),
            ("limited".into(), LIMITED.into()),
        ],
        edit: prepare,
        ..Options::default()
    };
    let gateway = Gateway::start_with(name, options).await;
    for provider in gateway.providers() {
        provider.set_by(provide);
    }
    gateway
}

/// The forms in which a client may ask.
#[derive(Debug, Clone, Copy)]
enum Form {
    Chat,
    Messages,
}

const FORMS: [(Form, bool); 4] = [
    (Form::Chat, false),
    (Form::Chat, true),
    (Form::Messages, false),
    (Form::Messages, true),
];

fn request(key: &str, form: Form, tier: &str, stream: bool) -> Bytes {
    let path = match form {
        Form::Chat => "/v1/chat/completions",
        Form::Messages => "/v1/messages",
    };
    let body = json!({
        "model": tier, "stream": stream, "max_tokens": 50,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    });
    let key = format!("Bearer {key}");
    let headers: [(&[u8], &[u8]); 2] = [
        (b"content-type", b"application/json"),
        (b"authorization", key.as_bytes()),
    ];
    client::request("POST", path, &headers, body.to_string().as_bytes())
}

async fn ask(gateway: &Gateway, form: Form, tier: &str, stream: bool) -> Reply {
    let request = request(KEY, form, tier, stream);
    let reply = client::send(gateway.port(), &request).await;
    reply.unwrap_or_else(|why| panic!("{tier} {form:?} {stream}: {why}"))
}

/// The error's code, or in Anthropic's form its type.
fn error(reply: &Reply, form: Form) -> String {
    let field = match form {
        Form::Chat => "/error/code",
        Form::Messages => "/error/type",
    };
    let body = reply.json();
    let value = body.pointer(field).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

/// The whole of what a stream or a one-shot answer says.
fn text(reply: &Reply, form: Form) -> String {
    match form {
        Form::Chat => reply.content(),
        Form::Messages => {
            let whole = reply.json();
            let whole = whole.pointer("/content/0/text").and_then(Value::as_str);
            let of_event = |event: &client::Event| {
                let json = event.json();
                let text = json.pointer("/delta/text").and_then(Value::as_str);
                text.map(str::to_owned)
            };
            let streamed = || reply.events().iter().filter_map(of_event).collect();
            whole.map_or_else(streamed, str::to_owned)
        }
    }
}

/// Takes `least`, and hardly longer.
fn took(begun: Instant, least: u64, case: &str) {
    let took = begun.elapsed();
    let least = Duration::from_millis(least);
    let most = least + Duration::from_millis(250);
    assert!((least..most).contains(&took), "{case}: {took:?}");
}

async fn pings_are_no_token(gateway: &Gateway) {
    let scenes = ["pings-http2", "pings-http1"].map(async |tier| {
        let begun = Instant::now();
        let reply = ask(gateway, Form::Chat, tier, true).await;
        took(begun, 290, tier);
        let first = if tier == "pings-http2" {
            "alpha"
        } else {
            "beta"
        };
        let attempts = format!("{first}=timeout, gamma=200");
        assert_eq!(reply.header("x-routed-attempts"), attempts, "{tier}");
        assert_eq!(reply.content(), "gamma 1 2", "{tier}");
        assert_eq!(reply.header("x-routing-degraded"), "", "{tier}");
    });
    join_all(scenes).await;
}

async fn the_budget_ends_a_chain(gateway: &Gateway) {
    let cases = [
        ("stalls", 700, "alpha=timeout, beta=timeout, gamma=timeout"),
        ("held-http2", 400, "beta=503, alpha=timeout"),
        ("held-http1", 400, "alpha=503, beta=timeout"),
    ];
    let scenes = cases
        .iter()
        .flat_map(|case| FORMS.map(|form| (*case, form)));
    let scenes = scenes.map(async |((tier, budget, attempts), (form, stream))| {
        // Pings are for streams: to a one-shot request they are a body that is not JSON, once it is whole.
        let case = format!("{tier} {form:?} stream {stream}");
        let begun = Instant::now();
        let reply = ask(gateway, form, tier, stream).await;
        took(begun, budget - 10, &case);
        assert_eq!(reply.status, 504, "{case}: {}", reply.text());
        assert_eq!(reply.header("x-routed-attempts"), attempts, "{case}");
        assert_eq!(reply.header("x-routing-tier"), tier, "{case}");
        assert_eq!(reply.header("x-should-retry"), "false", "{case}");
        assert_eq!(reply.header("content-type"), "application/json", "{case}");
        let code = match (form, stream) {
            (Form::Messages, _) => "timeout_error",
            (Form::Chat, true) => "first_token_timeout",
            (Form::Chat, false) => "answer_timeout",
        };
        assert_eq!(error(&reply, form), code, "{case}: {}", reply.text());
    });
    join_all(scenes).await;
}

async fn a_stream_that_began_is_never_cut(gateway: &Gateway) {
    let begun = Instant::now();
    let reply = ask(gateway, Form::Chat, "lives", true).await;
    assert!(begun.elapsed() > Duration::from_secs(2), "{begun:?}");
    let expected: String = (1..21).map(|n| format!(" {n}")).collect();
    assert_eq!(reply.content(), format!("beta{expected}"));
    let last = reply.events().pop().map(|event| event.data);
    assert_eq!(last.as_deref(), Some("[DONE]"));
}

async fn another_tier_serves(gateway: &Gateway) {
    let scenes = FORMS.map(async |(form, stream)| {
        let case = format!("{form:?} stream {stream}");
        let reply = ask(gateway, form, "best", stream).await;
        assert_eq!(reply.status, 200, "{case}: {}", reply.text());
        let header = |name: &str| reply.header(name);
        let attempts = "alpha=503, beta=503, gamma=200";
        assert_eq!(header("x-routed-attempts"), attempts, "{case}");
        assert_eq!(header("x-routing-tier"), "best", "{case}");
        assert_eq!(header("x-routing-degraded"), "tier good", "{case}");
        assert!(text(&reply, form).starts_with("gamma"), "{case}");
    });
    join_all(scenes).await;
    // Ten attempts fail, more than the route's own number of retries.
    let reply = ask(gateway, Form::Chat, "many", false).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-routing-degraded"), "tier hops-good");
    let attempts = reply.header("x-routed-attempts");
    assert_eq!(attempts.matches("=503").count(), 10, "{attempts}");
    // Not for whom it is not allowed.
    let request = request(LIMITED, Form::Chat, "best", false);
    let reply = client::send(gateway.port(), &request)
        .await
        .expect("an answer");
    assert_eq!(
        (reply.status, reply.header("x-routing-degraded")),
        (503, String::new())
    );
    assert_eq!(reply.header("x-routed-attempts"), "alpha=503, beta=503");
    assert_eq!(
        reply.header("x-routing-skipped"),
        "gamma/m-good=not_allowed"
    );
}

async fn words_answer(gateway: &Gateway) {
    let cases = [
        ("words-503", "alpha=503, beta=503"),
        ("words-401", "beta=401"),
        ("words-stalls", "alpha=timeout"),
        ("words-reset", "beta=reset"),
        ("words-empty", "beta=empty"),
        ("words-late", "beta=503, alpha=timeout"),
    ];
    let scenes = cases
        .iter()
        .flat_map(|case| FORMS.map(|form| (*case, form)));
    let scenes = scenes.map(async |((tier, attempts), (form, stream))| {
        let case = format!("{tier} {form:?} stream {stream}");
        let reply = ask(gateway, form, tier, stream).await;
        assert_eq!(reply.status, 200, "{case}: {}", reply.text());
        let header = |name: &str| reply.header(name);
        assert_eq!(header("x-routing-degraded"), "answer", "{case}");
        assert_eq!(header("x-routing-tier"), tier, "{case}");
        assert_eq!(header("x-routed-attempts"), attempts, "{case}");
        assert_eq!(header("x-routed-provider"), "", "{case}");
        let content_type = match stream {
            true => "text/event-stream; charset=utf-8",
            false => "application/json",
        };
        assert_eq!(header("content-type"), content_type, "{case}");
        assert_eq!(text(&reply, form), WORDS, "{case}: {}", reply.text());
    });
    join_all(scenes).await;
    for (form, stream) in FORMS {
        let fault = ask(gateway, form, "words-400", stream).await;
        assert_eq!(
            (fault.status, fault.header("x-routing-degraded")),
            (400, String::new())
        );
        assert_eq!(fault.header("x-should-retry"), "false");
        let good = ask(gateway, form, "words-good", stream).await;
        assert!(text(&good, form).starts_with("gamma"), "{}", good.text());
        assert_eq!(good.header("x-routing-degraded"), "");
    }
}

async fn nobody_is_to_ask_again(gateway: &Gateway) {
    for (tier, status, attempts) in [
        ("unhealthy", 429, "alpha=503, beta=429"),
        ("stalled", 504, "alpha=timeout"),
        ("breaks", 503, "beta=reset"),
    ] {
        for (form, stream) in FORMS {
            let reply = ask(gateway, form, tier, stream).await;
            assert_eq!(reply.status, status, "{tier}: {}", reply.text());
            assert_eq!(reply.header("x-routed-attempts"), attempts, "{tier}");
            let said: Vec<_> = reply.headers.all("x-should-retry").collect();
            assert_eq!(said, [b"false"], "{tier}");
        }
    }
    // What was refused before anybody was asked is the client's to repeat.
    let nobody = request("key-of-nobody", Form::Chat, "good", false);
    let reply = client::send(gateway.port(), &nobody)
        .await
        .expect("an answer");
    assert_eq!(
        (reply.status, reply.header("x-should-retry")),
        (401, String::new())
    );
    let reply = ask(gateway, Form::Chat, "no-such-tier", false).await;
    assert_eq!(
        (reply.status, reply.header("x-should-retry")),
        (404, String::new())
    );
}

#[tokio::test]
async fn a_request_is_answered_within_its_budget() {
    let gateway = start("budget").await;
    tokio::join!(
        pings_are_no_token(&gateway),
        the_budget_ends_a_chain(&gateway),
        a_stream_that_began_is_never_cut(&gateway),
    );
    tokio::join!(
        another_tier_serves(&gateway),
        words_answer(&gateway),
        nobody_is_to_ask_again(&gateway),
    );
    let stats = gateway.envoy.get("/stats/prometheus").await.expect("stats");
    for line in [
        r#"pointsman_degraded_total{tier="best",to="good"} 4"#,
        r#"pointsman_degraded_total{tier="words-late",to="answer"} 4"#,
        r#"pointsman_attempts_total{provider="gamma",model="m-stalls",outcome="timeout"} 4"#,
    ] {
        assert!(counts(&stats, line), "{line}\n{stats}");
    }
    assert!(!counts_resets_of_stalls(&stats), "{stats}");
    assert!(!gateway.log().contains("panicked"), "the filter lives");
}

/// Whatever order the labels are in.
fn counts(stats: &str, wanted: &str) -> bool {
    let parts = |line: &str| {
        let mut parts: Vec<String> = line
            .split(['{', '}', ',', ' '])
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        parts.sort();
        parts
    };
    let wanted = parts(wanted);
    stats.lines().any(|line| parts(line) == wanted)
}

fn counts_resets_of_stalls(stats: &str) -> bool {
    let mut lines = stats.lines();
    lines.any(|line| line.contains("outcome=\"reset\"") && line.contains("stalls"))
}

/// The time is over in the middle of an attempt, of Envoy's back-off, and of the moment between.
#[tokio::test]
async fn the_filter_lives_whenever_the_time_is_over() {
    let gateway = start("budget-hops").await;
    let requests = (0..120_u64).map(async |n| {
        tokio::time::sleep(Duration::from_millis(n * 7)).await;
        let (form, stream) = FORMS[n as usize % 4];
        let reply = ask(&gateway, form, "hops", stream).await;
        assert!(matches!(reply.status, 503 | 504), "{}", reply.text());
        assert_eq!(reply.header("x-should-retry"), "false");
        reply.status
    });
    let answered = join_all(requests).await;
    assert!(answered.contains(&504), "some were out of time");
    // A client that leaves while its time runs.
    for n in 0..10 {
        let mut conn = Conn::open(gateway.port()).await.expect("a connection");
        let request = request(KEY, Form::Chat, "stalls", n % 2 == 0);
        conn.send(&request).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reply = ask(&gateway, Form::Chat, "good", false).await;
    assert_eq!(reply.content(), "gamma answers as m-good");
    assert!(!gateway.log().contains("panicked"), "the filter lives");
}

/// The tick belongs to the policy that the request met, and goes on as long as such a request does.
#[tokio::test]
async fn a_reload_takes_no_time_from_a_request_and_gives_it_none() {
    let mut gateway = start("budget-reload").await;
    let port = gateway.port();
    let late = tokio::spawn(async move {
        let begun = Instant::now();
        let request = request(KEY, Form::Chat, "patient", true);
        let reply = client::send(port, &request).await.expect("an answer");
        (begun, begun.elapsed(), reply)
    });
    while gateway.beta.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let longer = POLICY.replace("3s", "60s");
    let reload = gateway.envoy.rewrite_policy(&longer);
    assert_eq!(reload.await, Ok(Reload::Taken));
    assert!(!late.is_finished(), "the reload was slower than the budget");
    let (begun, took, reply) = late.await.expect("the task");
    assert_eq!(
        error(&reply, Form::Chat),
        "first_token_timeout",
        "{begun:?}"
    );
    let budget = Duration::from_millis(2990)..Duration::from_millis(3250);
    assert!(budget.contains(&took), "{took:?}");
}

/// Both official SDKs, with the retries that they have by default.
#[tokio::test]
async fn the_official_sdks_read_the_words_and_do_not_ask_again() {
    let gateway = start("budget-sdks").await;
    let url = format!("http://127.0.0.1:{}", gateway.port());
    let out = scenes::python("budget.py", &[url, KEY.to_owned()]).await;
    let saw: Value = serde_json::from_slice(&out).expect("one JSON object");
    let words = json!([WORDS, "stop"]);
    let message = json!([WORDS, "end_turn"]);
    let expected = json!({
        "openai words": words, "openai words streamed": words, "openai words helper": words,
        "anthropic words": message, "anthropic words streamed": message,
        "openai stalls": "InternalServerError 504", "openai stalls streamed": "InternalServerError 504",
        "anthropic stalls": "GatewayTimeoutError 504", "anthropic stalls streamed": "GatewayTimeoutError 504",
        "openai unhealthy": "RateLimitError 429", "openai unhealthy streamed": "RateLimitError 429",
        "anthropic unhealthy": "RateLimitError 429", "anthropic unhealthy streamed": "RateLimitError 429",
        "openai breaks": "InternalServerError 503", "openai breaks streamed": "InternalServerError 503",
        "anthropic breaks": "ServiceUnavailableError 503", "anthropic breaks streamed": "ServiceUnavailableError 503",
    });
    assert_eq!(saw, expected);
    let log = gateway.access_log(17).await;
    assert_eq!(log.len(), 17, "each asked once");
    let degraded = log.iter().filter(|line| line["degraded"] == "answer");
    assert_eq!(degraded.count(), 5);
}
