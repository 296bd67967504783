//! What Envoy Gateway makes of our manifests: its generated configuration, with our patches applied as it applies them.
//!
//! Pure but for reading files. The generated configuration is in `tests/fixtures/k8s/envoy-gateway`, derived by hand; what Envoy Gateway
//! copies from a manifest as it is (`(policy)`, `(chat)`, …) comes from the manifests themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use serde_norway::Value as Yaml;

use super::kustomize::{named, of_kind};
use super::layout::{self, MODULE, Mesh, Resources};
use super::patch;
use crate::render;

const TYPE: &str = "type.googleapis.com/";
const LISTENER: &str = "envoy.config.listener.v3.Listener";
const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";
const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";

/// The listener of our Gateway, and its routes.
pub const DOOR: &str = "pointsman/ai/http";
/// The router role's filter.
pub const ROUTER: &str = "envoy.filters.http.wasm/envoyextensionpolicy/pointsman/ai/wasm/0";
/// The provider role's.
const PROVIDER: &str = "provider";
/// The secret that Envoy Gateway makes for BackendTLSPolicies of the system's authorities.
pub const SYSTEM_CA: &str = "system_ca_certificates";

/// What an Envoy of our Gateway is given.
#[derive(Debug, Clone)]
pub struct Served {
    pub bootstrap: Value,
    pub listeners: Vec<Value>,
    pub routes: Vec<Value>,
    pub clusters: Vec<Value>,
}

/// The name of the secret that Envoy Gateway makes of an HTTPRouteFilter's credential.
pub fn credential(filter: &str) -> String {
    format!("credential_injector/credential/httproutefilter/pointsman/{filter}")
}

/// What an Envoy is given with these manifests.
pub fn served(manifests: &[Yaml]) -> Result<Served, String> {
    let mut served = generated(manifests)?;
    served.authenticate(manifests)?;
    let mut policies: Vec<&Yaml> = of_kind(manifests, "EnvoyPatchPolicy").collect();
    policies.sort_by_key(|policy| policy["spec"]["priority"].as_i64().unwrap_or(0));
    for policy in policies {
        let name = policy["metadata"]["name"].as_str().unwrap_or("?");
        let spec = to_json(&policy["spec"])?;
        for (index, entry) in list(&spec["jsonPatches"])?.iter().enumerate() {
            served
                .apply(entry)
                .map_err(|e| format!("{name}[{index}]: {e}"))?;
        }
    }
    let proxy = to_json(&named(manifests, "EnvoyProxy", "ai")?["spec"])?;
    for operation in list(&proxy["bootstrap"]["jsonPatches"])? {
        patch::apply(&mut served.bootstrap, operation).map_err(|e| format!("bootstrap: {e}"))?;
    }
    Ok(served)
}

// === what is generated

fn generated(manifests: &[Yaml]) -> Result<Served, String> {
    let dir = render::root().join("tests/fixtures/k8s/envoy-gateway");
    let copied = copied(manifests)?;
    let read = |file: &str| -> Result<Value, String> {
        let path = dir.join(file);
        let mut value = render::read(&path)?;
        fill(&mut value, &copied).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(value)
    };
    Ok(Served {
        bootstrap: read("bootstrap.yaml")?,
        listeners: list(&read("listeners.yaml")?)?.clone(),
        routes: list(&read("routes.yaml")?)?.clone(),
        clusters: clusters(&dir.join("cluster.yaml"), manifests)?,
    })
}

/// One for each backend of the chat rule.
fn clusters(template: &Path, manifests: &[Yaml]) -> Result<Vec<Value>, String> {
    let fail = |e: String| format!("{}: {e}", template.display());
    let text = fs::read_to_string(template).map_err(|e| fail(e.to_string()))?;
    let route = to_json(&named(manifests, "HTTPRoute", "ai")?["spec"])?;
    let backends = list(&route["rules"][0]["backendRefs"])?.iter().enumerate();
    let cluster = |(n, backend): (usize, &Value)| {
        let name = backend["name"].as_str().unwrap_or("?");
        let endpoint =
            &to_json(&named(manifests, "Backend", name)?["spec"])?["endpoints"][0]["fqdn"];
        let tls = of_kind(manifests, "BackendTLSPolicy")
            .find(|policy| policy["spec"]["targetRefs"][0]["name"] == name);
        let sni = tls.and_then(|policy| policy["spec"]["validation"]["hostname"].as_str());
        let filter = backend["filters"][0]["extensionRef"]["name"].as_str();
        let header = match filter {
            Some(filter) => {
                to_json(&named(manifests, "HTTPRouteFilter", filter)?["spec"])?["credentialInjection"]["header"].clone()
            }
            None => Value::Null,
        };
        let mut text = text.clone();
        for (place, value) in [
            ("(n)", n.to_string().as_str()),
            (
                "(host)",
                endpoint["hostname"]
                    .as_str()
                    .ok_or("a Backend without a host")?,
            ),
            ("(port)", endpoint["port"].to_string().as_str()),
            ("(sni)", sni.unwrap_or_default()),
            ("(filter)", filter.unwrap_or_default()),
            ("(header)", header.as_str().unwrap_or_default()),
        ] {
            text = text.replace(place, value);
        }
        let yaml: Yaml = serde_norway::from_str(&text).map_err(|e| fail(e.to_string()))?;
        let mut cluster = to_json(&yaml)?;
        if sni.is_none() {
            without_tls(&mut cluster);
        }
        if filter.is_none() {
            protocol(&mut cluster).remove("http_filters");
        }
        Ok(cluster)
    };
    backends.map(cluster).collect()
}

/// What a Backend without a BackendTLSPolicy becomes.
pub fn without_tls(cluster: &mut Value) {
    let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    object(endpoint).remove("metadata");
    for socket in ["transport_socket", "transport_socket_matches"] {
        object(cluster).remove(socket);
    }
    let protocol = protocol(cluster);
    protocol.remove("auto_config");
    let plain = json!({"http_protocol_options": {}});
    protocol.insert("explicit_http_config".into(), plain);
}

fn protocol(cluster: &mut Value) -> &mut Map<String, Value> {
    let options = &mut cluster["typed_extension_protocol_options"];
    object(&mut options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"])
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    value
        .as_object_mut()
        .expect("the fixture has an object here")
}

/// What is copied from the manifests as it is, by its name in the fixtures.
fn copied(manifests: &[Yaml]) -> Result<BTreeMap<String, Value>, String> {
    let spec = |kind: &str, name: &str| to_json(&named(manifests, kind, name)?["spec"]);
    let route = spec("HTTPRoute", "ai")?;
    let chat = &route["rules"][0];
    let proxy = spec("EnvoyProxy", "ai")?;
    // As JSON text: an object in YAML, a string in Envoy.
    let policy = spec("EnvoyExtensionPolicy", "ai")?["wasm"][0]["config"].to_string();
    let mut copied = BTreeMap::from([
        ("(policy)".to_owned(), policy.into()),
        (
            "(chat)".to_owned(),
            chat["matches"][0]["path"]["value"].clone(),
        ),
        (
            "(response headers)".to_owned(),
            chat["filters"][1]["responseHeaderModifier"]["remove"].clone(),
        ),
        (
            "(access log)".to_owned(),
            proxy["telemetry"]["accessLog"]["settings"][0]["format"]["json"].clone(),
        ),
    ]);
    for filter in ["models", "messages-not-found", "not-found"] {
        let body = &spec("HTTPRouteFilter", filter)?["directResponse"]["body"]["inline"];
        copied.insert(format!("({filter})"), body.clone());
    }
    Ok(copied)
}

fn fill(value: &mut Value, copied: &BTreeMap<String, Value>) -> Result<(), String> {
    match value {
        Value::String(text) if text.starts_with('(') => {
            let found = copied.get(text).filter(|found| !found.is_null());
            let found = found.ok_or_else(|| format!("no {text} among the manifests"))?;
            *value = found.clone();
        }
        Value::Array(list) => list.iter_mut().try_for_each(|v| fill(v, copied))?,
        Value::Object(map) => map.values_mut().try_for_each(|v| fill(v, copied))?,
        _ => {}
    }
    Ok(())
}

// === patching

const API_KEYS: &str = "envoy.filters.http.api_key_auth";

impl Served {
    /// What it makes of our SecurityPolicy with API keys, if their Secret is among the manifests: the filter comes first, is off, and is
    /// on for each route of the HTTPRoute.
    fn authenticate(&mut self, manifests: &[Yaml]) -> Result<(), String> {
        let Some(policy) = of_kind(manifests, "SecurityPolicy").next() else {
            return Ok(());
        };
        let policy = &to_json(&policy["spec"])?["apiKeyAuth"];
        let secret = policy["credentialRefs"][0]["name"]
            .as_str()
            .unwrap_or_default();
        let Ok(secret) = named(manifests, "Secret", secret) else {
            return Ok(());
        };
        let secret = to_json(&secret["stringData"])?;
        let keys = secret.as_object().into_iter().flatten();
        let keys: Vec<Value> = keys
            .map(|(client, key)| json!({"client": client, "key": key}))
            .collect();
        let headers = list(&policy["extractFrom"][0]["headers"])?;
        let sources: Vec<Value> = headers
            .iter()
            .map(|header| json!({"header": header}))
            .collect();
        let kind =
            |name: &str| format!("{TYPE}envoy.extensions.filters.http.api_key_auth.v3.{name}");
        let forwarding = json!({
            "header": policy["forwardClientIDHeader"], "hide_credentials": policy["sanitize"],
        });
        let config = |name: &str| {
            json!({
                "@type": kind(name), "credentials": keys, "key_sources": sources, "forwarding": forwarding,
            })
        };
        for listener in &mut self.listeners {
            let manager = &mut listener["default_filter_chain"]["filters"][0]["typed_config"];
            let filters = manager["http_filters"]
                .as_array_mut()
                .ok_or("no http_filters")?;
            let filter =
                json!({"name": API_KEYS, "disabled": true, "typed_config": config("ApiKeyAuth")});
            filters.insert(0, filter);
        }
        for routes in &mut self.routes {
            for route in routes["virtual_hosts"][0]["routes"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                route["typed_per_filter_config"][API_KEYS] = config("ApiKeyAuthPerRoute");
            }
        }
        Ok(())
    }

    /// One entry of an EnvoyPatchPolicy. Without a path it adds a resource.
    fn apply(&mut self, entry: &Value) -> Result<(), String> {
        let kind = entry["type"].as_str().unwrap_or_default();
        let resources = match kind.strip_prefix(TYPE) {
            Some(LISTENER) => &mut self.listeners,
            Some(ROUTES) => &mut self.routes,
            Some(CLUSTER) => &mut self.clusters,
            _ => return Err(format!("no resources of type {kind:?}")),
        };
        let operation = &entry["operation"];
        let path = operation["path"].as_str().unwrap_or_default();
        let there = resources.iter_mut().find(|r| r["name"] == entry["name"]);
        if operation["op"] == "add" && path.is_empty() && operation["jsonPath"].is_null() {
            if there.is_some() || operation["value"]["name"] != entry["name"] {
                return Err(format!("{} is there already, or another", entry["name"]));
            }
            resources.push(operation["value"].clone());
            return Ok(());
        }
        let resource = there.ok_or_else(|| format!("no {kind} {}", entry["name"]))?;
        patch::apply(resource, operation)
    }

    /// Writes what an Envoy without Envoy Gateway reads: what comes over ADS is in files or, the secrets, in the bootstrap. Nothing
    /// else is changed, but for the door's name and port, the admin port, and the module's place.
    pub fn write(mut self, dir: &Path, wasm: &Path, secrets: Vec<Value>) -> Result<(), String> {
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let file = |name: &str| json!({"resource_api_version": "V3", "path_config_source": {"path": format!("./{name}")}});
        let bootstrap = &mut self.bootstrap;
        bootstrap["node"] = json!({"id": "envoy-gateway", "cluster": "envoy-gateway"});
        bootstrap["admin"]["address"]["socket_address"]["port_value"] = 0.into();
        bootstrap["dynamic_resources"] =
            json!({"lds_config": file("listeners.yaml"), "cds_config": file("clusters.yaml")});
        let fixed = &mut bootstrap["static_resources"];
        fixed["secrets"] = secrets.into();
        retain(&mut fixed["clusters"], |cluster| {
            cluster["name"] != "xds_cluster"
        });
        let stats = "envoy-gateway-proxy-stats-0.0.0.0-19001";
        retain(&mut fixed["listeners"], |listener| {
            listener["name"] != stats
        });
        for listener in self.listeners.iter_mut().filter(|l| l["name"] == DOOR) {
            listener["name"] = "ai".into();
            listener["address"] =
                json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
            let manager = &mut listener["default_filter_chain"]["filters"][0]["typed_config"];
            manager["rds"]["config_source"] = file("routes.yaml");
        }
        let wasm = wasm.to_str().ok_or("the filter's path is not UTF-8")?;
        for (name, kind, mut list) in [
            ("listeners.yaml", LISTENER, self.listeners),
            ("routes.yaml", ROUTES, self.routes),
            ("clusters.yaml", CLUSTER, self.clusters),
        ] {
            for resource in &mut list {
                resource["@type"] = format!("{TYPE}{kind}").into();
                localize(resource, wasm);
            }
            write(dir, name, &json!({"resources": list}))?;
        }
        write(dir, "bootstrap.yaml", &self.bootstrap)
    }
}

// === in the layout of `envoy/`

/// Writes it for the suite's scenes. Beside what [`layout`] changes: both roles are discovered, so that a scene can change the policy; the
/// endpoints' TLS is written directly; their injectors, which do not run behind an aggregate, are left out; keys are files.
pub fn write_layout(manifests: &[Yaml], dir: &Path) -> Result<(), String> {
    let mut served = served(manifests)?;
    let mut resources = Resources::default();
    for listener in served.listeners.iter_mut().filter(|l| l["name"] == DOOR) {
        let manager = &mut listener["default_filter_chain"]["filters"][0]["typed_config"];
        for filter in manager["http_filters"].as_array_mut().into_iter().flatten() {
            resources.extensions.extend(discovered(filter, ROUTER)?);
        }
    }
    for route in served.routes.iter_mut().filter(|r| r["name"] == DOOR) {
        for route in route["virtual_hosts"][0]["routes"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            if route["name"] == "httproute/pointsman/ai/rule/0/match/0/*" {
                route["name"] = "chat".into();
            }
            let enabled = route["typed_per_filter_config"].as_object_mut();
            if let Some((enabled, config)) = enabled.and_then(|e| e.remove(ROUTER).map(|c| (e, c)))
            {
                enabled.insert("router".into(), config);
            }
        }
    }
    for cluster in &mut served.clusters {
        let name = cluster["name"].as_str().unwrap_or_default().to_owned();
        if name.starts_with("httproute/") {
            protocol(cluster).remove("http_filters");
            if let Some(matched) = cluster["transport_socket_matches"].get(0).cloned() {
                cluster["transport_socket"] = matched["transport_socket"].clone();
                object(cluster).remove("transport_socket_matches");
            }
            continue;
        }
        for filter in protocol(cluster)["http_filters"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            resources.extensions.extend(discovered(filter, PROVIDER)?);
            if filter["name"] == "envoy.filters.http.credential_injector" {
                let path = format!("sds/{name}.yaml");
                filter["typed_config"]["credential"]["typed_config"]["credential"] = json!({
                    "name": name,
                    "sds_config": {
                        "resource_api_version": "V3",
                        "path_config_source": {"path": path, "watched_directory": {"path": "sds"}},
                    },
                });
                let secret = render::read(&render::root().join("envoy").join(path))?;
                resources.secrets.insert(name.clone(), secret);
            }
        }
    }
    let fixed = &served.bootstrap["static_resources"];
    let is_sink = |resource: &&Value| resource["name"] == "unavailable";
    let sinks = list(&fixed["listeners"])?.iter().filter(is_sink);
    served.listeners.extend(sinks.cloned());
    let sinks = list(&fixed["clusters"])?.iter().filter(is_sink);
    served.clusters.extend(sinks.cloned());
    resources.listeners = to_yaml(&served.listeners)?;
    resources.routes = to_yaml(&served.routes)?;
    resources.clusters = to_yaml(&served.clusters)?;
    let mesh = Mesh {
        door: DOOR,
        router: ROUTER,
        provider: PROVIDER,
        left_out: &[],
    };
    layout::write(resources, mesh, dir)
}

/// Makes a role's filter one that is discovered; what it was is returned.
fn discovered(filter: &mut Value, role: &str) -> Result<Option<Yaml>, String> {
    if filter["name"] != role {
        return Ok(None);
    }
    let config = object(filter)
        .remove("typed_config")
        .ok_or("a role without configuration")?;
    filter["config_discovery"] = json!({"type_urls": [config["@type"]], "config_source": {}});
    let extension = json!({"name": role, "typed_config": config});
    to_yaml(&extension).map(Some)
}

fn to_yaml<T: serde::de::DeserializeOwned>(json: &impl serde::Serialize) -> Result<T, String> {
    let text = serde_json::to_string(json).map_err(|e| e.to_string())?;
    serde_norway::from_str(&text).map_err(|e| e.to_string())
}

fn retain(list: &mut Value, keep: impl Fn(&Value) -> bool) {
    if let Some(list) = list.as_array_mut() {
        list.retain(keep);
    }
}

/// Secrets are static ones, the module is where it was built.
fn localize(value: &mut Value, wasm: &str) {
    match value {
        Value::String(text) if text == MODULE => wasm.clone_into(text),
        Value::Array(list) => list.iter_mut().for_each(|v| localize(v, wasm)),
        Value::Object(map) => {
            map.remove("sds_config");
            map.values_mut().for_each(|v| localize(v, wasm));
        }
        _ => {}
    }
}

// === documents

/// By rename, so that a running Envoy takes up whole files only. JSON is YAML.
fn write(dir: &Path, file: &str, value: &Value) -> Result<(), String> {
    let (path, new) = (dir.join(file), dir.join(format!(".{file}.new")));
    let written = fs::write(&new, value.to_string()).and_then(|()| fs::rename(&new, &path));
    written.map_err(|e| format!("{}: {e}", path.display()))
}

fn to_json(yaml: &Yaml) -> Result<Value, String> {
    serde_json::to_value(yaml).map_err(|e| e.to_string())
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| "not a list".to_owned())
}
