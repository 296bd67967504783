//! The report as tables, on a terminal and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::spread::{Short, Spread};
use super::{BARE, FLOOR, JUDGED, Report, Sample, Series};

const LABEL: usize = 34;
const MEDIAN: usize = 9;
const RANGE: usize = 17;

#[derive(Debug)]
pub struct Section {
    pub title: String,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
}

/// One number of every column; none where it would say nothing.
#[derive(Debug)]
struct Row {
    what: &'static str,
    unit: &'static str,
    /// Whether the range is shown besides the median.
    ranged: bool,
    cells: Vec<Option<Spread>>,
}

// === impl Series ===

impl Series {
    pub(super) fn ratio_to_bare(&self, who: usize) -> Spread {
        self.ratio(who, BARE, |s| s.per_second)
    }

    fn rows(&self, n: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut add = |what, unit, first: usize, ranged, cell: &dyn Fn(usize) -> Spread| {
            let cells = (0..n).map(|who| (who >= first).then(|| cell(who)));
            rows.push(Row {
                what,
                unit,
                ranged,
                cells: cells.collect(),
            });
        };
        let value = |of: fn(&Sample) -> f64| move |who| self.of(who, of);
        let added = |of: fn(&Sample) -> f64| move |who| self.added(who, of);
        let floors = |of: fn(&Sample) -> f64| move |who| self.in_floors(who, of);
        // How many streams there are in a second is the provider's pace.
        if !self.stream {
            add("throughput", "/s", BARE, false, &value(|s| s.per_second));
            let ratio = |who| self.ratio_to_bare(who);
            add("throughput, ratio to bare", "x", FLOOR, true, &ratio);
        }
        let cpu = Sample::cpu_per_request;
        add("CPU per request", "us", BARE, false, &value(cpu));
        add("CPU per request, added", "us", FLOOR, true, &added(cpu));
        add(
            "CPU per request, added / floor's",
            "x",
            FLOOR,
            true,
            &floors(cpu),
        );
        if self.stream {
            let cpu = Sample::cpu_per_event;
            add("CPU per event", "us", BARE, false, &value(cpu));
            add("CPU per event, added", "us", FLOOR, true, &added(cpu));
            add(
                "CPU per event, added / floor's",
                "x",
                FLOOR,
                true,
                &floors(cpu),
            );
            let first: fn(&Sample) -> f64 = |s| s.first_event;
            add("first event p50", "us", BARE, false, &value(first));
            add("first event p50, added", "us", FLOOR, true, &added(first));
            let coalesced = value(|s| s.events / s.pieces);
            add("events per chunk seen", "", BARE, false, &coalesced);
        }
        add("p50", "us", BARE, false, &value(|s| s.p50));
        add("p50, added", "us", FLOOR, true, &added(|s| s.p50));
        add("p99", "us", BARE, false, &value(|s| s.p99));
        add("p99, added", "us", FLOOR, true, &added(|s| s.p99));
        rows
    }
}

// === impl Report ===

impl Report {
    /// A table per scenario, memory, and the judged next to the other build if there is one.
    pub(super) fn sections(&self) -> Vec<Section> {
        let n = self.contestants.len();
        let scenarios = self.series.iter().map(|series| Section {
            title: series.name.to_owned(),
            columns: self.contestants.clone(),
            rows: series.rows(n),
        });
        let mut sections: Vec<Section> = scenarios.collect();
        sections.push(self.memory_section());
        let others = (JUDGED + 1)..n;
        sections.extend(others.map(|other| self.next_to(other)));
        sections
    }

    fn memory_section(&self) -> Section {
        let row = |what, ranged, first: usize, cell: &dyn Fn(usize) -> Spread| Row {
            what,
            unit: "MiB",
            ranged,
            cells: (0..self.contestants.len())
                .map(|who| (who >= first).then(|| cell(who)))
                .collect(),
        };
        let rows = vec![
            row("resident, 1 worker", false, BARE, &|who| {
                self.resident(who, |m| &m.one)
            }),
            row("resident, 1 worker, added", true, FLOOR, &|who| {
                self.added_at_one(who)
            }),
            row("resident, 4 workers", false, BARE, &|who| {
                self.resident(who, |m| &m.many)
            }),
            row("added per worker", true, FLOOR, &|who| {
                self.added_per_worker(who)
            }),
        ];
        Section {
            title: "memory".to_owned(),
            columns: self.contestants.clone(),
            rows,
        }
    }

    /// What the judged one costs more than `other`, round by round, scenarios as columns.
    fn next_to(&self, other: usize) -> Section {
        let row = |what, unit, of: &dyn Fn(&Series) -> Option<Spread>| Row {
            what,
            unit,
            ranged: true,
            cells: self.series.iter().map(of).collect(),
        };
        let less = |of: fn(&Sample) -> f64| {
            move |series: &Series| Some(series.difference(JUDGED, other, of))
        };
        let rows = vec![
            row("throughput, ratio", "x", &|series| {
                (!series.stream).then(|| series.ratio(JUDGED, other, |s| s.per_second))
            }),
            row(
                "CPU per request, difference",
                "us",
                &less(Sample::cpu_per_request),
            ),
            row("CPU per event, difference", "us", &|series| {
                series
                    .stream
                    .then(|| series.difference(JUDGED, other, Sample::cpu_per_event))
            }),
            row("p50, difference", "us", &less(|s| s.p50)),
            row("p99, difference", "us", &less(|s| s.p99)),
        ];
        let name = |who: usize| self.contestants.get(who).copied().unwrap_or_default();
        Section {
            title: format!("{} next to {}", name(JUDGED), name(other)),
            columns: self.series.iter().map(|series| series.name).collect(),
            rows,
        }
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        let form = if self.quick { ", quick form" } else { "" };
        let _ = writeln!(
            out,
            "\nEnvoy {}, workers: {}, request body 1 KiB; medians (min..max) of {} rounds{form}",
            self.version, self.workers, self.rounds
        );
        if self.control {
            let _ = writeln!(
                out,
                "CONTROL RUN: \"control\" is a second bare Envoy; what it adds is noise"
            );
        }
        for section in self.sections() {
            section.write(&mut out);
        }
        if self.decision.is_some() {
            let _ = writeln!(
                out,
                "\na decision by the local model, 1,000 characters, c=32"
            );
        }
        out.push_str(&self.decision_lines());
        let _ = writeln!(out, "\n{}", self.verdict_lines());
        out
    }
}

// === impl Section ===

impl Section {
    fn write(&self, out: &mut String) {
        let mut line = format!("{:<width$}", self.title, width = LABEL + 4);
        for column in &self.columns {
            let _ = write!(line, " {column:>MEDIAN$} {:RANGE$}", "");
        }
        let _ = writeln!(out, "\n{}", line.trim_end());
        for row in &self.rows {
            let _ = writeln!(out, "{}", row.line());
        }
    }

    pub(super) fn json(&self) -> Value {
        let row = |row: &Row| {
            let cells = self.columns.iter().zip(&row.cells);
            let mut entry: serde_json::Map<String, Value> = cells
                .filter_map(|(column, cell)| Some(((*column).to_owned(), cell.as_ref()?.json())))
                .collect();
            entry.insert("unit".to_owned(), json!(row.unit));
            (row.what.to_owned(), Value::Object(entry))
        };
        self.rows.iter().map(row).collect()
    }
}

// === impl Row ===

impl Row {
    fn line(&self) -> String {
        let mut line = format!("  {:<LABEL$}{:<2}", self.what, self.unit);
        for cell in &self.cells {
            let (median, range) = match cell {
                Some(spread) if self.ranged => (Short(spread.median).to_string(), spread.range()),
                Some(spread) => (Short(spread.median).to_string(), String::new()),
                None => ("-".to_owned(), String::new()),
            };
            let _ = write!(line, " {median:>MEDIAN$} {range:<RANGE$}");
        }
        line.trim_end().to_owned()
    }
}
