//! Errors: when every attempt failed, the client gets OpenAI's error object, a fitting status, and the whole story.

use std::time::Duration;

use pointsman_tests::client::Reply;
use pointsman_tests::gateway::{Gateway, Options, chat};
use pointsman_tests::upstream::{Behaviour, Step, refused_port};
use serde_json::Value;

use super::{FAST, SINGLE, clear, with_timeout};

/// In the bodies that must not reach the client.
const QUOTED_KEY: &str = "sk-live-of-the-gateway";

/// What waits for a timeout costs this much.
const QUICK: &str = "700ms";

fn status(status: u16, content_type: &str, body: impl Into<bytes::Bytes>) -> Behaviour {
    Behaviour::Status {
        status,
        headers: vec![("content-type".into(), content_type.into())],
        body: body.into(),
    }
}

fn json(code: u16, body: impl Into<bytes::Bytes>) -> Behaviour {
    status(code, "application/json", body)
}

/// The reply is OpenAI's error object with this status and code, and says where the request went.
fn is_error(reply: &Reply, expected: u16, code: &str, attempts: &str, case: &str) {
    let body = reply.json();
    let field = |name: &str| body.pointer(&format!("/error/{name}")).cloned();
    assert_eq!(reply.status, expected, "{case}: {}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json", "{case}");
    assert_eq!(
        reply.header("content-length"),
        reply.body().len().to_string(),
        "{case}"
    );
    assert_eq!(field("code"), Some(code.into()), "{case}");
    assert!(field("type").is_some_and(|v| v.is_string()), "{case}");
    assert_eq!(field("param"), Some(Value::Null), "{case}");
    let message = field("message").unwrap_or_default();
    assert!(message.as_str().is_some_and(|m| m.len() > 20), "{case}");
    assert!(!reply.text().contains(QUOTED_KEY), "{case}");
    assert_eq!(reply.header("x-routed-attempts"), attempts, "{case}");
    assert!(!reply.header("x-routing-tier").is_empty(), "{case}");
    let last = attempts
        .rsplit(", ")
        .next()
        .and_then(|a| a.split('=').next());
    assert_eq!(Some(&*reply.header("x-routed-provider")), last, "{case}");
}

async fn fails(
    gateway: &Gateway,
    fault: Behaviour,
    expected: u16,
    code: &str,
    attempt: &str,
    says: &str,
) {
    gateway.alpha.set(fault.clone());
    for stream in [false, true] {
        let mut case = format!("{attempt} {code} {fault:?}");
        case.truncate(200);
        let case = format!("{case}, stream {stream}");
        clear(gateway);
        let reply = gateway.post(SINGLE, &chat("auto", stream)).await;
        is_error(&reply, expected, code, &format!("alpha={attempt}"), &case);
        assert!(reply.text().contains(says), "{case}: {}", reply.text());
        assert_eq!(gateway.alpha.counters().requests, 1, "{case}");
    }
}

#[tokio::test]
async fn the_last_providers_error_comes_in_openais_form() {
    let gateway = Gateway::start("answers-errors").await;
    use Behaviour as B;
    let gateway = &gateway;
    let key = QUOTED_KEY;
    let quoting =
        format!(r#"{{"error":{{"message":"Incorrect key {key}","code":"invalid_api_key"}}}}"#);
    // The gateway's fault, not the caller's: SDKs blame the caller's key for a 401.
    for status in [401, 402, 403] {
        let attempt = status.to_string();
        let (code, says) = ("provider_auth_failed", "operator");
        fails(
            gateway,
            json(status, quoting.clone()),
            502,
            code,
            &attempt,
            says,
        )
        .await;
    }
    let (code, says) = ("provider_model_not_found", "alpha-small");
    fails(gateway, json(404, quoting), 502, code, "404", says).await;
    // An error of another form is quoted, what is no JSON is not.
    for (fault, expected, code, says) in [
        (
            json(500, r#"{"message":"disk \n full"}"#),
            500,
            "provider_failed",
            "disk full",
        ),
        (
            json(503, r#"{"detail":"warming up"}"#),
            503,
            "provider_failed",
            "warming up",
        ),
        (
            json(529, r#"{"error":"overloaded"}"#),
            529,
            "provider_overloaded",
            "overloaded",
        ),
        (
            json(422, r#"{"detail":"bad field"}"#),
            422,
            "provider_refused_request",
            "bad field",
        ),
        (json(503, ""), 503, "provider_failed", "alpha"),
        (
            json(500, format!("{{\"{key}")),
            500,
            "provider_failed",
            "alpha",
        ),
        (
            status(502, "text/html", format!("<p>{key}")),
            502,
            "provider_failed",
            "alpha",
        ),
        (
            status(429, "text/plain", key),
            429,
            "provider_rate_limited",
            "alpha",
        ),
        (
            status(413, "text/plain", key),
            413,
            "provider_request_too_large",
            "smaller",
        ),
        (
            status(
                500,
                "text/event-stream",
                format!("data: {{\"error\":\"{key}\"}}\n\n"),
            ),
            500,
            "provider_failed",
            "alpha",
        ),
        (
            json(
                500,
                format!(r#"{{"error":{{"message":"{}"}}}}"#, key.repeat(5000)),
            ),
            500,
            "provider_failed",
            "alpha",
        ),
        (
            json(
                400,
                format!(r#"{{"error":{{"message":"{}"}}}}"#, key.repeat(500_000)),
            ),
            400,
            "provider_refused_request",
            "alpha",
        ),
    ] {
        fails(gateway, fault, expected, code, &expected.to_string(), says).await;
    }
    // A 200 that is none has a status of the gateway's.
    for (fault, attempt) in [
        (B::NotJson, "bad_event"),
        (B::EmptyOk, "empty"),
        (B::HeadersOnly, "empty"),
    ] {
        fails(gateway, fault, 502, "provider_bad_answer", attempt, "alpha").await;
    }
    fails(
        gateway,
        json(302, ""),
        502,
        "provider_bad_answer",
        "302",
        "alpha",
    )
    .await;
}

#[tokio::test]
async fn an_openai_error_passes_byte_for_byte_with_its_retry_headers() {
    let gateway = Gateway::start("answers-openai-errors").await;
    let body = r#"{ "error" : {"message":"slow down \u00e9","type":"requests","param":null,"code":"rate_limit_exceeded","n":1e5} }"#;
    for status in [400, 429, 500, 503] {
        gateway.alpha.set(Behaviour::Status {
            status,
            headers: [
                ("content-type", "application/json; charset=utf-8"),
                ("retry-after", "7"),
                ("retry-after-ms", "7000"),
                ("x-should-retry", "true"),
                ("x-ratelimit-reset-requests", "7s"),
                ("x-request-id", "req-7"),
                ("x-other", "1"),
            ]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .to_vec(),
            body: body.into(),
        });
        for stream in [false, true] {
            let reply = gateway.post(SINGLE, &chat("auto", stream)).await;
            assert_eq!((reply.status, reply.text().as_str()), (status, body));
            for (name, value) in [
                ("retry-after", "7"),
                ("retry-after-ms", "7000"),
                ("x-should-retry", "true"),
                ("x-ratelimit-reset-requests", "7s"),
                ("x-request-id", "req-7"),
                ("x-routed-provider", "alpha"),
                ("x-routed-attempts", &format!("alpha={status}")),
            ] {
                assert_eq!(reply.header(name), value, "{status}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_compressed_error_is_replaced() {
    let gateway = Gateway::start("answers-gzip").await;
    gateway.alpha.set(Behaviour::Status {
        status: 500,
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("content-encoding".into(), "gzip".into()),
        ],
        body: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff].into(),
    });
    for stream in [false, true] {
        let reply = gateway.post(SINGLE, &chat("auto", stream)).await;
        is_error(&reply, 500, "provider_failed", "alpha=500", "gzip");
        assert_eq!(reply.header("content-encoding"), "");
    }
}

#[tokio::test]
async fn when_all_fail_the_attempts_of_all_are_told() {
    let gateway = Gateway::start_with("answers-all-fail", with_timeout(QUICK)).await;
    use Behaviour as B;
    let error =
        r#"{"error":{"message":"the last one's own words","type":"t","param":null,"code":"own"}}"#;
    for (faults, expected, code, outcomes) in [
        (
            [B::error(503), B::error(429), json(500, error)],
            500,
            "own",
            ["503", "429", "500"],
        ),
        (
            [B::error(500), B::error(403), B::error(401)],
            502,
            "provider_auth_failed",
            ["500", "403", "401"],
        ),
        (
            [B::ResetAtOnce, B::NotJson, B::error(404)],
            502,
            "provider_model_not_found",
            ["reset", "bad_event", "404"],
        ),
        (
            [B::error(503), B::error(503), B::EmptyOk],
            502,
            "provider_bad_answer",
            ["503", "503", "empty"],
        ),
        // Envoy's own words, in the same form.
        (
            [B::ResetAtOnce, B::ResetAtOnce, B::ResetAtOnce],
            503,
            "provider_reset",
            ["reset"; 3],
        ),
        (
            [B::error(503), B::NotHttp, B::CloseAtOnce],
            503,
            "provider_reset",
            ["503", "reset", "reset"],
        ),
        (
            [
                B::StallBeforeHeaders,
                B::StallBeforeHeaders,
                B::StallBeforeHeaders,
            ],
            504,
            "provider_timeout",
            ["timeout"; 3],
        ),
        (
            [B::error(503), B::error(503), B::StallAfterHeaders],
            504,
            "provider_timeout",
            ["503", "503", "timeout"],
        ),
        // The error of the last begins and does not end: nobody waits for it longer than for an answer.
        (
            [B::error(503), B::error(503), half_an_error(Step::Stall)],
            504,
            "provider_timeout",
            ["503", "503", "timeout"],
        ),
        (
            [B::error(503), B::error(503), half_an_error(Step::Reset)],
            502,
            "provider_reset",
            ["503", "503", "reset"],
        ),
    ] {
        let [alpha, beta, gamma] = outcomes;
        let attempts = format!("alpha={alpha}, beta={beta}, gamma={gamma}");
        for (provider, fault) in gateway.providers().into_iter().zip(faults) {
            provider.set(fault);
        }
        for stream in [false, true] {
            let case = format!("{attempts}, stream {stream}");
            clear(&gateway);
            let reply = gateway.post(FAST, &chat("auto", stream)).await;
            is_error(&reply, expected, code, &attempts, &case);
            assert_eq!(reply.header("x-routed-model"), "gamma-small", "{case}");
            for provider in gateway.providers() {
                assert_eq!(provider.counters().requests, 1, "{case}");
            }
        }
    }
}

/// A 503 with half of its body, and then this.
fn half_an_error(then: Step) -> Behaviour {
    let head = "HTTP/1.1 503 No\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"error\":";
    Behaviour::Steps(vec![
        Step::Write(head.into()),
        Step::Pause(Duration::from_millis(5)),
        then,
    ])
}

#[tokio::test]
async fn when_nobody_can_be_reached_the_client_is_told_so() {
    let refused = refused_port().expect("a port");
    let options = Options {
        ports: vec![("alpha", refused.port), ("beta", refused.port)],
        ..Options::default()
    };
    let gateway = Gateway::start_with("answers-unreachable", options).await;
    let quality: &[(&str, &str)] = &[("x-llm-policy", "quality")];
    for stream in [false, true] {
        let case = format!("stream {stream}");
        let reply = gateway.post(quality, &chat("auto", stream)).await;
        let attempts = "beta=connect_failure, alpha=connect_failure";
        is_error(&reply, 503, "provider_unreachable", attempts, &case);
        // Refused first, reset last: each outcome is its own attempt's.
        gateway.gamma.set(Behaviour::ResetAtOnce);
        let reply = gateway.post(FAST, &chat("auto", stream)).await;
        let attempts = "alpha=connect_failure, beta=connect_failure, gamma=reset";
        is_error(&reply, 503, "provider_reset", attempts, &case);
    }
    // Ejected: the sink answers for them.
    for _ in 0..3 {
        gateway.chat(quality, "auto").await;
    }
    let reply = gateway.chat(quality, "auto").await;
    let attempts = "beta=connect_failure, alpha=connect_failure";
    is_error(&reply, 503, "provider_unreachable", attempts, "ejected");
}
