//! `make chaos`: every fault, at every place, asked for in both ways, over both HTTP versions; and what clients got of it.

mod options;

use std::process::ExitCode;

use pointsman_tests::chaos::run::{Options, Row, run};
use pointsman_tests::chaos::server::Http;
use pointsman_tests::chaos::table;
use tokio::signal::unix::{SignalKind, signal};

use options::{Command, HELP};

fn main() -> ExitCode {
    let (options, brief) = match Command::parse(std::env::args().skip(1)) {
        Ok(Command::Run { options, brief }) => (options, brief),
        Ok(Command::Help) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("chaos: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match start(&options, brief) {
        Ok(passes) if passes => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(2)
        }
    }
}

fn start(options: &Options, brief: bool) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        // Ending early must still end the Envoys: their owners are dropped with the future.
        let mut terminated = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
        tokio::select! {
            passes = all(options, brief) => passes,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            _ = terminated.recv() => Err("terminated".into()),
        }
    })
}

/// Whether everything went as promised.
async fn all(options: &Options, brief: bool) -> Result<bool, String> {
    println!("seed {}\n{}", options.seed, table::HEAD);
    let show = |row: &Row| {
        if !brief || row.fails() {
            println!("{}", table::row(row));
        }
    };
    let mut rows = Vec::new();
    for http in [Http::One, Http::Two] {
        rows.extend(run(http, options, show).await?);
    }
    print!("{}", table::totals(&rows, options.seed));
    if rows.is_empty() {
        return Err(format!("no cell has {:?} in its name", options.only));
    }
    Ok(!rows.iter().any(Row::fails))
}
