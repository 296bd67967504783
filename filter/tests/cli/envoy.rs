//! `pointsman check --envoy`: what ships is complete, and each thing that is taken away is missed.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{root, run_in};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[test]
fn what_ships_is_green() {
    let ran = run_in(
        &root(),
        &["check", "envoy/policy.yaml", "--envoy", "envoy"],
        b"",
    );
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    let last = "  envoy      has what it needs for anthropic, gemini, openai, classifier (";
    assert!(
        ran.out.lines().any(|line| line.starts_with(last)),
        "{}",
        ran.out
    );
}

/// What is found once `old` in `file` of the shipped configuration is `new`; lines are not compared.
fn check(file: &str, old: &str, new: &str, expected: &[&str]) {
    let dir = TempDir::new().expect("a folder");
    copy(&root().join("envoy"), &dir.path().join("envoy"));
    let path = dir.path().join("envoy").join(file);
    let text = fs::read_to_string(&path).expect("a file");
    assert!(text.contains(old), "{file} has no {old}");
    fs::write(path, text.replacen(old, new, 1)).expect("written");
    let ran = run_in(
        dir.path(),
        &["check", "envoy/policy.yaml", "--envoy", "envoy"],
        b"",
    );
    let without_line = |line: &str| -> String {
        let mut parts: Vec<&str> = line.splitn(3, ':').collect();
        if parts.len() == 3 && parts[1].parse::<u32>().is_ok() {
            parts.remove(1);
        }
        parts.join(":")
    };
    let found: Vec<String> = ran.err.lines().map(without_line).collect();
    assert_eq!(found, expected, "{file}: {old}");
    assert_eq!(ran.code, Some(1));
}

#[test]
fn each_thing_that_is_missing_is_found() {
    let map = "resources[0].virtual_hosts[0].routes[0].route.inline_cluster_specifier_plugin.extension.typed_config.cluster_matcher.matcher_tree.exact_match_map.map";
    check(
        "clusters.yaml",
        "  name: gemini\n",
        "  name: gemni\n",
        &[
            "envoy: no cluster \"gemini\", which providers.gemini.cluster names; did you mean gemni, gemini_endpoints?",
        ],
    );
    check(
        "clusters.yaml",
        "  name: classifier\n",
        "  name: other\n",
        &[
            "envoy: no cluster \"classifier\", which classify's llm.cluster names; add one to its clusters (CDS or static_resources)",
        ],
    );
    check(
        "clusters.yaml",
        "      http_filters:\n      - *provider_role\n",
        "      http_filters:\n",
        &[
            "envoy/clusters.yaml: resources[2]: cluster \"anthropic\" of provider \"anthropic\" does not carry this filter; put it (root_id \"provider\") first into the http_filters of its HttpProtocolOptions",
        ],
    );
    check(
        "clusters.yaml",
        "      http_filters:\n      - name: envoy.filters.http.credential_injector\n        typed_config:\n          \"@type\": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector\n          overwrite: true\n          allow_request_without_credential: true\n          credential:\n            name: envoy.http.injected_credentials.generic\n            typed_config:\n              \"@type\": type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic\n              header: authorization",
        "      http_filters:\n      - *provider_role\n      - name: envoy.filters.http.credential_injector\n        typed_config:\n          \"@type\": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector\n          overwrite: true\n          allow_request_without_credential: true\n          credential:\n            name: envoy.http.injected_credentials.generic\n            typed_config:\n              \"@type\": type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic\n              header: authorization",
        &[
            "envoy/clusters.yaml: resources[6]: cluster \"classifier\" of the LLM classifier carries this filter: a callout through it re-enters the filter's own VM and kills it; remove it from its http_filters",
        ],
    );
    check(
        "routes.yaml",
        "                      gemini:\n",
        "                      gemni:\n",
        &[&format!(
            "envoy/routes.yaml: {map}: has no entry \"gemini\"; a request to that cluster has no route: add one that leads to it"
        )],
    );
    check(
        "routes.yaml",
        "cluster: gemini\n",
        "cluster: openai\n",
        &[&format!(
            "envoy/routes.yaml: {map}.gemini: leads to cluster \"openai\"; it must lead to cluster \"gemini\""
        )],
    );
    check(
        "routes.yaml",
        "key: wasm.pointsman.cluster",
        "key: pointsman.cluster",
        &[
            "envoy: no route reads its cluster from filter state wasm.pointsman.cluster; give one a cluster_matcher with an exact_match_map on it, see envoy/routes.yaml",
        ],
    );
    let carries = |repair: &str| -> Vec<String> {
        [(2, "anthropic"), (4, "gemini"), (0, "openai")]
            .map(|(at, name)| format!("envoy/clusters.yaml: resources[{at}]: cluster \"{name}\" of provider \"{name}\" {repair}"))
            .to_vec()
    };
    let router =
        carries("carries the filter as root_id \"router\"; upstream it must be \"provider\"");
    let router: Vec<&str> = router.iter().map(String::as_str).collect();
    check(
        "ecds/provider.yaml",
        "root_id: provider",
        "root_id: router",
        &router,
    );
    let unknown = carries(
        "takes its filter \"provider\" by config_discovery, and no file has a TypedExtensionConfig of that name",
    );
    let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
    check(
        "ecds/provider.yaml",
        "  name: provider\n",
        "  name: other\n",
        &unknown,
    );
    check(
        "sds/openai.yaml",
        "resources:",
        "resources: [",
        &[
            "envoy/sds/openai.yaml: is neither YAML nor JSON: did not find expected node content at line 3 column 1, while parsing a flow node",
        ],
    );
}

#[test]
fn a_static_configuration_with_the_filter_in_place_is_green() {
    let dir = TempDir::new().expect("a folder");
    let wasm = |root: &str| {
        format!(
            r#"{{"name": "f", "typed_config": {{"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": {{"root_id": "{root}"}}}}}}"#
        )
    };
    let cluster = |filter: &str| {
        format!(
            r#"{{"static_resources": {{"clusters": [{{"name": "openai", "typed_extension_protocol_options": {{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {{"http_filters": [{filter}]}}}}}}]}},
            "cluster_matcher": {{"matcher_tree": {{"input": {{"typed_config": {{"key": "wasm.pointsman.cluster"}}}},
            "exact_match_map": {{"map": {{"openai": {{"action": {{"typed_config": {{"cluster": "openai"}}}}}}}}}}}}}}}}"#
        )
    };
    let policy = root().join("tests/fixtures/cli/small.yaml");
    let policy = policy.to_str().expect("UTF-8");
    for (filter, code) in [(wasm("provider"), 0), (String::new(), 1)] {
        fs::write(dir.path().join("bootstrap.json"), cluster(&filter)).expect("written");
        let ran = run_in(dir.path(), &["check", policy, "--envoy", "."], b"");
        assert_eq!(ran.code, Some(code), "{}", ran.err);
    }
    // The router role alone in a cluster is found as what it is.
    fs::write(dir.path().join("bootstrap.json"), cluster(&wasm("router"))).expect("written");
    let ran = run_in(dir.path(), &["check", policy, "--envoy", "."], b"");
    assert!(
        ran.err.contains("carries the filter as root_id \"router\""),
        "{}",
        ran.err
    );
}

#[test]
fn a_folder_without_configuration_is_misuse() {
    let dir = TempDir::new().expect("a folder");
    let policy = root().join("tests/fixtures/cli/small.yaml");
    let policy = policy.to_str().expect("UTF-8");
    let ran = run_in(dir.path(), &["check", policy, "--envoy", "."], b"");
    let expected = "pointsman: .: has no .yaml, .yml or .json file; name the folder of an Envoy configuration\n";
    assert_eq!((ran.code, &*ran.err), (Some(2), expected));
}
