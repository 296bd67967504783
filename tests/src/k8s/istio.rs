//! What istiod makes of our EnvoyFilters: its generated configuration, with every patch applied as it applies them.
//!
//! Pure but for reading files. The generated configuration is in `tests/fixtures/k8s/`, derived by hand from our manifests and
//! Istio's source (1.31); how patches match and merge is Istio's (pilot/pkg/networking/core/envoyfilter, pkg/proto/merge). What
//! istiod would pass over in silence (a patch that matches nothing, a name that it does not know) is an error here.

mod merge;

use std::path::Path;

use serde_norway::Value;

use super::kustomize::{named, of_kind};
use super::layout::{Mesh, Resources};
use crate::render;
use merge::{merge, merge_cluster, merge_filter};

/// Where a proxy is in the mesh.
#[derive(Debug, Clone, Copy)]
pub struct Proxy<'a> {
    /// `GATEWAY` or `SIDECAR_OUTBOUND`.
    pub context: &'a str,
    pub version: &'a str,
    pub labels: &'a [(&'a str, &'a str)],
    pub namespace: &'a str,
}

/// A variant of ours: the proxy that it is for, and what its parts are called.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    pub folder: &'static str,
    pub fixtures: &'static str,
    pub proxy: Proxy<'static>,
    pub mesh: Mesh<'static>,
}

const LEFT_OUT: &[&str] = &["istio.metadata_exchange", "istio.alpn", "istio.stats"];

pub const GATEWAY: Variant = Variant {
    folder: "k8s/istio/gateway",
    fixtures: "istio-gateway",
    proxy: Proxy {
        context: "GATEWAY",
        version: "1.31.1",
        labels: &[("istio", "pointsman")],
        namespace: "pointsman",
    },
    mesh: Mesh {
        door: "0.0.0.0_8080",
        router: "pointsman-router",
        provider: "pointsman-provider",
        left_out: LEFT_OUT,
    },
};

pub const SIDECAR: Variant = Variant {
    folder: "k8s/istio/sidecar",
    fixtures: "istio-sidecar",
    proxy: Proxy {
        context: "SIDECAR_OUTBOUND",
        version: "1.31.1",
        labels: &[("pointsman", "sidecar")],
        namespace: "apps",
    },
    mesh: Mesh {
        door: "0.0.0.0_8090",
        router: "pointsman-router",
        provider: "pointsman-provider",
        left_out: LEFT_OUT,
    },
};

/// What a proxy of this variant is served: what is generated, with the patches and keys of the manifests.
pub fn served(
    generated: Resources,
    variant: &Variant,
    manifests: &[Value],
) -> Result<Resources, String> {
    let mut served = generated;
    apply(&mut served, manifests, &variant.proxy)?;
    let sds = named(manifests, "ConfigMap", "pointsman-sds")?;
    for (file, text) in sds["data"].as_mapping().into_iter().flatten() {
        let (Some(file), Some(text)) = (file.as_str(), text.as_str()) else {
            return Err("pointsman-sds: not text".into());
        };
        let document = serde_norway::from_str(text).map_err(|e| format!("{file}: {e}"))?;
        let name = file.trim_end_matches(".yaml").to_owned();
        served.secrets.insert(name, document);
    }
    Ok(served)
}

/// Builds a variant, and writes what its proxy is served into `dir`.
pub fn write(variant: &Variant, dir: &Path) -> Result<(), String> {
    let manifests = super::kustomize::build(&render::root().join(variant.folder))?;
    let served = served(generated(variant.fixtures)?, variant, &manifests)?;
    super::layout::write(served, variant.mesh, dir)
}

/// What istiod generates, before any patch: one document a resource.
pub fn generated(fixtures: &str) -> Result<Resources, String> {
    let dir = render::root().join("tests/fixtures/k8s").join(fixtures);
    let read = |file: &str| render::read(&dir.join(file));
    Ok(Resources {
        listeners: read("listeners.yaml")?,
        routes: read("routes.yaml")?,
        clusters: read("clusters.yaml")?,
        ..Resources::default()
    })
}

// === which patches, in which order

/// One `configPatches` entry.
#[derive(Debug)]
struct Patch<'a> {
    /// Where it is, for a message.
    at: String,
    applies_to: &'a str,
    matches: &'a Value,
    operation: &'a str,
    value: &'a Value,
}

/// Kinds, and operations, in the order in which istiod comes to them within one proxy.
const ORDER: [(&str, &[&str]); 10] = [
    ("CLUSTER", &["MERGE", "REMOVE"]),
    ("CLUSTER", &["ADD"]),
    ("LISTENER", &["MERGE", "REMOVE"]),
    ("NETWORK_FILTER", &["MERGE"]),
    ("HTTP_FILTER", &["INSERT_FIRST", "INSERT_BEFORE"]),
    ("HTTP_FILTER", &["MERGE"]),
    ("LISTENER", &["ADD"]),
    ("ROUTE_CONFIGURATION", &["MERGE"]),
    ("VIRTUAL_HOST", &["REPLACE", "MERGE"]),
    ("EXTENSION_CONFIG", &["ADD"]),
];

/// Applies every EnvoyFilter among `manifests` that selects this proxy.
pub fn apply(served: &mut Resources, manifests: &[Value], proxy: &Proxy<'_>) -> Result<(), String> {
    let mut filters: Vec<&Value> = of_kind(manifests, "EnvoyFilter").collect();
    // Same priority, and as good as same time: by name.
    filters.sort_by_key(|f| {
        f["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    });
    let mut patches = Vec::new();
    for filter in filters {
        if selects(filter, proxy)? {
            patches.extend(patches_of(filter, proxy)?);
        }
    }
    for patch in &patches {
        let known = |(kind, operations): &(&str, &[&str])| {
            *kind == patch.applies_to && operations.contains(&patch.operation)
        };
        if !ORDER.iter().any(known) {
            let (kind, operation) = (patch.applies_to, patch.operation);
            return Err(format!("{}: {operation} of {kind}: not here", patch.at));
        }
    }
    for (kind, operations) in ORDER {
        let here = |p: &&Patch<'_>| p.applies_to == kind && operations.contains(&p.operation);
        for patch in patches.iter().filter(here) {
            apply_one(served, patch).map_err(|e| format!("{}: {e}", patch.at))?;
        }
    }
    Ok(())
}

/// One that selects nothing of ours was made for nothing, or by mistake.
fn selects(filter: &Value, proxy: &Proxy<'_>) -> Result<bool, String> {
    let name = filter["metadata"]["name"].as_str().unwrap_or("?");
    if filter["metadata"]["namespace"] != proxy.namespace {
        return Err(format!("{name}: not in namespace {}", proxy.namespace));
    }
    let labels = filter["spec"]["workloadSelector"]["labels"].as_mapping();
    let labels = labels
        .filter(|labels| !labels.is_empty())
        .ok_or_else(|| format!("{name}: selects every pod of its namespace"))?;
    let has = |(key, value): (&Value, &Value)| {
        let label = |(k, v): &(&str, &str)| key == *k && value == *v;
        proxy.labels.iter().any(label)
    };
    if labels.iter().all(has) {
        return Ok(true);
    }
    Err(format!("{name}: does not select {:?}", proxy.labels))
}

fn patches_of<'a>(filter: &'a Value, proxy: &Proxy<'_>) -> Result<Vec<Patch<'a>>, String> {
    let name = filter["metadata"]["name"].as_str().unwrap_or("?");
    let list = filter["spec"]["configPatches"].as_sequence();
    let list = list.ok_or_else(|| format!("{name}: no configPatches"))?;
    let mut patches = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let at = format!("{name}[{index}]");
        let text =
            |value: &'a Value, what: &str| value.as_str().ok_or_else(|| format!("{at}: no {what}"));
        let version = text(&entry["match"]["proxy"]["proxyVersion"], "proxyVersion")?;
        if version != GUARD {
            return Err(format!("{at}: proxyVersion is {version:?}, not {GUARD:?}"));
        }
        debug_assert!(guarded(proxy.version));
        let context = text(&entry["match"]["context"], "context")?;
        if context != proxy.context {
            return Err(format!("{at}: context {context}, not {}", proxy.context));
        }
        patches.push(Patch {
            applies_to: text(&entry["applyTo"], "applyTo")?,
            matches: &entry["match"],
            operation: text(&entry["patch"]["operation"], "operation")?,
            value: &entry["patch"]["value"],
            at,
        });
    }
    Ok(patches)
}

/// On every patch of ours: proxies whose Envoy asks for the cluster again on a retry, Istio 1.31 and later.
pub const GUARD: &str = r"^1\.(3[1-9]|[4-9][0-9]).*";

/// What [`GUARD`] says.
fn guarded(version: &str) -> bool {
    let minor = version.split('.').nth(1).and_then(|m| m.parse().ok());
    minor.is_some_and(|minor: u32| (31..100).contains(&minor))
}

// === one patch

fn apply_one(served: &mut Resources, patch: &Patch<'_>) -> Result<(), String> {
    match patch.applies_to {
        "CLUSTER" if patch.operation == "ADD" => add(&mut served.clusters, patch.value),
        "LISTENER" if patch.operation == "ADD" => add(&mut served.listeners, patch.value),
        "EXTENSION_CONFIG" => add(&mut served.extensions, patch.value),
        "CLUSTER" => {
            let name = &patch.matches["cluster"]["name"];
            merge_cluster(
                one(&mut served.clusters, |c| c["name"] == *name)?,
                patch.value,
            )
        }
        "LISTENER" => merge(listener(served, patch)?, patch.value),
        "NETWORK_FILTER" => {
            let filter = network_filter(listener(served, patch)?, patch)?;
            merge_filter(filter, patch.value)
        }
        "HTTP_FILTER" => http_filter(network_filter(listener(served, patch)?, patch)?, patch),
        "ROUTE_CONFIGURATION" => merge(routes(served, patch)?, patch.value),
        "VIRTUAL_HOST" => virtual_host(routes(served, patch)?, patch),
        other => Err(format!("{other}: not here")),
    }
}

/// Names are one of a kind: Envoy refuses the second.
fn add(list: &mut Vec<Value>, value: &Value) -> Result<(), String> {
    let name = value["name"].as_str().ok_or("ADD without a name")?;
    if list.iter().any(|there| there["name"] == name) {
        return Err(format!("there is a {name:?} already"));
    }
    list.push(value.clone());
    Ok(())
}

fn one(list: &mut [Value], is: impl Fn(&Value) -> bool) -> Result<&mut Value, String> {
    let mut found = list.iter_mut().filter(|value| is(value));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err("matches nothing".into()),
        _ => Err("matches more than one".into()),
    }
}

/// By its socket's port.
fn listener<'a>(served: &'a mut Resources, patch: &Patch<'_>) -> Result<&'a mut Value, String> {
    let port = &patch.matches["listener"]["portNumber"];
    one(&mut served.listeners, |l| {
        l["address"]["socket_address"]["port_value"] == *port
    })
}

/// By the port at the end of its name: `http.8080` at a gateway, `8090` at a sidecar.
fn routes<'a>(served: &'a mut Resources, patch: &Patch<'_>) -> Result<&'a mut Value, String> {
    let port = patch.matches["routeConfiguration"]["portNumber"].as_u64();
    let port = port.ok_or("no portNumber")?.to_string();
    one(&mut served.routes, |routes| {
        let name = routes["name"].as_str().unwrap_or_default();
        name == port || name.strip_prefix("http.") == Some(port.as_str())
    })
}

fn network_filter<'a>(listener: &'a mut Value, patch: &Patch<'_>) -> Result<&'a mut Value, String> {
    let name = &patch.matches["listener"]["filterChain"]["filter"]["name"];
    let chains = sequence(listener, "filter_chains")?;
    let [chain] = chains.as_mut_slice() else {
        return Err("not one filter chain".into());
    };
    one(sequence(chain, "filters")?, |f| f["name"] == *name)
}

fn http_filter(network: &mut Value, patch: &Patch<'_>) -> Result<(), String> {
    let config = network.get_mut("typed_config").ok_or("no typed_config")?;
    let filters = sequence(config, "http_filters")?;
    let name = &patch.matches["listener"]["filterChain"]["filter"]["subFilter"]["name"];
    match patch.operation {
        "MERGE" => merge_filter(one(filters, |f| f["name"] == *name)?, patch.value),
        "INSERT_FIRST" => {
            filters.insert(0, patch.value.clone());
            Ok(())
        }
        _ => {
            let at = filters.iter().position(|f| f["name"] == *name);
            filters.insert(at.ok_or("matches nothing")?, patch.value.clone());
            Ok(())
        }
    }
}

fn virtual_host(routes: &mut Value, patch: &Patch<'_>) -> Result<(), String> {
    let name = &patch.matches["routeConfiguration"]["vhost"]["name"];
    let host = one(sequence(routes, "virtual_hosts")?, |h| h["name"] == *name)?;
    if patch.operation == "REPLACE" {
        *host = patch.value.clone();
        return Ok(());
    }
    merge(host, patch.value)
}

fn sequence<'a>(value: &'a mut Value, key: &str) -> Result<&'a mut Vec<Value>, String> {
    let list = value.get_mut(key).and_then(Value::as_sequence_mut);
    list.ok_or_else(|| format!("no list `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Value {
        serde_norway::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn a_patch_that_would_do_nothing_is_an_error() {
        let proxy = Proxy {
            context: "GATEWAY",
            version: "1.31.1",
            labels: &[("a", "b")],
            namespace: "n",
        };
        let check = |kind: &str, context: &str, version: &str, cluster: &str, expected| {
            let filter = serde_json::json!({
                "kind": "EnvoyFilter",
                "metadata": {"name": "f", "namespace": "n"},
                "spec": {"workloadSelector": {"labels": {"a": "b"}}, "configPatches": [{
                    "applyTo": kind,
                    "match": {
                        "context": context,
                        "proxy": {"proxyVersion": version},
                        "cluster": {"name": cluster},
                    },
                    "patch": {"operation": "MERGE", "value": {"connect_timeout": "1s"}},
                }]},
            });
            let mut served = Resources {
                clusters: vec![yaml("{name: c}")],
                ..Resources::default()
            };
            let filter = serde_norway::to_value(filter).expect("YAML");
            let outcome = apply(&mut served, &[filter], &proxy).map_err(|e| e.to_string());
            assert_eq!(outcome.as_ref().map_err(String::as_str), expected);
            let changed = served.clusters == [yaml("{name: c, connect_timeout: 1s}")];
            assert_eq!(changed, outcome.is_ok());
        };
        check("CLUSTER", "GATEWAY", GUARD, "c", Ok(&()));
        let nothing = Err("f[0]: matches nothing");
        check("CLUSTER", "GATEWAY", GUARD, "d", nothing);
        let unknown = Err("f[0]: MERGE of BOOTSTRAP: not here");
        check("BOOTSTRAP", "GATEWAY", GUARD, "c", unknown);
        let elsewhere = Err("f[0]: context ANY, not GATEWAY");
        check("CLUSTER", "ANY", GUARD, "c", elsewhere);
        let unguarded = format!("f[0]: proxyVersion is \"x\", not {GUARD:?}");
        check("CLUSTER", "GATEWAY", "x", "c", Err(&unguarded));
    }

    #[test]
    fn the_guard_is_istio_1_31_and_later() {
        for (version, expected) in [
            ("1.30.9", false),
            ("1.31.0", true),
            ("1.40.2", true),
            ("1.3.8", false),
        ] {
            assert_eq!(guarded(version), expected, "{version}");
        }
    }
}
