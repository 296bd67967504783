//! What two files of the repository say about the same thing agrees.

use std::fs;
use std::path::{Path, PathBuf};

use pointsman::policy::{Api, Policy};
use pointsman::provider::error::moves_on;
use pointsman_tests::policy_file;
use pointsman_tests::render::{self, Endpoints};
use serde_norway::Value;

fn read(path: impl AsRef<Path>) -> String {
    let path = render::root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn yaml(path: &str) -> Value {
    serde_norway::from_str(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every `.rs` file under a folder, by its path in it.
fn sources(dir: &str) -> Vec<(String, String)> {
    let root = render::root().join(dir);
    let mut folders = vec![root.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    let named = |path: PathBuf| {
        let name = path
            .strip_prefix(&root)
            .expect("under it")
            .display()
            .to_string();
        (name, read(path))
    };
    files.into_iter().map(named).collect()
}

/// The chat route's action.
fn chat_route() -> Value {
    yaml("envoy/routes.yaml")["resources"][0]["virtual_hosts"][0]["routes"][0]["route"].clone()
}

fn words(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).collect()
}

#[test]
fn envoy_retries_what_the_filter_moves_on_from() {
    let policy = &chat_route()["retry_policy"];
    let codes: Vec<u64> = policy["retriable_status_codes"]
        .as_sequence()
        .expect("a list")
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    let retry_on = words(policy["retry_on"].as_str().expect("text"));
    assert!(retry_on.contains(&"retriable-status-codes"));
    for status in 400..500 {
        assert_eq!(
            codes.contains(&u64::from(status)),
            moves_on(status),
            "{status}"
        );
    }
    assert!(retry_on.contains(&"5xx") && (500..600).all(moves_on));
    assert!(!(100..400).any(moves_on));
}

#[test]
fn the_shipped_policies_are_valid() {
    let shipped = policy_file::prepare(&read("envoy/policy.yaml"), &Endpoints::new());
    let shipped = Policy::from_bytes(shipped.expect("valid").json.as_bytes()).expect("valid");
    let tiers: Vec<&str> = shipped.tiers.iter().map(|tier| &*tier.name.0).collect();
    assert_eq!(tiers, ["fast", "balanced", "quality", "reasoning"]);
    for tier in &shipped.tiers {
        let mut providers: Vec<&str> = tier.targets.iter().map(|t| &*t.provider.name).collect();
        providers.sort_unstable();
        let all = ["anthropic", "gemini", "openai"];
        assert_eq!(providers, all, "{}", tier.name);
    }
    // The one that stands in the file that is rendered over.
    let router = yaml("envoy/ecds/router.yaml");
    let config = &router["resources"][0]["typed_config"]["config"];
    let placeholder = config["configuration"]["value"].as_str().expect("text");
    Policy::from_bytes(placeholder.as_bytes()).expect("valid");
}

#[test]
fn the_routes_and_clusters_know_what_the_shipped_policy_names() {
    let policy = policy_file::prepare(&read("envoy/policy.yaml"), &Endpoints::new());
    let policy = Policy::from_bytes(policy.expect("valid").json.as_bytes()).expect("valid");
    let route = chat_route();
    let specifier = &route["inline_cluster_specifier_plugin"]["extension"]["typed_config"];
    let matcher = &specifier["cluster_matcher"]["matcher_tree"];
    let map = &matcher["exact_match_map"]["map"];
    let clusters = yaml("envoy/clusters.yaml");
    let clusters = clusters["resources"].as_sequence().expect("a list");
    let cluster = |name: &str| clusters.iter().find(|c| c["name"] == name);
    for provider in policy.providers.values() {
        let name = &*provider.cluster;
        assert_eq!(map[name]["action"]["typed_config"]["cluster"], name);
        let cluster = cluster(name).unwrap_or_else(|| panic!("no cluster {name}"));
        let options = &cluster["typed_extension_protocol_options"];
        let filters =
            &options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["http_filters"];
        let filters: Vec<&str> = filters
            .as_sequence()
            .expect("a list")
            .iter()
            .filter_map(|f| f["name"].as_str())
            .collect();
        // In the header that its format wants.
        let injector = &options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["http_filters"]
            [1]["typed_config"]["credential"]["typed_config"];
        let (header, prefix) = match provider.api {
            Api::OpenAi => ("authorization", Value::from("Bearer ")),
            Api::Anthropic => ("x-api-key", Value::Null),
            Api::Gemini => ("x-goog-api-key", Value::Null),
        };
        assert_eq!(injector["header"], header, "{name}");
        assert_eq!(
            injector
                .get("header_value_prefix")
                .cloned()
                .unwrap_or_default(),
            prefix
        );
        assert_eq!(injector["credential"]["name"], name, "{name}");
        let secret = yaml(&format!("envoy/sds/{name}.yaml"))["resources"][0].clone();
        assert_eq!(secret["name"], name);
        let file = format!("secrets/{name}");
        assert_eq!(
            secret["generic_secret"]["secret"]["filename"],
            file.as_str()
        );
        // The filter never sees the key, which is injected after it.
        assert_eq!(
            filters,
            [
                "provider",
                "envoy.filters.http.credential_injector",
                "envoy.filters.http.upstream_codec"
            ],
            "{name}"
        );
    }
    let classifier = policy.llm().expect("the shipped policy classifies");
    assert!(cluster(&classifier.cluster).is_some());
    // The key of the filter state that the roles write, as Envoy sees it.
    let state = pointsman::telemetry::state::CLUSTER;
    assert_eq!(
        matcher["input"]["typed_config"]["key"],
        format!("wasm.{state}").as_str()
    );
    // What the policy admits is routed, and nothing else; the 404 names it.
    let routes = yaml("envoy/routes.yaml")["resources"][0]["virtual_hosts"][0]["routes"].clone();
    let regex = routes[0]["match"]["safe_regex"]["regex"].as_str();
    let messages = policy.admit.messages_paths.iter();
    let messages = messages.map(|path| format!("{path}(/count_tokens)?"));
    let admitted: Vec<String> = policy.admit.paths.iter().cloned().chain(messages).collect();
    assert_eq!(regex, Some(admitted.join("|").as_str()));
    // Under a path of Messages in that API's form, as Envoy's own errors there.
    let [path] = policy.admit.messages_paths.as_slice() else {
        panic!("the routes know one path of Messages");
    };
    assert_eq!(routes[2]["match"]["path_separated_prefix"], path.as_str());
    let not_found = &routes[2]["direct_response"];
    assert_eq!(not_found["status"], 404);
    let not_found = not_found["body"]["inline_string"].as_str().expect("text");
    assert!(not_found.starts_with(r#"{"type":"error","#) && not_found.contains(path.as_str()));
    let is_messages =
        format!(r#"request.url_path == "{path}" || request.url_path.startsWith("{path}/")"#);
    let handed_over = format!(
        r#""wasm.{}" in filter_state"#,
        pointsman::telemetry::state::PLAN
    );
    let listener = read("envoy/listener.yaml");
    assert!(listener.contains(&is_messages) && listener.contains(&handed_over));
    let not_found = &routes[3]["direct_response"];
    assert_eq!(not_found["status"], 404);
    let not_found = not_found["body"]["inline_string"].as_str().expect("text");
    for path in policy
        .admit
        .paths
        .iter()
        .chain(&policy.admit.messages_paths)
    {
        assert!(not_found.contains(&format!("POST {path}")), "{path}");
    }
    assert_eq!(
        routes[1]["match"]["path_separated_prefix"],
        policy.admit.models_path.as_str()
    );
}

#[test]
fn every_label_is_read_back_by_envoy() {
    let bootstrap = yaml("envoy/bootstrap.yaml");
    let tags = bootstrap["stats_config"]["stats_tags"]
        .as_sequence()
        .expect("a list")
        .clone();
    for tag in &tags {
        let name = tag["tag_name"].as_str().expect("text");
        let regex = format!("({name}=\\.=(.*?);\\.)");
        assert_eq!(tag["regex"], regex.as_str(), "{name}");
    }
    // `("label", …)` inside of a `let tags = […]`.
    let mut labels = Vec::new();
    for (_, source) in sources("filter/src") {
        for tagged in source.split("let tags = [").skip(1) {
            let list = tagged.split(']').next().unwrap_or_default();
            labels.extend(
                list.split("(\"")
                    .skip(1)
                    .filter_map(|l| Some(l.split_once('"')?.0.to_owned())),
            );
        }
    }
    assert!(labels.len() >= 6, "{labels:?}");
    for label in labels {
        assert!(
            tags.iter().any(|tag| tag["tag_name"] == label.as_str()),
            "no stats_tags entry for {label:?}"
        );
    }
}

#[test]
fn only_the_edge_knows_proxy_wasm() {
    let who: Vec<String> = sources("filter/src")
        .into_iter()
        .filter(|(_, source)| source.contains("proxy_wasm"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(who, ["host.rs", "lib.rs"]);
}

/// Every worker of every Envoy compiles it: 1.5 MiB at most.
#[test]
fn the_filter_is_small() {
    let wasm = render::wasm().expect("a path");
    let bytes = fs::metadata(&wasm).unwrap_or_else(|e| panic!("{}: {e}", wasm.display()));
    let bytes = bytes.len();
    assert!((100_000..=3 << 19).contains(&bytes), "{bytes} bytes");
}

#[test]
fn the_filter_excepts_nothing_from_its_lints() {
    let lib = read("filter/src/lib.rs");
    let lints = [
        "unwrap_used",
        "expect_used",
        "clippy::panic",
        "indexing_slicing",
        "arithmetic_side_effects",
        "unsafe_code",
    ];
    for lint in &lints[..5] {
        assert!(lib.contains(lint), "{lint} is not denied");
    }
    let workspace = read("Cargo.toml");
    assert!(workspace.contains("unsafe_code = \"deny\""));
    for (name, source) in sources("filter/src") {
        let mut attributes = source.lines().filter(|line| line.contains("#["));
        let excepted = attributes.find(|line| lints.iter().any(|lint| line.contains(lint)));
        assert_eq!(excepted, None, "{name}");
    }
}
