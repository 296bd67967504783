//! What once killed the filter's VM, and with it every request of its worker.

use bytes::Bytes;
use pointsman_tests::gateway::{Gateway, chat};
use pointsman_tests::upstream::Behaviour;

/// The mark that a reply is the filter's own was a request header, and request headers are gone by the time that an answer is
/// replaced, if a callout was waited for: the SDK panicked.
#[tokio::test]
async fn a_classified_request_whose_every_target_fails_is_answered_and_the_worker_lives() {
    let gateway = Gateway::start("vm").await;
    gateway.classifier.set(Behaviour::classify("quality"));
    let without_body = |status| Behaviour::Status {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: Bytes::new(),
    };
    let mut asked = 0;
    for (failure, expected, attempts) in [
        (Behaviour::error(503), 503, "beta=503, alpha=503"),
        (Behaviour::error(401), 502, "beta=401, alpha=401"),
        (Behaviour::error(400), 400, "beta=400"),
        (without_body(503), 503, "beta=503, alpha=503"),
        (Behaviour::EmptyOk, 502, "beta=empty, alpha=empty"),
        (Behaviour::NotJson, 502, "beta=bad_event, alpha=bad_event"),
    ] {
        for upstream in gateway.providers() {
            upstream.set(failure.clone());
        }
        for stream in [false, true] {
            // Each its own question, so that each is classified.
            asked += 1;
            let mut body = chat("auto", stream);
            body["messages"][0]["content"] = format!("question {asked}").into();
            let reply = gateway.post(&[], &body).await;
            let text = reply.text();
            assert_eq!(reply.status, expected, "{text}");
            assert_eq!(reply.header("x-routing-source"), "llm", "{text}");
            assert_eq!(reply.header("x-routed-attempts"), attempts, "{text}");
            assert!(reply.json()["error"]["message"].is_string(), "{text}");
        }
    }
    for upstream in gateway.providers() {
        upstream.set(Behaviour::Ok);
    }
    let reply = gateway.chat(&[], "auto").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let log = gateway.log();
    assert!(!log.contains("panicked"), "{log}");
}
