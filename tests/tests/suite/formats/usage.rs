//! What was spent is counted, whatever the provider calls it.

mod died;
mod http2;

use pointsman_tests::client;
use serde_json::json;

use super::Formats;

#[tokio::test]
async fn tokens_are_in_the_log_and_in_the_metrics() {
    let formats = Formats::start("usage").await;
    let gateway = &formats.wire.gateway;
    let tiers = ["gpt", "claude", "gemini"];
    for (n, tier) in tiers.iter().enumerate() {
        for stream in [false, true] {
            let body = json!({
                "model": tier, "stream": stream,
                "messages": [{"role": "user", "content": "What is the capital of France?"}],
            });
            let reply = gateway.post(&[], &body).await;
            assert_eq!(reply.status, 200);
            // The client did not ask for a stream's usage.
            let told = reply.text().contains("\"prompt_tokens\"");
            assert_eq!(told, !stream, "{tier}: {}", reply.text());
            let log = gateway.access_log(2 * n + 1 + usize::from(stream)).await;
            let line = log.last().expect("a line");
            for field in ["input_tokens", "output_tokens"] {
                let count: u64 = line[field]
                    .as_str()
                    .unwrap_or_default()
                    .parse()
                    .unwrap_or(0);
                assert!(count > 0, "{tier} {stream} {field}: {line}");
            }
        }
    }
    let stats = client::get(gateway.envoy.admin_port, "/stats/prometheus", &[]).await;
    let stats = stats.expect("the admin port answers").text();
    for (tier, provider, model) in [
        ("gpt", "alpha", "gpt-5-nano"),
        ("claude", "beta", "claude-haiku-4-5"),
        ("gemini", "gamma", "gemini-3-pro"),
    ] {
        for kind in ["input", "output"] {
            let has = |line: &&str| {
                let labels = [
                    ("provider", provider),
                    ("model", model),
                    ("tier", tier),
                    ("type", kind),
                ];
                line.starts_with("pointsman_tokens_total{")
                    && labels
                        .iter()
                        .all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
            };
            let line = stats.lines().find(has);
            let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            assert!(
                count.is_some_and(|count| count > 1),
                "{tier} {kind}: {line:?}"
            );
        }
    }
}

/// Asked for, it is the stream's last chunk but for `[DONE]`.
#[tokio::test]
async fn a_client_that_asks_for_a_streams_usage_gets_it() {
    let formats = Formats::start("asked").await;
    for tier in ["gpt", "claude", "gemini"] {
        let body = json!({
            "model": tier, "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        });
        let text = formats.wire.gateway.post(&[], &body).await.text();
        let last = text.trim_end().rsplit("\n\n").nth(1).unwrap_or_default();
        assert!(
            last.contains("\"choices\":[]") && last.contains("\"prompt_tokens\""),
            "{tier}: {last}"
        );
    }
}
