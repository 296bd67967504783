//! The headers of an attempt, and those that an answer loses.
//!
//! Pure. An attempt's headers are given absolutely and whole, from an allowlist: Envoy keeps what an earlier attempt
//! wrote, and a provider must see neither another provider's headers nor what is the client's.

use std::borrow::Cow;

use crate::http::{HeaderLine, Headers};
use crate::telemetry::headers as names;

/// What an attempt's headers are made of, beside the current map.
#[derive(Debug, Clone, Copy)]
pub struct AttemptHeaders<'a> {
    /// `:authority`.
    pub host: &'a str,
    /// Path and query, `{model}` already replaced.
    pub path: &'a str,
    pub stream: bool,
    /// As the client sent it. `None`: no `user-agent`.
    pub user_agent: Option<&'a str>,
    /// What policy sets, and what of the client's it lets pass, to this provider. Wins over `user_agent`.
    pub added: &'a [(&'a str, &'a str)],
}

/// What is taken from the current map: the scheme, and the trace, which goes on at the provider. What follows a name
/// is asked for only if that is there. Of a header that is there twice, the first.
pub const KEPT: &[(&str, &[&str])] = &[
    (":scheme", &[]),
    ("traceparent", &["tracestate"]),
    ("b3", &[]),
    (
        "x-b3-traceid",
        &[
            "x-b3-spanid",
            "x-b3-parentspanid",
            "x-b3-sampled",
            "x-b3-flags",
        ],
    ),
];

fn kept() -> impl Iterator<Item = &'static str> {
    KEPT.iter()
        .flat_map(|(first, others)| std::iter::once(first).chain(*others))
        .copied()
}

/// Belong to the attempt or to the connection: neither policy nor client may add them.
const OWNED: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers of an answer that never reach the client. (Those that only speak about the provider's own origin, such as
/// `alt-svc`, are the route's to remove: Envoy does it for less.)
const RESPONSE_HEADERS_REMOVED: &[&str] = &[
    // A provider's session (Cloudflare's `__cf_bm`, say) is the gateway's, not one client's.
    "set-cookie",
    // Whose account pays.
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
];

/// Envoy's router obeys these when a provider says them.
const RESPONSE_HEADERS_OBEYED: &[&str] = &[
    "x-envoy-immediate-health-check-fail",
    "x-envoy-overloaded",
    "x-envoy-ratelimited",
];

/// Whether a header of this lower-case name is taken from a provider's answer, before Envoy's router reads it: it is not the
/// client's business, or only Envoy or the gateway may say it.
pub fn is_removed_from_response(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => {
            name.starts_with("x-pointsman-")
                || RESPONSE_HEADERS_OBEYED.contains(&name)
                || names::RESPONSE.contains(&name)
        }
        _ => RESPONSE_HEADERS_REMOVED.contains(&name),
    }
}

/// The complete header map of an attempt, but for `content-length`, which the body decides.
///
/// `current` is what Envoy has now, the client's headers or those of the attempt before, and of it no more than
/// [`KEPT`]. A name or a value that HTTP does not allow is left out.
pub fn request_headers(current: &Headers, attempt: &AttemptHeaders<'_>) -> Vec<HeaderLine> {
    let accept: &'static [u8] = if attempt.stream {
        b"text/event-stream"
    } else {
        b"application/json"
    };
    let mut headers: Vec<HeaderLine> = Vec::with_capacity(16);
    let mut fixed = |name: &'static str, value: &'static [u8]| {
        headers.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    };
    fixed(":method", b"POST");
    fixed("content-type", b"application/json");
    fixed("accept", accept);
    // The filter reads the answer.
    fixed("accept-encoding", b"identity");
    if current.get(":scheme").is_none() {
        fixed(":scheme", b"https");
    }
    let mut own = |name: Cow<'static, str>, value: &[u8]| {
        headers.push((name, Cow::Owned(value.to_vec())));
    };
    own(Cow::Borrowed(":authority"), attempt.host.as_bytes());
    own(Cow::Borrowed(":path"), attempt.path.as_bytes());
    for name in kept() {
        if let Some(value) = current.get(name) {
            own(Cow::Borrowed(name), value);
        }
    }
    let user_agent = attempt
        .user_agent
        .filter(|_| !attempt.added.iter().any(|(name, _)| *name == "user-agent"))
        .map(|value| ("user-agent", value));
    for (name, value) in user_agent.into_iter().chain(attempt.added.iter().copied()) {
        if may_be_added(name) && is_value(value.as_bytes()) {
            own(Cow::Owned(name.to_owned()), value.as_bytes());
        }
    }
    headers
}

/// Whether policy or client may add a header of this lower-case name to what a provider gets.
fn may_be_added(name: &str) -> bool {
    is_token(name)
        && !OWNED.contains(&name)
        && !kept().any(|kept| kept == name)
        && !["x-envoy-", "x-pointsman-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// A header's name as RFC 9110 has it, in lower case; pseudo-headers are none.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
        })
}

/// A header's value as RFC 9110 has it: any bytes but control characters other than tab.
fn is_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|&byte| byte == b'\t' || !byte.is_ascii_control())
}

#[cfg(test)]
mod tests;
