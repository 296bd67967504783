//! Health: which targets failed lately, known to every worker of one Envoy.
//!
//! Pure: the clock, the randomness and the shared value come by [`Host`](crate::http::Host). Envoy judges connections and ejects
//! hosts; this judges answers, per target: what kind of failure, whose quota, until when. It never refuses a request: a target
//! that is open is asked last.
//!
//! The router role reads the table and claims probes ([`shared`]), the provider role writes what came of an attempt
//! ([`learn`]). Only targets that are not plainly healthy are in it, so that a healthy fleet costs one read of nothing.

pub mod budget;
pub mod learn;
pub mod record;
pub mod rules;
pub mod shared;
pub mod signs;
pub mod table;
pub mod when;
pub mod window;

pub use rules::{Cooldown, RetryBudget, Rules};

use crate::fnv::Fnv64;
use crate::policy::Target;

/// Milliseconds since the epoch of the host's clock.
pub type Millis = u64;

/// A target, as every worker and every policy that names it knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// What kind of trouble a target is in: it decides how soon it is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It cannot answer: 5xx, a timeout, a reset, an answer that was none.
    Overload,
    /// Too much was asked of it in too short a time.
    RateLimit,
    /// The account has no credit, or its quota of the day is used up: waiting seconds does not help.
    Quota,
    /// It does not know the key, the model, or the path.
    Refused,
    /// No connection. Envoy's outlier detection ejects the host: to ask it then costs a millisecond.
    Unreachable,
}

/// What the plan of a request knew of a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing against it.
    #[default]
    Healthy,
    /// It serves, but its last failure is not forgotten: a success is news.
    Shaky,
    /// It is left alone, as far as others can serve.
    Open,
    /// Its time has come, and this request is the one that tries.
    Probe,
}

/// How a circuit changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Opened { why: Kind, wait: Millis },
    Closed { why: Kind },
}

// === impl Key ===

impl Key {
    /// Of everything that says where a request goes, so that a target that was mended in the policy starts anew.
    pub fn of(target: &Target) -> Self {
        let provider = &target.provider;
        let parts = [
            &*provider.name,
            &*provider.cluster,
            &provider.host,
            &provider.path,
            &*target.sent_as,
        ];
        // 0xff is in no text: the parts stay apart.
        let hash = parts.iter().fold(Fnv64::default(), |hash, part| {
            hash.bytes(part.as_bytes()).bytes(&[0xff])
        });
        Key(hash.0)
    }
}

// === impl Kind ===

impl Kind {
    /// As metrics and logs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Overload => "overload",
            Kind::RateLimit => "rate_limit",
            Kind::Quota => "quota",
            Kind::Refused => "refused",
            Kind::Unreachable => "unreachable",
        }
    }

    /// For people.
    fn words(self) -> &'static str {
        match self {
            Kind::Overload => "fails (5xx, timeout, reset or no answer)",
            Kind::RateLimit => "its rate limit is reached",
            Kind::Quota => "the account's quota or credit is used up",
            Kind::Refused => "refuses the gateway (key, model name or path)",
            Kind::Unreachable => "cannot be reached",
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Kind::Overload => 0,
            Kind::RateLimit => 1,
            Kind::Quota => 2,
            Kind::Refused => 3,
            Kind::Unreachable => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Kind::Overload,
            1 => Kind::RateLimit,
            2 => Kind::Quota,
            3 => Kind::Refused,
            4 => Kind::Unreachable,
            _ => return None,
        })
    }
}

// === impl Standing ===

impl Standing {
    /// Whether the attempt was made though the target was left alone: what comes of it decides.
    pub fn is_open(self) -> bool {
        matches!(self, Standing::Open | Standing::Probe)
    }

    pub fn to_byte(self) -> u8 {
        match self {
            Standing::Healthy => 0,
            Standing::Shaky => 1,
            Standing::Open => 2,
            Standing::Probe => 3,
        }
    }

    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Standing::Healthy,
            1 => Standing::Shaky,
            2 => Standing::Open,
            3 => Standing::Probe,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
