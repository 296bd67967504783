//! The same over HTTP/2, where an end of stream can come with the headers, with a frame of nothing, or with trailers.
//!
//! The scripted providers speak HTTP/1.1: between them and the gateway is a plain Envoy listener, in the same process,
//! that speaks HTTP/2 to the gateway.

use std::path::Path;

use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::upstream::{Behaviour, Step};
use serde_norway::Value;

use super::{cluster, edit, moves_on, stays};

const LISTENER: &str = r#"
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: http2
internal_listener: {}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: http2
      codec_type: HTTP2
      route_config:
        virtual_hosts:
        - name: all
          domains: ["*"]
          routes: [{match: {prefix: "/"}, route: {cluster: alpha_http1, timeout: 0s}}]
      http_filters:
      - name: envoy.filters.http.router
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"#;

fn yaml(text: &str) -> Value {
    serde_norway::from_str(text).expect("YAML")
}

fn ask_alpha_over_http2(dir: &Path) {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    edit(dir, "clusters.yaml", |clusters| {
        let alpha = cluster(clusters, "alpha_endpoints");
        let mut behind = alpha.clone();
        behind["name"] = "alpha_http1".into();
        // Otherwise Envoy leaves a provider's trailers behind.
        behind["typed_extension_protocol_options"][OPTIONS]["explicit_http_config"] =
            yaml("http_protocol_options: {enable_trailers: true}");
        alpha["typed_extension_protocol_options"][OPTIONS]["explicit_http_config"] =
            yaml("http2_protocol_options: {}");
        alpha["load_assignment"]["endpoints"] = yaml(
            "[{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: http2}}}}]}]",
        );
        if let Some(alpha) = alpha.as_mapping_mut() {
            // Of TCP only.
            alpha.remove("upstream_connection_options");
        }
        if let Some(list) = clusters["resources"].as_sequence_mut() {
            list.push(behind);
        }
    });
    edit(dir, "listener.yaml", |listeners| {
        let list = listeners["resources"].as_sequence_mut();
        list.expect("a list").push(yaml(LISTENER));
    });
}

/// A chunked 200 of this type and body that ends with a trailer.
fn with_trailers(content_type: &str, body: &str) -> Behaviour {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let chunk = match body.len() {
        0 => String::new(),
        length => format!("{length:x}\r\n{body}\r\n"),
    };
    let all = format!("{head}{chunk}0\r\nx-checksum: 1\r\n\r\n");
    Behaviour::Steps(vec![Step::Write(all.into())])
}

#[tokio::test]
async fn a_fault_over_http2_moves_on() {
    let options = Options {
        own_paths: true,
        edit: ask_alpha_over_http2,
        ..Options::default()
    };
    let gateway = Gateway::start_with("failover-http2", options).await;
    use Behaviour as B;
    let sse = |body| with_trailers("text/event-stream", body);
    let json = |body| with_trailers("application/json", body);
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    let real = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"alpha\"}}]}\n\n";
    for (fault, one_shot, streamed) in [
        (B::error(503), Some("503"), Some("503")),
        (B::error(401), Some("401"), Some("401")),
        (B::EmptyOk, Some("empty"), Some("empty")),
        (B::HeadersOnly, Some("empty"), Some("empty")),
        (B::NotJson, Some("bad_event"), Some("bad_event")),
        (B::TruncatedJson, Some("bad_event"), Some("bad_event")),
        (B::SseErrorFirst, None, Some("bad_event")),
        (B::SseRoleThenError, None, Some("bad_event")),
        (B::SseOnlyDone, None, Some("empty")),
        // Nothing, or nothing real, and then trailers.
        (json(""), Some("empty"), Some("empty")),
        (json("{\"choices\":"), Some("bad_event"), Some("bad_event")),
        (sse(""), None, Some("empty")),
        (sse(role), None, Some("empty")),
        (sse("data: {\"error\":{}}\n"), None, Some("bad_event")),
        (B::ResetMidBody, Some("reset"), None),
        (B::TruncatedBody, Some("reset"), None),
        (B::ResetMidStream(0), None, Some("reset")),
        (B::StallBeforeHeaders, Some("timeout"), None),
        (B::StallMidStream(0), None, Some("timeout")),
    ] {
        for (stream, outcome) in [(false, one_shot), (true, streamed)] {
            if let Some(outcome) = outcome {
                moves_on(&gateway, fault.clone(), stream, outcome).await;
            }
        }
    }
    let trailers = vec![("x-checksum".to_owned(), "1".to_owned())];
    stays(&gateway, B::Ok, false).await;
    stays(&gateway, B::Ok, true).await;
    stays(&gateway, B::Chunked { trailers }, false).await;
    stays(&gateway, sse(real), true).await;
    let connections = "cluster.alpha_endpoints.upstream_cx_http2_total";
    let spoken = gateway.envoy.stat(connections).await.expect("stats");
    assert!(spoken > Some(0), "HTTP/2 was spoken");
}
