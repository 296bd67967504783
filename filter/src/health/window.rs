//! Window: failures and successes of the last while, in buckets of equal length.
//!
//! Pure. A clock that goes back a little counts into the newest bucket; one that goes back a lot empties the window.

use super::Millis;

/// A window of 30 s forgets in steps of 5 s.
pub const BUCKETS: usize = 6;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// When the newest bucket began: a multiple of its length, so that the windows of two workers can be added.
    pub(super) begun: Millis,
    /// The newest first.
    pub(super) buckets: [Bucket; BUCKETS],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    pub failures: u16,
    pub successes: u16,
}

// === impl Window ===

impl Window {
    /// The length of a bucket, of a window as long as this.
    pub fn width(window: Millis) -> Millis {
        let buckets = u64::try_from(BUCKETS).unwrap_or(u64::MAX);
        window.checked_div(buckets).unwrap_or_default().max(1)
    }

    /// Forgets what is older than the window.
    pub fn advance(&mut self, now: Millis, width: Millis) {
        let width = width.max(1);
        let begun = now.saturating_sub(now.checked_rem(width).unwrap_or_default());
        let Some(age) = begun.checked_sub(self.begun) else {
            let ahead = self.begun.saturating_sub(begun);
            if ahead.checked_div(width).unwrap_or_default() >= BUCKETS as u64 {
                *self = Window {
                    begun,
                    ..Window::default()
                };
            }
            return;
        };
        let steps = usize::try_from(age.checked_div(width).unwrap_or_default())
            .unwrap_or(usize::MAX)
            .min(BUCKETS);
        self.buckets.rotate_right(steps);
        self.buckets.iter_mut().take(steps).for_each(Bucket::clear);
        self.begun = begun;
    }

    pub fn add(&mut self, what: Bucket, now: Millis, width: Millis) {
        self.advance(now, width);
        if let Some(newest) = self.buckets.first_mut() {
            newest.add(what);
        }
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, mut other: Window, now: Millis, width: Millis) {
        self.advance(now, width);
        other.advance(now, width);
        for (own, others) in self.buckets.iter_mut().zip(other.buckets) {
            own.add(others);
        }
    }

    /// Failures and successes.
    pub fn total(&mut self, now: Millis, width: Millis) -> (u32, u32) {
        self.advance(now, width);
        self.buckets
            .iter()
            .fold((0, 0), |(failures, successes), bucket| {
                (
                    u32::saturating_add(failures, bucket.failures.into()),
                    u32::saturating_add(successes, bucket.successes.into()),
                )
            })
    }
}

// === impl Bucket ===

impl Bucket {
    pub const FAILURE: Bucket = Bucket {
        failures: 1,
        successes: 0,
    };
    pub const SUCCESS: Bucket = Bucket {
        failures: 0,
        successes: 1,
    };

    fn clear(&mut self) {
        *self = Bucket::default();
    }

    fn add(&mut self, other: Bucket) {
        self.failures = self.failures.saturating_add(other.failures);
        self.successes = self.successes.saturating_add(other.successes);
    }
}
