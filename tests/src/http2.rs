//! Scripted providers over HTTP/2, where an end of stream can come with the headers, with a frame of nothing, or with
//! trailers.
//!
//! The providers speak HTTP/1.1: between them and the gateway is a plain Envoy listener, in the same process, that speaks
//! HTTP/2 to the gateway and passes trailers.

use std::path::Path;

use serde_norway::Value;

use crate::edit;
use crate::upstream::{Behaviour, Step};

const LISTENER: &str = r#"
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: http2-CLUSTER
internal_listener: {}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: http2-CLUSTER
      codec_type: HTTP2
      route_config:
        virtual_hosts:
        - name: all
          domains: ["*"]
          routes: [{match: {prefix: "/"}, route: {cluster: CLUSTER_http1, timeout: 0s}}]
      http_filters:
      - name: envoy.filters.http.router
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"#;

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Changes what was rendered so that the gateway asks this provider over HTTP/2.
pub fn ask(dir: &Path, provider: &str) {
    edit::yaml(dir, "clusters.yaml", |clusters| {
        let list = clusters["resources"].as_sequence_mut().expect("a list");
        let endpoints = format!("{provider}_endpoints");
        let of_provider = list.iter_mut().find(|c| c["name"] == endpoints);
        let of_provider = of_provider.expect("the provider's endpoints");
        let mut behind = of_provider.clone();
        behind["name"] = format!("{provider}_http1").into();
        // Otherwise Envoy leaves a provider's trailers behind.
        behind["typed_extension_protocol_options"][OPTIONS]["explicit_http_config"] =
            yaml("http_protocol_options: {enable_trailers: true}");
        of_provider["typed_extension_protocol_options"][OPTIONS]["explicit_http_config"] =
            yaml("http2_protocol_options: {}");
        of_provider["load_assignment"]["endpoints"] = yaml(&format!(
            "[{{lb_endpoints: [{{endpoint: {{address: {{envoy_internal_address: {{server_listener_name: http2-{provider}}}}}}}}}]}}]",
        ));
        if let Some(endpoints) = of_provider.as_mapping_mut() {
            // Of TCP only.
            endpoints.remove("upstream_connection_options");
        }
        list.push(behind);
    });
    edit::yaml(dir, "listener.yaml", |listeners| {
        let list = listeners["resources"].as_sequence_mut();
        let listener = yaml(&LISTENER.replace("CLUSTER", provider));
        list.expect("a list").push(listener);
    });
}

fn yaml(text: &str) -> Value {
    serde_norway::from_str(text).expect("YAML")
}

/// A chunked 200 of this type that ends with a trailer. Each piece is a chunk and a write of its own.
pub fn with_trailers(content_type: &str, pieces: &[&str]) -> Behaviour {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let full = pieces.iter().filter(|piece| !piece.is_empty());
    let chunks = full.map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
    let end = "0\r\nx-checksum: 1\r\n\r\n".to_owned();
    let mut steps = Vec::new();
    for text in std::iter::once(head).chain(chunks).chain([end]) {
        // So that each arrives alone.
        if !steps.is_empty() {
            steps.push(Step::Pause(std::time::Duration::from_millis(20)));
        }
        steps.push(Step::Write(text.into()));
    }
    Behaviour::Steps(steps)
}
