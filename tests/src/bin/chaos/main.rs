//! `make chaos`: every fault, at every place, asked for in both ways, over both HTTP versions; and what clients got of it.

mod hostile;
mod options;

use std::process::ExitCode;

use pointsman_tests::chaos::cell::cells;
use pointsman_tests::chaos::moving::{LIMIT, Pair};
use pointsman_tests::chaos::run::{self, Row};
use pointsman_tests::chaos::server::Http;
use pointsman_tests::chaos::{live, table};
use pointsman_tests::until::done_or_told;

use options::{Command, HELP, Options};

fn main() -> ExitCode {
    let options = match Command::parse(std::env::args().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("chaos: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done_or_told(all(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything went as promised.
async fn all(options: &Options) -> Result<bool, String> {
    let picked = |name: &str| name.contains(&options.only);
    let show = |row: &Row| {
        if !options.brief || row.fails() {
            println!("{}", table::row(row));
        }
    };
    println!("seed {}\n{}", options.run.seed, table::HEAD);
    let mut rows = Vec::new();
    for http in [Http::One, Http::Two] {
        let mut cells = cells(options.run.seed);
        cells.retain(|cell| picked(&run::name(http, cell)));
        rows.extend(run::run(http, &cells, &options.run, show).await?);
        rows.extend(live::run(http, &options.run, picked, show).await?);
    }
    print!("{}", table::totals(&rows, options.run.seed));
    let is_quick = match picked(MOVING) {
        true => moves_quickly().await?,
        false => true,
    };
    let is_clean = match picked(hostile::NAME) {
        true => hostile::leaves_no_mark(options).await?,
        false => true,
    };
    if rows.is_empty() && !picked(MOVING) && !picked(hostile::NAME) {
        return Err(format!("no cell has {:?} in its name", options.only));
    }
    Ok(is_quick && is_clean && !rows.iter().any(Row::fails))
}

/// What `--only` names the measurement of a move by.
const MOVING: &str = "moving";
const ROUNDS: usize = 3;
/// Of each kind in a round.
const REQUESTS: usize = 500;

/// A round that passes is enough: a machine that does something else at the time makes a round slow, never quick.
async fn moves_quickly() -> Result<bool, String> {
    let pair = Pair::start().await?;
    // Caches, connections, and what compiles late.
    pair.round(REQUESTS / 5).await?;
    for _ in 0..ROUNDS {
        let round = pair.round(REQUESTS).await?;
        println!("{}", round.line());
        if round.passes() {
            return Ok(true);
        }
    }
    println!(
        "FAILED {MOVING}: ours takes more than {LIMIT:?} at p99 in the best of {ROUNDS} rounds"
    );
    Ok(false)
}
