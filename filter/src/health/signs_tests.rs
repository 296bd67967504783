use std::borrow::Cow;

use super::*;

fn headers(list: &[(&str, &str)]) -> Headers {
    let own = |(n, v): &(&str, &str)| (Cow::Owned((*n).to_owned()), v.as_bytes().to_vec());
    Headers(list.iter().map(own).collect())
}

#[test]
fn outcomes() {
    use Kind as K;
    for (outcome, expected) in [
        ("200", Sign::Good),
        ("204", Sign::Good),
        ("302", Sign::Bad(K::Refused, None)),
        ("400", Sign::Nothing),
        ("401", Sign::Bad(K::Refused, None)),
        ("402", Sign::Bad(K::Quota, None)),
        ("403", Sign::Bad(K::Refused, None)),
        ("404", Sign::Bad(K::Refused, None)),
        ("408", Sign::Bad(K::Overload, None)),
        ("413", Sign::Nothing),
        ("422", Sign::Nothing),
        ("429", Sign::Bad(K::RateLimit, None)),
        ("500", Sign::Bad(K::Overload, None)),
        ("529", Sign::Bad(K::Overload, None)),
        ("timeout", Sign::Bad(K::Overload, None)),
        ("reset", Sign::Bad(K::Overload, None)),
        ("empty", Sign::Bad(K::Overload, None)),
        ("bad_event", Sign::Bad(K::Overload, None)),
        ("connect_failure", Sign::Bad(K::Unreachable, None)),
        ("client_left", Sign::Nothing),
    ] {
        let read = read(
            outcome.parse().unwrap(),
            &Headers::default(),
            Said::default(),
        );
        assert_eq!(read, expected, "{outcome}");
    }
}

#[test]
fn what_headers_ask_for() {
    use When::{At, In};
    let second = 1_738_319_400_000;
    for (status, list, expected) in [
        (429, &[("retry-after", "2")][..], Some(In(2000))),
        (503, &[("retry-after", "2")], Some(In(2000))),
        (529, &[("retry-after-ms", "1500")], Some(In(1500))),
        (
            429,
            &[("retry-after", "2"), ("retry-after-ms", "1900")],
            Some(In(1900)),
        ),
        (
            429,
            &[("retry-after", "Fri, 31 Jan 2025 10:30:00 GMT")],
            Some(At(second)),
        ),
        (429, &[("retry-after", "soon")], None),
        // The limit that was reached, of two.
        (
            429,
            &[
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            Some(In(360_000)),
        ),
        (
            429,
            &[
                ("x-ratelimit-remaining-requests", "9"),
                ("x-ratelimit-reset-requests", "1s"),
            ],
            None,
        ),
        (
            429,
            &[("x-ratelimit-reset", "1738319400")],
            Some(At(second)),
        ),
        (
            429,
            &[("x-ratelimit-reset", "1738319400000")],
            Some(At(second)),
        ),
        (
            429,
            &[
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", "2025-01-31T10:30:00Z"),
                ("anthropic-ratelimit-tokens-remaining", "0"),
                ("anthropic-ratelimit-tokens-reset", "2025-01-31T10:29:00Z"),
            ],
            Some(At(second)),
        ),
        // A key that is refused is not better later.
        (401, &[("retry-after", "2")], None),
        (402, &[("retry-after", "2")], None),
        (400, &[("retry-after", "2")], None),
    ] {
        let read = read(Outcome::Status(status), &headers(list), Said::default());
        let asked = match read {
            Sign::Bad(_, asked) => asked,
            _ => None,
        };
        assert_eq!(asked, expected, "{status} {list:?}");
    }
}

#[test]
fn a_good_answer_that_was_the_last() {
    for (list, expected) in [
        (
            &[
                ("x-ratelimit-remaining-requests", "1"),
                ("x-ratelimit-reset-requests", "1s"),
            ][..],
            Sign::Good,
        ),
        (&[("x-ratelimit-remaining-requests", "0")], Sign::Good),
        (
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-tokens", "1s"),
            ],
            Sign::Good,
        ),
        (
            &[
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-remaining-requests", "0"),
            ],
            Sign::Exhausted(When::In(1000)),
        ),
        (
            &[
                (
                    "anthropic-ratelimit-input-tokens-reset",
                    "2025-01-31T10:30:00Z",
                ),
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ],
            Sign::Exhausted(When::At(1_738_319_400_000)),
        ),
    ] {
        let read = read(Outcome::Status(200), &headers(list), Said::default());
        assert_eq!(read, expected, "{list:?}");
    }
}

#[test]
fn what_the_body_of_a_429_says() {
    let rate = |asked| Sign::Bad(Kind::RateLimit, asked);
    let quota = Sign::Bad(Kind::Quota, None);
    for (body, expected) in [
        ("", rate(None)),
        ("no json", rate(None)),
        (
            r#"{"error":{"code":"rate_limit_exceeded","type":"tokens","message":"Rate limit reached"}}"#,
            rate(None),
        ),
        (
            r#"{"error":{"code":"rate_limit_exceeded","type":"tokens","message":"Request too large for gpt-4o"}}"#,
            Sign::Nothing,
        ),
        (
            r#"{"error":{"code":"insufficient_quota","type":"insufficient_quota","message":"You exceeded"}}"#,
            quota,
        ),
        (
            r#"{"error":{"code":null,"type":"insufficient_quota"}}"#,
            quota,
        ),
        (r#"{"error":{"code":"billing_hard_limit_reached"}}"#, quota),
        (
            r#"{"error":{"code":["insufficient_quota"],"type":7,"details":{}}}"#,
            rate(None),
        ),
        (
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"Number of requests"}}"#,
            rate(None),
        ),
        (
            r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[7,{"@type":"x"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}"#,
            rate(Some(When::In(34_500))),
        ),
        (
            r#"[{"error":{"code":429,"details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"retryDelay":"34s"}]}}]"#,
            quota,
        ),
        (
            r#"{"error":{"code":429,"details":[{"violations":[{"quotaId":"GenerateRequestsPerMinutePerProject"}]}]}}"#,
            rate(None),
        ),
    ] {
        let said = read_body(body.as_bytes());
        let read = read(Outcome::Status(429), &Headers::default(), said);
        assert_eq!(read, expected, "{body}");
    }
    // A header is more exact than words.
    let said = read_body(br#"{"error":{"details":[{"retryDelay":"34s"}]}}"#);
    let asked = read(
        Outcome::Status(429),
        &headers(&[("retry-after", "2")]),
        said,
    );
    assert_eq!(asked, rate(Some(When::In(2000))));
    // A text that quotes one, and bytes that are no text.
    let quoted = br#"{"error":{"message":"say \"code\": \"insufficient_quota\" or \"type\":\"insufficient_quota\""}}"#;
    for body in [
        &quoted[..],
        b"\xff\"code\":\"insufficient_quota\"",
        b"\"code\"",
        b"\"code\":\"",
    ] {
        assert_eq!(read_body(body), Said::default());
    }
}
