//! The cells of the table: a fault, where in the tier it is, what was asked for; and what must come of it.
//!
//! Pure. Cells do not know of each other: each has its own tier, a faulty provider of its own, and models of its own.

use std::time::Duration;

use super::client::Tally;
use super::fault::{FAULTS, Fault, GOOD, Kind, Port, UNWELL};
use super::script::mix;

#[derive(Debug, Clone)]
pub struct Cell {
    /// The tier's, and the faulty provider's cluster's.
    pub id: String,
    pub fault: &'static Fault,
    pub place: Place,
    pub stream: bool,
    pub promise: Promise,
}

/// Where the fault is among the tier's targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before two healthy ones.
    First,
    /// Between one that answers 503, so that the fault is met, and a healthy one.
    Middle,
    /// After two healthy ones.
    Last,
    /// The only one: nobody is healthy.
    Alone,
}

/// What may become of a request; anything else is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// A complete good answer.
    pub answered: bool,
    /// An error status with an error object.
    pub refused: bool,
    /// A beginning, and then a failure that the client can see.
    pub broken: bool,
}

pub const PLACES: [Place; 4] = [Place::First, Place::Middle, Place::Last, Place::Alone];

/// Providers that all cells share: two that are healthy, and one that answers 503.
pub const SHARED: [&str; 3] = ["well", "fine", "ill"];

/// Targets that answer at once have long; those that stall cost each first wave this much.
const LONG: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(1500);

// === impl Promise ===

impl Promise {
    const fn new(answered: bool, refused: bool, broken: bool) -> Self {
        Self {
            answered,
            refused,
            broken,
        }
    }

    /// Somebody is healthy, and nothing reached the client before.
    pub const ANSWERED: Self = Self::new(true, false, false);

    fn of(kind: Kind, place: Place) -> Self {
        match (kind, place) {
            (_, Place::Last) | (Kind::Answer, _) => Self::ANSWERED,
            (Kind::Clients, _) | (Kind::Hidden, Place::Alone) => Self::new(false, true, false),
            (Kind::Hidden, _) => Self::ANSWERED,
            // Envoy or the filter may have learned to leave the target out.
            (Kind::Released, Place::Alone) => Self::new(false, true, true),
            (Kind::Released, _) => Self::new(true, false, true),
        }
    }

    /// Requests that were not dealt with as promised, with what happened to them.
    pub fn lost(self, tally: &Tally) -> Vec<(String, u64)> {
        let refused = tally.refused.iter();
        let refused = refused.map(|(s, n)| (format!("refused with {s}"), *n));
        let refused = refused.filter(|_| !self.refused);
        let broken = [("broken off".to_owned(), tally.broken)].into_iter();
        let broken = broken.filter(|_| !self.broken);
        // Nobody was healthy: the answer is made up.
        let answered = [("answered".to_owned(), tally.answered)].into_iter();
        let answered = answered.filter(|_| !self.answered);
        let bad = tally.bad.iter().map(|(why, n)| (why.clone(), *n));
        let all = refused.chain(broken).chain(answered).chain(bad);
        all.filter(|(_, n)| *n > 0).collect()
    }
}

// === impl Place ===

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Place::First => "first",
            Place::Middle => "middle",
            Place::Last => "last",
            Place::Alone => "alone",
        }
    }
}

// === impl Cell ===

impl Cell {
    /// What a filter is matched against, and what a failure is told by.
    pub fn name(&self) -> String {
        let asked = if self.stream { "stream" } else { "one-shot" };
        format!("{}/{}/{asked}", self.fault.name, self.place.name())
    }

    /// Whether a request can meet the fault at its provider at all.
    pub fn is_met(&self) -> bool {
        self.place != Place::Last && self.fault.port != Port::Nowhere
    }

    /// Its targets: provider and model. The model's name begins with what is to be played.
    pub fn targets(&self) -> Vec<(&str, String)> {
        let target = |provider, played: &str| (provider, format!("{played}.{}", self.id));
        let [well, fine, ill] = SHARED;
        let faulty = target(self.id.as_str(), self.fault.name);
        let (well, fine) = (target(well, GOOD.name), target(fine, GOOD.name));
        match self.place {
            Place::First => vec![faulty, well, fine],
            Place::Middle => vec![target(ill, UNWELL), faulty, well],
            Place::Last => vec![well, fine, faulty],
            Place::Alone => vec![faulty],
        }
    }

    fn timeout(&self) -> Duration {
        if self.fault.stalls { SHORT } else { LONG }
    }
}

/// All cells, in an order that the seed decides.
pub fn cells(seed: u64) -> Vec<Cell> {
    let mut cells = Vec::new();
    for fault in FAULTS {
        for &stream in fault.asked {
            for place in PLACES {
                let id = format!("cell{}", cells.len());
                cells.push(Cell {
                    id,
                    fault,
                    place,
                    stream,
                    promise: Promise::of(fault.kind, place),
                });
            }
        }
    }
    cells.sort_by_key(|cell| {
        cell.id
            .bytes()
            .fold(mix(seed), |h, b| mix(h ^ u64::from(b)))
    });
    cells
}

/// A tier for each cell.
pub fn policy(cells: &[Cell]) -> String {
    let mut tiers = String::new();
    for cell in cells {
        let millis = cell.timeout().as_millis();
        tiers += &format!("  {}:\n    description: {}\n", cell.id, cell.name());
        tiers += &format!(
            "    timeouts: {{first_token: {millis}ms, one_shot: {millis}ms}}\n    targets:\n"
        );
        for (provider, model) in cell.targets() {
            tiers += &format!("    - {{provider: {provider}, model: {model}}}\n");
        }
    }
    let own = cells.iter().map(|cell| cell.id.as_str());
    let provider = |name| format!("  {name}: {{cluster: {name}, api: openai}}\n");
    let providers: String = own.chain(SHARED).map(provider).collect();
    let default = cells.first().map_or("none", |cell| &cell.id);
    format!("version: 1\ndefault_tier: {default}\ntiers:\n{tiers}providers:\n{providers}")
}
