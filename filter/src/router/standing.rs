//! Standing: the candidates in the order in which their health has them tried.
//!
//! Pure, given the table, the time, and who may probe. Nobody is dropped: what is left alone is tried last, since a request is lost
//! only when every target has failed. First those that serve, in the policy's order; then those whose time has come; then those
//! that another request tries; then those that are left alone, who comes back first first. Only where nobody that serves comes
//! before it does a target whose time has come keep its place: for one request, the probe, which the rest of the chain protects.

use super::candidates::{Skipped, Why};
use crate::health::record::Phase;
use crate::health::table::Table;
use crate::health::{Cooldown, Key, Kind, Millis, Standing};
use crate::policy::Target;

#[derive(Debug, Clone)]
pub struct Ordered<'p> {
    /// In the order in which they are tried.
    pub targets: Vec<&'p Target>,
    /// Of each; empty where all are healthy.
    pub standings: Vec<Standing>,
    /// Those that are tried last.
    pub cooling: Vec<Skipped<'p>>,
    /// Whom this request probes, and what was wrong.
    pub probe: Option<(&'p Target, Kind)>,
}

/// A place in the order: the smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Probe,
    Serves,
    Due,
    Probed,
    Open(Millis),
}

/// `claim`: takes the one place of a target's probe, if it is free and probes may be sent.
pub fn order<'p>(
    targets: Vec<&'p Target>,
    table: &Table,
    now: Millis,
    cooldown: &Cooldown,
    mut claim: impl FnMut(Key) -> bool,
) -> Ordered<'p> {
    let mut ordered = Ordered::healthy(targets);
    let mut serves = false;
    let mut placed: Vec<(Place, Standing, &Target)> = Vec::with_capacity(ordered.targets.len());
    for target in &ordered.targets {
        let key = Key::of(target);
        let record = table.get(key);
        let phase = record.map_or(Phase::Closed, |record| record.phase(now, cooldown));
        let standing = record.map_or(Standing::Healthy, |record| record.standing(now, cooldown));
        let place = match phase {
            Phase::Closed => Place::Serves,
            Phase::Due if !serves && ordered.probe.is_none() && claim(key) => {
                let why = record.map_or(Kind::Overload, |record| record.kind());
                ordered.probe = Some((*target, why));
                Place::Probe
            }
            Phase::Due => Place::Due,
            Phase::Probing => Place::Probed,
            Phase::Open { until } => Place::Open(until),
        };
        serves |= place == Place::Serves;
        let standing = match place {
            Place::Probe => Standing::Probe,
            _ => standing,
        };
        // Behind those of the same place.
        let at = placed.partition_point(|(other, ..)| *other <= place);
        placed.insert(at, (place, standing, *target));
    }
    let cooling = placed.iter().filter(|(place, ..)| *place > Place::Serves);
    ordered.cooling = cooling
        .map(|(.., target)| Skipped {
            target,
            why: Why::CoolingDown,
        })
        .collect();
    ordered.standings = placed.iter().map(|(_, standing, _)| *standing).collect();
    ordered.targets = placed.into_iter().map(|(.., target)| target).collect();
    ordered
}

// === impl Ordered ===

impl<'p> Ordered<'p> {
    /// As the policy has them.
    pub fn healthy(targets: Vec<&'p Target>) -> Self {
        Ordered {
            targets,
            standings: Vec::new(),
            cooling: Vec::new(),
            probe: None,
        }
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
