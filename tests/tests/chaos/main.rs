//! The chaos suite in its short form: every fault once over each HTTP version, and what an operator does meanwhile.
//! `make chaos` plays all of it.

mod judged;

use pointsman_tests::chaos::cell::{Cell, Place, Promise, cells};
use pointsman_tests::chaos::live;
use pointsman_tests::chaos::moving::Pair;
use pointsman_tests::chaos::run::{Options, Row, run};
use pointsman_tests::chaos::server::Http;
use pointsman_tests::chaos::table;

fn options() -> Options {
    Options {
        requests: 50,
        learning: 100,
        ..Options::default()
    }
}

fn all_kept(rows: &[Row]) {
    let shown: Vec<String> = rows.iter().map(table::row).collect();
    println!("{}\n{}", table::HEAD, shown.join("\n"));
    let failed: Vec<&String> = rows
        .iter()
        .zip(&shown)
        .filter_map(|(row, shown)| row.fails().then_some(shown))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(!rows.is_empty());
    assert!(rows.iter().map(|row| row.tally.answered).sum::<u64>() > 0);
}

/// Each fault as the first target, streamed over one HTTP version and one-shot over the other; some in the middle.
fn chosen(http: Http) -> Vec<Cell> {
    let streams = http == Http::One;
    let mut cells = cells(Options::default().seed);
    cells.retain(|cell| match cell.place {
        Place::First => cell.stream == streams,
        Place::Middle => cell.stream != streams && in_the_middle(cell.fault.name),
        Place::Alone => cell.stream == streams && cell.fault.name.starts_with("reset"),
        Place::Last => cell.fault.name == "refused",
    });
    cells
}

/// One of each kind.
fn in_the_middle(fault: &str) -> bool {
    [
        "refused",
        "no-host",
        "reset-mid-body",
        "status-529",
        "empty",
        "error-first",
    ]
    .contains(&fault)
}

async fn loses_nothing(http: Http) {
    let rows = run(http, &chosen(http), &options(), |_| {}).await;
    all_kept(&rows.expect("a run"));
}

#[tokio::test]
async fn nothing_is_lost_over_http1() {
    loses_nothing(Http::One).await;
}

#[tokio::test]
async fn nothing_is_lost_over_http2() {
    loses_nothing(Http::Two).await;
}

#[tokio::test]
async fn nothing_is_lost_while_policy_and_keys_change() {
    let picked = |name: &str| name.contains("4-workers") && !name.contains("no-change");
    let rows = live::run(Http::One, &options(), picked, |_| {}).await;
    let rows = rows.expect("a run");
    assert_eq!(rows.len(), 4);
    all_kept(&rows);
}

/// A suite that cannot fail proves nothing.
#[tokio::test]
async fn what_nobody_answers_is_counted_as_lost() {
    let mut cells = cells(1);
    cells.retain(|cell| {
        let name = cell.fault.name;
        cell.place == Place::Alone && (name == "empty" || name == "end-mid-stream")
    });
    assert_eq!(cells.len(), 3);
    for cell in &mut cells {
        cell.promise = Promise::ANSWERED;
    }
    let rows = run(Http::One, &cells, &options(), |_| {}).await;
    for row in rows.expect("a run") {
        assert_eq!((row.tally.answered, row.lost()), (0, 150), "{}", row.name);
        assert!(row.fails());
    }
}

/// Measured by `make chaos`; here it must be possible at all, in a build that is not for measuring.
#[tokio::test]
async fn a_bare_envoy_moves_on_too() {
    let pair = Pair::start().await.expect("two gateways");
    let round = pair.round(20).await.expect("a round");
    println!("{}", round.line());
    // The slowest move of each took longer than what did not have to move.
    assert!(!round.bare.p99.is_zero() && !round.ours.p99.is_zero());
}
