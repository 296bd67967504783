use super::*;
use crate::chat::request::{Cut, parse};
use crate::messages::view;
use crate::policy::TierName;
use crate::router::decide::Access;

const POLICY: &str = r#"{
  "version": 1,
  "default_tier": "fast",
  "tiers": {
    "fast": {"description": "short", "targets": [{"provider": "a", "model": "m-fast"}, {"provider": "b", "model": "m-b"}]},
    "slow": {"description": "long", "targets": [{"provider": "b", "model": "m-slow"}]},
    "small": {"description": "few tokens", "targets": [{"provider": "a", "model": "m-10"}, {"provider": "b", "model": "m-20"}]},
    "plain": {"description": "text only", "targets": [{"provider": "a", "model": "m-text"}]},
    "wide": {"description": "all kinds", "targets": [{"provider": "b", "model": "m-b"}, {"provider": "g", "model": "m-g"}]}
  },
  "providers": {
    "a": {"cluster": "ca", "api": "openai", "region": "us"},
    "b": {"cluster": "cb", "api": "anthropic", "region": "eu"},
    "g": {"cluster": "cg", "api": "gemini"}
  },
  "models": {
    "m-fast": {"fallback": ["m-slow", "m-b"], "targets": [{"provider": "a", "model": "m-fast-2025"}]},
    "m-10": {"context": 10}, "m-20": {"context": 20},
    "m-text": {"input": ["text"], "tools": false, "json_schema": false}
  },
  "callers": {
    "pinned": {"tiers": ["fast"], "models": ["m-fast", "m-slow"]},
    "european": {"tiers": ["fast", "small", "wide"], "regions": ["eu"]},
    "dated": {"tiers": ["fast"], "versions": ["m-fast-2025"]},
    "prefixed": {"tiers": ["fast"], "versions": ["m-fast-*", "m-b*"]},
    "old": {"tiers": ["fast", "slow"], "versions": ["m-slow"]}
  }
}"#;

const CUT: Cut = Cut {
    system: 0,
    user: 0,
    user_end: 0,
    previous: 0,
    is_weighed: true,
};

const SHORT: &str = r#"{"model":"auto","messages":[{"role":"user","content":"x"}]}"#;

/// The targets in order, then those skipped; or the refusal.
fn found(
    choice: &Choice,
    caller: &str,
    client: Dialect,
    body: &str,
) -> Result<(String, String), ErrorReply> {
    let policy = Policy::from_bytes(POLICY.as_bytes()).expect("the test's policy is valid");
    let body = body.as_bytes();
    let request = match client {
        Dialect::Chat => parse(body, CUT),
        Dialect::Messages => view::parse(body, CUT),
        Dialect::CountTokens => view::parse_count(body, CUT),
    };
    let asked = Asked {
        choice,
        access: &Access::of(&policy, caller),
        caller,
        headers: &Headers::default(),
        request: &request.expect("a valid request"),
        client,
        random: 0,
    };
    let found = candidates(&policy, asked)?;
    let targets = found.targets.iter();
    let targets: Vec<_> = targets
        .map(|t| format!("{}/{}", t.provider.name, t.model))
        .collect();
    let skipped: Vec<_> = found.skipped.iter().map(ToString::to_string).collect();
    Ok((targets.join(" "), skipped.join(" ")))
}

fn model(name: &str) -> Choice {
    Choice::Model(name.into())
}

fn tier(name: &str) -> Choice {
    Choice::Tier(TierName(name.into()))
}

#[test]
fn each_target_is_there_once_and_who_is_not_tried_is_said() {
    let (chat, count) = (Dialect::Chat, Dialect::CountTokens);
    for (choice, caller, client, expected) in [
        (tier("fast"), "x", chat, ("a/m-fast b/m-b", "")),
        (tier("fast"), "x", count, ("b/m-b", "a/m-fast=cannot_count")),
        (model("m-fast"), "x", chat, ("a/m-fast b/m-slow b/m-b", "")),
        (
            model("m-fast"),
            "pinned",
            chat,
            ("a/m-fast b/m-slow", "b/m-b=not_allowed"),
        ),
        (tier("fast"), "european", chat, ("b/m-b", "a/m-fast=region")),
        // A provider of no known region is in none of them.
        (tier("wide"), "european", chat, ("b/m-b", "g/m-g=region")),
        (tier("fast"), "dated", chat, ("a/m-fast", "b/m-b=version")),
        (tier("fast"), "prefixed", chat, ("a/m-fast b/m-b", "")),
    ] {
        let seen = found(&choice, caller, client, SHORT).expect("somebody is left");
        assert_eq!((&*seen.0, &*seen.1), expected, "{choice:?} {caller}");
    }
}

fn with(content: &str) -> String {
    format!(r#"{{"model":"auto","messages":[{{"role":"user","content":[{content}]}}]}}"#)
}

const IMAGE: &str = r#"{"type":"image_url","image_url":{"url":"https://x.test/a.png"}}"#;
const AUDIO: &str = r#"{"type":"input_audio","input_audio":{"data":"","format":"wav"}}"#;
const TOOLS: &str = r#"{"model":"auto","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}]}"#;
const SCHEMA: &str = r#"{"model":"auto","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{}}}}"#;

#[test]
fn a_target_that_cannot_serve_the_request_is_left_out() {
    let long = |words: usize| {
        format!(
            r#"{{"model":"auto","messages":[{{"role":"user","content":"{}"}}]}}"#,
            "word ".repeat(words)
        )
    };
    for (tiers, body, expected) in [
        ("small", long(3), ("a/m-10 b/m-20", "")),
        ("small", long(16), ("b/m-20", "a/m-10=context")),
        ("wide", with(IMAGE), ("b/m-b g/m-g", "")),
        ("wide", with(AUDIO), ("g/m-g", "b/m-b=audio")),
        ("fast", with(AUDIO), ("a/m-fast", "b/m-b=audio")),
        ("fast", TOOLS.to_owned(), ("a/m-fast b/m-b", "")),
    ] {
        let seen = found(&tier(tiers), "x", Dialect::Chat, &body).expect("somebody is left");
        assert_eq!((&*seen.0, &*seen.1), expected, "{tiers} {body}");
    }
}

#[test]
fn where_nobody_is_left_the_client_is_told_which_limit_and_who_comes_closest() {
    let long = with(&format!(
        r#"{{"type":"text","text":"{}"}}"#,
        "word ".repeat(500)
    ));
    for (choice, caller, client, body, code, says) in [
        (
            tier("gone"),
            "x",
            Dialect::Chat,
            SHORT,
            (500, "no_target"),
            "",
        ),
        (
            tier("plain"),
            "x",
            Dialect::CountTokens,
            SHORT,
            (404, "count_tokens_unsupported"),
            "anthropic",
        ),
        (
            tier("small"),
            "x",
            Dialect::Chat,
            &*long,
            (400, "context_length_exceeded"),
            "m-20 comes closest with 20: shorten it, or ask for tier fast",
        ),
        (
            tier("plain"),
            "x",
            Dialect::Chat,
            &*with(IMAGE),
            (400, "no_capable_target"),
            "images",
        ),
        (
            tier("plain"),
            "x",
            Dialect::Chat,
            TOOLS,
            (400, "no_capable_target"),
            "tools",
        ),
        (
            tier("plain"),
            "x",
            Dialect::Chat,
            SCHEMA,
            (400, "no_capable_target"),
            "a JSON schema",
        ),
        (
            tier("slow"),
            "x",
            Dialect::Chat,
            &*with(AUDIO),
            (400, "no_capable_target"),
            "audio",
        ),
        (
            model("m-10"),
            "european",
            Dialect::Chat,
            SHORT,
            (403, "no_allowed_target"),
            "region",
        ),
        (
            tier("fast"),
            "old",
            Dialect::Chat,
            SHORT,
            (403, "no_allowed_target"),
            "version",
        ),
    ] {
        let refusal = found(&choice, caller, client, body).expect_err("nobody is left");
        assert_eq!((refusal.status, refusal.code), code, "{refusal:?}");
        assert!(refusal.message.contains(says), "{refusal:?}");
    }
}
