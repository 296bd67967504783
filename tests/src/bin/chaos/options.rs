//! What `chaos` was asked to do. Pure.

use pointsman_tests::chaos::run;

pub const HELP: &str = "chaos [--only PART] [--requests N] [--clients N] [--seed N] [--max-attempts X] [--brief]

Breaks providers on purpose behind a real Envoy with the filter, and counts what the clients get. Ends with 1 when a request
was lost. `make chaos CHAOS_ARGS='…'` builds all of it first.

  --only PART       cells whose name has this in it, such as HTTP/2/reset-mid-body/first/stream; `moving` measures a move alone,
                    `hostile` plays hostile clients alone, with the leak check
  --requests N      of each cell, after those that it learns from, 400 by default; and of the leak check, 100000 by default, which
                    has a tenth as many hostile clients before it
  --clients N       at once; 100 by default
  --seed N          decides where answers are cut and in which order cells come; 1 by default
  --max-attempts X  fail when a cell makes more upstream attempts per request than this after learning
  --brief           only the cells that fail, and the sums
  --help            this text

Read from the environment: ENVOY (the Envoy to run), WASM (the filter), CARGO_TARGET_DIR.";

#[derive(Debug)]
pub struct Options {
    pub run: run::Options,
    /// Part of a cell's name.
    pub only: String,
    pub brief: bool,
    /// Of the leak check.
    pub leak: u64,
}

#[derive(Debug)]
pub enum Command {
    Help,
    Run(Options),
}

impl Command {
    /// From the arguments after the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            run: run::Options::default(),
            only: String::new(),
            brief: false,
            leak: 100_000,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument}: which?"));
            match argument.as_str() {
                "--only" => options.only = value()?,
                "--requests" => {
                    options.run.requests = number(&argument, &value()?)?;
                    options.leak = options.run.requests;
                }
                "--clients" => options.run.clients = number(&argument, &value()?)?,
                "--seed" => options.run.seed = number(&argument, &value()?)?,
                "--max-attempts" => options.run.max_attempts = Some(number(&argument, &value()?)?),
                "--brief" => options.brief = true,
                "--help" | "-h" => return Ok(Self::Help),
                other => return Err(format!("{other}: no such option")),
            }
        }
        options.run.learning = 2 * options.run.clients as u64;
        Ok(Self::Run(options))
    }
}

fn number<T: std::str::FromStr>(argument: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{argument} {value}: not a number of its kind"))
}
