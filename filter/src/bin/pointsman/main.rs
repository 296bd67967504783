//! The CLI over the filter's own code: what a policy says, before Envoy is asked.
//!
//! Reads files and writes text; it never opens a connection. Exit codes: 0 all is well; 1 the policy or the request has mistakes, or
//! a check failed; 2 the command was misused, or a file cannot be read.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod baselines;
mod check;
mod data;
mod document;
mod envoy_dir;
mod eval;
mod explain;
mod plot;
mod policy_file;
mod report;
mod source;
mod train;

#[derive(Debug, Parser)]
#[command(
    name = "pointsman",
    version,
    about = "AI request routing inside Envoy: what a policy says, before Envoy is asked",
    after_help = "Exit codes: 0 all is well; 1 the policy or the request has mistakes, or a check failed; 2 the command was misused, or a file cannot be read.",
    subcommand_required = true,
    arg_required_else_help = false
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate a policy as the filter would, and whether an Envoy's configuration has what it names
    Check(check::Args),
    /// Say how a request would be routed, and why
    Explain(explain::Args),
    /// Measure how well a policy decides labelled requests without asking anyone
    Eval(eval::Args),
    /// Learn the local model's weights from labelled requests
    Train(train::Args),
}

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// What is wrong with what was read, a line each.
    Mistakes(Vec<String>),
    /// Nothing could be said: one line, with what to do.
    Unusable(String),
    /// Standard output is closed, or full.
    Output(io::Error),
}

// === impl Failure ===

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl From<anyhow::Error> for Failure {
    /// With its causes, in one line.
    fn from(error: anyhow::Error) -> Self {
        Failure::Unusable(format!("{error:#}"))
    }
}

impl Failure {
    /// Tell it, as far as standard error takes it.
    fn tell(&self) -> ExitCode {
        let mut err = io::stderr().lock();
        match self {
            Failure::Mistakes(mistakes) => {
                for mistake in mistakes {
                    let _ = writeln!(err, "{mistake}");
                }
                ExitCode::from(1)
            }
            Failure::Unusable(message) => {
                let _ = writeln!(err, "pointsman: {message}");
                ExitCode::from(2)
            }
            // Whoever read it has enough.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Failure::Output(error) => {
                let _ = writeln!(err, "pointsman: the output cannot be written: {error}");
                ExitCode::from(2)
            }
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => return misused(&asked),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let done = match &cli.command {
        Command::Check(args) => check::run(args, &mut out),
        Command::Explain(args) => explain::run(args, &mut out),
        Command::Eval(args) => eval::run(args, &mut out),
        Command::Train(args) => train::run(args, &mut out),
    };
    let flushed = out.flush().map_err(Failure::Output);
    match done.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// Help and version are asked for; all else is a mistake, in one line.
fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody may be reading any more.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let message = text.split("\n\nUsage:").next().unwrap_or_default();
    let message = message.split("\n\nFor more").next().unwrap_or_default();
    let message = document::one_line(message.trim_start_matches("error: "));
    Failure::Unusable(format!("{message}; see pointsman --help")).tell()
}
