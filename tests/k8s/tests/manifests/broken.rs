//! Right manifests, and copies of them that are broken in one place.

use std::fs;
use std::path::Path;

use pointsman_k8s::check::Checker;
use pointsman_k8s::resource;
use serde::Deserialize;
use serde_json::Value;

/// What to break, by its JSON pointer: as which name, and its value; `null` takes it away.
pub type Break<'a> = (&'a str, &'a str, &'a str);

/// The documents of `fixtures/manifests/`.
pub fn manifests(file: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/manifests");
    let text = fs::read_to_string(folder.join(file)).expect("a fixture");
    let documents = serde_norway::Deserializer::from_str(&text);
    documents
        .map(|document| Value::deserialize(document).expect("YAML"))
        .collect()
}

/// The one of this name (`EnvoyFilter/filter`), broken.
pub fn broken(all: &[Value], name: &str, (parent, key, value): Break<'_>) -> Value {
    let named = all.iter().find(|it| resource::name(it) == name);
    let mut broken = named.expect(name).clone();
    let value: Value = serde_norway::from_str(value).expect("YAML");
    match broken.pointer_mut(parent).expect(parent) {
        Value::Object(fields) if value.is_null() => {
            fields.remove(key).expect(key);
        }
        Value::Object(fields) => {
            fields.insert(key.to_owned(), value);
        }
        _ => panic!("{parent} is no object"),
    }
    broken
}

/// Every object in a document, by its JSON pointer.
fn objects(at: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                objects(&format!("{at}/{name}"), value, found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                objects(&format!("{at}/{index}"), value, found);
            }
        }
        _ => {}
    }
}

/// Envoy's and the filter's own configuration, at these places, is free; everything else is closed.
pub fn is_closed_but_for(checker: &mut Checker, all: &[Value], places: [&str; 2]) {
    let free = free(checker, all);
    let is_one = |at: &String| places.iter().any(|place| at.starts_with(place));
    assert!(free.iter().all(is_one), "{free:#?}");
    assert!(free.len() > 2, "{free:#?}");
}

/// The objects that take a field that nobody knows.
fn free(checker: &mut Checker, all: &[Value]) -> Vec<String> {
    let mut free = Vec::new();
    for resource in all {
        let name = resource::name(resource);
        let mut found = Vec::new();
        objects("", resource, &mut found);
        for at in found {
            let broken = broken(all, &name, (&at, "unheard-of", "[1]"));
            if checker.check(&[broken]).problems.is_empty() {
                free.push(format!("{name} {at}"));
            }
        }
    }
    free
}

/// The right ones pass, and each broken one is refused in the expected words.
pub fn check(checker: &mut Checker, all: &[Value], breaks: &[(&str, Break<'_>, &str)]) {
    let report = checker.check(all);
    assert_eq!(report.problems, [], "right ones are refused");
    assert_eq!(report.checked.values().sum::<usize>(), all.len());
    let mut others = Vec::new();
    for (name, at, expected) in breaks {
        let problems = checker.check(&[broken(all, name, *at)]).problems;
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        if !problems.contains(&format!("{name}: {expected}")) {
            others.push((at, problems));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}
