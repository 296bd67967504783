//! Errors in Anthropic's form, for clients that speak Messages.
//!
//! Pure. The message is the one that an OpenAI client would get; `code` and `param` have no place in this form.
//!
//! Form and types after <https://docs.claude.com/en/api/errors>.

use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::completion::{Text, is, number};
use super::answer::parts::escaped;
use crate::chat::error::ErrorReply;
use crate::chat::json::object;
use crate::chat::request::Dialect;
use crate::http::Reply;

/// Any failure of the server's.
pub(super) const API: &str = "api_error";
const INVALID_REQUEST: &str = "invalid_request_error";
const AUTHENTICATION: &str = "authentication_error";
const BILLING: &str = "billing_error";
const PERMISSION: &str = "permission_error";
const NOT_FOUND: &str = "not_found_error";
const RATE_LIMIT: &str = "rate_limit_error";

/// Every type that an SDK knows.
const TYPES: [&str; 10] = [
    INVALID_REQUEST,
    AUTHENTICATION,
    BILLING,
    PERMISSION,
    NOT_FOUND,
    "request_too_large",
    RATE_LIMIT,
    "timeout_error",
    API,
    "overloaded_error",
];

/// An error body, or an error in a stream, of OpenAI's form or Anthropic's.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// Of the errors of vLLM of old, which are not nested.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

/// An error in Anthropic's form, from one of `status` in OpenAI's.
///
/// A body that is in Anthropic's form already is returned as it is. One that is in neither is not quoted.
pub fn from_openai(status: u16, body: &[u8]) -> Vec<u8> {
    if is_of_form(body) {
        return body.to_vec();
    }
    let read = std::str::from_utf8(body).ok().and_then(object::<Body<'_>>);
    let fields = read.and_then(|read| object::<Fields<'_>>(read.error?.get()));
    match fields.and_then(|fields| Text::read(fields.message)) {
        Some(message) => form(kind_of(status), message),
        None => {
            let advice = match status {
                408 | 429 | 500.. => "send the request again later",
                _ => "change the request, or name another model",
            };
            let message = format!("the gateway answered {status} without a reason: {advice}");
            form(kind_of(status), Text(&message))
        }
    }
}

/// An error of `status` in OpenAI's form, in that of a client that speaks `client`.
pub fn in_form(client: Dialect, status: u16, body: Vec<u8>) -> Vec<u8> {
    match client.is_messages() {
        true => from_openai(status, &body),
        false => body,
    }
}

/// Whether this is an error in Anthropic's form.
pub fn is_of_form(data: &[u8]) -> bool {
    let read = std::str::from_utf8(data).ok().and_then(object::<Body<'_>>);
    read.filter(|read| is(read.kind, "error"))
        .and_then(|read| object::<Fields<'_>>(read.error?.get()))
        .is_some_and(|error| {
            Text::read(error.kind).is_some() && Text::read(error.message).is_some()
        })
}

/// The gateway's own error, in the form of a client that speaks `client`.
pub fn reply(client: Dialect, error: &ErrorReply) -> Reply {
    match client.is_messages() {
        true => Reply::json(error.status, Vec::new(), body(error)),
        false => error.into(),
    }
}

/// The body of one of the filter's own errors.
pub fn body(reply: &ErrorReply) -> Vec<u8> {
    form(kind_of(reply.status), Text(&escaped(&reply.message)))
}

/// Type and message of an error that a stream holds.
///
/// There is no status, so the type is that of a `code` that is one (OpenRouter's, vLLM's), the given type if
/// Anthropic has it too, or the server's failure. What is about the gateway's key, account or model's name is the
/// server's failure without a message: it may quote the key, and a client would blame its own.
pub(super) fn in_stream(data: &str) -> (&'static str, Option<Text<'_>>) {
    let Some(body) = object::<Body<'_>>(data) else {
        return (API, None);
    };
    let fields = match body.error {
        Some(error) => object::<Fields<'_>>(error.get()).unwrap_or(Fields {
            kind: None,
            // `{"error": "…"}`
            message: Some(error),
            code: None,
        }),
        None => Fields {
            kind: body.kind,
            message: body.message,
            code: body.code,
        },
    };
    let status = number(fields.code)
        .and_then(|code| u16::try_from(code).ok())
        .filter(|status| (400..600).contains(status));
    let named = TYPES.into_iter().find(|&kind| is(fields.kind, kind));
    let is_limit = ["rate_limit_exceeded", "insufficient_quota"]
        .into_iter()
        .any(|code| is(fields.code, code));
    let kind = match (status, named) {
        (Some(status), _) => kind_of(status),
        (None, Some(kind)) => kind,
        (None, None) if is_limit => RATE_LIMIT,
        (None, None) => API,
    };
    let is_ours = is(fields.code, "invalid_api_key")
        || matches!(kind, AUTHENTICATION | BILLING | PERMISSION | NOT_FOUND);
    if is_ours {
        return (API, None);
    }
    (kind, Text::read(fields.message))
}

/// Anthropic's type for a status: <https://docs.claude.com/en/api/errors>.
fn kind_of(status: u16) -> &'static str {
    match status {
        401 => AUTHENTICATION,
        402 => BILLING,
        403 => PERMISSION,
        404 => NOT_FOUND,
        413 => "request_too_large",
        429 => RATE_LIMIT,
        408 | 504 => "timeout_error",
        529 => "overloaded_error",
        400..=499 => INVALID_REQUEST,
        _ => API,
    }
}

/// `{"type":"error","error":{"type":…,"message":…}}`
fn form(kind: &str, message: Text<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_form(kind, message, &mut out);
    out
}

pub(super) fn write_form(kind: &str, message: Text<'_>, out: &mut Vec<u8>) {
    // Writing into a vector cannot fail.
    let _ = write!(
        out,
        r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#
    );
}

#[cfg(test)]
mod tests;
