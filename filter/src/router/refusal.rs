//! Refusal: what a client is told whose request no target can serve: which limit it meets, and which model comes closest.
//!
//! Pure.

use super::candidates::{Asked, Skipped, Why, content};
use super::fit;
use crate::chat::error::{self, ErrorReply, INVALID_REQUEST};
use crate::chat::request::Dialect;
use crate::policy::{Policy, Tier};
use crate::telemetry::headers::clean;

/// Of those skipped, each says another reason perhaps: the client is told the one that it can do most about.
pub fn nobody(policy: &Policy, asked: Asked<'_>, skipped: &[Skipped<'_>]) -> ErrorReply {
    if asked.client == Dialect::CountTokens && skipped.iter().any(|s| s.why == Why::CannotCount) {
        return nobody_counts();
    }
    // In a tie the first: the policy's preference.
    let Some(closest) = skipped
        .iter()
        .rev()
        .max_by_key(|skipped| closeness(skipped.why))
    else {
        return ErrorReply {
            status: 500,
            kind: error::SERVER,
            code: "no_target",
            message: "the policy has no target for this request".to_owned(),
            param: None,
        };
    };
    let model = clean(&closest.target.model);
    let elsewhere = elsewhere(policy, asked);
    let refused = |status, code, message, param: &str| ErrorReply {
        status,
        kind: INVALID_REQUEST,
        code,
        message,
        param: Some(param.to_owned()),
    };
    let incapable = |what, param| {
        let message = format!(
            "no model here can be given {what}; {model} can do the rest: leave {what} out{elsewhere}"
        );
        refused(400, "no_capable_target", message, param)
    };
    let forbidden = |what| {
        let message = format!("no model here {what}{elsewhere}");
        refused(403, "no_allowed_target", message, "model")
    };
    match closest.why {
        Why::Context { tokens, context } => {
            let message = format!(
                "the request has about {tokens} tokens, more than any model here can read; {model} comes closest with {context}: shorten it{elsewhere}"
            );
            refused(400, "context_length_exceeded", message, "messages")
        }
        Why::Input(input) | Why::Format(input) => incapable(content(input), "messages"),
        Why::Tools => incapable("tools", "tools"),
        Why::JsonSchema => incapable("a JSON schema", "response_format"),
        Why::Region => forbidden(
            "is served in a region that this caller may use (`regions` of `callers` in the policy)",
        ),
        Why::Version => forbidden(
            "is of a version that this caller may get (`versions` of `callers` in the policy)",
        ),
        // One that cools down is tried.
        Why::NotAllowed | Why::CannotCount | Why::CoolingDown => {
            forbidden("may be used by this caller")
        }
    }
}

/// The less is between a target and the request, the more.
fn closeness(why: Why) -> (u8, u32) {
    match why {
        Why::CannotCount | Why::NotAllowed | Why::CoolingDown => (0, 0),
        Why::Version => (1, 0),
        Why::Region => (2, 0),
        Why::Format(_) => (3, 0),
        Why::Input(_) => (4, 0),
        Why::Tools => (5, 0),
        Why::JsonSchema => (6, 0),
        Why::Context { context, .. } => (7, context),
    }
}

/// Another tier of this caller's that has a target for the request.
fn elsewhere(policy: &Policy, asked: Asked<'_>) -> String {
    let serves = |tier: &&Tier| {
        let mut targets = tier.targets.iter();
        targets.any(|target| fit::fault(policy, asked, target).is_none())
    };
    match asked.access.tiers().find(serves) {
        Some(tier) => format!(", or ask for tier {}, which can serve it", tier.name),
        None => String::new(),
    }
}

fn nobody_counts() -> ErrorReply {
    ErrorReply {
        status: 404,
        kind: INVALID_REQUEST,
        code: "count_tokens_unsupported",
        message: "no target of this model or tier counts tokens: only providers of api anthropic do; name another model or tier"
            .to_owned(),
        param: Some("model".to_owned()),
    }
}
