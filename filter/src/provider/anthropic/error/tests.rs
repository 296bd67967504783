//! Anthropic's errors, and what a client of OpenAI's is told.

use proptest::prelude::*;

use super::super::answer::tests::cases;
use super::*;
use crate::provider::error::MAX_QUOTED;

#[test]
fn fixtures() {
    for (name, case) in cases("error", 28) {
        let status = u16::try_from(case["status"].as_u64().expect("a status")).expect("a status");
        let body = match case["body"].as_str() {
            Some(body) => body.to_owned(),
            None => case["body"].to_string(),
        };
        let error = to_openai(status, body.as_bytes());
        let expected = &case["expected"];
        if expected.is_null() {
            assert_eq!(error, None, "{name}");
            continue;
        }
        let error = error.unwrap_or_else(|| panic!("{name}: no error"));
        assert_eq!(error.kind, expected["type"], "{name}");
        assert_eq!(error.code, expected["code"], "{name}");
        assert_eq!(
            error.message.as_deref(),
            expected["message"].as_str(),
            "{name}"
        );
        assert!(!error.advice.is_empty(), "{name}");
    }
}

#[test]
fn the_gateways_faults_are_never_quoted() {
    for kind in [
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
    ] {
        for status in [0, 200, 400, 401, 500] {
            let body = format!(r#"{{"error":{{"type":"{kind}","message":"sk-ant-secret"}}}}"#);
            let error = to_openai(status, body.as_bytes()).expect("an error");
            assert_eq!((error.kind, error.message), (SERVER, None), "{kind}");
        }
    }
}

/// Such a 400 stayed with the client, who can do nothing about it, instead of moving on.
#[test]
fn a_400_about_spent_credit_is_the_gateways_fault() {
    let body = |kind: &str, message: &str| {
        serde_json::json!({"type": "error", "error": {"type": kind, "message": message}})
            .to_string()
    };
    let credit = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.";
    let limit = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.";
    for (kind, message, spent) in [
        ("invalid_request_error", credit, true),
        ("invalid_request_error", limit, true),
        ("api_error", credit, false),
        ("invalid_request_error", "messages: credit balance", false),
        (
            "invalid_request_error",
            "tools.0.name: Your credit balance is too low to access the Anthropic API",
            false,
        ),
        ("invalid_request_error", "", false),
    ] {
        let body = body(kind, message);
        assert_eq!(is_spent(body.as_bytes()), spent, "{body}");
        let error = to_openai(400, body.as_bytes()).expect("an error");
        assert_eq!(error.code == "provider_auth_failed", spent, "{body}");
        assert_eq!(
            error.message.is_none(),
            spent || message.is_empty(),
            "{body}"
        );
    }
    for body in [
        "",
        "[]",
        "{}",
        r#"{"error":"Your credit balance is too low to access the Anthropic API"}"#,
    ] {
        assert!(!is_spent(body.as_bytes()), "{body}");
    }
}

#[test]
fn quoting() {
    let x = |n| "x".repeat(n);
    for (message, expected) in [
        (format!("{} yy", x(497)), format!("{} yy", x(497))),
        (format!("{} yy", x(498)), format!("{} y", x(498))),
        (format!("{} yy", x(499)), x(499)),
        (format!("{} yy", x(500)), x(500)),
        (x(501), x(500)),
        (" a\r\n\u{2028}b\u{7f} ".to_owned(), "a b".to_owned()),
    ] {
        assert_eq!(quote(&message), expected);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(status in any::<u16>(), body in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = to_openai(status, &body);
    }

    #[test]
    fn messages_are_short_and_clean(status in any::<u16>(), kind in any::<String>(), message in "\\PC{0,700}|.{0,700}") {
        let body = serde_json::json!({"error": {"type": kind, "message": message}}).to_string();
        let error = to_openai(status, body.as_bytes()).expect("an error");
        let quoted = error.message.unwrap_or_default();
        prop_assert!(quoted.chars().count() <= MAX_QUOTED);
        prop_assert!(!quoted.contains(char::is_control) && !quoted.contains("  "));
        prop_assert_eq!(quoted.trim(), &quoted);
    }
}
