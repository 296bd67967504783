//! JSON patches as Envoy Gateway applies them, those of an EnvoyPatchPolicy and those of an EnvoyProxy's bootstrap.
//!
//! Pure. Each operation is applied alone, by a JSON patch library, to a resource in JSON with Envoy's own field names; `add` makes the
//! parents that are missing, and a `jsonPath` with a `path` behind it stands for every place that it finds. What Envoy Gateway would
//! leave out and report in the policy's status is an error here. (envoyproxy/gateway: internal/utils/jsonpatch. Its own library for
//! paths knows more than RFC 9535, which is held to here: what is found by both is safe to write.)

use serde_json::{Value, json};
use serde_json_path::JsonPath;

/// Applies one operation to one resource.
pub fn apply(resource: &mut Value, operation: &Value) -> Result<(), String> {
    let path = operation["path"].as_str().unwrap_or_default();
    let Some(query) = operation["jsonPath"].as_str() else {
        return at(resource, operation, path);
    };
    let parsed = JsonPath::parse(query).map_err(|e| format!("{query}: {e}"))?;
    let found = parsed.query_located(resource);
    let places: Vec<String> = found.locations().map(|l| l.to_json_pointer()).collect();
    if places.is_empty() {
        return Err(format!("{query} finds nothing"));
    }
    for place in places {
        at(resource, operation, &format!("{place}{path}"))?;
    }
    Ok(())
}

fn at(resource: &mut Value, operation: &Value, pointer: &str) -> Result<(), String> {
    if operation["op"] == "add" {
        make_parents(resource, pointer)?;
    }
    let mut one = json!({"op": operation["op"], "path": pointer});
    for field in ["from", "value"] {
        if let Some(value) = operation.get(field) {
            one[field] = value.clone();
        }
    }
    let patch: json_patch::Patch =
        serde_json::from_value(json!([one])).map_err(|e| format!("{pointer}: {e}"))?;
    json_patch::patch(resource, &patch).map_err(|e| e.to_string())
}

/// Objects only: no list is made.
fn make_parents(resource: &mut Value, pointer: &str) -> Result<(), String> {
    let Some((parents, _)) = pointer.rsplit_once('/') else {
        return Ok(());
    };
    let mut here = resource;
    for step in parents.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        here = match here {
            Value::Object(map) => map.entry(step).or_insert_with(|| json!({})),
            Value::Array(list) => {
                let index = step.parse::<usize>().ok();
                let item = index.and_then(|index| list.get_mut(index));
                item.ok_or_else(|| format!("{pointer}: no item {step}"))?
            }
            _ => return Err(format!("{pointer}: {step} is in neither object nor list")),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations() {
        let check = |operation: Value, expected: Result<Value, &str>| {
            let mut resource = json!({"a": [{"name": "x/y", "b": {"c": 1}}, {"name": "z"}]});
            match (apply(&mut resource, &operation), expected) {
                (Ok(()), Ok(expected)) => assert_eq!(resource, expected, "{operation}"),
                (Err(why), Err(words)) => assert!(why.contains(words), "{operation}: {why}"),
                (got, _) => panic!("{operation}: {got:?}, {resource}"),
            }
        };
        let find = "$..a[?(@.name=='x/y')]";
        check(
            json!({"op": "replace", "jsonPath": find, "path": "/b", "value": {"d": 2}}),
            Ok(json!({"a": [{"name": "x/y", "b": {"d": 2}}, {"name": "z"}]})),
        );
        check(
            json!({"op": "add", "jsonPath": "$.a[*]", "path": "/e/f~1g", "value": true}),
            Ok(json!({"a": [
                {"name": "x/y", "b": {"c": 1}, "e": {"f/g": true}}, {"name": "z", "e": {"f/g": true}}
            ]})),
        );
        check(
            json!({"op": "add", "path": "/a/-", "value": 3}),
            Ok(json!({"a": [{"name": "x/y", "b": {"c": 1}}, {"name": "z"}, 3]})),
        );
        check(
            json!({"op": "remove", "path": "/a/1"}),
            Ok(json!({"a": [{"name": "x/y", "b": {"c": 1}}]})),
        );
        check(
            json!({"op": "replace", "jsonPath": "$..a[?(@.name=='y')]", "path": "/b", "value": 1}),
            Err("finds nothing"),
        );
        check(
            json!({"op": "replace", "path": "/a/0/missing", "value": 1}),
            Err("path is invalid"),
        );
        check(
            json!({"op": "add", "path": "/a/7/b", "value": 1}),
            Err("no item 7"),
        );
    }
}
