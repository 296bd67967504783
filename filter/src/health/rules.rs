//! Rules: what the policy says of cooldown and repeats. They travel with the plan.
//!
//! Pure.

use std::time::Duration;

use super::Millis;

/// `cooldown:` when a target is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooldown {
    /// Failures in a row that open. Default 3.
    pub consecutive_failures: u32,
    /// `error_rate:` of the requests within `window` that opens, in thousandths. Default 500.
    pub error_permille: u32,
    /// Requests within `window` before their rate says anything. Default 20.
    pub min_requests: u32,
    /// Default 30 s.
    pub window: Duration,
    /// The first wait; each further one in a row is twice as long. Default 5 s.
    pub base: Duration,
    /// The longest of those. Default 5 minutes.
    pub max: Duration,
    /// The wait when an account's quota is used up. Default 10 minutes.
    pub quota: Duration,
    /// The longest wait that a provider may ask for. Default 10 minutes.
    pub max_retry_after: Duration,
}

/// `retry_budget:` repeats of the same target and probes, per worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// `ratio:` to the requests, in thousandths. Default 200.
    pub permille: u32,
    /// As many more each second. Default 2.
    pub min_per_second: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `None`: `cooldown: {enabled: false}`.
    pub cooldown: Option<Cooldown>,
    pub retry_budget: RetryBudget,
}

// === impl Cooldown ===

impl Default for Cooldown {
    fn default() -> Self {
        Cooldown {
            consecutive_failures: 3,
            error_permille: 500,
            min_requests: 20,
            window: Duration::from_secs(30),
            base: Duration::from_secs(5),
            max: Duration::from_secs(300),
            quota: Duration::from_secs(600),
            max_retry_after: Duration::from_secs(600),
        }
    }
}

impl Cooldown {
    /// No wait is longer than this, jitter included: what seems to be comes of a clock that went back.
    pub fn longest(&self) -> Millis {
        let longest = self.max.max(self.quota).max(self.max_retry_after);
        let millis = millis(longest);
        millis.saturating_add(millis / 4)
    }

    fn fields(&self) -> [u64; FIELDS] {
        [
            self.consecutive_failures.into(),
            self.error_permille.into(),
            self.min_requests.into(),
            millis(self.window),
            millis(self.base),
            millis(self.max),
            millis(self.quota),
            millis(self.max_retry_after),
        ]
    }
}

// === impl RetryBudget ===

impl Default for RetryBudget {
    fn default() -> Self {
        RetryBudget {
            permille: 200,
            min_per_second: 2,
        }
    }
}

// === impl Rules ===

impl Default for Rules {
    fn default() -> Self {
        Rules {
            cooldown: Some(Cooldown::default()),
            retry_budget: RetryBudget::default(),
        }
    }
}

/// Numbers of a [`Cooldown`].
const FIELDS: usize = 8;

// A flag, the cooldown's numbers (0 where there is none), the budget's two, each u64 in little-endian order.

impl Rules {
    /// Bytes of the encoding.
    pub const SIZE: usize = 1 + (FIELDS + 2) * size_of::<u64>();

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.cooldown.is_some()));
        let cooldown = self.cooldown.map_or([0; FIELDS], |c| c.fields());
        let RetryBudget {
            permille,
            min_per_second,
        } = self.retry_budget;
        for number in cooldown
            .into_iter()
            .chain([permille.into(), min_per_second.into()])
        {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// `None`: no such encoding.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (flag, numbers) = bytes.split_first()?;
        let (numbers, []) = numbers.as_chunks::<{ size_of::<u64>() }>() else {
            return None;
        };
        let mut numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut fields = [0; FIELDS];
        for field in &mut fields {
            *field = numbers.next()?;
        }
        let small = |number: u64| u32::try_from(number).ok();
        let retry_budget = RetryBudget {
            permille: small(numbers.next()?)?,
            min_per_second: small(numbers.next()?)?,
        };
        if numbers.next().is_some() {
            return None;
        }
        let [
            in_a_row,
            permille,
            least,
            window,
            base,
            max,
            quota,
            retry_after,
        ] = fields;
        let cooldown = match flag {
            0 if fields == [0; FIELDS] => None,
            1 => Some(Cooldown {
                consecutive_failures: small(in_a_row)?,
                error_permille: small(permille)?,
                min_requests: small(least)?,
                window: Duration::from_millis(window),
                base: Duration::from_millis(base),
                max: Duration::from_millis(max),
                quota: Duration::from_millis(quota),
                max_retry_after: Duration::from_millis(retry_after),
            }),
            _ => return None,
        };
        Some(Rules {
            cooldown,
            retry_budget,
        })
    }
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> Millis {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
