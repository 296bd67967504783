//! Headers: a provider sees an allowlist and one key, its own; the client sees nothing of the provider's account.

use std::collections::BTreeSet;

use pointsman_tests::client;
use pointsman_tests::gateway::{Gateway, PROVIDERS, chat, key_of};
use pointsman_tests::upstream::{Behaviour, Seen, Step};
use pointsman_tests::wire::Headers;

use super::{FAST, SINGLE, chat_bytes, clear};

/// In the value of every header that is no provider's business.
const PRIVATE: &str = "private-to-the-client";

/// All but the trace context and `user-agent` must not pass.
const SENT: &[(&str, &str)] = &[
    ("x-llm-policy", "fast"),
    ("user-agent", "sdk/1.0"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("tracestate", "vendor=1"),
    ("authorization", "Bearer private-to-the-client"),
    ("proxy-authorization", "Basic private-to-the-client"),
    ("cookie", "session=private-to-the-client"),
    ("x-api-key", "private-to-the-client"),
    ("api-key", "private-to-the-client"),
    ("x-goog-api-key", "private-to-the-client"),
    ("openai-organization", "private-to-the-client"),
    ("openai-project", "private-to-the-client"),
    ("anthropic-version", "private-to-the-client"),
    ("baggage", "user=private-to-the-client"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-host", "private-to-the-client"),
    ("x-real-ip", "203.0.113.7"),
    ("forwarded", "for=203.0.113.7"),
    ("referer", "https://private-to-the-client.test/"),
    ("x-of-alpha", "private-to-the-client"),
    ("x-of-beta", "private-to-the-client"),
    // The gateway's own words.
    ("x-envoy-max-retries", "0"),
    ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
    ("x-envoy-upstream-rq-timeout-ms", "1"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-hedge-on-per-try-timeout", "true"),
    ("x-envoy-original-path", "/private-to-the-client"),
    ("x-pointsman-plan", "private-to-the-client"),
    ("x-pointsman-reply", "1"),
    ("x-pointsman-no-host", "1"),
    ("x-client-id", "private-to-the-client"),
    ("x-routed-provider", "private-to-the-client"),
    ("x-routed-model", "private-to-the-client"),
    ("x-routing-reason", "private-to-the-client"),
];

const ALLOWED: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "traceparent",
    "tracestate",
    "user-agent",
];

fn names(headers: &Headers) -> Vec<String> {
    let name = |(name, _): &(bytes::Bytes, bytes::Bytes)| {
        String::from_utf8_lossy(name).to_ascii_lowercase()
    };
    let mut names: Vec<String> = headers.0.iter().map(name).collect();
    names.sort();
    names
}

fn is_all_that(provider: &str, seen: &Seen, stream: bool) {
    let case = format!("{provider}, stream {stream}");
    // A header that came twice would be there twice.
    let mut expected: Vec<&str> = ALLOWED.to_vec();
    if provider == "beta" {
        expected.push("x-of-beta");
        assert_eq!(seen.header("x-of-beta"), "beta", "{case}");
    }
    assert_eq!(names(&seen.headers), expected, "{case}");
    assert!(!seen.headers.mentions(PRIVATE.as_bytes()), "{case}");
    assert!(!seen.headers.mentions(b"203.0.113.7"), "{case}");
    let key = format!("Bearer {}", key_of(provider));
    assert_eq!(seen.header("authorization"), key, "{case}");
    for other in PROVIDERS.into_iter().filter(|other| *other != provider) {
        let key = key_of(other);
        assert!(!seen.headers.mentions(key.as_bytes()), "{case}: {other}'s");
    }
    let accept = if stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    for (name, value) in [
        ("content-type", "application/json"),
        ("accept", accept),
        ("accept-encoding", "identity"),
        ("user-agent", "sdk/1.0"),
        ("tracestate", "vendor=1"),
        ("content-length", &seen.body.len().to_string()),
    ] {
        assert_eq!(seen.header(name), value, "{case}: {name}");
    }
    // The trace is the client's; a span of Envoy's own may be between.
    let trace = "00-0af7651916cd43dd8448eb211c80319c-";
    assert!(seen.header("traceparent").starts_with(trace), "{case}");
}

#[tokio::test]
async fn a_provider_sees_an_allowlist_and_its_own_key_on_every_attempt() {
    let gateway = Gateway::start("answers-request-headers").await;
    use Behaviour as B;
    for (first, second) in [
        (B::error(503), B::error(401)),
        (B::ResetAtOnce, B::NotJson),
        (B::error(429), B::StallBeforeHeaders),
    ] {
        for stream in [false, true] {
            clear(&gateway);
            gateway.alpha.set(first.clone());
            gateway.beta.set(second.clone());
            let reply = client::send(gateway.port(), &chat_bytes(SENT, stream)).await;
            let reply = reply.expect("an answer");
            // Neither the retries nor the time per try were the client's to set.
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.header("x-routed-provider"), "gamma");
            for provider in gateway.providers() {
                let requests = provider.requests();
                assert_eq!(requests.len(), 1, "{}", provider.name());
                is_all_that(provider.name(), &requests[0], stream);
            }
            for key in PROVIDERS.map(key_of) {
                assert!(!reply.headers.mentions(key.as_bytes()));
            }
        }
    }
}

#[tokio::test]
async fn a_client_without_a_trace_or_a_name_gets_none_made_up() {
    let gateway = Gateway::start("answers-plain-request").await;
    gateway.chat(FAST, "auto").await;
    let seen = gateway.alpha.last().expect("a request");
    let absent = ["traceparent", "tracestate", "user-agent"];
    let expected: Vec<&str> = ALLOWED
        .iter()
        .copied()
        .filter(|name| !absent.contains(name))
        .collect();
    assert_eq!(names(&seen.headers), expected);
}

/// What a provider answers besides its body; `false`: it must not reach the client.
const ANSWERED: &[(&str, &str, bool)] = &[
    ("x-request-id", "req-1", true),
    ("openai-processing-ms", "12", true),
    ("x-ratelimit-remaining-requests", "99", true),
    ("set-cookie", "__cf_bm=forged", false),
    ("openai-organization", "forged", false),
    ("openai-project", "forged", false),
    ("anthropic-organization-id", "forged", false),
    ("alt-svc", "h3=\"forged:443\"", false),
    ("strict-transport-security", "forged", false),
    ("www-authenticate", "Bearer realm=\"forged\"", false),
    ("x-pointsman-no-host", "forged", false),
    ("x-envoy-overloaded", "forged", false),
    ("x-envoy-degraded", "forged", false),
    ("x-envoy-upstream-service-time", "forged", false),
    ("server", "forged", false),
    ("x-routed-provider", "forged", false),
    ("x-routed-model", "forged", false),
    ("x-routed-attempts", "forged", false),
    ("x-routing-tier", "forged", false),
    ("x-routing-source", "forged", false),
    ("x-routing-reason", "forged", false),
    ("x-routing-confidence", "forged", false),
    ("x-classification-time", "forged", false),
];

fn answer(status: u16, content_type: &str, body: &str) -> Behaviour {
    let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
    headers.extend(
        ANSWERED
            .iter()
            .map(|(n, v, _)| ((*n).to_owned(), (*v).to_owned())),
    );
    Behaviour::Status {
        status,
        headers,
        body: body.to_owned().into(),
    }
}

#[tokio::test]
async fn an_answer_loses_what_is_the_providers_and_what_only_the_gateway_says() {
    let gateway = Gateway::start("answers-response-headers").await;
    const JSON: &str = "application/json";
    let event =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n";
    for (status, content_type, body, stream, expected) in [
        (200, JSON, r#"{"choices":[]}"#, false, 200),
        (200, "text/event-stream", event, true, 200),
        (400, JSON, r#"{"error":{"message":"no"}}"#, false, 400),
        (503, JSON, r#"{"error":{"message":"no"}}"#, true, 503),
        (401, JSON, "forged", false, 502),
        (200, JSON, "forged", false, 502),
    ] {
        let case = format!("{status} {body}");
        gateway.alpha.set(answer(status, content_type, body));
        let reply = gateway.post(SINGLE, &chat("auto", stream)).await;
        assert_eq!(reply.status, expected, "{case}");
        let is_forged = |(name, _, passes): &&(&str, &str, bool)| {
            !passes && reply.header(name).contains("forged")
        };
        let forged: Vec<_> = ANSWERED.iter().filter(is_forged).map(|h| h.0).collect();
        assert!(forged.is_empty(), "{case}: {forged:?} of the provider's");
        assert!(!reply.headers.mentions(b"forged"), "{case}");
        let sent: BTreeSet<String> = names(&reply.headers).into_iter().collect();
        assert_eq!(sent.len(), reply.headers.0.len(), "{case}: one of each");
        assert!(!sent.iter().any(|name| name.starts_with("x-envoy-")));
        for (name, value) in [
            ("x-routed-provider", "alpha"),
            ("x-routed-model", "alpha-small"),
            ("x-routing-tier", "single"),
            ("x-routing-source", "header"),
            ("server", "pointsman"),
            ("x-classification-time", ""),
        ] {
            assert_eq!(reply.header(name), value, "{case}: {name}");
        }
        assert!(!reply.header("x-routing-reason").is_empty(), "{case}");
        for (name, value, _) in ANSWERED.iter().filter(|(_, _, passes)| *passes) {
            // Of a failed answer, what tells when to come again and what to ask about.
            if expected == 200 || *name != "openai-processing-ms" {
                assert_eq!(reply.header(name), *value, "{case}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn trailers_of_a_provider_end_at_the_gateway() {
    let gateway = Gateway::start("answers-trailers").await;
    let trailers: Vec<(String, String)> = ANSWERED
        .iter()
        .map(|(n, v, _)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    gateway.alpha.set(Behaviour::Chunked { trailers });
    let reply = gateway.chat(SINGLE, "auto").await;
    assert_eq!((reply.status, reply.trailers.0.len()), (200, 0));
    assert_eq!(reply.content(), "alpha answers as alpha-small");
    // Hop-by-hop words of a provider are for its own connection.
    gateway.alpha.set(Behaviour::Steps(vec![
        Step::Write(
            "HTTP/1.1 200 OK\r\nconnection: close\r\nkeep-alive: timeout=1\r\ncontent-type: application/json\r\n\
             content-length: 14\r\n\r\n{\"choices\":[]}"
                .into(),
        ),
        Step::Close,
    ]));
    let mut conn = client::Conn::open(gateway.port()).await.expect("open");
    for _ in 0..2 {
        conn.send(&chat_bytes(SINGLE, false)).await.expect("sent");
        let reply = conn
            .reply()
            .await
            .expect("an answer on the kept connection");
        assert_eq!(
            (reply.status, reply.header("connection")),
            (200, String::new())
        );
    }
}
