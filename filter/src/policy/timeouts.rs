//! `timeouts:` of the policy, and of a tier that overrides it.

use std::time::Duration;

use super::Timeouts;
use super::error::Errors;
use super::reader::{At, Fields};

pub(super) const DEFAULT_TIMEOUTS: Timeouts = Timeouts {
    first_token: Duration::from_secs(15),
    one_shot: Duration::from_secs(120),
    first_token_total: Duration::from_secs(45),
    one_shot_total: Duration::from_secs(360),
};

const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
const MAX_TOTAL: Duration = Duration::from_secs(3 * 3600);

/// How many times an attempt's timeout all attempts together get, if nobody says.
const TRIES: u32 = 3;

/// A timeout: 10 ms to an hour.
pub(super) fn timeout(at: &At<'_>, errors: &mut Errors) -> Option<Duration> {
    at.duration(MAX_TIMEOUT, errors)
}

/// `defaults` hold for what is not given.
pub(super) fn timeouts(at: &At<'_>, defaults: Timeouts, errors: &mut Errors) -> Timeouts {
    const FIELDS: &[&str] = &[
        "first_token",
        "one_shot",
        "first_token_total",
        "one_shot_total",
    ];
    let Some(fields) = at.fields(FIELDS, errors) else {
        return defaults;
    };
    let stream = (defaults.first_token, defaults.first_token_total);
    let (first_token, first_token_total) = pair(
        &fields,
        ["first_token", "first_token_total"],
        stream,
        errors,
    );
    let whole = (defaults.one_shot, defaults.one_shot_total);
    let (one_shot, one_shot_total) = pair(&fields, ["one_shot", "one_shot_total"], whole, errors);
    Timeouts {
        first_token,
        one_shot,
        first_token_total,
        one_shot_total,
    }
}

/// One attempt's, and that of all together. Who gives the first and not the second wants it to fit the first.
fn pair(
    fields: &Fields<'_>,
    [one, all]: [&str; 2],
    defaults: (Duration, Duration),
    errors: &mut Errors,
) -> (Duration, Duration) {
    let given = fields.get(one).and_then(|at| timeout(&at, errors));
    let attempt = given.unwrap_or(defaults.0);
    let Some(at) = fields.get(all) else {
        let fitting = given.map(|attempt| attempt.saturating_mul(TRIES));
        return (attempt, fitting.unwrap_or(defaults.1));
    };
    let total = at.duration(MAX_TOTAL, errors);
    if total.is_some_and(|total| total < attempt) {
        let place = match given {
            Some(_) => fields.path_of(one),
            None => format!("timeouts.{one}"),
        };
        errors.push(
            &at.path,
            format!(
                "is for all attempts together: must be at least the {} ms of {place}, which is for one",
                attempt.as_millis()
            ),
        );
    }
    (attempt, total.unwrap_or(attempt))
}
