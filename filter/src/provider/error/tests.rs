//! Providers' last words, and what the client sees.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn error(status: u16, body: &[u8]) -> (u16, Vec<u8>) {
    final_error(Api::OpenAi, status, body, "openai", "gpt-5")
}

/// Checks that the answer is an object of ours: its status, type, code and message.
fn check(status: u16, body: &str, expected: (u16, &str, &str, &str)) {
    let (status, reply) = error(status, body.as_bytes());
    let reply: Value = serde_json::from_slice(&reply).expect("JSON");
    let text = |key: &str| reply["error"][key].as_str().expect("a string").to_owned();
    let (kind, code, message) = (text("type"), text("code"), text("message"));
    assert_eq!((status, &*kind, &*code, &*message), expected);
    assert_eq!(reply["error"]["param"], Value::Null);
}

#[test]
fn openai_errors_pass_byte_for_byte() {
    for body in [
        r#"{"error":{"message":"Slow down","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
        " { \"error\" : {\"message\":\"\",\"n\":1.0e2} , \"x\":[]}\n",
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#,
    ] {
        for status in [400, 408, 413, 422, 429, 500, 503, 529] {
            assert_eq!(
                error(status, body.as_bytes()),
                (status, body.as_bytes().to_vec())
            );
        }
    }
}

#[test]
fn the_gateways_faults_are_502_without_the_body() {
    let body =
        r#"{"error":{"message":"Incorrect API key provided: sk-secret","code":"invalid_api_key"}}"#;
    for (status, code, says) in [
        (401, "provider_auth_failed", "the provider's key"),
        (402, "provider_auth_failed", "the provider account's credit"),
        (403, "provider_auth_failed", "the provider's key"),
        (404, "provider_model_not_found", "the model's name"),
    ] {
        let (status, reply) = error(status, body.as_bytes());
        let reply = String::from_utf8(reply).expect("text");
        assert_eq!(status, 502);
        assert!(reply.contains(code) && reply.contains(says), "{reply}");
        assert!(
            reply.contains(r#"\"openai\""#) && reply.contains(r#"\"gpt-5\""#),
            "{reply}"
        );
        assert!(
            !reply.contains("sk-secret") && !reply.contains("Incorrect"),
            "{reply}"
        );
    }
}

#[test]
fn other_forms_are_quoted() {
    let refused = |message| {
        (
            400,
            "invalid_request_error",
            "provider_refused_request",
            message,
        )
    };
    let vllm = r#"{"object":"error","message":"too\nlong","type":"BadRequestError","code":400}"#;
    check(
        400,
        vllm,
        refused(r#"provider "openai" answered 400 for model "gpt-5": too long"#),
    );
    let fast_api = r#"{"detail":"Bad \u0000\t  thing \ud83d\ude82"}"#;
    check(
        400,
        fast_api,
        refused("provider \"openai\" answered 400 for model \"gpt-5\": Bad thing \u{1f682}"),
    );
    let ollama = r#"{"error":"no tools"}"#;
    check(
        400,
        ollama,
        refused(r#"provider "openai" answered 400 for model "gpt-5": no tools"#),
    );
    let other_types = r#"{"error":{"message":7},"message":["x"],"detail":"this"}"#;
    check(
        400,
        other_types,
        refused(r#"provider "openai" answered 400 for model "gpt-5": this"#),
    );
}

#[test]
fn the_rest_is_replaced() {
    let again = "send the request again later, or name another tier or model";
    let failed = format!("provider \"openai\" answered 503 for model \"gpt-5\": {again}");
    for body in [
        "",
        "<html><body>503 sk-secret</body></html>",
        "no host",
        "[]",
        "{}",
        "null",
        r#"{"error":null}"#,
        r#"{"error":["a","b"]}"#,
        r#"{"message":" \n "}"#,
        r#"{"error":{"message":"cut sho"#,
    ] {
        check(503, body, (503, "server_error", "provider_failed", &failed));
    }
    let limited = format!("provider \"openai\" answered 429 for model \"gpt-5\": {again}");
    check(
        429,
        "",
        (429, "rate_limit_error", "provider_rate_limited", &limited),
    );
    let timeout = format!("provider \"openai\" answered 408 for model \"gpt-5\": {again}");
    check(408, "", (408, "server_error", "provider_timeout", &timeout));
    let large = r#"provider "openai" answered 413 for model "gpt-5": make the request smaller"#;
    check(
        413,
        "",
        (
            413,
            "invalid_request_error",
            "provider_request_too_large",
            large,
        ),
    );
    assert_eq!(error(500, b"{\"message\":\"\xFF\"}").0, 500);
}

#[test]
fn no_error_status_is_a_bad_answer() {
    for status in [0, 101, 200, 204, 302, 600, u16::MAX] {
        let message = format!(
            "provider \"openai\" answered {status} for model \"gpt-5\" without a usable answer: send the request \
             again, or name another tier or model"
        );
        check(
            status,
            r#"{"error":{"message":"x"}}"#,
            (502, "server_error", "provider_bad_answer", &message),
        );
    }
}

#[test]
fn what_is_too_long_is_cut() {
    let long = "\u{e9}".repeat(MAX_ERROR_BODY);
    let expected = format!(
        "provider \"openai\" answered 500 for model \"gpt-5\": {}",
        "\u{e9}".repeat(MAX_QUOTED)
    );
    let object = format!(r#"{{"error":{{"message":"{long}"}}}}"#);
    check(
        500,
        &object,
        (500, "server_error", "provider_failed", &expected),
    );
    check(
        500,
        &format!(r#"{{"detail":"{long}"}}"#),
        (500, "server_error", "provider_failed", &expected),
    );
}

#[test]
fn quoting() {
    for (message, expected) in [
        (
            format!("{} yy", "x".repeat(497)),
            format!("{} yy", "x".repeat(497)),
        ),
        (
            format!("{} yy", "x".repeat(498)),
            format!("{} y", "x".repeat(498)),
        ),
        (format!("{} yy", "x".repeat(499)), "x".repeat(499)),
        ("x".repeat(501), "x".repeat(500)),
    ] {
        assert_eq!(quote(&message), expected);
    }
}

#[test]
fn statuses_that_move_on() {
    let moving: Vec<u16> = (0..1000).filter(|&status| moves_on(status)).collect();
    let expected: Vec<u16> = [401, 402, 403, 404, 408, 429]
        .into_iter()
        .chain(500..=599)
        .collect();
    assert_eq!(moving, expected);
}

#[test]
fn deep_nesting_is_skipped() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"error":{deep},"detail":"this"}}"#);
    let expected = r#"provider "openai" answered 500 for model "gpt-5": this"#;
    check(
        500,
        &body,
        (500, "server_error", "provider_failed", expected),
    );
}

proptest! {
    #[test]
    fn always_an_openai_error(status in any::<u16>(), message in any::<String>(), key in "error|message|detail") {
        let body = serde_json::to_vec(&serde_json::json!({ (key): message })).expect("JSON");
        let apis = [Api::OpenAi, Api::Anthropic, Api::Gemini];
        for (body, api) in [&body[..], message.as_bytes()].iter().flat_map(|body| apis.map(|api| (*body, api))) {
            let (status, reply) = final_error(api, status, body, &message, &message);
            prop_assert!((400..600).contains(&status));
            let reply: Value = serde_json::from_slice(&reply).expect("JSON");
            prop_assert!(reply["error"]["message"].is_string());
        }
    }
}

#[test]
fn other_formats_errors_are_put_into_openais() {
    let anthropic =
        br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let gemini =
        br#"{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}"#;
    for (api, status, body, code, words) in [
        (
            Api::Anthropic,
            529,
            &anthropic[..],
            "provider_overloaded",
            "529 for model \"m\": Overloaded",
        ),
        (
            Api::Anthropic,
            529,
            b"",
            "provider_overloaded",
            "send the request again later",
        ),
        (
            Api::Gemini,
            429,
            gemini,
            "provider_rate_limited",
            "429 for model \"m\": Quota exceeded",
        ),
        (
            Api::Gemini,
            504,
            b"<html>",
            "provider_timeout",
            "send the request again later",
        ),
    ] {
        let (answered, reply) = final_error(api, status, body, "p", "m");
        assert_eq!(answered, status);
        let reply: Value = serde_json::from_slice(&reply).expect("JSON");
        assert_eq!(reply["error"]["code"], code);
        let message = reply["error"]["message"].as_str().expect("text");
        assert!(message.contains(words), "{message}");
    }
}
