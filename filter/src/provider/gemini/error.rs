//! Error: Google's error object in OpenAI's terms.
//!
//! Pure. Where it is the gateway's credential that was refused, Google's words are left out: they can quote it.
//!
//! The object is `{"error":{"code":…,"message":…,"status":…,"details":[…]}}`, in some answers the one element of a list.
//! Statuses: <https://ai.google.dev/gemini-api/docs/generate-content/api-errors>, and for the others
//! <https://cloud.google.com/apis/design/errors#error_model>.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::candidate::{each, object};
use crate::chat::error::{INVALID_REQUEST, RATE_LIMIT, SERVER, error_body};
use crate::provider::error::{quote, repair};

/// What Google says went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The status that it comes to. It differs from the one it came with where a 400 is the gateway's fault: an invalid
    /// key is 401, an account that may not use the API is 403.
    pub status: u16,
    /// OpenAI's `type`.
    pub kind: &'static str,
    /// Stable; for programs.
    pub code: &'static str,
    /// Google's words on one line, cut at [`MAX_QUOTED`] characters. Empty where there are none, and where they could
    /// quote the gateway's key.
    pub quoted: String,
}

/// Reads the error in a body that came with `status`; `None` where there is none. Of a 200 (an event of a stream) the
/// body says which status it should have been.
pub fn read(status: u16, body: &[u8]) -> Option<Fault> {
    let error = GoogleError::read(body)?;
    let status = error.status(status);
    let (kind, code) = match status {
        401..=403 => (SERVER, "provider_auth_failed"),
        404 => (SERVER, "provider_model_not_found"),
        408 | 504 => (SERVER, "provider_timeout"),
        413 => (INVALID_REQUEST, "provider_request_too_large"),
        429 => (RATE_LIMIT, "provider_rate_limited"),
        500..=599 => (SERVER, "provider_failed"),
        _ => (INVALID_REQUEST, "provider_refused_request"),
    };
    let quoted = match status {
        401..=404 => String::new(),
        _ => error.message(),
    };
    Some(Fault {
        status,
        kind,
        code,
        quoted,
    })
}

/// Whether an error with this status and body is the gateway's fault and not the client's: its key, its account, its
/// model's name. Google answers an invalid key with 400, as it does a bad request.
pub fn is_gateways_fault(status: u16, body: &[u8]) -> bool {
    let status = GoogleError::read(body).map_or(status, |error| error.status(status));
    matches!(status, 401..=404)
}

// === impl Fault ===

impl Fault {
    /// OpenAI's error object, for where no better sentence is made: in a stream.
    pub fn body(&self) -> Vec<u8> {
        let status = self.status;
        let message = match status {
            401..=403 => format!(
                "the provider refused the gateway's credential ({status}); operator: {}",
                repair(status)
            ),
            404 => format!(
                "the provider does not know the model ({status}); operator: {}",
                repair(status)
            ),
            _ if self.quoted.is_empty() => format!(
                "the provider answered {status}: send the request again later, or name another tier or model"
            ),
            _ => format!("the provider answered {status}: {}", self.quoted),
        };
        error_body(self.kind, self.code, &message, None)
    }
}

// === reading ===

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Values stay raw, so that one of an unexpected type does not hide the others.
#[derive(Deserialize)]
struct GoogleError<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

/// Of the kinds of details, `google.rpc.ErrorInfo` has a reason.
#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
}

impl<'a> GoogleError<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?.trim_ascii();
        let body: Body<'a> = match text.starts_with('[') {
            true => object(only_element(text)?.get()).ok()?,
            false => object(text).ok()?,
        };
        object(body.error?.get()).ok()
    }

    fn status(&self, came_with: u16) -> u16 {
        let is_error = |status: &u16| (400..=599).contains(status);
        let name = self.status.map(RawValue::get).unwrap_or_default();
        let status = Some(came_with)
            .filter(is_error)
            .or_else(|| self.code?.get().parse().ok().filter(is_error))
            .unwrap_or_else(|| status_of(name));
        match status {
            400 if self.is_key_refused() => 401,
            // The account's country or its billing, says Google's page of errors.
            400 if name == r#""FAILED_PRECONDITION""# => 403,
            _ => status,
        }
    }

    /// `API_KEY_INVALID` is the reason that comes with 400; its siblings would mean the key as well:
    /// <https://cloud.google.com/apis/design/errors>, `google.api.ErrorReason`.
    fn is_key_refused(&self) -> bool {
        let mut found = false;
        if let Some(details) = self.details {
            let _ = each(details, &mut |detail| {
                let reason = object::<Detail<'_>>(detail.get())
                    .ok()
                    .and_then(|detail| detail.reason);
                found |= reason.is_some_and(|reason| reason.get().starts_with("\"API_KEY_"));
                Ok(())
            });
        }
        found
    }

    fn message(&self) -> String {
        self.message
            .and_then(|message| serde_json::from_str::<String>(message.get()).ok())
            .map(|message| quote(&message))
            .unwrap_or_default()
    }
}

/// The element of a list of one.
fn only_element(list: &str) -> Option<&RawValue> {
    let list: &RawValue = serde_json::from_str(list).ok()?;
    let mut only = None;
    let mut elements: usize = 0;
    each(list, &mut |element| {
        only = Some(element);
        elements = elements.saturating_add(1);
        Ok(())
    })
    .ok()?;
    only.filter(|_| elements == 1)
}

/// The HTTP status of a `google.rpc.Code`, by its name in JSON.
fn status_of(name: &str) -> u16 {
    match name.trim_matches('"') {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => 400,
        "UNAUTHENTICATED" => 401,
        "PERMISSION_DENIED" => 403,
        "NOT_FOUND" => 404,
        "ABORTED" | "ALREADY_EXISTS" => 409,
        "RESOURCE_EXHAUSTED" => 429,
        "CANCELLED" => 499,
        "UNIMPLEMENTED" => 501,
        "UNAVAILABLE" => 503,
        "DEADLINE_EXCEEDED" => 504,
        // INTERNAL, UNKNOWN, DATA_LOSS, and what nobody knows.
        _ => 500,
    }
}

#[cfg(test)]
mod tests;
