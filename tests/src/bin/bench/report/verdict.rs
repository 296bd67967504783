//! The promises, and whether they are kept; the median decides.
//!
//! They are stated in floors, not in microseconds, because machines differ several-fold: the same Envoy without a filter
//! costs 40 us of CPU per request on one and 150 us on another, and what the filter adds grows with it. The floor is what
//! the same machine takes, in the same minute, for two Wasm roles with nothing in them.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{EVENTS, FLOOR, JUDGED, Report, SATURATED, Sample};

/// The machine that the acceptance numbers were stated for: there the floor adds 20 us of CPU to a request …
const REFERENCE_FLOOR: f64 = 20.0;
/// … and has 0.85 of the bare throughput; …
const REFERENCE_FLOOR_RATIO: f64 = 0.85;
/// … ours may add 60 us …
const REFERENCE_ADDED: f64 = 60.0;
/// … and must keep 0.65.
const MIN_RATIO: f64 = 0.65;

/// Added CPU per request, in floors: 60 us where the floor adds 20 us.
const MAX_FLOORS: f64 = REFERENCE_ADDED / REFERENCE_FLOOR;

/// What a bare request costs on that machine, in floors, the client's and the provider's CPU included, which share the
/// cores: 0.85 = bare / (bare + 1), hence bare = 0.85 / 0.15 = 5.67.
const BARE_IN_FLOORS: f64 = REFERENCE_FLOOR_RATIO / (1.0 - REFERENCE_FLOOR_RATIO);

/// Added CPU per streamed event, in what the floor adds to a whole request: 5 us where that is 20 us.
const MAX_FLOORS_PER_EVENT: f64 = 5.0 / REFERENCE_FLOOR;

/// A decision by the local model on 1,000 characters, in floors: 60 us where the floor adds 20 us.
const MAX_FLOORS_PER_DECISION: f64 = 60.0 / REFERENCE_FLOOR;

/// Added memory per worker, MiB. Memory does not depend on how fast the machine is.
const MAX_PER_WORKER: f64 = 16.0;

/// A promise.
#[derive(Debug)]
pub struct Verdict {
    pub what: &'static str,
    pub value: f64,
    pub limit: Limit,
}

#[derive(Debug, Clone, Copy)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// The throughput ratio of a filter that adds `floors` to a request, on the machine that the acceptance numbers were stated
/// for. A ratio of 0.65 there is 5.67 / (5.67 + 3.05): the same bar as [`MAX_FLOORS`], and a little wider. The ratio that
/// is measured says something else, how large a share of the cores a bare request takes here: with one worker saturated
/// and the client and the provider on other cores, even the floor falls far below 0.85.
fn projected_ratio(floors: f64) -> f64 {
    BARE_IN_FLOORS / (BARE_IN_FLOORS + floors)
}

// === impl Verdict ===

impl Verdict {
    /// Nothing measured is nothing kept.
    pub fn pass(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.value <= limit,
            Limit::AtLeast(limit) => self.value >= limit,
        }
    }

    fn limit(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("<= {limit:.2}"),
            Limit::AtLeast(limit) => format!(">= {limit:.2}"),
        }
    }

    pub fn json(&self) -> Value {
        json!({"what": self.what, "value": self.value, "limit": self.limit(), "pass": self.pass()})
    }
}

// === impl Report ===

impl Report {
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let at_most = |what, value, limit| Verdict {
            what,
            value,
            limit: Limit::AtMost(limit),
        };
        let mut verdicts = Vec::new();
        if let Some(series) = self.series(SATURATED) {
            let floors = series.in_floors(JUDGED, Sample::cpu_per_request).median;
            verdicts.push(at_most(
                "added CPU per request / floor's",
                floors,
                MAX_FLOORS,
            ));
            verdicts.push(Verdict {
                what: "projected throughput ratio",
                value: projected_ratio(floors),
                limit: Limit::AtLeast(MIN_RATIO),
            });
        }
        if let (Some(series), Some(requests)) = (self.series(EVENTS), self.series(SATURATED)) {
            let event = series.added(JUDGED, Sample::cpu_per_event).median;
            let floor = requests.added(FLOOR, Sample::cpu_per_request).median;
            verdicts.push(at_most(
                "added CPU per event, us",
                event,
                MAX_FLOORS_PER_EVENT * floor,
            ));
        }
        if let Some(floors) = self.decision_in_floors() {
            let what = "CPU per decision / floor's";
            verdicts.push(at_most(what, floors.median, MAX_FLOORS_PER_DECISION));
        }
        verdicts.push(at_most(
            "added memory per worker, MiB",
            self.added_per_worker(JUDGED).median,
            MAX_PER_WORKER,
        ));
        verdicts
    }

    /// The verdicts in words, and what is told beside them.
    pub(super) fn verdict_lines(&self) -> String {
        let mut out = String::new();
        for verdict in self.verdicts() {
            let word = if verdict.pass() { "PASS" } else { "FAIL" };
            let _ = writeln!(
                out,
                "{word}  {:<34} {:>8.2}  {}",
                verdict.what,
                verdict.value,
                verdict.limit()
            );
        }
        if let Some(series) = self.series(SATURATED) {
            let ratios = self.contestants.iter().enumerate().skip(FLOOR);
            let ratios: Vec<String> = ratios
                .map(|(who, name)| format!("{name} {}", series.ratio_to_bare(who)))
                .collect();
            let _ = writeln!(
                out,
                "info  throughput ratio measured here, worker saturated (informative, not judged): {}",
                ratios.join(", ")
            );
        }
        out
    }
}
