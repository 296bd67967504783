//! The targets of a decision: in which order they are tried, and what each makes of the request.

use pointsman::chat::error::{self, ErrorReply};
use pointsman::policy::{Order, Policy, Sticky};
use pointsman::provider::adapt::{Unadaptable, Wire};
use pointsman::router::candidates::{self, Skipped};
use pointsman::router::decide::{Access, Asked, Decision};
use pointsman::router::degrade;
use pointsman::router::order;
use pointsman::router::plan::{self, Budget, Planned, PlannedTarget};

use super::Client;
use super::explanation::{Refusal, Takes, TargetSeen};

pub struct Seen {
    pub budget: Budget,
    /// What the policy says itself when all of them have failed.
    pub answer: Option<String>,
    /// In words, where it is not simply the policy's.
    pub order: Option<String>,
    pub targets: Vec<TargetSeen>,
    /// The first target's.
    pub refusal: Option<Box<ErrorReply>>,
}

/// # Errors
/// No target can be tried.
pub fn plan(
    client: &Client,
    policy: &Policy,
    asked: &Asked<'_>,
    decision: &Decision,
    body: &[u8],
) -> Result<Seen, ErrorReply> {
    let access = Access::of(policy, asked.caller);
    let named = order::providers(policy, &access, asked.headers)?;
    let candidates::Candidates {
        targets,
        skipped,
        degraded,
    } = candidates::candidates(
        policy,
        candidates::Asked {
            choice: &decision.choice,
            access: &access,
            caller: asked.caller,
            headers: asked.headers,
            request: asked.request,
            client: client.dialect,
            random: 0,
        },
    )?;
    let planned = plan::plan(
        policy,
        Planned {
            choice: &decision.choice,
            targets: &targets,
            degraded: degraded.as_ref(),
            standings: &[],
            request: asked.request,
            body_len: body.len(),
            client: client.dialect,
            headers: &client.headers,
            told: &[],
        },
    );
    let mut refusal = None;
    let mut seen = Vec::new();
    for (index, target) in planned.targets.iter().enumerate() {
        let wire = Wire::new(&planned, target);
        let span = Some(planned.model_span.clone());
        let mut found = TargetSeen {
            attempt: Some(index + 1),
            degraded_to: target.is_degraded.then(|| planned.degraded_to.to_owned()),
            takes: match wire.passes() {
                true => Takes::AsItIs,
                false => Takes::Translated,
            },
            ..of_plan(target)
        };
        match wire.request(body, span) {
            Ok(adapted) => {
                if !adapted.dropped.is_empty() {
                    found.takes = Takes::Drops;
                }
                found.dropped = adapted.dropped;
            }
            Err(why) => {
                let why = match why {
                    Unadaptable::Refused(reply) => *reply,
                    Unadaptable::Damaged => unreadable(),
                };
                found.takes = Takes::Refuses;
                found.refusal = Some(Refusal::from(&why));
                if index == 0 {
                    refusal = Some(Box::new(why));
                }
            }
        }
        seen.push(found);
    }
    seen.extend(skipped.iter().map(unplanned));
    Ok(Seen {
        budget: plan::budget(policy, &decision.choice, asked.request.stream),
        answer: degrade::words(policy, &decision.choice, client.dialect).map(ToString::to_string),
        order: order_words(policy, asked, decision, &named),
        targets: seen,
        refusal,
    })
}

fn order_words(
    policy: &Policy,
    asked: &Asked<'_>,
    decision: &Decision,
    named: &[&str],
) -> Option<String> {
    let tier = decision.tier_name();
    let order = tier.and_then(|name| policy.tier(&name.0)).map(|t| t.order);
    let by_weight = match order {
        None | Some(Order::Priority) => None,
        Some(Order::Weighted(sticky)) => Some(match order::sticks_to(sticky, asked.caller) {
            Sticky::Conversation => "by weight, the same for all of this conversation",
            Sticky::Caller => "by weight, the same for all of this caller's requests",
            Sticky::None => "by weight, drawn anew for each request: this is one such order",
        }),
    };
    let by_provider = match named {
        [] => None,
        named => Some(format!("X-LLM-Providers puts {} first", named.join(", "))),
    };
    let words: Vec<&str> = by_provider
        .as_deref()
        .into_iter()
        .chain(by_weight)
        .collect();
    (!words.is_empty()).then(|| words.join("; else "))
}

/// What no body that was read should meet.
fn unreadable() -> ErrorReply {
    ErrorReply {
        status: 400,
        kind: error::INVALID_REQUEST,
        code: "invalid_json",
        message: "the body could not be rewritten; check that it is one JSON object".to_owned(),
        param: None,
    }
}

fn of_plan(target: &PlannedTarget<'_>) -> TargetSeen {
    TargetSeen {
        attempt: None,
        provider: target.provider.to_owned(),
        cluster: target.cluster.to_owned(),
        api: target.api,
        model: target.model.to_owned(),
        sent_as: target.sent_as.to_owned(),
        degraded_to: None,
        takes: Takes::LeftOut,
        dropped: Vec::new(),
        refusal: None,
        left_out: None,
    }
}

fn unplanned(skipped: &Skipped<'_>) -> TargetSeen {
    let target = skipped.target;
    TargetSeen {
        attempt: None,
        provider: target.provider.name.to_string(),
        cluster: target.provider.cluster.to_string(),
        api: target.provider.api,
        model: target.model.to_string(),
        sent_as: target.sent_as.to_string(),
        degraded_to: None,
        takes: Takes::LeftOut,
        dropped: Vec::new(),
        refusal: None,
        left_out: Some(skipped.why.words()),
    }
}
