//! Hostile clients, and what they must not leave behind: a dead VM, a header at a provider, a provider that is held to be
//! down, or memory.
//!
//! The gateway is as it is served but for times, the cap on bodies, and providers that do what a question's first word says.

pub mod client;
mod dice;
mod headers;
mod kind;
pub mod leak;
pub mod memory;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::client::{Reply, request, send};
use crate::gateway::{Gateway, Options};
use crate::health;
use crate::upstream::{Behaviour, Seen, Upstream};

/// Times are long, for a machine that does something else at the time. Cooldown is on, to show that clients who leave put
/// nobody into it; but chance makes five failures in a row once in 30,000 requests when one in eight fails.
const POLICY: &str = "
version: 1
default_tier: fast
caller: {header: x-client-id}
admit: {max_body: 64KiB}
tiers:
  fast:
    description: simple questions
    targets:
    - {provider: alpha, model: alpha-small}
    - {provider: beta, model: beta-small}
    - {provider: gamma, model: gamma-small}
  quality:
    description: careful work
    targets: [{provider: beta, model: beta-large}, {provider: alpha, model: alpha-large}]
  single:
    description: one target only
    targets: [{provider: alpha, model: alpha-small}]
providers:
  alpha: {cluster: alpha, api: openai}
  beta: {cluster: beta, api: openai}
  gamma: {cluster: gamma, api: openai}
timeouts: {first_token: 15s, one_shot: 15s}
cooldown: {consecutive_failures: 10}
classify:
- llm: {cluster: classifier, model: judge, timeout: 5s}
";

/// As in the policy.
const MAX_BODY: usize = 64 << 10;

/// The first word of a question that the classifier thinks about for long.
pub const PONDERED: &str = "ponder";
/// Of one whose answer begins late.
const LATE: &str = "late";
/// Of one whose answer is long.
const LONG: &str = "at-length";
/// Of one that the first provider says 503 to.
const FAILING: &str = "failing";

const PONDERING: Duration = Duration::from_millis(60);
const LATENESS: Duration = Duration::from_millis(60);
const GAP: Duration = Duration::from_millis(5);

pub async fn start(name: &str, workers: u32, edit: fn(&Path)) -> Result<Gateway, String> {
    let options = Options {
        policy: POLICY.to_owned(),
        concurrency: workers,
        edit,
        ..Options::default()
    };
    let gateway = Gateway::try_start(name, options).await?;
    gateway
        .alpha
        .set_by(|seen| match seen.prompt("user").contains(FAILING) {
            true => Behaviour::error(503),
            false => well(seen),
        });
    for provider in [&gateway.beta, &gateway.gamma] {
        provider.set_by(well);
    }
    gateway.classifier.set_by(|seen| Behaviour::Classify {
        content: "fast".into(),
        delay: match seen.prompt("user").contains(PONDERED) {
            true => PONDERING,
            false => Duration::ZERO,
        },
    });
    Ok(gateway)
}

fn well(seen: &Seen) -> Behaviour {
    let question = seen.prompt("user");
    if question.contains(LATE) {
        return Behaviour::SlowFirstToken(LATENESS);
    }
    if question.contains(LONG) {
        return Behaviour::Stream {
            events: 20,
            gap: GAP,
        };
    }
    Behaviour::Ok
}

/// Header names that providers and classifier see of requests with nothing wrong in them.
#[derive(Debug)]
pub struct Honest(BTreeSet<String>);

impl Honest {
    /// Asks for them, and says whether they are served.
    pub async fn of(gateway: &Gateway) -> Result<Self, String> {
        forget(gateway);
        is_served(gateway).await?;
        Ok(Self(seen(gateway).map(|(name, _)| name).collect()))
    }

    /// Asks one of an Envoy without the filter.
    pub async fn of_bare(gateway: &Gateway) -> Result<Self, String> {
        ask(gateway, "/v1/chat/completions", "fast", false).await?;
        Ok(Self(seen(gateway).map(|(name, _)| name).collect()))
    }

    /// Names and values that got through to a provider or the classifier and must not have. Forgets what they saw.
    pub fn smuggled(&self, gateway: &Gateway) -> BTreeSet<String> {
        let mark = headers::MARK.as_bytes();
        let strange = |(name, value): &(String, Bytes)| {
            let marked = value.windows(mark.len()).any(|part| part == mark);
            marked || !self.0.contains(name)
        };
        let found = seen(gateway).filter(strange);
        let names = found.map(|(name, _)| name).collect();
        forget(gateway);
        names
    }
}

/// Header names, in lower case, and values.
fn seen(gateway: &Gateway) -> impl Iterator<Item = (String, Bytes)> {
    let requests = upstreams(gateway).flat_map(Upstream::requests);
    let headers = requests.flat_map(|seen| seen.headers.0);
    headers.map(|(name, value)| (String::from_utf8_lossy(&name).to_ascii_lowercase(), value))
}

fn upstreams(gateway: &Gateway) -> impl Iterator<Item = &Upstream> {
    gateway.providers().into_iter().chain([&gateway.classifier])
}

/// Requests are remembered to be looked at; a long run would fill memory with them.
fn forget(gateway: &Gateway) {
    for upstream in gateway.providers().into_iter().chain([&gateway.classifier]) {
        upstream.clear();
    }
}

/// Honest requests are served, whole, by the provider that comes first, and no worker's VM has died.
pub async fn is_served(gateway: &Gateway) -> Result<(), String> {
    for path in ["/v1/chat/completions", "/v1/messages"] {
        for stream in [false, true] {
            for model in ["fast", "auto"] {
                let reply = ask(gateway, path, model, stream).await?;
                let is_whole = match (path, stream) {
                    ("/v1/messages", true) => reply.text().contains("event: message_stop"),
                    ("/v1/messages", false) => reply.json()["stop_reason"] == "end_turn",
                    (_, true) => reply.text().ends_with("data: [DONE]\n\n"),
                    (_, false) => reply.json()["choices"][0]["finish_reason"] == "stop",
                };
                let attempts = reply.header("x-routed-attempts");
                if reply.status != 200 || !is_whole || attempts != "alpha=200" {
                    let status = reply.status;
                    let text = reply.text();
                    let circuits = gateway
                        .envoy
                        .get("/stats?filter=circuit_transitions&format=prometheus")
                        .await?;
                    return Err(format!(
                        "an honest request was not served: {path} {model} stream={stream}: {status} by {attempts:?}: {text}\n{circuits}"
                    ));
                }
            }
        }
    }
    health::deaths(gateway).await
}

async fn ask(gateway: &Gateway, path: &str, model: &str, stream: bool) -> Result<Reply, String> {
    let body: Value = json!({
        "model": model, "max_tokens": 9, "stream": stream,
        "messages": [{"role": "user", "content": "Is somebody there?"}],
    });
    let headers: &[(&[u8], &[u8])] = &[
        (b"content-type", b"application/json"),
        (b"user-agent", b"honest/1"),
        (
            b"traceparent",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let raw = request("POST", path, headers, body.to_string().as_bytes());
    let reply = send(gateway.port(), &raw).await;
    reply.map_err(|e| {
        format!("an honest request was not answered: {path} {model} stream={stream}: {e}")
    })
}
