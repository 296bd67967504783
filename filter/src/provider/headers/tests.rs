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

const OWNED_HERE: [&str; 7] = [
    ":method",
    ":scheme",
    ":authority",
    ":path",
    "content-type",
    "accept",
    "accept-encoding",
];

fn map(headers: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    headers
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_vec()))
        .collect()
}

fn values<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    headers
        .iter()
        .filter(|(n, _)| n == name)
        .map(|(_, value)| value.as_slice())
        .collect()
}

/// Checks what an attempt has beside the headers that every attempt owns.
fn check(current: &[(&str, &[u8])], attempt: AttemptHeaders<'_>, expected: &[(&str, &[u8])]) {
    let headers = request_headers(&map(current), &attempt);
    let (owned, more) = headers.split_at(OWNED_HERE.len());
    assert_eq!(
        owned
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        OWNED_HERE
    );
    assert_eq!(more, map(expected));
}

#[test]
fn every_attempt_owns_its_headers() {
    let current: &[(&str, &[u8])] = &[
        (":method", b"GET"),
        (":scheme", b"http"),
        (":authority", b"gateway"),
        (":path", b"/x"),
        ("content-length", b"1"),
        ("transfer-encoding", b"chunked"),
    ];
    let expected: &[(&str, &[u8])] = &[
        (":method", b"POST"),
        (":scheme", b"http"),
        (":authority", b"api.openai.com"),
        (":path", b"/v1/chat/completions"),
        ("content-type", b"application/json"),
        ("accept", b"application/json"),
        ("accept-encoding", b"identity"),
    ];
    assert_eq!(request_headers(&map(current), &ATTEMPT), map(expected));
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
        ("tracestate", b"a=1"),
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
        assert_eq!(
            values(&request_headers(&[], &attempt), "accept"),
            [expected]
        );
    }
}

#[test]
fn a_missing_scheme_is_https() {
    assert_eq!(
        values(&request_headers(&[], &ATTEMPT), ":scheme"),
        [b"https"]
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
    for name in TRACE_CONTEXT
        .iter()
        .chain(OWNED)
        .chain(RESPONSE_HEADERS_REMOVED)
    {
        assert_eq!(**name, name.to_ascii_lowercase());
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
        let after_another = request_headers(&request_headers(&current, &first), &ATTEMPT);
        prop_assert_eq!(after_another, request_headers(&current, &ATTEMPT));
    }
}
