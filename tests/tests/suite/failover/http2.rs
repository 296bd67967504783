//! The same over HTTP/2, where an end of stream can come with the headers, with a frame of nothing, or with trailers.

use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::http2::{self, with_trailers};
use pointsman_tests::upstream::Behaviour;

use super::{moves_on, stays};

#[tokio::test]
async fn a_fault_over_http2_moves_on() {
    let options = Options {
        own_paths: true,
        edit: |dir| http2::ask(dir, "alpha"),
        ..Options::default()
    };
    let gateway = Gateway::start_with("failover-http2", options).await;
    use Behaviour as B;
    let sse = |body| with_trailers("text/event-stream", &[body]);
    let json = |body| with_trailers("application/json", &[body]);
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    let real = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"alpha\"},\"finish_reason\":\"stop\"}]}\n\n";
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
