//! Other names and who may use them: `aliases:`, `callers:`, `route_models:`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{Errors, clean};
use super::names::{Names, repair};
use super::reader::At;
use super::text::{CALLER, MODEL};
use super::{AUTO, AliasTarget, CallerLimits, RouteModels, TierName};

const MAX_ALIASES: usize = 4096;
const MAX_CALLERS: usize = 4096;
const MAX_CALLER_TIERS: usize = 64;
const MAX_CALLER_MODELS: usize = 1024;
const MAX_CALLER_REGIONS: usize = 64;
const MAX_CALLER_VERSIONS: usize = 1024;
const MAX_ROUTED: usize = 256;

/// The names that a request's `model` can be.
#[derive(Debug)]
pub(super) struct Known<'a, 'v> {
    pub(super) tiers: &'a Names<'v>,
    pub(super) models: &'a Names<'v>,
}

#[derive(Clone, Copy)]
enum Kind {
    Tier,
    Model,
}

// === impl Kind ===

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Tier => "tier",
            Self::Model => "model",
        }
    }
}

// === impl Known ===

impl<'v> Known<'_, 'v> {
    fn kind(&self, name: &str) -> Option<Kind> {
        if self.tiers.has(name) {
            Some(Kind::Tier)
        } else {
            self.models.has(name).then_some(Kind::Model)
        }
    }

    fn iter(&self) -> impl Iterator<Item = &'v str> + Clone {
        self.tiers.iter().chain(self.models.iter())
    }

    fn is_known(&self) -> bool {
        self.tiers.is_known() && self.models.is_known()
    }
}

pub(super) fn aliases(
    at: Option<At<'_>>,
    known: &Known<'_, '_>,
    errors: &mut Errors,
) -> BTreeMap<String, AliasTarget> {
    let mut aliases = BTreeMap::new();
    let Some(at) = at else { return aliases };
    let entries = at.entries(0..=MAX_ALIASES, errors).unwrap_or_default();
    let names: Names<'_> = Names::keys("alias", Some(&at));
    for (alias, at) in entries {
        MODEL.check(&at.path, alias, errors);
        if alias == AUTO {
            errors.push(
                &at.path,
                "\"auto\" asks for a decision, so it cannot be an alias",
            );
        } else if let Some(kind) = known.kind(alias) {
            errors.push(
                &at.path,
                format!(
                    "there is a {} of this name, which an alias may not hide",
                    kind.name()
                ),
            );
        }
        let Some(name) = at.string(errors) else {
            continue;
        };
        let target = match known.kind(name) {
            Some(Kind::Tier) => AliasTarget::Tier(TierName(Arc::from(name))),
            Some(Kind::Model) => AliasTarget::Model(Arc::from(name)),
            None => {
                if names.has(name) {
                    let message = format!(
                        "\"{}\" is an alias itself; name a tier or a model",
                        clean(name)
                    );
                    errors.push(&at.path, message);
                } else if known.is_known() && !errors.is_full() {
                    let repair = repair(name, known.iter());
                    errors.push(
                        &at.path,
                        format!("no tier or model \"{}\"{repair}", clean(name)),
                    );
                }
                continue;
            }
        };
        aliases.insert(alias.to_owned(), target);
    }
    aliases
}

pub(super) fn callers(
    at: Option<At<'_>>,
    known: &Known<'_, '_>,
    regions: &Names<'_>,
    errors: &mut Errors,
) -> BTreeMap<String, CallerLimits> {
    let mut callers = BTreeMap::new();
    for (name, at) in at
        .and_then(|at| at.entries(0..=MAX_CALLERS, errors))
        .unwrap_or_default()
    {
        CALLER.check(&at.path, name, errors);
        const FIELDS: &[&str] = &["tiers", "models", "regions", "versions", "order_providers"];
        let Some(fields) = at.fields(FIELDS, errors) else {
            continue;
        };
        let tiers = fields.required("tiers", errors);
        let tiers = tiers
            .map(|at| known.tiers.find_all(&at, 1..=MAX_CALLER_TIERS, errors))
            .unwrap_or_default();
        let models = fields
            .get("models")
            .map(|at| known.models.find_all(&at, 0..=MAX_CALLER_MODELS, errors));
        let regions = fields
            .get("regions")
            .map(|at| regions.find_all(&at, 1..=MAX_CALLER_REGIONS, errors));
        let versions = fields.get("versions").map(|at| versions(&at, errors));
        let limits = CallerLimits {
            tiers: tiers
                .into_iter()
                .map(|name| TierName(Arc::from(name)))
                .collect(),
            models: models.map(|names| names.into_iter().map(Arc::from).collect()),
            regions: regions.map(|names| names.into_iter().map(Arc::from).collect()),
            versions,
            order_providers: fields.flag("order_providers", errors),
        };
        callers.insert(name.to_owned(), limits);
    }
    callers
}

fn versions(at: &At<'_>, errors: &mut Errors) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for at in at
        .items(1..=MAX_CALLER_VERSIONS, errors)
        .unwrap_or_default()
    {
        let Some(name) = at.text(&MODEL, errors) else {
            continue;
        };
        if name.strip_suffix('*').unwrap_or(name).contains('*') {
            errors.push(&at.path, "may have one \"*\", at its end");
        } else if versions.iter().any(|known| known == name) {
            errors.push(&at.path, format!("\"{}\" is given twice", clean(name)));
        } else {
            versions.push(name.to_owned());
        }
    }
    versions
}

pub(super) fn route_models(
    at: Option<At<'_>>,
    known: &Known<'_, '_>,
    aliases: &BTreeMap<String, AliasTarget>,
    errors: &mut Errors,
) -> RouteModels {
    let Some(fields) = at.and_then(|at| at.fields(&["names", "unknown"], errors)) else {
        return RouteModels::default();
    };
    let unknown = fields.flag("unknown", errors);
    let mut names: Vec<String> = Vec::new();
    for at in fields
        .get("names")
        .and_then(|at| at.items(0..=MAX_ROUTED, errors))
        .unwrap_or_default()
    {
        let Some(name) = at.text(&MODEL, errors) else {
            continue;
        };
        let prefix = name.strip_suffix('*');
        let kind = match known.kind(name) {
            Some(Kind::Tier) => Some("a tier"),
            Some(Kind::Model) => Some("a model"),
            None => aliases.contains_key(name).then_some("an alias"),
        };
        if prefix == Some("") {
            errors.push(&at.path, "to route every unknown name, say `unknown: true`");
        } else if prefix.unwrap_or(name).contains('*') {
            errors.push(&at.path, "may have one \"*\", at its end");
        } else if let Some(kind) = kind {
            errors.push(
                &at.path,
                format!("\"{}\" is {kind}, which wins over this", clean(name)),
            );
        } else if names.iter().any(|known| known == name) {
            errors.push(&at.path, format!("\"{}\" is given twice", clean(name)));
        } else {
            names.push(name.to_owned());
        }
    }
    RouteModels { names, unknown }
}
