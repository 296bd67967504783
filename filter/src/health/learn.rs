//! Learn: what came of an attempt goes to where the next plans see it.
//!
//! Pure: the host keeps the table. A failure is written at once. A success is news only of a target whose last failure is not
//! forgotten: of any other it is counted in this worker alone, and written with this worker's next failure there, so that a rate of
//! errors is one of all requests and a healthy provider costs no write.

use std::time::Duration;

use super::budget::Budget;
use super::record::{Failure, Moment};
use super::rules::{Cooldown, millis};
use super::shared;
use super::signs::Sign;
use super::window::{Bucket, Window};
use super::{Change, Key, Millis, Standing};
use crate::http::{Action, Host};
use crate::telemetry::metrics::metric_name;

/// Targets whose successes a worker counts; policies change, and their targets with them.
const MAX_COUNTED: usize = 256;

/// What one worker keeps for itself.
#[derive(Debug, Default)]
pub struct Health {
    pub budget: Budget,
    /// By target: a few dozen, which are faster searched than hashed.
    counted: Vec<(Key, Successes)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Successes {
    window: Window,
    /// When the last of them was begun.
    begun: Millis,
}

/// An attempt, as far as health is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub key: Key,
    pub standing: Standing,
    pub started: Duration,
    pub cooldown: &'a Cooldown,
}

// === impl Health ===

impl Health {
    pub fn learn(&mut self, attempt: Attempt<'_>, sign: Sign, host: &dyn Host) -> Option<Change> {
        let Attempt {
            key,
            standing,
            started,
            cooldown,
        } = attempt;
        let begun = millis(started);
        match (sign, standing) {
            (Sign::Good, Standing::Healthy) => {
                self.count(key, begun, cooldown);
                None
            }
            (Sign::Nothing, Standing::Probe) => shared::change(host, |table| {
                table.get_mut(key)?.give_back();
                Some(None)
            })?,
            (Sign::Nothing, _) => None,
            (Sign::Good | Sign::Exhausted(_) | Sign::Bad(..), _) => {
                let now = shared::now(host);
                // A limit that is reached and reset already is no news.
                let sign = match sign {
                    Sign::Exhausted(when) if when.wait(now).is_none() => Sign::Good,
                    sign => sign,
                };
                let at = Moment {
                    now,
                    cooldown,
                    random: host.random(),
                };
                let counted = self.take_counted(key);
                shared::change(host, |table| {
                    table.forget(at.now, cooldown);
                    if sign == Sign::Good && table.get(key).is_none() {
                        return None;
                    }
                    Some(table.with(key, |record| {
                        if let Some(Successes { window, begun }) = counted {
                            record.add_successes(window, begun, at);
                        }
                        match sign {
                            Sign::Bad(kind, when) => {
                                let wait = when.and_then(|when| when.wait(at.now));
                                record.failed(Failure { kind, wait, begun }, standing, at)
                            }
                            Sign::Exhausted(when) => {
                                let wait = when.wait(at.now)?;
                                record.exhausted(wait, at)
                            }
                            Sign::Good | Sign::Nothing => record.succeeded(standing, begun, at),
                        }
                    }))
                })?
            }
        }
    }

    fn count(&mut self, key: Key, begun: Millis, cooldown: &Cooldown) {
        let width = Window::width(millis(cooldown.window));
        let mut counted = self.take_counted(key).unwrap_or_default();
        counted.window.add(Bucket::SUCCESS, begun, width);
        counted.begun = counted.begun.max(begun);
        if self.counted.len() >= MAX_COUNTED {
            self.counted.clear();
        }
        self.counted.push((key, counted));
    }

    fn take_counted(&mut self, key: Key) -> Option<Successes> {
        let at = self.counted.iter().position(|(other, _)| *other == key)?;
        Some(self.counted.swap_remove(at).1)
    }
}

// === impl Change ===

impl Change {
    /// For the metrics, and for whoever reads the log at night.
    pub fn told(self, provider: &str, model: &str) -> [Action; 2] {
        let (to, why, level, message) = match self {
            Change::Opened { why, wait } => {
                let (seconds, tenths) = (wait / 1000, wait / 100 % 10);
                let message = format!(
                    "provider {provider}, model {model}: {}; asked last for {seconds}.{tenths}s",
                    why.words()
                );
                ("open", why, log::Level::Warn, message)
            }
            Change::Closed { why } => {
                let message = format!("provider {provider}, model {model}: serves again");
                ("closed", why, log::Level::Info, message)
            }
        };
        let count = transition(provider, model, to, why.as_str());
        [count, Action::Log(level, message)]
    }
}

/// A circuit went to `open`, `half_open` or `closed`.
pub fn transition(provider: &str, model: &str, to: &str, why: &str) -> Action {
    let tags = [
        ("provider", provider),
        ("model", model),
        ("to", to),
        ("why", why),
    ];
    Action::Count(metric_name("pointsman_circuit_transitions_total", &tags), 1)
}
