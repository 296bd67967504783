//! Each resource against its schema: a CRD's with its CEL rules, or Kubernetes' own.
//!
//! In an API server's order: defaults are filled in, then the schema is looked at, and only what it lets pass meets the rules.
//! Nothing is skipped in silence: what there is no schema for is a problem, or counted as not checked.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use kube_cel::{CompiledSchema, RootContext, apply_defaults, compile_schema};
use serde_json::{Map, Value};

use crate::builtin;
use crate::crds::Crds;
use crate::report::Report;
use crate::resource::{Gvk, Problem};
use crate::{keywords, schema};

/// Names that are listed where none is near the one that is unknown.
const LISTED: usize = 16;
/// How much of a message is shown: it may quote a whole value.
const SAID: usize = 400;

/// Knows the schemas, and keeps what it made of them.
pub struct Checker {
    crds: Option<Crds>,
    /// `kubernetes-validate`
    tool: Option<PathBuf>,
    made: BTreeMap<Gvk, Made>,
    rules: kube_cel::Validator,
}

/// One CRD, ready to check with.
struct Made {
    defaults: Value,
    strict: Value,
    validator: jsonschema::Validator,
    rules: CompiledSchema,
}

// === impl Checker ===

impl Checker {
    pub fn new(crds: Option<Crds>, tool: Option<PathBuf>) -> Self {
        Self {
            crds,
            tool,
            made: BTreeMap::new(),
            rules: kube_cel::Validator::new(),
        }
    }

    pub fn check(&mut self, resources: &[Value]) -> Report {
        let mut report = Report::default();
        let mut builtins = Vec::new();
        for resource in resources {
            let Some(gvk) = Gvk::of(resource) else {
                let problem = Problem::new(resource, "", "has no apiVersion or no kind");
                report.problems.push(problem);
                continue;
            };
            let has_crd = self.has_crd(&gvk);
            if !has_crd && !builtin::is_builtin(&gvk) && self.crds.is_none() {
                *report.unchecked.entry(gvk).or_default() += 1;
                continue;
            }
            *report.checked.entry(gvk.clone()).or_default() += 1;
            if !has_crd && builtin::is_builtin(&gvk) {
                builtins.push(resource);
                continue;
            }
            match self.made(&gvk) {
                Ok((made, rules)) => report.problems.extend(made.check(rules, &gvk, resource)),
                Err(e) => report.problems.push(Problem::new(resource, "", e)),
            }
        }
        report.problems.extend(self.builtins(&builtins));
        report
    }

    fn has_crd(&self, gvk: &Gvk) -> bool {
        let crds = self.crds.as_ref();
        crds.is_some_and(|crds| crds.schema(gvk).is_some())
    }

    /// What checks this kind, and what runs its rules.
    fn made(&mut self, gvk: &Gvk) -> Result<(&Made, &kube_cel::Validator), String> {
        let made = match self.made.entry(gvk.clone()) {
            Entry::Occupied(made) => made.into_mut(),
            Entry::Vacant(free) => {
                let crds = self.crds.as_ref().ok_or("there are no CRDs")?;
                let schema = crds.schema(gvk).ok_or_else(|| {
                    let folder = crds.folder.display();
                    format!("{folder} has no CRD that serves {gvk}: not checked")
                })?;
                free.insert(Made::new(schema)?)
            }
        };
        Ok((made, &self.rules))
    }

    fn builtins(&self, resources: &[&Value]) -> Vec<Problem> {
        let result = match &self.tool {
            Some(tool) => builtin::check(tool, resources),
            None => Err("kubernetes-validate is missing, `make k8s-check` installs it".to_owned()),
        };
        let problem = |what: &String| {
            let resources = resources.iter();
            let what = format!("not checked: {what}");
            resources.map(move |resource| Problem::new(resource, "", what.clone()))
        };
        result.unwrap_or_else(|what| problem(&what).collect())
    }
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker").finish_non_exhaustive()
    }
}

// === impl Made ===

impl Made {
    fn new(schema: &Value) -> Result<Self, String> {
        let strict = schema::strict(schema);
        let validator =
            keywords::validator(&strict).map_err(|e| format!("its CRD's schema: {e}"))?;
        Ok(Self {
            defaults: schema.clone(),
            strict,
            validator,
            rules: compile_schema(schema),
        })
    }

    fn check(&self, rules: &kube_cel::Validator, gvk: &Gvk, resource: &Value) -> Vec<Problem> {
        let object = self.with_defaults(resource);
        let errors = self.validator.iter_errors(&object);
        let mut problems: Vec<Problem> = errors
            .flat_map(|error| self.explain(resource, &error))
            .collect();
        if problems.is_empty() {
            let context = RootContext {
                api_version: gvk.api_version(),
                api_group: gvk.group.clone(),
                kind: gvk.kind.clone(),
            };
            let broken =
                rules.validate_compiled_with_context(&self.rules, &object, None, Some(&context));
            let broken = broken.err().into_iter().flatten();
            problems = broken
                .map(|e| Problem::new(resource, e.field_path.clone(), cut(&e.message)))
                .collect();
            problems.sort_by(|a, b| a.path.cmp(&b.path));
        }
        problems
    }

    /// A default may hold objects whose fields have defaults: each pass fills in one level more.
    fn with_defaults(&self, resource: &Value) -> Value {
        let mut object = apply_defaults(&self.defaults, resource);
        loop {
            let next = apply_defaults(&self.defaults, &object);
            if next == object {
                return object;
            }
            object = next;
        }
    }

    fn explain(&self, resource: &Value, error: &ValidationError<'_>) -> Vec<Problem> {
        let path = path(error.instance_path());
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = self.fields_beside(error.schema_path());
                let unknown = unexpected.iter();
                unknown
                    .map(|name| {
                        let what = format!("unknown field \"{name}\"{}", repair(name, &known));
                        Problem::new(resource, path.clone(), what)
                    })
                    .collect()
            }
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => {
                let mut each: Vec<String> = context
                    .iter()
                    .flatten()
                    .map(|e| e.masked_with("it").to_string())
                    .collect();
                each.dedup();
                let what = format!("none of the alternatives holds: {}", each.join("; "));
                vec![Problem::new(resource, path, cut(&what))]
            }
            ValidationErrorKind::OneOfMultipleValid { .. } => {
                vec![Problem::new(
                    resource,
                    path,
                    "more than one of the alternatives holds; only one may",
                )]
            }
            ValidationErrorKind::Enum { options } => {
                let values = options.as_array().into_iter().flatten();
                let values = values.filter_map(Value::as_str).map(ToOwned::to_owned);
                let values: Vec<String> = values.collect();
                let value = error.instance();
                let what = format!(
                    "{value} is none of its values{}",
                    repair(value.as_str().unwrap_or_default(), &values)
                );
                vec![Problem::new(resource, path, cut(&what))]
            }
            ValidationErrorKind::Type { .. } => {
                vec![Problem::new(resource, path, cut(&error.to_string()))]
            }
            _ => vec![Problem::new(
                resource,
                path,
                cut(&error.masked_with("it").to_string()),
            )],
        }
    }

    /// The fields of the object whose schema refuses others there.
    fn fields_beside(&self, refused: &Location) -> Vec<String> {
        let object = refused.as_str().rsplit_once('/').map_or("", |(at, _)| at);
        let fields = self.strict.pointer(object).map(|at| &at["properties"]);
        let fields = fields.and_then(Value::as_object);
        fields.into_iter().flat_map(Map::keys).cloned().collect()
    }
}

/// Which name was meant, or which there are.
fn repair(name: &str, known: &[String]) -> String {
    let distance =
        |field: &&String| strsim::damerau_levenshtein(&field.to_lowercase(), &name.to_lowercase());
    let near = known.iter().min_by_key(distance);
    match near.filter(|field| distance(field) <= 1 + field.len() / 5) {
        Some(near) => format!("; did you mean \"{near}\"?"),
        None if known.is_empty() => String::new(),
        None if known.len() <= LISTED => format!("; known: {}", known.join(", ")),
        None => format!("; known: {}, …", known[..LISTED].join(", ")),
    }
}

/// `spec.configPatches[0].patch`
fn path(location: &Location) -> String {
    let mut path = String::new();
    for segment in location {
        match segment {
            LocationSegment::Index(index) => path.push_str(&format!("[{index}]")),
            LocationSegment::Property(name) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
                if !name.chars().all(plain) {
                    path.push_str(&format!("[\"{name}\"]"));
                } else if path.is_empty() {
                    path.push_str(&name);
                } else {
                    path.push_str(&format!(".{name}"));
                }
            }
        }
    }
    path
}

fn cut(what: &str) -> String {
    match what.char_indices().nth(SAID) {
        Some((end, _)) => format!("{}…", &what[..end]),
        None => what.to_owned(),
    }
}
