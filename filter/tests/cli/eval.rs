//! `pointsman eval`: what it counts, what it writes, and what it says of data and policies that do not fit.
//!
//! The local model is the hand-made one of `explain`: what it says of these prompts follows from its few weights.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::explain::{llm, local, model, with_steps};
use super::{Ran, run_in};

/// Fast with 0.90, strong with 0.68, and a third, `hi`, where strong costs less by expectation: 0.44.
const DATA: &str = r#"{"prompt": "what is the name of this river", "tier": "fast", "source": "a", "note": 1}
{"prompt": "1 + 1 = 2", "tier": "strong", "also": null, "source": "a"}

{"request": {"messages": [{"role": "user", "content": "hi"}]}, "tier": "fast", "also": "strong", "source": "b"}
"#;

fn with_data(steps: Value, data: &str) -> TempDir {
    let dir = with_steps(steps);
    fs::write(dir.path().join("data.jsonl"), data).expect("written");
    dir
}

fn eval(dir: &TempDir, args: &[&str]) -> Ran {
    let args = [&["eval", "policy.yaml", "data.jsonl"], args].concat();
    run_in(dir.path(), &args, b"")
}

/// The report, and nothing beside it.
fn report(dir: &TempDir, args: &[&str]) -> Value {
    let ran = eval(dir, &[args, &["--json"]].concat());
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{args:?}");
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    serde_json::from_str(&ran.out).expect("JSON")
}

fn keys(value: &Value) -> String {
    let mut keys: Vec<&str> = value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys.join(" ")
}

/// One line of mistakes, and its code.
fn refused(ran: &Ran, code: i32, expected: &str) {
    assert_eq!((ran.code, &*ran.out), (Some(code), ""), "{}", ran.err);
    assert_eq!(ran.err, format!("pointsman: {expected}\n"));
}

#[test]
fn the_report_as_json() {
    let costly = local(json!({"under_routing_cost": 1.5}));
    let dir = with_data(json!([costly, llm()]), DATA);
    let told = report(&dir, &[]);
    assert_eq!(
        keys(&told),
        "accuracy balanced_accuracy by_source by_tier calibration calibration_error confusion curve decided decided_accuracy n over_routed under_routed"
    );
    let part = "accuracy decided decided_accuracy n over_routed under_routed";
    assert_eq!(keys(&told["by_source"]["a"]), part);
    let tier = "accuracy decided decided_accuracy n over_routed recall tier under_routed";
    assert_eq!(keys(&told["by_tier"][0]), tier);
    assert_eq!(
        keys(&told["calibration"][0]),
        "accuracy confidence from n to"
    );
    let point = "decided_accuracy handed_over min_confidence";
    assert_eq!(keys(&told["curve"][0]), point);

    assert_eq!((&told["n"], &told["accuracy"]), (&json!(3), &json!(1.0)));
    assert_eq!(told["decided"], json!(1.0 / 3.0));
    assert_eq!(told["decided_accuracy"], json!(1.0));
    let routed = (&told["under_routed"], &told["over_routed"]);
    assert_eq!(routed, (&json!(0.0), &json!(0.0)));
    assert_eq!(keys(&told["by_source"]), "a b");
    assert_eq!(told["by_source"]["b"]["n"], 1);
    assert_eq!(told["by_source"]["b"]["decided_accuracy"], Value::Null);
    // The model's order, the weakest first: not the policy's, where strong comes first.
    let tiers = (&told["by_tier"][0]["tier"], &told["by_tier"][1]["tier"]);
    assert_eq!(tiers, (&json!("fast"), &json!("strong")));
    assert_eq!(told["confusion"], json!([[1, 1], [0, 1]]));
    assert_eq!(told["curve"].as_array().map(Vec::len), Some(101));
    assert_eq!(told["curve"][0]["handed_over"], 0.0);
}

#[test]
fn the_least_confidence_decides_how_much() {
    let dir = with_data(json!([local(json!({})), llm()]), DATA);
    assert_eq!(report(&dir, &["--min-confidence", "0"])["decided"], 1.0);
    assert_eq!(report(&dir, &["--min-confidence", "1"])["decided"], 0.0);
    for share in ["1.1", "-1", "NaN", "much"] {
        let arg = format!("--min-confidence={share}");
        let expected = format!(
            "invalid value '{share}' for '--min-confidence <SHARE>': must be a number from 0 to 1; see pointsman --help"
        );
        refused(&eval(&dir, &[&arg]), 2, &expected);
    }
}

/// What is in shadow is measured as if it decided; so is a policy from standard input.
#[test]
fn steps_in_shadow_are_measured() {
    let mut shadow = local(json!({}));
    shadow["shadow"] = true.into();
    let dir = with_data(json!([shadow, llm()]), DATA);
    assert_eq!(report(&dir, &[])["decided"], json!(1.0 / 3.0));
    let policy = fs::read(dir.path().join("policy.yaml")).expect("the policy");
    let piped = run_in(dir.path(), &["eval", "-", "data.jsonl", "--json"], &policy);
    assert_eq!(piped.out, eval(&dir, &["--json"]).out);
}

/// Nobody is asked, so `max_in_flight` must not be reached, or the steps after it decided what is beyond.
#[test]
fn a_classifier_before_the_local_model_is_handed_every_line() {
    let mut llm = llm();
    llm["llm"]["max_in_flight"] = 1.into();
    let dir = with_data(json!([llm, local(json!({"min_confidence": 0}))]), DATA);
    assert_eq!(report(&dir, &[])["decided"], 0.0);
}

#[test]
fn other_weights() {
    let dir = with_data(json!([local(json!({})), llm()]), DATA);
    let mut other = model();
    other.bias = vec![20.0, 0.0];
    fs::write(dir.path().join("other"), other.to_bytes()).expect("written");
    let told = report(&dir, &["--model", "other"]);
    assert_eq!(told["decided"], 1.0);
    assert_eq!(told["under_routed"], json!(1.0 / 3.0));

    other.labels[1] = "other".to_owned();
    fs::write(dir.path().join("other"), other.to_bytes()).expect("written");
    refused(
        &eval(&dir, &["--model", "other"]),
        2,
        "the model tells other tiers apart than the policy's; put it into the policy, with its tiers",
    );
    refused(
        &eval(&dir, &["--model", "chat.json"]),
        2,
        "chat.json: is no model: it does not begin with \"PMLM\"",
    );
    refused(
        &eval(&dir, &["--model", "gone"]),
        2,
        "gone: No such file or directory (os error 2)",
    );
}

#[test]
fn a_policy_without_the_local_model() {
    let dir = with_data(json!([llm()]), DATA);
    let told = report(&dir, &[]);
    assert_eq!((&told["n"], &told["decided"]), (&json!(3), &json!(0.0)));
    refused(
        &eval(&dir, &["--min-confidence", "0.5"]),
        2,
        "the policy has no `local` step under classify, so there is nothing to measure by it",
    );
    let rule = json!({"rules": [{"when": {"caller": "anonymous"}, "tier": "fast"}]});
    let told = report(&with_data(json!([rule]), DATA), &[]);
    // The policy's own order: strong, fast.
    assert_eq!(told["by_tier"][0]["tier"], "strong");
    assert_eq!(
        (&told["decided"], &told["accuracy"]),
        (&json!(1.0), &json!(2.0 / 3.0))
    );
}

/// The data may name a policy's tiers or a model's labels, here and in the data of the baselines.
#[test]
fn labels_that_stand_for_other_tiers() {
    let tiers = json!({"easy": "fast", "hard": "strong"});
    let mut renamed = model();
    renamed.labels = vec!["easy".to_owned(), "hard".to_owned()];
    let mut step = local(json!({"tiers": tiers}));
    use base64::Engine as _;
    let encode = |bytes| base64::engine::general_purpose::STANDARD.encode(bytes);
    step["local"]["model"] = encode(renamed.to_bytes()).into();
    let dir = with_data(json!([step, llm()]), DATA);
    let by_tiers = report(&dir, &["--baselines", "data.jsonl"]);
    let labelled = DATA
        .replace("\"fast\"", "\"easy\"")
        .replace("\"strong\"", "\"hard\"");
    fs::write(dir.path().join("data.jsonl"), labelled).expect("written");
    assert_eq!(report(&dir, &["--baselines", "data.jsonl"]), by_tiers);
    assert_eq!(by_tiers["accuracy"], 1.0);
}

#[test]
fn baselines_are_beside() {
    let dir = with_data(json!([local(json!({})), llm()]), DATA);
    let told = report(&dir, &["--baselines", "data.jsonl", "data.jsonl"]);
    let named: Vec<&Value> = told["baselines"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|baseline| &baseline["baseline"])
        .collect();
    assert_eq!(named, ["length", "majority", "keywords"]);
    assert_eq!(told["baselines"][1]["accuracy"], json!(2.0 / 3.0));
    assert_eq!(told["baselines"][1]["decided"], 1.0);
    let table = eval(&dir, &["--baselines", "data.jsonl"]).out;
    assert!(
        table.contains("\nbaselines, which decide everything\nlength "),
        "{table}"
    );
    assert!(!eval(&dir, &[]).out.contains("baselines"));
}

#[test]
fn the_table_says_what_the_json_says() {
    let dir = with_data(json!([local(json!({})), llm()]), DATA);
    let ran = eval(&dir, &[]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    for part in [
        "      n  accuracy   decided     right     under      over\n",
        "all                              3   100.0 %    33.3 %   100.0 %     0.0 %     0.0 %\n",
        "b                                1   100.0 %     0.0 %         –         –         –\n",
        "\nbalanced accuracy 100.0 %, calibration error ",
        "\nleast confidence   handed over   rest right\n             0.0         0.0 %      100.0 %\n",
    ] {
        assert!(ran.out.contains(part), "{part:?} {}", ran.out);
    }
}

/// A terminal must not obey what the data says.
#[test]
fn control_characters_of_a_source_are_not_printed() {
    let data = r#"{"prompt": "hi", "tier": "fast", "source": "a\u001b[2J"}"#;
    let dir = with_data(json!([local(json!({}))]), data);
    let ran = eval(&dir, &[]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("\na [2J ") && !ran.out.contains('\u{1b}'));
}

#[test]
fn a_plot_is_a_picture() {
    let dir = with_data(json!([local(json!({})), llm()]), DATA);
    let ran = eval(&dir, &["--plot", "curve.png"]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert!(ran.out.ends_with("\nwrote curve.png\n"), "{}", ran.out);
    let file = File::open(dir.path().join("curve.png")).expect("a file");
    let mut reader = png::Decoder::new(BufReader::new(file))
        .read_info()
        .expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let frame = reader.next_frame(&mut pixels).expect("whole");
    assert_eq!((frame.width, frame.height), (800, 500));
    // White with a grid, text, and a curve.
    let of = |rgb: [u8; 3]| pixels.chunks_exact(3).filter(|p| **p == rgb).count();
    assert!(of([255; 3]) > 300_000);
    assert!(of([225; 3]) > 1000 && of([40; 3]) > 1000 && of([0, 90, 160]) > 100);
    // Nothing decided is no curve, and no mistake.
    let ran = eval(&dir, &["--min-confidence", "1", "--plot", "curve.png"]);
    assert_eq!(ran.code, Some(0));
}

/// Before anything is measured or printed.
#[test]
fn a_plot_that_cannot_be_written() {
    let dir = with_data(json!([local(json!({})), llm()]), DATA);
    for (path, expected) in [
        (
            "gone/curve.png",
            "gone/curve.png: No such file or directory (os error 2)",
        ),
        (".", ".: is a folder; name a file in it"),
    ] {
        refused(&eval(&dir, &["--plot", path]), 2, expected);
    }
}

#[test]
fn callers() {
    let mut steps = json!([local(json!({"min_confidence": 0})), llm()]);
    let dir = with_data(steps.clone(), DATA);
    assert_eq!(report(&dir, &["--caller", "team"])["decided"], 1.0);
    // One tier only: nothing is classified.
    assert_eq!(report(&dir, &["--caller", "batch"])["decided"], 0.0);
    let rule = json!({"rules": [{"when": {"caller": "batch"}, "tier": "strong"}]});
    steps.as_array_mut().expect("steps").insert(0, rule);
    let ran = eval(&with_data(steps, DATA), &["--caller", "batch"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err
            .starts_with("pointsman: data.jsonl: line 1: the request is refused: "),
        "{}",
        ran.err
    );
}

/// The file and the line, and nothing of what is in it.
#[test]
fn mistakes_in_the_data() {
    let good = r#"{"prompt": "hi", "tier": "fast"}"#;
    let no_object = "is no object with a tier and a prompt or a request";
    for (line, expected) in [
        ("SECRET", format!("{no_object} (column 1)")),
        (
            r#"{"prompt": "SECRET"}"#,
            format!("{no_object} (column 20)"),
        ),
        (
            r#"{"prompt": "SECRET", "tier": 3}"#,
            format!("{no_object} (column 30)"),
        ),
        (r#"["SECRET"]"#, format!("{no_object} (column 10)")),
        (r#"{"prompt": "SECRET"#, format!("{no_object} (column 18)")),
        (
            r#"{"tier": "fast"}"#,
            "must have either a prompt or a request".to_owned(),
        ),
        (
            r#"{"prompt": "SECRET", "request": {}, "tier": "fast"}"#,
            "must have either a prompt or a request".to_owned(),
        ),
        (
            r#"{"request": {"messages": [{"role": "user", "content": {"SECRET": 1}}]}, "tier": "fast"}"#,
            "request: messages[0].content must be a string, null, or an array of parts".to_owned(),
        ),
        (
            r#"{"prompt": "SECRET", "tier": "slow"}"#,
            "has tier \"slow\", which is none of the policy's: fast, strong".to_owned(),
        ),
        (
            r#"{"prompt": "SECRET", "tier": "fast", "also": "slow"}"#,
            "has tier \"slow\", which is none of the policy's: fast, strong".to_owned(),
        ),
    ] {
        let dir = with_data(
            json!([local(json!({}))]),
            &format!("{good}\n\n{line}\n{good}\n"),
        );
        let ran = eval(&dir, &[]);
        let place = "data.jsonl: line 3: ";
        refused(&ran, 2, &format!("{place}{expected}"));
        assert!(!ran.err.contains("SECRET"));
    }
}

#[test]
fn files_without_data() {
    let dir = with_data(json!([local(json!({}))]), "\n\n");
    refused(&eval(&dir, &[]), 2, "no line in any of the files");
    let files = |file: &str| run_in(dir.path(), &["eval", "policy.yaml", file], b"");
    refused(
        &files("gone.jsonl"),
        2,
        "gone.jsonl: No such file or directory (os error 2)",
    );
    fs::write(dir.path().join("bytes.jsonl"), b"\n\xff\xfe\n").expect("written");
    refused(
        &files("bytes.jsonl"),
        2,
        "bytes.jsonl: line 2: is not UTF-8",
    );
    let ran = files(".");
    assert_eq!((ran.code, ran.err.lines().count()), (Some(2), 1));
    // A baseline's mistakes are told like the data's.
    let path: &Path = &dir.path().join("data.jsonl");
    fs::write(path, DATA).expect("written");
    fs::write(
        dir.path().join("b.jsonl"),
        r#"{"prompt": "x", "tier": "y"}"#,
    )
    .expect("written");
    refused(
        &eval(&dir, &["--baselines", "b.jsonl"]),
        2,
        "b.jsonl: line 1: has tier \"y\", which is none of the policy's: fast, strong",
    );
}
