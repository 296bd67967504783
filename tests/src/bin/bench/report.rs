//! What was measured, and how the contestants compare. Pure.
//!
//! Contestants are columns: [`BARE`], [`FLOOR`], [`JUDGED`], and whoever else. Every comparison is made within a round, and
//! the rounds' median is told; nothing compares a median with a median.

mod decision;
mod spread;
mod table;
mod verdict;

use std::time::Duration;

use pointsman_tests::load::Outcome;
use serde_json::{Value, json};

pub use decision::{Decision, Native, Pair};
use spread::Spread;

/// No filter: what differences are taken from.
const BARE: usize = 0;
/// Two empty roles: what differences are told in.
const FLOOR: usize = 1;
/// Who must keep the promises.
const JUDGED: usize = 2;

/// The scenario whose worker is busy all the time.
pub const SATURATED: &str = "one-shot, c=32";
/// The scenario that the cost of an event is judged by.
pub const EVENTS: &str = "stream, c=8";

const MIB: f64 = 1_048_576.0;

/// One Envoy, one scenario, one round. Times are microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    requests: f64,
    events: f64,
    pieces: f64,
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Median time to the first event; zero for one-shot answers.
    first_event: f64,
    cpu: f64,
}

/// A scenario's rounds; of each, a sample per contestant.
#[derive(Debug)]
pub struct Series {
    name: &'static str,
    stream: bool,
    rounds: Vec<Vec<Sample>>,
}

/// Resident bytes after the same load, per contestant.
#[derive(Debug, Default)]
pub struct Memory {
    /// With one worker.
    pub one: Vec<u64>,
    /// With [`Memory::WORKERS`] workers.
    pub many: Vec<u64>,
}

#[derive(Debug)]
pub struct Report {
    /// Their names, by column.
    pub contestants: Vec<&'static str>,
    pub series: Vec<Series>,
    pub memory: Vec<Memory>,
    /// Only of the filter itself.
    pub decision: Option<Decision>,
    pub version: String,
    /// Of each Envoy that serves load.
    pub workers: u32,
    pub control: bool,
    pub quick: bool,
    pub rounds: usize,
}

// === impl Sample ===

impl Sample {
    pub fn new(outcome: &Outcome, cpu: Duration) -> Self {
        Self {
            requests: outcome.ok() as f64,
            events: outcome.events as f64,
            pieces: outcome.pieces as f64,
            per_second: outcome.per_second(),
            p50: outcome.p50() as f64,
            p99: outcome.p99() as f64,
            first_event: outcome.first_event.value_at_quantile(0.5) as f64,
            cpu: cpu.as_secs_f64() * 1e6,
        }
    }

    fn cpu_per_request(&self) -> f64 {
        self.cpu / self.requests
    }

    /// The whole CPU of streams by their events: the request's own share is in it.
    fn cpu_per_event(&self) -> f64 {
        self.cpu / self.events
    }

    fn json(&self) -> Value {
        json!({
            "requests": self.requests, "events": self.events, "pieces": self.pieces,
            "per_second": self.per_second, "p50_us": self.p50, "p99_us": self.p99,
            "first_event_p50_us": self.first_event, "cpu_us": self.cpu,
        })
    }
}

// === impl Series ===

impl Series {
    pub fn new(name: &'static str, stream: bool) -> Self {
        Self {
            name,
            stream,
            rounds: Vec::new(),
        }
    }

    /// Of one round, by column.
    pub fn add(&mut self, samples: Vec<Sample>) {
        self.rounds.push(samples);
    }

    fn of(&self, who: usize, value: fn(&Sample) -> f64) -> Spread {
        self.over(|round| Some(value(round.get(who)?)))
    }

    fn ratio(&self, who: usize, to: usize, value: fn(&Sample) -> f64) -> Spread {
        self.over(|round| Some(value(round.get(who)?) / value(round.get(to)?)))
    }

    fn difference(&self, who: usize, from: usize, value: fn(&Sample) -> f64) -> Spread {
        self.over(|round| Some(value(round.get(who)?) - value(round.get(from)?)))
    }

    /// The CPU that the floor adds to a request, by round.
    fn floors(&self) -> impl Iterator<Item = f64> {
        let cpu = |round: &Vec<Sample>, who: usize| Some(round.get(who)?.cpu_per_request());
        let added = move |round| Some(cpu(round, FLOOR)? - cpu(round, BARE)?);
        self.rounds
            .iter()
            .map(move |round| added(round).unwrap_or_default())
    }

    fn added(&self, who: usize, value: fn(&Sample) -> f64) -> Spread {
        self.difference(who, BARE, value)
    }

    /// What `who` adds as a multiple of what the floor adds. In a round whose floor added nothing, noise was larger than
    /// the floor, and the round speaks against whoever is measured by it: infinity.
    fn in_floors(&self, who: usize, value: fn(&Sample) -> f64) -> Spread {
        self.over(|round| {
            let bare = value(round.get(BARE)?);
            let floor = value(round.get(FLOOR)?) - bare;
            let added = value(round.get(who)?) - bare;
            Some(if floor > 0.0 {
                added / floor
            } else {
                f64::INFINITY
            })
        })
    }

    fn over(&self, value: impl Fn(&[Sample]) -> Option<f64>) -> Spread {
        Spread::of(self.rounds.iter().filter_map(|round| value(round)))
    }
}

// === impl Memory ===

impl Memory {
    /// How many workers the larger Envoys have.
    pub const WORKERS: u32 = 4;

    /// What a worker more adds to `who` beyond what it adds to the bare one, in MiB.
    fn per_worker(&self, who: usize) -> Option<f64> {
        let growth = |who: usize| {
            let (one, many) = (*self.one.get(who)?, *self.many.get(who)?);
            Some((many as f64 - one as f64) / f64::from(Self::WORKERS - 1) / MIB)
        };
        Some(growth(who)? - growth(BARE)?)
    }
}

// === impl Report ===

impl Report {
    pub fn passes(&self) -> bool {
        self.verdicts().iter().all(|verdict| verdict.pass())
    }

    fn series(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    fn added_per_worker(&self, who: usize) -> Spread {
        Spread::of(
            self.memory
                .iter()
                .filter_map(|memory| memory.per_worker(who)),
        )
    }

    /// What the first worker adds, and all that the workers share, in MiB.
    fn added_at_one(&self, who: usize) -> Spread {
        let added = |m: &Memory| Some((*m.one.get(who)? as f64 - *m.one.get(BARE)? as f64) / MIB);
        Spread::of(self.memory.iter().filter_map(added))
    }

    /// Resident MiB of `who`.
    fn resident(&self, who: usize, bytes: fn(&Memory) -> &Vec<u64>) -> Spread {
        let bytes = self.memory.iter().filter_map(|m| bytes(m).get(who));
        Spread::of(bytes.map(|bytes| *bytes as f64 / MIB))
    }

    /// Everything: what the tables show, the verdicts, and each round's samples by column.
    pub fn json(&self) -> Value {
        let measured: serde_json::Map<String, Value> = self
            .sections()
            .iter()
            .map(|section| (section.title.clone(), section.json()))
            .collect();
        let samples: serde_json::Map<String, Value> = self
            .series
            .iter()
            .map(|series| {
                let round = |round: &Vec<Sample>| round.iter().map(Sample::json).collect::<Value>();
                (
                    series.name.to_owned(),
                    series.rounds.iter().map(round).collect(),
                )
            })
            .collect();
        let memory = |m: &Memory| json!({"one_worker_bytes": m.one, "many_workers_bytes": m.many});
        json!({
            "envoy": self.version,
            "workers": self.workers,
            "control": self.control,
            "quick": self.quick,
            "rounds": self.rounds,
            "contestants": self.contestants,
            "measured": measured,
            "samples": samples,
            "memory": {"many_workers": Memory::WORKERS, "samples": self.memory.iter().map(memory).collect::<Value>()},
            "decision": self.decision_json(),
            "verdicts": self.verdicts().iter().map(verdict::Verdict::json).collect::<Value>(),
        })
    }
}

#[cfg(test)]
mod tests;
