//! Filter state: what the roles, the route and the access log tell each other about one request.
//!
//! Keys here are what `set_property` takes; Envoy, and its configuration, see them under `wasm.`.

/// The plan: [`crate::router::plan::Plan`], encoded.
pub const PLAN: &str = "pointsman.plan";
/// The cluster of the attempt that comes next: the route reads it.
pub const CLUSTER: &str = "pointsman.cluster";
/// The attempts so far: [`Attempts`].
pub const ATTEMPTS: &str = "pointsman.attempts";
/// Who is calling, cleaned, for the access log; absent if nobody said.
pub const CALLER: &str = "pointsman.caller";
/// `x-request-id`, cleaned, for the access log: the header itself goes to no provider, and is gone when Envoy logs.
pub const REQUEST_ID: &str = "pointsman.request_id";
/// Why, cleaned, for the access log; only where policy says `log_reason`.
pub const REASON: &str = "pointsman.reason";
/// `1` when the filter itself answers: `local_reply_config` passes such a body untouched.
pub const REPLY: &str = "pointsman.reply";

/// The attempts of a request: how many began, where the last one went, and how those that are over ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts {
    /// How many began.
    pub begun: usize,
    /// The last one's target, by its index in the plan.
    pub target: usize,
    /// In order, as the client is told: `openai=503, anthropic=200`.
    pub outcomes: String,
}

impl Attempts {
    pub fn encode(&self) -> Vec<u8> {
        format!("{} {} {}", self.begun, self.target, self.outcomes).into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(bytes).ok()?.splitn(3, ' ');
        Some(Attempts {
            begun: words.next()?.parse().ok()?,
            target: words.next()?.parse().ok()?,
            outcomes: words.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_survive_filter_state() {
        for outcomes in ["", "openai=503, anthropic=200"] {
            let attempts = Attempts {
                begun: 2,
                target: 1,
                outcomes: outcomes.to_owned(),
            };
            assert_eq!(Attempts::decode(&attempts.encode()), Some(attempts));
        }
        for bad in [&b""[..], b"1", b"1 2", b"a b c", b"\xff 1 ", b"-1 0 "] {
            assert_eq!(Attempts::decode(bad), None);
        }
    }
}
