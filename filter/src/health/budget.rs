//! Budget: how many repeats and probes a worker may send, so that an outage is not made worse by those who try again.
//!
//! Pure: a token bucket, time passed in. A move to a different target takes no token, and is never refused.

use super::rules::{RetryBudget, millis};
use std::time::Duration;

/// Thousandths of a token: what a repeat or a probe costs.
const TOKEN: u64 = 1000;

/// Seconds' worth of tokens that are kept at most.
const KEPT_SECONDS: u64 = 10;

/// In thousandths of a token.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budget {
    tokens: u64,
    /// When time's share was last added.
    filled: Option<Duration>,
}

// === impl Budget ===

impl Budget {
    /// A request came.
    pub fn earn(&mut self, rules: RetryBudget) {
        self.add(rules.permille.into(), rules);
    }

    /// Take a token, if there is one.
    pub fn spend(&mut self, rules: RetryBudget, now: Duration) -> bool {
        let passed = match self.filled {
            Some(filled) => now.saturating_sub(filled),
            // A worker begins with a second's worth.
            None => Duration::from_secs(1),
        };
        self.filled = Some(now);
        // Tokens per second are thousandths per millisecond.
        let earned = millis(passed).saturating_mul(rules.min_per_second.into());
        self.add(earned, rules);
        match self.tokens.checked_sub(TOKEN) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }

    /// A token that was not needed.
    pub fn refund(&mut self) {
        self.tokens = self.tokens.saturating_add(TOKEN);
    }

    fn add(&mut self, earned: u64, rules: RetryBudget) {
        let per_second = u64::from(rules.min_per_second).saturating_mul(TOKEN);
        let most = per_second.saturating_mul(KEPT_SECONDS).max(TOKEN);
        self.tokens = self.tokens.saturating_add(earned).min(most);
    }
}
