//! `cooldown:` and `retry_budget:`.

use std::time::Duration;

use super::error::Errors;
use super::reader::At;
use crate::health::rules::{Cooldown, RetryBudget, Rules};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

const COOLDOWN: &[&str] = &[
    "enabled",
    "consecutive_failures",
    "error_rate",
    "min_requests",
    "window",
    "base",
    "max",
    "quota",
    "max_retry_after",
];

pub(super) fn rules(
    cooldown_at: Option<At<'_>>,
    budget_at: Option<At<'_>>,
    errors: &mut Errors,
) -> Rules {
    Rules {
        cooldown: match cooldown_at {
            Some(at) => cooldown(&at, errors),
            None => Some(Cooldown::default()),
        },
        retry_budget: budget_at
            .map(|at| retry_budget(&at, errors))
            .unwrap_or_default(),
    }
}

fn cooldown(at: &At<'_>, errors: &mut Errors) -> Option<Cooldown> {
    let fields = at.fields(COOLDOWN, errors)?;
    let mut read = Cooldown::default();
    for (name, number, most) in [
        ("consecutive_failures", &mut read.consecutive_failures, 100),
        ("min_requests", &mut read.min_requests, 10_000),
    ] {
        if let Some(given) = fields.get(name).and_then(|at| at.integer(1..=most, errors)) {
            *number = given;
        }
    }
    if let Some(rate) = fields
        .get("error_rate")
        .and_then(|at| at.number(0.01, 1.0, errors))
    {
        read.error_permille = (rate * 1000.0).round() as u32;
    }
    for (name, time, longest) in [
        ("window", &mut read.window, HOUR),
        ("base", &mut read.base, HOUR),
        ("max", &mut read.max, DAY),
        ("quota", &mut read.quota, DAY),
        ("max_retry_after", &mut read.max_retry_after, DAY),
    ] {
        if let Some(given) = fields.get(name).and_then(|at| at.duration(longest, errors)) {
            *time = given;
        }
    }
    if read.base > read.max {
        errors.push(&fields.path_of("base"), "must not be longer than max");
    }
    let is_on = fields.get("enabled").and_then(|at| at.bool(errors));
    is_on.unwrap_or(true).then_some(read)
}

fn retry_budget(at: &At<'_>, errors: &mut Errors) -> RetryBudget {
    let mut read = RetryBudget::default();
    let Some(fields) = at.fields(&["ratio", "min_per_second"], errors) else {
        return read;
    };
    if let Some(ratio) = fields
        .get("ratio")
        .and_then(|at| at.number(0.0, 1.0, errors))
    {
        read.permille = (ratio * 1000.0).round() as u32;
    }
    // Never none: a target that cooled down comes back by a probe.
    if let Some(least) = fields
        .get("min_per_second")
        .and_then(|at| at.integer(1..=1000, errors))
    {
        read.min_per_second = least;
    }
    read
}
