//! Error: what Anthropic says went wrong, in OpenAI's words.
//!
//! Pure. A provider's message is quoted, cleaned and cut; one about the gateway's own key, account or model is not
//! quoted at all. Source of the types and their statuses: <https://platform.claude.com/docs/en/api/errors>.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::error::{INVALID_REQUEST, RATE_LIMIT, SERVER};
use crate::chat::json::{object, word};
use crate::provider::error::{quote, repair};

/// An error of the provider's, ready to be put into an OpenAI error object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// OpenAI's `type`.
    pub kind: &'static str,
    /// Stable; for programs.
    pub code: &'static str,
    /// What to do: in place of the message where there is none.
    pub advice: &'static str,
    /// The provider's words, at most [`MAX_QUOTED`] characters. `None` where it says nothing, or nothing for a client.
    pub message: Option<String>,
}

/// `{"type": "error", "error": {"type": …, "message": …}, "request_id": …}`
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

/// Reads an error's body; `None` where it is not of Anthropic's form. The status serves types that are not known here.
pub fn to_openai(status: u16, body: &[u8]) -> Option<ApiError> {
    let body: Body<'_> = object(std::str::from_utf8(body).ok()?)?;
    read(status, body.error?)
}

/// Whether a 400 with this body is about the gateway's account and not about the request, and so is as good as a 402.
pub fn is_spent(body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).ok();
    let error = text
        .and_then(object::<Body<'_>>)
        .and_then(|body| object::<ErrorObject<'_>>(body.error?.get()));
    error.is_some_and(|error| {
        word(error.kind).as_deref() == Some(REFUSED) && says_spent(word(error.message).as_deref())
    })
}

/// The documented answer to an account without credit is 402 `billing_error`
/// (<https://platform.claude.com/docs/en/api/errors>), but 400 `invalid_request_error` with these words is what comes: for
/// spent credit, <https://github.com/anthropics/claude-quickstarts/issues/229>, and for a spend limit that is reached,
/// <https://github.com/anthropics/claude-code/issues/2127>.
fn says_spent(message: Option<&str>) -> bool {
    message.is_some_and(|message| {
        message.starts_with("Your credit balance is too low")
            || message.starts_with("You have reached your specified API usage limits")
    })
}

/// Reads the `error` object alone, as an event of a stream has it.
pub(super) fn read(status: u16, error: &RawValue) -> Option<ApiError> {
    let error: ErrorObject<'_> = object(error.get())?;
    let (kind, message) = (word(error.kind), word(error.message));
    if kind.is_none() && message.is_none() {
        return None;
    }
    let kind = match kind.as_deref() {
        Some(REFUSED) if says_spent(message.as_deref()) => Some("billing_error"),
        kind => kind,
    };
    let meaning = kind
        .and_then(meaning)
        .or_else(|| meaning(usual_type(status)))
        .unwrap_or(FAILED);
    let message = message
        .filter(|_| meaning.is_for_client)
        .map(|message: Cow<'_, str>| quote(&message))
        .filter(|message| !message.is_empty());
    Some(ApiError {
        kind: meaning.kind,
        code: meaning.code,
        advice: meaning.advice,
        message,
    })
}

#[derive(Clone, Copy)]
struct Meaning {
    kind: &'static str,
    code: &'static str,
    advice: &'static str,
    /// The message is about the request, not about the gateway's key, account or set-up.
    is_for_client: bool,
}

const REFUSED: &str = "invalid_request_error";
const AGAIN: &str = "send the request again later, or name another tier or model";
const FAILED: Meaning = Meaning {
    kind: SERVER,
    code: "provider_failed",
    advice: AGAIN,
    is_for_client: true,
};

fn meaning(kind: &str) -> Option<Meaning> {
    let gateways_fault = |code, status| Meaning {
        code,
        advice: repair(status),
        is_for_client: false,
        ..FAILED
    };
    Some(match kind {
        // A conflict (409) is not known from Messages, but is in the list.
        REFUSED | "conflict_error" => Meaning {
            kind: INVALID_REQUEST,
            code: "provider_refused_request",
            advice: "change the request, or name another tier or model",
            ..FAILED
        },
        "request_too_large" => Meaning {
            kind: INVALID_REQUEST,
            code: "provider_request_too_large",
            advice: "make the request smaller",
            ..FAILED
        },
        "authentication_error" => gateways_fault("provider_auth_failed", 401),
        "billing_error" => gateways_fault("provider_auth_failed", 402),
        "permission_error" => gateways_fault("provider_auth_failed", 403),
        "not_found_error" => gateways_fault("provider_model_not_found", 404),
        "rate_limit_error" => Meaning {
            kind: RATE_LIMIT,
            code: "provider_rate_limited",
            ..FAILED
        },
        "timeout_error" => Meaning {
            code: "provider_timeout",
            ..FAILED
        },
        "overloaded_error" => Meaning {
            code: "provider_overloaded",
            ..FAILED
        },
        "api_error" => FAILED,
        _ => return None,
    })
}

/// The type that the documentation lists for a status.
fn usual_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => REFUSED,
        529 => "overloaded_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests;
