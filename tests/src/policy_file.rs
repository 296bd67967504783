//! The policy file, from the YAML that an operator writes to the JSON text that Envoy hands to the filter.
//!
//! Pure: text and endpoints in, text and notes out. What the environment says wins over the file in two things only: where a
//! provider is (host and path), and that a provider nobody configured is left out.

use std::collections::BTreeSet;

use pointsman::policy::Policy;
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
    Policy::from_bytes(json.as_bytes()).map_err(|e| e.to_string())?;
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
                let api = provider.get("api").and_then(Value::as_str);
                let path = place.path(api.unwrap_or("openai"));
                provider.insert("host".into(), place.authority.clone().into());
                provider.insert("path".into(), path.into());
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
            llm.insert("path".into(), place.path("openai").into());
        }
        true
    });
}

fn mapping<'d>(document: &'d mut Mapping, key: &str) -> Option<&'d mut Mapping> {
    document.get_mut(key).and_then(Value::as_mapping_mut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{ENDPOINTS, Endpoint};

    const SHIPPED: &str = include_str!("../../envoy/policy.yaml");

    /// The base URLs that are set, by cluster.
    fn endpoints(urls: &[(&str, &str)]) -> Endpoints {
        let endpoint = |(cluster, role): (&str, Role)| {
            let url = urls.iter().find(|(of, _)| *of == cluster);
            let endpoint = Endpoint::new(role, url.map(|(_, url)| *url), None);
            (cluster.to_owned(), endpoint.unwrap())
        };
        ENDPOINTS.into_iter().map(endpoint).collect()
    }

    fn shipped(endpoints: &Endpoints) -> (Policy, Vec<String>) {
        let file = prepare(SHIPPED, endpoints).unwrap();
        (
            Policy::from_bytes(file.json.as_bytes()).unwrap(),
            file.notes,
        )
    }

    #[test]
    fn the_shipped_policy_is_valid_as_it_stands() {
        let (policy, notes) = shipped(&Endpoints::new());
        let tiers: Vec<&str> = policy.tiers.iter().map(|t| &*t.name.0).collect();
        assert_eq!(tiers, ["fast", "balanced", "quality", "reasoning"]);
        for tier in &policy.tiers {
            let mut providers: Vec<&str> = tier.targets.iter().map(|t| &*t.provider.name).collect();
            providers.sort_unstable();
            let all = ["anthropic", "gemini", "openai"];
            assert_eq!(providers, all, "tier {}", tier.name);
        }
        assert!(notes.is_empty());
    }

    #[test]
    fn base_urls_become_host_and_path() {
        let all = endpoints(&[
            ("openai", "http://127.0.0.1:8080/v1"),
            ("anthropic", "https://proxy.example/claude/"),
            ("gemini", "http://localhost:1/google"),
            ("classifier", "http://[::1]/x/v1"),
        ]);
        let (policy, notes) = shipped(&all);
        let place = |name: &str| {
            (
                policy.providers[name].host.clone(),
                policy.providers[name].path.clone(),
            )
        };
        assert_eq!(
            place("openai"),
            ("127.0.0.1:8080".into(), "/v1/chat/completions".into())
        );
        assert_eq!(
            place("anthropic"),
            ("proxy.example".into(), "/claude/v1/messages".into())
        );
        assert_eq!(
            place("gemini"),
            ("localhost:1".into(), "/google/v1beta/models/{model}".into())
        );
        // At the endpoint that is compatible with OpenAI's.
        let compatible = SHIPPED.replace("api: anthropic", "api: openai");
        let compatible = prepare(&compatible, &all).unwrap();
        assert!(compatible.json.contains("\"/claude/v1/chat/completions\""));
        let llm = policy.llm().unwrap();
        assert_eq!(
            (llm.host.as_str(), llm.path.as_str()),
            ("[::1]", "/x/v1/chat/completions")
        );
        assert!(notes.is_empty());
    }

    #[test]
    fn what_nobody_configured_is_left_out() {
        let (policy, notes) = shipped(&endpoints(&[("openai", "http://localhost:1/v1")]));
        assert!(policy.tiers.iter().all(|t| t.targets.len() == 1));
        assert!(!policy.providers.contains_key("anthropic"));
        assert!(!policy.models.contains_key("claude-opus-4-5"));
        assert!(policy.llm().is_none());
        let expected = [
            "provider anthropic is left out: neither ANTHROPIC_API_KEY nor ANTHROPIC_BASE_URL is set",
            "provider gemini is left out: neither GEMINI_API_KEY nor GEMINI_BASE_URL is set",
            "models without a provider, left out: claude-haiku-4-5, claude-opus-4-5, claude-sonnet-4-5, \
             gemini-2.5-flash, gemini-2.5-flash-lite, gemini-2.5-pro",
            "the LLM classifier is left out: neither CLASSIFIER_API_KEY nor CLASSIFIER_BASE_URL is set; what no rule decides goes to the default tier, fast",
        ];
        assert_eq!(notes, expected);
    }

    #[test]
    fn errors_are_one_line_that_names_the_repair() {
        let check = |yaml: &str, endpoints: &Endpoints, expected: &str| {
            assert_eq!(prepare(yaml, endpoints).unwrap_err(), expected);
        };
        let none = Endpoints::new();
        check(
            &SHIPPED.replace(
                "{provider: anthropic, model: claude-opus-4-5}",
                "{provider: antropic, model: claude-opus-4-5}",
            ),
            &none,
            "tiers.reasoning.targets[1].provider: no provider \"antropic\"; did you mean \"anthropic\"?",
        );
        check(
            SHIPPED,
            &endpoints(&[("classifier", "http://localhost:1/v1")]),
            "no target is left for tiers.fast, tiers.balanced, tiers.quality, tiers.reasoning: \
             neither ANTHROPIC_API_KEY nor ANTHROPIC_BASE_URL is set; neither GEMINI_API_KEY nor GEMINI_BASE_URL is set; \
             neither OPENAI_API_KEY nor OPENAI_BASE_URL is set",
        );
        assert!(
            prepare("tiers: {a: 1, a: 2}", &none)
                .unwrap_err()
                .contains("duplicate")
        );
    }

    #[test]
    fn names_of_a_model_that_is_left_out_go_with_it() {
        let yaml = "
version: 1
default_tier: a
tiers: {a: {description: d, targets: [{provider: openai, model: m}, {provider: anthropic, model: n}]}}
providers: {openai: {cluster: openai, api: openai}, anthropic: {cluster: anthropic, api: openai}, own: {cluster: own, api: openai}}
models:
  m: {targets: [{provider: openai}, {provider: anthropic, model: m-there}], fallback: [n, o]}
  n: {context: 1000}
  o: {targets: [{provider: own}]}
aliases: {x: n, y: m}
callers: {c: {tiers: [a], models: [n, m]}}
";
        let file = prepare(yaml, &endpoints(&[("openai", "http://localhost:1/v1")])).unwrap();
        let policy = Policy::from_bytes(file.json.as_bytes()).unwrap();
        assert_eq!(
            policy.models.keys().map(|k| &**k).collect::<Vec<_>>(),
            ["m", "o"]
        );
        assert_eq!(policy.models["m"].fallback, ["o".into()]);
        assert_eq!(policy.models["m"].targets.len(), 1);
        assert_eq!(policy.aliases.keys().collect::<Vec<_>>(), ["y"]);
        assert_eq!(policy.callers["c"].models, Some(vec!["m".into()]));
    }
}
