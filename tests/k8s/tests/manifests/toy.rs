//! The machinery, on a CRD of ours: each way to be wrong is refused with its path and its words, and what is right passes.

use std::path::{Path, PathBuf};

use pointsman_k8s::check::Checker;
use pointsman_k8s::crds::{self, Crds};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/crds")
}

fn problems(resource: &str) -> Vec<String> {
    let crds = Crds::read(&fixtures()).expect("the fixtures");
    let resource: Value = serde_norway::from_str(resource).expect("YAML");
    let report = Checker::new(Some(crds), None).check(&[resource]);
    report.problems.iter().map(ToString::to_string).collect()
}

/// A signal with this `spec`.
fn signal(spec: &str) -> Vec<String> {
    problems(&format!(
        "{{apiVersion: toy.example.com/v1, kind: Signal, metadata: {{name: s}}, spec: {spec}}}"
    ))
}

#[test]
fn what_is_right_passes() {
    for spec in [
        "{color: Red}",
        "{color: Green, arms: 2}",
        "{color: Red, arms: 9, port: 80}",
        "{color: Red, port: http}",
        "{color: Red, note: null}",
        "{color: Red, free: {any: [1, {thing: true}]}}",
        "{color: Red, halfFree: {any: thing, strict: {a: b}}}",
        "{color: Red, labels: {any.name/x: abc}}",
        "{color: Red, tags: [a, b]}",
        "{color: Red, tracks: [{name: a, gauge: 1}, {name: b, gauge: 1}]}",
        "{color: Red, when: {always: true}}",
        "{color: Red, speed: {max: 20}}",
        "{color: Red, namespace: north}",
    ] {
        assert_eq!(signal(spec), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_path() {
    for (spec, expected) in [
        ("{}", "spec: \"color\" is a required property"),
        (
            "{colour: Red, color: Red}",
            "spec: unknown field \"colour\"; did you mean \"color\"?",
        ),
        (
            "{color: Red, when: {always: true, sundays: 1}}",
            "spec.when: unknown field \"sundays\"; known: always, hours",
        ),
        (
            "{color: Red, halfFree: {strict: {b: c}}}",
            "spec.halfFree.strict: unknown field \"b\"; did you mean \"a\"?",
        ),
        (
            "{color: Red, tracks: [{name: a}, {name: b, guage: 1}]}",
            "spec.tracks[1]: unknown field \"guage\"; did you mean \"gauge\"?",
        ),
        (
            "{color: Gren}",
            "spec.color: \"Gren\" is none of its values; did you mean \"Green\"?",
        ),
        (
            "{color: Blue}",
            "spec.color: \"Blue\" is none of its values; known: Red, Yellow, Green",
        ),
        (
            "{color: Red, arms: two}",
            "spec.arms: \"two\" is not of type \"integer\"",
        ),
        (
            "{color: Red, arms: 0}",
            "spec.arms: it is less than the minimum of 1",
        ),
        (
            "{color: Red, arms: 3000000000}",
            "spec.arms: it is greater than the maximum of 2147483647",
        ),
        (
            "{color: Red, port: 1.5}",
            "spec.port: 1.5 is not of types \"integer\", \"string\"",
        ),
        (
            "{color: null}",
            "spec.color: null is not of type \"string\"",
        ),
        (
            "{color: Red, labels: {a.b/c: long}}",
            "spec.labels[\"a.b/c\"]: it is longer than 3 characters",
        ),
        (
            "{color: Red, tags: [a, a]}",
            "spec.tags: it has non-unique elements",
        ),
        (
            "{color: Red, tracks: [{name: a}, {name: a}]}",
            "spec.tracks: two items have name \"a\"",
        ),
        (
            "{color: Red, tracks: [{name: A}]}",
            "spec.tracks[0].name: does not match ^[a-z]+$",
        ),
        (
            "{color: Red, when: {}}",
            "spec.when: none of the alternatives holds: \"always\" is a required property; \"hours\" is a required property",
        ),
        (
            "{color: Red, when: {always: true, hours: x}}",
            "spec.when: more than one of the alternatives holds; only one may",
        ),
        // CEL: over defaults, also of an object that is there by default; with the message, the message's expression, or neither.
        (
            "{color: Red, speed: {min: 90}}",
            "spec.speed: min is above max",
        ),
        ("{color: Green, arms: 3}", "spec: green has two arms, not 3"),
        (
            "{color: Red, namespace: south}",
            "spec: failed rule: !has(self.__namespace__) || self.__namespace__.startsWith('n')",
        ),
    ] {
        assert!(
            signal(spec).contains(&format!("Signal/s: {expected}")),
            "{spec}: {:?}",
            signal(spec)
        );
    }
}

#[test]
fn what_every_resource_has_is_checked() {
    for (resource, expected) in [
        (
            "{apiVersion: toy.example.com/v1, kind: Signal, metadata: {name: s, lables: {a: b}}, spec: {color: Red}}",
            "Signal/s: metadata: unknown field \"lables\"; did you mean \"labels\"?",
        ),
        (
            "{apiVersion: toy.example.com/v1, kind: Signal, metadata: {name: s, annotations: {a: 1}}, spec: {color: Red}}",
            "Signal/s: metadata.annotations.a: 1 is not of type \"string\"",
        ),
        (
            "{apiVersion: toy.example.com/v1, kind: Signal, metadata: {name: a-name-that-is-too-long}, spec: {color: Red}}",
            "Signal/a-name-that-is-too-long: metadata.name: it is longer than 20 characters",
        ),
        (
            "{apiVersion: toy.example.com/v1, kind: Signal, metadata: {labels: {}}, spec: {color: Red}}",
            "Signal/?: metadata: none of the alternatives holds: \"name\" is a required property; \"generateName\" is a required property",
        ),
        (
            "{apiVersion: toy.example.com/v1, kind: Signal, metadata: {name: s}, spec: {color: Red}, sepc: {}}",
            "Signal/s: unknown field \"sepc\"; did you mean \"spec\"?",
        ),
        (
            "{apiVersion: toy.example.com/v1, kind: Signal, metadata: {name: My_Signal}, spec: {color: Red}}",
            "Signal/My_Signal: metadata.name: does not match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        ),
        (
            "{apiVersion: toy.example.com/v1, kind: Signal, metadata: {name: s, labels: {a: 'b c'}}, spec: {color: Red}}",
            "Signal/s: metadata.labels.a: does not match ^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        ),
        ("{kind: Signal}", "Signal/?: has no apiVersion or no kind"),
    ] {
        assert_eq!(problems(resource), [expected], "{resource}");
    }
}

/// Not skipped: no CRD, a version that is not served, a rule that is no CEL, one of Kubernetes' own kinds without its tool.
#[test]
fn what_cannot_be_checked_is_refused() {
    let folder = fixtures().display().to_string();
    for (resource, expected) in [
        (
            "{apiVersion: other.example.com/v1, kind: Lamp, metadata: {name: l}}",
            format!("Lamp/l: {folder} has no CRD that serves other.example.com/v1 Lamp: not checked"),
        ),
        (
            "{apiVersion: toy.example.com/v0, kind: Signal, metadata: {name: s}}",
            format!("Signal/s: {folder} has no CRD that serves toy.example.com/v0 Signal: not checked"),
        ),
        (
            "{apiVersion: toy.example.com/v1, kind: Broken, metadata: {name: b}, spec: {}}",
            "Broken/b: spec: failed to compile rule \"self.a >=\": ".to_owned(),
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}",
            "ConfigMap/c: not checked: kubernetes-validate is missing, `make k8s-check` installs it".to_owned(),
        ),
    ] {
        let problems = problems(resource);
        let [problem] = problems.as_slice() else {
            panic!("{resource}: {problems:?}");
        };
        assert!(problem.starts_with(&expected), "{problem}");
    }
}

#[test]
fn without_crds_their_kinds_are_counted_as_not_checked() {
    let signal = "{apiVersion: toy.example.com/v1, kind: Signal, metadata: {name: s}}";
    let signal: Value = serde_norway::from_str(signal).expect("YAML");
    let report = Checker::new(None, None).check(&[signal.clone(), signal]);
    assert_eq!(report.problems, []);
    assert_eq!(report.checked.len(), 0);
    let unchecked: Vec<(String, usize)> = report
        .unchecked
        .iter()
        .map(|(gvk, count)| (gvk.to_string(), *count))
        .collect();
    assert_eq!(unchecked, [("toy.example.com/v1 Signal".to_owned(), 2)]);
}

#[test]
fn a_folder_without_crds_is_refused() {
    let empty = tempfile::tempdir().expect("a folder");
    let error = Crds::read(empty.path()).expect_err("it is empty");
    assert!(error.ends_with(": holds no CRD"), "{error}");
    let none = empty.path().join("none");
    let error = crds::folder(Some(none.clone())).expect_err("it is not there");
    assert_eq!(error, format!("CRDs: {} is no folder", none.display()));
}
