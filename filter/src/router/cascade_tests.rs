use base64::Engine as _;
use serde_json::{Value, json};

use super::*;
use crate::chat::request::parse;
use crate::classify::local::features::MARKS;
use crate::classify::local::model::{LENGTHS, Model};
use crate::classify::local::names::mark_name;
use crate::http::{CalloutEnd, Headers};

/// Sure of fast for a greeting and of slow for mathematics, and of nothing else.
fn model() -> String {
    let mut model = Model {
        labels: vec!["fast".to_owned(), "slow".to_owned()],
        bits: 8,
        temperature: 1.0,
        bias: vec![0.0; 2],
        scales: vec![0.01; 2],
        marks: vec![0.0; MARKS * 2],
        history: vec![0.0; LENGTHS * 4],
        words: vec![0; 512],
    };
    for (name, label, weight) in [("words: greet", 0, 8.0), ("math signs, 1 or more", 1, 4.0)] {
        let at = (0..MARKS).find(|at| mark_name(*at) == name).unwrap();
        model.marks[at * 2 + label] = weight;
    }
    base64::engine::general_purpose::STANDARD.encode(model.to_bytes())
}

/// Steps by name; in brackets: in shadow.
fn policy(steps: &[&str]) -> Policy {
    let step = |name: &&str| {
        let inner = name.trim_matches(['[', ']']);
        let mut step = match inner {
            "rules" => json!({"rules": [{"when": {"header": {"name": "x-rule"}}, "tier": "slow"}]}),
            "local" => json!({"local": {"model": model()}}),
            _ => json!({"llm": {"cluster": "classifier", "model": "judge", "max_in_flight": 1}}),
        };
        if inner != *name {
            step["shadow"] = true.into();
        }
        step
    };
    let tier = json!({"description": "d", "targets": [{"provider": "a", "model": "m"}]});
    let document = json!({
        "version": 1,
        "default_tier": "fast",
        "caller": {"header": "x-client-id"},
        "callers": {"slow-only": {"tiers": ["slow"]}, "two": {"tiers": ["third", "slow"]}},
        "tiers": {"fast": tier, "slow": tier, "third": tier},
        "providers": {"a": {"cluster": "a", "api": "openai"}},
        "classify": steps.iter().map(step).collect::<Vec<Value>>(),
    });
    Policy::from_bytes(document.to_string().as_bytes()).expect("the test's policy is valid")
}

/// What comes of a request, in one line; `llm`: what the classifier answers if it is asked, or that it fails.
fn run(steps: &[&str], caller: &str, user: &str, has_rule: bool, llm: Option<&str>) -> String {
    let policy = policy(steps);
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": user}]});
    let request = parse(body.to_string().as_bytes(), policy.cut(0)).expect("a valid request");
    let rule = has_rule.then(|| ("x-rule".into(), b"1".to_vec()));
    let headers = Headers(rule.into_iter().collect());
    let asked = decide::Asked {
        caller,
        path: "/v1/chat/completions",
        headers: &headers,
        request: &request,
    };
    let (mut cascade, mut worker) = (Cascade::default(), Worker::default());
    let decision = loop {
        match cascade.next(&policy, &asked, &mut worker, Duration::ZERO) {
            Err(refusal) => return format!("refused: {}", refusal.code),
            Ok(Next::Decided(decision)) => break decision,
            Ok(Next::Ask(asking, callout)) => {
                assert_eq!(callout.cluster, "classifier");
                let body = json!({"choices": [{"message": {"content": llm}}]}).to_string();
                let end = match llm {
                    Some(_) => CalloutEnd::Answered {
                        status: 200,
                        body: body.as_bytes(),
                    },
                    None => CalloutEnd::Reset,
                };
                match asking
                    .end(&policy, caller, end, &mut worker, Duration::ZERO)
                    .0
                {
                    Ok(decision) => break decision,
                    Err(reason) => cascade.failed(reason),
                }
            }
        }
    };
    let said: Vec<String> = cascade.said.iter().map(Said::to_string).collect();
    let aside = cascade.aside.is_some();
    cascade.abandon(&mut worker);
    assert_eq!(worker.in_flight, 0);
    let tier = decision.tier_name().unwrap();
    let mut line = format!("{tier} by {}", decision.source.as_str());
    for (name, part) in [
        ("said", said.join(" ")),
        (
            "because",
            match decision.source {
                Source::Default => decision.reason,
                _ => String::new(),
            },
        ),
    ] {
        if !part.is_empty() {
            line.push_str(&format!("; {name} {part}"));
        }
    }
    if aside {
        line.push_str("; llm aside");
    }
    line
}

const UNSURE: &str = "fast by default; because not sure; local model: slow 0.50, fast 0.50";

#[test]
fn the_first_that_is_sure_decides() {
    for (steps, user, has_rule, llm, expected) in [
        (
            &[][..],
            "hello",
            true,
            None,
            "fast by default; because no classifier is configured",
        ),
        (
            &["rules"],
            "hello",
            false,
            None,
            "fast by default; because no classifier is configured",
        ),
        (
            &["rules", "local", "llm"],
            "hello",
            true,
            None,
            "slow by rule",
        ),
        (
            &["rules", "local", "llm"],
            "hello",
            false,
            Some("slow"),
            "fast by local",
        ),
        (
            &["rules", "local", "llm"],
            "1 + 1",
            false,
            Some("fast"),
            "slow by local",
        ),
        (
            &["rules", "local", "llm"],
            "x",
            false,
            Some("third"),
            "third by llm",
        ),
        (
            &["local", "rules", "llm"],
            "hello",
            true,
            None,
            "fast by local",
        ),
        (&["local", "rules", "llm"], "x", true, None, "slow by rule"),
        (
            &["local", "llm", "rules"],
            "x",
            true,
            Some("third"),
            "third by llm",
        ),
        (&["local", "llm", "rules"], "x", true, None, "slow by rule"),
        (
            &["llm", "local", "rules"],
            "hello",
            true,
            Some("third"),
            "third by llm",
        ),
        (
            &["llm", "local", "rules"],
            "hello",
            true,
            None,
            "fast by local",
        ),
        (
            &["llm", "rules", "local"],
            "hello",
            true,
            None,
            "slow by rule",
        ),
        (
            &["rules", "llm", "local"],
            "1 + 1",
            false,
            None,
            "slow by local",
        ),
        (&["local"], "x", false, None, UNSURE),
        (&["local", "rules"], "x", false, None, UNSURE),
        // The latest reason is told.
        (&["llm", "local"], "x", false, None, UNSURE),
        (
            &["local", "llm"],
            "x",
            false,
            None,
            "fast by default; because classifier connection failed",
        ),
        (
            &["llm"],
            "x",
            false,
            Some("fourth"),
            "fast by default; because classifier answered an unknown tier",
        ),
    ] {
        assert_eq!(
            run(steps, "anyone", user, has_rule, llm),
            expected,
            "{steps:?} {user}"
        );
    }
}

#[test]
fn a_step_in_shadow_decides_nothing() {
    let default = "because no classifier is configured";
    for (steps, user, has_rule, llm, expected) in [
        (
            &["[local]"][..],
            "hello",
            false,
            None,
            &*format!("fast by default; said local=fast:0.98; {default}"),
        ),
        (
            &["[local]", "llm"],
            "1 + 1",
            false,
            Some("third"),
            "third by llm; said local=slow:0.98",
        ),
        (
            &["[local]", "rules"],
            "x",
            true,
            None,
            "slow by rule; said local=unsure",
        ),
        (
            &["[rules]", "local"],
            "hello",
            true,
            None,
            "fast by local; said rule=slow:1.00",
        ),
        (
            &["[rules]", "local"],
            "hello",
            false,
            None,
            "fast by local; said rule=unsure",
        ),
        (
            &["[llm]", "local"],
            "hello",
            false,
            Some("slow"),
            "fast by local; llm aside",
        ),
        (
            &["[llm]", "[local]", "rules"],
            "hello",
            true,
            None,
            "slow by rule; said local=fast:0.98; llm aside",
        ),
        // What is decided before it keeps it from being reached.
        (&["local", "[llm]"], "hello", false, None, "fast by local"),
        (
            &["local", "[llm]"],
            "x",
            false,
            None,
            &format!("{UNSURE}; llm aside"),
        ),
    ] {
        assert_eq!(
            run(steps, "anyone", user, has_rule, llm),
            expected,
            "{steps:?} {user}"
        );
    }
}

#[test]
fn callers_with_limits() {
    let only = "slow by default; because the only tier on offer";
    for (steps, caller, user, has_rule, llm, expected) in [
        (
            &["local", "llm"][..],
            "slow-only",
            "hello",
            false,
            Some("fast"),
            only,
        ),
        (
            &["[local]", "[llm]"],
            "slow-only",
            "hello",
            false,
            None,
            only,
        ),
        // Its own default, and too strong rather than too weak.
        (
            &["local"],
            "two",
            "x",
            false,
            None,
            "third by default; because not sure; local model: slow 0.50, fast 0.50",
        ),
        (&["local"], "two", "hello", false, None, "slow by local"),
        (
            &["local", "llm"],
            "two",
            "x",
            false,
            Some("fast"),
            "third by default; because classifier answered an unknown tier",
        ),
        (
            &["rules", "local"],
            "slow-only",
            "hello",
            true,
            None,
            "slow by rule",
        ),
    ] {
        assert_eq!(
            run(steps, caller, user, has_rule, llm),
            expected,
            "{steps:?} {caller} {user}"
        );
    }
}

/// A rule in shadow whose tier the caller may not use refused the request.
#[test]
fn a_rule_in_shadow_refuses_nobody() {
    let of = |step: &str| {
        let mut document = policy(&[step, "local"]);
        // Whoever has the header is sent where this caller may not go.
        for step in &mut document.classify {
            if let StepKind::Rules(rules) = &mut step.kind {
                rules[0].tier = document.default_tier.clone();
            }
        }
        let body = json!({"model": "auto", "messages": [{"role": "user", "content": "hello"}]});
        let request = parse(body.to_string().as_bytes(), document.cut(0)).unwrap();
        let headers = Headers(vec![("x-rule".into(), b"1".to_vec())]);
        let asked = decide::Asked {
            caller: "two",
            path: "/",
            headers: &headers,
            request: &request,
        };
        let mut cascade = Cascade::default();
        let next = cascade.next(&document, &asked, &mut Worker::default(), Duration::ZERO);
        match next {
            Ok(Next::Decided(decision)) => {
                format!("{} {:?}", decision.source.as_str(), cascade.said)
            }
            Ok(Next::Ask(..)) => "asked".to_owned(),
            Err(refusal) => refusal.code.to_string(),
        }
    };
    assert_eq!(of("rules"), "tier_not_allowed");
    assert_eq!(
        of("[rules]"),
        "local [Said { step: Rule, tier: None, confidence: None }]"
    );
}

/// What the counter is told, by step and result.
#[test]
fn results_are_counted() {
    let of = |steps: &[&str], user: &str| {
        let policy = policy(steps);
        let body = json!({"model": "auto", "messages": [{"role": "user", "content": user}]});
        let request = parse(body.to_string().as_bytes(), policy.cut(0)).unwrap();
        let headers = Headers::default();
        let asked = decide::Asked {
            caller: "a",
            path: "/",
            headers: &headers,
            request: &request,
        };
        let mut worker = Worker {
            in_flight: 1,
            ..Worker::default()
        };
        let mut cascade = Cascade::default();
        let next = cascade.next(&policy, &asked, &mut worker, Duration::ZERO);
        assert!(matches!(next, Ok(Next::Decided(_))));
        let results = cascade.results.iter();
        let results = results.map(|(step, asked)| format!("{}={}", step.as_str(), asked.as_str()));
        results.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(&["local"], "hello"), "local=answered");
    assert_eq!(of(&["local"], "x"), "local=unsure");
    assert_eq!(of(&["[local]", "rules"], "hello"), "local=answered");
    // As many callouts as may be are under way.
    assert_eq!(of(&["llm", "local"], "hello"), "llm=skipped local=answered");
}
