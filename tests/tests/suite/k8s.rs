//! The manifests: what a mesh makes of them does the main job on a real Envoy, and says what `envoy/` says.

mod envoy_gateway;
mod envoy_gateway_manifests;
mod istio;
mod shared;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pointsman_tests::client::{self, Conn, Sse};
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat, key_of};
use pointsman_tests::upstream::{Behaviour, Upstream, refused_port};
use pointsman_tests::{edit, render};
use serde_json::Value;

/// A provider of each wire format, since each wants its key in a header of its own.
fn policy() -> String {
    let formats = POLICY
        .replace("beta, api: openai", "beta, api: anthropic")
        .replace("gamma, api: openai", "gamma, api: gemini");
    let spare = "
  spare:
    description: one that may not be there, then a good one
    targets: [{provider: gamma, model: gamma-small}, {provider: alpha, model: alpha-small}]
models: {beta-small: {max_output: 1000}, beta-large: {max_output: 1000}}
providers:";
    formats.replace("\nproviders:", spare)
}

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"beta-small","content":[{"type":"text","text":"from beta"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#;
const CANDIDATES: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"from gamma"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2},"modelVersion":"gamma-small"}"#;

/// Where a variant's configuration is written.
pub fn folder(variant: &str) -> PathBuf {
    let run = std::process::id();
    render::root().join(format!("target/tests/k8s-{variant}-{run}"))
}

/// All of it on one Envoy, started from a folder in the layout of `envoy/`.
pub async fn does_the_main_job(variant: &str, source: PathBuf) {
    let options = Options {
        policy: policy(),
        source: Some(source.clone()),
        edit: read_the_filter_as_json,
        ..Options::default()
    };
    let gateway = Gateway::start_with(variant, options).await;
    answers(&gateway).await;
    moves_on_with_each_ones_key(&gateway).await;
    moves_on_from_no_connection_and_no_host(&gateway).await;
    says_what_is_wrong(&gateway).await;
    takes_the_shipped_policy_and_cuts_no_stream(&gateway, &source).await;
    std::fs::remove_dir_all(source).expect("the configuration's folder");
}

/// Envoy reads YAML's fractions as text where a `Struct` may hold either, JSON's as numbers, as a control plane sends them.
fn read_the_filter_as_json(dir: &Path) {
    edit::replace(dir, "listener.yaml", "ecds/router.yaml", "ecds/router.json");
    write_the_filter_as_json(dir, dir);
}

fn write_the_filter_as_json(from: &Path, to: &Path) {
    let text = std::fs::read_to_string(from.join("ecds/router.yaml")).expect("the role");
    let role: Value = serde_norway::from_str(&text).expect("YAML");
    edit::write(to, "ecds/router.json", role.to_string());
}

const FAST: &[(&str, &str)] = &[("x-llm-policy", "fast")];

async fn answers(gateway: &Gateway) {
    let reply = gateway.chat(FAST, "auto").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-routed-attempts"), "alpha=200");
    assert_eq!(reply.header("server"), "pointsman");
    let reply = gateway.stream(FAST, "auto").await;
    assert_eq!(reply.content(), "alpha 1 2");
    let models = gateway.get("/v1/models").await;
    assert!(models.text().contains("alpha-small"), "{}", models.text());
}

async fn moves_on_with_each_ones_key(gateway: &Gateway) {
    let providers = gateway.providers();
    providers.iter().for_each(|p| p.clear());
    gateway.alpha.set(Behaviour::error(503));
    gateway.beta.next([Behaviour::Body(MESSAGE.into())]);
    let reply = gateway.chat(FAST, "auto").await;
    assert_eq!(reply.header("x-routed-attempts"), "alpha=503, beta=200");
    assert_eq!(reply.content(), "from beta");
    gateway.beta.set(Behaviour::error(529));
    gateway.gamma.set(Behaviour::Body(CANDIDATES.into()));
    let reply = gateway.chat(FAST, "auto").await;
    let attempts = "alpha=503, beta=529, gamma=200";
    assert_eq!(reply.header("x-routed-attempts"), attempts);
    assert_eq!(reply.content(), "from gamma");
    let bearer = format!("Bearer {}", key_of("alpha"));
    has_only_its_key(&gateway.alpha, "authorization", &bearer);
    has_only_its_key(&gateway.beta, "x-api-key", &key_of("beta"));
    has_only_its_key(&gateway.gamma, "x-goog-api-key", &key_of("gamma"));
    gateway.alpha.set(Behaviour::Ok);
}

fn has_only_its_key(provider: &Upstream, header: &str, key: &str) {
    let seen = provider.last().expect("a request");
    for name in ["authorization", "x-api-key", "x-goog-api-key"] {
        let expected = if name == header { key } else { "" };
        assert_eq!(seen.header(name), expected, "{name} at {}", provider.name());
    }
}

async fn moves_on_from_no_connection_and_no_host(gateway: &Gateway) {
    let dir = &gateway.envoy.settings.out_dir;
    let refused = refused_port().expect("a port");
    let endpoints = |change: &dyn Fn(&mut serde_norway::Value)| {
        edit::yaml(dir, "clusters.yaml", |clusters| {
            let list = clusters["resources"].as_sequence_mut().expect("clusters");
            let gamma = list.iter_mut().find(|c| c["name"] == "gamma_endpoints");
            change(&mut gamma.expect("gamma's")["load_assignment"]["endpoints"]);
        });
    };
    let moves_on = async |case: &str| {
        let reply = gateway.chat(&[("x-llm-policy", "spare")], "auto").await;
        let attempts = "gamma=connect_failure, alpha=200";
        assert_eq!(reply.header("x-routed-attempts"), attempts, "{case}");
    };
    let updates = "cluster_manager.cds.update_success";
    let before = stat(gateway, updates).await;
    endpoints(&|list| {
        let socket = &mut list[0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"];
        socket["port_value"] = refused.port.into();
    });
    reaches(gateway, updates, before + 1).await;
    moves_on("refused").await;
    endpoints(&|list| *list = serde_norway::Value::Sequence(Vec::new()));
    reaches(gateway, updates, before + 2).await;
    moves_on("no host").await;
}

/// Envoy's own errors, the routes' and the filter's.
async fn says_what_is_wrong(gateway: &Gateway) {
    let long = "x".repeat(70 * 1024);
    let headers_too_large = gateway
        .post(&[("x-long", &long)], &chat("auto", false))
        .await;
    let unknown_url = gateway.get("/elsewhere").await;
    let model_not_found = gateway.chat(&[], "no-such-model").await;
    for (reply, status, code) in [
        (headers_too_large, 431, "headers_too_large"),
        (unknown_url, 404, "unknown_url"),
        (model_not_found, 404, "model_not_found"),
    ] {
        let json: Value = serde_json::from_slice(&reply.body()).unwrap_or_default();
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(json["error"]["code"], code, "{}", reply.text());
    }
}

/// As the control plane hands it over: a new extension config, its policy a `Struct`.
async fn takes_the_shipped_policy_and_cuts_no_stream(gateway: &Gateway, source: &Path) {
    gateway.alpha.set(Behaviour::Stream {
        events: 60,
        gap: Duration::from_millis(50),
    });
    let mut conn = Conn::open(gateway.port()).await.expect("connects");
    let request = client::chat_request(FAST, &chat("auto", true));
    conn.send(&request).await.expect("sends");
    let mut streaming = conn.response().await.expect("a stream");
    let first = streaming.piece().await.expect("a piece").expect("an event");

    let reloads = "extension_config_discovery.http_filter.router.config_reload";
    let before = stat(gateway, reloads).await;
    write_the_filter_as_json(source, &gateway.envoy.settings.out_dir);
    reaches(gateway, reloads, before + 1).await;
    let models = gateway.get("/v1/models").await;
    assert!(models.text().contains("gpt-5-nano"), "{}", models.text());
    let in_flight = gateway.alpha.counters().in_flight;
    assert_eq!(in_flight, 1, "the stream outlived the reload");

    let mut sse = Sse::default();
    let mut events = sse.push(&first);
    while let Some(piece) = streaming.piece().await.expect("no cut") {
        events.extend(sse.push(&piece));
    }
    let last = events.pop().map(|event| event.data);
    assert_eq!(last.as_deref(), Some("[DONE]"));
}

async fn stat(gateway: &Gateway, name: &str) -> u64 {
    let stat = gateway.envoy.stat(name).await.expect("stats");
    stat.unwrap_or(0)
}

async fn reaches(gateway: &Gateway, name: &str, number: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    while stat(gateway, name).await < number {
        assert!(Instant::now() < until, "{name} stays: {}", gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
