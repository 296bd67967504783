//! What happened is counted, under the labels that a dashboard asks for.

use std::collections::BTreeMap;

use pointsman_tests::envoy::Envoy;
use pointsman_tests::gateway::Gateway;
use pointsman_tests::upstream::Behaviour;

/// The filter's own: `name{labels in order} value`.
async fn counted(envoy: &Envoy) -> BTreeMap<String, u64> {
    let text = envoy
        .get("/stats/prometheus")
        .await
        .expect("the admin port");
    let ours = text
        .lines()
        .filter(|line| line.contains("pointsman_") && !line.starts_with('#'));
    ours.map(|line| {
        let (name, value) = line
            .rsplit_once(' ')
            .unwrap_or_else(|| panic!("no value: {line}"));
        let value = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        labels.sort_unstable();
        (format!("{name}{{{}}}", labels.join(",")), value)
    })
    .collect()
}

#[tokio::test]
async fn requests_attempts_and_classifications_are_counted_by_their_labels() {
    let gateway = Gateway::start("metrics").await;
    assert_eq!(counted(&gateway.envoy).await, BTreeMap::new());
    for _ in 0..3 {
        gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
    }
    gateway.stream(&[], "quality").await;
    gateway.alpha.next([Behaviour::error(503)]);
    gateway.chat(&[], "alpha-small").await;
    gateway.alpha.next([Behaviour::ResetAtOnce]);
    gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
    gateway
        .classifier
        .next([Behaviour::error(500), Behaviour::classify("quality")]);
    for _ in 0..3 {
        gateway.chat(&[], "auto").await;
    }
    // Refused: no decision, no attempt.
    assert_eq!(gateway.chat(&[], "no-such-model").await.status, 404);
    let expected = [
        (
            r#"pointsman_attempts_total{model="alpha-small",outcome="200",provider="alpha"}"#,
            4,
        ),
        (
            r#"pointsman_attempts_total{model="alpha-small",outcome="503",provider="alpha"}"#,
            1,
        ),
        (
            r#"pointsman_attempts_total{model="alpha-small",outcome="reset",provider="alpha"}"#,
            1,
        ),
        (
            r#"pointsman_attempts_total{model="beta-large",outcome="200",provider="beta"}"#,
            3,
        ),
        (
            r#"pointsman_attempts_total{model="beta-small",outcome="200",provider="beta"}"#,
            1,
        ),
        (
            r#"pointsman_classifications_total{result="answered",step="llm"}"#,
            1,
        ),
        (
            r#"pointsman_classifications_total{result="hit",step="llm"}"#,
            1,
        ),
        (
            r#"pointsman_classifications_total{result="failed",step="llm"}"#,
            1,
        ),
        (
            r#"pointsman_requests_total{source="cache",tier="quality"}"#,
            1,
        ),
        (
            r#"pointsman_requests_total{source="default",tier="fast"}"#,
            1,
        ),
        (
            r#"pointsman_requests_total{source="header",tier="fast"}"#,
            4,
        ),
        (
            r#"pointsman_requests_total{source="llm",tier="quality"}"#,
            1,
        ),
        (r#"pointsman_requests_total{source="model",tier="none"}"#, 1),
        (
            r#"pointsman_requests_total{source="model",tier="quality"}"#,
            1,
        ),
        // Seven tokens of each prompt, five of a one-shot answer, three of a stream.
        (
            r#"pointsman_tokens_total{model="alpha-small",provider="alpha",tier="fast",type="input"}"#,
            4 * 7,
        ),
        (
            r#"pointsman_tokens_total{model="alpha-small",provider="alpha",tier="fast",type="output"}"#,
            4 * 5,
        ),
        (
            r#"pointsman_tokens_total{model="beta-large",provider="beta",tier="quality",type="input"}"#,
            3 * 7,
        ),
        (
            r#"pointsman_tokens_total{model="beta-large",provider="beta",tier="quality",type="output"}"#,
            3 + 2 * 5,
        ),
        (
            r#"pointsman_tokens_total{model="beta-small",provider="beta",tier="fast",type="input"}"#,
            7,
        ),
        (
            r#"pointsman_tokens_total{model="beta-small",provider="beta",tier="fast",type="output"}"#,
            5,
        ),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counted(&gateway.envoy).await, BTreeMap::from(expected));
}
