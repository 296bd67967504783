//! What the client is told about its request: the contract's response headers.
//!
//! Pure. Every value is cleaned, since a model may have written it.

use std::time::Duration;

use super::headers as names;
use super::state;
use crate::provider::judge::Outcome;
use crate::router::decide::{Choice, Decision};

/// What is known of a request's routing.
#[derive(Debug, Default)]
pub struct Report {
    pub decision: Option<Decision>,
    /// How long the classifier took, if it was asked.
    pub classified_in: Option<Duration>,
    /// (provider, model) of each target planned.
    pub targets: Vec<(String, String)>,
}

/// What the attempts of a request left behind, when its answer arrives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Filter state [`state::ATTEMPT`].
    pub last: Option<state::Attempt>,
    /// Filter state [`state::OUTCOMES`].
    pub outcomes: String,
    /// Envoy's word for where the answer comes from, such as `via_upstream`.
    pub code_details: String,
}

impl Attempts {
    /// Whether a provider made the answer, not Envoy.
    pub fn answered_by_provider(&self) -> bool {
        self.code_details == "via_upstream"
    }

    /// How the last attempt ended.
    pub fn last_outcome(&self) -> Option<Outcome> {
        let last = self.outcomes.rsplit(", ").next()?;
        last.rsplit('=').next()?.parse().ok()
    }
}

impl Report {
    /// (provider, model) of the last attempt.
    pub fn served_by(&self, attempts: &Attempts) -> Option<(&str, &str)> {
        let (provider, model) = self.targets.get(attempts.last?.target)?;
        Some((provider, model))
    }

    /// The contract's headers, those that there is something to say in.
    pub fn headers(&self, attempts: &Attempts) -> Vec<(&'static str, String)> {
        let mut told = Vec::with_capacity(8);
        if let Some((provider, model)) = self.served_by(attempts) {
            told.push((names::ROUTED_PROVIDER, names::clean(provider)));
            told.push((names::ROUTED_MODEL, names::clean(model)));
        }
        if !attempts.outcomes.is_empty() {
            told.push((names::ROUTED_ATTEMPTS, names::clean(&attempts.outcomes)));
        }
        let Some(decision) = &self.decision else {
            return told;
        };
        if let Choice::Tier(tier) = &decision.choice {
            told.push((names::ROUTING_TIER, tier.to_string()));
        }
        told.push((names::ROUTING_SOURCE, decision.source.as_str().to_owned()));
        told.push((names::ROUTING_REASON, names::clean(&decision.reason)));
        if let Some(confidence) = decision.confidence() {
            told.push((names::ROUTING_CONFIDENCE, format!("{confidence:.2}")));
        }
        if let Some(took) = self.classified_in {
            told.push((
                names::CLASSIFICATION_TIME,
                format!("{}ms", took.as_millis()),
            ));
        }
        told
    }
}
