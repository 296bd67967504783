//! The targets of a decision: in which order they are tried, and what each makes of the request.

use pointsman::chat::error::{self, ErrorReply};
use pointsman::policy::Policy;
use pointsman::provider::adapt::{Unadaptable, Wire};
use pointsman::router::candidates::{self, Skipped};
use pointsman::router::decide::{Access, Asked, Decision};
use pointsman::router::plan::{self, Planned, PlannedTarget};

use super::Client;
use super::explanation::{Refusal, Takes, TargetSeen};

pub struct Seen {
    pub attempt_timeout_ms: u64,
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
    let candidates::Candidates { targets, skipped } = candidates::candidates(
        policy,
        candidates::Asked {
            choice: &decision.choice,
            access: &access,
            request: asked.request,
            client: client.dialect,
        },
    )?;
    let planned = plan::plan(
        policy,
        Planned {
            choice: &decision.choice,
            targets: &targets,
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
        attempt_timeout_ms: planned.attempt_timeout_ms,
        targets: seen,
        refusal,
    })
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
        takes: Takes::LeftOut,
        dropped: Vec::new(),
        refusal: None,
        left_out: Some(skipped.why.words().to_owned()),
    }
}
