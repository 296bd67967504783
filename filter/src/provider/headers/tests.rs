//! What Envoy holds, and what a provider gets.

use proptest::prelude::*;

use super::*;

const ATTEMPT: AttemptHeaders<'_> = AttemptHeaders {
    host: "api.openai.com",
    path: "/v1/chat/completions",
    stream: false,
    user_agent: None,
    added: &[],
};

/// A map as Envoy gives it, and one as it is sent, sorted.
fn map(headers: &[(&str, &[u8])]) -> Headers {
    let mut map: Vec<_> = headers
        .iter()
        .map(|&(name, value)| (Cow::Owned(name.to_owned()), value.to_vec()))
        .collect();
    map.sort();
    Headers(map)
}

fn sent(current: &Headers, attempt: &AttemptHeaders<'_>) -> Headers {
    let mut lines: Vec<_> = request_headers(current, attempt)
        .into_iter()
        .map(|(name, value)| (name, value.into_owned()))
        .collect();
    lines.sort();
    Headers(lines)
}

const OWNED_HERE: [(&str, &[u8]); 7] = [
    (":method", b"POST"),
    (":scheme", b"http"),
    (":authority", b"api.openai.com"),
    (":path", b"/v1/chat/completions"),
    ("content-type", b"application/json"),
    ("accept", b"application/json"),
    ("accept-encoding", b"identity"),
];

/// Checks what an attempt has beside the headers that every attempt owns.
fn check(current: &[(&str, &[u8])], attempt: AttemptHeaders<'_>, expected: &[(&str, &[u8])]) {
    let current = [current, &[(":scheme", &b"http"[..])]].concat();
    assert_eq!(
        sent(&map(&current), &attempt),
        map(&[&OWNED_HERE, expected].concat())
    );
}

#[test]
fn every_attempt_owns_its_headers() {
    let current: &[(&str, &[u8])] = &[
        (":method", b"GET"),
        (":authority", b"gateway"),
        (":path", b"/x"),
        ("content-length", b"1"),
        ("transfer-encoding", b"chunked"),
    ];
    check(current, ATTEMPT, &[]);
}

#[test]
fn nothing_of_the_client_or_of_another_provider_survives() {
    check(
        &[
            ("authorization", b"Bearer the other provider's key"),
            ("proxy-authorization", b"Basic x"),
            ("x-api-key", b"k"),
            ("api-key", b"k"),
            ("cookie", b"a=b"),
            ("anthropic-version", b"2023-06-01"),
            ("openai-organization", b"org"),
            ("user-agent", b"curl"),
            ("origin", b"https://a"),
            ("x-forwarded-for", b"10.0.0.1"),
            ("x-forwarded-proto", b"https"),
            ("x-envoy-max-retries", b"3"),
            ("x-pointsman-plan", b"p"),
            ("x-request-id", b"1"),
            ("x-client-id", b"team"),
            ("x-llm-policy", b"fast"),
            ("baggage", b"user=1"),
            ("x-b3-anything", b"1"),
        ],
        ATTEMPT,
        &[],
    );
}

#[test]
fn trace_context_goes_on() {
    let trace: &[(&str, &[u8])] = &[
        ("traceparent", b"00-a-b-01"),
        ("tracestate", b"b=\xFF"),
        ("b3", b"0"),
        ("x-b3-traceid", b"a"),
        ("x-b3-spanid", b"b"),
        ("x-b3-parentspanid", b"c"),
        ("x-b3-sampled", b"1"),
        ("x-b3-flags", b"0"),
    ];
    check(trace, ATTEMPT, trace);
}

#[test]
fn accept_fits_the_answer() {
    for (stream, expected) in [
        (false, &b"application/json"[..]),
        (true, b"text/event-stream"),
    ] {
        let attempt = AttemptHeaders { stream, ..ATTEMPT };
        assert_eq!(sent(&map(&[]), &attempt).get("accept"), Some(expected));
    }
}

#[test]
fn a_missing_scheme_is_https() {
    assert_eq!(
        sent(&map(&[]), &ATTEMPT).get(":scheme"),
        Some(&b"https"[..])
    );
}

#[test]
fn what_policy_adds() {
    for (headers, expected) in [
        (
            &[("x-team", "café")][..],
            &[("user-agent", &b"sdk"[..]), ("x-team", "café".as_bytes())][..],
        ),
        (
            &[("user-agent", "pointsman")],
            &[("user-agent", b"pointsman")],
        ),
    ] {
        let attempt = AttemptHeaders {
            user_agent: Some("sdk"),
            added: headers,
            ..ATTEMPT
        };
        check(&[], attempt, expected);
    }
}

#[test]
fn what_may_not_be_added() {
    let refused = [
        (":path", "/admin"),
        ("host", "x"),
        ("content-length", "0"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("accept-encoding", "gzip"),
        ("x-envoy-retry-on", "5xx"),
        ("x-pointsman-plan", "p"),
        ("traceparent", "x"),
        ("", "x"),
        ("a b", "x"),
        ("a\r\nb", "x"),
        ("x-split", "a\r\nb: c"),
        ("x-nul", "a\0"),
    ];
    let attempt = AttemptHeaders {
        added: &refused,
        ..ATTEMPT
    };
    check(&[], attempt, &[]);
}

#[test]
fn names_are_lower_case() {
    let all = [OWNED, RESPONSE_HEADERS_REMOVED, RESPONSE_HEADERS_OBEYED].concat();
    for name in kept().chain(all) {
        assert_eq!(name, name.to_ascii_lowercase());
    }
}

proptest! {
    /// An attempt after any other attempt is the same as an attempt at once.
    #[test]
    fn attempts_leave_no_trace(
        current in proptest::collection::vec(("[a-z:-]{0,12}", proptest::collection::vec(any::<u8>(), 0..8)), 0..8),
        more in proptest::collection::vec(("[a-zA-Z: -]{0,12}", ".{0,8}"), 0..8),
    ) {
        let more: Vec<_> = more.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let first = AttemptHeaders { host: "a", path: "/a", added: &more, user_agent: Some("u"), ..ATTEMPT };
        let current = Headers(current.into_iter().map(|(n, v)| (Cow::Owned(n), v)).collect());
        let after_another = sent(&sent(&current, &first), &ATTEMPT);
        prop_assert_eq!(after_another, sent(&current, &ATTEMPT));
    }
}
