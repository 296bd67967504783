use super::*;
use crate::health::record::{Failure, Moment};
use crate::policy::Policy;

const POLICY: &str = r#"{
  "version": 1,
  "default_tier": "t",
  "tiers": {"t": {"description": "t", "targets": [
    {"provider": "p", "model": "a"}, {"provider": "p", "model": "b"}, {"provider": "p", "model": "c"}, {"provider": "p", "model": "a"}
  ]}},
  "providers": {"p": {"cluster": "c", "api": "openai"}}
}"#;

const NOW: Millis = 1_000_000_000;

/// Each target's state: `-` healthy, `~` shaky, digits: open for so many seconds, `!` due, `?` probed by another. What comes of it:
/// the order, with what the plan knows of each; then who is told as left alone.
fn check(states: &[(&str, &str)], count: usize, claims: bool, expected: (&str, &str)) {
    let policy = Policy::from_bytes(POLICY.as_bytes()).expect("the test's policy is valid");
    let targets: Vec<&Target> = policy.tiers[0].targets.iter().take(count).collect();
    let cooldown = Cooldown::default();
    let mut table = Table::default();
    for (model, state) in states {
        let target = targets
            .iter()
            .find(|t| &*t.model == *model)
            .expect("a target");
        let failed = |seconds: u64, wait| (NOW - seconds * 1000, wait);
        let (at, wait) = match *state {
            "-" => continue,
            "~" => failed(1, None),
            "!" | "?" => failed(9, Some(1000)),
            seconds => failed(
                1,
                Some(1000 + seconds.parse::<u64>().expect("seconds") * 1000),
            ),
        };
        table.with(Key::of(target), |record| {
            let kind = Kind::RateLimit;
            let moment = Moment {
                now: at,
                cooldown: &cooldown,
                random: 0,
            };
            let begun = at;
            record.failed(Failure { kind, wait, begun }, Standing::Healthy, moment);
            if *state == "?" {
                assert!(record.claim(std::time::Duration::from_secs(60), NOW, &cooldown));
            }
        });
    }
    let mut claimed = 0;
    let ordered = order(targets, &table, NOW, &cooldown, |_| {
        claimed += 1;
        claims
    });
    let standings = ordered.standings.iter().copied();
    let standings = standings.chain(std::iter::repeat(Standing::Healthy));
    let order: Vec<_> = ordered
        .targets
        .iter()
        .zip(standings)
        .map(|(target, standing)| {
            let mark = match standing {
                Standing::Healthy => "",
                Standing::Shaky => "~",
                Standing::Open => "*",
                Standing::Probe => "!",
            };
            format!("{}{mark}", target.model)
        })
        .collect();
    let cooling: Vec<_> = ordered.cooling.iter().map(ToString::to_string).collect();
    assert_eq!(
        (&*order.join(" "), &*cooling.join(" ")),
        expected,
        "{states:?}"
    );
    assert_eq!(ordered.probe.is_some(), expected.0.contains('!'));
    assert!(claimed <= 1 || !claims, "one probe for one request");
}

#[test]
fn who_is_left_alone_is_tried_last_and_one_that_is_due_is_probed() {
    for (states, claims, expected) in [
        (&[][..], true, ("a b c", "")),
        (&[("a", "~")], true, ("a~ b c", "")),
        (&[("a", "5")], true, ("b c a*", "p/a=cooldown")),
        (&[("b", "5")], true, ("a c b*", "p/b=cooldown")),
        (
            &[("a", "9"), ("b", "5")],
            true,
            ("c b* a*", "p/b=cooldown p/a=cooldown"),
        ),
        // All: the one that comes back first.
        (
            &[("a", "9"), ("b", "5"), ("c", "7")],
            true,
            ("b* c* a*", "p/b=cooldown p/c=cooldown p/a=cooldown"),
        ),
        // Due, and first: the probe, if this request gets it.
        (&[("a", "!")], true, ("a! b c", "")),
        (&[("a", "!")], false, ("b c a*", "p/a=cooldown")),
        (&[("a", "?")], true, ("b c a*", "p/a=cooldown")),
        // Due, and not first: it is asked when those before it have failed.
        (&[("b", "!")], true, ("a c b*", "p/b=cooldown")),
        (
            &[("b", "!"), ("c", "5")],
            true,
            ("a b* c*", "p/b=cooldown p/c=cooldown"),
        ),
        // One that is left alone does not serve.
        (&[("a", "5"), ("b", "!")], true, ("b! c a*", "p/a=cooldown")),
        // Not two at once.
        (&[("a", "!"), ("b", "!")], true, ("a! c b*", "p/b=cooldown")),
        (
            &[("a", "!"), ("b", "!")],
            false,
            ("c a* b*", "p/a=cooldown p/b=cooldown"),
        ),
        (
            &[("a", "?"), ("b", "!"), ("c", "5")],
            false,
            ("b* a* c*", "p/b=cooldown p/a=cooldown p/c=cooldown"),
        ),
    ] {
        check(states, 3, claims, expected);
    }
}

/// A tier that names a target twice means to repeat it: the repeat of a probe is not one.
#[test]
fn a_repeat_stands_as_its_target_does() {
    check(
        &[("a", "5")],
        4,
        true,
        ("b c a* a*", "p/a=cooldown p/a=cooldown"),
    );
    check(&[("a", "!")], 4, true, ("a! b c a*", "p/a=cooldown"));
}

/// A provider that was mended starts anew.
#[test]
fn a_key_is_of_all_that_says_where_a_request_goes() {
    let key = |from: &str, to: &str| {
        let text = POLICY.replace(from, to);
        assert!(from.is_empty() || text != POLICY, "{from}");
        let policy = Policy::from_bytes(text.as_bytes()).expect("the test's policy is valid");
        Key::of(&policy.tiers[0].targets[0])
    };
    let mut keys = vec![key("", "")];
    let provider = r#""cluster": "c""#;
    for (from, to) in [
        (r#""model": "a""#, r#""model": "d""#),
        (provider, r#""cluster": "d""#),
        (provider, r#""cluster": "c", "host": "h""#),
        (provider, r#""cluster": "c", "path": "/p""#),
        ("\"p\"", "\"q\""),
    ] {
        keys.push(key(from, to));
    }
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all);
    // What does not change where it goes.
    assert_eq!(
        key(provider, r#""cluster": "c", "stream_usage": false"#),
        key("", "")
    );
}
