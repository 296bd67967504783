//! Providers behind TLS: the name is asked for and checked, HTTP/2 is spoken where it is offered.

use std::path::{Path, PathBuf};

use pointsman_tests::client;
use pointsman_tests::edit;
use pointsman_tests::envoy::{self, Envoy, Output};
use pointsman_tests::gateway::chat;
use pointsman_tests::render::{self, Endpoint, PolicySource, Role, Settings};
use pointsman_tests::upstream::{Behaviour, Upstream};

fn run_dir(name: &str) -> PathBuf {
    render::root().join(format!("target/tests/tls-{name}-{}", std::process::id()))
}

fn certificate(file: &str) -> String {
    let path = render::root().join("tests/fixtures/tls").join(file);
    path.to_str().expect("UTF-8").to_owned()
}

/// An Envoy that ends TLS for all of these, and tells them what it saw of it.
async fn tls_end(upstreams: &[&Upstream], binary: &Path) -> Envoy {
    let dir = run_dir("end");
    std::fs::create_dir_all(&dir).expect("a folder");
    let (chain, key) = (certificate("localhost.crt"), certificate("localhost.key"));
    let mut routes = String::new();
    let mut clusters = String::new();
    for upstream in upstreams {
        let (name, port) = (upstream.name(), upstream.port());
        routes += &format!("{{match: {{prefix: /{name}}}, route: {{cluster: {name}}}}}, ");
        clusters += &format!(
            "{{name: {name}, load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}}}, "
        );
    }
    let bootstrap = format!(
        r#"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  clusters: [{clusters}]
  listeners:
  - name: ai
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    listener_filters:
    - name: tls
      typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {chain}}}, private_key: {{filename: {key}}}}}]
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: tls
          route_config:
            name: tls
            virtual_hosts: [{{name: all, domains: ["*"], routes: [{routes}]}}]
            request_headers_to_add:
            - {{header: {{key: x-seen, value: "%PROTOCOL% %REQUESTED_SERVER_NAME%"}}}}
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"#
    );
    edit::write(&dir, "bootstrap.yaml", bootstrap);
    let version = envoy::version(binary).expect("a version");
    let settings = Settings::for_test(dir, version).expect("settings");
    let end = Envoy::start_rendered(binary, settings, 1, Output::Files).await;
    end.unwrap_or_else(|why| panic!("{why}"))
}

/// Lets a cluster trust the tests' certificate.
fn trust(dir: &Path, clusters: &[&str]) {
    edit::yaml(dir, "clusters.yaml", |doc| {
        let list = doc["resources"].as_sequence_mut().expect("a list");
        for cluster in list {
            let is_one = clusters.iter().any(|name| cluster["name"] == *name);
            // An aggregate has none of its own.
            if let Some(tls) = cluster.get_mut("transport_socket").filter(|_| is_one) {
                let context = &mut tls["typed_config"]["common_tls_context"]["validation_context"];
                context["trusted_ca"]["filename"] = certificate("localhost.crt").into();
            }
        }
    });
}

#[tokio::test]
async fn an_https_base_url_is_verified_by_name_or_address_and_speaks_http_2() {
    let binary = envoy::find().expect("an Envoy");
    let [openai, anthropic, classifier] =
        ["openai", "anthropic", "classifier"].map(|name| Upstream::start(name).expect("starts"));
    let end = tls_end(&[&openai, &anthropic, &classifier], &binary).await;
    let port = end.port;
    let version = envoy::version(&binary).expect("a version");
    let mut settings = Settings::for_test(run_dir("gateway"), version).expect("settings");
    // Every request is the classifier's to decide.
    let shipped = settings.policy_text().expect("the shipped policy");
    let without_local = shipped.replace("- local: {min_confidence: 0.7}\n", "");
    assert_ne!(shipped, without_local);
    settings.policy = PolicySource::Text(without_local);
    for (name, role, url) in [
        (
            "openai",
            Role::OpenAi,
            format!("https://localhost:{port}/openai/v1"),
        ),
        (
            "anthropic",
            Role::Anthropic,
            format!("https://localhost:{port}/anthropic"),
        ),
        (
            "classifier",
            Role::Classifier,
            format!("https://127.0.0.1:{port}/classifier/v1"),
        ),
    ] {
        let endpoint = Endpoint::new(role, Some(&url), Some("a-key"));
        settings
            .endpoints
            .insert(name.into(), endpoint.expect("a base URL"));
    }
    let none = Endpoint::new(Role::Gemini, None, None).expect("none");
    settings.endpoints.insert("gemini".into(), none);
    render::render(&settings).expect("rendered");
    // Not anthropic's: its certificate is nobody's that the system trusts.
    let trusted = ["openai_endpoints", "classifier", "classifier_endpoints"];
    trust(&settings.out_dir, &trusted);
    let gateway = Envoy::start_rendered(&binary, settings, 1, Output::Files).await;
    let gateway = gateway.unwrap_or_else(|why| panic!("{why}"));
    classifier.set(Behaviour::classify("quality"));
    for (stream, source) in [(false, "llm"), (true, "cache")] {
        let reply = client::post_chat(gateway.port, &[], &chat("auto", stream)).await;
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-routing-source"), source);
        assert_eq!(
            reply.header("x-routed-attempts"),
            "anthropic=connect_failure, openai=200"
        );
    }
    assert_eq!(anthropic.counters().requests, 0);
    let seen = openai.last().expect("a request");
    assert_eq!(seen.header("x-seen"), "HTTP/2 localhost");
    assert_eq!(seen.header("host"), format!("localhost:{port}"));
    assert_eq!(seen.path, "/openai/v1/chat/completions");
    assert_eq!(seen.header("authorization"), "Bearer a-key");
    // An address is no server name.
    let seen = classifier.last().expect("a request");
    assert_eq!(seen.header("x-seen"), "HTTP/2");
    assert_eq!(seen.header("host"), format!("127.0.0.1:{port}"));
    for dir in [&gateway.settings.out_dir, &end.settings.out_dir] {
        let _ = std::fs::remove_dir_all(dir);
    }
}
