//! What the meshes share says what `envoy/` says.

use serde_norway::Value;

use crate::repo::yaml;

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let mut list = list.as_sequence().into_iter().flatten();
    list.find(|item| item["name"] == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_shared_document_is_envoys_configuration() {
    let shared = yaml("k8s/shared/pointsman.yaml");
    assert_eq!(shared["policy"], yaml("envoy/policy.yaml"));
    let routes = yaml("envoy/routes.yaml");
    let host = &routes["resources"][0]["virtual_hosts"][0];
    assert_eq!(shared["routes"], host["routes"]);
    let listeners = yaml("envoy/listener.yaml");
    let hcm = &listeners["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    for part in ["local_reply_config", "access_log"] {
        assert_eq!(shared[part], hcm[part], "{part}");
    }
    let mut sink = listeners["resources"][1].clone();
    sink.as_mapping_mut().expect("a listener").remove("@type");
    assert_eq!(shared["unavailable"], sink);
}

#[test]
fn the_classifiers_host_is_the_policys() {
    let shared = yaml("k8s/shared/pointsman.yaml");
    let steps = shared["policy"]["classify"].as_sequence().expect("steps");
    let mut hosts = steps.iter().filter_map(|step| step.get("llm")?.get("host"));
    assert_eq!(hosts.next(), Some(&shared["classifier_host"]));
    assert_eq!(hosts.next(), None);
}

/// But for what the meshes put in: the endpoints' name, the role's filter, the key's place.
#[test]
fn the_shared_clusters_are_envoys() {
    let shared = yaml("k8s/shared/pointsman.yaml");
    let clusters = yaml("envoy/clusters.yaml");
    let clusters = &clusters["resources"];
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    for name in ["openai", "anthropic", "gemini", "unavailable"] {
        let mut expected = named(clusters, name).clone();
        expected
            .as_mapping_mut()
            .expect("a cluster")
            .remove("@type");
        if name != "unavailable" {
            let mesh = "(the mesh's)";
            expected["cluster_type"]["typed_config"]["clusters"][0] = mesh.into();
            let filters =
                &mut expected["typed_extension_protocol_options"][OPTIONS]["http_filters"];
            let theirs = &shared["clusters"][name]["typed_extension_protocol_options"][OPTIONS];
            filters[0] = theirs["http_filters"][0].clone();
            let key = |filter: &Value| filter["typed_config"]["credential"]["typed_config"].clone();
            let key = key(&theirs["http_filters"][1])["credential"].clone();
            filters[1]["typed_config"]["credential"]["typed_config"]["credential"] = key;
        }
        assert_eq!(shared["clusters"][name], expected, "{name}");
    }
    // An aggregate here, since its endpoints are the mesh's: the key's header is what agrees.
    let key = |cluster: &Value| {
        let filters = &cluster["typed_extension_protocol_options"][OPTIONS]["http_filters"];
        let mut key = filters[0]["typed_config"].clone();
        key["credential"]["typed_config"]["credential"] = Value::Null;
        key
    };
    let ours = key(named(clusters, "classifier"));
    assert_eq!(key(&shared["clusters"]["classifier"]), ours);
}
