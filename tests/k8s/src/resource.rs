//! What a resource says that it is, and what is wrong with it.

use std::fmt;

use serde_json::Value;

/// What names a schema: `networking.istio.io/v1alpha3` and `EnvoyFilter`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gvk {
    /// Empty for the oldest of Kubernetes' own kinds.
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// One mistake in one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `EnvoyFilter/pointsman`
    pub resource: String,
    /// `spec.configPatches[0].patch`; empty for the whole.
    pub path: String,
    pub what: String,
}

/// `EnvoyFilter/pointsman`, as far as it says.
pub fn name(resource: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let kind = text(&resource["kind"]);
    format!("{kind}/{}", text(&resource["metadata"]["name"]))
}

// === impl Gvk ===

impl Gvk {
    /// `None`: it has no `apiVersion` or no `kind`.
    pub fn of(resource: &Value) -> Option<Self> {
        let api_version = resource["apiVersion"].as_str()?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: resource["kind"].as_str()?.to_owned(),
        })
    }

    /// As a resource writes it.
    pub fn api_version(&self) -> String {
        match &*self.group {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version(), self.kind)
    }
}

// === impl Problem ===

impl Problem {
    pub fn new(resource: &Value, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            resource: name(resource),
            path: path.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            path,
            what,
        } = self;
        match &**path {
            "" => write!(f, "{resource}: {what}"),
            path => write!(f, "{resource}: {path}: {what}"),
        }
    }
}
