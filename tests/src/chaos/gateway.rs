//! The gateway that is broken on purpose: a real Envoy with `envoy/` as it is served, in front of the stand-ins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_norway::Value;

use super::cell::{Cell, SHARED, policy};
use super::fault::Port;
use super::server::{Http, Providers};
use crate::edit;
use crate::envoy::{self, Envoy, Output};
use crate::gateway::key_of;
use crate::render::{self, Endpoint, PolicySource, Role, Settings};

/// A request with this header is ended when nothing has come for [`IDLE`]: what stalls after its first words ends by the
/// route's idle timeout alone, which is ten minutes as shipped.
pub const IMPATIENT: &str = "x-chaos-impatient";

/// Longer than all attempts of a tier whose target stalls.
const IDLE: &str = "6s";

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What distinguishes one gateway from another.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    pub http: Http,
    /// Providers besides the [`SHARED`] ones, and where their clusters lead.
    pub own: Vec<(&'a str, Port)>,
    pub policy: String,
    pub seed: u64,
    pub workers: u32,
    /// A change to what was rendered, before Envoy starts.
    pub edit: fn(&Path),
}

#[derive(Debug)]
pub struct Gateway {
    pub envoy: Envoy,
    pub providers: Providers,
    pub dir: PathBuf,
}

/// By cluster, since Envoy started.
#[derive(Debug, Clone, Default)]
pub struct Attempts(BTreeMap<String, u64>);

impl Drop for Gateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

// === impl Gateway ===

impl Gateway {
    /// For these cells.
    pub async fn of_cells(http: Http, cells: &[Cell], seed: u64) -> Result<Self, String> {
        let own = cells.iter().map(|cell| (cell.id.as_str(), cell.fault.port));
        let setup = Setup {
            http,
            own: own.collect(),
            policy: policy(cells),
            seed,
            workers: 1,
            edit: |_| {},
        };
        Self::start(setup).await
    }

    pub async fn start(setup: Setup<'_>) -> Result<Self, String> {
        let providers = Providers::start(setup.http, setup.seed);
        let providers = providers.map_err(|e| format!("the providers: {e}"))?;
        let shared = SHARED.map(|name| (name, Port::Stage)).to_vec();
        let clusters = [setup.own.clone(), shared].concat();
        let binary = envoy::find()?;
        let mut settings = Settings::for_test(new_dir()?, envoy::version(&binary)?)?;
        settings.policy = PolicySource::Text(setup.policy);
        for (shipped, role) in render::ENDPOINTS {
            let absent = Endpoint::new(role, None, None)?;
            settings.endpoints.insert(shipped.to_owned(), absent);
        }
        for (cluster, port) in &clusters {
            let url = format!("http://127.0.0.1:{}/v1", providers.port(*port));
            let endpoint = Endpoint::new(Role::OpenAi, Some(&url), Some(&key_of(cluster)))?;
            settings.endpoints.insert((*cluster).to_owned(), endpoint);
        }
        let dir = settings.out_dir.clone();
        render::render(&settings)?;
        let filter = provider_role(&dir)?;
        edit::yaml(&dir, "clusters.yaml", |document| {
            for (cluster, port) in &clusters {
                lead(document, cluster, *port, setup.http);
            }
            for (cluster, _) in &setup.own {
                inline(document, cluster, &filter);
            }
        });
        edit::yaml(&dir, "routes.yaml", add_impatient);
        (setup.edit)(&dir);
        let envoy = Envoy::start_rendered(&binary, settings, setup.workers, Output::Files).await?;
        Ok(Self {
            envoy,
            providers,
            dir,
        })
    }

    /// Requests that Envoy has sent to each cluster's endpoints, or would have if a connection had come about.
    pub async fn attempts(&self) -> Result<Attempts, String> {
        let path =
            "/stats?filter=^cluster\\..*_endpoints\\.upstream_rq_(total|pending_failure_eject)$";
        let mut attempts = Attempts::default();
        for line in self.envoy.get(path).await?.lines() {
            let Some((name, count)) = line.split_once(": ") else {
                continue;
            };
            let cluster = name
                .strip_prefix("cluster.")
                .and_then(|name| name.split_once("_endpoints."));
            if let (Some((cluster, _)), Ok(count)) = (cluster, count.parse::<u64>()) {
                *attempts.0.entry(cluster.to_owned()).or_default() += count;
            }
        }
        Ok(attempts)
    }
}

// === impl Attempts ===

impl Attempts {
    pub fn at(&self, cluster: &str) -> u64 {
        self.0.get(cluster).copied().unwrap_or_default()
    }

    /// For each of so many requests since then.
    pub fn per_request(&self, since: &Attempts, requests: u64) -> f64 {
        let sum = |of: &Attempts| of.0.values().sum::<u64>();
        sum(self).saturating_sub(sum(since)) as f64 / requests.max(1) as f64
    }
}

/// The HTTP version, and no host where there is to be none.
fn lead(document: &mut Value, cluster: &str, port: Port, http: Http) {
    let Some(endpoints) = named(document, &format!("{cluster}_endpoints")) else {
        return;
    };
    if http == Http::Two {
        let spoken = serde_norway::from_str("http2_protocol_options: {}").unwrap_or_default();
        endpoints["typed_extension_protocol_options"][OPTIONS]["explicit_http_config"] = spoken;
    }
    if port == Port::Nowhere {
        endpoints["load_assignment"]["endpoints"] = Value::Sequence(Vec::new());
    }
}

/// The provider role as it is in its file, and no key. Each file that a cluster watches takes one of a user's inotify
/// instances, of which Linux gives 128: Envoy aborts at the 129th.
fn inline(document: &mut Value, cluster: &str, filter: &Value) {
    let Some(cluster) = named(document, cluster) else {
        return;
    };
    let filters = &mut cluster["typed_extension_protocol_options"][OPTIONS]["http_filters"];
    if let Some(filters) = filters.as_sequence_mut() {
        filters.retain(|filter| filter["name"] != "envoy.filters.http.credential_injector");
        if let Some(first) = filters.first_mut() {
            *first = filter.clone();
        }
    }
}

/// The chat route once more, before itself.
fn add_impatient(document: &mut Value) {
    let routes = &mut document["resources"][0]["virtual_hosts"][0]["routes"];
    let Some(routes) = routes.as_sequence_mut() else {
        return;
    };
    let Some(mut route) = routes.first().cloned() else {
        return;
    };
    let is_there = serde_norway::from_str(&format!("{{name: {IMPATIENT}, present_match: true}}"));
    if let Some(headers) = route["match"]["headers"].as_sequence_mut() {
        headers.push(is_there.unwrap_or_default());
    }
    route["name"] = IMPATIENT.into();
    route["route"]["idle_timeout"] = IDLE.into();
    routes.insert(0, route);
}

/// A cluster of clusters.yaml.
pub fn named<'a>(document: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let list = document["resources"].as_sequence_mut()?;
    list.iter_mut().find(|cluster| cluster["name"] == name)
}

/// As an entry of a cluster's filters.
fn provider_role(dir: &Path) -> Result<Value, String> {
    let document: Value = render::read(&dir.join("ecds/provider.yaml"))?;
    let mut filter = document["resources"][0].clone();
    if let Some(filter) = filter.as_mapping_mut() {
        filter.remove("@type");
    }
    Ok(filter)
}

/// A folder that nobody else has.
fn new_dir() -> Result<PathBuf, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let run = std::process::id();
    Ok(render::target()?.join(format!("chaos/{run}-{number}")))
}
