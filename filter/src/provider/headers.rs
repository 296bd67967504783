//! The headers of an attempt, and those that an answer loses.
//!
//! Pure. An attempt's headers are given absolutely and whole, from an allowlist: Envoy keeps what an earlier attempt
//! wrote, and a provider must see neither another provider's headers nor what is the client's.

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

/// Taken from the current map: the trace goes on at the provider.
const TRACE_CONTEXT: &[&str] = &[
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

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

/// Headers of an answer that never reach the client.
pub const RESPONSE_HEADERS_REMOVED: &[&str] = &[
    // A provider's session (Cloudflare's `__cf_bm`, say) is the gateway's, not one client's.
    "set-cookie",
    "set-cookie2",
    // Whose account pays.
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
    // Speak about the provider's own origin; a client would hold them against the gateway's.
    "alt-svc",
    "clear-site-data",
    "nel",
    "report-to",
    "reporting-endpoints",
    "strict-transport-security",
    "www-authenticate",
    // Envoy obeys them: a provider could stop retries, or have its own host ejected or spared.
    "x-envoy-degraded",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-overloaded",
    "x-envoy-ratelimited",
    // The sink's own sign that a provider has no host left; read before it is removed.
    "x-pointsman-no-host",
];

/// The complete header map of an attempt, but for `content-length`, which the body decides.
///
/// `current` is what Envoy has now: the client's headers, or those of the attempt before. Only `:scheme` and trace
/// context are taken from it. A name or a value that HTTP does not allow is left out.
pub fn request_headers(
    current: &[(String, Vec<u8>)],
    attempt: &AttemptHeaders<'_>,
) -> Vec<(String, Vec<u8>)> {
    let accept: &[u8] = if attempt.stream {
        b"text/event-stream"
    } else {
        b"application/json"
    };
    let scheme = current.iter().find(|(name, _)| name == ":scheme");
    let scheme = scheme.map_or(&b"https"[..], |(_, value)| value);
    let user_agent = attempt
        .user_agent
        .filter(|_| !attempt.added.iter().any(|(name, _)| *name == "user-agent"))
        .map(|value| ("user-agent", value));
    let added = user_agent
        .into_iter()
        .chain(attempt.added.iter().copied())
        .filter(|(name, value)| may_be_added(name) && is_value(value.as_bytes()))
        .map(|(name, value)| (name, value.as_bytes()));
    let trace = current
        .iter()
        .filter(|(name, _)| TRACE_CONTEXT.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_slice()));
    let owned: [(&str, &[u8]); 7] = [
        (":method", b"POST"),
        (":scheme", scheme),
        (":authority", attempt.host.as_bytes()),
        (":path", attempt.path.as_bytes()),
        ("content-type", b"application/json"),
        ("accept", accept),
        // The filter reads the answer.
        ("accept-encoding", b"identity"),
    ];
    owned
        .into_iter()
        .chain(added)
        .chain(trace)
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect()
}

/// Whether policy or client may add a header of this lower-case name to what a provider gets.
fn may_be_added(name: &str) -> bool {
    is_token(name)
        && !OWNED.contains(&name)
        && !TRACE_CONTEXT.contains(&name)
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
