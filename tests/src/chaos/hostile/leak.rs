//! Whether Envoy's memory grows with the requests that it has served: all ways through the filter, mixed, sample by sample.
//!
//! A VM's memory never shrinks, and pools, caches and histograms fill up first: what a warm-up takes does not count.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use serde_norway::Value;
use tokio::task::JoinSet;

use super::dice::Dice;
use super::memory::Memory;
use super::{FAILING, LATE, LONG, PONDERED};
use crate::client::{Conn, request};
use crate::edit;
use crate::gateway::Gateway;

/// Growth is said for so many requests.
pub const UNIT: u64 = 10_000;
/// Before memory is first looked at. Until then pools fill, and the VMs' memory grows by its steps.
const WARM_UP: u64 = 3 * UNIT;
/// Looks at memory after the warm-up.
const SAMPLES: u64 = 10;

/// A request of the mix, by its number. What is about leaving is never answered whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    OneShot,
    Stream,
    Messages,
    MessagesStream,
    FailingOver,
    Refused,
    Classified,
    LeavesWhileClassified,
    LeavesBeforeAnswer,
    LeavesInStream,
}

const WAYS: [Way; 10] = [
    Way::OneShot,
    Way::Stream,
    Way::Messages,
    Way::MessagesStream,
    Way::FailingOver,
    Way::Refused,
    Way::Classified,
    Way::LeavesWhileClassified,
    Way::LeavesBeforeAnswer,
    Way::LeavesInStream,
];

/// Requests of the mix.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    pub port: u16,
    pub at_once: usize,
    pub seed: u64,
    /// Whether statuses are looked at: there is a filter that refuses.
    pub judged: bool,
}

// === impl Way ===

impl Way {
    fn expects(self) -> u16 {
        if self == Self::Refused { 400 } else { 200 }
    }

    fn leaves(self) -> bool {
        matches!(
            self,
            Self::LeavesWhileClassified | Self::LeavesBeforeAnswer | Self::LeavesInStream
        )
    }

    fn request(self, number: u64) -> Vec<u8> {
        let about = match self {
            Self::FailingOver => FAILING,
            Self::LeavesWhileClassified => PONDERED,
            Self::LeavesBeforeAnswer => LATE,
            Self::LeavesInStream => LONG,
            _ => "of",
        };
        let path = match self {
            Self::Messages | Self::MessagesStream => "/v1/messages",
            _ => "/v1/chat/completions",
        };
        let model = match self {
            Self::Classified | Self::LeavesWhileClassified => "auto",
            _ => "fast",
        };
        let stream = matches!(
            self,
            Self::Stream | Self::MessagesStream | Self::LeavesInStream
        );
        let mut body = json!({
            "model": model, "max_tokens": 9, "stream": stream,
            "messages": [{"role": "user", "content": format!("{about} number {number}")}],
        });
        if self == Self::Refused {
            body["messages"] = json!([]);
        }
        let headers: &[(&[u8], &[u8])] = &[(b"content-type", b"application/json")];
        request("POST", path, headers, body.to_string().as_bytes()).to_vec()
    }
}

// === impl Mix ===

impl Mix {
    /// Sends those with these numbers. An error: one was not dealt with as it must be.
    pub async fn send(self, numbers: std::ops::Range<u64>) -> Result<(), String> {
        let next = Arc::new(AtomicU64::new(numbers.start));
        let mut senders = JoinSet::new();
        for _ in 0..self.at_once.max(1) {
            senders.spawn(self.sender(Arc::clone(&next), numbers.end));
        }
        while let Some(sent) = senders.join_next().await {
            sent.map_err(|e| e.to_string())??;
        }
        Ok(())
    }

    async fn sender(self, next: Arc<AtomicU64>, end: u64) -> Result<(), String> {
        let mut kept = None;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                return Ok(());
            }
            let way = WAYS[number as usize % WAYS.len()];
            let fail = |e: String| format!("request {number}, {way:?}: {e}");
            let bytes = way.request(number);
            if way.leaves() {
                let left = self.leave(way, number, &bytes).await;
                left.map_err(|e| fail(e.to_string()))?;
                continue;
            }
            let (status, conn) = self
                .exchange(kept.take(), &bytes)
                .await
                .map_err(|e| fail(e.to_string()))?;
            if self.judged && status != way.expects() {
                return Err(fail(format!("status {status}")));
            }
            kept = conn;
        }
    }

    async fn exchange(
        self,
        kept: Option<Conn>,
        bytes: &[u8],
    ) -> std::io::Result<(u16, Option<Conn>)> {
        let mut conn = match kept {
            Some(conn) => conn,
            None => Conn::open(self.port).await?,
        };
        conn.send(bytes).await?;
        let reply = conn.reply().await?;
        Ok((reply.status, (!reply.headers.closes()).then_some(conn)))
    }

    async fn leave(self, way: Way, number: u64, bytes: &[u8]) -> std::io::Result<()> {
        let mut conn = Conn::open(self.port).await?;
        conn.send(bytes).await?;
        match way {
            Way::LeavesInStream => drop(conn.response().await?.piece().await?),
            _ => {
                // Anywhere in the time that it takes.
                let most = super::LATENESS.mul_f64(0.8);
                let part = Dice::new(self.seed, number).below(1000) as f64 / 1e3;
                tokio::time::sleep(most.mul_f64(part)).await;
            }
        }
        conn.reset()
    }
}

/// What was held after the warm-up, and after all requests.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    pub requests: u64,
    pub before: Memory,
    pub after: Memory,
}

impl Growth {
    /// Warms up, and shows what is held then and after each tenth of `requests`.
    pub async fn measure(
        gateway: &Gateway,
        mix: Mix,
        requests: u64,
        mut show: impl FnMut(u64, Memory),
    ) -> Result<Self, String> {
        let sample = requests.div_ceil(SAMPLES).max(1);
        let mut begun = 0;
        let mut send = async |end: u64| {
            // In parts, since the providers remember what they are asked.
            while begun < end {
                let part = (begun + 2000).min(end);
                mix.send(begun..part).await?;
                super::forget(gateway);
                begun = part;
            }
            let memory = Memory::of(&gateway.envoy).await?;
            show(end, memory);
            Ok::<_, String>(memory)
        };
        let before = send(WARM_UP).await?;
        let mut after = before;
        for number in 1..=SAMPLES {
            after = send(WARM_UP + number * sample).await?;
        }
        Ok(Self {
            requests: SAMPLES * sample,
            before,
            after,
        })
    }

    /// Bytes for every [`UNIT`] requests, of a unit at least: resident and allocated.
    pub fn per_unit(&self) -> [i64; 2] {
        let units = |grown: i64| grown * UNIT as i64 / self.requests.max(UNIT) as i64;
        [
            units(self.after.resident as i64 - self.before.resident as i64),
            units(self.after.allocated as i64 - self.before.allocated as i64),
        ]
    }
}

/// Takes the filter out of what was rendered: all goes to one provider, once.
pub fn strip(dir: &Path) {
    edit::yaml(dir, "listener.yaml", |document| {
        let filters = &mut document["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]
            ["http_filters"];
        if let Some(filters) = filters.as_sequence_mut() {
            filters.retain(|filter| filter["name"] != "router");
        }
    });
    edit::yaml(dir, "clusters.yaml", |document| {
        let clusters = document["resources"]
            .as_sequence_mut()
            .into_iter()
            .flatten();
        for cluster in clusters.filter(|cluster| cluster["name"] == "alpha") {
            let cluster = cluster.as_mapping_mut();
            cluster.map(|cluster| cluster.remove("typed_extension_protocol_options"));
        }
    });
    edit::yaml(dir, "routes.yaml", |document| {
        let routes = &mut document["resources"][0]["virtual_hosts"][0]["routes"];
        let chat = routes
            .as_sequence_mut()
            .and_then(|routes| routes.first_mut());
        let Some(action) = chat.and_then(|chat| chat["route"].as_mapping_mut()) else {
            return;
        };
        action.remove("inline_cluster_specifier_plugin");
        action.remove("retry_policy");
        action.insert("cluster".into(), Value::from("alpha"));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_said_for_so_many_requests() {
        let memory = |resident, allocated| Memory {
            resident,
            allocated,
        };
        for (requests, after, expected) in [
            (100_000, memory(6000, 900), [500, -10]),
            (10_000, memory(6000, 1000), [5000, 0]),
            // Fewer are no reason to multiply chance.
            (100, memory(2000, 2000), [1000, 1000]),
        ] {
            let growth = Growth {
                requests,
                before: memory(1000, 1000),
                after,
            };
            assert_eq!(growth.per_unit(), expected, "{requests}");
        }
    }
}
