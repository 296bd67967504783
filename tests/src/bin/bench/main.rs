//! `make bench`: what the filter costs, next to a bare Envoy and to an empty filter in the same run.
//!
//! Envoys with one worker each, and one stand-in provider; within a round the Envoys take turns, in an order that changes
//! from round to round, and only samples of the same round are compared, because a shared machine drifts. CPU is that of
//! the Envoy process alone. A run in which any request failed is no measurement, and says so.

mod bare;
mod contestant;
mod envoy;
mod options;
mod provider;
mod report;
mod scenario;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pointsman_tests::envoy as served;
use pointsman_tests::render;
use tokio::signal::unix::{SignalKind, signal};

use contestant::{Contestant, contestants, order};
use options::{Command, HELP, Options};
use report::{Memory, Report, Series};
use scenario::{Scenario, scenarios, settled};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Of each Envoy under load. More would share their cores with the client and the provider, and the CPU of a request
/// would depend on that.
const WORKERS: u32 = 1;

/// What all Envoys are given.
#[derive(Debug)]
pub struct Setup {
    /// Configurations, logs and results: `target/bench`.
    pub dir: PathBuf,
    /// The repository.
    pub root: PathBuf,
    /// The Envoy binary.
    pub binary: PathBuf,
    pub provider_port: u16,
    /// The filter.
    pub ours: PathBuf,
    /// Built from `tests/floor`.
    pub floor: PathBuf,
    /// Another build of the filter.
    pub against: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match Command::parse(std::env::args().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("bench: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(report) if options.check && !report.passes() => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<Report> {
    if cfg!(debug_assertions) {
        eprintln!(
            "bench: built without --release: the load generator itself is slow, do not believe the numbers"
        );
    }
    let setup = Setup::new(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        // Ending early must still end the Envoys: their owners are dropped with the future.
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            report = bench(&setup, options) => report,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            _ = terminated.recv() => Err("terminated".into()),
        }
    })?;
    print!("{}", report.table());
    let results = setup.dir.join("results.json");
    std::fs::write(&results, format!("{:#}\n", report.json()))?;
    println!("written: {}", results.display());
    Ok(report)
}

async fn bench(setup: &Setup, options: &Options) -> Result<Report> {
    let contestants = contestants(options);
    let n = contestants.len();
    // Multiples of `n`: everyone is as often at each place.
    let (rounds, unit) = match options.quick {
        true => (n, Duration::from_millis(500)),
        false => (n * 3, Duration::from_millis(1000)),
    };
    let scenarios = scenarios(unit);
    let names: Vec<&str> = contestants.iter().map(|c| c.name()).collect();
    println!(
        "bench: {} in turns, {rounds} rounds of {} scenarios",
        names.join(", "),
        scenarios.len()
    );
    let mut envoys = Vec::new();
    for contestant in &contestants {
        envoys.push(contestant.start(setup, WORKERS).await?);
    }
    for envoy in &envoys {
        for scenario in scenarios {
            let time = unit / 2;
            Scenario { time, ..scenario }.measure(envoy).await?;
        }
    }
    let mut series: Vec<Series> = scenarios
        .iter()
        .map(|s| Series::new(s.name, s.stream))
        .collect();
    for round in 0..rounds {
        for (scenario, series) in scenarios.iter().zip(&mut series) {
            let mut samples = Vec::new();
            for who in order(round, n) {
                samples.push((who, scenario.measure(&envoys[who]).await?));
            }
            samples.sort_by_key(|(who, _)| *who);
            series.add(samples.into_iter().map(|(_, sample)| sample).collect());
        }
        println!("bench: round {} of {rounds} done", round + 1);
    }
    drop(envoys);
    let memory = memory(setup, options, &contestants).await?;
    let version = served::version(&setup.binary)?.to_string();
    Ok(Report {
        contestants: names,
        series,
        memory,
        version,
        workers: WORKERS,
        control: options.control,
        quick: options.quick,
        rounds,
    })
}

/// Resident memory after the same load, with 1 and with [`Memory::WORKERS`] workers.
async fn memory(
    setup: &Setup,
    options: &Options,
    contestants: &[Contestant],
) -> Result<Vec<Memory>> {
    let (repetitions, requests) = match options.quick {
        true => (1, 2_000),
        false => (3, 8_000),
    };
    let mut samples = Vec::new();
    for _ in 0..repetitions {
        let mut memory = Memory::default();
        for contestant in contestants {
            let one = contestant.start(setup, 1).await?;
            memory.one.push(settled(&one, requests).await?);
            drop(one);
            let many = contestant.start(setup, Memory::WORKERS).await?;
            memory.many.push(settled(&many, requests).await?);
        }
        samples.push(memory);
    }
    println!("bench: memory done");
    Ok(samples)
}

// === impl Setup ===

impl Setup {
    /// Finds all files and starts the provider.
    fn new(options: &Options) -> Result<Self> {
        let target = render::target()?;
        let setup = Self {
            dir: target.join("bench"),
            root: render::root(),
            binary: served::find()?,
            provider_port: provider::start()?,
            ours: render::wasm()?,
            floor: target.join("wasm32-wasip1/release/pointsman_floor.wasm"),
            against: options.against.clone(),
        };
        for wasm in [&setup.ours, &setup.floor]
            .into_iter()
            .chain(&setup.against)
        {
            if !wasm.is_file() {
                return Err(format!(
                    "{}: no such file; `make bench` builds the filter and the floor",
                    wasm.display()
                )
                .into());
            }
        }
        std::fs::create_dir_all(&setup.dir)?;
        Ok(setup)
    }
}
