//! A run: the cells in groups, each group on an Envoy of its own, and a row of the table for each cell.

use std::time::{Duration, Instant};

use super::cell::{Cell, Promise};
use super::client::{Crowd, Tally};
use super::fault::Kind;
use super::gateway::Gateway;
use super::server::Http;

/// Cells that share an Envoy. A policy has 64 tiers at most.
const GROUP: usize = 60;

#[derive(Debug, Clone)]
pub struct Options {
    /// Requests of a cell after those that it learns from.
    pub requests: u64,
    /// Requests of a cell before its attempts are judged.
    pub learning: u64,
    pub clients: usize,
    pub seed: u64,
    /// Upstream attempts per request that are allowed once a cell has learned. `None`: not judged.
    pub max_attempts: Option<f64>,
}

/// What became of a cell.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub promise: Promise,
    pub tally: Tally,
    /// Those that were not dealt with as promised.
    pub lost: Vec<(String, u64)>,
    /// Attempts that met the fault.
    pub met: u64,
    /// Upstream attempts per request, while learning and after.
    pub attempts: (f64, f64),
    /// Why the cell fails besides what was lost.
    pub wrong: Option<String>,
    pub took: Duration,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            requests: 400,
            learning: 200,
            clients: 100,
            seed: 1,
            max_attempts: MAX_ATTEMPTS,
        }
    }
}

/// A target that failed is planned last: what is left of attempts in vain are probes.
pub const MAX_ATTEMPTS: Option<f64> = Some(1.2);

// === impl Row ===

impl Row {
    pub fn lost(&self) -> u64 {
        self.lost.iter().map(|(_, n)| n).sum()
    }

    pub fn fails(&self) -> bool {
        self.lost() > 0 || self.wrong.is_some()
    }
}

/// These cells over one HTTP version; each row is shown as soon as it is there.
pub async fn run(
    http: Http,
    cells: &[Cell],
    options: &Options,
    mut show: impl FnMut(&Row),
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for group in cells.chunks(GROUP) {
        let gateway = Gateway::of_cells(http, group, options.seed).await?;
        for cell in group {
            let row = one(&gateway, http, cell, options).await?;
            show(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The whole name of a cell, by which it can be chosen.
pub fn name(http: Http, cell: &Cell) -> String {
    format!("{}/{}", http.name(), cell.name())
}

async fn one(gateway: &Gateway, http: Http, cell: &Cell, options: &Options) -> Result<Row, String> {
    let begun = Instant::now();
    // Each of its requests takes as long as the route has patience: one wave of them shows all there is.
    let one_wave = cell.fault.stalls && cell.fault.kind == Kind::Released;
    let requests = if one_wave { 0 } else { options.requests };
    let crowd = |about: &str, requests| Crowd {
        port: gateway.envoy.port,
        clients: options.clients,
        requests,
        tier: cell.id.clone(),
        stream: cell.stream,
        impatient: cell.fault.stalls,
        about: format!("{} {about}", name(http, cell)),
    };
    let learning = if one_wave {
        options.clients as u64
    } else {
        options.learning
    };
    let before = gateway.attempts().await?;
    let mut tally = crowd("learning", learning).ask().await;
    let learned = gateway.attempts().await?;
    tally.add(crowd("learned", requests).ask().await);
    let after = gateway.attempts().await?;
    let mut row = Row {
        name: name(http, cell),
        promise: cell.promise,
        lost: cell.promise.lost(&tally),
        met: after.at(&cell.id).saturating_sub(before.at(&cell.id)),
        attempts: (
            learned.per_request(&before, learning),
            after.per_request(&learned, requests),
        ),
        wrong: None,
        took: begun.elapsed(),
        tally,
    };
    row.wrong = if cell.is_met() && row.met == 0 {
        Some("no request met the fault: the cell proves nothing".into())
    } else if row.tally.requests() != learning + requests {
        Some("not every request is accounted for".into())
    } else {
        too_many(&row, options)
    };
    Ok(row)
}

/// More upstream attempts per request than a tier with a healthy target may make once it has learned.
pub fn too_many(row: &Row, options: &Options) -> Option<String> {
    let (_, learned) = row.attempts;
    let limit = options.max_attempts?;
    let judged = row.promise == Promise::ANSWERED && learned > limit;
    judged.then(|| format!("{learned:.2} attempts per request after learning, allowed are {limit}"))
}
