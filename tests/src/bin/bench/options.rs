//! What `bench` was asked to do. Pure.

use std::path::PathBuf;

pub const HELP: &str = "bench [--quick] [--check] [--control] [--against FILE.wasm]

Measures what the filter costs: a bare Envoy, one with two empty Wasm roles (the floor) and one with the filter (ours),
in turns within every round. `make bench BENCH_ARGS='…'` builds all of it first.

  --quick         fewer and shorter rounds: a look, not a measurement
  --check         exit 1 if a threshold is missed
  --control       a second bare Envoy in place of ours: what the machine's noise looks like
  --against FILE  one contestant more: another build of the filter, for example of the commit before a change
  --help          this text

Read from the environment: ENVOY (the Envoy to run), WASM (the filter that is `ours`), CARGO_TARGET_DIR.";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub quick: bool,
    pub check: bool,
    pub control: bool,
    pub against: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    Run(Options),
}

// === impl Command ===

impl Command {
    /// From the arguments after the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Options::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--check" => options.check = true,
                "--control" => options.control = true,
                "--help" | "-h" => return Ok(Self::Help),
                "--against" => {
                    let file = arguments.next().filter(|file| !file.starts_with("--"));
                    options.against = Some(file.ok_or("--against: which file?")?.into());
                }
                other => match other.strip_prefix("--against=") {
                    Some(file) if !file.is_empty() => options.against = Some(file.into()),
                    _ => return Err(format!("{other}: no such option")),
                },
            }
        }
        Ok(Self::Run(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_arguments() {
        let run = |options| Ok(Command::Run(options));
        let against = Options {
            against: Some("old.wasm".into()),
            ..Options::default()
        };
        let all = Options {
            quick: true,
            check: true,
            control: true,
            ..against.clone()
        };
        for (line, expected) in [
            ("", run(Options::default())),
            ("--against old.wasm", run(against.clone())),
            ("--against=old.wasm", run(against)),
            ("--quick --check --control --against old.wasm", run(all)),
            ("--quick --help", Ok(Command::Help)),
            ("--against", Err("--against: which file?".into())),
            ("--against --quick", Err("--against: which file?".into())),
            ("--against=", Err("--against=: no such option".into())),
            ("--fast", Err("--fast: no such option".into())),
        ] {
            let arguments = line.split_whitespace().map(str::to_owned);
            assert_eq!(Command::parse(arguments), expected, "{line}");
        }
    }
}
