//! What a proxy of a mesh is served, written as a folder in the layout of `envoy/`.
//!
//! Without a cluster there is no control plane, no agent and no mounted volume. What stands in for them is all here, and
//! nothing else is changed:
//!
//! - The bootstrap is `envoy/`'s, not the mesh's.
//! - Subscriptions (`ads`, the mesh's RDS) are files beside it; so are the volumes of [`MOUNTS`].
//! - The filter's code is a local file, where the mesh's agent or Envoy fetches an image.
//! - Filters that only the mesh's own build of Envoy has are left out ([`Mesh::left_out`]), at listeners and clusters.
//! - Authorities come from the system's file instead of the mesh's secrets; names of certificates are written in the newer field.
//! - The door has a port of its own on loopback, and one virtual host, the one with the chat route, for every `Host`.
//! - `api_key_auth` is put in front where the mesh authenticates clients otherwise: scenes with client keys need it.
//! - Names by which scenes ask for statistics are `envoy/`'s: the door's `ai`, the roles' `router` and `provider`, a provider's
//!   endpoints' `<cluster>_endpoints`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use serde_norway::Value;

use crate::render;

const TYPE: &str = "type.googleapis.com/";
const HCM: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const API_KEYS: &str = "envoy.filters.http.api_key_auth";

/// Where the manifests mount volumes, and the folder that stands in for each.
pub const MOUNTS: [(&str, &str); 2] = [
    ("/etc/pointsman/sds", "sds"),
    ("/etc/pointsman/keys", "secrets"),
];

/// Where the filter's image is mounted, if it is.
pub const MODULE: &str = "/pointsman/plugin.wasm";

/// What is served, by kind, each without its `@type`.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    pub listeners: Vec<Value>,
    pub routes: Vec<Value>,
    pub clusters: Vec<Value>,
    pub extensions: Vec<Value>,
    /// SDS documents by cluster.
    pub secrets: BTreeMap<String, Value>,
}

/// What a mesh calls things.
#[derive(Debug, Clone, Copy)]
pub struct Mesh<'a> {
    /// The listener for clients.
    pub door: &'a str,
    /// The roles' filters.
    pub router: &'a str,
    pub provider: &'a str,
    /// HTTP filters, by name, that a stock Envoy does not have.
    pub left_out: &'a [&'a str],
}

/// Writes them; `dir` is made anew.
pub fn write(resources: Resources, mesh: Mesh<'_>, dir: &Path) -> Result<(), String> {
    let _ = fs::remove_dir_all(dir);
    for folder in ["ecds", "sds"] {
        let path = dir.join(folder);
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let bootstrap = render::root().join("envoy/bootstrap.yaml");
    fs::copy(&bootstrap, dir.join("bootstrap.yaml"))
        .map_err(|e| format!("{}: {e}", bootstrap.display()))?;

    let (door, routes) = door(&resources, mesh)?;
    let others = resources.listeners.into_iter();
    let mut listeners = vec![door];
    listeners.extend(others.filter(|l| l["name"] != mesh.door));
    let listener = "envoy.config.listener.v3.Listener";
    write_list(dir, "listener.yaml", listener, listeners)?;
    let route = "envoy.config.route.v3.RouteConfiguration";
    write_list(dir, "routes.yaml", route, vec![routes])?;
    let clusters = clusters(resources.clusters, mesh)?;
    let cluster = "envoy.config.cluster.v3.Cluster";
    write_list(dir, "clusters.yaml", cluster, clusters)?;
    for (name, role) in [(mesh.router, "router"), (mesh.provider, "provider")] {
        let extension = extension(&resources.extensions, name, role)?;
        let kind = "envoy.config.core.v3.TypedExtensionConfig";
        write_list(dir, &format!("ecds/{role}.yaml"), kind, vec![extension])?;
    }
    for (name, secret) in resources.secrets {
        write_file(dir, &format!("sds/{name}.yaml"), secret)?;
    }
    Ok(())
}

// === listeners and routes

/// The door, and the routes behind it.
fn door(resources: &Resources, mesh: Mesh<'_>) -> Result<(Value, Value), String> {
    let door = resources.listeners.iter().find(|l| l["name"] == mesh.door);
    let mut door = door
        .ok_or_else(|| format!("no listener {:?}", mesh.door))?
        .clone();
    let listener = mapping(&mut door)?;
    listener.insert("name".into(), "ai".into());
    for mesh_only in ["additional_addresses", "bind_to_port", "traffic_direction"] {
        listener.remove(mesh_only);
    }
    let hcm = hcm(&mut door).ok_or_else(|| format!("{:?} speaks no HTTP", mesh.door))?;
    let named = hcm["rds"]["route_config_name"].clone();
    *at(hcm, "stat_prefix") = "ai".into();
    *at(hcm, "rds") =
        value(json!({"route_config_name": "ai", "config_source": file("./routes.yaml", None)}));
    let filters = at(hcm, "http_filters");
    let filters = filters
        .as_sequence_mut()
        .ok_or("the door has no HTTP filters")?;
    filters.retain(|f| !mesh.left_out.iter().any(|name| f["name"] == *name));
    subscribe(filters, mesh.router, "router")?;
    if !filters.iter().any(|f| f["name"] == API_KEYS) {
        let kind = format!("{TYPE}envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth");
        let keys = json!({"name": API_KEYS, "disabled": true, "typed_config": {"@type": kind}});
        filters.insert(0, value(keys));
    }

    let routes = resources.routes.iter().find(|r| r["name"] == named);
    let mut routes = routes
        .ok_or_else(|| format!("no routes {named:?}"))?
        .clone();
    *at(&mut routes, "name") = "ai".into();
    let hosts = at(&mut routes, "virtual_hosts").as_sequence_mut();
    let hosts = hosts.ok_or("routes without virtual hosts")?;
    hosts.retain(|host| host["routes"][0]["name"] == "chat");
    let [host] = hosts.as_mut_slice() else {
        return Err("not one virtual host whose first route is `chat`".into());
    };
    *at(host, "domains") = value(json!(["*"]));
    Ok((door, routes))
}

/// The first HTTP connection manager of a listener.
pub fn hcm(listener: &mut Value) -> Option<&mut Value> {
    let Value::Mapping(listener) = listener else {
        return None;
    };
    let (mut chains, mut default) = (None, None);
    for (key, part) in listener.iter_mut() {
        match key.as_str() {
            Some("filter_chains") => chains = part.as_sequence_mut(),
            Some("default_filter_chain") => default = Some(part),
            _ => {}
        }
    }
    let chains = chains.into_iter().flatten().chain(default);
    let filters = chains.filter_map(|chain| chain.get_mut("filters")?.as_sequence_mut());
    let configs = filters
        .flatten()
        .filter_map(|filter| filter.get_mut("typed_config"));
    configs.into_iter().find(|config| config["@type"] == HCM)
}

/// Makes the subscription of a role one to a file.
fn subscribe(filters: &mut [Value], name: &str, role: &str) -> Result<(), String> {
    let filter = filters.iter_mut().find(|f| f["name"] == name);
    let filter = filter.ok_or_else(|| format!("no filter {name:?}"))?;
    let discovery = filter.get_mut("config_discovery");
    let discovery = discovery.ok_or_else(|| format!("filter {name:?} has no config_discovery"))?;
    *at(discovery, "config_source") = file(&format!("ecds/{role}.yaml"), Some("ecds"));
    mapping(discovery)?.remove("apply_default_config_without_warming");
    *at(filter, "name") = role.into();
    Ok(())
}

// === clusters

const PROTOCOL: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn clusters(mut clusters: Vec<Value>, mesh: Mesh<'_>) -> Result<Vec<Value>, String> {
    let members: Vec<(String, String)> = clusters.iter().filter_map(member).collect();
    for cluster in &mut clusters {
        for (member, name) in &members {
            render::rename(cluster, member, name);
        }
        let name = cluster["name"].as_str().unwrap_or_default().to_owned();
        let fail = |e: String| format!("cluster {name}: {e}");
        let own = mapping(cluster)?;
        for mesh_only in ["alt_stat_name", "filters"] {
            own.remove(mesh_only);
        }
        let filters = cluster["typed_extension_protocol_options"][PROTOCOL]["http_filters"].clone();
        let is_provider = filters
            .as_sequence()
            .is_some_and(|filters| filters.iter().any(|f| f["name"] == mesh.provider));
        if is_provider {
            let options = at(cluster, "typed_extension_protocol_options");
            let filters = at(at(options, PROTOCOL), "http_filters").as_sequence_mut();
            let filters = filters.ok_or_else(|| fail("http_filters is no list".into()))?;
            subscribe(filters, mesh.provider, "provider").map_err(fail)?;
        }
        mounted(cluster);
        trust_the_system(cluster);
    }
    Ok(clusters)
}

/// An aggregate's first member, and what it is to be called.
fn member(cluster: &Value) -> Option<(String, String)> {
    let member = render::first_member(cluster)?;
    Some((
        member.to_owned(),
        format!("{}_endpoints", cluster["name"].as_str()?),
    ))
}

/// Paths under [`MOUNTS`] become those of the folder.
fn mounted(value: &mut Value) {
    match value {
        Value::String(text) => {
            for (mount, folder) in MOUNTS {
                match text.strip_prefix(mount) {
                    Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                        *text = format!("{folder}{rest}");
                    }
                    _ => {}
                }
            }
        }
        Value::Sequence(list) => list.iter_mut().for_each(mounted),
        Value::Mapping(map) => map.iter_mut().for_each(|(_, v)| mounted(v)),
        _ => {}
    }
}

/// Authorities from the mesh's own secret become the system's file, which the renderer then sets.
fn trust_the_system(cluster: &mut Value) {
    let context = cluster
        .get_mut("transport_socket")
        .and_then(|socket| {
            socket
                .get_mut("typed_config")?
                .get_mut("common_tls_context")
        })
        .and_then(Value::as_mapping_mut);
    let Some(context) = context else { return };
    let Some(combined) = context.remove("combined_validation_context") else {
        return;
    };
    let validation = &combined["default_validation_context"];
    let untyped = validation["match_subject_alt_names"].as_sequence();
    let untyped = untyped
        .into_iter()
        .flatten()
        .map(|matcher| json!({"san_type": "DNS", "matcher": matcher}));
    let typed = validation["match_typed_subject_alt_names"].as_sequence();
    let typed = typed.into_iter().flatten().map(|name| json!(name));
    let names: Vec<_> = untyped.chain(typed).collect();
    let file = render::CA_BUNDLES[0];
    let trusted = json!({"trusted_ca": {"filename": file}, "match_typed_subject_alt_names": names});
    context.insert("validation_context".into(), value(trusted));
}

// === the filter

fn extension(extensions: &[Value], name: &str, role: &str) -> Result<Value, String> {
    let extension = extensions.iter().find(|e| e["name"] == name);
    let mut extension = extension
        .ok_or_else(|| format!("no extension config {name:?}"))?
        .clone();
    *at(&mut extension, "name") = role.into();
    let plugin = at(at(&mut extension, "typed_config"), "config");
    *at(plugin, "name") = role.into();
    let vm = at(plugin, "vm_config");
    let code = &vm["code"];
    let is_fetched = code.get("remote").is_some();
    let is_mounted = code["local"]["filename"] == MODULE;
    if !is_fetched && !is_mounted {
        return Err(format!("{name:?}: its code comes from no image"));
    }
    *at(vm, "code") = value(json!({"local": {"filename": "pointsman.wasm"}}));
    Ok(extension)
}

// === documents and files

fn file(path: &str, watched: Option<&str>) -> Value {
    let mut source = json!({"path": path});
    if let Some(folder) = watched {
        source["watched_directory"] = json!({"path": folder});
    }
    value(json!({"resource_api_version": "V3", "path_config_source": source}))
}

fn value(json: serde_json::Value) -> Value {
    serde_norway::to_value(json).expect("JSON is YAML")
}

/// The field, made if it is not there.
fn at<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if value.is_null() {
        *value = Value::Mapping(Default::default());
    }
    let map = value.as_mapping_mut().expect("a mapping");
    map.entry(key.into()).or_insert(Value::Null)
}

fn mapping(value: &mut Value) -> Result<&mut serde_norway::Mapping, String> {
    value.as_mapping_mut().ok_or_else(|| "not a mapping".into())
}

fn write_list(dir: &Path, file: &str, kind: &str, list: Vec<Value>) -> Result<(), String> {
    let typed = list.into_iter().map(|resource| {
        let mut typed = serde_norway::Mapping::new();
        typed.insert("@type".into(), format!("{TYPE}{kind}").into());
        typed.extend(resource.as_mapping().cloned().unwrap_or_default());
        Value::Mapping(typed)
    });
    let typed: Vec<Value> = typed.collect();
    let document = [(Value::from("resources"), Value::from(typed))];
    write_file(dir, file, Value::Mapping(document.into_iter().collect()))
}

/// Nothing is left that only a control plane would fill in.
fn write_file(dir: &Path, file: &str, mut document: Value) -> Result<(), String> {
    mounted(&mut document);
    let text = serde_norway::to_string(&document).map_err(|e| format!("{file}: {e}"))?;
    for left in ["ads: {}", "(the mesh's)", "sds-grpc", "/etc/pointsman"] {
        if let Some(line) = text.lines().find(|line| line.contains(left)) {
            return Err(format!("{file}: {left:?} is left: {}", line.trim()));
        }
    }
    let path = dir.join(file);
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}
