//! Cascade: the policy's `classify:` steps in their order; the first that is sure enough decides.
//!
//! Pure. A step in shadow decides nothing: what it says is kept beside what was done. Whatever no step decides goes to the default
//! tier, and the reason says why.

use std::fmt;
use std::time::Duration;

use super::classifying::{self, Asked, Asking};
use super::decide::{self, Access, Decision, Source};
use crate::chat::error::ErrorReply;
use crate::classify::local;
use crate::classify::local::opinion::{Opinion, opinion};
use crate::http::{Action, Callout};
use crate::policy::{LocalClassifier, Policy, Rule, Step, StepKind, TierName};
use crate::telemetry::metrics::metric_name;
use crate::worker::Worker;

const ONLY_TIER: &str = "the only tier on offer";

/// Where a request stands among the steps.
#[derive(Debug, Default)]
pub struct Cascade {
    /// The step that comes next.
    at: usize,
    /// Why the steps so far did not decide, the latest reason.
    doubt: Option<String>,
    /// What steps in shadow said.
    pub said: Vec<Said>,
    /// What the steps did, for the counter: by step and result.
    pub results: Vec<(Source, Asked)>,
    /// A classifier in shadow is to be asked, beside the request.
    pub aside: Option<(Asking, Callout)>,
}

/// What a step in shadow would have decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub step: Source,
    /// `None`: it was not sure, or did not apply.
    pub tier: Option<TierName>,
    pub confidence: Option<f32>,
}

/// What is next for a request.
#[derive(Debug)]
pub enum Next {
    Decided(Decision),
    /// The LLM classifier is to be asked; if it fails, see [`Cascade::failed`].
    Ask(Asking, Callout),
}

/// What a step came to.
enum Outcome {
    Decided(Decision),
    /// With the reason, if there is one to tell.
    Unsure(Option<String>),
    Ask(Asking, Callout),
}

// === impl Said ===

impl Said {
    /// The counter: what was said beside what was done.
    pub fn count(&self, decided: &TierName) -> Action {
        let tags = [
            ("step", self.step.as_str()),
            ("said", self.tier_name()),
            ("decided", &decided.0),
        ];
        Action::Count(metric_name("pointsman_shadow_decisions_total", &tags), 1)
    }

    fn tier_name(&self) -> &str {
        self.tier.as_ref().map_or("unsure", |tier| &tier.0)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.step.as_str(), self.tier_name())?;
        match self.confidence {
            Some(confidence) => write!(f, ":{confidence:.2}"),
            None => Ok(()),
        }
    }
}

// === impl Cascade ===

impl Cascade {
    /// Go on with the steps.
    ///
    /// # Errors
    /// A rule's tier that the caller may not use.
    pub fn next(
        &mut self,
        policy: &Policy,
        asked: &decide::Asked<'_>,
        worker: &mut Worker,
        now: Duration,
    ) -> Result<Next, ErrorReply> {
        let access = Access::of(policy, asked.caller);
        while let Some(step) = policy.classify.get(self.at) {
            self.at = self.at.saturating_add(1);
            let outcome = match &step.kind {
                // A rule in shadow refuses nobody.
                StepKind::Rules(rules) => match by_rules(rules, &access, asked) {
                    Err(_) if step.shadow => Outcome::Unsure(None),
                    outcome => outcome?,
                },
                _ if access.tiers().nth(1).is_none() => {
                    let decision = by_default(&access, ONLY_TIER);
                    return Ok(Next::Decided(decision));
                }
                StepKind::Local(local) => self.by_local(local, &access, asked, worker),
                StepKind::Llm(llm) => match classifying::begin(policy, llm, asked, worker, now) {
                    classifying::Begun::Decided(decision) => {
                        self.results.push((Source::Llm, Asked::Hit));
                        Outcome::Decided(decision)
                    }
                    classifying::Begun::Skipped(reason) => {
                        self.results.push((Source::Llm, Asked::Skipped));
                        Outcome::Unsure(Some(reason.to_owned()))
                    }
                    classifying::Begun::Ask(asking, callout) => Outcome::Ask(asking, callout),
                },
            };
            match outcome {
                _ if step.shadow => self.note(step, outcome),
                Outcome::Decided(decision) => return Ok(Next::Decided(decision)),
                Outcome::Ask(asking, callout) => return Ok(Next::Ask(asking, callout)),
                Outcome::Unsure(reason) => self.doubt = reason.or(self.doubt.take()),
            }
        }
        let doubt = self.doubt.as_deref();
        let reason = doubt.unwrap_or("no classifier is configured");
        Ok(Next::Decided(by_default(&access, reason)))
    }

    /// The LLM classifier failed: why.
    pub fn failed(&mut self, reason: String) {
        self.doubt = Some(reason);
    }

    /// Nobody will ask the classifier in shadow.
    pub fn abandon(&mut self, worker: &mut Worker) {
        if let Some((asking, _)) = self.aside.take() {
            asking.abandon(worker);
        }
    }

    fn note(&mut self, step: &Step, outcome: Outcome) {
        let (tier, confidence) = match outcome {
            Outcome::Decided(decision) => {
                (decision.tier_name().cloned(), decision.told_confidence())
            }
            Outcome::Unsure(_) => (None, None),
            Outcome::Ask(asking, callout) => {
                self.aside = Some((asking, callout));
                return;
            }
        };
        self.said.push(Said {
            step: step.source(),
            tier,
            confidence,
        });
    }

    fn by_local(
        &mut self,
        local: &LocalClassifier,
        access: &Access<'_>,
        asked: &decide::Asked<'_>,
        worker: &mut Worker,
    ) -> Outcome {
        let input = local::input(&asked.request.conversation);
        let features = &mut worker.features;
        let found = local.model.read(&input, local::lexicon(), features);
        let found = opinion(local, &found, |tier| access.tier(tier));
        let result = match &found {
            Some(opinion) if opinion.is_sure => Asked::Answered,
            _ => Asked::Unsure,
        };
        self.results.push((Source::Local, result));
        match found {
            Some(opinion) if opinion.is_sure => Outcome::Decided(Decision::by_opinion(&opinion)),
            Some(Opinion { reason, .. }) => Outcome::Unsure(Some(format!("not sure; {reason}"))),
            None => Outcome::Unsure(None),
        }
    }
}

fn by_rules(
    rules: &[Rule],
    access: &Access<'_>,
    asked: &decide::Asked<'_>,
) -> Result<Outcome, ErrorReply> {
    let Some((index, rule)) = asked.rule(rules) else {
        return Ok(Outcome::Unsure(None));
    };
    if !access.tier(&rule.tier) {
        return Err(decide::tier_refused(access, &rule.tier.0));
    }
    let reason = format!("rule {index} of the policy matched");
    let decision = Decision::tier(&rule.tier, Source::Rule, reason);
    Ok(Outcome::Decided(decision))
}

fn by_default(access: &Access<'_>, reason: &str) -> Decision {
    Decision::tier(access.default_tier(), Source::Default, reason)
}

#[cfg(test)]
#[path = "cascade_tests.rs"]
mod tests;
