//! Record: one target's circuit. Closed while it serves, open while it is left alone, due when its time has come.
//!
//! Pure. News of an attempt is weighed by what was known when it was planned: what was sent before a circuit opened neither
//! lengthens its wait nor closes it.

use std::time::Duration;

use super::rules::{Cooldown, millis};
use super::window::{Bucket, Window};
use super::{Change, Key, Kind, Millis, Standing};

/// A record is forgotten when its target had no failure for so many windows: until then a circuit that opens again waits longer.
const REMEMBERED: Millis = 10;

/// A clock that is further ahead than this was wrong.
const AHEAD: Millis = 24 * 3600 * 1000;

/// A wait that a provider asks for is exceeded by at most this.
const LATE: Millis = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub key: Key,
    /// Of the last failure.
    pub(super) kind: Kind,
    pub(super) in_a_row: u8,
    /// How often it opened since it was last forgotten: the exponent of the next wait.
    pub(super) opened: u8,
    pub(super) failed_at: Millis,
    /// When the attempts of the row were begun, the last of them. A success of one that was begun before says nothing of now; of one
    /// begun later it ends the row, though it was begun before that attempt had failed: under load, failures come in bursts.
    pub(super) row_begun: Millis,
    /// 0: closed.
    pub(super) open_until: Millis,
    /// Until when a probe that is out may take; 0: none is out.
    pub(super) probe_until: Millis,
    pub(super) window: Window,
}

/// Where a circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Closed,
    Open {
        until: Millis,
    },
    /// Its time has come, and nobody tries yet.
    Due,
    /// Another request tries.
    Probing,
}

/// When news came.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    pub now: Millis,
    pub cooldown: &'a Cooldown,
    /// For the jitter.
    pub random: u64,
}

/// An attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub kind: Kind,
    /// For how long the provider asks to be left alone.
    pub wait: Option<Millis>,
    /// When the attempt was.
    pub begun: Millis,
}

// === impl Moment ===

impl Moment<'_> {
    fn width(&self) -> Millis {
        Window::width(millis(self.cooldown.window))
    }

    /// A fifth more or less, so that the workers of many gateways do not come back at once.
    fn around(&self, wait: Millis) -> Millis {
        let fifth = wait.checked_div(5).unwrap_or_default();
        let span = fifth.saturating_mul(2).saturating_add(1);
        let shift = self.random.checked_rem(span).unwrap_or_default();
        wait.saturating_sub(fifth).saturating_add(shift)
    }

    /// What a provider asked for, and never less.
    fn at_least(&self, wait: Millis) -> Millis {
        let most = wait.checked_div(20).unwrap_or_default().min(LATE);
        let span = most.saturating_add(1);
        wait.saturating_add(self.random.checked_rem(span).unwrap_or_default())
    }
}

// === impl Record ===

impl Record {
    pub fn new(key: Key) -> Self {
        Record {
            key,
            kind: Kind::Overload,
            in_a_row: 0,
            opened: 0,
            failed_at: 0,
            row_begun: 0,
            open_until: 0,
            probe_until: 0,
            window: Window::default(),
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn phase(&self, now: Millis, cooldown: &Cooldown) -> Phase {
        let is_ahead = |until: Millis, longest: Millis| {
            until
                .checked_sub(now)
                .is_some_and(|left| left > 0 && left <= longest)
        };
        if self.open_until == 0 {
            Phase::Closed
        } else if is_ahead(self.open_until, cooldown.longest()) {
            Phase::Open {
                until: self.open_until,
            }
        } else if is_ahead(self.probe_until, AHEAD) {
            Phase::Probing
        } else {
            Phase::Due
        }
    }

    /// What a plan says of it.
    pub fn standing(&self, now: Millis, cooldown: &Cooldown) -> Standing {
        match self.phase(now, cooldown) {
            Phase::Closed if self.in_a_row == 0 => Standing::Healthy,
            Phase::Closed => Standing::Shaky,
            Phase::Open { .. } | Phase::Due | Phase::Probing => Standing::Open,
        }
    }

    /// Whether nothing would change without it.
    pub fn is_forgotten(&self, now: Millis, cooldown: &Cooldown) -> bool {
        let memory = millis(cooldown.window).saturating_mul(REMEMBERED);
        let since = match self.open_until {
            0 => self.failed_at,
            until => until.max(self.failed_at).max(self.probe_until),
        };
        match now.checked_sub(since) {
            Some(passed) => passed >= memory,
            None => since.saturating_sub(now) > AHEAD,
        }
    }

    /// Which of two is the one to keep: that which is not closed, then that which failed last.
    pub fn worth(&self) -> (bool, Millis) {
        (self.open_until != 0, self.failed_at)
    }

    /// What another worker counted of successes, the last one begun at this time.
    pub fn add_successes(&mut self, window: Window, begun: Millis, at: Moment<'_>) {
        self.window.merge(window, at.now, at.width());
        self.ends_a_row(begun);
    }

    pub fn failed(&mut self, failure: Failure, seen: Standing, at: Moment<'_>) -> Option<Change> {
        let phase = self.phase(at.now, at.cooldown);
        self.window.add(Bucket::FAILURE, at.now, at.width());
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.failed_at = at.now;
        self.row_begun = failure.begun.max(self.row_begun);
        let is_told = opens_at_once(failure);
        let opens = match phase {
            Phase::Closed => is_told || self.is_too_much(at),
            // It was asked for want of a better one, or before it opened. Only what the provider asks for is news.
            Phase::Open { until } => {
                let asked = failure.wait.map(|wait| bounded(wait, at.cooldown));
                let later = asked.map(|wait| at.now.saturating_add(at.at_least(wait)));
                self.open_until = later.unwrap_or(0).max(until);
                return None;
            }
            Phase::Due | Phase::Probing => seen.is_open() || is_told,
        };
        opens.then(|| self.open(failure, at))
    }

    /// The provider has said, in a good answer, that it will not serve another for so long.
    pub fn exhausted(&mut self, wait: Millis, at: Moment<'_>) -> Option<Change> {
        self.failed_at = at.now;
        let kind = Kind::RateLimit;
        let is_open = matches!(self.phase(at.now, at.cooldown), Phase::Open { .. });
        let opened = self.opened;
        let change = self.open(
            Failure {
                kind,
                wait: Some(wait),
                begun: at.now,
            },
            at,
        );
        self.opened = opened;
        (!is_open).then_some(change)
    }

    /// `begun`: when the attempt that succeeded did.
    pub fn succeeded(&mut self, seen: Standing, begun: Millis, at: Moment<'_>) -> Option<Change> {
        self.window.add(Bucket::SUCCESS, at.now, at.width());
        match self.phase(at.now, at.cooldown) {
            Phase::Closed => {
                self.ends_a_row(begun);
                None
            }
            // Sent before it opened: a probe knows better.
            _ if !seen.is_open() => None,
            _ => {
                self.in_a_row = 0;
                self.open_until = 0;
                self.probe_until = 0;
                self.window = Window::default();
                Some(Change::Closed { why: self.kind })
            }
        }
    }

    /// Takes the one place of a probe, for as long as this; `false`: it is not due, or another request has it.
    pub fn claim(&mut self, lease: Duration, now: Millis, cooldown: &Cooldown) -> bool {
        let is_due = self.phase(now, cooldown) == Phase::Due;
        if is_due {
            self.probe_until = now.saturating_add(millis(lease));
        }
        is_due
    }

    /// The probe has learnt nothing: the next request may try.
    pub fn give_back(&mut self) {
        self.probe_until = 0;
    }

    fn ends_a_row(&mut self, begun: Millis) {
        if begun >= self.row_begun {
            self.in_a_row = 0;
        }
    }

    fn is_too_much(&mut self, at: Moment<'_>) -> bool {
        if u32::from(self.in_a_row) >= at.cooldown.consecutive_failures {
            return true;
        }
        let (failures, successes) = self.window.total(at.now, at.width());
        let total = failures.saturating_add(successes);
        total >= at.cooldown.min_requests
            && u64::from(failures).saturating_mul(1000)
                >= u64::from(total).saturating_mul(at.cooldown.error_permille.into())
    }

    fn open(&mut self, failure: Failure, at: Moment<'_>) -> Change {
        let Failure { kind, wait, .. } = failure;
        let (base, max) = (millis(at.cooldown.base), millis(at.cooldown.max));
        let doubled = 1_u64.checked_shl(self.opened.into()).unwrap_or(u64::MAX);
        let wait = match (kind, wait) {
            (Kind::Quota, _) => at.around(millis(at.cooldown.quota)),
            (_, Some(wait)) => at.at_least(bounded(wait, at.cooldown)),
            (Kind::Unreachable, None) => at.around(base),
            (_, None) => at.around(base.saturating_mul(doubled).min(max)),
        };
        // What Envoy ejects and takes back is not ours to keep away for longer.
        if kind != Kind::Unreachable {
            self.opened = self.opened.saturating_add(1);
        }
        self.kind = kind;
        self.probe_until = 0;
        self.open_until = at.now.saturating_add(wait.max(1));
        Change::Opened { why: kind, wait }
    }
}

/// What is not a matter of counting: the provider has said that the next request would fail as well.
fn opens_at_once(failure: Failure) -> bool {
    match failure.kind {
        Kind::Quota | Kind::Refused => true,
        Kind::Overload | Kind::RateLimit => failure.wait.is_some(),
        Kind::Unreachable => false,
    }
}

fn bounded(wait: Millis, cooldown: &Cooldown) -> Millis {
    wait.min(millis(cooldown.max_retry_after))
}
