//! What the client is told about its request: the contract's response headers.
//!
//! Pure. Every value is cleaned, since a model may have written it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::headers as names;
use super::state::Attempts;
use crate::policy::Api;
use crate::router::candidates::Skipped;
use crate::router::decide::{Choice, Decision};

/// A header of the contract.
pub type Told = (&'static str, Cow<'static, str>);

/// What is known of a request's routing.
#[derive(Debug, Default)]
pub struct Report {
    /// What [`of_decision`] says.
    pub decided: Vec<Told>,
    pub targets: Vec<Planned>,
}

/// A target planned, as the client is told.
#[derive(Debug, Clone)]
pub struct Planned {
    pub provider: Arc<str>,
    pub model: Arc<str>,
    pub api: Api,
}

impl Report {
    /// The last attempt's target.
    pub fn served_by(&self, attempts: &Attempts) -> Option<&Planned> {
        if attempts.begun == 0 {
            return None;
        }
        self.targets.get(attempts.target)
    }

    /// The contract's headers of the attempts, then of the decision.
    pub fn headers(&self, attempts: &Attempts) -> Vec<Told> {
        let served_by = self.served_by(attempts).map(|t| (&*t.provider, &*t.model));
        let mut told = of_attempts(served_by, &attempts.outcomes);
        told.extend(self.decided.iter().cloned());
        told
    }
}

/// What is known before the first attempt. `classified_in`: how long the classifier took, if it was asked.
pub fn of_decision(decision: &Decision, classified_in: Option<Duration>) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::with_capacity(names::RESPONSE.len());
    if let Choice::Tier(tier) = &decision.choice {
        told.push((names::ROUTING_TIER, tier.to_string().into()));
    }
    told.push((names::ROUTING_REASON, names::clean(&decision.reason).into()));
    told.push((names::ROUTING_SOURCE, decision.source.as_str().into()));
    match decision.told_confidence() {
        Some(1.0) => told.push((names::ROUTING_CONFIDENCE, "1.00".into())),
        Some(confidence) => {
            told.push((names::ROUTING_CONFIDENCE, format!("{confidence:.2}").into()));
        }
        None => {}
    }
    if let Some(took) = classified_in {
        told.push((
            names::CLASSIFICATION_TIME,
            format!("{}ms", took.as_millis()).into(),
        ));
    }
    told
}

/// Whom nobody will ask.
pub fn of_skipped(skipped: &[Skipped<'_>]) -> Option<Told> {
    let all: Vec<String> = skipped.iter().map(ToString::to_string).collect();
    let value = names::clean(&all.join(", "));
    (!all.is_empty()).then(|| (names::ROUTING_SKIPPED, value.into()))
}

/// Who answered, and how each attempt ended.
pub fn of_attempts(served_by: Option<(&str, &str)>, outcomes: &str) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::with_capacity(names::RESPONSE.len());
    if let Some((provider, model)) = served_by {
        told.push((names::ROUTED_PROVIDER, names::clean(provider).into()));
        told.push((names::ROUTED_MODEL, names::clean(model).into()));
    }
    if !outcomes.is_empty() {
        told.push((names::ROUTED_ATTEMPTS, names::clean(outcomes).into()));
    }
    told
}
