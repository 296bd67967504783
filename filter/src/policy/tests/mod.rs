//! What a policy may say, and what is said to someone whose policy is mistaken.

mod hostile;
mod meaning;

use serde_json::{Value as Json, json};

use super::*;

/// A small policy without mistakes, which the tables edit.
fn base() -> Json {
    serde_json::from_str(include_str!("base.json")).unwrap()
}

/// Every field there is.
fn full() -> Json {
    serde_json::from_str(include_str!("full.json")).unwrap()
}

/// A JSON pointer, and what is put there; nothing: it is removed.
type Edit<'a> = (&'a str, Option<Json>);

fn with(pointer: &str, value: Json) -> Edit<'_> {
    (pointer, Some(value))
}

fn without(pointer: &str) -> Edit<'_> {
    (pointer, None)
}

fn edited(mut document: Json, edits: &[Edit<'_>]) -> Json {
    for (pointer, value) in edits {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match (document.pointer_mut(parent).unwrap(), value) {
            (Json::Object(map), Some(value)) => drop(map.insert(name.to_owned(), value.clone())),
            (Json::Object(map), None) => drop(map.remove(name).unwrap()),
            (Json::Array(list), Some(value)) => {
                list[name.parse::<usize>().unwrap()] = value.clone()
            }
            (other, _) => panic!("{pointer}: {other}"),
        }
    }
    document
}

fn parse(document: &Json) -> Result<Policy, String> {
    Policy::from_bytes(document.to_string().as_bytes()).map_err(|errors| errors.to_string())
}

fn policy(document: &Json) -> Policy {
    parse(document).unwrap()
}

/// A `local:` step with these fields.
pub(crate) fn local(fields: &str) -> LocalClassifier {
    let fields: Json = serde_json::from_str(fields).unwrap();
    let mut document = base();
    let tiers = document["tiers"].as_object_mut().unwrap();
    let any = tiers.values().next().unwrap().clone();
    for name in ["fast", "balanced", "quality", "reasoning"] {
        tiers.entry(name).or_insert(any.clone());
    }
    let policy = policy(&edited(
        document,
        &[with("/classify", json!([{"local": fields}]))],
    ));
    policy.local().unwrap().clone()
}

/// What is said of `base` with `edits`; nothing: the policy is accepted.
fn check(edits: &[Edit<'_>], expected: &str) {
    let said = parse(&edited(base(), edits)).err().unwrap_or_default();
    assert_eq!(said, expected, "{edits:?}");
}

#[test]
fn mistakes() {
    let mut checked = 0;
    let text = include_str!("mistakes.txt");
    for row in text.split("\n\n") {
        let lines = || {
            row.lines()
                .filter(|line| !line.starts_with('#') && !line.is_empty())
        };
        let edits = lines().filter(|line| !line.starts_with(' ')).map(|line| {
            let (pointer, value) = line.split_once(' ').unwrap();
            let value = (value != "-").then(|| serde_json::from_str(value).expect(line));
            (pointer, value)
        });
        let expected: Vec<_> = lines()
            .filter(|line| line.starts_with(' '))
            .map(str::trim)
            .collect();
        check(&edits.collect::<Vec<_>>(), &expected.join("; "));
        checked += 1;
    }
    assert!(checked > 150, "{checked}");
}

/// Names come from outside, and errors go to a log line.
#[test]
fn a_hostile_name_stays_in_its_line() {
    let said = parse(&edited(base(), &[with("/a\nb\u{1b}", json!(1))])).unwrap_err();
    assert!(
        said.starts_with("a?b?: unknown field; known: \"version\", \"default_tier\", "),
        "{said}"
    );
}

#[test]
fn everything_is_bounded() {
    let many = |n: usize, value: &Json| {
        Json::Object(
            (0..n)
                .map(|i| (format!("n{i:05}"), value.clone()))
                .collect(),
        )
    };
    let base = base();
    let tier = &base["tiers"]["fast"];
    check(
        &[with(
            "/tiers/fast/targets",
            json!(vec![json!({"provider": "openai", "model": "m"}); 9]),
        )],
        "tiers.fast.targets: has 9 entries, at most 8 are allowed",
    );
    check(
        &[with("/tiers/fast/description", json!("x".repeat(1001)))],
        "tiers.fast.description: must have at most 1000 characters",
    );
    let degrade = |characters| {
        let answer = json!({"answer": "é".repeat(characters)});
        with("/tiers/fast/degrade", answer)
    };
    check(
        &[degrade(2001)],
        "tiers.fast.degrade.answer: must have at most 2000 characters",
    );
    check(
        &[
            with("/tiers", many(65, tier)),
            with("/default_tier", json!("n00000")),
        ],
        "tiers: has 65 entries, at most 64 are allowed",
    );
    check(
        &[with(
            "/models",
            many(4097, &json!({"targets": [{"provider": "openai"}]})),
        )],
        "models: has 4097 entries, at most 4096 are allowed",
    );
    check(
        &[with("/classify", json!([{"rules": vec![json!({}); 257]}]))],
        "classify[0].rules: has 257 entries, at most 256 are allowed",
    );
    let errors = Policy::from_bytes(many(20_000, &json!(0)).to_string().as_bytes()).unwrap_err();
    assert_eq!(errors.0.len(), MAX_ERRORS);
    assert!(errors.to_string().len() < 50 * 400);
}
