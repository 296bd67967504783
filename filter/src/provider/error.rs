//! What the client sees when every attempt failed: the last provider's error, in OpenAI's form.
//!
//! Pure. A body never gets out where it can quote the gateway's key (401 to 403), and where it does get out it is an
//! OpenAI error object of bounded size.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::judge::is_event_stream;
use super::{anthropic, gemini};
use crate::chat::error::{INVALID_REQUEST, RATE_LIMIT, SERVER, error_body};
use crate::chat::json::{count, object};
use crate::http::Headers;
use crate::policy::Api;

/// Bytes of a provider's own error object that may pass as it is.
pub const MAX_ERROR_BODY: usize = 64 * 1024;

/// Characters of a provider's message that are quoted in an object of ours.
pub const MAX_QUOTED: usize = 500;

/// Whether the next target is tried after this status.
///
/// 401 to 404 are the gateway's fault, not the client's: our key, our account, our model's name. Any other 4xx would
/// be the same at every provider.
pub fn moves_on(status: u16) -> bool {
    matches!(status, 401..=404 | 408 | 429 | 500..=599)
}

/// Whether a 400 of this format may be one of the gateway's faults, so that its body is to be read.
pub fn hides_faults(api: Api) -> bool {
    api != Api::OpenAi
}

/// The status that a 400 with this body should have had, if it is the gateway's fault: Google answers so to an invalid key,
/// Anthropic to an account without credit.
pub fn hidden_fault(api: Api, body: &[u8]) -> Option<u16> {
    match api {
        Api::OpenAi => None,
        Api::Anthropic => anthropic::error::is_spent(body).then_some(402),
        Api::Gemini => gemini::error::is_gateways_fault(400, body).then_some(401),
    }
}

/// Whether the body of an error with these headers is read at all. An event stream may stay open for long and says
/// nothing that is worth waiting for, and nothing is decompressed.
pub fn is_read(headers: &Headers) -> bool {
    let is_encoded = headers
        .get("content-encoding")
        .is_some_and(|e| !e.eq_ignore_ascii_case(b"identity"));
    !is_encoded && !headers.get("content-type").is_some_and(is_event_stream)
}

/// What the operator must do about a status that is the gateway's fault.
pub fn repair(status: u16) -> &'static str {
    match status {
        402 => "check the provider account's credit",
        404 => "check the model's name and the provider's path in the policy",
        _ => "check the provider's key (its SDS secret) and what that key may use",
    }
}

/// The status and the JSON body for the client, from the last provider's status and body.
///
/// An OpenAI error object of a provider of that format passes byte for byte; of another JSON error the message is quoted;
/// anything else is replaced. A provider's 401 to 404 become 502 without the body: an SDK would blame the caller's key. So
/// does what is no error status at all, such as a 200 whose body was refused.
pub fn final_error(
    api: Api,
    status: u16,
    body: &[u8],
    provider: &str,
    model: &str,
) -> (u16, Vec<u8>) {
    let (message, kind, code) = match status {
        401..=403 => (
            format!(
                "provider {provider:?} refused the gateway's credential ({status}) for model {model:?}; operator: {}",
                repair(status)
            ),
            SERVER,
            "provider_auth_failed",
        ),
        404 => (
            format!(
                "provider {provider:?} does not know model {model:?} (404); operator: {}",
                repair(status)
            ),
            SERVER,
            "provider_model_not_found",
        ),
        400..=599 => {
            if api == Api::OpenAi && body.len() <= MAX_ERROR_BODY && is_openai(body) {
                return (status, body.to_vec());
            }
            let Said {
                kind,
                code,
                message,
            } = said(api, status, body);
            let message =
                format!("provider {provider:?} answered {status} for model {model:?}: {message}");
            return (status, error_body(kind, code, &message, None));
        }
        _ => (
            format!(
                "provider {provider:?} answered {status} for model {model:?} without a usable answer: send the \
                 request again, or name another tier or model"
            ),
            SERVER,
            "provider_bad_answer",
        ),
    };
    (502, error_body(kind, code, &message, None))
}

/// The error that an event of a stream in OpenAI's format carries, as an object that the official SDKs raise on; `None`: it
/// is one, and passes.
pub fn in_stream(data: &[u8]) -> Option<Vec<u8>> {
    let error = std::str::from_utf8(data).ok().and_then(ProviderError::read);
    if error.as_ref().is_some_and(|error| error.is_openai) {
        return None;
    }
    let quoted = error
        .filter(|error| !error.is_about_the_key)
        .map(|error| quote(&error.message))
        .filter(|message| !message.is_empty());
    let words = quoted
        .as_deref()
        .unwrap_or("send the request again, or name another tier or model");
    let message = format!("the provider broke off its answer: {words}");
    Some(error_body(SERVER, "provider_failed", &message, None))
}

/// The status and the JSON body for the client when the last provider has no host that can be asked.
pub fn unreachable_error(provider: &str, model: &str) -> (u16, Vec<u8>) {
    let message = format!(
        "provider {provider:?} could not be reached for model {model:?}: send the request again later, or name another \
         tier or model; operator: check the cluster's address and its `ejected` counters at the admin port"
    );
    (
        503,
        error_body(SERVER, "provider_unreachable", &message, None),
    )
}

/// What a provider's error comes to in OpenAI's words.
struct Said {
    kind: &'static str,
    code: &'static str,
    /// Quoted, or what to do.
    message: String,
}

fn said(api: Api, status: u16, body: &[u8]) -> Said {
    let (kind, code, advice) = kind_of(status);
    let given = |message: Option<String>, advice: &str| {
        let message = message.filter(|message| !message.is_empty());
        message.unwrap_or_else(|| advice.to_owned())
    };
    let translated = match api {
        Api::OpenAi => None,
        Api::Anthropic => anthropic::error::to_openai(status, body).map(|error| Said {
            kind: error.kind,
            code: error.code,
            message: given(error.message, error.advice),
        }),
        Api::Gemini => gemini::error::read(status, body).map(|fault| Said {
            kind: fault.kind,
            code: fault.code,
            message: given(Some(fault.quoted), advice),
        }),
    };
    translated.unwrap_or_else(|| {
        let error = std::str::from_utf8(body).ok().and_then(ProviderError::read);
        Said {
            kind,
            code,
            message: given(error.map(|error| quote(&error.message)), advice),
        }
    })
}

fn is_openai(body: &[u8]) -> bool {
    let error = std::str::from_utf8(body).ok().and_then(ProviderError::read);
    error.is_some_and(|error| error.is_openai)
}

/// OpenAI's `type`, a stable `code`, and what to do, for a status that stays.
fn kind_of(status: u16) -> (&'static str, &'static str, &'static str) {
    const AGAIN: &str = "send the request again later, or name another tier or model";
    const REQUEST: &str = "change the request, or name another tier or model";
    match status {
        408 | 504 => (SERVER, "provider_timeout", AGAIN),
        529 => (SERVER, "provider_overloaded", AGAIN),
        413 => (
            INVALID_REQUEST,
            "provider_request_too_large",
            "make the request smaller",
        ),
        429 => (RATE_LIMIT, "provider_rate_limited", AGAIN),
        500..=599 => (SERVER, "provider_failed", AGAIN),
        _ => (INVALID_REQUEST, "provider_refused_request", REQUEST),
    }
}

// === reading ===

/// What a provider's JSON says went wrong.
struct ProviderError<'a> {
    /// The body is `{"error": {"message": "…", …}, …}`.
    is_openai: bool,
    /// Its code is that of a status whose message may quote the gateway's key.
    is_about_the_key: bool,
    message: Cow<'a, str>,
}

/// Values stay raw, so that one of an unexpected type does not hide the others.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// vLLM of old, Mistral, Bedrock.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    /// FastAPI, and all that is built on it.
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

impl<'a> ProviderError<'a> {
    fn read(body: &'a str) -> Option<Self> {
        let body: Body<'a> = object(body)?;
        let is_about_the_key = matches!(count(body.code), Some(401..=404));
        let nested = body
            .error
            .and_then(|error| object::<ErrorObject<'a>>(error.get()));
        if let Some(message) = nested.and_then(|error| string(error.message)) {
            return Some(Self {
                is_openai: true,
                is_about_the_key,
                message,
            });
        }
        let message = string(body.message)
            .or_else(|| string(body.detail))
            .or_else(|| string(body.error))?;
        Some(Self {
            is_openai: false,
            is_about_the_key,
            message,
        })
    }
}

fn string(json: Option<&RawValue>) -> Option<Cow<'_, str>> {
    serde_json::from_str::<String>(json?.get())
        .ok()
        .map(Cow::Owned)
}

/// A provider's words, fit for a message: runs of white space and control characters are one space, cut at
/// [`MAX_QUOTED`] characters.
pub(super) fn quote(message: &str) -> String {
    let words = message
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty());
    let mut quoted = String::new();
    let mut room = MAX_QUOTED;
    for word in words {
        if !quoted.is_empty() {
            quoted.push(' ');
            room = room.saturating_sub(1);
        }
        quoted.extend(word.chars().take(room));
        room = room.saturating_sub(word.chars().count());
        if room == 0 {
            break;
        }
    }
    quoted.truncate(quoted.trim_end().len());
    quoted
}

#[cfg(test)]
mod tests;
