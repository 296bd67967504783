//! A gateway that was set up wrongly says what is wrong and how to repair it; it does not hang.

use std::time::{Duration, Instant};

use pointsman_tests::client::{self, Reply};
use pointsman_tests::edit;
use pointsman_tests::envoy::{self, Envoy, Output, Reload};
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};
use pointsman_tests::policy_file;
use pointsman_tests::render::{self, Settings};
use pointsman_tests::upstream::Behaviour;

const FLAG: &str = "allow_on_headers_stop_iteration";

/// The status and `code` of an OpenAI error whose message has these words.
fn check_error(reply: &Reply, status: u16, code: &str, words: &[&str]) {
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    assert_eq!(reply.header("content-type"), "application/json", "{text}");
    let error = &reply.json()["error"];
    assert_eq!(error["code"], code, "{text}");
    assert_eq!(error["type"], "server_error", "{text}");
    let message = error["message"].as_str().unwrap_or_default();
    for word in words {
        assert!(message.contains(word), "{text}\nlacks {word:?}");
    }
}

/// What a client sees when the flag is missing in this file.
async fn without_the_flag(name: &str, edit: fn(&std::path::Path)) {
    let options = Options {
        policy: POLICY.replace(
            "first_event: 1s, one_shot: 1s",
            "first_event: 15s, one_shot: 15s",
        ),
        edit,
        ..Options::default()
    };
    let gateway = Gateway::start_with(name, options).await;
    let began = Instant::now();
    let fast = [("x-llm-policy", "fast")];
    let (reply, stream) = tokio::join!(gateway.chat(&fast, "auto"), gateway.stream(&fast, "auto"));
    let took = began.elapsed();
    for reply in [reply, stream] {
        check_error(
            &reply,
            500,
            "gateway_misconfigured",
            &[FLAG, "PluginConfig"],
        );
    }
    // And not by the attempt's timeout.
    assert!(took < Duration::from_secs(14), "{took:?}");
    assert!(gateway.log().contains(FLAG), "{}", gateway.log());
}

#[tokio::test]
async fn a_router_role_without_the_header_stop_flag_says_so() {
    without_the_flag("router-flag", |dir| {
        edit::replace(
            dir,
            "ecds/router.yaml",
            &format!("{FLAG}: true"),
            &format!("{FLAG}: false"),
        );
    })
    .await;
}

#[tokio::test]
async fn a_provider_role_without_the_header_stop_flag_says_so() {
    without_the_flag("provider-flag", |dir| {
        edit::replace(
            dir,
            "ecds/provider.yaml",
            &format!("{FLAG}: true"),
            &format!("{FLAG}: false"),
        );
    })
    .await;
}

#[tokio::test]
async fn an_attempt_that_times_out_without_the_header_stop_flag_is_explained_in_the_log() {
    let options = Options {
        edit: |dir| {
            edit::replace(
                dir,
                "ecds/provider.yaml",
                &format!("{FLAG}: true"),
                &format!("{FLAG}: false"),
            );
        },
        ..Options::default()
    };
    let gateway = Gateway::start_with("attempt-flag", options).await;
    let reply = gateway.chat(&[("x-llm-policy", "single")], "auto").await;
    check_error(&reply, 504, "provider_timeout", &["timeouts"]);
    assert!(gateway.log().contains(FLAG), "{}", gateway.log());
}

async fn tier(gateway: &Gateway, tier: &str) -> Reply {
    gateway.chat(&[("x-llm-policy", tier)], "auto").await
}

/// `single`'s target leads to cluster `delta`, which the routes do not know; `quality`'s first to `missing`, which they know
/// and Envoy has not; `fast`'s first to alpha, whose cluster lacks the provider role.
const ASTRAY: &str = "
version: 1
default_tier: fast
tiers:
  fast: {description: d, targets: [{provider: alpha, model: a}, {provider: beta, model: b}]}
  quality: {description: d, targets: [{provider: missing, model: m}, {provider: beta, model: b}]}
  single: {description: d, targets: [{provider: delta, model: m}, {provider: beta, model: b}]}
providers:
  alpha: {cluster: alpha, api: openai}
  beta: {cluster: beta, api: openai}
  delta: {cluster: delta, api: openai}
  missing: {cluster: missing, api: openai}
";

#[tokio::test]
async fn a_target_that_leads_astray_is_named_and_the_next_request_is_served() {
    let options = Options {
        policy: ASTRAY.to_owned(),
        edit: |dir| {
            edit::yaml(dir, "routes.yaml", |doc| {
                let route = &mut doc["resources"][0]["virtual_hosts"][0]["routes"][0]["route"];
                let specifier =
                    &mut route["inline_cluster_specifier_plugin"]["extension"]["typed_config"];
                let map =
                    &mut specifier["cluster_matcher"]["matcher_tree"]["exact_match_map"]["map"];
                let mut entry = map["alpha"].clone();
                entry["action"]["typed_config"]["cluster"] = "missing".into();
                map["missing"] = entry;
            });
            edit::yaml(dir, "clusters.yaml", |doc| {
                let clusters = doc["resources"].as_sequence_mut().expect("a list");
                let alpha = clusters
                    .iter_mut()
                    .find(|c| c["name"] == "alpha")
                    .expect("alpha");
                let protocol = &mut alpha["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
                let filters = protocol["http_filters"].as_sequence_mut().expect("a list");
                filters.retain(|filter| filter["name"] != "provider");
            });
        },
        ..Options::default()
    };
    let mut gateway = Gateway::start_with("astray", options).await;
    for astray in ["single", "quality"] {
        let reply = tier(&gateway, astray).await;
        check_error(
            &reply,
            503,
            "cluster_not_mapped",
            &["exact_match_map", "cluster"],
        );
        assert_eq!(reply.header("x-routing-tier"), astray);
    }
    let reply = tier(&gateway, "fast").await;
    check_error(
        &reply,
        500,
        "gateway_misconfigured",
        &["\"alpha\"", "root_id provider", "http_filters"],
    );
    assert_eq!(gateway.beta.counters().requests, 0);
    gateway.alpha.set(Behaviour::error(503));
    let reply = tier(&gateway, "fast").await;
    check_error(&reply, 500, "gateway_misconfigured", &["root_id provider"]);
    let log = gateway.log();
    assert!(
        log.contains("the provider role did not run for provider \"alpha\""),
        "{log}"
    );
    // By now nothing of it is left in the way of a request that is led right.
    let json = policy_file::to_json(
        &ASTRAY.replace("provider: alpha, model: a", "provider: beta, model: a"),
    );
    assert_eq!(
        gateway.envoy.reload(&json.expect("YAML")).await,
        Ok(Reload::Taken)
    );
    let reply = tier(&gateway, "fast").await;
    assert_eq!(
        reply.header("x-routed-provider"),
        "beta",
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn a_routed_path_that_the_policy_does_not_admit_reaches_no_provider() {
    let options = Options {
        policy: format!("{POLICY}admit: {{paths: [/other], messages_paths: []}}\n"),
        ..Options::default()
    };
    let gateway = Gateway::start_with("not-admitted", options).await;
    let json = [(&b"content-type"[..], &b"application/json"[..])];
    for path in [
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/messages/count_tokens",
    ] {
        let body = chat("fast", false).to_string();
        let raw = client::request("POST", path, &json, body.as_bytes());
        let reply = client::send(gateway.port(), &raw).await;
        let reply = reply.expect("an answer");
        check_error(&reply, 503, "cluster_not_mapped", &["admit.messages_paths"]);
    }
    for provider in gateway.providers() {
        assert_eq!(provider.counters().requests, 0, "{}", provider.name());
    }
}

#[tokio::test]
async fn a_wrong_root_id_is_refused_with_its_repair() {
    let options = Options {
        edit: |dir| {
            edit::replace(
                dir,
                "ecds/router.yaml",
                "root_id: router",
                "root_id: rooter",
            );
        },
        ..Options::default()
    };
    let gateway = Gateway::start_with("root-id", options).await;
    let reply = gateway.post(&[], &chat("auto", false)).await;
    check_error(&reply, 500, "policy_not_loaded", &["log"]);
    let log = gateway.log();
    assert!(log.contains("root_id must be router or provider"), "{log}");
    edit::replace(
        &gateway.envoy.settings.out_dir,
        "ecds/router.yaml",
        "root_id: rooter",
        "root_id: router",
    );
    for _ in 0..250 {
        let reply = gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
        if reply.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not healed");
}

#[tokio::test]
async fn a_missing_filter_file_is_said_at_the_start_or_to_the_client() {
    // Not built.
    let binary = envoy::find().expect("an Envoy");
    let version = envoy::version(&binary).expect("its version");
    let dir = render::root().join("target/tests/no-wasm");
    let mut settings = Settings::for_test(dir, version).expect("settings");
    settings.wasm = settings.wasm.with_file_name("absent.wasm");
    let error = Envoy::start(&binary, settings, 1, Output::Files)
        .await
        .expect_err("no filter");
    assert!(
        error.contains("absent.wasm") && error.contains("make build"),
        "{error}"
    );
    // Not where Envoy is told to look.
    let options = Options {
        edit: |dir| std::fs::remove_file(dir.join("pointsman.wasm")).expect("it is there"),
        ..Options::default()
    };
    let gateway = Gateway::start_with("no-wasm", options).await;
    let reply = gateway.chat(&[], "auto").await;
    check_error(&reply, 500, "policy_not_loaded", &["filter", "rejected"]);
    let log = gateway.log();
    assert!(
        log.contains("rejected: Invalid path: pointsman.wasm"),
        "{log}"
    );
}
