//! A run: the cells in groups, each group on an Envoy of its own, and a row of the table for each cell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::cell::{Cell, Promise, cells};
use super::client::{Crowd, Tally};
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
    /// Part of a cell's name.
    pub only: String,
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
            only: String::new(),
            seed: 1,
            max_attempts: MAX_ATTEMPTS,
        }
    }
}

/// Off until targets that fail are planned last: then `Some(1.2)`.
pub const MAX_ATTEMPTS: Option<f64> = None;

// === impl Row ===

impl Row {
    pub fn lost(&self) -> u64 {
        self.lost.iter().map(|(_, n)| n).sum()
    }

    pub fn fails(&self) -> bool {
        self.lost() > 0 || self.wrong.is_some()
    }
}

/// All cells of one HTTP version; each row is shown as soon as it is there.
pub async fn run(
    http: Http,
    options: &Options,
    mut show: impl FnMut(&Row),
) -> Result<Vec<Row>, String> {
    let mut all = cells("", options.seed);
    all.retain(|cell| name(http, cell).contains(&options.only));
    let mut rows = Vec::new();
    for group in all.chunks(GROUP) {
        let gateway = Gateway::start(http, group, options.seed, 1).await?;
        for cell in group {
            let row = one(&gateway, http, cell, options).await?;
            show(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

fn name(http: Http, cell: &Cell) -> String {
    format!("{}/{}", http.name(), cell.name())
}

async fn one(gateway: &Gateway, http: Http, cell: &Cell, options: &Options) -> Result<Row, String> {
    let begun = Instant::now();
    let crowd = |about: &str, requests| Crowd {
        port: gateway.envoy.port,
        clients: options.clients,
        requests,
        tier: cell.id.clone(),
        stream: cell.stream,
        about: format!("{} {about}", name(http, cell)),
    };
    let before = gateway.attempts().await?;
    let mut tally = crowd("learning", options.learning).ask().await;
    let learned = gateway.attempts().await?;
    tally.add(crowd("learned", options.requests).ask().await);
    let after = gateway.attempts().await?;
    let per_request = |from: &BTreeMap<String, u64>, to: &BTreeMap<String, u64>, requests: u64| {
        let sum = |of: &BTreeMap<String, u64>| of.values().sum::<u64>();
        sum(to).saturating_sub(sum(from)) as f64 / requests.max(1) as f64
    };
    let of_fault = |of: &BTreeMap<String, u64>| of.get(&cell.id).copied().unwrap_or_default();
    let attempts = (
        per_request(&before, &learned, options.learning),
        per_request(&learned, &after, options.requests),
    );
    let mut row = Row {
        name: name(http, cell),
        promise: cell.promise(),
        lost: cell.lost(&tally),
        tally,
        met: of_fault(&after).saturating_sub(of_fault(&before)),
        attempts,
        wrong: None,
        took: begun.elapsed(),
    };
    row.wrong = wrong(cell, &row, options);
    Ok(row)
}

fn wrong(cell: &Cell, row: &Row, options: &Options) -> Option<String> {
    if cell.is_met() && row.met == 0 {
        return Some("no request met the fault: the cell proves nothing".into());
    }
    if row.tally.requests() != options.learning + options.requests {
        return Some("not every request is accounted for".into());
    }
    let (_, after) = row.attempts;
    let limit = options
        .max_attempts
        .filter(|_| row.promise == Promise::Answered);
    limit
        .filter(|limit| after > *limit)
        .map(|limit| format!("{after:.2} attempts per request after learning, allowed are {limit}"))
}
