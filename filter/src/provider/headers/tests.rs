//! What Envoy holds, and what a provider gets.

use proptest::prelude::*;

use super::*;

const ATTEMPT: AttemptHeaders<'_> = AttemptHeaders {
    host: "api.openai.com",
    path: "/v1/chat/completions",
    content_length: 17,
    stream: false,
    accept: None,
    user_agent: None,
    passed: &[],
    set: &[],
};

const OWNED_HERE: [&str; 8] = [
    ":method",
    ":scheme",
    ":authority",
    ":path",
    "content-type",
    "content-length",
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
        ("content-length", b"17"),
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
fn accept_fits_the_answer_or_is_the_clients() {
    for (stream, accept, expected) in [
        (false, None, &b"application/json"[..]),
        (true, None, b"text/event-stream"),
        (false, Some(&b"*/*"[..]), b"*/*"),
        (true, Some(b"a/b\xFF"), b"a/b\xFF"),
        (true, Some(b"a\r\nb: c"), b"text/event-stream"),
    ] {
        let headers = request_headers(
            &[],
            &AttemptHeaders {
                stream,
                accept,
                ..ATTEMPT
            },
        );
        assert_eq!(values(&headers, "accept"), [expected]);
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
    let passed = map(&[
        ("x-team", b"caf\xE9"),
        ("X-Title", b"a"),
        ("x-title", b"b"),
        ("x-both", b"client"),
    ]);
    let set = [
        ("X-Both".to_owned(), "policy".to_owned()),
        ("user-agent".to_owned(), "pointsman".to_owned()),
    ];
    let attempt = AttemptHeaders {
        user_agent: Some(b"sdk"),
        passed: &passed,
        ..ATTEMPT
    };
    check(
        &[],
        attempt,
        &[
            ("user-agent", b"sdk"),
            ("x-team", b"caf\xE9"),
            ("x-title", b"a"),
            ("x-title", b"b"),
            ("x-both", b"client"),
        ],
    );
    check(
        &[],
        AttemptHeaders {
            set: &set,
            ..attempt
        },
        &[
            ("x-team", b"caf\xE9"),
            ("x-title", b"a"),
            ("x-title", b"b"),
            ("x-both", b"policy"),
            ("user-agent", b"pointsman"),
        ],
    );
}

#[test]
fn what_may_not_be_added() {
    let passed = map(&[
        (":path", b"/admin"),
        ("host", b"x"),
        ("Content-Length", b"0"),
        ("transfer-encoding", b"chunked"),
        ("accept-encoding", b"gzip"),
        ("x-envoy-retry-on", b"5xx"),
        ("x-pointsman-plan", b"p"),
        ("traceparent", b"x"),
        ("", b"x"),
        ("a b", b"x"),
        ("a\r\nb", b"x"),
        ("x-split", b"a\r\nb: c"),
        ("x-nul", b"a\0"),
    ]);
    check(
        &[],
        AttemptHeaders {
            passed: &passed,
            ..ATTEMPT
        },
        &[],
    );
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
        passed in proptest::collection::vec(("[a-zA-Z: -]{0,12}", proptest::collection::vec(any::<u8>(), 0..8)), 0..8),
    ) {
        let first = AttemptHeaders { host: "a", path: "/a", passed: &passed, user_agent: Some(b"u"), ..ATTEMPT };
        let after_another = request_headers(&request_headers(&current, &first), &ATTEMPT);
        prop_assert_eq!(after_another, request_headers(&current, &ATTEMPT));
    }
}
