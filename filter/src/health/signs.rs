//! Signs: what an attempt says of its target, by its outcome, its headers and, of an error, its body.
//!
//! Pure. What is the client's own fault, and a client that left, says nothing of the provider.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Kind;
use super::when::When;
use crate::chat::json::{object, word};
use crate::http::Headers;
use crate::provider::judge::Outcome;

/// Elements of a list in an error's body that are looked at.
const MAX_DETAILS: usize = 16;

/// What is learnt of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Good,
    /// It has answered, and says that it will not answer again before this.
    Exhausted(When),
    Nothing,
    Bad(Kind, Option<When>),
}

/// What the body of an error says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// The account's quota, not a rate.
    is_quota: bool,
    /// The one request asks for more than the limit allows in a minute: no wait would help it, and others are served.
    is_too_large: bool,
    retry_in: Option<When>,
}

/// Of an attempt that ended so.
pub fn read(outcome: Outcome, headers: &Headers, said: Said) -> Sign {
    let status = match outcome {
        Outcome::ConnectFailure => return Sign::Bad(Kind::Unreachable, None),
        Outcome::ClientLeft => return Sign::Nothing,
        Outcome::Timeout | Outcome::Reset | Outcome::Empty | Outcome::BadEvent => {
            return Sign::Bad(Kind::Overload, None);
        }
        Outcome::Status(status) => status,
    };
    let kind = match status {
        200..=299 => {
            return match limits(headers).exhausted {
                Some(until) => Sign::Exhausted(until),
                None => Sign::Good,
            };
        }
        402 => Kind::Quota,
        429 if said.is_too_large => return Sign::Nothing,
        429 if said.is_quota => Kind::Quota,
        429 => Kind::RateLimit,
        // Where it moved to is not where the policy says.
        300..=399 | 401 | 403 | 404 => Kind::Refused,
        408 | 500..=599 => Kind::Overload,
        _ => return Sign::Nothing,
    };
    let asked = match kind {
        Kind::RateLimit => retry_after(headers)
            .or(said.retry_in)
            .or_else(|| limits(headers).of_refusal()),
        Kind::Overload => retry_after(headers).or(said.retry_in),
        Kind::Quota | Kind::Refused | Kind::Unreachable => None,
    };
    Sign::Bad(kind, asked)
}

fn retry_after(headers: &Headers) -> Option<When> {
    let millis = headers.text("retry-after-ms").and_then(When::of_millis);
    millis.or_else(|| headers.text("retry-after").and_then(When::read))
}

/// What the headers of an answer say of the provider's limits.
#[derive(Debug, Default)]
struct Limits {
    /// The last reset of a limit of which nothing remains.
    exhausted: Option<When>,
    /// The last reset of any, and whether any says how much remains.
    reset: Option<When>,
    says_remaining: bool,
}

/// Of `x-ratelimit-remaining-requests` and `x-ratelimit-reset-requests` (OpenAI and what is compatible) and
/// `anthropic-ratelimit-requests-remaining` and `-reset`; for `requests` whatever is limited.
fn limits(headers: &Headers) -> Limits {
    let mut limits = Limits::default();
    for (name, value) in &headers.0 {
        if reset(name).is_some() {
            limits.reset = later(limits.reset, when(value));
        }
        let Some(limit) = remaining(name) else {
            continue;
        };
        limits.says_remaining = true;
        if value.trim_ascii() == b"0" {
            let mut others = headers.0.iter();
            let reset = others.find(|(name, _)| reset(name) == Some(limit));
            let reset = reset.and_then(|(_, value)| when(value));
            limits.exhausted = later(limits.exhausted, reset);
        }
    }
    limits
}

fn when(value: &[u8]) -> Option<When> {
    When::read(std::str::from_utf8(value).ok()?)
}

/// Whose header of limits this is, and of what, if it says how much is `what`.
fn limit_of<'a>(name: &'a str, what: &str) -> Option<(Family, &'a str)> {
    if let Some(rest) = name.strip_prefix("x-ratelimit-") {
        return Some((Family::OpenAi, rest.strip_prefix(what)?));
    }
    let rest = name.strip_prefix("anthropic-ratelimit-")?;
    Some((Family::Anthropic, rest.strip_suffix(what)?))
}

fn remaining(name: &str) -> Option<(Family, &str)> {
    limit_of(name, "remaining")
}

fn reset(name: &str) -> Option<(Family, &str)> {
    limit_of(name, "reset")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    OpenAi,
    Anthropic,
}

impl Limits {
    /// A refusal names the limit that was reached by what remains of it; where nothing says what remains, any may be.
    fn of_refusal(&self) -> Option<When> {
        match self.says_remaining {
            true => self.exhausted,
            false => self.reset,
        }
    }
}

/// The later of two; a moment and a span cannot be compared without a clock: the one that came last.
fn later(one: Option<When>, other: Option<When>) -> Option<When> {
    match (one, other) {
        (Some(When::In(a)), Some(When::In(b))) => Some(When::In(a.max(b))),
        (Some(When::At(a)), Some(When::At(b))) => Some(When::At(a.max(b))),
        (one, other) => other.or(one),
    }
}

// === bodies ===

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// OpenAI's, and Google's with its details. Values stay raw, so that one of an unexpected type does not hide the others.
#[derive(Deserialize)]
struct ErrorObject<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

/// `google.rpc.RetryInfo` and `google.rpc.QuotaFailure`.
#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow, rename = "retryDelay")]
    retry_delay: Option<&'a RawValue>,
    #[serde(borrow)]
    violations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Violation<'a> {
    #[serde(borrow, rename = "quotaId")]
    quota: Option<&'a RawValue>,
}

/// Reads the body of a 429, whoever wrote it.
///
/// OpenAI says of an account without credit `insufficient_quota`, of one that pays no more `billing_not_active`, and of a spend limit
/// `billing_hard_limit_reached`: <https://platform.openai.com/docs/guides/error-codes>. Google names the quota, such as
/// `GenerateRequestsPerDayPerProjectPerModel-FreeTier`, and a delay that means nothing for one of a day:
/// <https://ai.google.dev/gemini-api/docs/rate-limits>.
pub fn read_body(body: &[u8]) -> Said {
    let Some(text) = std::str::from_utf8(body).ok().map(str::trim_ascii) else {
        return Said::default();
    };
    let only;
    let text = match text.starts_with('[') {
        true => {
            only = elements(text);
            only.first().map_or("", |element| element.get())
        }
        false => text,
    };
    let error = object::<Body<'_>>(text).and_then(|body| object(body.error?.get()));
    error.as_ref().map(said).unwrap_or_default()
}

fn said(error: &ErrorObject<'_>) -> Said {
    let is_spent = |field| {
        matches!(
            word(field).as_deref(),
            Some("insufficient_quota" | "billing_not_active" | "billing_hard_limit_reached")
        )
    };
    let mut said = Said {
        is_quota: is_spent(error.code) || is_spent(error.kind),
        // OpenAI's words for a request beyond the tokens of a minute.
        is_too_large: word(error.message).is_some_and(|m| m.starts_with("Request too large")),
        retry_in: None,
    };
    for detail in error.details.map(|d| elements(d.get())).unwrap_or_default() {
        let Some(detail) = object::<Detail<'_>>(detail.get()) else {
            continue;
        };
        let delay = word(detail.retry_delay);
        said.retry_in = said.retry_in.or(delay.as_deref().and_then(When::read));
        for violation in detail
            .violations
            .map(|v| elements(v.get()))
            .unwrap_or_default()
        {
            let violation = object::<Violation<'_>>(violation.get());
            let quota = violation.and_then(|violation| word(violation.quota));
            said.is_quota |= quota.is_some_and(|quota| quota.contains("PerDay"));
        }
    }
    said
}

/// The first elements of a list; none if it is no list.
fn elements(list: &str) -> Vec<&RawValue> {
    let mut elements: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
    elements.truncate(MAX_DETAILS);
    elements
}

#[cfg(test)]
#[path = "signs_tests.rs"]
mod tests;
