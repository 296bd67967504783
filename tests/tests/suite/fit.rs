//! Fit: a request goes to targets that can serve it, and where there is none the client is told which limit it meets.

use pointsman_tests::gateway::{Gateway, Options, chat};
use pointsman_tests::upstream::Behaviour;
use serde_json::{Value, json};

const POLICY: &str = "
version: 1
default_tier: fast
caller: {header: x-client-id}
callers:
  european: {tiers: [fast], regions: [eu]}
  dated: {tiers: [fast], versions: [\"beta-*\"]}
tiers:
  fast:
    description: any
    targets:
    - {provider: alpha, model: small}
    - {provider: beta, model: plain}
    - {provider: gamma, model: large}
  text:
    description: text only
    targets: [{provider: beta, model: plain}]
models:
  small: {context: 1000, input: [text, image], tools: true}
  plain: {context: 900, input: [text], tools: false, json_schema: false, targets: [{provider: beta, model: beta-1}]}
  large: {context: 5000, input: [text, image]}
providers:
  alpha: {cluster: alpha, api: openai}
  beta: {cluster: beta, api: openai}
  gamma: {cluster: gamma, api: openai, region: eu}
timeouts: {first_token: 1s, one_shot: 1s}
";

const FAST: (&str, &str) = ("x-llm-policy", "fast");

async fn gateway(name: &str) -> Gateway {
    let options = Options {
        policy: POLICY.to_owned(),
        client_keys: [("european", "key-1"), ("dated", "key-2"), ("else", "key-3")]
            .map(|(client, key)| (client.to_owned(), key.to_owned()))
            .to_vec(),
        ..Options::default()
    };
    Gateway::start_with(name, options).await
}

fn with(content: Value) -> Value {
    json!({"model": "auto", "messages": [{"role": "user", "content": content}]})
}

/// Whom the request went to, and what is told of the others.
#[tokio::test]
async fn targets_that_cannot_serve_are_left_out_and_named() {
    let gateway = gateway("fit").await;
    gateway.alpha.set(Behaviour::error(500));
    let image = with(json!([{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]));
    let mut tools = chat("auto", false);
    tools["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
    let long = with(json!("word ".repeat(2000)));
    for (key, body, attempts, skipped) in [
        ("key-3", chat("auto", false), "alpha=500, beta=200", ""),
        ("key-3", image, "alpha=500, gamma=200", "beta/plain=image"),
        ("key-3", tools, "alpha=500, gamma=200", "beta/plain=tools"),
        (
            "key-3",
            long,
            "gamma=200",
            "alpha/small=context, beta/plain=context",
        ),
        (
            "key-1",
            chat("auto", false),
            "gamma=200",
            "alpha/small=region, beta/plain=region",
        ),
        (
            "key-2",
            chat("auto", false),
            "beta=200",
            "alpha/small=version, gamma/large=version",
        ),
    ] {
        let key = format!("Bearer {key}");
        let reply = gateway.post(&[FAST, ("authorization", &key)], &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-routed-attempts"), attempts, "{body}");
        assert_eq!(reply.header("x-routing-skipped"), skipped, "{body}");
    }
}

#[tokio::test]
async fn where_nobody_can_the_client_is_told_who_comes_closest() {
    let gateway = gateway("fit-nobody").await;
    let image = with(json!([{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]));
    let long = with(json!("word ".repeat(20_000)));
    for (tier, body, code, says) in [
        (
            "fast",
            &long,
            "context_length_exceeded",
            "large comes closest with 5000",
        ),
        ("text", &image, "no_capable_target", "ask for tier fast"),
    ] {
        let headers = [("x-llm-policy", tier), ("authorization", "Bearer key-3")];
        let reply = gateway.post(&headers, body).await;
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.status, &error["code"]),
            (400, &json!(code)),
            "{error}"
        );
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{message}");
    }
    for provider in gateway.providers() {
        assert_eq!(provider.counters().requests, 0, "{}", provider.name());
    }
}

/// A provider counts by its own tokenizer: its word is believed, if another target reads more.
#[tokio::test]
async fn a_request_that_is_too_long_for_one_model_goes_to_a_larger_one() {
    let gateway = gateway("fit-too-long").await;
    let too_long = json!({"error": {
        "message": "This model's maximum context length is 1000 tokens.", "type": "invalid_request_error",
        "param": "messages", "code": "context_length_exceeded",
    }});
    let refuses = Behaviour::Status {
        status: 400,
        headers: vec![("content-type".into(), "application/json".into())],
        body: too_long.to_string().into(),
    };
    for provider in gateway.providers() {
        provider.set(refuses.clone());
    }
    gateway.gamma.set(Behaviour::Ok);
    let headers = [FAST, ("authorization", "Bearer key-3")];
    for stream in [false, true] {
        // Beta reads no more than alpha: it is not asked.
        let reply = gateway.post(&headers, &chat("auto", stream)).await;
        assert_eq!(
            reply.header("x-routed-attempts"),
            "alpha=too_long, gamma=200"
        );
        assert_eq!(reply.status, 200);
    }
    assert_eq!(gateway.beta.counters().requests, 0);
    // Nobody reads more than the last: its own words.
    gateway.gamma.set(refuses);
    let reply = gateway.post(&headers, &chat("auto", false)).await;
    assert_eq!(
        reply.header("x-routed-attempts"),
        "alpha=too_long, gamma=400"
    );
    assert_eq!((reply.status, reply.json()), (400, too_long));
}
