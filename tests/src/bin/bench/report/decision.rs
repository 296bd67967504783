//! A decision of the local model: what it adds to a request, in microseconds and in floors of the same round, and its memory.

use std::fmt::Write;

use serde_json::{Value, json};

use super::spread::{Short, Spread};
use super::{Memory, Report, SATURATED, Sample};

/// One round: the tier named, and decided.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub named: Sample,
    pub local: Sample,
}

/// The same reading without Envoy and Wasm.
#[derive(Debug, Clone, Copy)]
pub struct Native {
    pub chars: usize,
    /// Median.
    pub us: f64,
}

#[derive(Debug)]
pub struct Decision {
    pub rounds: Vec<Pair>,
    pub native: Vec<Native>,
    /// Without the local model's step, and with it; both after requests that it would decide or did.
    pub memory: Vec<Memory>,
}

// === impl Pair ===

impl Pair {
    /// CPU in microseconds.
    fn added(&self) -> f64 {
        self.local.cpu_per_request() - self.named.cpu_per_request()
    }
}

// === impl Decision ===

impl Decision {
    fn added(&self) -> Spread {
        Spread::of(self.rounds.iter().map(Pair::added))
    }

    /// MiB that the model adds to each worker.
    fn per_worker(&self) -> Spread {
        // Its first contestant is the one that differences are taken from.
        Spread::of(self.memory.iter().filter_map(|m| m.per_worker(1)))
    }

    fn native(&self) -> String {
        let native = self.native.iter();
        let shown: Vec<String> = native
            .map(|n| format!("{} us for {} characters", Short(n.us), n.chars))
            .collect();
        shown.join(", ")
    }

    fn json(&self, floors: Spread) -> Value {
        let native = |n: &Native| json!({"characters": n.chars, "p50_us": n.us});
        json!({
            "CPU per decision, us": self.added().json(),
            "CPU per decision / floor's": floors.json(),
            "added memory per worker, MiB": self.per_worker().json(),
            "native": self.native.iter().map(native).collect::<Value>(),
            "samples": self.rounds.iter().map(|r| json!([r.named.json(), r.local.json()])).collect::<Value>(),
        })
    }
}

// === impl Report ===

impl Report {
    /// What a decision adds, in what the floor adds to a request in the same round; infinity where noise hides the floor.
    pub(super) fn decision_in_floors(&self) -> Option<Spread> {
        let decision = self.decision.as_ref()?;
        let floors = self.series(SATURATED)?.floors();
        let both = decision.rounds.iter().zip(floors);
        Some(Spread::of(both.map(|(pair, floor)| {
            if floor > 0.0 {
                pair.added() / floor
            } else {
                f64::INFINITY
            }
        })))
    }

    pub(super) fn decision_json(&self) -> Option<Value> {
        let floors = self.decision_in_floors()?;
        Some(self.decision.as_ref()?.json(floors))
    }

    pub(super) fn decision_lines(&self) -> String {
        let mut out = String::new();
        let (Some(decision), Some(floors)) = (&self.decision, self.decision_in_floors()) else {
            return out;
        };
        let cpu = |of: fn(&Pair) -> f64| Spread::of(decision.rounds.iter().map(of));
        for (what, spread) in [
            (
                "CPU per request, tier named, us",
                cpu(|p| p.named.cpu_per_request()),
            ),
            (
                "CPU per request, decided, us",
                cpu(|p| p.local.cpu_per_request()),
            ),
            ("CPU per decision, us", decision.added()),
            ("CPU per decision / floor's, x", floors),
            ("added memory per worker, MiB", decision.per_worker()),
        ] {
            let _ = writeln!(out, "  {what:<36} {spread}");
        }
        let _ = writeln!(out, "  natively, p50: {}", decision.native());
        out
    }
}
