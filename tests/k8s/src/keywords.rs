//! What CRDs say and JSON Schema does not, as keywords of our own.

use jsonschema::paths::Location;
use jsonschema::{Draft, Keyword, ValidationError, Validator};
use regex::Regex;
use serde_json::{Map, Value};

/// The fields that together tell one item of a list from another: no two items have the same.
pub const MAP_KEYS: &str = "x-kubernetes-list-map-keys";

/// As `pattern`, in the syntax of RE2 that Kubernetes' regular expressions have, not in ECMAScript's.
pub const PATTERN: &str = "x-pattern";

type Made<'a> = Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>>;

struct MapKeys(Vec<String>);

struct Pattern(Regex);

/// Ready to check with, from a strict schema.
pub fn validator(strict: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft4)
        .with_keyword(MAP_KEYS, map_keys)
        .with_keyword(PATTERN, pattern)
        .build(strict)
        .map_err(|e| e.to_string())
}

fn map_keys<'a>(_: &'a Map<String, Value>, keys: &'a Value, _: Location) -> Made<'a> {
    let keys = keys.as_array().into_iter().flatten();
    let keys = keys.filter_map(Value::as_str).map(ToOwned::to_owned);
    Ok(Box::new(MapKeys(keys.collect())))
}

fn pattern<'a>(_: &'a Map<String, Value>, pattern: &'a Value, _: Location) -> Made<'a> {
    let regex = Regex::new(pattern.as_str().unwrap_or_default());
    let regex = regex.map_err(|e| ValidationError::custom(format!("{pattern}: {e}")))?;
    Ok(Box::new(Pattern(regex)))
}

// === impl MapKeys ===

impl MapKeys {
    /// The key that a second item has.
    fn twice(&self, list: &Value) -> Option<String> {
        let items = list.as_array()?;
        let key = |item: &Value| -> Vec<Value> {
            self.0
                .iter()
                .map(|name| item[name.as_str()].clone())
                .collect()
        };
        let keys: Vec<Vec<Value>> = items.iter().map(key).collect();
        let at = (1..keys.len()).find(|&at| keys[..at].contains(&keys[at]))?;
        let named = self.0.iter().zip(&keys[at]);
        let named: Vec<String> = named
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        Some(named.join(", "))
    }
}

impl<'i> Keyword<'i> for MapKeys {
    fn validate(&self, list: &'i Value) -> Result<(), ValidationError<'i>> {
        match self.twice(list) {
            Some(key) => Err(ValidationError::custom(format!("two items have {key}"))),
            None => Ok(()),
        }
    }

    fn is_valid(&self, list: &'i Value) -> bool {
        self.twice(list).is_none()
    }
}

// === impl Pattern ===

impl<'i> Keyword<'i> for Pattern {
    fn validate(&self, text: &'i Value) -> Result<(), ValidationError<'i>> {
        match self.is_valid(text) {
            true => Ok(()),
            false => Err(ValidationError::custom(format!(
                "does not match {}",
                self.0
            ))),
        }
    }

    fn is_valid(&self, text: &'i Value) -> bool {
        text.as_str().is_none_or(|text| self.0.is_match(text))
    }
}
