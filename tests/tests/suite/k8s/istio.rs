//! Istio: the gateway and the sidecar.

use pointsman::policy::Policy;
use pointsman_tests::k8s::istio::{self, GATEWAY, SIDECAR, Variant};
use pointsman_tests::k8s::kustomize::{self, named, of_kind};
use pointsman_tests::k8s::layout;
use pointsman_tests::render;
use serde_norway::Value;

use super::{does_the_main_job, folder};

fn build(folder: &str) -> Vec<Value> {
    kustomize::build(&render::root().join(folder)).unwrap_or_else(|e| panic!("{e}"))
}

async fn main_job(variant: &Variant) {
    let dir = folder(variant.fixtures);
    istio::write(variant, &dir).unwrap_or_else(|e| panic!("{e}"));
    does_the_main_job(variant.fixtures, dir).await;
}

#[tokio::test]
async fn the_gateway_does_the_main_job() {
    main_job(&GATEWAY).await;
}

#[tokio::test]
async fn the_sidecar_does_the_main_job() {
    main_job(&SIDECAR).await;
}

/// The clusters that istiod is said to generate are those of our ServiceEntries and DestinationRules.
#[test]
fn the_generated_clusters_are_those_of_the_manifests() {
    for variant in [GATEWAY, SIDECAR] {
        let manifests = build(variant.folder);
        let generated = istio::generated(variant.fixtures).expect("fixtures");
        let entries: Vec<&Value> = of_kind(&manifests, "ServiceEntry").collect();
        assert_eq!(entries.len(), generated.clusters.len());
        for entry in entries {
            let host = entry["spec"]["hosts"][0].as_str().expect("a host");
            let name = format!("outbound|443||{host}");
            let cluster = generated
                .clusters
                .iter()
                .find(|c| c["name"] == name.as_str());
            let cluster = cluster.unwrap_or_else(|| panic!("no cluster of {host}"));
            let rule = entry["metadata"]["name"].as_str().expect("a name");
            let rule = named(&manifests, "DestinationRule", rule).expect("its rule");
            assert_eq!(rule["spec"]["host"], host);
            agrees(&rule["spec"]["trafficPolicy"], cluster, host);
        }
    }
}

fn agrees(policy: &Value, cluster: &Value, host: &str) {
    let tls = &cluster["transport_socket"]["typed_config"];
    let names =
        &tls["common_tls_context"]["combined_validation_context"]["default_validation_context"];
    let pool = &policy["connectionPool"];
    let breakers = &cluster["circuit_breakers"]["thresholds"][0];
    let outliers = (&policy["outlierDetection"], &cluster["outlier_detection"]);
    for (rule, generated) in [
        (&policy["tls"]["sni"], &tls["sni"]),
        (
            &policy["tls"]["subjectAltNames"][0],
            &names["match_subject_alt_names"][0]["exact"],
        ),
        (&pool["tcp"]["connectTimeout"], &cluster["connect_timeout"]),
        (&pool["tcp"]["maxConnections"], &breakers["max_connections"]),
        (
            &pool["http"]["http1MaxPendingRequests"],
            &breakers["max_pending_requests"],
        ),
        (&pool["http"]["http2MaxRequests"], &breakers["max_requests"]),
        (&pool["http"]["maxRetries"], &breakers["max_retries"]),
        (
            &outliers.0["splitExternalLocalOriginErrors"],
            &outliers.1["split_external_local_origin_errors"],
        ),
        (
            &outliers.0["consecutiveLocalOriginFailures"],
            &outliers.1["consecutive_local_origin_failure"],
        ),
        (
            &outliers.0["consecutive5xxErrors"],
            &outliers.1["consecutive_5xx"],
        ),
        (
            &outliers.0["consecutiveGatewayErrors"],
            &outliers.1["consecutive_gateway_failure"],
        ),
        (&outliers.0["interval"], &outliers.1["interval"]),
        (
            &outliers.0["baseEjectionTime"],
            &outliers.1["base_ejection_time"],
        ),
        (
            &outliers.0["maxEjectionPercent"],
            &outliers.1["max_ejection_percent"],
        ),
    ] {
        assert_eq!(rule, generated, "{host}");
    }
    assert_eq!(policy["tls"]["sni"], host);
}

/// An application without Pointsman may call a provider itself.
#[test]
fn tls_to_providers_is_the_labelled_pods_alone() {
    let manifests = build(SIDECAR.folder);
    for rule in of_kind(&manifests, "DestinationRule") {
        for (key, value) in SIDECAR.proxy.labels {
            let labels = &rule["spec"]["workloadSelector"]["matchLabels"];
            assert_eq!(labels[*key], *value);
        }
    }
}

/// The listener and the routes that are patched are those of our port.
#[test]
fn the_generated_door_is_that_of_the_manifests() {
    let gateway = build(GATEWAY.folder);
    let service = named(&gateway, "Service", "pointsman").expect("the Service");
    let deployment = named(&gateway, "Deployment", "pointsman").expect("the Deployment");
    let pod = &deployment["spec"]["template"];
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 8080);
    let selector = &service["spec"]["selector"];
    assert_eq!(selector["istio"], pod["metadata"]["labels"]["istio"]);
    let door = named(&gateway, "Gateway", "pointsman").expect("the Gateway");
    assert_eq!(&door["spec"]["selector"], selector);
    let host = door["spec"]["servers"][0]["hosts"][0]
        .as_str()
        .expect("a host");
    let port = door["spec"]["servers"][0]["port"]["number"]
        .as_u64()
        .expect("a port");
    let generated = istio::generated(GATEWAY.fixtures).expect("fixtures");
    let named_host = &generated.routes[0]["virtual_hosts"][0]["name"];
    assert_eq!(*named_host, format!("{host}:{port}").as_str());

    let sidecar = build(SIDECAR.folder);
    let service = named(&sidecar, "Service", "pointsman").expect("the Service");
    assert_eq!(service["spec"]["ports"][0]["port"], 8090);
    assert_eq!(service["metadata"]["namespace"], SIDECAR.proxy.namespace);
}

/// The pods that hold the keys are where SDS looks for them.
#[test]
fn volumes_are_where_secrets_are_looked_for() {
    let manifests = build(GATEWAY.folder);
    let deployment = named(&manifests, "Deployment", "pointsman").expect("the Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mounts = container["volumeMounts"].as_sequence().expect("mounts");
    let mut gateway: Vec<(&str, &str)> = mounts
        .iter()
        .filter_map(|m| Some((m["name"].as_str()?, m["mountPath"].as_str()?)))
        .collect();
    gateway.sort_unstable();
    let expected = [
        ("pointsman-keys", "/etc/pointsman/keys"),
        ("pointsman-sds", "/etc/pointsman/sds"),
    ];
    assert_eq!(gateway, expected);

    let text = std::fs::read_to_string(render::root().join("k8s/istio/sidecar/app-patch.yaml"));
    let patch: Value = serde_norway::from_str(&text.expect("the patch")).expect("YAML");
    let metadata = &patch["spec"]["template"]["metadata"];
    for (key, value) in SIDECAR.proxy.labels {
        assert_eq!(metadata["labels"][*key], *value);
    }
    let mounts = metadata["annotations"]["sidecar.istio.io/userVolumeMount"].as_str();
    let mounts: serde_json::Value = serde_json::from_str(mounts.expect("mounts")).expect("JSON");
    for (volume, path) in expected {
        assert_eq!(mounts[volume]["mountPath"], path);
    }
}

/// The example's provider has all that the others have.
#[test]
fn the_overlay_adds_a_provider_and_a_tier() {
    let manifests = build("k8s/examples/istio");
    let mut generated = istio::generated(GATEWAY.fixtures).expect("fixtures");
    let openai = serde_norway::to_string(&generated.clusters[0]).expect("YAML");
    let mistral = openai.replace("api.openai.com", "api.mistral.ai");
    let mistral = serde_norway::from_str(&mistral).expect("YAML");
    generated.clusters.push(mistral);
    let served = istio::served(generated, &GATEWAY, &manifests).unwrap_or_else(|e| panic!("{e}"));

    let router = served
        .extensions
        .iter()
        .find(|e| e["name"] == "pointsman-router");
    let policy = &router.expect("the role")["typed_config"]["config"]["configuration"]["value"];
    let text = serde_json::to_string(policy).expect("JSON");
    let policy = Policy::from_bytes(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    assert!(policy.tiers.iter().any(|tier| &*tier.name.0 == "code"));
    let dir = folder("istio-overlay");
    layout::write(served, GATEWAY.mesh, &dir).unwrap_or_else(|e| panic!("{e}"));
    let text = |file: &str| std::fs::read_to_string(dir.join(file)).expect(file);
    assert!(text("routes.yaml").contains("cluster: mistral"));
    assert!(text("clusters.yaml").contains("path: sds/mistral.yaml"));
    assert!(text("sds/mistral.yaml").contains("filename: secrets/mistral"));
    std::fs::remove_dir_all(&dir).expect("removed");
}
