//! `make bench`: what the filter costs, next to a bare Envoy and to an empty filter in the same run.
//!
//! Envoys with one worker each, and one stand-in provider; within a round the Envoys take turns, in an order that changes
//! from round to round, and only samples of the same round are compared, because a shared machine drifts. CPU is that of
//! the Envoy process alone. A run in which any request failed is no measurement, and says so.

mod bare;
mod contestant;
mod decision;
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
use pointsman_tests::until::done_or_told;

use contestant::{Contestant, contestants, order, start_without_local};
use decision::By;
use envoy::Envoy;
use options::{Command, HELP, Options};
use report::{Decision, Memory, Pair, Report, Series};
use scenario::{Scenario, request, scenarios, settled};

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
    let report = done_or_told(bench(&setup, options))?;
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
    let ours = contestants.iter().position(|c| *c == Contestant::Ours);
    let ours = ours.and_then(|at| envoys.get(at));
    let mut decisions = Vec::new();
    for round in 0..rounds {
        for (scenario, series) in scenarios.iter().zip(&mut series) {
            let mut samples = Vec::new();
            for who in order(round, n) {
                samples.push((who, scenario.measure(&envoys[who]).await?));
            }
            samples.sort_by_key(|(who, _)| *who);
            series.add(samples.into_iter().map(|(_, sample)| sample).collect());
        }
        if let Some(envoy) = ours {
            decisions.push(decided(envoy, round, unit * 2).await?);
        }
        println!("bench: round {} of {rounds} done", round + 1);
    }
    let is_ours = ours.is_some();
    drop(envoys);
    let memory = memory(setup, options, &contestants).await?;
    let decision = match is_ours {
        true => Some(Decision {
            rounds: decisions,
            native: decision::natively()?,
            memory: memory_of_local(setup, options).await?,
        }),
        false => None,
    };
    let version = served::version(&setup.binary)?.to_string();
    Ok(Report {
        contestants: names,
        series,
        memory,
        decision,
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
    let (repetitions, requests) = memory_load(options);
    let mut samples = Vec::new();
    for _ in 0..repetitions {
        let mut memory = Memory::default();
        for contestant in contestants {
            let one = contestant.start(setup, 1).await?;
            memory
                .one
                .push(settled(&one, requests, request(false)).await?);
            drop(one);
            let many = contestant.start(setup, Memory::WORKERS).await?;
            memory
                .many
                .push(settled(&many, requests, request(false)).await?);
        }
        samples.push(memory);
    }
    println!("bench: memory done");
    Ok(samples)
}

/// Both ways of a round; which comes first changes.
async fn decided(envoy: &Envoy, round: usize, time: Duration) -> Result<Pair> {
    let (mut named, mut local) = (None, None);
    let order = match round % 2 {
        0 => [By::Name, By::Local],
        _ => [By::Local, By::Name],
    };
    for by in order {
        let sample = decision::measure(envoy, by, time).await?;
        match by {
            By::Name => named = Some(sample),
            By::Local => local = Some(sample),
        }
    }
    let pair = named.zip(local).map(|(named, local)| Pair { named, local });
    pair.ok_or_else(|| "a round without both ways".into())
}

/// The same for the filter without the local model's step, whose requests name their tier, and with it, whose do not.
async fn memory_of_local(setup: &Setup, options: &Options) -> Result<Vec<Memory>> {
    let (repetitions, requests) = memory_load(options);
    let mut samples = Vec::new();
    for _ in 0..repetitions {
        let mut memory = Memory::default();
        for workers in [1, Memory::WORKERS] {
            let column = if workers == 1 {
                &mut memory.one
            } else {
                &mut memory.many
            };
            let without = start_without_local(setup, workers).await?;
            column.push(settled(&without, requests, decision::request(By::Name)).await?);
            drop(without);
            let with = Contestant::Ours.start(setup, workers).await?;
            column.push(settled(&with, requests, decision::request(By::Local)).await?);
        }
        samples.push(memory);
    }
    println!("bench: memory of the local model done");
    Ok(samples)
}

/// How often memory is measured, and after how many requests.
fn memory_load(options: &Options) -> (usize, u64) {
    match options.quick {
        true => (1, 2_000),
        false => (3, 8_000),
    }
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
