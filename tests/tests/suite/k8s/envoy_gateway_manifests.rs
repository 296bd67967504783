//! Envoy Gateway's manifests, built: they follow a change, and say what `envoy/` says.

use pointsman_tests::k8s::{envoy_gateway, kustomize, patch};
use pointsman_tests::render;
use serde_json::{Value, json};

#[tokio::test]
async fn the_suites_scenes_run_on_it() {
    let folder = super::folder("envoy-gateway");
    let manifests = kustomize::build(&render::root().join("k8s/envoy-gateway"));
    envoy_gateway::write_layout(&manifests.expect("builds"), &folder).expect("every patch applies");
    super::does_the_main_job("envoy-gateway", folder).await;
}

/// Plain HTTP inside the cluster, and no key.
#[test]
fn the_pool_is_a_target_without_tls_and_key() {
    let manifests = kustomize::build(&render::root().join("k8s/examples/envoy-gateway-pool"));
    let served = envoy_gateway::served(&manifests.expect("builds")).expect("every patch applies");
    let named = |name: &str| {
        let found = served.clusters.iter().find(|c| c["name"] == name);
        found.map(Value::to_string).expect("the cluster")
    };
    let members = named("httproute/pointsman/ai/rule/0/backend/4");
    assert!(members.contains("inference-gateway.models"), "{members}");
    let pool = named("pool");
    assert!(pool.contains(r#""root_id":"provider""#), "{pool}");
    for absent in ["tls", "credential_injector"] {
        assert!(!format!("{members}{pool}").contains(absent), "{absent}");
    }
}

/// A Gateway's listener is named by the patches: another name for it is enough.
#[test]
fn the_patches_follow_the_listeners_name() {
    let dir = render::root().join(format!("target/tests/eg-listener-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("parts")).expect("a folder");
    let write = |file: &str, text: &str| std::fs::write(dir.join(file), text).expect("written");
    write(
        "parts/kustomization.yaml",
        r#"
resources: [../../../../k8s/envoy-gateway/base]
patches:
- target: {kind: Gateway}
  patch: '[{"op": "replace", "path": "/spec/listeners/0/name", "value": "https"}]'
"#,
    );
    write(
        "kustomization.yaml",
        "resources: [parts]\ncomponents: [../../../k8s/envoy-gateway/fill]\n",
    );
    let manifests = kustomize::build(&dir).expect("builds");
    std::fs::remove_dir_all(&dir).expect("removed");
    let route = kustomize::named(&manifests, "HTTPRoute", "ai").expect("the route");
    assert_eq!(route["spec"]["parentRefs"][0]["sectionName"], "https");
    for policy in ["ai-listener", "ai-routes"] {
        let policy = kustomize::named(&manifests, "EnvoyPatchPolicy", policy).expect("patches");
        for patch in policy["spec"]["jsonPatches"].as_sequence().expect("a list") {
            assert_eq!(patch["name"], "pointsman/ai/https");
        }
    }
    // A listener with TLS has its filters in another place, where the same patches find them.
    let shipped = kustomize::build(&render::root().join("k8s/envoy-gateway")).expect("builds");
    let mut listener = envoy_gateway::served(&shipped).expect("served").listeners[0].take();
    let chain = listener["default_filter_chain"].take();
    listener["filter_chains"] = json!([chain]);
    let patches = kustomize::named(&manifests, "EnvoyPatchPolicy", "ai-listener").expect("patches");
    for entry in patches["spec"]["jsonPatches"]
        .as_sequence()
        .expect("a list")
    {
        let operation = serde_json::to_value(&entry["operation"]).expect("JSON");
        patch::apply(&mut listener, &operation).expect("it applies");
    }
}

/// What Envoy Gateway has in places of its own is there as `envoy/` has it.
#[test]
fn what_is_not_copied_is_as_envoys() {
    let manifests = kustomize::build(&render::root().join("k8s/envoy-gateway")).expect("builds");
    let envoys = |file: &str| -> serde_norway::Value {
        let text = std::fs::read_to_string(render::root().join("envoy").join(file));
        serde_norway::from_str(&text.expect(file)).expect("YAML")
    };
    let proxy = kustomize::named(&manifests, "EnvoyProxy", "ai").expect("the proxy");
    let tags = &proxy["spec"]["bootstrap"]["jsonPatches"][3];
    assert_eq!(tags["path"], "/stats_config/stats_tags");
    let bootstrap = envoys("bootstrap.yaml");
    assert_eq!(tags["value"], bootstrap["stats_config"]["stats_tags"]);
    let route = kustomize::named(&manifests, "HTTPRoute", "ai").expect("the route");
    let removed = &route["spec"]["rules"][0]["filters"][1]["responseHeaderModifier"]["remove"];
    let routes = envoys("routes.yaml");
    assert_eq!(
        *removed,
        routes["resources"][0]["response_headers_to_remove"]
    );
}

/// What was derived by hand has the numbers of the manifests.
#[test]
fn the_generated_configuration_is_that_of_the_manifests() {
    let manifests = kustomize::build(&render::root().join("k8s/envoy-gateway")).expect("builds");
    let served = envoy_gateway::served(&manifests).expect("served");
    let spec = |kind: &str| {
        let found = kustomize::named(&manifests, kind, "ai").expect(kind);
        serde_json::to_value(&found["spec"]).expect("JSON")
    };
    let check = |of: &Value, generated: &Value, pairs: &[(&str, &str)]| {
        for (ours, theirs) in pairs {
            let (Some(wanted), Some(got)) = (of.pointer(ours), generated.pointer(theirs)) else {
                panic!("{ours} or {theirs} is not there");
            };
            assert_eq!(plain(wanted), plain(got), "{ours}, {theirs}");
        }
    };
    let manager = "/default_filter_chain/filters/0/typed_config";
    let clients = spec("ClientTrafficPolicy");
    let door = &served.listeners[0];
    let chain = door.pointer(manager).expect("the connection manager");
    let buffer = (
        "/connection/bufferLimit",
        "/per_connection_buffer_limit_bytes",
    );
    check(&clients, door, &[buffer]);
    let early = "/early_header_mutation_extensions/0/typed_config/mutations";
    let (stream, connection) = ("initialStreamWindowSize", "initialConnectionWindowSize");
    check(
        &clients,
        chain,
        &[
            (
                "/http2/maxConcurrentStreams",
                "/http2_protocol_options/max_concurrent_streams",
            ),
            (
                &format!("/http2/{stream}"),
                "/http2_protocol_options/initial_stream_window_size",
            ),
            (
                &format!("/http2/{connection}"),
                "/http2_protocol_options/initial_connection_window_size",
            ),
            (
                "/headers/earlyRequestHeaders/remove/0",
                &format!("{early}/0/remove"),
            ),
            (
                "/headers/earlyRequestHeaders/removeOnMatch/0/value",
                &format!("{early}/1/remove_on_match/key_matcher/prefix"),
            ),
            (
                "/headers/earlyRequestHeaders/removeOnMatch/1/value",
                &format!("{early}/2/remove_on_match/key_matcher/prefix"),
            ),
            (
                "/headers/earlyRequestHeaders/removeOnMatch/2/value",
                &format!("{early}/3/remove_on_match/key_matcher/prefix"),
            ),
            (
                "/timeout/http/requestHeadersReceivedTimeout",
                "/request_headers_timeout",
            ),
            ("/timeout/http/requestReceivedTimeout", "/request_timeout"),
            ("/timeout/http/streamIdleTimeout", "/stream_idle_timeout"),
            (
                "/timeout/http/idleTimeout",
                "/common_http_protocol_options/idle_timeout",
            ),
        ],
    );
    let backends = spec("BackendTrafficPolicy");
    let http =
        "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let http2 = format!("{http}/auto_config/http2_protocol_options");
    let (passive, breaker) = ("/healthCheck/passive", "/circuit_breakers/thresholds/0");
    check(
        &backends,
        &served.clusters[0],
        &[
            buffer,
            ("/timeout/tcp/connectTimeout", "/connect_timeout"),
            (
                "/timeout/http/connectionIdleTimeout",
                &format!("{http}/common_http_protocol_options/idle_timeout"),
            ),
            (
                &format!("/http2/{stream}"),
                &format!("{http2}/initial_stream_window_size"),
            ),
            (
                &format!("/http2/{connection}"),
                &format!("{http2}/initial_connection_window_size"),
            ),
            (
                "/http2/connectionKeepalive/interval",
                &format!("{http2}/connection_keepalive/interval"),
            ),
            (
                "/circuitBreaker/maxConnections",
                &format!("{breaker}/max_connections"),
            ),
            (
                "/circuitBreaker/maxPendingRequests",
                &format!("{breaker}/max_pending_requests"),
            ),
            (
                "/circuitBreaker/maxParallelRequests",
                &format!("{breaker}/max_requests"),
            ),
            (
                "/circuitBreaker/maxParallelRetries",
                &format!("{breaker}/max_retries"),
            ),
            (
                &format!("{passive}/splitExternalLocalOriginErrors"),
                "/outlier_detection/split_external_local_origin_errors",
            ),
            (
                &format!("{passive}/consecutiveLocalOriginFailures"),
                "/outlier_detection/consecutive_local_origin_failure",
            ),
            (
                &format!("{passive}/consecutive5XxErrors"),
                "/outlier_detection/consecutive_5xx",
            ),
            (
                &format!("{passive}/interval"),
                "/outlier_detection/interval",
            ),
            (
                &format!("{passive}/baseEjectionTime"),
                "/outlier_detection/base_ejection_time",
            ),
            (
                &format!("{passive}/maxEjectionPercent"),
                "/outlier_detection/max_ejection_percent",
            ),
        ],
    );
}

/// `8Mi` is a number of bytes.
fn plain(value: &Value) -> Value {
    let mebibytes = value
        .as_str()
        .and_then(|text| text.strip_suffix("Mi")?.parse::<u64>().ok());
    mebibytes.map_or_else(|| value.clone(), |mebibytes| (mebibytes << 20).into())
}
