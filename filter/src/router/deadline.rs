//! Deadline: what a request gets for whose answer there is no time left.
//!
//! Pure. The host keeps the time, since Envoy has no timer that fits: its per-try timeout starts anew with every attempt, and
//! its request timeout cuts streams that are well.

use std::time::Duration;

use crate::chat::error::{ErrorReply, SERVER};
use crate::provider::judge::Outcome;
use crate::telemetry::report::Planned;
use crate::telemetry::state::Attempts;

/// No attempt answered within `budget`.
pub fn error(stream: bool, budget: Duration) -> ErrorReply {
    let (code, what, field) = match stream {
        true => (
            "first_token_timeout",
            "began to answer",
            "first_token_total",
        ),
        false => ("answer_timeout", "answered", "one_shot_total"),
    };
    ErrorReply {
        status: 504,
        kind: SERVER,
        code,
        message: format!(
            "no provider {what} within {} ms, all attempts together: send the request again later, or name another tier or model; operator: `timeouts.{field}` in the policy",
            budget.as_millis()
        ),
        param: None,
    }
}

/// The attempt that is under way is one that timed out: Envoy will tell the provider role so after the answer only.
pub fn time_out(attempts: &mut Attempts, targets: &[Planned]) {
    let target = match attempts.begun {
        0 => 0,
        _ => attempts.next.min(targets.len().saturating_sub(1)),
    };
    let Some(planned) = targets.get(target) else {
        return;
    };
    attempts.begun = attempts.begun.saturating_add(1);
    attempts.target = target;
    attempts.add(&planned.provider, Outcome::Timeout);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::Api;

    #[test]
    fn the_attempt_under_way_is_told() {
        let targets = ["a", "b"].map(|name| Planned {
            provider: Arc::from(name),
            model: Arc::from("m"),
            api: Api::OpenAi,
        });
        let attempts = |begun, next, outcomes: &str| Attempts {
            begun,
            target: 0,
            next,
            outcomes: outcomes.to_owned(),
        };
        for (mut before, begun, target, outcomes) in [
            (attempts(0, 0, ""), 1, 0, "a=timeout"),
            (attempts(1, 1, "a=503"), 2, 1, "a=503, b=timeout"),
            (
                attempts(2, 9, "a=503, b=503"),
                3,
                1,
                "a=503, b=503, b=timeout",
            ),
        ] {
            time_out(&mut before, &targets);
            assert_eq!(
                (before.begun, before.target, &*before.outcomes),
                (begun, target, outcomes)
            );
        }
        let mut none = Attempts::default();
        time_out(&mut none, &[]);
        assert_eq!(none, Attempts::default());
    }

    #[test]
    fn the_error_names_the_field_of_the_policy() {
        for (stream, code, field) in [
            (true, "first_token_timeout", "first_token_total"),
            (false, "answer_timeout", "one_shot_total"),
        ] {
            let error = error(stream, Duration::from_secs(45));
            assert_eq!((error.status, error.code), (504, code));
            assert!(error.message.contains("45000 ms") && error.message.contains(field));
        }
    }
}
