//! Breaker: skips a classifier that keeps failing, so that a dead one does not tax every request.
//!
//! One per worker. Open, it lets at most one probe out at a time. Time is passed in, and no clock can wedge it: one
//! that goes back starts the wait anew, and a probe that never reports is given up after [`PROBE_LOST`].

use std::time::Duration;

/// Failures in a row that open it.
pub const THRESHOLD: u32 = 5;
/// Time without callouts before a probe.
pub const OPEN_FOR: Duration = Duration::from_secs(10);
/// A probe that did not report for so long never will; far beyond any classifier's timeout.
pub const PROBE_LOST: Duration = Duration::from_secs(60);

/// What a request may do with the classifier. Whoever got one reports it by `success`, `failure` or `abandoned`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Permit {
    Go,
    /// As `Go`, and its result decides for all.
    Probe,
    /// Do not call; nothing to report.
    Skip,
}

#[derive(Debug, Clone)]
pub struct Breaker {
    threshold: u32,
    open_for: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `failures` in a row so far.
    Closed {
        failures: u32,
    },
    Open {
        since: Duration,
    },
    /// One probe is out.
    Probing {
        since: Duration,
    },
    /// Waited long enough, and no probe is out.
    Ready,
}

// === impl Breaker ===

impl Default for Breaker {
    fn default() -> Self {
        Self::new(THRESHOLD, OPEN_FOR)
    }
}

impl Breaker {
    /// Opens after `threshold` failures in a row (at least 1), for `open_for`.
    pub fn new(threshold: u32, open_for: Duration) -> Self {
        Self {
            threshold: threshold.max(1),
            open_for,
            state: State::Closed { failures: 0 },
        }
    }

    /// May a request call the classifier? `now` is the time since any fixed moment.
    pub fn permit(&mut self, now: Duration) -> Permit {
        let (since, wait) = match self.state {
            State::Closed { .. } => return Permit::Go,
            State::Ready => (None, Duration::ZERO),
            State::Open { since } => (Some(since), self.open_for),
            State::Probing { since } => (Some(since), PROBE_LOST.max(self.open_for)),
        };
        if let Some(since) = since {
            match now.checked_sub(since) {
                Some(waited) if waited >= wait => {}
                Some(_) => return Permit::Skip,
                // The clock went back: wait from here.
                None => {
                    match &mut self.state {
                        State::Open { since } | State::Probing { since } => *since = now,
                        State::Closed { .. } | State::Ready => {}
                    }
                    return Permit::Skip;
                }
            }
        }
        self.state = State::Probing { since: now };
        Permit::Probe
    }

    /// The classifier answered usefully.
    pub fn success(&mut self, permit: Permit) {
        match (permit, self.state) {
            (Permit::Probe, _) | (Permit::Go, State::Closed { .. }) => {
                self.state = State::Closed { failures: 0 };
            }
            // Sent before it opened: the probe knows better.
            (Permit::Go | Permit::Skip, _) => {}
        }
    }

    /// The callout failed, timed out, or the reply was of no use.
    pub fn failure(&mut self, permit: Permit, now: Duration) {
        match (permit, self.state) {
            (Permit::Go | Permit::Probe, State::Closed { failures }) => {
                let failures = failures.saturating_add(1);
                self.state = if failures >= self.threshold {
                    State::Open { since: now }
                } else {
                    State::Closed { failures }
                };
            }
            (Permit::Probe, _) => self.state = State::Open { since: now },
            // Sent before it opened: must not end a probe that is out, nor lengthen the wait.
            (Permit::Go | Permit::Skip, _) => {}
        }
    }

    /// The client left before the reply: nothing was learnt, and a probe's place is free again.
    pub fn abandoned(&mut self, permit: Permit) {
        if let (Permit::Probe, State::Probing { .. }) = (permit, self.state) {
            self.state = State::Ready;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// At a second, ask, and expect.
        Ask(u64, Permit),
        Success(Permit),
        Failure(Permit, u64),
        Abandoned(Permit),
    }

    use Permit::{Go, Probe, Skip};
    use Step::{Abandoned, Ask, Failure, Success};

    fn check(steps: &[Step]) {
        let mut breaker = Breaker::default();
        for (i, step) in steps.iter().enumerate() {
            match *step {
                Ask(now, expected) => {
                    let permit = breaker.permit(Duration::from_secs(now));
                    assert_eq!(permit, expected, "step {i} of {steps:?}");
                }
                Success(permit) => breaker.success(permit),
                Failure(permit, now) => breaker.failure(permit, Duration::from_secs(now)),
                Abandoned(permit) => breaker.abandoned(permit),
            }
        }
    }

    /// Opened at second 100.
    fn opened(then: &[Step]) -> Vec<Step> {
        [&vec![Failure(Go, 100); 5][..], then].concat()
    }

    #[test]
    fn opens_after_failures_in_a_row() {
        let four = vec![Failure(Go, 100); 4];
        check(&[&four[..], &[Ask(100, Go)]].concat());
        check(&[&four[..], &[Success(Go)], &four[..], &[Ask(100, Go)]].concat());
        check(
            &[
                &four[..],
                &[Abandoned(Go), Failure(Go, 100), Ask(100, Skip)],
            ]
            .concat(),
        );
        check(&opened(&[Ask(100, Skip), Ask(109, Skip), Ask(110, Probe)]));
    }

    #[test]
    fn probes_one_at_a_time() {
        check(&opened(&[Ask(110, Probe), Ask(110, Skip), Ask(125, Skip)]));
        check(&opened(&[Ask(110, Probe), Success(Probe), Ask(110, Go)]));
        check(&opened(&[
            Ask(110, Probe),
            Failure(Probe, 111),
            Ask(111, Skip),
            Ask(120, Skip),
            Ask(121, Probe),
        ]));
        // One failure after a probe closed it does not open it again.
        check(&opened(&[
            Ask(110, Probe),
            Success(Probe),
            Failure(Go, 110),
            Ask(110, Go),
        ]));
    }

    #[test]
    fn abandoned_probe_gives_its_place_back() {
        check(&opened(&[
            Ask(110, Probe),
            Abandoned(Probe),
            Ask(110, Probe),
            Ask(110, Skip),
        ]));
        check(&opened(&[
            Ask(110, Probe),
            Abandoned(Go),
            Abandoned(Skip),
            Ask(110, Skip),
        ]));
    }

    #[test]
    fn lost_probe_is_given_up() {
        check(&opened(&[
            Ask(110, Probe),
            Ask(169, Skip),
            Ask(170, Probe),
            Ask(170, Skip),
        ]));
    }

    #[test]
    fn late_results_do_not_touch_an_open_breaker() {
        check(&opened(&[
            Success(Go),
            Ask(100, Skip),
            Failure(Go, 109),
            Ask(110, Probe),
        ]));
        check(&opened(&[
            Ask(110, Probe),
            Failure(Go, 110),
            Success(Go),
            Ask(110, Skip),
            Success(Probe),
            Ask(110, Go),
        ]));
    }

    #[test]
    fn clocks_that_stand_or_go_back() {
        check(&opened(&[Ask(100, Skip), Ask(100, Skip), Ask(110, Probe)]));
        check(&opened(&[Ask(5, Skip), Ask(14, Skip), Ask(15, Probe)]));
        check(&opened(&[Ask(110, Probe), Ask(0, Skip), Ask(60, Probe)]));
        check(&opened(&[
            Ask(u64::MAX, Probe),
            Failure(Probe, u64::MAX),
            Ask(u64::MAX, Skip),
            Ask(0, Skip),
            Ask(10, Probe),
        ]));
    }

    proptest! {
        /// However results come in: never two probes out, never wedged, closed after a probe's success.
        #[test]
        fn model(steps in proptest::collection::vec((0u8..5, 0u64..12), 0..200)) {
            let mut breaker = Breaker::default();
            let mut now = 0;
            let mut probe_since = None;
            let mut go_in_flight = 0u32;
            for (step, seconds) in steps {
                // Back and forth, but a probe is never out for long.
                if step == 4 { now = seconds } else if probe_since.is_none() { now += seconds }
                let at = Duration::from_secs(now);
                match (step, probe_since) {
                    (0, _) => match breaker.permit(at) {
                        Probe => {
                            prop_assert!(probe_since.is_none(), "two probes");
                            probe_since = Some(now);
                        }
                        Go => {
                            prop_assert!(probe_since.is_none(), "closed while probing");
                            go_in_flight += 1;
                        }
                        Skip => {}
                    },
                    (1, Some(_)) => {
                        breaker.success(Probe);
                        probe_since = None;
                        prop_assert_eq!(breaker.permit(at), Go);
                    }
                    (2, Some(_)) => {
                        breaker.failure(Probe, at);
                        probe_since = None;
                        prop_assert_eq!(breaker.permit(at), Skip);
                    }
                    (3, Some(_)) => {
                        breaker.abandoned(Probe);
                        probe_since = None;
                    }
                    (1..=3, None) if go_in_flight > 0 => {
                        go_in_flight -= 1;
                        match step {
                            1 => breaker.success(Go),
                            2 => breaker.failure(Go, at),
                            _ => breaker.abandoned(Go),
                        }
                    }
                    _ => {}
                }
            }
            // After enough time it always answers with something to do.
            let first = Duration::from_secs(now + 1000);
            let _ = breaker.permit(first);
            prop_assert_ne!(breaker.permit(first + Duration::from_secs(1000)), Skip);
        }
    }
}
