//! The renderer: what Envoy is served is `envoy/`, changed in structure (never as text) by a [`Settings`].
//!
//! Everything is written by rename, so that a running Envoy takes up whole files only. Keys go into files of mode 0600 in a
//! folder of mode 0700, and nowhere else: no message and no `Debug` shows one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_norway::{Mapping, Value};
use url::{Host, Url};

use crate::policy_file;

/// By Envoy cluster.
pub type Endpoints = BTreeMap<String, Endpoint>;

/// All that distinguishes one run from another.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients connect. Port 0: Envoy picks one.
    pub address: IpAddr,
    pub port: u16,
    /// On loopback. Port 0: Envoy picks one.
    pub admin_port: u16,
    /// The folder with the configuration to start from: `envoy/`.
    pub source: PathBuf,
    /// Where to write; made if it is not there.
    pub out_dir: PathBuf,
    /// The filter.
    pub wasm: PathBuf,
    pub policy: PolicySource,
    /// Those of [`ENDPOINTS`], and any further provider, whose clusters are then made after those of its role.
    pub endpoints: Endpoints,
    /// Client keys: (client, key). Empty: no authentication.
    pub client_keys: Vec<(String, Secret)>,
    /// Whom providers' certificates may come from (PEM). `None`: whom the system trusts.
    pub ca_file: Option<PathBuf>,
    pub version: Version,
}

#[derive(Debug, Clone)]
pub enum PolicySource {
    File(PathBuf),
    /// YAML or JSON.
    Text(String),
}

/// A key. Shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Envoy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The oldest that runs the filter at all (`allow_on_headers_stop_iteration` works from 1.35, upstream filters from ECDS with it).
pub const OLDEST: Version = Version(1, 36, 0);
/// The oldest whose credential injector knows `header_value_prefix`.
const VALUE_PREFIX: Version = Version(1, 37, 0);
/// The oldest that asks for the cluster again on a retry.
pub const REFRESH_CLUSTER: Version = Version(1, 39, 0);

/// What was left out or changed, in words for the operator.
pub type Notes = Vec<String>;

// === endpoints

/// How a base URL is read, and in which header the key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Its base URL ends in the version (`/v1`), as OpenAI's SDKs read it.
    OpenAi,
    /// Its base URL ends before the version, as Anthropic's SDKs read it.
    Anthropic,
    /// Its base URL ends before the version, as Google's SDKs read it.
    Gemini,
    /// As `OpenAi`, and asked by the filter itself.
    Classifier,
}

/// The clusters that `envoy/` has, each with variables of its own: `OPENAI_BASE_URL`, `OPENAI_API_KEY`, …
pub const ENDPOINTS: [(&str, Role); 4] = [
    ("openai", Role::OpenAi),
    ("anthropic", Role::Anthropic),
    ("gemini", Role::Gemini),
    ("classifier", Role::Classifier),
];

/// Where one cluster leads, as the environment says.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub role: Role,
    key: Option<Secret>,
    place: Option<Place>,
}

/// A base URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A name, or an address.
    pub host: Host<String>,
    pub port: u16,
    pub tls: bool,
    /// The `:authority`: the host, and the port unless it is the scheme's own.
    pub authority: String,
    /// Before the version.
    root: String,
    /// Before `/chat/completions`.
    chat: String,
}

// === impl Role

impl Role {
    /// The provider of `envoy/` that is configured alike.
    fn model(self) -> &'static str {
        match self {
            Role::OpenAi | Role::Classifier => "openai",
            Role::Anthropic => "anthropic",
            Role::Gemini => "gemini",
        }
    }

    /// Whether the key goes into `authorization`.
    fn is_bearer(self) -> bool {
        matches!(self, Role::OpenAi | Role::Classifier)
    }

    /// What a base URL of this role ends in.
    pub fn version(self) -> &'static str {
        match self {
            Role::OpenAi | Role::Classifier => "/v1",
            Role::Anthropic | Role::Gemini => "",
        }
    }
}

impl Endpoint {
    /// `base_url` is http or https, with any port and path. A local server needs no key.
    pub fn new(role: Role, base_url: Option<&str>, key: Option<&str>) -> Result<Self, String> {
        if key.is_some_and(|key| !key.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(
                "the key has a space, a line break or a character beyond ASCII in it".into(),
            );
        }
        let place = base_url.map(|url| Place::new(role, url)).transpose()?;
        Ok(Endpoint {
            role,
            key: key.map(|key| Secret(key.to_owned())),
            place,
        })
    }

    pub fn configured(&self) -> bool {
        self.key.is_some() || self.place.is_some()
    }

    /// `None`: where the configuration says.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Why it is not configured.
    pub fn missing(&self, cluster: &str) -> String {
        let name = cluster.to_uppercase().replace('-', "_");
        format!("neither {name}_API_KEY nor {name}_BASE_URL is set")
    }
}

impl Place {
    fn new(role: Role, base_url: &str) -> Result<Self, String> {
        let url =
            Url::parse(base_url).map_err(|e| format!("{e}; give it as http://host:port/path"))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(format!("scheme {other:?} is neither http nor https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a name or password in the URL; the key has a variable of its own".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a base URL has no query and no fragment".into());
        }
        let host = url.host().ok_or("no host")?.to_owned();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let base = url.path().trim_end_matches('/');
        // Both have an endpoint compatible with OpenAI's: https://docs.claude.com/en/api/openai-sdk and
        // https://ai.google.dev/gemini-api/docs/openai
        let (root, chat) = match role {
            Role::OpenAi | Role::Classifier => {
                (base.strip_suffix("/v1").unwrap_or(base), base.to_owned())
            }
            Role::Anthropic => (base, format!("{base}/v1")),
            Role::Gemini => (base, format!("{base}/v1beta/openai")),
        };
        Ok(Place {
            port: url.port_or_known_default().ok_or("no port")?,
            root: root.to_owned(),
            chat,
            host,
            tls,
            authority,
        })
    }

    /// Where a wire format is served under this base URL; `api` as a policy names it.
    pub fn path(&self, api: &str) -> String {
        match api {
            "anthropic" => format!("{}/v1/messages", self.root),
            "gemini" => format!("{}/v1beta/models/{{model}}", self.root),
            _ => format!("{}/chat/completions", self.chat),
        }
    }
}

// === impl Settings

impl Settings {
    /// What the environment says; see `make help` for the variables. A variable that is set but empty counts as not set.
    pub fn from_env(version: Version) -> Result<Self, String> {
        let mut endpoints = Endpoints::new();
        for (cluster, role) in ENDPOINTS {
            let (url, key) = (
                format!("{}_BASE_URL", cluster.to_uppercase()),
                format!("{}_API_KEY", cluster.to_uppercase()),
            );
            let endpoint = Endpoint::new(role, var(&url)?.as_deref(), var(&key)?.as_deref())
                .map_err(|e| format!("{url} and {key}: {e}"))?;
            endpoints.insert(cluster.into(), endpoint);
        }
        let root = root();
        Ok(Settings {
            address: number("ADDRESS", IpAddr::from([127, 0, 0, 1]))?,
            port: number("PORT", 10000)?,
            admin_port: number("ADMIN_PORT", 9901)?,
            source: root.join("envoy"),
            out_dir: root.join(format!("target/run/{}", number("PORT", 10000)?)),
            wasm: wasm()?,
            policy: PolicySource::File(
                var("POLICY")?.map_or_else(|| root.join("envoy/policy.yaml"), PathBuf::from),
            ),
            endpoints,
            client_keys: var("CLIENT_KEYS")?
                .map_or(Ok(Vec::new()), |path| client_keys(Path::new(&path)))?,
            ca_file: var("SSL_CERT_FILE")?
                .map(|path| absolute(Path::new(&path)))
                .transpose()?,
            version,
        })
    }

    /// For a test: everything on loopback, ports picked by Envoy, the shipped policy, no provider configured. From `ENVOY_CONFIG`,
    /// a folder in the layout of `envoy/`, instead of that.
    pub fn for_test(out_dir: impl Into<PathBuf>, version: Version) -> Result<Self, String> {
        let root = root();
        Ok(Settings {
            address: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            admin_port: 0,
            source: var("ENVOY_CONFIG")?.map_or_else(|| root.join("envoy"), PathBuf::from),
            out_dir: out_dir.into(),
            wasm: wasm()?,
            policy: PolicySource::File(root.join("envoy/policy.yaml")),
            endpoints: Endpoints::new(),
            client_keys: Vec::new(),
            ca_file: None,
            version,
        })
    }

    pub fn policy_text(&self) -> Result<String, String> {
        match &self.policy {
            PolicySource::Text(text) => Ok(text.clone()),
            PolicySource::File(path) => {
                fs::read_to_string(path).map_err(|e| format!("policy {}: {e}", path.display()))
            }
        }
    }
}

/// The repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Where Cargo builds: `CARGO_TARGET_DIR`, or the repository's `target`.
pub fn target() -> Result<PathBuf, String> {
    Ok(var("CARGO_TARGET_DIR")?.map_or_else(|| root().join("target"), PathBuf::from))
}

/// `WASM`, or where `make build` puts it.
pub fn wasm() -> Result<PathBuf, String> {
    let built = target()?.join("wasm32-wasip1/release/pointsman.wasm");
    Ok(var("WASM")?.map_or(built, PathBuf::from))
}

pub(crate) fn var(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value.trim().to_owned()).filter(|v| !v.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{name} is not UTF-8")),
    }
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> Result<T, String> {
    let Some(text) = var(name)? else {
        return Ok(default);
    };
    text.parse()
        .map_err(|_| format!("{name}={text} is not one"))
}

/// Envoy runs in a folder of its own.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize()
        .map_err(|e| format!("{}: {e}", path.display()))
}

/// Lines of `name: key`.
fn client_keys(path: &Path) -> Result<Vec<(String, Secret)>, String> {
    let fail = |e: &str| format!("CLIENT_KEYS {}: {e}", path.display());
    let text = fs::read_to_string(path).map_err(|e| fail(&e.to_string()))?;
    // A parser's message may quote the line, and with it a key.
    let lines: BTreeMap<String, String> = serde_norway::from_str(&text)
        .map_err(|_| fail("not YAML lines of `name: key`, each name once, keys in quotes"))?;
    let mut seen = std::collections::BTreeSet::new();
    for (name, key) in &lines {
        if key.len() < 16 || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fail(&format!(
                "the key of {name:?} is not 16 or more visible ASCII characters"
            )));
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fail(&format!("the name {name:?} is not visible ASCII")));
        }
        if !seen.insert(key) {
            return Err(fail(&format!(
                "the key of {name:?} is another client's as well"
            )));
        }
    }
    if lines.is_empty() {
        return Err(fail("no keys in it"));
    }
    Ok(lines
        .into_iter()
        .map(|(name, key)| (name, Secret(key)))
        .collect())
}

// === rendering

/// Writes all of a run's folder.
pub fn render(settings: &Settings) -> Result<Notes, String> {
    if settings.version < OLDEST {
        return Err(format!(
            "this Envoy is {}; Pointsman needs {OLDEST} or later, and {REFRESH_CLUSTER} for failover across providers",
            settings.version
        ));
    }
    // Keys of an earlier run have no business here.
    for dir in ["sds", "secrets"] {
        let _ = fs::remove_dir_all(settings.out_dir.join(dir));
    }
    for dir in ["", "ecds", "sds", "secrets"] {
        make_dir(&settings.out_dir.join(dir))?;
    }
    let wasm = fs::read(&settings.wasm).map_err(|e| {
        format!(
            "the filter {}: {e}; `make build` makes it",
            settings.wasm.display()
        )
    })?;
    write(&settings.out_dir.join("pointsman.wasm"), &wasm)?;

    let mut notes = render_policy(settings)?;
    write_doc(
        settings,
        "ecds/provider.yaml",
        &Doc::load(settings, "ecds/provider.yaml")?,
    )?;
    render_secrets(settings)?;
    write_doc(settings, "clusters.yaml", &clusters(settings)?)?;
    write_doc(settings, "routes.yaml", &routes(settings)?)?;
    write_doc(settings, "listener.yaml", &listener(settings)?)?;
    let mut bootstrap = Doc::load(settings, "bootstrap.yaml")?;
    *bootstrap.at("admin.address.socket_address.port_value")? = settings.admin_port.into();
    write_doc(settings, "bootstrap.yaml", &bootstrap)?;
    if settings.version < REFRESH_CLUSTER {
        notes.push(format!(
            "Envoy {}: a retry stays at its cluster; failover across providers needs {REFRESH_CLUSTER}",
            settings.version
        ));
    }
    Ok(notes)
}

/// Writes the policy alone: what a reload does.
pub fn render_policy(settings: &Settings) -> Result<Notes, String> {
    let policy =
        policy_file::prepare(&settings.policy_text()?, &settings.endpoints).map_err(|e| {
            match &settings.policy {
                PolicySource::File(path) => format!("policy {}: {e}", path.display()),
                PolicySource::Text(_) => format!("policy: {e}"),
            }
        })?;
    write_policy(settings, &policy.json)?;
    Ok(policy.notes)
}

/// Where the policy is in ecds/router.yaml.
const POLICY_AT: &str = "resources.0.typed_config.config.configuration.value";
const POLICY_TYPE_AT: &str = "resources.0.typed_config.config.configuration.@type";

/// Hands Envoy this text as the policy, valid or not.
pub fn write_policy(settings: &Settings, json: &str) -> Result<(), String> {
    let mut doc = Doc::load(settings, "ecds/router.yaml")?;
    // It may be a `Struct`, which holds no text.
    *doc.at(POLICY_TYPE_AT)? = "type.googleapis.com/google.protobuf.StringValue".into();
    *doc.at(POLICY_AT)? = json.into();
    write_doc(settings, "ecds/router.yaml", &doc)
}

/// The policy in the run's folder; `None` if it is not text but a `Struct`.
pub fn written_policy(settings: &Settings) -> Result<Option<String>, String> {
    let mut doc = Doc {
        file: "ecds/router.yaml".into(),
        value: read(&settings.out_dir.join("ecds/router.yaml"))?,
    };
    Ok(doc.at(POLICY_AT)?.as_str().map(str::to_owned))
}

/// Writes one provider's key; a running Envoy takes it up. An empty one is what a local server without keys gets.
fn render_secrets(settings: &Settings) -> Result<(), String> {
    let shipped = |cluster: &str| settings.source.join(format!("sds/{cluster}.yaml")).exists();
    for (cluster, endpoint) in settings.endpoints.iter().filter(|(_, e)| e.configured()) {
        let model = if shipped(cluster) {
            cluster.as_str()
        } else {
            endpoint.role.model()
        };
        let mut doc = Doc::load(settings, &format!("sds/{model}.yaml"))?;
        *doc.at("resources.0.name")? = cluster.as_str().into();
        *doc.at("resources.0.generic_secret.secret.filename")? =
            format!("secrets/{cluster}").into();
        write_doc(settings, &format!("sds/{cluster}.yaml"), &doc)?;
        let key = endpoint.key.as_ref().map_or("", |key| key.0.as_str());
        let is_prefixed = endpoint.role.is_bearer() && !key.is_empty();
        let prefix = if settings.version < VALUE_PREFIX && is_prefixed {
            "Bearer "
        } else {
            ""
        };
        write(
            &settings.out_dir.join("secrets").join(cluster),
            format!("{prefix}{key}").as_bytes(),
        )?;
    }
    Ok(())
}

fn listener(settings: &Settings) -> Result<Doc, String> {
    let mut doc = Doc::load(settings, "listener.yaml")?;
    *doc.at("resources.0.address.socket_address.address")? = settings.address.to_string().into();
    *doc.at("resources.0.address.socket_address.port_value")? = settings.port.into();
    Ok(doc)
}

fn routes(settings: &Settings) -> Result<Doc, String> {
    let mut doc = Doc::load(settings, "routes.yaml")?;
    if !settings.client_keys.is_empty() {
        let host = doc
            .at("resources.0.virtual_hosts.0")?
            .as_mapping_mut()
            .ok_or("routes.yaml: the virtual host is not a mapping")?;
        host.insert(
            "typed_per_filter_config".into(),
            api_key_auth(&settings.client_keys),
        );
    }
    let route = doc.at("resources.0.virtual_hosts.0.routes.0.route")?;
    if settings.version < REFRESH_CLUSTER
        && let Some(retry) = route
            .get_mut("retry_policy")
            .and_then(Value::as_mapping_mut)
    {
        retry.remove("refresh_cluster_on_retry");
    }
    let map = doc.at(
        "resources.0.virtual_hosts.0.routes.0.route.inline_cluster_specifier_plugin.extension.typed_config\
         .cluster_matcher.matcher_tree.exact_match_map.map",
    )?;
    let model = map.get("openai").cloned();
    let map = map
        .as_mapping_mut()
        .ok_or("routes.yaml: exact_match_map.map is not a mapping")?;
    for (cluster, endpoint) in settings
        .endpoints
        .iter()
        .filter(|(_, e)| e.role != Role::Classifier)
    {
        if !endpoint.configured() {
            map.remove(cluster.as_str());
        } else if !map.contains_key(cluster.as_str()) {
            let mut entry = model
                .clone()
                .ok_or("routes.yaml: exact_match_map has no `openai` to copy")?;
            rename(&mut entry, "openai", cluster);
            map.insert(cluster.as_str().into(), entry);
        }
    }
    Ok(doc)
}

fn api_key_auth(keys: &[(String, Secret)]) -> Value {
    let text = |pairs: &[(&str, &str)]| {
        Value::Mapping(
            pairs
                .iter()
                .map(|(k, v)| (Value::from(*k), Value::from(*v)))
                .collect::<Mapping>(),
        )
    };
    let credentials: Vec<Value> = keys
        .iter()
        .map(|(client, key)| text(&[("client", client.as_str()), ("key", key.0.as_str())]))
        .collect();
    let mut forwarding = text(&[("header", "x-client-id")]);
    if let Some(forwarding) = forwarding.as_mapping_mut() {
        forwarding.insert("hide_credentials".into(), true.into());
    }
    let kind =
        "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuthPerRoute";
    let filter: Mapping = [
        (Value::from("@type"), Value::from(kind)),
        (Value::from("credentials"), credentials.into()),
        (
            Value::from("key_sources"),
            ["authorization", "x-api-key"]
                .map(|header| text(&[("header", header)]))
                .to_vec()
                .into(),
        ),
        (Value::from("forwarding"), forwarding),
    ]
    .into_iter()
    .collect();
    Value::Mapping(
        [(
            Value::from("envoy.filters.http.api_key_auth"),
            Value::Mapping(filter),
        )]
        .into_iter()
        .collect(),
    )
}

fn clusters(settings: &Settings) -> Result<Doc, String> {
    let mut doc = Doc::load(settings, "clusters.yaml")?;
    let list = doc
        .at("resources")?
        .as_sequence_mut()
        .ok_or("clusters.yaml: `resources` is not a list")?;
    let named = |list: &[Value], name: &str| {
        list.iter()
            .position(|c| c.get("name").and_then(Value::as_str) == Some(name))
    };
    for (cluster, endpoint) in &settings.endpoints {
        if !endpoint.configured() {
            let own = [cluster.clone(), format!("{cluster}_endpoints")];
            list.retain(|c| {
                !c.get("name")
                    .and_then(Value::as_str)
                    .is_some_and(|name| own.iter().any(|o| o == name))
            });
            continue;
        }
        if named(list, cluster).is_none() {
            let shipped = Doc::load(settings, "clusters.yaml")?
                .at("resources")?
                .as_sequence()
                .cloned()
                .unwrap_or_default();
            let model = endpoint.role.model();
            let endpoints = |of: &str| format!("{of}_endpoints");
            for copied in [model.to_owned(), endpoints(model)] {
                let at = named(&shipped, &copied)
                    .ok_or_else(|| format!("clusters.yaml: no `{copied}` to copy"))?;
                let mut copy = shipped.get(at).cloned().unwrap_or_default();
                let secret = |of: &str| format!("sds/{of}.yaml");
                rename(&mut copy, &endpoints(model), &endpoints(cluster));
                rename(&mut copy, &secret(model), &secret(cluster));
                rename(&mut copy, model, cluster);
                list.push(copy);
            }
        }
        let at = |list: &[Value], name: &str| {
            named(list, name).ok_or_else(|| format!("clusters.yaml: no cluster `{name}`"))
        };
        let own = at(list, cluster)?;
        let place = list.get(own).and_then(first_member).map(str::to_owned);
        let at = place.map_or(Ok(own), |place| at(list, &place))?;
        if let (Some(to), Some(cluster)) = (endpoint.place(), list.get_mut(at)) {
            lead_to(cluster, to)?;
        }
    }
    let bundle = match &settings.ca_file {
        Some(path) => path.to_str().ok_or("SSL_CERT_FILE is not UTF-8")?,
        None => ca_bundle(),
    };
    for cluster in list {
        if settings.version < VALUE_PREFIX {
            remove_everywhere(cluster, "header_value_prefix");
        }
        rename(cluster, CA_BUNDLES[0], bundle);
    }
    Ok(doc)
}

/// Where Debian, Red Hat, SUSE and Alpine keep the authorities that the system trusts.
pub(crate) const CA_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn ca_bundle() -> &'static str {
    CA_BUNDLES
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or(CA_BUNDLES[0])
}

/// Points a cluster at a base URL: address, discovery, TLS, protocol.
fn lead_to(cluster: &mut Value, to: &Place) -> Result<(), String> {
    let mut doc = Doc {
        file: "clusters.yaml".into(),
        value: std::mem::take(cluster),
    };
    let host = match &to.host {
        Host::Domain(name) => name.clone(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    let address =
        doc.at("load_assignment.endpoints.0.lb_endpoints.0.endpoint.address.socket_address")?;
    *address = serde_norway::to_value(serde_json::json!({"address": host, "port_value": to.port}))
        .map_err(|e| e.to_string())?;
    if !matches!(to.host, Host::Domain(_)) {
        let cluster = doc.root()?;
        cluster.remove("cluster_type");
        cluster.insert("type".into(), "STATIC".into());
    }
    if to.tls {
        let tls = doc
            .at("transport_socket.typed_config")?
            .as_mapping_mut()
            .ok_or("clusters.yaml: transport_socket")?;
        // RFC 6066: an address is no server name.
        let san_type = if matches!(to.host, Host::Domain(_)) {
            tls.insert("sni".into(), host.as_str().into());
            "DNS"
        } else {
            tls.remove("sni");
            "IP_ADDRESS"
        };
        let names = serde_json::json!([{"san_type": san_type, "matcher": {"exact": host}}]);
        *doc.at("transport_socket.typed_config.common_tls_context.validation_context.match_typed_subject_alt_names")? =
            serde_norway::to_value(names).map_err(|e| e.to_string())?;
    } else {
        for socket in ["transport_socket", "transport_socket_matches"] {
            doc.root()?.remove(socket);
        }
        // Without TLS nothing negotiates HTTP/2.
        let protocol = doc
            .at("typed_extension_protocol_options")?
            .get_mut("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
            .and_then(Value::as_mapping_mut)
            .ok_or("clusters.yaml: no HttpProtocolOptions")?;
        protocol.remove("auto_config");
        let plain = serde_json::json!({"http_protocol_options": {}});
        protocol.insert(
            "explicit_http_config".into(),
            serde_norway::to_value(plain).map_err(|e| e.to_string())?,
        );
    }
    *cluster = doc.value;
    Ok(())
}

/// The first cluster of an aggregate: a provider's endpoints. `None`: it is no aggregate.
pub(crate) fn first_member(cluster: &Value) -> Option<&str> {
    let members = cluster
        .get("cluster_type")?
        .get("typed_config")?
        .get("clusters")?;
    members.get(0)?.as_str()
}

/// Replaces every string that is exactly `from`.
pub(crate) fn rename(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Sequence(list) => list.iter_mut().for_each(|v| rename(v, from, to)),
        Value::Mapping(map) => map.iter_mut().for_each(|(_, v)| rename(v, from, to)),
        _ => {}
    }
}

fn remove_everywhere(value: &mut Value, key: &str) {
    match value {
        Value::Sequence(list) => list.iter_mut().for_each(|v| remove_everywhere(v, key)),
        Value::Mapping(map) => {
            map.remove(key);
            map.iter_mut().for_each(|(_, v)| remove_everywhere(v, key));
        }
        _ => {}
    }
}

// === documents and files

/// What a YAML file holds.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let fail = |e: String| format!("{}: {e}", path.display());
    let text = fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    serde_norway::from_str(&text).map_err(|e| fail(e.to_string()))
}

/// A YAML file of `envoy/`.
#[derive(Debug)]
struct Doc {
    file: String,
    value: Value,
}

impl Doc {
    fn load(settings: &Settings, file: &str) -> Result<Self, String> {
        Ok(Doc {
            file: file.into(),
            value: read(&settings.source.join(file))?,
        })
    }

    /// What is at a dotted path; a number is a place in a list.
    fn at(&mut self, path: &str) -> Result<&mut Value, String> {
        let mut value = &mut self.value;
        for step in path.split('.') {
            let next = match step.parse::<usize>() {
                Ok(index) => value.get_mut(index),
                Err(_) => value.get_mut(step),
            };
            value =
                next.ok_or_else(|| format!("{}: no `{step}` on the way to {path}", self.file))?;
        }
        Ok(value)
    }

    fn root(&mut self) -> Result<&mut Mapping, String> {
        self.value
            .as_mapping_mut()
            .ok_or_else(|| format!("{}: not a mapping", self.file))
    }
}

fn write_doc(settings: &Settings, file: &str, doc: &Doc) -> Result<(), String> {
    let text = serde_norway::to_string(&doc.value).map_err(|e| format!("{file}: {e}"))?;
    write(&settings.out_dir.join(file), text.as_bytes())
}

fn make_dir(path: &Path) -> Result<(), String> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| format!("{}: {e}", path.display()))?;
    // One that was there keeps its mode otherwise.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(path, mode).map_err(|e| format!("{}: {e}", path.display()))
}

/// Writes a new file of mode 0600 and renames it into place.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let new = path.with_file_name(format!(".{name}.new"));
    let _ = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    fs::rename(&new, path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn base_urls() {
        type Expected<'a> = Result<(&'a str, u16, bool, [&'a str; 3]), &'a str>;
        let check = |role, url: &str, expected: Expected<'_>| {
            let endpoint = Endpoint::new(role, Some(url), None);
            let place = endpoint.as_ref().map(|e| e.place().unwrap());
            let paths = place.map(|p| ["openai", "anthropic", "gemini"].map(|api| p.path(api)));
            let expected = expected.map(|(authority, port, tls, paths)| {
                ((authority, port, tls), paths.map(str::to_owned))
            });
            let place = place.map(|p| (p.authority.as_str(), p.port, p.tls));
            let got = place.and_then(|place| Ok((place, paths?)));
            assert_eq!(got.map_err(String::as_str), expected, "{url}");
        };
        use Role::{Anthropic, Gemini, OpenAi};
        let at_root = |chat| [chat, "/v1/messages", "/v1beta/models/{model}"];
        let ours = at_root("/v1/chat/completions");
        check(
            OpenAi,
            "https://api.openai.com/v1",
            Ok(("api.openai.com", 443, true, ours)),
        );
        check(
            OpenAi,
            "http://127.0.0.1:8000/v1/",
            Ok(("127.0.0.1:8000", 8000, false, ours)),
        );
        let deep = [
            "/a/b/v1/chat/completions",
            "/a/b/v1/messages",
            "/a/b/v1beta/models/{model}",
        ];
        check(OpenAi, "http://h:80/a/b/v1", Ok(("h", 80, false, deep)));
        check(Anthropic, "http://h/a/b/", Ok(("h", 80, false, deep)));
        check(
            OpenAi,
            "https://[::1]:8443/v1",
            Ok(("[::1]:8443", 8443, true, ours)),
        );
        check(
            OpenAi,
            "https://h/openai/v4",
            Ok((
                "h",
                443,
                true,
                [
                    "/openai/v4/chat/completions",
                    "/openai/v4/v1/messages",
                    "/openai/v4/v1beta/models/{model}",
                ],
            )),
        );
        check(
            Anthropic,
            "https://api.anthropic.com",
            Ok(("api.anthropic.com", 443, true, ours)),
        );
        check(
            Gemini,
            "https://generativelanguage.googleapis.com/",
            Ok((
                "generativelanguage.googleapis.com",
                443,
                true,
                at_root("/v1beta/openai/chat/completions"),
            )),
        );
        check(
            OpenAi,
            "ftp://h/v1",
            Err("scheme \"ftp\" is neither http nor https"),
        );
        check(
            OpenAi,
            "http://me:secret@h/v1",
            Err("a name or password in the URL; the key has a variable of its own"),
        );
        check(
            OpenAi,
            "http://h/v1?key=x",
            Err("a base URL has no query and no fragment"),
        );
    }

    /// Renders into a folder of its own; no Envoy is needed.
    fn rendered(
        test: &str,
        change: impl FnOnce(&mut Settings),
    ) -> (PathBuf, Result<Notes, String>) {
        let dir =
            std::env::temp_dir().join(format!("pointsman-render-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let mut settings = Settings::for_test(&dir, Version(1, 40, 0)).unwrap();
        settings.wasm = dir.join("given.wasm");
        fs::write(&settings.wasm, "wasm").unwrap();
        for (cluster, role) in ENDPOINTS {
            let endpoint =
                Endpoint::new(role, Some("http://127.0.0.1:9/v1"), Some("sk-secret")).unwrap();
            settings.endpoints.insert(cluster.into(), endpoint);
        }
        change(&mut settings);
        let notes = render(&settings);
        (dir, notes)
    }

    fn load(dir: &Path, file: &str) -> Value {
        serde_norway::from_str(&fs::read_to_string(dir.join(file)).unwrap()).unwrap()
    }

    fn names(list: &Value) -> Vec<String> {
        list.as_sequence()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn keys_are_in_their_own_files_only() {
        let (dir, notes) = rendered("keys", |_| {});
        notes.unwrap();
        let mode = |path: &str| fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("secrets"), mode("secrets/openai")), (0o700, 0o600));
        assert_eq!(
            fs::read_to_string(dir.join("secrets/openai")).unwrap(),
            "sk-secret"
        );
        for file in [
            "bootstrap.yaml",
            "listener.yaml",
            "routes.yaml",
            "clusters.yaml",
            "ecds/router.yaml",
            "sds/openai.yaml",
        ] {
            assert!(
                !fs::read_to_string(dir.join(file))
                    .unwrap()
                    .contains("sk-secret"),
                "{file}"
            );
        }
        assert_eq!(format!("{:?}", Secret("sk-secret".into())), "(secret)");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_further_provider_gets_clusters_like_openais() {
        let (dir, notes) = rendered("third", |settings| {
            let endpoint =
                Endpoint::new(Role::OpenAi, Some("https://third.example:8443/v1"), None).unwrap();
            settings.endpoints.insert("third".into(), endpoint);
        });
        notes.unwrap();
        let clusters = load(&dir, "clusters.yaml");
        let list = names(&clusters["resources"]);
        assert!(
            list.ends_with(&["third".into(), "third_endpoints".into()]),
            "{list:?}"
        );
        let text =
            serde_norway::to_string(clusters["resources"].as_sequence().unwrap().last().unwrap())
                .unwrap();
        assert!(
            text.contains("sni: third.example") && text.contains("port_value: 8443"),
            "{text}"
        );
        assert!(!text.contains("openai"), "{text}");
        assert!(
            fs::read_to_string(dir.join("routes.yaml"))
                .unwrap()
                .contains("cluster: third")
        );
        assert!(dir.join("sds/third.yaml").exists());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_further_provider_of_anthropics_gets_its_key_as_anthropic_wants_it() {
        let (dir, notes) = rendered("fourth", |settings| {
            let endpoint = Endpoint::new(Role::Anthropic, None, Some("sk-secret")).unwrap();
            settings.endpoints.insert("fourth".into(), endpoint);
        });
        notes.unwrap();
        let clusters = load(&dir, "clusters.yaml");
        let list = clusters["resources"].as_sequence().unwrap();
        let fourth = list.iter().find(|c| c["name"] == "fourth").unwrap();
        let fourth = serde_norway::to_string(fourth).unwrap();
        assert!(fourth.contains("header: x-api-key"), "{fourth}");
        assert!(fourth.contains("path: sds/fourth.yaml"), "{fourth}");
        assert!(!fourth.contains("authorization"), "{fourth}");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_not_configured_has_no_cluster() {
        let (dir, notes) = rendered("out", |settings| {
            for (cluster, role) in ENDPOINTS.into_iter().filter(|(c, _)| *c != "openai") {
                settings
                    .endpoints
                    .insert(cluster.into(), Endpoint::new(role, None, None).unwrap());
            }
        });
        assert_eq!(notes.unwrap().len(), 4);
        assert_eq!(
            names(&load(&dir, "clusters.yaml")["resources"]),
            ["openai", "openai_endpoints", "unavailable"]
        );
        assert!(
            !fs::read_to_string(dir.join("routes.yaml"))
                .unwrap()
                .contains("anthropic")
        );
        assert!(!dir.join("secrets/anthropic").exists());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_older_envoy_gets_what_it_knows() {
        let check = |version: Version, refresh: bool, prefix: bool, secret: &str| {
            let (dir, notes) = rendered(&format!("old{}", version.1), |settings| {
                settings.version = version
            });
            let text = |file: &str| fs::read_to_string(dir.join(file)).unwrap();
            assert_eq!(notes.unwrap().is_empty(), refresh, "{version}");
            assert_eq!(
                text("routes.yaml").contains("refresh_cluster_on_retry"),
                refresh,
                "{version}"
            );
            assert_eq!(
                text("clusters.yaml").contains("header_value_prefix"),
                prefix,
                "{version}"
            );
            assert_eq!(text("secrets/openai"), secret, "{version}");
            assert_eq!(text("secrets/anthropic"), "sk-secret", "{version}");
            assert_eq!(text("secrets/gemini"), "sk-secret", "{version}");
            fs::remove_dir_all(dir).unwrap();
        };
        check(Version(1, 36, 4), false, false, "Bearer sk-secret");
        check(Version(1, 38, 2), false, true, "sk-secret");
        check(Version(1, 39, 3), true, true, "sk-secret");
        let (_, refused) = rendered("old35", |settings| settings.version = Version(1, 35, 9));
        assert!(
            refused
                .unwrap_err()
                .starts_with("this Envoy is 1.35.9; Pointsman needs 1.36.0 or later")
        );
    }
}
