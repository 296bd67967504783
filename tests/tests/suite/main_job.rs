//! The main job: a request is classified, routed, answered, and told why.

use pointsman_tests::gateway::Gateway;
use pointsman_tests::upstream::Behaviour;

#[tokio::test]
async fn a_request_is_classified_routed_and_told_why() {
    let gateway = Gateway::start("classified").await;
    gateway.classifier.set(Behaviour::Classify {
        content: r#"{"tier":"quality","reason":"needs care","estimated_complexity":"high"}"#.into(),
        delay: std::time::Duration::from_millis(20),
    });
    let reply = gateway.chat(&[], "auto").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-routed-provider"), "beta");
    assert_eq!(reply.header("x-routed-model"), "beta-large");
    assert_eq!(reply.header("x-routing-tier"), "quality");
    assert_eq!(reply.header("x-routing-source"), "llm");
    assert_eq!(
        gateway.beta.last().expect("a request").model(),
        "beta-large"
    );
}

/// The provider role takes `x-request-id` off the request, and so it was missing from the log, or there twice.
#[tokio::test]
async fn every_logged_request_has_its_id_once() {
    let gateway = Gateway::start("request-id").await;
    gateway.chat(&[], "fast").await;
    gateway.chat(&[], "no-such-model").await;
    gateway.get("/v1/models").await;
    gateway.get("/elsewhere").await;
    let log = gateway.access_log(4).await;
    let ids: std::collections::BTreeSet<&str> = log
        .iter()
        .filter_map(|line| line["request_id"].as_str())
        .collect();
    assert_eq!(ids.len(), 4, "{log:?}");
    // A UUID, as Envoy makes it.
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
}
