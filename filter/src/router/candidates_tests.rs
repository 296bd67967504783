use super::*;
use crate::chat::request::{Cut, parse};
use crate::policy::TierName;
use crate::router::decide::Access;

const POLICY: &str = r#"{
  "version": 1,
  "default_tier": "fast",
  "tiers": {
    "fast": {"description": "short", "targets": [{"provider": "a", "model": "m-fast"}, {"provider": "b", "model": "m-b"}]},
    "slow": {"description": "long", "targets": [{"provider": "b", "model": "m-slow"}]}
  },
  "providers": {"a": {"cluster": "ca", "api": "openai"}, "b": {"cluster": "cb", "api": "anthropic"}},
  "models": {"m-fast": {"fallback": ["m-slow", "m-b"]}},
  "callers": {"pinned": {"tiers": ["fast"], "models": ["m-fast", "m-slow"]}}
}"#;

/// The targets in order, then those skipped; or the refusal's code.
fn found(choice: &Choice, caller: &str, client: Dialect) -> Result<(String, String), &'static str> {
    let policy = Policy::from_bytes(POLICY.as_bytes()).expect("the test's policy is valid");
    let body = br#"{"model":"auto","messages":[{"role":"user","content":"x"}]}"#;
    let asked = Asked {
        choice,
        access: &Access::of(&policy, caller),
        request: &parse(body, Cut::default()).expect("a valid request"),
        client,
    };
    let found = candidates(&policy, asked).map_err(|refusal| refusal.code)?;
    let targets = found.targets.iter();
    let targets: Vec<_> = targets
        .map(|t| format!("{}/{}", t.provider.name, t.model))
        .collect();
    let skipped: Vec<_> = found.skipped.iter().map(ToString::to_string).collect();
    Ok((targets.join(" "), skipped.join(" ")))
}

#[test]
fn each_target_is_there_once_and_who_is_not_tried_is_said() {
    let model = |name: &str| Choice::Model(name.into());
    let tier = |name: &str| Choice::Tier(TierName(name.into()));
    let (chat, count) = (Dialect::Chat, Dialect::CountTokens);
    for (choice, caller, client, expected) in [
        (tier("fast"), "x", chat, Ok(("a/m-fast b/m-b", ""))),
        (
            tier("fast"),
            "x",
            count,
            Ok(("b/m-b", "a/m-fast=cannot_count")),
        ),
        (
            model("m-fast"),
            "x",
            chat,
            Ok(("a/m-fast b/m-slow b/m-b", "")),
        ),
        (
            model("m-fast"),
            "pinned",
            chat,
            Ok(("a/m-fast b/m-slow", "b/m-b=not_allowed")),
        ),
        (tier("gone"), "x", chat, Err("no_target")),
    ] {
        let seen = found(&choice, caller, client);
        let seen = seen.as_ref().map(|(t, s)| (&**t, &**s)).map_err(|c| *c);
        assert_eq!(seen, expected, "{choice:?} {caller}");
    }
}
