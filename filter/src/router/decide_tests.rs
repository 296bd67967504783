use std::time::Duration;

use super::*;
use crate::chat::request::{Cut, parse};
use crate::router::cascade::{Cascade, Next};
use crate::router::classifying::Worker;

const POLICY: &str = r#"{
  "version": 1,
  "default_tier": "fast",
  "caller": {"header": "x-client-id"},
  "callers": {
    "batch": {"tiers": ["slow"]},
    "quick": {"tiers": ["fast"]},
    "pinned": {"tiers": ["fast", "slow"], "models": ["m-slow"]}
  },
  "tiers": {
    "fast": {"description": "short", "targets": [{"provider": "a", "model": "m-fast"}, {"provider": "b", "model": "m-b"}]},
    "slow": {"description": "long", "targets": [{"provider": "b", "model": "m-slow"}]}
  },
  "providers": {"a": {"cluster": "a", "api": "openai"}, "b": {"cluster": "b", "api": "openai"}},
  "models": {"m-fast": {"fallback": ["m-slow", "m-b"]}},
  "aliases": {"gpt-mini": "m-fast", "cheap": "fast"},
  "route_models": {"names": ["legacy-*", "exact"]},
  "classify": [{"rules": [
    {"when": {"header": {"name": "x-team", "value": "research"}}, "tier": "slow"},
    {"when": {"model_prefix": "claude-", "caller": "anonymous"}, "tier": "slow"}
  ]}]
}"#;

fn policy() -> Policy {
    Policy::from_bytes(POLICY.as_bytes()).expect("the test's policy is valid")
}

/// What is decided for a model, a caller and headers, in one line.
fn decided(model: &str, caller: &str, headers: &[(&str, &str)]) -> String {
    let body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": "x"}]});
    let cut = Cut {
        system: 10,
        user: 10,
        ..Cut::default()
    };
    let request = parse(body.to_string().as_bytes(), cut).expect("a valid request");
    let headers = Headers(
        headers
            .iter()
            .map(|(n, v)| ((*n).to_owned().into(), v.as_bytes().to_vec()))
            .collect(),
    );
    let asked = Asked {
        caller,
        path: "/v1/chat/completions",
        headers: &headers,
        request: &request,
    };
    let policy = policy();
    let verdict = decide(&policy, &asked).and_then(|verdict| match verdict {
        Verdict::Decided(decision) => Ok(Some(decision)),
        Verdict::Classify => {
            let (mut cascade, mut worker) = (Cascade::default(), Worker::default());
            let next = cascade.next(&policy, &asked, &mut worker, Duration::ZERO)?;
            Ok(match next {
                Next::Decided(decision) if decision.source != Source::Default => Some(decision),
                _ => None,
            })
        }
    });
    match verdict {
        Ok(None) => "classify".to_owned(),
        Ok(Some(d)) => match d.choice {
            Choice::Tier(tier) => format!("tier {tier} by {}", d.source.as_str()),
            Choice::Model(model) => format!("model {model} by {}", d.source.as_str()),
        },
        Err(e) => format!("{} {}: {}", e.status, e.code, e.message),
    }
}

#[test]
fn the_first_that_applies_decides() {
    let tier_header = [("x-llm-policy", "slow")];
    let research = [("x-team", "research")];
    for (model, caller, headers, expected) in [
        ("auto", "x", &[][..], "classify"),
        ("auto", "x", &tier_header[..], "tier slow by header"),
        ("m-fast", "x", &tier_header[..], "tier slow by header"),
        (
            "auto",
            "x",
            &[("x-llm-policy", " slow ")],
            "tier slow by header",
        ),
        ("slow", "x", &[], "tier slow by model"),
        ("m-fast", "x", &research[..], "model m-fast by model"),
        ("gpt-mini", "x", &[], "model m-fast by model"),
        ("cheap", "x", &[], "tier fast by model"),
        ("auto", "x", &research[..], "tier slow by rule"),
        ("claude-3", "anonymous", &[], "tier slow by rule"),
        ("legacy-7", "x", &[], "classify"),
        ("exact", "x", &[], "classify"),
    ] {
        assert_eq!(
            decided(model, caller, headers),
            expected,
            "{model} {caller}"
        );
    }
}

#[test]
fn a_refusal_says_what_is_allowed() {
    for (model, caller, headers, expected) in [
        (
            "auto",
            "x",
            &[("x-llm-policy", "fats")][..],
            "400 unknown_tier: X-LLM-Policy names no tier of this gateway; use one of: fast, slow",
        ),
        (
            "auto",
            "batch",
            &[("x-llm-policy", "fats")],
            "400 unknown_tier: X-LLM-Policy names no tier of this gateway; use one of: slow",
        ),
        (
            "auto",
            "batch",
            &[("x-llm-policy", "fast")],
            "403 tier_not_allowed: you may not use tier fast; allowed: slow",
        ),
        (
            "fast",
            "batch",
            &[],
            "403 tier_not_allowed: you may not use tier fast; allowed: slow",
        ),
        (
            "cheap",
            "batch",
            &[],
            "403 tier_not_allowed: you may not use tier fast; allowed: slow",
        ),
        (
            "gpt-mini",
            "batch",
            &[],
            "403 model_not_allowed: you may not use model m-fast; allowed models: m-slow; allowed tiers: slow, auto",
        ),
        (
            "m-b",
            "pinned",
            &[],
            "403 model_not_allowed: you may not use model m-b; allowed models: m-slow; allowed tiers: fast, slow, auto",
        ),
        (
            "m-fats",
            "x",
            &[],
            "404 model_not_found: this gateway has no such model or tier; did you mean m-fast? Use auto to let it choose.",
        ),
        (
            "zzzzzzzzzzzz",
            "x",
            &[],
            "404 model_not_found: this gateway has no such model or tier; GET /v1/models lists them. Use auto to let it choose.",
        ),
    ] {
        assert_eq!(
            decided(model, caller, headers),
            expected,
            "{model} {caller}"
        );
    }
}

#[test]
fn a_header_that_is_not_utf8_is_an_unknown_tier() {
    let policy = policy();
    let access = Access::of(&policy, "x");
    let refused = by_header(&policy, &access, b"\xff\xfe").expect_err("no tier has this name");
    assert_eq!((refused.status, refused.code), (400, "unknown_tier"));
}

#[test]
fn a_caller_has_its_own_default() {
    let policy = policy();
    for (caller, expected) in [("x", "fast"), ("batch", "slow"), ("pinned", "fast")] {
        assert_eq!(&*Access::of(&policy, caller).default_tier().0, expected);
    }
}

#[test]
fn a_rule_in_shadow_refuses_nobody() {
    let check = |caller: &str, shadow: bool, expected: Result<(Source, usize), u16>| {
        let mut policy = policy();
        policy.classify[0].shadow = shadow;
        let body = br#"{"model":"auto","messages":[{"role":"user","content":"x"}]}"#;
        let request = parse(body, Cut::default()).expect("a valid request");
        let headers = Headers(vec![("x-team".into(), b"research".to_vec())]);
        let asked = Asked {
            caller,
            path: "/v1/chat/completions",
            headers: &headers,
            request: &request,
        };
        let (mut cascade, mut worker) = (Cascade::default(), Worker::default());
        let next = cascade.next(&policy, &asked, &mut worker, Duration::ZERO);
        let found = match next {
            Ok(Next::Decided(decision)) => Ok((decision.source, cascade.said.len())),
            Ok(Next::Ask(..)) => panic!("nobody is to be asked"),
            Err(refusal) => Err(refusal.status),
        };
        assert_eq!(found, expected, "{caller} {shadow}");
    };
    check("anonymous", false, Ok((Source::Rule, 0)));
    check("anonymous", true, Ok((Source::Default, 1)));
    check("quick", false, Err(403));
    check("quick", true, Ok((Source::Default, 1)));
}

#[test]
fn no_models_word_is_told_as_certain() {
    let check = |source: Source, confidence: f32, expected: f32| {
        let decision = Decision {
            confidence: Some(confidence),
            ..Decision::tier(&TierName("fast".into()), source, "")
        };
        assert_eq!(decision.told_confidence(), Some(expected), "{confidence}");
    };
    check(Source::Local, 0.83, 0.83);
    check(Source::Local, 0.998, 0.99);
    check(Source::Local, 1.0, 0.99);
    check(Source::Rule, 1.0, 1.0);
}
