//! Signs: what an attempt says of its target, by its outcome, its headers and, of an error, its body.
//!
//! Pure. What is the client's own fault, and a client that left, says nothing of the provider.

use super::Kind;
use super::when::When;
use crate::http::Headers;
use crate::provider::judge::Outcome;

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
        Outcome::ClientLeft | Outcome::TooLong => return Sign::Nothing,
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

/// Reads the body of a 429, whoever wrote it: by the fields that it has anywhere, since providers nest them differently. No field
/// can be forged within another's text: there its quotes are escaped.
///
/// OpenAI says of an account without credit `insufficient_quota`, of one that pays no more `billing_not_active`, and of a spend limit
/// `billing_hard_limit_reached`: <https://platform.openai.com/docs/guides/error-codes>. Google names the quota, such as
/// `GenerateRequestsPerDayPerProjectPerModel-FreeTier`, and a delay, which means nothing for a quota of a day:
/// <https://ai.google.dev/gemini-api/docs/rate-limits>.
pub fn read_body(body: &[u8]) -> Said {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let is_spent = |code: &str| {
        matches!(
            code,
            "insufficient_quota" | "billing_not_active" | "billing_hard_limit_reached"
        )
    };
    let is_quota = strings(text, "\"code\"").any(is_spent)
        || strings(text, "\"type\"").any(is_spent)
        || strings(text, "\"quotaId\"").any(|quota| quota.contains("PerDay"));
    Said {
        is_quota,
        // OpenAI's words for a request beyond the tokens of a minute.
        is_too_large: strings(text, "\"message\"")
            .any(|message| message.starts_with("Request too large")),
        retry_in: strings(text, "\"retryDelay\"").find_map(When::read),
    }
}

/// The strings that are the value of this field, as they stand between their quotes, up to an escaped quote.
fn strings<'a>(text: &'a str, field: &'a str) -> impl Iterator<Item = &'a str> {
    let values = text.split(field).skip(1);
    values.filter_map(|value| {
        let value = value.trim_ascii_start().strip_prefix(':')?;
        value
            .trim_ascii_start()
            .strip_prefix('"')?
            .split('"')
            .next()
    })
}

#[cfg(test)]
#[path = "signs_tests.rs"]
mod tests;
