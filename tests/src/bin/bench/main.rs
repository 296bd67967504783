//! `make bench`: what the filter costs, next to a bare Envoy in the same run.
//!
//! Two Envoys with one worker each, and one stand-in provider; the rounds alternate between the Envoys (A B, B A, …)
//! and only neighbours are compared, because a shared machine drifts. CPU is that of the Envoy process alone. A run in
//! which any request failed is no measurement, and says so.

mod bare;
mod envoy;
mod ours;
mod provider;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use pointsman_tests::client::chat_request;
use pointsman_tests::envoy as served;
use pointsman_tests::load::{Load, Until};
use pointsman_tests::render;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use envoy::Envoy;
use report::{Memory, Report, Sample, Series};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HELP: &str = "bench [--quick] [--check] [--control]
  --quick    fewer and shorter rounds: a look, not a measurement
  --check    exit 1 if a threshold is missed
  --control  bare against bare: what the machine's noise looks like";

/// Of each Envoy under load. More would share their cores with the client and the provider, and the CPU of a request
/// would depend on that.
const WORKERS: u32 = 1;

#[derive(Debug, Clone, Copy)]
struct Options {
    quick: bool,
    check: bool,
    control: bool,
}

/// What one kind of request is measured with.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    connections: usize,
    stream: bool,
    /// Per Envoy and round.
    time: Duration,
}

/// What both Envoys are given.
#[derive(Debug)]
pub struct Setup {
    /// Configurations, logs and results: `target/bench`.
    pub dir: PathBuf,
    /// The repository.
    pub root: PathBuf,
    /// The Envoy binary.
    pub binary: PathBuf,
    pub provider_port: u16,
}

fn main() -> ExitCode {
    let mut options = Options {
        quick: false,
        check: false,
        control: false,
    };
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--check" => options.check = true,
            "--control" => options.control = true,
            _ => {
                eprintln!("{HELP}");
                return ExitCode::from(2);
            }
        }
    }
    match run(options) {
        Ok(report) if options.check && !report.passes() => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: Options) -> Result<Report> {
    if cfg!(debug_assertions) {
        eprintln!(
            "bench: built without --release: the load generator itself is slow, do not believe the numbers"
        );
    }
    let root = render::root();
    let setup = Setup {
        dir: root.join("target/bench"),
        binary: served::find()?,
        root,
        provider_port: provider::start()?,
    };
    std::fs::create_dir_all(&setup.dir)?;
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

async fn bench(setup: &Setup, options: Options) -> Result<Report> {
    let (rounds, unit) = if options.quick { (3, 500) } else { (9, 1000) };
    let scenarios = [
        Scenario {
            name: "one-shot, c=1",
            connections: 1,
            stream: false,
            time: Duration::from_millis(unit),
        },
        Scenario {
            name: "one-shot, c=32",
            connections: 32,
            stream: false,
            time: Duration::from_millis(unit * 2),
        },
        Scenario {
            name: "stream, c=1",
            connections: 1,
            stream: true,
            time: Duration::from_millis(unit),
        },
        Scenario {
            name: "stream, c=8",
            connections: 8,
            stream: true,
            time: Duration::from_millis(unit * 2),
        },
    ];
    println!(
        "bench: {rounds} rounds of {} scenarios, alternating",
        scenarios.len()
    );
    let bare = bare::start_bare(setup, "bare", WORKERS).await?;
    let ours = start_second(setup, options, WORKERS).await?;
    for envoy in [&bare, &ours] {
        for scenario in scenarios {
            measure(
                envoy,
                Scenario {
                    time: Duration::from_millis(unit / 2),
                    ..scenario
                },
            )
            .await?;
        }
    }
    let mut series: Vec<Series> = scenarios
        .iter()
        .map(|s| Series::new(s.name, s.stream))
        .collect();
    for round in 0..rounds {
        for (scenario, series) in scenarios.into_iter().zip(&mut series) {
            let (a, b) = if round % 2 == 0 {
                let a = measure(&bare, scenario).await?;
                (a, measure(&ours, scenario).await?)
            } else {
                let b = measure(&ours, scenario).await?;
                (measure(&bare, scenario).await?, b)
            };
            series.add(a, b);
        }
        println!("bench: round {} of {rounds} done", round + 1);
    }
    drop((bare, ours));
    let memory = memory(setup, options).await?;
    let version = served::version(&setup.binary)?.to_string();
    Ok(Report {
        series,
        memory,
        version,
        workers: WORKERS,
        control: options.control,
        quick: options.quick,
        rounds,
    })
}

/// Ours; in a control run a second bare Envoy takes its place.
async fn start_second(setup: &Setup, options: Options, concurrency: u32) -> Result<Envoy> {
    match options.control {
        true => bare::start_bare(setup, "control", concurrency).await,
        false => ours::start_ours(setup, concurrency).await,
    }
}

/// One Envoy under one scenario's load.
async fn measure(envoy: &Envoy, scenario: Scenario) -> Result<Sample> {
    let load = Load::new(
        envoy.port,
        scenario.connections,
        Until::Time(scenario.time),
        request(scenario.stream),
    );
    let before = envoy.cpu()?;
    let outcome = load.drive().await;
    let cpu = envoy.cpu()?.saturating_sub(before);
    if !outcome.is_clean() || outcome.ok() == 0 || (scenario.stream && outcome.done != outcome.ok())
    {
        let log = envoy.log_tail();
        return Err(format!(
            "{} {}: not every answer was good: {}\n{log}",
            envoy.name,
            scenario.name,
            outcome.summary()
        )
        .into());
    }
    Ok(Sample::new(&outcome, cpu))
}

/// 1 KiB of request body.
fn request(stream: bool) -> Bytes {
    let ask = |padding: usize| {
        json!({
            "model": "auto", "stream": stream,
            "messages": [{"role": "user", "content": format!("Summarize this. {}", "word ".repeat(205))[..padding]}],
        })
    };
    let padding = 1024 - ask(0).to_string().len();
    chat_request(&[("x-llm-policy", "fast")], &ask(padding))
}

/// Resident memory after the same load, with 1 and with 4 workers.
async fn memory(setup: &Setup, options: Options) -> Result<Vec<Memory>> {
    let mut samples = Vec::new();
    for _ in 0..if options.quick { 1 } else { 3 } {
        let mut rss = [[0; 2]; 2];
        for (rss, workers) in rss.iter_mut().zip([1, Memory::WORKERS]) {
            let bare = bare::start_bare(setup, "bare", WORKERS).await?;
            rss[0] = settled(&bare, options).await?;
            drop(bare);
            let ours = start_second(setup, options, workers).await?;
            rss[1] = settled(&ours, options).await?;
        }
        let [[bare_1, ours_1], [bare_n, ours_n]] = rss;
        samples.push(Memory {
            bare_1,
            ours_1,
            bare_n,
            ours_n,
        });
    }
    println!("bench: memory done");
    Ok(samples)
}

async fn settled(envoy: &Envoy, options: Options) -> Result<u64> {
    let requests = if options.quick { 2_000 } else { 8_000 };
    let outcome = Load::new(envoy.port, 64, Until::Requests(requests), request(false))
        .drive()
        .await;
    if !outcome.is_clean() {
        return Err(format!(
            "{}: not every answer was good: {}",
            envoy.name,
            outcome.summary()
        )
        .into());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(envoy.resident()?)
}
