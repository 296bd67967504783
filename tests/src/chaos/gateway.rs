//! The gateway that is broken on purpose: a real Envoy with `envoy/` as it is served, in front of the stand-ins.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_norway::Value;

use super::cell::{Cell, SHARED, policy};
use super::fault::Port;
use super::server::{Http, Providers};
use crate::edit;
use crate::envoy::{self, Envoy, Output};
use crate::render::{self, Endpoint, PolicySource, Role, Settings};

/// The route's: a stream that stalls after its first words ends by it. Longer than all attempts of a tier that stalls.
const IDLE: &str = "6s";

/// The gateway's key at every provider.
pub const KEY: &str = "key-of-chaos";

#[derive(Debug)]
pub struct Gateway {
    pub envoy: Envoy,
    pub providers: Providers,
    dir: PathBuf,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

impl Gateway {
    pub async fn start(
        http: Http,
        cells: &[Cell],
        seed: u64,
        workers: u32,
    ) -> Result<Self, String> {
        let providers = Providers::start(http, seed).map_err(|e| format!("the providers: {e}"))?;
        let clusters = cells.iter().map(|cell| (cell.id.as_str(), cell.fault.port));
        let clusters: Vec<_> = clusters
            .chain(SHARED.map(|name| (name, Port::Stage)))
            .collect();
        let binary = envoy::find()?;
        let mut settings = Settings::for_test(dir()?, envoy::version(&binary)?)?;
        settings.policy = PolicySource::Text(policy(cells));
        for (shipped, role) in render::ENDPOINTS {
            let absent = Endpoint::new(role, None, None)?;
            settings.endpoints.insert(shipped.to_owned(), absent);
        }
        for (cluster, port) in &clusters {
            let url = format!("http://127.0.0.1:{}/v1", providers.port(*port));
            let endpoint = Endpoint::new(Role::OpenAi, Some(&url), Some(KEY))?;
            settings.endpoints.insert((*cluster).to_owned(), endpoint);
        }
        let dir = settings.out_dir.clone();
        render::render(&settings)?;
        edit::yaml(&dir, "clusters.yaml", |document| {
            for (cluster, port) in &clusters {
                lead(document, cluster, *port, http);
            }
        });
        edit::replace(
            &dir,
            "routes.yaml",
            "idle_timeout: 600s",
            &format!("idle_timeout: {IDLE}"),
        );
        let envoy = Envoy::start_rendered(&binary, settings, workers, Output::Files).await?;
        Ok(Self {
            envoy,
            providers,
            dir,
        })
    }

    /// Requests that Envoy has sent to each cluster's endpoints, or would have if a connection had come about.
    pub async fn attempts(&self) -> Result<BTreeMap<String, u64>, String> {
        let path =
            "/stats?filter=^cluster\\..*_endpoints\\.upstream_rq_(total|pending_failure_eject)$";
        let mut attempts = BTreeMap::new();
        for line in self.envoy.get(path).await?.lines() {
            let Some((name, count)) = line.split_once(": ") else {
                continue;
            };
            let cluster = name
                .strip_prefix("cluster.")
                .and_then(|name| name.split_once("_endpoints."));
            if let (Some((cluster, _)), Ok(count)) = (cluster, count.parse::<u64>()) {
                *attempts.entry(cluster.to_owned()).or_default() += count;
            }
        }
        Ok(attempts)
    }
}

/// The HTTP version, and no host where there is to be none.
fn lead(document: &mut Value, cluster: &str, port: Port, http: Http) {
    let name = format!("{cluster}_endpoints");
    let list = document["resources"].as_sequence_mut();
    let found = list.and_then(|list| list.iter_mut().find(|c| c["name"] == name.as_str()));
    let Some(endpoints) = found else { return };
    if http == Http::Two {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let spoken = serde_norway::from_str("http2_protocol_options: {}").unwrap_or_default();
        endpoints["typed_extension_protocol_options"][options]["explicit_http_config"] = spoken;
    }
    if port == Port::Nowhere {
        endpoints["load_assignment"]["endpoints"] = Value::Sequence(Vec::new());
    }
}

/// A folder that nobody else has.
fn dir() -> Result<PathBuf, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let run = std::process::id();
    Ok(render::target()?.join(format!("chaos/{run}-{number}")))
}
