//! `pointsman explain`: every way that a request may go, as people read it and as tools do.
//!
//! The local model here is made by hand, of a few weights, so that what is shown does not move with the model that ships.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pointsman::classify::local::features::{Features, Input, MARKS};
use pointsman::classify::local::lexicon;
use pointsman::classify::local::model::{LENGTHS, Model};
use pointsman::classify::local::names::mark_name;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ran, fixtures, run, run_in};

/// A model of two tiers: mathematics is hard, and so are control characters; short texts are not.
pub fn model() -> Model {
    const BITS: u8 = 10;
    let mut model = Model {
        labels: vec!["fast".to_owned(), "strong".to_owned()],
        bits: BITS,
        temperature: 2.0,
        bias: vec![0.5, 0.0],
        scales: vec![0.1, 0.1],
        marks: vec![0.0; MARKS * 2],
        history: vec![0.0; LENGTHS * 4],
        words: vec![0; (1 << BITS) * 2],
    };
    for (name, fast, strong) in [
        ("characters: 26 to 50", 4.0, 0.0),
        ("math signs, 1 or more", 0.0, 2.0),
        ("bytes of instructions: 1 to 120", 0.25, 0.0),
    ] {
        if let Some(at) = (0..MARKS).find(|at| mark_name(*at) == name) {
            model.marks[at * 2] = fast;
            model.marks[at * 2 + 1] = strong;
        }
    }
    let mut features = Features {
        traced: Some(Vec::new()),
        ..Features::default()
    };
    features.read(&Input::of_text("\u{1b}["), lexicon());
    for (hash, _) in features.traced.take().expect("traced") {
        let bucket = usize::try_from(hash >> (32 - BITS)).expect("a bucket");
        model.words[bucket * 2 + 1] = 20;
    }
    model
}

/// The fixture's policy with steps of its own, in a folder with the fixture's requests.
pub fn with_steps(steps: Value) -> TempDir {
    let dir = TempDir::new().expect("a folder");
    for file in ["chat.json", "pinned.json", "audio.json", "messages.json"] {
        fs::copy(fixtures().join(file), dir.path().join(file)).expect("a copy");
    }
    let policy = fs::read_to_string(fixtures().join("policy.yaml")).expect("a fixture");
    let at = policy.find("classify:").expect("its steps");
    let policy = format!("{}classify: {steps}\n", &policy[..at]);
    fs::write(dir.path().join("policy.yaml"), policy).expect("written");
    dir
}

pub fn local(fields: Value) -> Value {
    let mut local = fields;
    local["model"] = STANDARD.encode(model().to_bytes()).into();
    json!({"local": local})
}

pub fn llm() -> Value {
    json!({"llm": {"cluster": "classifier", "model": "judge", "timeout": "500ms"}})
}

fn explain(dir: &TempDir, args: &[&str]) -> Ran {
    let args = [&["explain", "policy.yaml"], args].concat();
    run_in(dir.path(), &args, b"")
}

/// What a person reads, and whether it went well.
macro_rules! snapshot {
    ($name:literal, $code:literal, $ran:expr) => {
        let ran: Ran = $ran;
        assert_eq!(ran.code, Some($code), "{}", ran.err);
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!($name, ran.out)
        });
    };
}

#[test]
fn what_a_person_reads() {
    let sure = with_steps(json!([local(json!({"min_confidence": 0.6})), llm()]));
    snapshot!("local_decides", 0, explain(&sure, &["chat.json"]));
    let unsure = with_steps(json!([local(json!({"min_confidence": 0.99})), llm()]));
    snapshot!(
        "local_is_not_sure",
        0,
        explain(&unsure, &["chat.json", "--features", "2"])
    );
    let mut shadow = local(json!({"min_confidence": 0.1, "under_routing_cost": 1}));
    shadow["shadow"] = true.into();
    let shadow = with_steps(json!([shadow, llm()]));
    snapshot!("local_in_shadow", 0, explain(&shadow, &["chat.json"]));
    snapshot!(
        "a_pinned_model",
        0,
        run(&["explain", "policy.yaml", "pinned.json", "--caller", "team"])
    );
    snapshot!(
        "a_rule",
        0,
        run(&[
            "explain",
            "policy.yaml",
            "chat.json",
            "-H",
            "X-Team: research"
        ])
    );
    snapshot!(
        "a_rule_is_refused",
        1,
        run(&[
            "explain",
            "policy.yaml",
            "chat.json",
            "-H",
            "x-team:research",
            "-H",
            "x-client-id: batch"
        ])
    );
    snapshot!(
        "a_messages_client",
        0,
        run(&[
            "explain",
            "policy.yaml",
            "messages.json",
            "--path",
            "/v1/messages"
        ])
    );
    snapshot!(
        "tokens_are_counted",
        0,
        run(&[
            "explain",
            "policy.yaml",
            "messages.json",
            "--path",
            "/v1/messages/count_tokens"
        ])
    );
    snapshot!(
        "content_is_refused",
        1,
        run(&["explain", "policy.yaml", "audio.json"])
    );
    snapshot!(
        "no_request",
        1,
        run(&["explain", "policy.yaml", "small.yaml"])
    );
}

/// In which order targets are tried, and why: `words: provider provider …`.
#[test]
fn the_order_of_targets() {
    let dir = with_steps(json!([]));
    let path = dir.path().join("policy.yaml");
    let policy = fs::read_to_string(&path).expect("a policy");
    let weighed = |more: &str| {
        let mut weighed = policy.replace("fast: {", &format!("fast: {{order: weighted, {more}"));
        for (model, weight) in [("small}, {", 50), ("large}, {", 30), ("other}", 20)] {
            let (name, end) = model.split_once('}').expect("an end");
            weighed = weighed.replace(model, &format!("{name}, weight: {weight}}}{end}"));
        }
        weighed.replace("team: {", "team: {order_providers: true, ")
    };
    let team = &["--caller", "team"][..];
    let google = &["--caller", "team", "-H", "X-LLM-Providers: google"];
    let talk = "by weight, the same for all of this conversation";
    for (more, request, args, words, first) in [
        ("", "chat.json", team, talk, ""),
        (
            "sticky: caller, ",
            "chat.json",
            team,
            "by weight, the same for all of this caller's requests",
            "",
        ),
        ("sticky: caller, ", "chat.json", &[], talk, ""),
        (
            "sticky: none, ",
            "chat.json",
            team,
            "by weight, drawn anew for each request: this is one such order",
            "",
        ),
        (
            "",
            "chat.json",
            google,
            "X-LLM-Providers puts google first; else by weight, the same for all of this conversation",
            "google",
        ),
        (
            "",
            "pinned.json",
            google,
            "X-LLM-Providers puts google first",
            "openai",
        ),
        ("", "pinned.json", team, "", "openai"),
    ] {
        fs::write(&path, weighed(more)).expect("written");
        let ran = explain(&dir, &[&[request], args, &["--json"]].concat());
        let told: Value =
            serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.err));
        let case = format!("{more:?} {args:?}: {told:#}");
        assert_eq!(told["order"].as_str().unwrap_or_default(), words, "{case}");
        let found = told["targets"][0]["provider"].as_str().expect("a provider");
        assert!(first.is_empty() || found == first, "{case}");
        let shown = explain(&dir, &[&[request], args].concat());
        assert!(shown.out.contains(words), "{}", shown.out);
    }
    let ran = explain(&dir, &["chat.json", "-H", "x-llm-providers: google"]);
    assert_eq!(ran.code, Some(1));
    let refusal = "refused, 403 provider_order_not_allowed: you may not order providers";
    assert!(ran.err.contains(refusal), "{}", ran.err);
}

/// Whoever decides by the filter's code is the step that is shown to have decided.
#[test]
fn what_a_tool_reads() {
    let sure = local(json!({"min_confidence": 0.6}));
    let unsure = local(json!({"min_confidence": 0.99}));
    let rule = json!({"rules": [{"when": {"header": {"name": "x-team"}}, "tier": "strong"}]});
    let mut shadow = rule.clone();
    shadow["shadow"] = true.into();
    let shadow_of_a_rule = shadow.clone();
    for (steps, args, verdicts, decision) in [
        (
            json!([sure.clone(), llm()]),
            &["chat.json"][..],
            "names=no_match local=decided llm=not_reached",
            "fast by local",
        ),
        (
            json!([unsure.clone(), llm()]),
            &["chat.json"],
            "names=no_match local=unsure llm=would_ask",
            "fast by default, provisional",
        ),
        (
            json!([llm(), sure.clone()]),
            &["chat.json"],
            "names=no_match llm=would_ask local=decided",
            "fast by local, provisional",
        ),
        (
            json!([rule, sure.clone()]),
            &["chat.json", "-H", "x-team: a"],
            "names=no_match rules=decided local=not_reached",
            "strong by rule",
        ),
        (
            json!([shadow, sure.clone()]),
            &["chat.json", "-H", "x-team: a"],
            "names=no_match rules=decided local=decided",
            "fast by local",
        ),
        // A rule in shadow refuses nobody.
        (
            json!([shadow_of_a_rule, sure.clone()]),
            &["chat.json", "-H", "x-team: a", "--caller", "batch"],
            "names=no_match rules=refused local=skipped",
            "fast by default",
        ),
        (
            json!([sure.clone(), llm()]),
            &["chat.json", "-H", "x-llm-policy: strong"],
            "names=decided local=not_reached llm=not_reached",
            "strong by header",
        ),
        (
            json!([sure.clone(), llm()]),
            &["chat.json", "--caller", "batch"],
            "names=no_match local=skipped llm=not_reached",
            "fast by default",
        ),
        (
            json!([unsure, llm()]),
            &["messages.json", "--path", "/v1/messages/count_tokens"],
            "names=no_match local=unsure llm=skipped",
            "fast by default",
        ),
        (
            json!([]),
            &["chat.json"],
            "names=no_match",
            "fast by default",
        ),
    ] {
        let dir = with_steps(steps.clone());
        let ran = explain(&dir, &[args, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{args:?} {}", ran.err);
        let told: Value = serde_json::from_str(&ran.out).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let seen = told["steps"].as_array().expect("steps").iter();
        let seen = seen.map(|step| format!("{}={}", text(&step["step"]), text(&step["verdict"])));
        assert_eq!(seen.collect::<Vec<_>>().join(" "), verdicts, "{args:?}");
        let found = &told["decision"];
        let provisional = match found["provisional"].as_bool() {
            Some(true) => ", provisional",
            _ => "",
        };
        let found = format!(
            "{} by {}{provisional}",
            text(&found["tier"]),
            text(&found["source"])
        );
        assert_eq!(found, decision, "{args:?}");
    }
}

#[test]
fn the_json_of_an_explanation() {
    let dir = with_steps(json!([local(json!({"min_confidence": 0.6})), llm()]));
    let ran = explain(&dir, &["chat.json", "--json", "--features", "100"]);
    let mut told: Value = serde_json::from_str(&ran.out).expect("JSON");
    let local = told["steps"][1]["local"].take();
    let sum = |list: &Value, of: &str| -> f64 {
        let list = list.as_array().expect("a list").iter();
        list.filter_map(|item| item[of].as_f64()).sum()
    };
    let at = |index: usize| {
        local["probabilities"][index]["probability"]
            .as_f64()
            .unwrap()
    };
    assert!((sum(&local["probabilities"], "probability") - 1.0).abs() < 1e-3);
    // All features together are the odds.
    let odds = (at(0) / at(1)).ln();
    let sum = sum(&local["features"], "weight");
    assert!((sum - odds).abs() < 0.05, "{sum} {odds} {local:#}");
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("json", serde_json::to_string_pretty(&told).expect("JSON"));
    });
}

#[test]
fn a_refusal_is_told_in_json_too() {
    let ran = run(&["explain", "policy.yaml", "audio.json", "--json"]);
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(ran.code, Some(1));
    assert_eq!(told["refusal"]["code"], "no_capable_target");
    assert!(
        ran.err
            .starts_with("audio.json: refused, 400 no_capable_target: "),
        "{}",
        ran.err
    );
}

/// A terminal must not obey what a request says.
#[test]
fn control_characters_of_a_request_are_not_printed() {
    let dir = with_steps(json!([local(json!({}))]));
    let ran = explain(&dir, &["chat.json", "--features", "1000"]);
    assert!(ran.out.contains("\" [\""), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}'));
}

#[test]
fn a_request_comes_from_standard_input() {
    let body = fs::read(fixtures().join("pinned.json")).expect("a fixture");
    let piped = run_in(&fixtures(), &["explain", "policy.yaml", "-"], &body);
    assert_eq!(
        piped.out,
        run(&["explain", "policy.yaml", "pinned.json"]).out
    );
    assert_eq!(piped.code, Some(0));
}
