//! What the client is told about its request: the contract's response headers.
//!
//! Pure. Every value is cleaned, since a model may have written it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::headers as names;
use super::state::Attempts;
use crate::router::decide::{Choice, Decision};

/// A header of the contract.
pub type Told = (&'static str, Cow<'static, str>);

/// What is known of a request's routing.
#[derive(Debug, Default)]
pub struct Report {
    pub decision: Option<Decision>,
    /// How long the classifier took, if it was asked.
    pub classified_in: Option<Duration>,
    /// (provider, model) of each target planned.
    pub targets: Vec<(Arc<str>, Arc<str>)>,
}

impl Report {
    /// (provider, model) of the last attempt.
    pub fn served_by(&self, attempts: &Attempts) -> Option<(&str, &str)> {
        if attempts.begun == 0 {
            return None;
        }
        let (provider, model) = self.targets.get(attempts.target)?;
        Some((provider, model))
    }

    /// The contract's headers, those that there is something to say in.
    pub fn headers(&self, attempts: &Attempts) -> Vec<Told> {
        let mut told: Vec<Told> = Vec::with_capacity(names::RESPONSE.len());
        if let Some((provider, model)) = self.served_by(attempts) {
            told.push((names::ROUTED_PROVIDER, names::clean(provider).into()));
            told.push((names::ROUTED_MODEL, names::clean(model).into()));
        }
        if !attempts.outcomes.is_empty() {
            told.push((
                names::ROUTED_ATTEMPTS,
                names::clean(&attempts.outcomes).into(),
            ));
        }
        let Some(decision) = &self.decision else {
            return told;
        };
        if let Choice::Tier(tier) = &decision.choice {
            told.push((names::ROUTING_TIER, tier.to_string().into()));
        }
        told.push((names::ROUTING_REASON, names::clean(&decision.reason).into()));
        told.push((names::ROUTING_SOURCE, decision.source.as_str().into()));
        if let Some(confidence) = decision.confidence() {
            told.push((names::ROUTING_CONFIDENCE, format!("{confidence:.2}").into()));
        }
        if let Some(took) = self.classified_in {
            told.push((
                names::CLASSIFICATION_TIME,
                format!("{}ms", took.as_millis()).into(),
            ));
        }
        told
    }
}
