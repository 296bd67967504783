//! The policy in a file: plain YAML or JSON, or wherever it stands in an Envoy configuration or in Kubernetes manifests.
//!
//! Found by its shape: a map with fields that only a policy has, or a string that holds one. What a plugin is given as a string is
//! read as the filter reads it, byte by byte.

use pointsman::policy::{Policy, PolicyError, field_path};

use super::Failure;
use super::document::{Node, documents};
use super::source::Source;

/// Strings in strings that are looked into: a manifest that holds an Envoy configuration that holds a policy.
const MAX_STRINGS: usize = 3;

/// What a policy has; two of them together are in no other document.
const FIELDS: [&str; 3] = ["tiers", "providers", "default_tier"];

/// A policy that was found, valid or not.
#[derive(Debug)]
pub struct Candidate {
    /// Where it stands; empty for a whole document.
    pub path: String,
    /// As the filter gets it.
    pub json: String,
    /// The string that it stands in: lines within are not known.
    held_by: Option<String>,
}

/// A valid policy.
#[derive(Debug)]
pub struct Loaded {
    pub file: String,
    pub path: String,
    pub policy: Policy,
}

/// What a search came upon.
#[derive(Debug, Default)]
struct Found {
    policies: Vec<Candidate>,
    /// Strings that speak of tiers and providers, and are neither YAML nor JSON.
    broken: Vec<(String, String)>,
}

/// Every policy of a file, or the one at a path; not empty.
///
/// # Errors
/// There is none, or none at that path.
pub fn candidates(source: &Source, at: Option<&str>) -> Result<Vec<Candidate>, Failure> {
    let name = &source.name;
    if let Err(error) = &source.documents {
        // What looks like the filter's JSON is judged by the filter.
        if source.text.trim_start().starts_with('{') {
            return Ok(vec![Candidate {
                path: String::new(),
                json: source.text.clone(),
                held_by: None,
            }]);
        }
        let mistake = format!("{name}: is neither YAML nor JSON: {error}");
        return Err(Failure::Mistakes(vec![mistake]));
    }
    let mut found = Found::default();
    for (path, document) in source.roots() {
        found.search(document, &path, None, MAX_STRINGS);
    }
    if found.policies.is_empty() {
        found.policies = whole(source);
    }
    if let Some(at) = at {
        let known: Vec<String> = found.policies.iter().map(|c| c.path.clone()).collect();
        found.policies.retain(|candidate| candidate.path == at);
        if found.policies.is_empty() && !known.is_empty() {
            let known = paths(&known);
            let message = format!("{name}: no policy at {at}; there is one at {known}");
            return Err(Failure::Unusable(message));
        }
    }
    let mut seen: Vec<String> = Vec::new();
    found.policies.retain(|candidate| {
        let is_new = !seen.contains(&candidate.json);
        seen.push(candidate.json.clone());
        is_new
    });
    if !found.policies.is_empty() {
        return Ok(found.policies);
    }
    if let Some((path, error)) = found.broken.first() {
        let place = source.place(path);
        let mistake = format!("{place}: {path}: is neither YAML nor JSON: {error}");
        return Err(Failure::Mistakes(vec![mistake]));
    }
    let message = format!(
        "{name}: no policy found: looked for a map with `tiers` and `providers`, in all documents and in the strings in them; see README, The policy"
    );
    Err(Failure::Mistakes(vec![message]))
}

/// The only policy of a file, or the one at a path; valid.
///
/// # Errors
/// There is none, there are several different ones, or it has mistakes.
pub fn load(file: &str, at: Option<&str>) -> Result<Loaded, Failure> {
    let source = Source::open(file)?;
    let found = candidates(&source, at)?;
    let [candidate] = &found[..] else {
        let known: Vec<String> = found.into_iter().map(|c| c.path).collect();
        return Err(Failure::Unusable(format!(
            "{}: has several policies; say which by --at: {}",
            source.name,
            paths(&known)
        )));
    };
    match candidate.policy() {
        Ok(policy) => Ok(Loaded {
            file: source.name,
            path: candidate.path.clone(),
            policy,
        }),
        Err(errors) => Err(Failure::Mistakes(candidate.mistakes(&source, &errors))),
    }
}

fn paths(known: &[String]) -> String {
    let shown = known.iter().map(|path| match path.as_str() {
        "" => "\"\"",
        path => path,
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// A file that is one map with a field of a policy's: one that is far from finished.
fn whole(source: &Source) -> Vec<Candidate> {
    let roots = source.roots();
    let [(path, document)] = &roots[..] else {
        return Vec::new();
    };
    let is_policy = FIELDS.iter().any(|field| document.get(field).is_some());
    is_policy
        .then(|| Candidate::of(document, path, None))
        .into_iter()
        .collect()
}

// === impl Candidate ===

impl Candidate {
    fn of(node: &Node, path: &str, held_by: Option<&str>) -> Self {
        Candidate {
            path: path.to_owned(),
            // Nodes always serialise; the fallback is for the type checker.
            json: serde_json::to_string(node).unwrap_or_default(),
            held_by: held_by.map(str::to_owned),
        }
    }

    /// # Errors
    /// What the filter would say.
    pub fn policy(&self) -> Result<Policy, Vec<PolicyError>> {
        Policy::from_bytes(self.json.as_bytes()).map_err(|errors| errors.0)
    }

    /// What the filter says, each behind its place.
    pub fn mistakes(&self, source: &Source, errors: &[PolicyError]) -> Vec<String> {
        let mistake = |error: &PolicyError| {
            let place = match (&self.held_by, error.path.as_str()) {
                (Some(string), _) => source.place(string),
                (None, "") => source.place(&self.path),
                (None, inner) if inner.starts_with('[') || self.path.is_empty() => {
                    source.place(&format!("{}{inner}", self.path))
                }
                (None, inner) => source.place(&format!("{}.{inner}", self.path)),
            };
            format!("{place}: {error}")
        };
        errors.iter().map(mistake).collect()
    }
}

// === impl Found ===

impl Found {
    fn search(&mut self, node: &Node, path: &str, held_by: Option<&str>, strings: usize) {
        let known = FIELDS.iter().filter(|field| node.get(field).is_some());
        if known.count() >= 2 {
            let candidate = Candidate::of(node, path, held_by);
            self.policies.push(candidate);
            return;
        }
        for (name, inner) in node.entries() {
            let path = field_path(path, name);
            match inner {
                Node::String(text) => {
                    let is_plugins = match name.as_str() {
                        "value" => node.is_message("StringValue"),
                        name => name == "configuration",
                    };
                    self.search_string(text, &path, held_by, is_plugins, strings);
                }
                _ => self.search(inner, &path, held_by, strings),
            }
        }
        for (index, inner) in node.items().iter().enumerate() {
            let path = pointsman::policy::item_path(path, index);
            match inner {
                Node::String(text) => self.search_string(text, &path, held_by, false, strings),
                _ => self.search(inner, &path, held_by, strings),
            }
        }
    }

    /// `is_plugins`: a filter gets this string as it is.
    fn search_string(
        &mut self,
        text: &str,
        path: &str,
        held_by: Option<&str>,
        is_plugins: bool,
        strings: usize,
    ) {
        if strings == 0 || !text.contains("tiers") || !text.contains("providers") {
            return;
        }
        let held_by = Some(held_by.unwrap_or(path));
        if is_plugins {
            self.policies.push(Candidate {
                path: path.to_owned(),
                json: text.to_owned(),
                held_by: held_by.map(str::to_owned),
            });
            return;
        }
        match documents(text) {
            Ok(documents) => {
                for document in &documents {
                    self.search(document, path, held_by, strings - 1);
                }
            }
            Err(error) => self.broken.push((path.to_owned(), error)),
        }
    }
}
