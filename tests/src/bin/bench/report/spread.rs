//! A number over the rounds.

use std::fmt;

use serde_json::{Value, json};

/// Shows as `median (min..max)`, three digits each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// Three digits of a number, and all of those before the point.
#[derive(Debug, Clone, Copy)]
pub struct Short(pub f64);

// === impl Spread ===

impl Spread {
    /// Of nothing: not a number.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
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

    /// The range alone.
    pub fn range(&self) -> String {
        format!("({}..{})", Short(self.min), Short(self.max))
    }

    /// What is not finite is null.
    pub fn json(&self) -> Value {
        json!({"median": self.median, "min": self.min, "max": self.max})
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Short(self.median), self.range())
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.abs() {
            n if n >= 99.95 => 0,
            n if n >= 9.995 => 1,
            _ => 2,
        };
        f.pad(&format!("{:.digits$}", self.0))
    }
}
