//! Decisions that are kept, callouts that are bounded, and many clients at once, on a real Envoy.

use std::time::{Duration, Instant};

use pointsman_tests::client::{Conn, Reply, chat_request, post_chat};
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};
use pointsman_tests::health;
use pointsman_tests::upstream::{Behaviour, Seen};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);

/// Callers by `x-team`, this classifier and this cache.
fn policy(llm: &str, cache: &str) -> String {
    let policy = POLICY
        .replace("x-client-id", "x-team")
        .replace("timeout: 500ms", llm);
    format!("{policy}cache: {{{cache}}}\n")
}

async fn start(name: &str, policy: String) -> Gateway {
    let options = Options {
        policy,
        ..Options::default()
    };
    let gateway = Gateway::start_with(name, options).await;
    gateway.classifier.set(Behaviour::classify("quality"));
    gateway
}

fn ask(text: &str) -> Value {
    json!({"model": "auto", "messages": [{"role": "user", "content": text}]})
}

/// `source tier`
fn decision(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    format!(
        "{} {}",
        reply.header("x-routing-source"),
        reply.header("x-routing-tier")
    )
}

#[tokio::test]
async fn the_same_question_of_the_same_caller_is_asked_once() {
    let gateway = start("cache", policy("timeout: 500ms", "ttl: 10m")).await;
    let a = ("x-team", "a");
    let b = ("x-team", "b");
    let streamed = || {
        let mut body = ask("one");
        body["stream"] = true.into();
        body["temperature"] = json!(0.5);
        body
    };
    let mut requested = ask("one");
    requested["model"] = "gpt-4o".into();
    let turns = |n: usize| -> Value {
        let turn =
            |i| json!({"role": if i + 1 == n { "user" } else { "assistant" }, "content": "one"});
        json!({"model": "auto", "messages": (0..n).map(turn).collect::<Vec<_>>()})
    };
    type Case<'a> = (&'a [(&'a str, &'a str)], Value, &'a str);
    let cases: [Case<'_>; 12] = [
        (&[a], ask("one"), "llm quality"),
        (&[a], ask("one"), "cache quality"),
        // What the classifier does not see makes no other question.
        (&[a, ("user-agent", "other")], streamed(), "cache quality"),
        (&[a], ask("two"), "llm quality"),
        (&[a], ask("one"), "cache quality"),
        // Another caller may have other tiers, and shall not learn what this one asked.
        (&[b], ask("one"), "llm quality"),
        (&[b], ask("one"), "cache quality"),
        (&[], ask("one"), "llm quality"),
        // The length counts only as a bucket.
        (&[a], turns(3), "llm quality"),
        (&[a], turns(5), "cache quality"),
        (&[a], turns(6), "llm quality"),
        (&[a], turns(20), "cache quality"),
    ];
    for (headers, body, expected) in cases {
        gateway.classifier.clear();
        let reply = gateway.post(headers, &body).await;
        assert_eq!(decision(&reply), expected, "{headers:?} {body}");
        assert_eq!(reply.header("x-routing-reason"), "no reason given");
        let asked = expected.starts_with("llm");
        assert_eq!(
            gateway.classifier.counters().requests,
            u64::from(asked),
            "{headers:?} {body}"
        );
        assert_eq!(
            reply.headers.contains("x-classification-time"),
            asked,
            "{headers:?} {body}"
        );
    }
    // Failures are not kept.
    gateway.classifier.set(Behaviour::error(500));
    assert_eq!(
        decision(&gateway.post(&[a], &ask("three")).await),
        "default fast"
    );
    assert_eq!(
        decision(&gateway.post(&[a], &ask("three")).await),
        "default fast"
    );
    gateway.classifier.set(Behaviour::classify("quality"));
    assert_eq!(
        decision(&gateway.post(&[a], &ask("three")).await),
        "llm quality"
    );
    assert_eq!(
        decision(&gateway.post(&[a], &ask("three")).await),
        "cache quality"
    );
}

#[tokio::test]
async fn policy_says_how_long_how_much_and_for_whom_decisions_are_kept() {
    // For how long: as long as policy says, from when the classifier answered.
    let mut gateway = start("cache-settings", policy("timeout: 500ms", "ttl: 1s")).await;
    let begun = Instant::now();
    assert_eq!(decision(&gateway.chat(&[], "auto").await), "llm quality");
    let kept = begun.elapsed();
    let mut cached = 0;
    while decision(&gateway.chat(&[], "auto").await) == "cache quality" {
        cached += 1;
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        cached > 0 && begun.elapsed() >= Duration::from_secs(1),
        "{cached} {kept:?}"
    );

    // A reload keeps what is known: the settings are no part of the question.
    let settings = [
        ("max_bytes: 0", ["llm", "llm", "llm", "llm"]),
        (
            "share_between_callers: true",
            ["llm", "cache", "cache", "cache"],
        ),
        // What was shared is nobody's own.
        (
            "share_between_callers: false",
            ["llm", "llm", "llm", "cache"],
        ),
        // Room for less than one decision.
        ("max_bytes: 100", ["llm", "llm", "llm", "llm"]),
    ];
    for (cache, expected) in settings {
        let policy = policy("timeout: 500ms", cache);
        gateway
            .envoy
            .rewrite_policy(&policy)
            .await
            .expect("a policy");
        for (caller, source) in ["a", "b", "c", "a"].into_iter().zip(expected) {
            let reply = gateway.chat(&[("x-team", caller)], "auto").await;
            assert_eq!(
                decision(&reply),
                format!("{source} quality"),
                "{cache}, {caller}"
            );
        }
    }
}

#[tokio::test]
async fn only_a_policy_that_may_decide_otherwise_asks_again() {
    let base = policy("timeout: 500ms", "ttl: 10m");
    let mut gateway = start("cache-reload", base.clone()).await;
    assert_eq!(decision(&gateway.chat(&[], "auto").await), "llm quality");
    let target = "- {provider: beta, model: beta-large}\n";
    for (from, to, expected, provider) in [
        // Where a tier leads does not change which tier it is.
        (
            target,
            "- {provider: gamma, model: gamma-large}\n",
            "cache quality",
            "gamma",
        ),
        (
            "host: beta.test",
            "host: other.test",
            "cache quality",
            "beta",
        ),
        ("timeout: 500ms", "timeout: 450ms", "cache quality", "beta"),
        (
            "careful work",
            "the most careful work",
            "llm quality",
            "beta",
        ),
        ("simple questions", "short questions", "llm quality", "beta"),
        ("model: judge", "model: other-judge", "llm quality", "beta"),
        (
            "timeout: 500ms",
            "timeout: 500ms, max_user_chars: 499",
            "llm quality",
            "beta",
        ),
        (
            "default_tier: fast",
            "default_tier: single",
            "llm quality",
            "beta",
        ),
        (
            "classify:\n",
            "callers: {a: {tiers: [fast]}}\nclassify:\n",
            "llm quality",
            "beta",
        ),
        // And back: what was decided under this policy still holds.
        ("careful work", "careful work", "cache quality", "beta"),
    ] {
        let changed = base.replace(from, to);
        assert!(from == to || changed != base, "{from}");
        gateway
            .envoy
            .rewrite_policy(&changed)
            .await
            .expect("a policy");
        let reply = gateway.chat(&[], "auto").await;
        assert_eq!(decision(&reply), expected, "{to}");
        assert_eq!(reply.header("x-routed-provider"), provider, "{to}");
    }
    health::check(&gateway, "reloads").await;
}

#[tokio::test]
async fn a_tool_loop_of_ten_turns_costs_one_callout_and_stays_on_one_model() {
    let gateway = start("tool-loop", policy("timeout: 500ms", "ttl: 10m")).await;
    gateway.classifier.set(Behaviour::classify("fast"));
    gateway.classifier.next([Behaviour::classify("quality")]);
    let mut messages = vec![
        json!({"role": "system", "content": "You may use tools."}),
        json!({"role": "user", "content": "What is the weather in ten cities?"}),
    ];
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
    for turn in 0..10 {
        let body = json!({"model": "auto", "tools": tools, "messages": messages});
        let reply = gateway.post(&[], &body).await;
        let source = if turn == 0 { "llm" } else { "cache" };
        assert_eq!(decision(&reply), format!("{source} quality"), "turn {turn}");
        assert_eq!(reply.header("x-routed-model"), "beta-large", "turn {turn}");
        let seen = gateway.beta.last().expect("a request").json();
        assert_eq!(seen["messages"], json!(messages), "turn {turn}");
        // Two tools at a time: the conversation outgrows every bucket on its way.
        let call = |n: usize| json!({"id": format!("call_{turn}_{n}"), "type": "function", "function": {"name": "weather", "arguments": "{}"}});
        messages
            .push(json!({"role": "assistant", "content": null, "tool_calls": [call(0), call(1)]}));
        for n in 0..2 {
            let id = format!("call_{turn}_{n}");
            messages.push(json!({"role": "tool", "tool_call_id": id, "content": format!("{turn}{n} degrees")}));
        }
    }
    assert_eq!(gateway.classifier.counters().requests, 1);
    // The user's next message is a new question.
    messages.push(json!({"role": "user", "content": "Thanks!"}));
    let reply = gateway
        .post(&[], &json!({"model": "auto", "messages": messages}))
        .await;
    assert_eq!(decision(&reply), "llm fast");
}

// === callouts under way

/// Waits until Envoy has seen so many clients leave before their answer.
async fn left(gateway: &Gateway, clients: u64) {
    let end = Instant::now() + PATIENCE;
    let stat = "http.ai.downstream_rq_rx_reset";
    while gateway.envoy.stat(stat).await.expect("Envoy's stats") < Some(clients) {
        assert!(Instant::now() < end, "client {clients} is still there");
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_its_callout_gives_its_place_back() {
    let policy = policy("timeout: 20s, max_in_flight: 1", "max_bytes: 0");
    let gateway = start("left", policy).await;
    // More often than failures are borne: to leave is no fault of the classifier's. Half of the callouts are never
    // answered, the other half after their clients left.
    for round in 1..=8 {
        let late = Behaviour::Classify {
            content: "quality".into(),
            delay: Duration::from_millis(300),
        };
        let stalled = round % 2 == 0;
        let unanswered = if stalled {
            Behaviour::StallBeforeHeaders
        } else {
            late
        };
        gateway.classifier.next([unanswered]);
        let mut client = Conn::open(gateway.port()).await.expect("a connection");
        let request = chat_request(&[], &chat("auto", false));
        client.send(&request).await.expect("sent");
        assert!(
            gateway
                .classifier
                .wait_for(PATIENCE, |c| c.requests == round * 2 - 1)
                .await
        );
        if round % 3 == 0 {
            client.reset().expect("reset");
        } else {
            drop(client);
        }
        left(&gateway, round).await;
        let reply = gateway.chat(&[], "auto").await;
        assert_eq!(decision(&reply), "llm quality", "round {round}");
    }
    // The late answers found nobody, and did no harm; nothing of those who left reached a provider.
    assert!(
        gateway
            .classifier
            .wait_for(PATIENCE, |c| c.answered == 12)
            .await
    );
    health::check(&gateway, "clients that left").await;
    let requests = gateway.providers().map(|p| p.counters().requests);
    assert_eq!(requests, [1, 8, 0]);
}

#[tokio::test]
async fn callouts_beyond_max_in_flight_are_the_default_tier_at_once() {
    let gateway = start(
        "in-flight",
        policy("timeout: 20s, max_in_flight: 2", "max_bytes: 0"),
    )
    .await;
    let delay = Duration::from_secs(1);
    gateway.classifier.set(Behaviour::Classify {
        content: "quality".into(),
        delay,
    });
    let mut waiting = Vec::new();
    for text in ["one", "two"] {
        let mut client = Conn::open(gateway.port()).await.expect("a connection");
        client
            .send(&chat_request(&[], &ask(text)))
            .await
            .expect("sent");
        waiting.push(client);
    }
    assert!(
        gateway
            .classifier
            .wait_for(PATIENCE, |c| c.in_flight == 2)
            .await
    );
    let begun = Instant::now();
    for _ in 0..3 {
        let reply = gateway.chat(&[], "auto").await;
        assert_eq!(decision(&reply), "default fast");
        assert_eq!(
            reply.header("x-routing-reason"),
            "too many classifier calls are under way"
        );
        assert!(!reply.headers.contains("x-classification-time"));
    }
    assert!(begun.elapsed() < delay, "{:?}", begun.elapsed());
    for client in &mut waiting {
        assert_eq!(
            decision(&client.reply().await.expect("an answer")),
            "llm quality"
        );
    }
    // Their places are free again.
    assert_eq!(decision(&gateway.chat(&[], "auto").await), "llm quality");
    assert_eq!(gateway.classifier.counters().requests, 3);
}

/// The user's text in a request to a provider.
fn user_text(seen: &Seen) -> String {
    seen.prompt("user")
}

#[tokio::test]
async fn of_200_requests_50_at_a_time_each_gets_its_own_answer() {
    const CLIENTS: usize = 50;
    const EACH: usize = 4;
    let options = Options {
        policy: policy("timeout: 20s", "ttl: 10m"),
        concurrency: 2,
        ..Options::default()
    };
    let gateway = Gateway::start_with("concurrent", options).await;
    // Odd questions are for beta, even ones for alpha, and each answer repeats its question.
    gateway.classifier.set_by(|seen| {
        let question: Value = serde_json::from_str(&user_text(seen)).unwrap_or_default();
        let text = question["latest_user_message"].as_str().unwrap_or_default();
        let is_odd = text.ends_with(['1', '3', '5', '7', '9']);
        let tier = if is_odd { "quality" } else { "single" };
        let delay = Duration::from_millis(50 + 10 * (text.len() as u64 % 7));
        Behaviour::Classify {
            content: json!({"tier": tier, "reason": format!("for {text}")}).to_string(),
            delay,
        }
    });
    for provider in [&gateway.alpha, &gateway.beta] {
        let name = provider.name().to_owned();
        provider.set_by(move |seen| {
            let content = format!("{name} heard {}", user_text(seen));
            Behaviour::Body(
                json!({
                    "id": "x", "object": "chat.completion", "created": 1, "model": seen.model(),
                    "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
                })
                .to_string()
                .into(),
            )
        });
    }
    let port = gateway.port();
    let clients = (0..CLIENTS).map(|client| {
        tokio::spawn(async move {
            let mut wrong = Vec::new();
            for i in 0..EACH {
                let n = client * EACH + i;
                let question = format!("{}question {n}", "so ".repeat(n % 5));
                let (tier, provider) = if n % 2 == 1 {
                    ("quality", "beta")
                } else {
                    ("single", "alpha")
                };
                let reply = post_chat(port, &[], &ask(&question))
                    .await
                    .expect("an answer");
                let got = (
                    decision(&reply),
                    reply.header("x-routing-reason"),
                    reply.content(),
                );
                let expected = (
                    format!("llm {tier}"),
                    format!("for {question}"),
                    format!("{provider} heard {question}"),
                );
                if got != expected {
                    wrong.push((got, expected));
                }
            }
            wrong
        })
    });
    let mut wrong = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        wrong.extend(client.await.expect("a client"));
    }
    assert!(
        wrong.is_empty(),
        "{} wrong, such as {:?}",
        wrong.len(),
        wrong.first()
    );
    assert_eq!(
        gateway.classifier.counters().requests,
        (CLIENTS * EACH) as u64
    );
    assert!(
        gateway.classifier.counters().most_in_flight >= 20,
        "{:?}",
        gateway.classifier.counters()
    );
    gateway.alpha.set(Behaviour::Ok);
    health::check(&gateway, "200 requests").await;
}
