//! Report: how good decisions are, counted from judged samples; as a table for people and as one JSON object for tools.
//!
//! Right is the sample's tier, or the one that would do as well. Tiers have an order, the weakest first: too weak a tier is
//! *under-routing*, too strong a one over-routing.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

/// One sample, and what was made of it.
#[derive(Debug, Clone)]
pub struct Judged {
    pub source: String,
    /// Indices into the report's tiers.
    pub tier: usize,
    pub also: Option<usize>,
    pub guess: usize,
    pub confidence: f32,
    /// Sure enough to decide; else handed over to the next step.
    pub is_decided: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub all: Part,
    /// Mean of the tiers' recalls.
    pub balanced_accuracy: f64,
    pub by_source: BTreeMap<String, Part>,
    /// In the tiers' order.
    pub by_tier: Vec<Tier>,
    pub calibration: Vec<Bin>,
    /// Mean distance of confidence and accuracy over the bins, weighted by their size.
    pub calibration_error: f64,
    /// Row: the sample's tier; column: the guess.
    pub confusion: Vec<Vec<usize>>,
    pub curve: Vec<Point>,
    /// Only if asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<Baseline>,
}

/// What needs no model, and decides everything.
#[derive(Debug, Serialize)]
pub struct Baseline {
    pub baseline: &'static str,
    pub balanced_accuracy: f64,
    #[serde(flatten)]
    pub part: Part,
}

/// Shares are from 0 to 1; `null` where there is nothing to take a share of.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub n: usize,
    /// Of all samples, decided or not: by the best guess.
    pub accuracy: Option<f64>,
    /// The share that is not handed over.
    pub decided: Option<f64>,
    pub decided_accuracy: Option<f64>,
    /// Of the decided.
    pub under_routed: Option<f64>,
    pub over_routed: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct Tier {
    pub tier: String,
    /// Of the samples of this tier, how many are guessed right.
    pub recall: Option<f64>,
    #[serde(flatten)]
    pub part: Part,
}

/// The samples whose confidence is in a tenth.
#[derive(Debug, Serialize)]
pub struct Bin {
    pub from: f64,
    pub to: f64,
    pub n: usize,
    pub confidence: Option<f64>,
    pub accuracy: Option<f64>,
}

/// What a least confidence would do.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Point {
    pub min_confidence: f64,
    /// The share handed over.
    pub handed_over: f64,
    /// Of the rest.
    pub decided_accuracy: Option<f64>,
}

// === impl Judged ===

impl Judged {
    pub fn is_right(&self) -> bool {
        self.guess == self.tier || Some(self.guess) == self.also
    }
}

// === impl Report ===

impl Report {
    pub fn new(tiers: &[String], judged: &[Judged]) -> Self {
        let all: Vec<&Judged> = judged.iter().collect();
        let mut sources: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
        for one in judged {
            sources.entry(&one.source).or_default().push(one);
        }
        let by_tier: Vec<Tier> = tiers
            .iter()
            .enumerate()
            .map(|(index, tier)| {
                let of = judged
                    .iter()
                    .filter(|j| j.tier == index)
                    .collect::<Vec<_>>();
                Tier {
                    tier: tier.clone(),
                    recall: share(&of, |j| j.is_right()),
                    part: Part::of(&of),
                }
            })
            .collect();
        let recalls: Vec<f64> = by_tier.iter().filter_map(|t| t.recall).collect();
        let calibration: Vec<Bin> = (0..10).map(|tenth| Bin::of(&all, tenth)).collect();
        let off = calibration
            .iter()
            .filter_map(|bin| Some((bin.confidence? - bin.accuracy?).abs() * bin.n as f64));
        let mut confusion = vec![vec![0; tiers.len()]; tiers.len()];
        for one in judged {
            confusion[one.tier][one.guess] += 1;
        }
        Report {
            all: Part::of(&all),
            balanced_accuracy: recalls.iter().sum::<f64>() / recalls.len().max(1) as f64,
            by_source: sources
                .iter()
                .map(|(s, of)| ((*s).to_owned(), Part::of(of)))
                .collect(),
            by_tier,
            calibration_error: off.sum::<f64>() / judged.len().max(1) as f64,
            calibration,
            confusion,
            curve: (0..=100)
                .map(|percent| Point::at(&all, f64::from(percent) / 100.0))
                .collect(),
            baselines: Vec::new(),
        }
    }

    /// The same samples, as a baseline judges them.
    pub fn add_baseline(&mut self, name: &'static str, judged: &[Judged]) {
        let tiers: Vec<String> = self.by_tier.iter().map(|t| t.tier.clone()).collect();
        let report = Report::new(&tiers, judged);
        self.baselines.push(Baseline {
            baseline: name,
            balanced_accuracy: report.balanced_accuracy,
            part: report.all,
        });
    }

    pub fn to_table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{:<26} {}", "", Part::HEADER);
        let mut row = |name: &str, part: &Part| {
            let _ = writeln!(out, "{name:<26} {}", part.row());
        };
        row("all", &self.all);
        for (source, part) in &self.by_source {
            // A terminal must not obey what the data says.
            let visible = |c: char| if c.is_control() { ' ' } else { c };
            row(&source.chars().map(visible).collect::<String>(), part);
        }
        let percent =
            |share: Option<f64>| share.map_or("–".to_owned(), |s| format!("{:.1} %", s * 100.0));
        let _ = writeln!(
            out,
            "\nbalanced accuracy {}, calibration error {}",
            percent(Some(self.balanced_accuracy)),
            percent(Some(self.calibration_error))
        );
        let width = self
            .by_tier
            .iter()
            .map(|t| t.tier.chars().count())
            .max()
            .unwrap_or(0)
            .max(9);
        let _ = write!(
            out,
            "\n{:<width$} {:>7} {:>7}   guessed as",
            "tier", "n", "recall"
        );
        for tier in &self.by_tier {
            let _ = write!(out, " {:>width$}", tier.tier);
        }
        out.push('\n');
        for (tier, row) in self.by_tier.iter().zip(&self.confusion) {
            let _ = write!(
                out,
                "{:<width$} {:>7} {:>7}             ",
                tier.tier,
                tier.part.n,
                percent(tier.recall)
            );
            for count in row {
                let _ = write!(out, " {count:>width$}");
            }
            out.push('\n');
        }
        let _ = writeln!(out, "\nconfidence        n   mean    right");
        for bin in self.calibration.iter().filter(|bin| bin.n > 0) {
            let _ = writeln!(
                out,
                "{:.1} to {:.1} {:>9} {:>6} {:>8}",
                bin.from,
                bin.to,
                bin.n,
                bin.confidence.map_or(String::new(), |c| format!("{c:.2}")),
                percent(bin.accuracy)
            );
        }
        let _ = writeln!(out, "\nleast confidence   handed over   rest right");
        for point in self
            .curve
            .iter()
            .filter(|p| [0.0, 0.5, 0.6, 0.7, 0.8, 0.9].contains(&p.min_confidence))
        {
            let _ = writeln!(
                out,
                "{:>16.1} {:>13} {:>12}",
                point.min_confidence,
                percent(Some(point.handed_over)),
                percent(point.decided_accuracy)
            );
        }
        if !self.baselines.is_empty() {
            out.push_str("\nbaselines, which decide everything\n");
        }
        for Baseline {
            baseline,
            balanced_accuracy,
            part,
        } in &self.baselines
        {
            let balanced = percent(Some(*balanced_accuracy));
            let row = part.row();
            let _ = writeln!(out, "{baseline:<26} {row}   balanced accuracy {balanced}");
        }
        out
    }
}

// === impl Part ===

impl Part {
    pub const HEADER: &'static str = "      n  accuracy   decided     right     under      over";

    fn of(judged: &[&Judged]) -> Self {
        let decided: Vec<&Judged> = judged.iter().filter(|j| j.is_decided).copied().collect();
        Part {
            n: judged.len(),
            accuracy: share(judged, |j| j.is_right()),
            decided: share(judged, |j| j.is_decided),
            decided_accuracy: share(&decided, |j| j.is_right()),
            under_routed: share(&decided, |j| !j.is_right() && j.guess < j.tier),
            over_routed: share(&decided, |j| !j.is_right() && j.guess > j.tier),
        }
    }

    pub fn row(&self) -> String {
        let percent =
            |share: Option<f64>| share.map_or("–".to_owned(), |s| format!("{:.1} %", s * 100.0));
        format!(
            "{:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
            self.n,
            percent(self.accuracy),
            percent(self.decided),
            percent(self.decided_accuracy),
            percent(self.under_routed),
            percent(self.over_routed)
        )
    }
}

// === impl Bin ===

impl Bin {
    fn of(judged: &[&Judged], tenth: u32) -> Self {
        let (from, to) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
        // In the confidence's own precision: 0.9 is in the last tenth.
        let is_in = |j: &&&Judged| (j.confidence * 10.0).floor().min(9.0) == tenth as f32;
        let within: Vec<&Judged> = judged.iter().filter(is_in).copied().collect();
        let sum: f64 = within.iter().map(|j| f64::from(j.confidence)).sum();
        Bin {
            from,
            to,
            n: within.len(),
            confidence: (!within.is_empty()).then(|| sum / within.len() as f64),
            accuracy: share(&within, |j| j.is_right()),
        }
    }
}

// === impl Point ===

impl Point {
    fn at(judged: &[&Judged], min_confidence: f64) -> Self {
        let is_sure = |j: &Judged| j.confidence >= min_confidence as f32;
        let sure: Vec<&Judged> = judged.iter().filter(|j| is_sure(j)).copied().collect();
        Point {
            min_confidence,
            handed_over: 1.0 - share(judged, is_sure).unwrap_or(0.0),
            decided_accuracy: share(&sure, |j| j.is_right()),
        }
    }
}

fn share(of: &[&Judged], is: impl Fn(&Judged) -> bool) -> Option<f64> {
    let count = of.iter().filter(|j| is(j)).count();
    (!of.is_empty()).then(|| count as f64 / of.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(
        tier: usize,
        also: Option<usize>,
        guess: usize,
        confidence: f32,
        is_decided: bool,
    ) -> Judged {
        Judged {
            source: if tier == 0 { "a" } else { "b" }.to_owned(),
            tier,
            also,
            guess,
            confidence,
            is_decided,
        }
    }

    #[test]
    fn counts() {
        let tiers = ["fast", "slow", "slower"].map(str::to_owned);
        let report = Report::new(
            &tiers,
            &[
                judged(0, None, 0, 0.9, true),
                judged(0, Some(1), 1, 0.8, true),
                judged(1, None, 0, 0.95, true),
                judged(1, None, 2, 0.72, true),
                judged(2, None, 2, 0.5, false),
            ],
        );
        let all = &report.all;
        assert_eq!(
            (all.n, all.accuracy, all.decided),
            (5, Some(0.6), Some(0.8))
        );
        assert_eq!(all.decided_accuracy, Some(0.5));
        assert_eq!(
            (all.under_routed, all.over_routed),
            (Some(0.25), Some(0.25))
        );
        assert_eq!(report.balanced_accuracy, (1.0 + 0.0 + 1.0) / 3.0);
        assert_eq!(report.by_source["a"].accuracy, Some(1.0));
        assert_eq!(report.by_source["b"].decided_accuracy, Some(0.0));
        assert_eq!(report.confusion, [[1, 1, 0], [1, 0, 1], [0, 0, 1]]);
        assert_eq!(report.calibration[9].n, 2);
        assert_eq!(report.calibration[9].accuracy, Some(0.5));
        assert_eq!(report.curve[0].handed_over, 0.0);
        assert_eq!(report.curve[80].decided_accuracy, Some(2.0 / 3.0));
        assert_eq!(report.curve[100].decided_accuracy, None);
        let json = serde_json::to_value(&report).unwrap();
        for field in [
            "n",
            "accuracy",
            "balanced_accuracy",
            "decided",
            "decided_accuracy",
            "under_routed",
            "over_routed",
            "by_source",
            "by_tier",
            "calibration",
        ] {
            assert!(!json[field].is_null(), "{field}");
        }
    }
}
