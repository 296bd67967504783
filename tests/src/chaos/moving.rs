//! What it costs to move on from a provider that refuses: the time beyond a request straight to the second one, of the
//! gateway and of a bare Envoy.
//!
//! The bare one is what was rendered for the gateway without its two filters: the same clusters, limits, log and back-off.
//! Its chain is Envoy's own: an aggregate of both providers' endpoints, and `previous_priorities`, which sends a retry to the
//! next. Neither ejects, so that every attempt meets a refused connection. One request at a time, in turns.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_norway::Value;

use super::cell::SHARED;
use super::fault::{GOOD, Port};
use super::gateway::{Gateway, Setup, named};
use super::server::Http;
use crate::client::{Conn, chat_request};
use crate::edit;
use crate::gateway::chat;

/// The provider that refuses, and the bare one's aggregate of it and the next.
const REFUSING: &str = "refusing";
const CHAIN: &str = "chain";
/// Tiers of the gateway, and routes of the bare one.
const STRAIGHT: &str = "straight";
const MOVED: &str = "moved";

/// Extra time at this or less is what is promised.
pub const LIMIT: Duration = Duration::from_millis(5);

/// Extra time of requests that had to move.
#[derive(Debug, Clone, Copy)]
pub struct Extra {
    pub p50: Duration,
    pub p99: Duration,
}

/// One round: as many requests of each kind.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub bare: Extra,
    pub ours: Extra,
}

#[derive(Debug)]
pub struct Pair {
    bare: Gateway,
    ours: Gateway,
}

// === impl Round ===

impl Round {
    pub fn passes(&self) -> bool {
        self.ours.p99 <= LIMIT
    }

    pub fn line(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let difference = |a: Duration, b: Duration| ms(a) - ms(b);
        format!(
            "moving on from a refused connection costs, in ms: bare Envoy p50 {:.2}, p99 {:.2}; ours p50 {:.2}, p99 {:.2}; \
             difference p50 {:+.2}, p99 {:+.2}",
            ms(self.bare.p50),
            ms(self.bare.p99),
            ms(self.ours.p50),
            ms(self.ours.p99),
            difference(self.ours.p50, self.bare.p50),
            difference(self.ours.p99, self.bare.p99),
        )
    }
}

// === impl Pair ===

impl Pair {
    pub async fn start() -> Result<Self, String> {
        Ok(Self {
            bare: start(strip).await?,
            ours: start(eject_nobody).await?,
        })
    }

    pub async fn round(&self, requests: usize) -> Result<Round, String> {
        let (mut bare, mut ours) = (Times::default(), Times::default());
        let mut at_bare = Client::new(self.bare.envoy.port).await?;
        let mut at_ours = Client::new(self.ours.envoy.port).await?;
        for _ in 0..requests {
            bare.straight.push(at_bare.ask(STRAIGHT).await?);
            ours.straight.push(at_ours.ask(STRAIGHT).await?);
            bare.moved.push(at_bare.ask(MOVED).await?);
            ours.moved.push(at_ours.ask(MOVED).await?);
        }
        for (gateway, who) in [(&self.bare, "bare"), (&self.ours, "ours")] {
            let met = gateway.attempts().await?.at(REFUSING);
            if met < requests as u64 {
                return Err(format!(
                    "{who}: only {met} of {requests} attempts met a refused connection"
                ));
            }
        }
        Ok(Round {
            bare: bare.extra(),
            ours: ours.extra(),
        })
    }
}

#[derive(Debug, Default)]
struct Times {
    straight: Vec<Duration>,
    moved: Vec<Duration>,
}

impl Times {
    /// Each move's time beyond the median of the straight ones: noise of the moves stays in.
    fn extra(mut self) -> Extra {
        self.straight.sort_unstable();
        let usual = at(&self.straight, 50);
        let beyond = self.moved.iter().map(|time| time.saturating_sub(usual));
        let mut extra: Vec<Duration> = beyond.collect();
        extra.sort_unstable();
        Extra {
            p50: at(&extra, 50),
            p99: at(&extra, 99),
        }
    }
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

struct Client(Conn);

impl Client {
    async fn new(port: u16) -> Result<Self, String> {
        Ok(Self(Conn::open(port).await.map_err(|e| e.to_string())?))
    }

    async fn ask(&mut self, tier: &str) -> Result<Duration, String> {
        let model = format!("{}.{tier}", GOOD.name);
        let request = chat_request(&[("x-llm-policy", tier)], &chat(&model, false));
        let begun = Instant::now();
        let reply = async {
            self.0.send(&request).await?;
            self.0.reply().await
        };
        let reply = reply.await.map_err(|e| format!("{tier}: {e}"))?;
        let took = begun.elapsed();
        match reply.status {
            200 => Ok(took),
            status => Err(format!("{tier}: {status} {}", reply.text())),
        }
    }
}

async fn start(edit: fn(&Path)) -> Result<Gateway, String> {
    let [well, ..] = SHARED;
    let provider = |name| format!("  {name}: {{cluster: {name}, api: openai}}\n");
    let providers = [well, REFUSING].map(provider).concat();
    let target = |provider, tier| format!("{{provider: {provider}, model: {}.{tier}}}", GOOD.name);
    let policy = format!(
        "version: 1\ndefault_tier: {STRAIGHT}\ncooldown: {{enabled: false}}\ntiers:\n\
         \x20 {STRAIGHT}: {{description: d, targets: [{}]}}\n\
         \x20 {MOVED}: {{description: d, targets: [{}, {}]}}\nproviders:\n{providers}",
        target(well, STRAIGHT),
        target(REFUSING, MOVED),
        target(well, MOVED),
    );
    let setup = Setup {
        http: Http::One,
        own: vec![(REFUSING, Port::Refused)],
        policy,
        seed: 1,
        workers: 1,
        edit,
    };
    Gateway::start(setup).await
}

/// The gateway as it is served.
fn eject_nobody(dir: &Path) {
    let rule = "enforcing_consecutive_local_origin_failure: ";
    edit::replace(
        dir,
        "clusters.yaml",
        &format!("{rule}100"),
        &format!("{rule}0"),
    );
}

/// Takes the filter out of what was rendered, and puts Envoy's own chain in its place.
fn strip(dir: &Path) {
    eject_nobody(dir);
    edit::yaml(dir, "listener.yaml", |document| {
        let filters = &mut document["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]
            ["http_filters"];
        if let Some(filters) = filters.as_sequence_mut() {
            filters.retain(|filter| filter["name"] != "router");
        }
    });
    edit::yaml(dir, "clusters.yaml", |document| {
        let [well, ..] = SHARED;
        for cluster in [well, REFUSING] {
            let cluster = named(document, cluster).and_then(Value::as_mapping_mut);
            cluster.map(|cluster| cluster.remove("typed_extension_protocol_options"));
        }
        let chain = named(document, REFUSING).map(|cluster| cluster.clone());
        let Some(mut chain) = chain else { return };
        chain["name"] = CHAIN.into();
        let both = [REFUSING, well].map(|name| Value::from(format!("{name}_endpoints")));
        chain["cluster_type"]["typed_config"]["clusters"] = Value::Sequence(both.to_vec());
        if let Some(list) = document["resources"].as_sequence_mut() {
            list.push(chain);
        }
    });
    edit::yaml(dir, "routes.yaml", |document| {
        let routes = &mut document["resources"][0]["virtual_hosts"][0]["routes"];
        let all = routes.as_sequence_mut();
        let chat = all.and_then(|all| all.iter().find(|route| route["name"] == "chat").cloned());
        let chat = chat.unwrap_or_default();
        let bare = [(STRAIGHT, SHARED[0]), (MOVED, CHAIN)]
            .map(|(tier, cluster)| route(&chat, tier, cluster));
        *routes = Value::Sequence(bare.to_vec());
    });
}

fn route(chat: &Value, tier: &str, cluster: &str) -> Value {
    let mut route = chat.clone();
    route["name"] = tier.into();
    let yaml = |text: &str| serde_norway::from_str::<Value>(text).unwrap_or_default();
    route["match"] = yaml(&format!(
        "{{prefix: /, headers: [{{name: x-llm-policy, string_match: {{exact: {tier}}}}}]}}"
    ));
    if let Some(action) = route["route"].as_mapping_mut() {
        action.remove("inline_cluster_specifier_plugin");
        action.insert("cluster".into(), cluster.into());
    }
    let retry = &mut route["route"]["retry_policy"];
    retry["refresh_cluster_on_retry"] = false.into();
    retry["retry_priority"] = yaml(
        "{name: envoy.retry_priorities.previous_priorities, typed_config: {\"@type\": \
         type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig, \
         update_frequency: 1}}",
    );
    route
}
