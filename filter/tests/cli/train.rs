//! `pointsman train`: weights that are the same again, a report before them, and the way back into a policy.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pointsman::classify::local::model::Model;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::explain::{llm, with_steps};
use super::{Ran, run_in};

const EASY: [&str; 6] = ["hello", "thanks", "hi there", "good morning", "hey", "bye"];
const HARD: [&str; 6] = [
    "Prove that 2 + 2 = 4 and x = y.",
    "Prove that the sum 1 + 3 = 4 holds.",
    "Solve x + 1 = 7 for x, step by step.",
    "Prove a + b = b + a by induction.",
    "Solve 3 + x = 9 and prove it is unique.",
    "Prove that 5 + 5 = 10 in this ring.",
];

/// Lines of three sources, of the two tiers of the fixture's policy.
fn data() -> String {
    let of = |prompts: [&str; 6], tier: &str| -> Vec<String> {
        let prompts = prompts.iter().enumerate();
        let line = |(at, prompt)| {
            let source = ["a", "b", "c"][at % 3];
            json!({"prompt": prompt, "tier": tier, "source": source}).to_string()
        };
        prompts.map(line).collect()
    };
    [of(EASY, "fast"), of(HARD, "strong")].concat().join("\n")
}

fn folder(data: &str) -> TempDir {
    let dir = with_steps(json!([]));
    fs::write(dir.path().join("data.jsonl"), data).expect("written");
    dir
}

/// Quick, and with the tiers of the policy.
fn train(dir: &TempDir, args: &[&str]) -> Ran {
    let quick = ["train", "data.jsonl", "--bits", "8", "--epochs", "4"];
    run_in(dir.path(), &[&quick, args].concat(), b"")
}

fn model(dir: &TempDir, args: &[&str]) -> Vec<u8> {
    let tiers = ["--tiers", "fast,strong", "-o", "model"];
    let ran = train(dir, &[&tiers, args].concat());
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{args:?}");
    fs::read(dir.path().join("model")).expect("a model")
}

/// One line, its code, and no file.
fn refused(dir: &TempDir, args: &[&str], expected: &str) {
    let ran = train(dir, &[&["-o", "refused"], args].concat());
    assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{args:?} {}", ran.err);
    assert_eq!(ran.err, format!("pointsman: {expected}\n"), "{args:?}");
    assert!(!dir.path().join("refused").exists());
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let dir = folder(&data());
    let first = model(&dir, &[]);
    assert_eq!(model(&dir, &[]), first);
    assert_eq!(model(&dir, &["--seed", "1"]), first);
    assert_ne!(model(&dir, &["--seed", "2"]), first);
    let read = Model::from_bytes(&first).expect("a model");
    assert_eq!(
        (read.labels, read.bits),
        (vec!["fast".to_owned(), "strong".to_owned()], 8)
    );
}

/// Train, Base64, policy: it is measured and explained as what decides.
#[test]
fn the_way_into_a_policy() {
    let dir = folder(&data());
    let bytes = model(&dir, &[]);
    let local = json!({"local": {"model": STANDARD.encode(bytes), "min_confidence": 0.5}});
    let with = with_steps(json!([local, llm()]));
    fs::copy(
        dir.path().join("data.jsonl"),
        with.path().join("data.jsonl"),
    )
    .expect("a copy");
    let ran = |args: &[&str]| {
        let ran = run_in(with.path(), args, b"");
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{args:?}");
        ran.out
    };
    ran(&["check", "policy.yaml"]);
    let told = ran(&["eval", "policy.yaml", "data.jsonl", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["n"], &told["accuracy"]), (&json!(12), &json!(1.0)));
    let request = json!({"model": "auto", "messages": [{"role": "user", "content": HARD[0]}]});
    fs::write(with.path().join("hard.json"), request.to_string()).expect("written");
    let told = ran(&["explain", "policy.yaml", "hard.json", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let decision = (&told["decision"]["tier"], &told["decision"]["source"]);
    assert_eq!(decision, (&json!("strong"), &json!("local")));
}

#[test]
fn the_report_comes_first() {
    let dir = folder(&data());
    let tiers = ["--tiers", "fast,strong", "-o", "model"];
    let ran = train(&dir, &tiers);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert!(
        ran.out.starts_with(
            "Held out by source: each line is judged by weights that saw no line of its source.\n\n"
        ),
        "{}",
        ran.out
    );
    let wrote = ran.out.find("\nwrote model: ").expect("the last lines");
    assert!(ran.out[wrote..].contains(" KiB, from 12 lines of 3 sources, temperature "));
    for args in [
        &["--json"][..],
        &["--json", "--leave-one-source-out"],
        &["--json", "--folds", "2"],
    ] {
        let ran = train(&dir, &[&tiers, args].concat());
        let told: Value = serde_json::from_str(&ran.out).expect("only JSON");
        assert_eq!(told["n"], 12, "{args:?}");
        let sources = told["by_source"].as_object().expect("sources");
        assert!(sources.values().all(|part| part["n"] == 4), "{args:?}");
    }
    // Every source by itself: three folds, as ten are no more than the sources.
    let all = train(&dir, &[&tiers[..], &["--json"]].concat());
    let each = train(
        &dir,
        &[&tiers[..], &["--json", "--leave-one-source-out"]].concat(),
    );
    assert_eq!(all.out, each.out);
}

#[test]
fn data_that_nothing_can_be_learned_of() {
    let dir = folder(&data());
    refused(
        &dir,
        &[],
        "the data has tiers of its own; say their order, the weakest first: --tiers fast,strong",
    );
    refused(
        &dir,
        &["--tiers", "fast"],
        "2 to 8 tiers can be told apart, not 1",
    );
    refused(
        &dir,
        &["--tiers", "fast,other"],
        "data.jsonl: line 7: has tier \"strong\", which --tiers does not name",
    );
    refused(
        &dir,
        &["--tiers", "fast,strong,other"],
        "no line has tier \"other\": nothing can be learned about it",
    );
    let one = data().replace("\"b\"", "\"a\"").replace("\"c\"", "\"a\"");
    refused(
        &folder(&one),
        &["--tiers", "fast,strong"],
        "all lines are of one source: name at least two in their field \"source\", or nothing can be held out",
    );
    refused(
        &folder("{\"prompt\": \"SECRET\"}\n"),
        &[],
        "data.jsonl: line 1: is no object with a tier and a prompt or a request (column 20)",
    );
    let standard = data().replace("\"strong\"", "\"quality\"");
    refused(
        &folder(&standard),
        &[],
        "no line has tier \"balanced\": nothing can be learned about it",
    );
}

/// A file was written that no filter loads.
#[test]
fn tiers_that_make_no_model() {
    let dir = folder(&data());
    refused(
        &dir,
        &["--tiers", "fast,strong,fast"],
        "--tiers names \"fast\" twice",
    );
    refused(
        &dir,
        &["--tiers", "fast,,strong"],
        "tier \"\" must have 1 to 64 bytes",
    );
    let long = "x".repeat(65);
    refused(
        &dir,
        &["--tiers", &format!("fast,strong,{long}")],
        &format!("tier \"{long}\" must have 1 to 64 bytes"),
    );
}

/// A cap of nothing made weights that are no numbers.
#[test]
fn numbers_that_make_no_model() {
    let dir = folder(&data());
    for (name, value, must) in [
        ("--cap <CAP>", "0", "must be a number from 1 to 1000000"),
        ("--cap <CAP>", "NaN", "must be a number from 1 to 1000000"),
        (
            "--min-confidence <SHARE>",
            "2",
            "must be a number from 0 to 1",
        ),
        ("--bits <BITS>", "19", "19 is not in 8..=18"),
        ("--folds <FOLDS>", "1", "1 is not in 2..=1000"),
        ("--epochs <EPOCHS>", "0", "0 is not in 1..=1000"),
    ] {
        let flag = name.split(' ').next().expect("a flag");
        let args = ["train", "data.jsonl", "-o", "refused", flag, value];
        let ran = run_in(dir.path(), &args, b"");
        let expected =
            format!("invalid value '{value}' for '{name}': {must}; see pointsman --help");
        assert_eq!(ran.err, format!("pointsman: {expected}\n"));
        assert_eq!(ran.code, Some(2));
    }
}

/// Before the work, not after minutes of it: no report is printed.
#[test]
fn an_output_that_cannot_be_written() {
    let dir = folder(&data());
    for (path, expected) in [
        (
            "gone/model",
            "gone/model: No such file or directory (os error 2)",
        ),
        (".", ".: is a folder; name a file in it"),
    ] {
        let ran = train(&dir, &["--tiers", "fast,strong", "-o", path]);
        assert_eq!((ran.code, &*ran.out), (Some(2), ""));
        assert_eq!(ran.err, format!("pointsman: {expected}\n"));
    }
}

/// A longer file that is overwritten leaves nothing behind.
#[test]
fn a_model_replaces_what_was_there() {
    let dir = folder(&data());
    let first = model(&dir, &[]);
    fs::write(dir.path().join("model"), vec![b'x'; 1 << 20]).expect("written");
    assert_eq!(model(&dir, &[]), first);
}
