use proptest::prelude::*;

use super::*;
use crate::chat::request::{Cut, Dialect, parse};
use crate::policy::TierName;

const KEYS: u64 = 10_000;

// === by weight ===

/// A policy of one tier, whose targets have these weights and the names `m0`, `m1`, …
fn weighing(weights: &[u32]) -> Policy {
    let targets = weights.iter().enumerate();
    let targets =
        targets.map(|(i, w)| format!(r#"{{"provider":"a","model":"m{i}","weight":{w}}}"#));
    let targets = targets.collect::<Vec<_>>().join(",");
    policy(&format!(
        r#"{{"version": 1, "default_tier": "t", "providers": {{"a": {{"cluster": "a", "api": "openai"}}}},
             "tiers": {{"t": {{"description": "d", "order": "weighted", "targets": [{targets}]}}}}}}"#
    ))
}

fn policy(text: &str) -> Policy {
    Policy::from_bytes(text.as_bytes()).expect("the test's policy is valid")
}

/// The places of a tier's targets, in the order of a key.
fn places(policy: &Policy, key: u64) -> Vec<usize> {
    let written: Vec<&Target> = policy.tiers[0].targets.iter().collect();
    let mut targets = written.clone();
    by_weight(&mut targets, key);
    let place = |target: &&Target| written.iter().position(|t| std::ptr::eq(*t, *target));
    targets.iter().filter_map(place).collect()
}

/// How often each target is at the front of what is left when `without` is gone.
fn counted(policy: &Policy, keys: std::ops::Range<u64>, without: Option<usize>) -> Vec<u64> {
    let mut counted = vec![0; policy.tiers[0].targets.len()];
    for key in keys {
        let places = places(policy, key);
        let first = places.iter().find(|place| Some(**place) != without);
        counted[*first.expect("one is left")] += 1;
    }
    counted
}

/// Six standard deviations of a count of `KEYS`, which a fair draw leaves twice in a billion times.
fn is_share(count: u64, weight: u32, all: u32) -> bool {
    let share = f64::from(weight) / f64::from(all);
    let expected = share * KEYS as f64;
    let bound = 6.0 * (expected * (1.0 - share)).sqrt() + 1.0;
    (count as f64 - expected).abs() <= bound
}

fn weights() -> impl Strategy<Value = Vec<u32>> {
    let weight = prop_oneof![Just(0), 1..=100u32, 1..=1_000_000u32];
    let weights = proptest::collection::vec(weight, 1..=8);
    weights.prop_filter("not all 0", |weights| weights.iter().any(|w| *w > 0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Of the first place, and of what is behind the target of the largest weight when that fails.
    #[test]
    fn each_target_gets_its_share(weights in weights(), from in 0..u64::MAX - KEYS) {
        let policy = weighing(&weights);
        let all: u32 = weights.iter().sum();
        let firsts = counted(&policy, from..from + KEYS, None);
        for (weight, count) in weights.iter().zip(&firsts) {
            prop_assert!(is_share(*count, *weight, all), "{weights:?}: {firsts:?}");
        }
        let largest = (0..weights.len()).max_by_key(|i| weights[*i]).expect("one");
        let rest = all - weights[largest];
        if rest > 0 {
            let next = counted(&policy, from..from + KEYS, Some(largest));
            for (place, weight) in weights.iter().enumerate().filter(|(p, _)| *p != largest) {
                prop_assert!(is_share(next[place], *weight, rest), "{weights:?} without {largest}: {next:?}");
            }
        }
    }

    #[test]
    fn a_weight_that_grows_moves_keys_to_its_own_target_only(
        mut weights in weights(), at in any::<prop::sample::Index>(), by in 1..=50u32, from in 0..u64::MAX - KEYS,
    ) {
        let before = weighing(&weights);
        let grown = at.index(weights.len());
        weights[grown] = (weights[grown] + by).min(1_000_000);
        let after = weighing(&weights);
        for key in from..from + KEYS / 10 {
            let (before, after) = (places(&before, key), places(&after, key));
            let others = |places: &[usize]| places.iter().copied().filter(|p| *p != grown).collect::<Vec<_>>();
            prop_assert_eq!(others(&before), others(&after));
            let place = |places: &[usize]| places.iter().position(|p| *p == grown);
            prop_assert!(place(&after) <= place(&before));
        }
    }
}

proptest! {
    #[test]
    fn every_target_has_one_place_and_those_of_no_weight_the_last(weights in weights(), key in any::<u64>()) {
        let policy = weighing(&weights);
        let places = places(&policy, key);
        let mut sorted = places.clone();
        sorted.sort_unstable();
        prop_assert_eq!(&sorted, &(0..weights.len()).collect::<Vec<_>>());
        let zeros: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] == 0).collect();
        prop_assert!(places.ends_with(&zeros), "{:?} of {:?}", places, weights);
        prop_assert_eq!(places, super::tests::places(&policy, key));
    }

    /// Never too large, so that no cost is 0, and off by less than a billionth of a doubling.
    #[test]
    fn logarithms(number in any::<u64>(), shift in 0..64u32) {
        let number = number >> shift;
        let exact = (number.max(1) as f64).log2();
        let found = log2(number) as f64 / (1u64 << FRACTION) as f64;
        prop_assert!((found - exact).abs() < 1e-8, "{number}: {found}, not {exact}");
        prop_assert!(log2(number) < 64 << FRACTION);
        prop_assert!(log2(number) <= log2(number.saturating_add(1)));
    }
}

#[test]
fn logarithms_of_powers_are_exact() {
    for power in 0..64 {
        assert_eq!(log2(1 << power), u64::from(power as u32) << FRACTION);
    }
    assert_eq!(log2(0), 0);
    assert!(log2(u64::MAX) < 64 << FRACTION);
}

/// From 10 to 20 of 100: a tenth of all conversations moves, all of it to the canary.
#[test]
fn a_canary_that_grows() {
    let (small, large) = (weighing(&[90, 10]), weighing(&[80, 20]));
    let firsts = |policy: &Policy| {
        (0..KEYS)
            .map(|key| places(policy, key)[0])
            .collect::<Vec<_>>()
    };
    let (small, large) = (firsts(&small), firsts(&large));
    let moves = small.iter().zip(&large).filter(|(a, b)| a != b);
    assert!(moves.clone().all(|(a, b)| (*a, *b) == (0, 1)));
    let moved = moves.count() as u64;
    assert!(is_share(moved, 10, 100), "{moved}");
}

/// What a tier names twice is tried twice, and has the share of both.
#[test]
fn a_target_that_is_there_twice() {
    let target = r#"{"provider": "a", "model": "m", "weight": 1}"#;
    let policy = policy(&format!(
        r#"{{"version": 1, "default_tier": "t", "providers": {{"a": {{"cluster": "a", "api": "openai"}}}},
             "tiers": {{"t": {{"description": "d", "order": "weighted", "targets":
                [{target}, {target}, {{"provider": "a", "model": "n", "weight": 1}}]}}}}}}"#
    ));
    let firsts = counted(&policy, 0..KEYS, None);
    assert!(firsts.iter().all(|n| is_share(*n, 1, 3)), "{firsts:?}");
}

/// Pinned: workers, builds and platforms must agree, or a loop loses its model when Envoy is updated.
#[test]
fn orders_that_must_not_change() {
    let policy = weighing(&[50, 30, 20, 0]);
    let keys = [0, 1, 2, 0xfeed, u64::MAX];
    let found = keys.map(|key| places(&policy, key));
    let pinned = [
        [2, 0, 1, 3],
        [2, 1, 0, 3],
        [0, 1, 2, 3],
        [2, 1, 0, 3],
        [1, 0, 2, 3],
    ];
    assert_eq!(found, pinned.map(Vec::from));
}

// === what is asked ===

const POLICY: &str = r#"{
  "version": 1,
  "default_tier": "written",
  "tiers": {
    "written": {"description": "d", "targets": [
      {"provider": "a", "model": "m-a"}, {"provider": "b", "model": "m-b"}, {"provider": "a", "model": "n-a"}, {"provider": "c", "model": "m-c"}]},
    "talk": {"description": "d", "order": "weighted", "targets": [
      {"provider": "a", "model": "m-a", "weight": 1}, {"provider": "b", "model": "m-b", "weight": 1}, {"provider": "c", "model": "m-c", "weight": 1}]},
    "caller": {"description": "d", "order": "weighted", "sticky": "caller", "targets": [
      {"provider": "a", "model": "m-a", "weight": 1}, {"provider": "b", "model": "m-b", "weight": 1}, {"provider": "c", "model": "m-c", "weight": 1}]},
    "drawn": {"description": "d", "order": "weighted", "sticky": "none", "targets": [
      {"provider": "a", "model": "m-a", "weight": 1}, {"provider": "b", "model": "m-b", "weight": 1}, {"provider": "c", "model": "m-c", "weight": 1}]}
  },
  "models": {"m-a": {"targets": [{"provider": "a"}, {"provider": "b"}], "fallback": ["m-c", "m-b"]}},
  "callers": {"orders": {"tiers": ["written", "talk", "caller", "drawn"], "order_providers": true}},
  "providers": {"a": {"cluster": "ca", "api": "openai"}, "b": {"cluster": "cb", "api": "openai"},
                "c": {"cluster": "cc", "api": "openai"}, "idle": {"cluster": "ci", "api": "openai"},
                "Vertex.eu": {"cluster": "cv", "api": "openai"}}
}"#;

/// Who asks what.
#[derive(Clone, Copy)]
struct Ask<'a> {
    tier: &'a str,
    caller: &'a str,
    says: &'a str,
    /// Turns that followed: of tools, and of the user.
    turns: usize,
    random: u64,
}

const ASK: Ask<'_> = Ask {
    tier: "written",
    caller: "orders",
    says: "hello",
    turns: 0,
    random: 0,
};

/// Lines of the header.
fn lines(lines: &[&[u8]]) -> Headers {
    let line = |value: &&[u8]| (LLM_PROVIDERS.into(), value.to_vec());
    Headers(lines.iter().map(line).collect())
}

/// The order in which targets are tried, or the refusal's code and message.
fn tried(
    choice: &Choice,
    ask: Ask<'_>,
    headers: &Headers,
) -> Result<String, (&'static str, String)> {
    let policy = policy(POLICY);
    let mut messages = vec![serde_json::json!({"role": "user", "content": ask.says})];
    for _ in 0..ask.turns {
        messages.push(serde_json::json!({"role": "assistant", "content": "let me look"}));
        messages.push(serde_json::json!({"role": "tool", "tool_call_id": "c", "content": "found"}));
        messages.push(serde_json::json!({"role": "user", "content": "go on"}));
    }
    let body = serde_json::json!({"model": "auto", "messages": messages}).to_string();
    let asked = Asked {
        choice,
        access: &Access::of(&policy, ask.caller),
        caller: ask.caller,
        headers,
        request: &parse(body.as_bytes(), Cut::default()).expect("a valid request"),
        client: Dialect::Chat,
        random: ask.random,
    };
    let found = crate::router::candidates::candidates(&policy, asked);
    let found = found.map_err(|refusal| (refusal.code, refusal.message))?;
    let targets = found.targets.iter();
    let targets = targets.map(|t| format!("{}/{}", t.provider.name, t.model));
    Ok(targets.collect::<Vec<_>>().join(" "))
}

fn of_tier(ask: Ask<'_>) -> String {
    let choice = Choice::Tier(TierName(ask.tier.into()));
    tried(&choice, ask, &Headers::default()).expect("an order")
}

/// Of many asks, how many orders there are.
fn orders<'a>(asks: impl Iterator<Item = Ask<'a>>) -> usize {
    let mut orders: Vec<String> = asks.map(of_tier).collect();
    orders.sort_unstable();
    orders.dedup();
    orders.len()
}

#[test]
fn what_an_order_sticks_to() {
    const NAMES: [&str; 20] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
        "s", "t",
    ];
    for (tier, by_talk, by_caller, by_chance) in [
        ("written", false, false, false),
        ("talk", true, true, false),
        ("caller", false, true, false),
        ("drawn", false, false, true),
    ] {
        let ask = Ask { tier, ..ASK };
        let talks = orders(NAMES.iter().map(|says| Ask { says, ..ask }));
        let callers = orders(NAMES.iter().map(|caller| Ask { caller, ..ask }));
        let draws = orders((0..20).map(|random| Ask { random, ..ask }));
        assert_eq!(
            [talks > 1, callers > 1, draws > 1],
            [by_talk, by_caller, by_chance],
            "{tier}"
        );
    }
    // Nobody named them: each conversation is by itself.
    let ask = Ask {
        tier: "caller",
        caller: ANONYMOUS,
        ..ASK
    };
    assert!(orders(NAMES.iter().map(|says| Ask { says, ..ask })) > 1);
}

#[test]
fn a_conversation_that_grows_keeps_its_order() {
    for says in ["a", "b", "c", "d", "e", "f"] {
        let turns = (0..10).map(|turns| Ask {
            tier: "talk",
            says,
            turns,
            ..ASK
        });
        assert_eq!(orders(turns), 1, "{says}");
    }
}

#[test]
fn named_providers_come_first_and_nobody_is_left_out() {
    let written = Choice::Tier(TierName("written".into()));
    let pinned = Choice::Model("m-a".into());
    let as_written = "a/m-a b/m-b a/n-a c/m-c";
    for (choice, header, expected) in [
        (&written, &[&b""[..]][..], as_written),
        (&written, &[b" , ,"], as_written),
        (&written, &[b"a"], "a/m-a a/n-a b/m-b c/m-c"),
        (&written, &[b"b"], "b/m-b a/m-a a/n-a c/m-c"),
        (&written, &[b"c,a"], "c/m-c a/m-a a/n-a b/m-b"),
        (&written, &[b"\tc ,, b , "], "c/m-c b/m-b a/m-a a/n-a"),
        // Two lines are one list.
        (&written, &[b"c", b"b"], "c/m-c b/m-b a/m-a a/n-a"),
        (&written, &[b"c,c,b,c"], "c/m-c b/m-b a/m-a a/n-a"),
        // Known, but no target is there.
        (&written, &[b"idle"], as_written),
        (&written, &[b"Vertex.eu,b"], "b/m-b a/m-a a/n-a c/m-c"),
        (
            &written,
            &[b"a,b,c,idle,a,b,c,idle"],
            "a/m-a a/n-a b/m-b c/m-c",
        ),
        // A pinned model stays before its fallbacks.
        (&pinned, &[b""], "a/m-a b/m-a c/m-c b/m-b"),
        (&pinned, &[b"c,b"], "b/m-a a/m-a c/m-c b/m-b"),
    ] {
        let found = tried(choice, ASK, &lines(header));
        assert_eq!(found.as_deref(), Ok(expected), "{choice:?} {header:?}");
    }
}

/// The order of a weighted tier stays among those that are not named.
#[test]
fn named_providers_win_over_weights() {
    let choice = Choice::Tier(TierName("drawn".into()));
    for random in 0..20 {
        let ask = Ask {
            tier: "drawn",
            random,
            ..ASK
        };
        let drawn = of_tier(ask);
        let rest: Vec<&str> = drawn.split(' ').filter(|t| *t != "b/m-b").collect();
        let found = tried(&choice, ask, &lines(&[b"b"]));
        assert_eq!(found, Ok(format!("b/m-b {}", rest.join(" "))));
    }
}

#[test]
fn what_is_refused_says_what_would_do() {
    let choice = Choice::Tier(TierName("written".into()));
    let many = b"a,".repeat(9);
    let long = [b"a,", &b" ".repeat(300)[..]].concat();
    let huge = b"x".repeat(60 << 10);
    let unknown = |said: &str| {
        let message = format!("X-LLM-Providers: this gateway has no provider {said}");
        Err(("unknown_provider", message))
    };
    let all = "use one of: Vertex.eu, a, b, c, idle";
    let too_many = || {
        let message = "X-LLM-Providers names too many; name at most 8, in 256 bytes: those that are not named follow by themselves";
        Err(("too_many_providers", message.to_owned()))
    };
    let cases: &[(&[u8], Result<String, _>)] = &[
        (b"zzz", unknown(&format!("\"zzz\"; {all}"))),
        (b"a, idel", unknown("\"idel\"; did you mean idle?")),
        (
            b"vertex.eu",
            unknown("\"vertex.eu\"; did you mean Vertex.eu?"),
        ),
        (b"a;q=1", unknown(&format!("\"a;q=1\"; {all}"))),
        (b"a b", unknown(&format!("\"a b\"; {all}"))),
        (b"a,\xff\xfe", unknown(&format!("\"??\"; {all}"))),
        (
            b"\"\r\n\0\x1b[0m",
            unknown(&format!("\"\"????[0m\"; {all}")),
        ),
        (
            &b"x".repeat(100),
            unknown(&format!("\"{}...\"; {all}", "x".repeat(64))),
        ),
        (&many, too_many()),
        (&long, too_many()),
        (&huge, too_many()),
    ];
    for (header, expected) in cases {
        let found = tried(&choice, ASK, &lines(&[header]));
        let shown = String::from_utf8_lossy(&header[..header.len().min(40)]);
        assert_eq!(&found, expected, "{shown:?}");
    }
    // Whoever may not is told so, whatever is named.
    for header in [&b"a"[..], b"zzz", b"\xff", &many, &huge] {
        let ask = Ask {
            caller: "other",
            ..ASK
        };
        let (code, message) = tried(&choice, ask, &lines(&[header])).expect_err("refused");
        assert_eq!(code, "provider_order_not_allowed");
        assert!(message.contains("send the request without X-LLM-Providers"));
    }
}
