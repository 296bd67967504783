//! The Envoy that the others are compared with: a listener, a route, a cluster, and no filter.
//!
//! What costs time besides the filter is the same as theirs: buffer limits and the access log are read from `envoy/`.

use std::path::Path;

use serde_json::{Value, json};

use crate::envoy::{Envoy, Ports};
use crate::{Result, Setup};

pub async fn start_bare(setup: &Setup, name: &str, concurrency: u32) -> Result<Envoy> {
    let ports = Ports::free()?;
    let dir = setup.dir.join(name);
    std::fs::create_dir_all(&dir)?;
    let config = bootstrap(&shared(&setup.root)?, ports, setup.provider_port);
    std::fs::write(dir.join("bootstrap.json"), format!("{config:#}"))?;
    Envoy::start(
        name,
        &setup.binary,
        &dir,
        Path::new("bootstrap.json"),
        ports,
        concurrency,
    )
    .await
}

/// What the bare one has in common with the others.
struct Shared {
    access_log: Value,
    buffer_limit: Value,
}

/// Reads it from the listener in `envoy/listener.yaml`.
fn shared(root: &Path) -> Result<Shared> {
    let path = root.join("envoy/listener.yaml");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let yaml: Value = serde_norway::from_str(&text)?;
    let find = |pointer: &str| {
        let found = yaml.pointer(pointer).cloned();
        found.ok_or_else(|| format!("{}: nothing at {pointer}", path.display()))
    };
    Ok(Shared {
        access_log: find("/resources/0/filter_chains/0/filters/0/typed_config/access_log")?,
        buffer_limit: find("/resources/0/per_connection_buffer_limit_bytes")?,
    })
}

fn bootstrap(shared: &Shared, ports: Ports, provider_port: u16) -> Value {
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let beyond_reach = 1_000_000;
    json!({
        "node": {"id": "bare", "cluster": "bare"},
        "admin": {"address": address(ports.admin)},
        "static_resources": {
            "listeners": [{
                "name": "ai",
                "address": address(ports.listener),
                "per_connection_buffer_limit_bytes": shared.buffer_limit,
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": http_connection_manager(shared),
                }]}],
            }],
            "clusters": [{
                "name": "provider",
                "type": "STATIC",
                "connect_timeout": "2s",
                "per_connection_buffer_limit_bytes": shared.buffer_limit,
                "circuit_breakers": {"thresholds": [{
                    "max_connections": beyond_reach, "max_pending_requests": beyond_reach,
                    "max_requests": beyond_reach, "max_retries": beyond_reach,
                }]},
                "load_assignment": {
                    "cluster_name": "provider",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(provider_port)}}]}],
                },
            }],
        },
    })
}

fn http_connection_manager(shared: &Shared) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "use_remote_address": true,
        "request_timeout": "120s",
        "stream_idle_timeout": "300s",
        "access_log": shared.access_log,
        "route_config": {"virtual_hosts": [{
            "name": "ai",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "0s"}}],
        }]},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                "suppress_envoy_headers": true,
            },
        }],
    })
}
