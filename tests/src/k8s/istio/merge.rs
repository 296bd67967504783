//! How istiod merges a patch into what it generated: pkg/proto/merge.
//!
//! Pure. What would be lost in a merge is an error here.

use serde_norway::{Mapping, Value};

/// Fields of type `map` in what we patch: an entry is replaced as a whole.
const MAPS: [&str; 4] = [
    "typed_extension_protocol_options",
    "typed_per_filter_config",
    "filter_metadata",
    "typed_filter_metadata",
];

/// istiod's merge: messages field by field, lists appended, entries of maps and packed messages (`Any`) replaced.
pub fn merge(to: &mut Value, from: &Value) -> Result<(), String> {
    let (Some(to), Some(from)) = (to.as_mapping_mut(), from.as_mapping()) else {
        return Err("a message is merged with something else".into());
    };
    for (key, value) in from {
        if is_unset(value) {
            return Err(format!(
                "{key:?}: a merge cannot set a field to its default"
            ));
        }
        let is_map = key.as_str().is_some_and(|key| MAPS.contains(&key));
        match (to.get_mut(key), value) {
            (Some(Value::Sequence(there)), Value::Sequence(more)) => there.extend(more.clone()),
            (Some(Value::Mapping(there)), Value::Mapping(more)) if is_map => {
                there.extend(more.clone());
            }
            (Some(there @ Value::Mapping(_)), Value::Mapping(more)) if !is_packed(more) => {
                merge(there, value)?;
            }
            _ => {
                to.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(())
}

fn is_packed(message: &Mapping) -> bool {
    message.contains_key("@type")
}

/// Plain fields at their default are not in a message, and so not in a merge. (Wrapped ones are; none of ours is at its default.)
fn is_unset(value: &Value) -> bool {
    matches!(value, Value::Bool(false) | Value::Null) || value.as_u64() == Some(0) || *value == ""
}

/// A transport socket is merged alone, and with it the rest of the patch is lost.
pub fn merge_cluster(to: &mut Value, from: &Value) -> Result<(), String> {
    if from.get("transport_socket").is_some() {
        return Err("a patch with a transport_socket loses everything else".into());
    }
    merge(to, from)
}

/// Network and HTTP filters are the two whose packed configuration is merged field by field.
pub fn merge_filter(to: &mut Value, from: &Value) -> Result<(), String> {
    let (mut packed, mut more) = (to["typed_config"].clone(), from["typed_config"].clone());
    let (there, here) = (packed.as_mapping_mut(), more.as_mapping_mut());
    let (Some(there), Some(here)) = (there, here) else {
        return Err("no typed_config".into());
    };
    if there.get("@type") != here.get("@type") {
        return Err("of another type".into());
    }
    if here.contains_key("http_filters") {
        return Err("HTTP filters would come after the router".into());
    }
    here.remove("@type");
    merge(&mut packed, &more)?;
    to["typed_config"] = packed;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Value {
        serde_norway::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn a_merge_is_istios() {
        let check = |to: &str, from: &str, expected: Result<&str, &str>| {
            let mut merged = yaml(to);
            let outcome = merge(&mut merged, &yaml(from)).map(|()| merged);
            match (outcome, expected) {
                (Ok(merged), Ok(expected)) => assert_eq!(merged, yaml(expected), "{to} + {from}"),
                (Err(error), Err(expected)) => {
                    assert!(error.contains(expected), "{to} + {from}: {error}");
                }
                (outcome, _) => panic!("{to} + {from}: {outcome:?}"),
            }
        };
        check("{a: 1}", "{a: 2, b: 3}", Ok("{a: 2, b: 3}"));
        check("{a: {b: 1}}", "{a: {c: 2}}", Ok("{a: {b: 1, c: 2}}"));
        check("{a: [1]}", "{a: [2]}", Ok("{a: [1, 2]}"));
        let (there, more) = (r#"{a: {"@type": x, b: 1}}"#, r#"{a: {"@type": x, c: 2}}"#);
        check(there, more, Ok(more));
        let options = |inner: &str| format!("{{typed_extension_protocol_options: {{p: {inner}}}}}");
        let (there, more) = (options("{a: 1}"), options("{b: 2}"));
        check(&there, &more, Ok(&more));
        check("{a: 1}", "{a: 0}", Err("default"));
        check("{a: 1}", "[1]", Err("something else"));
    }
}
