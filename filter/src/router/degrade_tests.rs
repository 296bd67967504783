use super::*;
use crate::chat::request::{Cut, parse};
use crate::http::tests::Still;
use crate::router::candidates::candidates;
use crate::router::decide::Access;

const POLICY: &str = r#"{
  "version": 1,
  "default_tier": "best",
  "tiers": {
    "best": {"description": "d", "degrade": {"tier": "fast"},
             "targets": [{"provider": "a", "model": "m-1"}, {"provider": "b", "model": "m-2"}]},
    "fast": {"description": "d", "degrade": {"tier": "last"},
             "targets": [{"provider": "b", "model": "m-2"}, {"provider": "a", "model": "m-3"}]},
    "last": {"description": "d", "degrade": {"answer": "later"}, "targets": [{"provider": "a", "model": "m-4"}]},
    "same": {"description": "d", "degrade": {"tier": "last"}, "targets": [{"provider": "a", "model": "m-4"}]}
  },
  "providers": {"a": {"cluster": "ca", "api": "openai"}, "b": {"cluster": "cb", "api": "anthropic"}},
  "callers": {"limited": {"tiers": ["best"]}}
}"#;

fn policy() -> Policy {
    Policy::from_bytes(POLICY.as_bytes()).expect("the test's policy is valid")
}

fn request(body: &str) -> ChatRequest {
    parse(body.as_bytes(), Cut::default()).expect("a valid request")
}

const CHAT: &str = r#"{"model":"auto","messages":[{"role":"user","content":"x"}]}"#;

#[test]
fn the_other_tiers_targets_come_after_the_tiers_own() {
    let policy = policy();
    let (chat, count) = (Dialect::Chat, Dialect::CountTokens);
    for (tier, caller, client, expected, from, skipped) in [
        // The shared target is tried once, and what `fast` degrades to is not asked.
        ("best", "x", chat, "a/m-1 b/m-2 a/m-3", Some(2), ""),
        (
            "best",
            "limited",
            chat,
            "a/m-1 b/m-2",
            None,
            "b/m-2=not_allowed a/m-3=not_allowed",
        ),
        ("fast", "x", chat, "b/m-2 a/m-3 a/m-4", Some(2), ""),
        ("best", "x", count, "b/m-2", None, "a/m-1=cannot_count"),
        ("last", "x", chat, "a/m-4", None, ""),
        ("same", "x", chat, "a/m-4", None, ""),
    ] {
        let choice = Choice::Tier(TierName(tier.into()));
        let asked = Asked {
            choice: &choice,
            access: &Access::of(&policy, caller),
            request: &request(CHAT),
            caller: "x",
            headers: &crate::http::Headers::default(),
            random: 0,
            client,
        };
        let found = candidates(&policy, asked).expect("targets");
        let targets = found.targets.iter();
        let targets: Vec<_> = targets
            .map(|t| format!("{}/{}", t.provider.name, t.model))
            .collect();
        let left_out: Vec<_> = found.skipped.iter().map(ToString::to_string).collect();
        assert_eq!(targets.join(" "), expected, "{tier} {caller}");
        assert_eq!(
            found
                .degraded
                .map(|to| found.targets.len() - to.targets.len()),
            from,
            "{tier} {caller}"
        );
        assert_eq!(left_out.join(" "), skipped, "{tier} {caller}");
    }
}

#[test]
fn words_answer_in_the_clients_form() {
    let policy = policy();
    let last = Choice::Tier(TierName("last".into()));
    let streamed = CHAT.replace("\"model\"", "\"stream\":true,\"model\"");
    for (body, client, content_type, contains) in [
        (
            CHAT,
            Dialect::Chat,
            "application/json",
            r#""content":"later""#,
        ),
        (
            &streamed,
            Dialect::Chat,
            "text/event-stream; charset=utf-8",
            "data: [DONE]",
        ),
        (
            CHAT,
            Dialect::Messages,
            "application/json",
            r#""type":"message""#,
        ),
        (
            &streamed,
            Dialect::Messages,
            "text/event-stream; charset=utf-8",
            "event: message_stop",
        ),
    ] {
        let canned = Canned::of(&policy, &last, &request(body), client).expect("words");
        let actions = canned.reply(Vec::new(), &Still::at(7));
        let [Action::Count(name, 1), Action::Reply(reply)] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(name, "tier=.=last;.to=.=answer;.pointsman_degraded_total");
        let header = |name: &str| {
            let line = reply.headers.iter().find(|(n, _)| n == name);
            line.map(|(_, value)| value.as_str())
        };
        assert_eq!(
            (reply.status, header("content-type")),
            (200, Some(content_type))
        );
        assert_eq!(header("x-routing-degraded"), Some("answer"));
        let body = String::from_utf8_lossy(&reply.body);
        assert!(body.contains(contains), "{body}");
    }
    for (tier, client) in [("best", Dialect::Chat), ("last", Dialect::CountTokens)] {
        let choice = Choice::Tier(TierName(tier.into()));
        assert!(Canned::of(&policy, &choice, &request(CHAT), client).is_none());
    }
}
