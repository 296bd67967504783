//! Cooldown: a target that failed is asked last, comes back by one probe, and no request is lost meanwhile.

use std::time::Duration;

use bytes::Bytes;
use pointsman_tests::client::{Conn, Reply, chat_request};
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};
use pointsman_tests::load::{Load, Until};
use pointsman_tests::upstream::Behaviour;
use serde_json::json;

const FAST: &[(&str, &str)] = &[("x-llm-policy", "fast")];
const PATIENCE: Duration = Duration::from_secs(10);

const OFF: &str = "cooldown: {enabled: false}";

/// The tests' policy with this in place of the switched-off cooldown.
fn policy(rules: &str) -> String {
    let policy = POLICY.replace(OFF, rules);
    assert_ne!(policy, POLICY);
    policy.replace(
        "first_token: 1s, one_shot: 1s",
        "first_token: 8s, one_shot: 8s",
    )
}

async fn start(name: &str, policy: String) -> Gateway {
    let options = Options {
        policy,
        ..Options::default()
    };
    Gateway::start_with(name, options).await
}

/// So many requests one after the other, and how their attempts went.
async fn attempts(gateway: &Gateway, tier: &str, count: usize) -> Vec<String> {
    let mut attempts = Vec::new();
    for _ in 0..count {
        let reply = gateway.chat(&[("x-llm-policy", tier)], "auto").await;
        attempts.push(reply.header("x-routed-attempts"));
    }
    attempts
}

fn says(reply: &Reply, attempts: &str, skipped: &str) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-routed-attempts"), attempts);
    assert_eq!(reply.header("x-routing-skipped"), skipped);
}

/// The prober's time to answer is when the others come.
#[tokio::test]
async fn it_opens_after_three_failures_is_probed_by_one_of_fifty_and_recovers() {
    let gateway = start("cooldown-probe", policy("cooldown: {base: 400ms}")).await;
    gateway.alpha.set(Behaviour::error(503));
    for _ in 0..3 {
        says(&gateway.chat(FAST, "auto").await, "alpha=503, beta=200", "");
    }
    for stream in [false, true] {
        let reply = gateway.post(FAST, &chat("auto", stream)).await;
        says(&reply, "beta=200", "alpha/alpha-small=cooldown");
    }
    // Another model of the same provider is another target.
    let quality = gateway.chat(&[("x-llm-policy", "quality")], "auto").await;
    says(&quality, "beta=200", "");
    gateway.alpha.clear();
    gateway
        .alpha
        .set(Behaviour::SlowHeaders(Duration::from_secs(2)));
    // The wait, with the most that jitter adds to it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let request = chat_request(FAST, &chat("auto", false));
    let mut load = Load::new(gateway.port(), 50, Until::Requests(50), request);
    load.tally = Some("x-routed-attempts");
    let outcome = load.drive().await;
    let told: Vec<_> = outcome
        .tally
        .iter()
        .map(|(a, n)| (a.as_str(), *n))
        .collect();
    assert_eq!(
        told,
        [("alpha=200", 1), ("beta=200", 49)],
        "{:?}",
        outcome.errors
    );
    assert_eq!(gateway.alpha.counters().requests, 1);
    gateway.alpha.set(Behaviour::Ok);
    assert_eq!(attempts(&gateway, "fast", 3).await, ["alpha=200"; 3]);
    let log = gateway.log();
    for line in [
        "provider alpha, model alpha-small: fails (5xx, timeout, reset or no answer); asked last for 0.",
        "provider alpha, model alpha-small: serves again",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}");
    }
    for to in ["open", "half_open", "closed"] {
        let labels =
            format!("model=\"alpha-small\",provider=\"alpha\",to=\"{to}\",why=\"overload\"");
        let name = format!("pointsman_circuit_transitions_total{{{labels}}}");
        assert_eq!(counted(&gateway, &name).await, 1, "{to}");
    }
}

/// Of the default rules.
#[tokio::test]
async fn what_opens_when_it_comes_back_and_what_does_not_count() {
    let gateway = start(
        "cooldown-kinds",
        policy("").replace("\nproviders:", &tiers()),
    )
    .await;
    a_client_that_leaves_does_not_count(&gateway).await;
    a_provider_that_says_when_meets_no_request_before_and_one_then(&gateway).await;
    each_kind_of_trouble_opens_in_its_own_time(&gateway).await;
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn said(status: u16, headers: &[(&str, &str)], body: &str) -> Behaviour {
    let headers = headers.iter().chain([&JSON]);
    Behaviour::Status {
        status,
        headers: headers
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        body: Bytes::from(body.to_owned()),
    }
}

/// A tier of its own for each way to fail: what alpha does, how often it is asked before it is left alone, and the outcome.
fn kinds() -> Vec<(&'static str, Behaviour, usize, &'static str)> {
    const SPENT: &str = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    const RATE: &str = r#"{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}"#;
    const LARGE: &str = r#"{"error":{"message":"Request too large for m","type":"tokens","code":"rate_limit_exceeded"}}"#;
    const RETRY: (&str, &str) = ("retry-after", "99");
    const RETRY_MS: (&str, &str) = ("retry-after-ms", "99000");
    const REACHED: [(&str, &str); 2] = [
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "1m39s"),
    ];
    vec![
        ("refused", Behaviour::error(401), 1, "401"),
        ("unknown", Behaviour::error(404), 1, "404"),
        ("unpaid", Behaviour::error(402), 1, "402"),
        ("spent", said(429, &[], SPENT), 1, "429"),
        ("told", said(429, &[RETRY], RATE), 1, "429"),
        ("told-ms", said(429, &[RETRY_MS], RATE), 1, "429"),
        ("busy", said(503, &[RETRY], "{}"), 1, "503"),
        ("reached", said(429, &REACHED, RATE), 1, "429"),
        ("untold", said(429, &[], RATE), 3, "429"),
        ("too-large", said(429, &[RETRY], LARGE), 9, "429"),
        ("failing", Behaviour::error(500), 3, "500"),
        ("empty", Behaviour::EmptyOk, 3, "empty"),
        ("garbled", Behaviour::NotJson, 3, "bad_event"),
        ("broken", Behaviour::ResetAtOnce, 3, "reset"),
        ("stalled", Behaviour::StallAfterHeaders, 3, "timeout"),
    ]
}

fn tiers() -> String {
    let names = kinds().into_iter().map(|(name, ..)| name);
    let mut tiers = String::new();
    for name in names.chain(["clients-fault", "last"]) {
        let timeouts = match name {
            "stalled" => ", timeouts: {first_token: 400ms, one_shot: 400ms}",
            _ => "",
        };
        tiers += &format!(
            "\n  {name}: {{description: x, targets: [{{provider: alpha, model: m-{name}}}, {{provider: beta, model: b}}]{timeouts}}}"
        );
    }
    tiers + "\nproviders:"
}

async fn each_kind_of_trouble_opens_in_its_own_time(gateway: &Gateway) {
    let kinds = kinds();
    let behaviours: Vec<_> = kinds
        .iter()
        .map(|(name, b, ..)| (*name, b.clone()))
        .collect();
    let good = json!({"choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]});
    let last = said(
        200,
        &[
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "1m39s"),
        ],
        &good.to_string(),
    );
    gateway.alpha.set_by(move |seen| {
        let model = seen.model().replacen("m-", "", 1);
        let known = behaviours.iter().find(|(name, _)| *name == model);
        match known {
            Some((_, behaviour)) => behaviour.clone(),
            None if model == "last" => last.clone(),
            None => Behaviour::error(422),
        }
    });
    for (name, _, asked, outcome) in &kinds {
        let both = format!("alpha={outcome}, beta=200");
        let expected: Vec<_> = (0..5)
            .map(|at| {
                if at < *asked {
                    both.as_str()
                } else {
                    "beta=200"
                }
            })
            .collect();
        assert_eq!(attempts(gateway, name, 5).await, expected, "{name}");
    }
    assert_eq!(
        attempts(gateway, "clients-fault", 5).await,
        ["alpha=422"; 5]
    );
    let last = attempts(gateway, "last", 3).await;
    assert_eq!(last, ["alpha=200", "beta=200", "beta=200"]);
    let log = gateway.log();
    for words in [
        "model m-refused: refuses the gateway (key, model name or path); asked last for",
        "model m-spent: the account's quota or credit is used up; asked last for",
        "model m-told: its rate limit is reached; asked last for",
    ] {
        assert!(log.contains(words), "{words}");
    }
    assert!(
        !log.contains("You exceeded"),
        "no word of a provider's is logged"
    );
}

async fn a_provider_that_says_when_meets_no_request_before_and_one_then(gateway: &Gateway) {
    gateway.alpha.clear();
    gateway.alpha.next([Behaviour::Status {
        status: 429,
        headers: vec![("retry-after".into(), "2".into())],
        body: Bytes::from_static(b"{}"),
    }]);
    says(&gateway.chat(FAST, "auto").await, "alpha=429, beta=200", "");
    while gateway.alpha.counters().requests < 2 {
        let reply = gateway.chat(FAST, "auto").await;
        assert_eq!(reply.status, 200);
        let first = &gateway.alpha.requests()[0];
        assert!(first.at.elapsed() < PATIENCE, "it never came back");
    }
    let at: Vec<_> = gateway
        .alpha
        .requests()
        .iter()
        .map(|seen| seen.at)
        .collect();
    let waited = at[1] - at[0];
    assert!((2.0..3.0).contains(&waited.as_secs_f64()), "{waited:?}");
    assert_eq!(attempts(gateway, "fast", 2).await, ["alpha=200"; 2]);
}

#[tokio::test]
async fn four_workers_learn_together_and_lose_nothing() {
    let options = Options {
        policy: policy("cooldown: {base: 1m}"),
        concurrency: 4,
        ..Options::default()
    };
    let gateway = Gateway::start_with("cooldown-workers", options).await;
    four_workers_learn_together(&gateway).await;
    when_every_target_is_left_alone_each_is_still_tried(&gateway).await;
}

async fn four_workers_learn_together(gateway: &Gateway) {
    const CONNECTIONS: usize = 12;
    gateway.alpha.set(Behaviour::error(503));
    let request = chat_request(FAST, &chat("auto", false));
    let load = Load::new(gateway.port(), CONNECTIONS, Until::Requests(600), request);
    let outcome = load.drive().await;
    assert_eq!(
        outcome.statuses.get(&200),
        Some(&600),
        "{:?}",
        outcome.errors
    );
    // Three failures open it; as many requests as there are connections may be under way by then.
    let failures = gateway.alpha.counters().requests;
    assert!(
        (3..=3 + CONNECTIONS as u64).contains(&failures),
        "{failures}"
    );
    let opened = gateway.log().matches("asked last for").count();
    assert_eq!(opened, 1);
}

/// Alpha is left alone already, here as model alpha-small.
async fn when_every_target_is_left_alone_each_is_still_tried(gateway: &Gateway) {
    for provider in gateway.providers() {
        provider.set(Behaviour::error(503));
    }
    let all = "beta=503, gamma=503, alpha=503";
    assert_eq!(attempts(gateway, "fast", 3).await, [all; 3]);
    for stream in [false, true] {
        for provider in gateway.providers() {
            provider.clear();
        }
        let reply = gateway.post(FAST, &chat("auto", stream)).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        for provider in gateway.providers() {
            assert_eq!(provider.counters().requests, 1, "{}", provider.name());
            let skipped = format!("{0}/{0}-small=cooldown", provider.name());
            assert!(reply.header("x-routing-skipped").contains(&skipped));
        }
    }
    // One that serves again is found whatever its place, and from then on asked first.
    gateway.gamma.set(Behaviour::Ok);
    let reply = gateway.chat(FAST, "auto").await;
    assert_eq!(
        (reply.status, &*reply.header("x-routed-provider")),
        (200, "gamma")
    );
    assert_eq!(attempts(gateway, "fast", 2).await, ["gamma=200"; 2]);
}

const REPEATS: &str = "
  again:
    description: twice the same, then another
    targets: [{provider: alpha, model: a}, {provider: alpha, model: a}, {provider: beta, model: b}]
  only:
    description: twice the same
    targets: [{provider: alpha, model: a}, {provider: alpha, model: a}]
providers:";

/// In a storm nobody repeats; to move on is never refused.
#[tokio::test]
async fn repeats_are_budgeted_and_moves_are_not() {
    let budget = format!("{OFF}\nretry_budget: {{ratio: 0, min_per_second: 1}}");
    let policy = policy(&budget).replace("\nproviders:", REPEATS);
    let gateway = start("cooldown-repeats", policy).await;
    gateway.alpha.set(Behaviour::error(503));
    let begun = std::time::Instant::now();
    let again = attempts(&gateway, "again", 20).await;
    assert_eq!(again[0], "alpha=503, alpha=503, beta=200");
    let mut repeats = again
        .iter()
        .filter(|a| a.matches("alpha").count() == 2)
        .count();
    assert!(again.iter().all(|a| a.ends_with("beta=200")), "{again:?}");
    // The chain ends where there is nobody else, and says what the last one said.
    let mut ended = 0;
    for messages in [false, true] {
        for _ in 0..5 {
            let body = chat("only", false);
            let reply = match messages {
                false => gateway.post(&[], &body).await,
                true => post_messages(&gateway, "only").await,
            };
            assert_eq!(reply.status, 503, "{}", reply.text());
            let error = &reply.json()["error"];
            let message = error["message"].as_str().unwrap_or_default();
            match &*reply.header("x-routed-attempts") {
                "alpha=503" => {
                    ended += 1;
                    let words = "provider \"alpha\" answered 503 for model \"a\"";
                    assert!(message.starts_with(words), "{message}");
                }
                "alpha=503, alpha=503" => repeats += 1,
                other => panic!("{other}"),
            }
            assert_eq!(reply.header("x-routed-provider"), "alpha");
            assert_eq!(error["code"].is_string(), !messages, "{}", reply.text());
        }
    }
    let seconds = begun.elapsed().as_secs() as usize;
    assert!(
        repeats <= 1 + seconds + 1 && ended > 0,
        "{repeats} repeats in {seconds} s"
    );
    assert!(!gateway.log().contains("panicked"));
}

async fn post_messages(gateway: &Gateway, model: &str) -> Reply {
    let body =
        json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]});
    let body = body.to_string();
    let head: &[(&[u8], &[u8])] = &[
        (b"content-type", b"application/json"),
        (b"host", b"gateway"),
    ];
    let request = pointsman_tests::client::request("POST", "/v1/messages", head, body.as_bytes());
    pointsman_tests::client::send(gateway.port(), &request)
        .await
        .expect("the gateway answers")
}

/// Before its answer began, in the middle of an answer that is held, and of one that streams.
async fn a_client_that_leaves_does_not_count(gateway: &Gateway) {
    let mut left = 0;
    for (behaviour, stream) in [
        (Behaviour::StallBeforeHeaders, false),
        (Behaviour::StallBeforeHeaders, true),
        (Behaviour::StallMidBody, false),
        (Behaviour::StallAfterHeaders, true),
    ] {
        gateway.alpha.set(behaviour);
        for leaves in [Leaves::Closes, Leaves::Resets, Leaves::Cancels] {
            gateway.alpha.clear();
            let mut client = Conn::open(gateway.port()).await.expect("a connection");
            let body = chat("auto", stream);
            let request = match leaves {
                Leaves::Cancels => http2_request(body.to_string().as_bytes()).into(),
                Leaves::Closes | Leaves::Resets => chat_request(FAST, &body),
            };
            client.send(&request).await.expect("sent");
            assert!(gateway.alpha.wait_for(PATIENCE, |c| c.requests == 1).await);
            let mut stays = None;
            match leaves {
                Leaves::Closes => drop(client),
                Leaves::Resets => client.reset().expect("reset"),
                Leaves::Cancels => {
                    let cancel = 8_u32.to_be_bytes();
                    client.send(&frame(3, 0, 1, &cancel)).await.expect("sent");
                    stays = Some(client);
                }
            }
            assert!(gateway.alpha.wait_for(PATIENCE, |c| c.in_flight == 0).await);
            drop(stays);
            left += 1;
        }
    }
    gateway.alpha.set(Behaviour::Ok);
    says(&gateway.chat(FAST, "auto").await, "alpha=200", "");
    let name =
        r#"pointsman_attempts_total{model="alpha-small",outcome="client_left",provider="alpha"}"#;
    assert_eq!(counted(gateway, name).await, left);
}

#[derive(Debug, Clone, Copy)]
enum Leaves {
    Closes,
    Resets,
    /// One stream of an HTTP/2 connection that stays.
    Cancels,
}

/// <https://www.rfc-editor.org/rfc/rfc9113#section-4.1>
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    let head = [&length[..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A chat completion of tier fast as the first stream of an HTTP/2 connection, its headers written out, none compressed.
fn http2_request(body: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1/chat/completions"),
        (":authority", "gateway"),
        ("content-type", "application/json"),
        ("x-llm-policy", "fast"),
    ] {
        headers.push(0);
        for text in [name, value] {
            headers.push(text.len() as u8);
            headers.extend(text.as_bytes());
        }
    }
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let (settings, end_headers, end_stream) = (4, 4, 1);
    [
        preface,
        frame(settings, 0, 0, &[]),
        frame(1, end_headers, 1, &headers),
        frame(0, end_stream, 1, body),
    ]
    .concat()
}

/// A counter, by its name with its labels in order; 0 if there is none.
async fn counted(gateway: &Gateway, name: &str) -> u64 {
    let text = gateway.envoy.get("/stats/prometheus").await;
    let text = text.expect("the admin port");
    let sorted = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        let (name, labels) = name.split_once('{')?;
        let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        labels.sort_unstable();
        Some((
            format!("{name}{{{}}}", labels.join(",")),
            value.parse().ok()?,
        ))
    };
    let mut found = text.lines().filter_map(sorted);
    found.find(|(n, _)| n == name).map_or(0, |(_, value)| value)
}
