//! What was measured, compared, and judged. Pure.

use std::fmt::Write;
use std::time::Duration;

use pointsman_tests::load::Outcome;
use serde_json::{Value, json};

/// One Envoy, one scenario, one round.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    requests: f64,
    events: f64,
    pieces: f64,
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Median microseconds to the first event; zero for one-shot answers.
    first_event: f64,
    /// Microseconds of CPU.
    cpu: f64,
}

impl Sample {
    pub fn new(outcome: &Outcome, cpu: Duration) -> Self {
        Self {
            requests: outcome.ok() as f64,
            events: outcome.events as f64,
            pieces: outcome.pieces as f64,
            per_second: outcome.per_second(),
            p50: outcome.p50() as f64,
            p99: outcome.p99() as f64,
            first_event: outcome.first_event.value_at_quantile(0.5) as f64,
            cpu: cpu.as_secs_f64() * 1e6,
        }
    }
}

/// A scenario's rounds: neighbours in time, bare first.
#[derive(Debug)]
pub struct Series {
    name: &'static str,
    stream: bool,
    rounds: Vec<(Sample, Sample)>,
}

/// Resident bytes after the same load.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub bare_1: u64,
    pub ours_1: u64,
    /// With [`Memory::WORKERS`] workers.
    pub bare_n: u64,
    pub ours_n: u64,
}

#[derive(Debug)]
pub struct Report {
    pub series: Vec<Series>,
    pub memory: Vec<Memory>,
    pub version: String,
    /// Of each Envoy that serves load.
    pub workers: u32,
    pub control: bool,
    pub quick: bool,
    pub rounds: usize,
}

/// A number over the rounds.
#[derive(Debug, Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// A promise and whether it is kept; the median decides.
struct Verdict {
    what: &'static str,
    limit: String,
    value: f64,
    pass: bool,
}

// === impl Series ===

impl Series {
    pub fn new(name: &'static str, stream: bool) -> Self {
        Self {
            name,
            stream,
            rounds: Vec::new(),
        }
    }

    pub fn add(&mut self, bare: Sample, ours: Sample) {
        self.rounds.push((bare, ours));
    }

    fn over(&self, of: impl Fn(&Sample, &Sample) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|(bare, ours)| of(bare, ours)))
    }

    fn throughput_ratio(&self) -> Spread {
        self.over(|bare, ours| ours.per_second / bare.per_second)
    }

    fn added_cpu_per_request(&self) -> Spread {
        self.over(|bare, ours| ours.cpu / ours.requests - bare.cpu / bare.requests)
    }

    /// The whole added CPU of streams by their events: the request's own share is in it.
    fn added_cpu_per_event(&self) -> Spread {
        self.over(|bare, ours| ours.cpu / ours.events - bare.cpu / bare.events)
    }

    /// Names, units and numbers, in the order of the table.
    fn lines(&self) -> Vec<(&'static str, &'static str, Spread)> {
        let mut lines = Vec::new();
        if !self.stream {
            lines.push(("throughput, ours / bare", "x", self.throughput_ratio()));
            lines.push((
                "throughput, bare",
                "/s",
                self.over(|bare, _| bare.per_second),
            ));
            lines.push((
                "throughput, ours",
                "/s",
                self.over(|_, ours| ours.per_second),
            ));
        }
        lines.push(("added CPU per request", "us", self.added_cpu_per_request()));
        lines.push((
            "CPU per request, bare",
            "us",
            self.over(|bare, _| bare.cpu / bare.requests),
        ));
        lines.push((
            "CPU per request, ours",
            "us",
            self.over(|_, ours| ours.cpu / ours.requests),
        ));
        if self.stream {
            lines.push(("added CPU per event", "us", self.added_cpu_per_event()));
            lines.push((
                "CPU per event, bare",
                "us",
                self.over(|bare, _| bare.cpu / bare.events),
            ));
            lines.push((
                "added p50 of first event",
                "us",
                self.over(|bare, ours| ours.first_event - bare.first_event),
            ));
            lines.push((
                "events per chunk seen, bare",
                "",
                self.over(|bare, _| bare.events / bare.pieces),
            ));
            lines.push((
                "events per chunk seen, ours",
                "",
                self.over(|_, ours| ours.events / ours.pieces),
            ));
        }
        lines.push((
            "added p50",
            "us",
            self.over(|bare, ours| ours.p50 - bare.p50),
        ));
        lines.push((
            "added p99",
            "us",
            self.over(|bare, ours| ours.p99 - bare.p99),
        ));
        lines.push(("p50, bare", "us", self.over(|bare, _| bare.p50)));
        lines.push(("p99, bare", "us", self.over(|bare, _| bare.p99)));
        lines
    }
}

// === impl Memory ===

const MIB: f64 = 1_048_576.0;

impl Memory {
    /// How many workers the larger Envoys have.
    pub const WORKERS: u32 = 4;

    /// What a worker more adds to ours beyond what it adds to the bare one, in MiB.
    fn per_worker(&self) -> f64 {
        let growth =
            |one: u64, n: u64| (n as f64 - one as f64) / f64::from(Self::WORKERS - 1) / MIB;
        growth(self.ours_1, self.ours_n) - growth(self.bare_1, self.bare_n)
    }
}

// === impl Report ===

impl Report {
    pub fn passes(&self) -> bool {
        self.verdicts().iter().all(|verdict| verdict.pass)
    }

    fn series(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let at_least = |what, value: f64, limit: f64| Verdict {
            what,
            limit: format!(">= {limit}"),
            value,
            pass: value >= limit,
        };
        let at_most = |what, value: f64, limit: f64| Verdict {
            what,
            limit: format!("<= {limit}"),
            value,
            pass: value <= limit,
        };
        let mut verdicts = Vec::new();
        if let Some(series) = self.series("one-shot, c=32") {
            verdicts.push(at_least(
                "throughput ratio at c=32",
                series.throughput_ratio().median,
                0.65,
            ));
            verdicts.push(at_most(
                "added CPU us per request",
                series.added_cpu_per_request().median,
                60.0,
            ));
        }
        if let Some(series) = self.series("stream, c=8") {
            verdicts.push(at_most(
                "added CPU us per event",
                series.added_cpu_per_event().median,
                5.0,
            ));
        }
        verdicts.push(at_most(
            "added MiB per worker",
            self.per_worker().median,
            16.0,
        ));
        verdicts
    }

    fn per_worker(&self) -> Spread {
        Spread::of(self.memory.iter().map(Memory::per_worker))
    }

    fn memory_lines(&self) -> Vec<(&'static str, &'static str, Spread)> {
        let of = |bytes: fn(&Memory) -> u64| {
            Spread::of(self.memory.iter().map(|m| bytes(m) as f64 / MIB))
        };
        vec![
            ("added per worker", "MiB", self.per_worker()),
            ("resident, bare, 1 worker", "MiB", of(|m| m.bare_1)),
            ("resident, ours, 1 worker", "MiB", of(|m| m.ours_1)),
            ("resident, bare, 4 workers", "MiB", of(|m| m.bare_n)),
            ("resident, ours, 4 workers", "MiB", of(|m| m.ours_n)),
        ]
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        let form = if self.quick { ", quick form" } else { "" };
        let _ = writeln!(
            out,
            "\nEnvoy {}, {} workers, request body 1 KiB; median (min..max) of {} rounds{form}",
            self.version, self.workers, self.rounds
        );
        if self.control {
            let _ = writeln!(
                out,
                "CONTROL RUN: \"ours\" is a second bare Envoy; every difference is noise"
            );
        }
        let sections = self
            .series
            .iter()
            .map(|series| (series.name, series.lines()));
        for (name, lines) in sections.chain([("memory", self.memory_lines())]) {
            let _ = writeln!(out, "\n{name}");
            for (what, unit, spread) in lines {
                let Spread { median, min, max } = spread;
                let _ = writeln!(
                    out,
                    "  {what:<28} {median:>10.2} {unit:<3}  ({min:.2}..{max:.2})"
                );
            }
        }
        let _ = writeln!(out);
        for verdict in self.verdicts() {
            let word = if verdict.pass { "PASS" } else { "FAIL" };
            let _ = writeln!(
                out,
                "{word}  {:<26} {:>8.2}  {}",
                verdict.what, verdict.value, verdict.limit
            );
        }
        out.push('\n');
        out
    }

    pub fn json(&self) -> Value {
        let section = |lines: Vec<(&str, &str, Spread)>| -> Value {
            let entry = |(what, unit, s): (&str, &str, Spread)| {
                (
                    what.to_owned(),
                    json!({"unit": unit, "median": s.median, "min": s.min, "max": s.max}),
                )
            };
            lines.into_iter().map(entry).collect()
        };
        let mut scenarios: serde_json::Map<String, Value> = self
            .series
            .iter()
            .map(|series| (series.name.to_owned(), section(series.lines())))
            .collect();
        scenarios.insert("memory".to_owned(), section(self.memory_lines()));
        let verdict = |v: Verdict| json!({"what": v.what, "value": v.value, "limit": v.limit, "pass": v.pass});
        json!({
            "envoy": self.version,
            "workers": self.workers,
            "control": self.control,
            "quick": self.quick,
            "rounds": self.rounds,
            "measured": scenarios,
            "verdicts": self.verdicts().into_iter().map(verdict).collect::<Vec<_>>(),
        })
    }
}

// === impl Spread ===

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |n: usize| values.get(n).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Self {
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            min: at(0),
            max: at(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(per_second: f64, cpu: f64) -> Sample {
        Sample {
            requests: 100.0,
            events: 1000.0,
            pieces: 1000.0,
            per_second,
            p50: 1.0,
            p99: 2.0,
            first_event: 0.0,
            cpu,
        }
    }

    fn check(values: &[f64], expected: (f64, f64, f64)) {
        let spread = Spread::of(values.iter().copied());
        assert_eq!(
            (spread.median, spread.min, spread.max),
            expected,
            "{values:?}"
        );
    }

    #[test]
    fn takes_medians() {
        check(&[3.0], (3.0, 3.0, 3.0));
        check(&[9.0, 1.0, 2.0], (2.0, 1.0, 9.0));
        check(&[4.0, 1.0, 2.0, 9.0], (3.0, 1.0, 9.0));
    }

    /// Ours against thresholds: (throughput of ours, CPU of ours, bytes of 4 workers of ours).
    #[test]
    fn judges_by_the_thresholds() {
        for (per_second, cpu, ours_n, expected) in [
            (700.0, 6_000.0, 130 << 20, "true true true true"),
            (600.0, 6_000.0, 130 << 20, "false true true true"),
            (700.0, 8_000.0, 130 << 20, "true false false true"),
            (700.0, 6_000.0, 180 << 20, "true true true false"),
        ] {
            let series =
                [("one-shot, c=32", false), ("stream, c=8", true)].map(|(name, stream)| {
                    let mut series = Series::new(name, stream);
                    series.add(sample(1000.0, 1_000.0), sample(per_second, cpu));
                    series
                });
            let memory = Memory {
                bare_1: 50 << 20,
                ours_1: 80 << 20,
                bare_n: 60 << 20,
                ours_n,
            };
            let report = Report {
                series: series.into(),
                memory: vec![memory],
                version: String::new(),
                workers: 1,
                control: false,
                quick: true,
                rounds: 1,
            };
            let got: Vec<String> = report
                .verdicts()
                .iter()
                .map(|v| v.pass.to_string())
                .collect();
            assert_eq!(got.join(" "), expected, "{}", report.table());
            assert_eq!(report.passes(), !expected.contains("false"));
        }
    }

    #[test]
    fn a_run_without_numbers_does_not_pass() {
        let report = Report {
            series: vec![],
            memory: vec![],
            version: String::new(),
            workers: 1,
            control: false,
            quick: true,
            rounds: 0,
        };
        assert!(!report.passes());
    }
}
