//! Filter state: what the roles, the route and the access log tell each other about one request.
//!
//! Keys here are what `set_property` takes; Envoy, and its configuration, see them under `wasm.`.

/// The plan, as JSON.
pub const PLAN: &str = "pointsman.plan";
/// The cluster of the attempt that comes next: the route reads it.
pub const CLUSTER: &str = "pointsman.cluster";
/// How many attempts began, and which target the last one had: [`Attempt`].
pub const ATTEMPT: &str = "pointsman.attempt";
/// How each attempt ended, in order: `openai=503, anthropic=200`.
pub const OUTCOMES: &str = "pointsman.attempts";
/// Who is calling, cleaned; for the access log.
pub const CALLER: &str = "pointsman.caller";
/// Why, cleaned; only where policy says `log_reason`.
pub const REASON: &str = "pointsman.reason";

/// The attempt under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// How many began, this one included.
    pub count: usize,
    /// Its target's index in the plan.
    pub target: usize,
}

impl Attempt {
    pub fn encode(self) -> Vec<u8> {
        format!("{} {}", self.count, self.target).into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (count, target) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        Some(Attempt {
            count: count.parse().ok()?,
            target: target.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_survives_filter_state() {
        let attempt = Attempt {
            count: 2,
            target: 1,
        };
        assert_eq!(Attempt::decode(&attempt.encode()), Some(attempt));
        for bad in [&b""[..], b"1", b"a b", b"1 2 3", b"\xff 1", b"-1 0"] {
            assert_eq!(Attempt::decode(bad), None);
        }
    }
}
