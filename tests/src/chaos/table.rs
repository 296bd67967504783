//! The table that `make chaos` prints. Pure.

use std::fmt::Write;

use super::run::Row;

pub const HEAD: &str = "cell                                             requests answered refused broken   lost    met  attempts per request   time
                                                                                                learning / learned";

pub fn row(row: &Row) -> String {
    let (learning, learned) = row.attempts;
    let mut line = format!(
        "{:48} {:8} {:8} {:7} {:6} {:6} {:6}     {learning:6.2} / {learned:4.2}     {:5.1}s",
        row.name,
        row.tally.requests(),
        row.tally.answered,
        row.tally.refusals(),
        row.tally.broken,
        row.lost(),
        row.met,
        row.took.as_secs_f64(),
    );
    for (why, n) in &row.lost {
        let _ = write!(line, "\n    LOST {n}: {why}");
    }
    if let Some(why) = &row.wrong {
        let _ = write!(line, "\n    FAILED: {why}");
    }
    line
}

/// The sums, and how to see a failure again.
pub fn totals(rows: &[Row], seed: u64) -> String {
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    let mut text = format!(
        "{} cells: {} requests, {} answered, {} refused as they must be, {} broken off where it shows, {} lost\n",
        rows.len(),
        sum(|row| row.tally.requests()),
        sum(|row| row.tally.answered),
        sum(|row| row.tally.refusals()),
        sum(|row| row.tally.broken),
        sum(Row::lost),
    );
    for row in rows.iter().filter(|row| row.fails()) {
        let _ = writeln!(
            text,
            "FAILED {}; again: make chaos CHAOS_ARGS='--seed {seed} --only {}'",
            row.name, row.name
        );
    }
    text
}
