//! The kinds of request that are measured, and one Envoy under the load of one of them.
//!
//! A load in which any request failed is no measurement: it is an error.

use std::time::Duration;

use bytes::Bytes;
use pointsman_tests::client::chat_request;
use pointsman_tests::load::{Load, Outcome, Until};
use serde_json::json;

use crate::Result;
use crate::envoy::Envoy;
use crate::report::{EVENTS, SATURATED, Sample};

#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub connections: usize,
    pub stream: bool,
    /// Per Envoy and round.
    pub time: Duration,
}

/// All of them; `unit` is how long one connection is measured.
pub fn scenarios(unit: Duration) -> [Scenario; 4] {
    let scenario = |name, connections, stream| Scenario {
        name,
        connections,
        stream,
        time: if connections == 1 { unit } else { unit * 2 },
    };
    [
        scenario("one-shot, c=1", 1, false),
        scenario(SATURATED, 32, false),
        scenario("stream, c=1", 1, true),
        scenario(EVENTS, 8, true),
    ]
}

/// 1 KiB of request body.
pub fn request(stream: bool) -> Bytes {
    let ask = |padding: usize| {
        json!({
            "model": "auto", "stream": stream,
            "messages": [{"role": "user", "content": format!("Summarize this. {}", "word ".repeat(205))[..padding]}],
        })
    };
    let padding = 1024 - ask(0).to_string().len();
    chat_request(&[("x-llm-policy", "fast")], &ask(padding))
}

// === impl Scenario ===

impl Scenario {
    pub async fn measure(self, envoy: &Envoy) -> Result<Sample> {
        let load = Load::new(
            envoy.port,
            self.connections,
            Until::Time(self.time),
            request(self.stream),
        );
        let before = envoy.cpu()?;
        let outcome = load.drive().await;
        let cpu = envoy.cpu()?.saturating_sub(before);
        expect_clean(envoy, self.name, &outcome)?;
        if self.stream && outcome.done != outcome.ok() {
            return Err(format!(
                "{} {}: of {} streams only {} came to [DONE]",
                envoy.name,
                self.name,
                outcome.ok(),
                outcome.done
            )
            .into());
        }
        Ok(Sample::new(&outcome, cpu))
    }
}

/// Resident bytes after `requests` times `request`.
pub async fn settled(envoy: &Envoy, requests: u64, request: Bytes) -> Result<u64> {
    let outcome = Load::new(envoy.port, 64, Until::Requests(requests), request)
        .drive()
        .await;
    expect_clean(envoy, "memory", &outcome)?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(envoy.resident()?)
}

pub fn expect_clean(envoy: &Envoy, scenario: &str, outcome: &Outcome) -> Result<()> {
    if outcome.is_clean() && outcome.ok() > 0 {
        return Ok(());
    }
    Err(format!(
        "{} {scenario}: not every answer was good: {}\n{}",
        envoy.name,
        outcome.summary(),
        envoy.log_tail()
    )
    .into())
}
