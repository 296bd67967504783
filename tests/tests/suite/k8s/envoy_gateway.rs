//! Envoy Gateway: what it makes of our manifests serves, as it stands, over TLS, with each provider's own key.
//!
//! The manifests are an overlay's, as a user makes one: providers on loopback. The keys, over SDS in a cluster, are static here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pointsman_tests::client::{self, Conn, Reply, Sse};
use pointsman_tests::envoy::{self, Envoy, Output};
use pointsman_tests::gateway::{chat, key_of};
use pointsman_tests::k8s::envoy_gateway::{self, DOOR, ROUTER, SYSTEM_CA, Served};
use pointsman_tests::k8s::kustomize;
use pointsman_tests::port::free_port;
use pointsman_tests::render::{self, Settings};
use pointsman_tests::upstream::{Behaviour, Upstream, refused_port};
use serde_json::{Value, json};

/// A provider: its place among the chat rule's backends, and the header of its key.
struct Provider {
    backend: usize,
    name: &'static str,
    header: &'static str,
    prefix: &'static str,
}

const fn provider(
    backend: usize,
    name: &'static str,
    header: &'static str,
    prefix: &'static str,
) -> Provider {
    Provider {
        backend,
        name,
        header,
        prefix,
    }
}

/// Those of tier `fast` in their order, and the example's.
const PROVIDERS: [Provider; 4] = [
    provider(0, "openai", "authorization", "Bearer "),
    provider(1, "anthropic", "x-api-key", ""),
    provider(2, "gemini", "x-goog-api-key", ""),
    provider(4, "mistral", "authorization", "Bearer "),
];

/// A change to the example: every provider on loopback, in OpenAI's format.
const CHANGE: &str = "
apiVersion: pointsman/v1
kind: Pointsman
metadata: {name: pointsman}
policy:
  timeouts: {first_token: 5s, one_shot: 5s}
  cooldown: {enabled: false}
  providers:
    openai: {host: localhost}
    anthropic: {host: localhost, api: openai}
    gemini: {host: localhost, api: openai}
    mistral: {host: localhost}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: mistral, namespace: pointsman}
spec: {endpoints: [{fqdn: {hostname: localhost, port: 443}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: mistral, namespace: pointsman}
spec: {validation: {hostname: localhost}}
";

/// As the page has it made.
const CLIENT_KEYS: &str = "
kind: Secret
metadata: {name: client-keys}
stringData: {team-a: private-key-of-team-a}
";
const KEY: (&str, &str) = ("authorization", "Bearer private-key-of-team-a");

struct Gateway {
    envoy: Envoy,
    upstreams: [Upstream; 4],
    served: Served,
    dir: PathBuf,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// An overlay in a folder of its own, built.
fn manifests(dir: &Path) -> Vec<serde_norway::Value> {
    let parts = dir.join("parts");
    std::fs::create_dir_all(&parts).expect("a folder");
    let write = |path: PathBuf, text: &str| std::fs::write(path, text).expect("written");
    write(parts.join("change.yaml"), CHANGE);
    write(
        parts.join("kustomization.yaml"),
        "resources: [../../../../k8s/examples/envoy-gateway/doc]\npatches: [{path: change.yaml}]\n",
    );
    write(
        dir.join("kustomization.yaml"),
        "resources: [parts]\ncomponents: [../../../k8s/envoy-gateway/fill]\n",
    );
    kustomize::build(dir).expect("the overlay builds")
}

fn certificate(file: &str) -> String {
    let path = render::root().join("tests/fixtures/tls").join(file);
    path.to_str().expect("UTF-8").to_owned()
}

/// What ends TLS in front of an upstream: a listener of the same Envoy.
fn tls_end(served: &mut Served, upstream: &Upstream, port: u16) {
    let name = format!("tls-{}", upstream.name());
    let address = |port| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let (chain, key) = (certificate("localhost.crt"), certificate("localhost.key"));
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [
            {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
        ]},
    });
    let proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": name, "cluster": name,
    });
    served.listeners.push(json!({
        "name": name,
        "address": address(port),
        "filter_chains": [{
            "transport_socket": {"name": "tls", "typed_config": context},
            "filters": [{"name": "tcp", "typed_config": proxy}],
        }],
    }));
    let endpoint = json!({"endpoint": {"address": address(upstream.port())}});
    served.clusters.push(json!({
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }));
}

/// The endpoints' cluster of the n-th backend.
fn endpoints(served: &mut Served, n: usize) -> &mut Value {
    let name = format!("httproute/pointsman/ai/rule/0/backend/{n}");
    let cluster = served.clusters.iter_mut().find(|c| c["name"] == name);
    cluster.expect("the backend's cluster")
}

fn lead_to(cluster: &mut Value, port: u16) {
    let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    let address = &mut endpoint["address"]["socket_address"];
    assert_eq!(*address, json!({"address": "localhost", "port_value": 443}));
    *address = json!({"address": "127.0.0.1", "port_value": port});
}

fn secrets() -> Vec<Value> {
    let keys = PROVIDERS.map(|provider| provider.name);
    let keys = keys.into_iter().chain(["classifier"]).map(|name| {
        json!({
            "name": envoy_gateway::credential(name),
            "generic_secret": {"secret": {"inline_string": key_of(name)}},
        })
    });
    let ca = json!({"trusted_ca": {"filename": certificate("localhost.crt")}});
    keys.chain([json!({"name": SYSTEM_CA, "validation_context": ca})])
        .collect()
}

impl Gateway {
    async fn start(name: &str, change: impl FnOnce(&mut Served)) -> Self {
        let run = std::process::id();
        let dir = render::root().join(format!("target/tests/eg-{name}-{run}"));
        let upstreams =
            PROVIDERS.map(|provider| Upstream::start(provider.name).expect("a provider"));
        let mut manifests = manifests(&dir);
        manifests.push(serde_norway::from_str(CLIENT_KEYS).expect("YAML"));
        let mut served = envoy_gateway::served(&manifests).expect("every patch applies");
        for (upstream, provider) in upstreams.iter().zip(PROVIDERS) {
            let port = free_port();
            lead_to(endpoints(&mut served, provider.backend), port);
            tls_end(&mut served, upstream, port);
        }
        change(&mut served);
        let wasm = render::wasm().expect("the filter");
        let written = served.clone().write(&dir, &wasm, secrets());
        written.expect("a folder for Envoy");
        let binary = envoy::find().expect("an Envoy");
        let version = envoy::version(&binary).expect("its version");
        let settings = Settings::for_test(&dir, version).expect("settings");
        let envoy = Envoy::start_rendered(&binary, settings, 2, Output::Files).await;
        Gateway {
            envoy: envoy.expect("Envoy takes it"),
            upstreams,
            served,
            dir,
        }
    }

    async fn ask(&self, tier: &str, stream: bool) -> Reply {
        for upstream in &self.upstreams {
            upstream.clear();
        }
        self.post(&[KEY, ("x-llm-policy", tier)], &chat("auto", stream))
            .await
    }

    async fn post(&self, headers: &[(&str, &str)], body: &Value) -> Reply {
        let reply = client::post_chat(self.envoy.port, headers, body).await;
        reply.expect("the gateway answers")
    }

    async fn get(&self, path: &str) -> Reply {
        let reply = client::get(self.envoy.port, path, &[KEY]).await;
        reply.expect("the gateway answers")
    }

    fn access_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("access.log")).expect("the access log")
    }

    async fn stat(&self, name: &str) -> u64 {
        self.envoy.stat(name).await.expect("stats").unwrap_or(0)
    }

    /// What a changed EnvoyExtensionPolicy leads to: another listener.
    fn hand_over(&self, change: impl FnOnce(&mut Value)) {
        let mut served = self.served.clone();
        let door = served.listeners.iter_mut().find(|l| l["name"] == DOOR);
        let manager =
            &mut door.expect("the door")["default_filter_chain"]["filters"][0]["typed_config"];
        let filters = manager["http_filters"].as_array_mut();
        let filter = filters.and_then(|list| list.iter_mut().find(|f| f["name"] == ROUTER));
        let filter = filter.expect("the router role");
        let text = &mut filter["typed_config"]["config"]["configuration"]["value"];
        let mut policy = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
        change(&mut policy);
        *text = policy.to_string().into();
        let wasm = render::wasm().expect("the filter");
        let written = served.write(&self.dir, &wasm, secrets());
        written.expect("a folder for Envoy");
    }

    async fn until(&self, mut is: impl AsyncFnMut() -> bool) {
        for _ in 0..400 {
            if is().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("Envoy did not take it up in 20 s");
    }
}

fn says(reply: &Reply, content: &str, attempts: &str) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-routed-attempts"), attempts);
    assert!(reply.content().starts_with(content), "{}", reply.text());
    assert_eq!(reply.header("server"), "pointsman");
}

/// Its own key in its own header, no other provider's, and nothing of the client's.
fn has_its_own_key(upstream: &Upstream, provider: &Provider) {
    let seen = upstream.last().expect("a request");
    let name = provider.name;
    for header in ["authorization", "x-api-key", "x-goog-api-key"] {
        let key = format!("{}{}", provider.prefix, key_of(name));
        let expected = if header == provider.header {
            key
        } else {
            String::new()
        };
        assert_eq!(seen.header(header), expected, "{header} at {name}");
    }
    for client in ["cookie", "x-client-id", "x-gateway-destination-endpoint"] {
        assert_eq!(seen.header(client), "", "{client} at {name}");
    }
    assert_eq!(seen.header("host"), "localhost");
}

#[tokio::test]
async fn one_shot_and_streamed_with_failover_and_each_providers_own_key() {
    let gateway = Gateway::start("main", |_| {}).await;
    for stream in [false, true] {
        let reply = gateway.ask("fast", stream).await;
        says(&reply, "openai", "openai=200");
    }
    let clients = [
        ("x-llm-policy", "fast"),
        KEY,
        ("x-api-key", "private"),
        ("cookie", "private"),
        ("x-client-id", "somebody"),
        ("x-gateway-destination-endpoint", "10.0.0.1:80"),
    ];
    let [openai, anthropic, gemini, mistral] = &gateway.upstreams;
    for stream in [false, true] {
        openai.set(Behaviour::error(503));
        anthropic.set(Behaviour::error(429));
        let reply = gateway.post(&clients, &chat("auto", stream)).await;
        says(&reply, "gemini", "openai=503, anthropic=429, gemini=200");
        for (upstream, provider) in [openai, anthropic, gemini].into_iter().zip(&PROVIDERS) {
            has_its_own_key(upstream, provider);
        }
    }
    // The example's own provider and tier.
    says(&gateway.ask("code", false).await, "mistral", "mistral=200");
    has_its_own_key(mistral, &PROVIDERS[3]);
    // Who may use it, and by which name the policy knows them.
    let nobody = gateway.post(&[], &chat("fast", false)).await;
    assert_eq!(nobody.status, 401, "{}", nobody.text());
    assert_eq!(nobody.json()["error"]["code"], "invalid_api_key");
    let named = async || gateway.access_log().contains(r#""caller":"team-a""#);
    gateway.until(named).await;
    // What is no chat, and what is wrong.
    let models = gateway.get("/v1/models").await;
    assert_eq!(models.status, 200, "{}", models.text());
    assert!(models.text().contains("gpt-5-nano"), "{}", models.text());
    for (reply, status, code) in [
        (gateway.get("/elsewhere").await, 404, "unknown_url"),
        (
            gateway.post(&[KEY], &chat("gpt5", false)).await,
            404,
            "model_not_found",
        ),
    ] {
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.json()["error"]["code"], code, "{}", reply.text());
    }
}

/// One refuses, one has no host: the sink answers for the second, so that Envoy moves on.
#[tokio::test]
async fn a_provider_that_refuses_and_one_without_a_host_move_on() {
    let refused = refused_port().expect("a port");
    let gateway = Gateway::start("unreachable", |served| {
        let endpoint = &mut endpoints(served, 0)["load_assignment"]["endpoints"][0];
        endpoint["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] =
            refused.port.into();
        endpoints(served, 1)["load_assignment"]["endpoints"] = json!([]);
    })
    .await;
    for stream in [false, true] {
        let reply = gateway.ask("fast", stream).await;
        let attempts = "openai=connect_failure, anthropic=connect_failure, gemini=200";
        says(&reply, "gemini", attempts);
    }
}

/// The policy is part of the listener here: a new one drains it, and a stream lives on for as long as the drain time.
#[tokio::test]
async fn a_changed_policy_drains_the_listener_and_cuts_no_stream_in_the_drain_time() {
    let gateway = Gateway::start("reload", |_| {}).await;
    let [openai, ..] = &gateway.upstreams;
    openai.set(Behaviour::Stream {
        events: 60,
        gap: Duration::from_millis(50),
    });
    let mut conn = Conn::open(gateway.envoy.port).await.expect("a connection");
    let request = client::chat_request(&[KEY, ("x-llm-policy", "fast")], &chat("auto", true));
    conn.send(&request).await.expect("sent");
    let mut response = conn.response().await.expect("a stream");
    assert_eq!(response.status, 200);

    // One that the filter refuses takes nothing away: Envoy refuses the listener, and the old one serves.
    gateway.hand_over(|policy| policy["default_tier"] = "nowhere".into());
    let rejected = "listener_manager.lds.update_rejected";
    gateway
        .until(async || gateway.stat(rejected).await == 1)
        .await;
    says(
        &gateway.ask("balanced", false).await,
        "openai",
        "openai=200",
    );
    gateway.hand_over(|policy| {
        let targets = policy["tiers"]["balanced"]["targets"].as_array_mut();
        targets.expect("targets").reverse();
    });
    gateway
        .until(async || {
            gateway
                .ask("balanced", false)
                .await
                .header("x-routed-provider")
                == "gemini"
        })
        .await;
    assert_eq!(gateway.stat(rejected).await, 1);

    let (mut sse, mut events) = (Sse::default(), 0);
    let mut done = false;
    while let Some(piece) = response.piece().await.expect("the stream goes on") {
        for event in sse.push(&piece) {
            events += 1;
            done |= event.data == "[DONE]";
        }
    }
    assert!(
        done && events > 60,
        "{events} events, the last of them [DONE]: {done}"
    );
}
