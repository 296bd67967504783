//! The steps of a decision. What is decided is the filter's own word; what each step saw is read by the same functions.

use std::time::Duration;

use pointsman::chat::error::ErrorReply;
use pointsman::chat::request::{Conversation, Dialect};
use pointsman::classify::local::features::Features;
use pointsman::classify::local::model::PerLabel;
use pointsman::classify::local::opinion::{by_tier, opinion};
use pointsman::classify::local::{self, why::why};
use pointsman::classify::rules::{Facts, first_match};
use pointsman::policy::{LlmClassifier, LocalClassifier, Policy, Rule, StepKind};
use pointsman::router::cascade::{Cascade, Next};
use pointsman::router::decide::{self, Access, Asked, Decision, Source};
use pointsman::router::role::COUNTED;
use pointsman::worker::Worker;

use super::explanation::{Feature, LlmSeen, LocalSeen, Probability, StepSeen, Verdict};

const NOT_ASKED: &str = "the LLM classifier decides, unless it fails";

/// What was decided, and whether a model would have been asked first.
type Decided = Result<(Decision, bool), ErrorReply>;

pub fn decide(
    policy: &Policy,
    asked: &Asked<'_>,
    client: Dialect,
    features: usize,
) -> (Vec<StepSeen>, Decided) {
    let verdict = decide::decide(policy, asked);
    let (names, decided) = match verdict {
        Err(refusal) => {
            let said = refusal.message.clone();
            let names = StepSeen::new("names", Verdict::Refused, said);
            (names, Err(refusal))
        }
        Ok(decide::Verdict::Decided(decision)) => {
            let mut names = StepSeen::new("names", Verdict::Decided, decision.reason.clone());
            names.tier = decision.tier_name().map(ToString::to_string);
            (names, Ok((decision, false)))
        }
        Ok(decide::Verdict::Classify) => {
            let said = "no X-LLM-Policy, and model leaves the choice to the steps";
            let names = StepSeen::new("names", Verdict::NoMatch, said);
            let mut seen = vec![names];
            seen.extend(steps(policy, asked, client, features));
            return (seen, cascade(policy, asked, client));
        }
    };
    let later = policy.classify.iter().map(|step| not_reached(&step.kind));
    (std::iter::once(names).chain(later).collect(), decided)
}

/// As the router role runs it, with a classifier that fails.
fn cascade(policy: &Policy, asked: &Asked<'_>, client: Dialect) -> Decided {
    let mut cascade = Cascade::default();
    let mut worker = Worker::default();
    let mut provisional = false;
    loop {
        match cascade.next(policy, asked, &mut worker, Duration::ZERO)? {
            Next::Decided(decision) => return Ok((decision, provisional)),
            Next::Ask(asking, _) => {
                asking.abandon(&mut worker);
                if client == Dialect::CountTokens {
                    let tier = Access::of(policy, asked.caller).default_tier();
                    let decision = Decision::tier(tier, Source::Default, COUNTED);
                    return Ok((decision, false));
                }
                provisional = true;
                cascade.failed(NOT_ASKED.to_owned());
            }
        }
    }
}

/// What each of the policy's steps saw, as far as they are reached.
fn steps(policy: &Policy, asked: &Asked<'_>, client: Dialect, features: usize) -> Vec<StepSeen> {
    let access = Access::of(policy, asked.caller);
    let mut is_over = false;
    let mut seen = Vec::new();
    for step in &policy.classify {
        let mut found = match &step.kind {
            kind if is_over => not_reached(kind),
            StepKind::Rules(list) => rules(list, asked, &access),
            kind if access.tiers().nth(1).is_none() => {
                is_over = true;
                let said = "this caller has one tier only";
                StepSeen::new(name(kind), Verdict::Skipped, said)
            }
            StepKind::Local(local) => by_local(local, asked, &access, features),
            StepKind::Llm(_) if client == Dialect::CountTokens => {
                is_over = !step.shadow;
                StepSeen::new("llm", Verdict::Skipped, COUNTED)
            }
            StepKind::Llm(llm) => by_llm(llm, step.shadow),
        };
        found.shadow = step.shadow;
        let is_last = matches!(found.verdict, Verdict::Decided | Verdict::Refused);
        is_over |= is_last && !step.shadow;
        seen.push(found);
    }
    seen
}

fn name(kind: &StepKind) -> &'static str {
    match kind {
        StepKind::Rules(_) => "rules",
        StepKind::Local(_) => "local",
        StepKind::Llm(_) => "llm",
    }
}

fn not_reached(kind: &StepKind) -> StepSeen {
    StepSeen::new(name(kind), Verdict::NotReached, "not reached")
}

fn rules(rules: &[Rule], asked: &Asked<'_>, access: &Access<'_>) -> StepSeen {
    let facts = Facts {
        path: asked.path,
        caller: asked.caller,
        model: &asked.request.model,
        header: &|name| asked.headers.get(name),
    };
    let Some((index, rule)) = first_match(rules, &facts) else {
        let said = format!("none of {} rules matches", rules.len());
        return StepSeen::new("rules", Verdict::NoMatch, said);
    };
    let (verdict, also) = match access.tier(&rule.tier) {
        true => (Verdict::Decided, ""),
        false => (Verdict::Refused, ", which this caller may not use"),
    };
    let said = format!("rule {index} matches: {}{also}", rule.tier);
    StepSeen {
        rule: Some(index),
        tier: Some(rule.tier.to_string()),
        ..StepSeen::new("rules", verdict, said)
    }
}

fn by_llm(llm: &LlmClassifier, shadow: bool) -> StepSeen {
    let (model, cluster, timeout) = (&llm.model, &llm.cluster, llm.timeout.as_millis());
    let aside = if shadow { ", beside the request" } else { "" };
    let said = format!("would ask {model} at cluster {cluster}, for {timeout} ms at most{aside}");
    StepSeen {
        llm: Some(LlmSeen {
            cluster: cluster.clone(),
            model: model.clone(),
            timeout_ms: timeout,
        }),
        ..StepSeen::new("llm", Verdict::WouldAsk, said)
    }
}

fn by_local(
    local: &LocalClassifier,
    asked: &Asked<'_>,
    access: &Access<'_>,
    features: usize,
) -> StepSeen {
    let talk = &asked.request.conversation;
    let input = local::input(talk);
    let read = local
        .model
        .read(&input, local::lexicon(), &mut Features::default());
    let Some(opinion) = opinion(local, &read, |tier| access.tier(tier)) else {
        let said = "none of the model's tiers is this caller's";
        return StepSeen::new("local", Verdict::Unsure, said);
    };
    let probabilities = by_tier(local, &read);
    let judged = local.tiers.get(opinion.judged);
    let least = judged.map_or(0.0, |tier| tier.min_confidence);
    let (confidence, cost, most) = (opinion.confidence, opinion.cost, 1.0 - least);
    let (verdict, word) = match opinion.is_sure {
        true => (Verdict::Decided, "sure"),
        false => (Verdict::Unsure, "not sure"),
    };
    let judged = judged.map_or(String::new(), |tier| tier.tier.to_string());
    let replaced = match *opinion.tier.0 == *judged {
        true => String::new(),
        false => format!("; {judged} is not this caller's, so {}", opinion.tier),
    };
    let said = format!(
        "{word}: {judged} {confidence:.2}, must be {least:.2}; expected cost {cost:.2}, may be {most:.2}{replaced}"
    );
    let against = runner_up(&probabilities, opinion.judged);
    StepSeen {
        tier: Some(opinion.tier.to_string()),
        local: Some(LocalSeen {
            confidence,
            min_confidence: least,
            expected_cost: cost,
            max_cost: most,
            probabilities: listed(local, &probabilities),
            against: against
                .and_then(|at| local.tiers.get(at))
                .map(|tier| tier.tier.to_string()),
            features: against
                .and_then(|at| {
                    Some((
                        label(local, &read, opinion.judged)?,
                        label(local, &read, at)?,
                    ))
                })
                .map(|labels| speaking(local, talk, labels, features))
                .unwrap_or_default(),
            judged,
        }),
        ..StepSeen::new("local", verdict, said)
    }
}

fn listed(local: &LocalClassifier, probabilities: &[f32]) -> Vec<Probability> {
    let tiers = local.tiers.iter().zip(probabilities);
    tiers
        .map(|(tier, probability)| Probability {
            tier: tier.tier.to_string(),
            probability: *probability,
        })
        .collect()
}

fn runner_up(probabilities: &[f32], best: usize) -> Option<usize> {
    let others = probabilities
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != best);
    let most = others.max_by(|a, b| a.1.total_cmp(b.1))?;
    Some(most.0)
}

/// The likeliest of the labels that stand for a tier.
fn label(local: &LocalClassifier, read: &PerLabel, tier: usize) -> Option<usize> {
    let likely = |at: &&usize| read.get(**at).copied().unwrap_or_default();
    let labels = local.tiers.get(tier)?.labels.iter();
    labels
        .max_by(|a, b| likely(a).total_cmp(&likely(b)))
        .copied()
}

/// The weightiest features that spoke for the one label against the other, either way.
fn speaking(
    local: &LocalClassifier,
    talk: &Conversation,
    labels: (usize, usize),
    most: usize,
) -> Vec<Feature> {
    let found = why(&local.model, &local::input(talk), local::lexicon(), labels);
    let weighty = found.into_iter().filter(|c| c.weight.abs() >= 0.005);
    weighty
        .take(most)
        .map(|contribution| Feature {
            kind: contribution.kind.as_str(),
            name: contribution.name,
            weight: contribution.weight,
        })
        .collect()
}
