//! Order, on a real Envoy: a canary gets its share, a loop keeps its model, and a client orders providers where it may.

use std::collections::BTreeMap;

use pointsman::chat::request::{self, Cut, Dialect};
use pointsman::http::Headers;
use pointsman::policy::{Policy, TierName};
use pointsman::router::candidates::{Asked, candidates};
use pointsman::router::decide::{Access, Choice};
use pointsman_tests::client::{self, Conn, chat_request};
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};
use pointsman_tests::upstream::Behaviour;
use pointsman_tests::{health, policy_file};
use serde_json::{Value, json};

const CALLER: &str = "agents";

fn policy() -> String {
    POLICY.replace("x-client-id", "x-team").replace(
        "providers:\n",
        "
  canary:
    description: a new model for some
    order: weighted
    targets:
    - {provider: alpha, model: alpha-small, weight: 90}
    - {provider: beta, model: beta-small, weight: 10}
  spread:
    description: all of them
    order: weighted
    targets:
    - {provider: alpha, model: alpha-small, weight: 40}
    - {provider: beta, model: beta-small, weight: 40}
    - {provider: gamma, model: gamma-small, weight: 20}
callers:
  chooser: {tiers: [fast, quality, single, spread], order_providers: true}
  limited: {tiers: [fast]}
providers:
",
    )
}

async fn start(name: &str) -> Gateway {
    let options = Options {
        policy: policy(),
        concurrency: 2,
        ..Options::default()
    };
    Gateway::start_with(name, options).await
}

/// The first turn of a conversation.
fn opening(tier: &str, about: usize) -> Value {
    json!({"model": tier, "messages": [
        {"role": "system", "content": "You are an agent."},
        {"role": "user", "content": format!("Mend issue {about}.")},
    ]})
}

/// A call and its result, and at times a word of the user's, behind what was said.
fn turn(body: &mut Value, number: usize) {
    let id = format!("call_{number}");
    let call =
        json!({"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}});
    let messages = body["messages"].as_array_mut().expect("messages");
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
    messages.push(json!({"role": "tool", "tool_call_id": id, "content": format!("line {number}")}));
    if number.is_multiple_of(3) {
        messages.push(json!({"role": "user", "content": "Go on."}));
    }
}

/// On a connection of its own, and so with any worker.
async fn ask(gateway: &Gateway, body: &Value) -> String {
    let reply = gateway.post(&[("x-team", CALLER)], body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-routed-provider")
}

/// What the filter's code says outside Envoy.
fn natively(policy: &Policy, body: &Value) -> String {
    let tier = body["model"].as_str().expect("a tier");
    let body = body.to_string();
    let asked = Asked {
        choice: &Choice::Tier(TierName(tier.into())),
        access: &Access::of(policy, CALLER),
        caller: CALLER,
        headers: &Headers::default(),
        request: &request::parse(body.as_bytes(), Cut::default()).expect("a request"),
        client: Dialect::Chat,
        random: 0,
    };
    let found = candidates(policy, asked).expect("candidates");
    found.targets[0].provider.name.to_string()
}

#[tokio::test]
async fn a_canary_gets_its_share_in_every_worker_and_a_loop_keeps_its_model() {
    const TALKS: usize = 300;
    let gateway = start("canary").await;
    let json = policy_file::to_json(&policy()).expect("JSON");
    let policy = Policy::from_bytes(json.as_bytes()).expect("a policy");
    let mut conn = Conn::open(gateway.port()).await.expect("a connection");
    let mut served = BTreeMap::<String, Vec<usize>>::new();
    for about in 0..TALKS {
        let body = opening("canary", about);
        let request = chat_request(&[("x-team", CALLER)], &body);
        conn.send(&request).await.expect("sent");
        let reply = conn.reply().await.expect("an answer");
        let provider = reply.header("x-routed-provider");
        assert_eq!(provider, natively(&policy, &body), "conversation {about}");
        served.entry(provider).or_default().push(about);
    }
    // 30, give or take three standard deviations.
    let canary = &served["beta"];
    assert!((14..=46).contains(&canary.len()), "{} of 300", canary.len());
    assert_eq!(canary.len() + served["alpha"].len(), TALKS);
    assert_eq!(gateway.beta.requests().len(), canary.len());

    // The share can be read from the metrics.
    let stats = gateway.envoy.get("/stats/prometheus").await.expect("stats");
    let counted = stats.lines().find(|line| {
        line.starts_with("pointsman_attempts_total") && line.contains(r#"provider="beta""#)
    });
    let counted = counted
        .and_then(|line| line.rsplit_once(' '))
        .expect("counted")
        .1;
    assert_eq!(counted, canary.len().to_string());

    for (provider, about) in [("beta", canary[0]), ("alpha", served["alpha"][0])] {
        let mut body = opening("canary", about);
        for number in 0..10 {
            assert_eq!(ask(&gateway, &body).await, provider, "turn {number}");
            turn(&mut body, number);
        }
    }
}

#[tokio::test]
async fn when_its_target_fails_a_loop_moves_and_the_others_stay() {
    let gateway = start("loops").await;
    // Until each provider has loops.
    let mut loops = Vec::new();
    for about in 0..40 {
        let body = opening("spread", about);
        loops.push((ask(&gateway, &body).await, body));
    }
    gateway.beta.set(Behaviour::error(503));
    let mut moved = BTreeMap::<String, usize>::new();
    for (provider, body) in &mut loops {
        turn(body, 0);
        let next = ask(&gateway, body).await;
        if *provider != "beta" {
            assert_eq!(next, *provider);
            continue;
        }
        *moved.entry(next.clone()).or_default() += 1;
        // Where it went it stays.
        turn(body, 1);
        assert_eq!(ask(&gateway, body).await, next);
    }
    // Those that moved are spread over the rest.
    let places: Vec<&str> = moved.keys().map(String::as_str).collect();
    assert_eq!(places, ["alpha", "gamma"], "{moved:?}");
}

#[tokio::test]
async fn a_client_orders_providers_where_it_may() {
    let gateway = start("providers").await;
    let routed = async |caller: &str, tier: &str, header: &[u8]| {
        for provider in gateway.providers() {
            provider.clear();
        }
        let body = chat(tier, false).to_string();
        let headers: &[(&[u8], &[u8])] = &[
            (b"content-type", b"application/json"),
            (b"x-team", caller.as_bytes()),
            (b"x-llm-providers", header),
        ];
        let request = client::request("POST", "/v1/chat/completions", headers, body.as_bytes());
        client::send(gateway.port(), &request)
            .await
            .expect("an answer")
    };
    for (tier, header, expected) in [
        ("fast", &b"gamma, alpha"[..], "gamma=200"),
        ("fast", b"beta", "beta=200"),
        ("fast", b"", "alpha=200"),
        ("quality", b"gamma", "beta=200"),
        ("single", b"gamma,beta", "alpha=200"),
        ("spread", b"gamma", "gamma=200"),
        // A model that is named stays.
        ("alpha-small", b"gamma", "alpha=200"),
    ] {
        let reply = routed("chooser", tier, header).await;
        let shown = format!(
            "{tier} {:?}: {}",
            String::from_utf8_lossy(header),
            reply.text()
        );
        assert_eq!(reply.header("x-routed-attempts"), expected, "{shown}");
        let seen = gateway.providers().into_iter().find_map(|p| p.last());
        let seen = seen.expect("a request");
        assert_eq!(seen.headers.all("x-llm-providers").count(), 0, "{shown}");
    }

    // Those that are not named follow in the policy's order.
    gateway.gamma.set(Behaviour::error(503));
    gateway.beta.set(Behaviour::error(503));
    let reply = routed("chooser", "fast", b"gamma").await;
    assert_eq!(reply.header("x-routed-attempts"), "gamma=503, alpha=200");
    gateway.alpha.set(Behaviour::error(503));
    let reply = routed("chooser", "fast", b"gamma,beta").await;
    let attempts = "gamma=503, beta=503, alpha=503";
    assert_eq!(reply.header("x-routed-attempts"), attempts);
    for provider in gateway.providers() {
        provider.set(Behaviour::Ok);
    }

    let many = b"alpha,".repeat(9);
    let long = [b"alpha", &b" ".repeat(5000)[..], b",beta"].concat();
    for (caller, header, status, code, said) in [
        (
            "chooser",
            &b"gama"[..],
            400,
            "unknown_provider",
            "did you mean gamma?",
        ),
        (
            "chooser",
            b"zzz",
            400,
            "unknown_provider",
            "use one of: alpha, beta, gamma",
        ),
        (
            "chooser",
            b"alpha;gamma",
            400,
            "unknown_provider",
            "\"alpha;gamma\"",
        ),
        (
            "chooser",
            b"\xff\xfe\"\\",
            400,
            "unknown_provider",
            "\"??\"\\\"",
        ),
        ("chooser", &many, 400, "too_many_providers", "at most 8"),
        ("chooser", &long, 400, "too_many_providers", "256 bytes"),
        (
            "limited",
            b"gamma",
            403,
            "provider_order_not_allowed",
            "without X-LLM-Providers",
        ),
        (
            "nobody",
            b"gamma",
            403,
            "provider_order_not_allowed",
            "without X-LLM-Providers",
        ),
        (
            "nobody",
            b"\xff",
            403,
            "provider_order_not_allowed",
            "without X-LLM-Providers",
        ),
    ] {
        // Refused before the classifier is asked.
        let reply = routed(caller, "auto", header).await;
        let shown = String::from_utf8_lossy(&header[..header.len().min(40)]).into_owned();
        let error = reply.json()["error"].clone();
        assert_eq!(
            (reply.status, error["code"].as_str()),
            (status, Some(code)),
            "{shown}"
        );
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(said), "{shown}: {message}");
        health::check(&gateway, &shown).await;
    }
    assert_eq!(gateway.classifier.counters().requests, 0);
}
