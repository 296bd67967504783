//! `tiers:` and `models:` what can be asked for, and where it is served.
//!
//! Read in two steps, for the two name each other: first as written, then with every model resolved to a provider and to the name it
//! has there. Every model that a target names is in the registry afterwards, and every model of the registry is served somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::degrade::degrade;
use super::error::{Errors, clean};
use super::names::Names;
use super::providers::{Providers, named};
use super::reader::{At, Fields};
use super::text::{MODEL, TIER};
use super::timeouts::timeouts;
use super::{AUTO, Degrade, Model, Order, Price, Sticky, Target, Tier, TierName, Timeouts};

const MAX_TIERS: usize = 64;
const MAX_MODELS: usize = 4096;
const MAX_TARGETS: usize = 8;
const MAX_FALLBACK: usize = 8;
/// Characters of a description: it is in every classifier prompt.
const MAX_DESCRIPTION: usize = 1000;

const MAX_WEIGHT: u32 = 1_000_000;

const INPUTS: &[&str] = &["text", "image", "audio", "video", "file"];

const TIER_FIELDS: &[&str] = &[
    "description",
    "targets",
    "order",
    "sticky",
    "timeouts",
    "degrade",
];

const ORDERS: &[(&str, Order)] = &[
    ("priority", Order::Priority),
    ("weighted", Order::Weighted(Sticky::Conversation)),
];

const STICKY: &[(&str, Sticky)] = &[
    ("conversation", Sticky::Conversation),
    ("caller", Sticky::Caller),
    ("none", Sticky::None),
];

const ONLY_WEIGHTED: &str =
    "is for a tier of order \"weighted\" only; remove it, or set the tier's order";

/// A tier as written.
#[derive(Debug)]
pub(super) struct TierDraft<'v> {
    name: &'v str,
    description: String,
    targets: Vec<TargetDraft<'v>>,
    order: Order,
    timeouts: Option<Timeouts>,
    degrade: Option<Degrade>,
}

/// A model as written.
#[derive(Debug)]
pub(super) struct ModelDraft<'v> {
    model: Model,
    /// `None`: wherever a tier pairs it with a provider.
    targets: Option<Vec<TargetDraft<'v>>>,
    path: String,
}

#[derive(Debug)]
struct TargetDraft<'v> {
    provider: &'v str,
    /// In a tier, a model of the policy; in a model's own targets, its name at the provider.
    model: &'v str,
    weight: u32,
    path: String,
}

// === as written ===

pub(super) fn tiers<'v>(
    at: &At<'v>,
    (names, providers): (&Names<'v>, &Names<'v>),
    defaults: Timeouts,
    errors: &mut Errors,
) -> Vec<TierDraft<'v>> {
    let mut tiers = Vec::new();
    for (name, at) in at.entries(1..=MAX_TIERS, errors).unwrap_or_default() {
        TIER.check(&at.path, name, errors);
        if name == AUTO {
            errors.push(
                &at.path,
                "\"auto\" asks for a decision, so it cannot name a tier",
            );
        }
        let Some(fields) = at.fields(TIER_FIELDS, errors) else {
            continue;
        };
        let description = fields
            .required("description", errors)
            .and_then(|at| description(&at, errors));
        let order = order(&fields, errors);
        let targets = fields.required("targets", errors);
        tiers.push(TierDraft {
            name,
            description: description.unwrap_or_default(),
            targets: targets
                .map(|at| tier_targets(&at, order, providers, errors))
                .unwrap_or_default(),
            order: order.unwrap_or_default(),
            timeouts: fields
                .get("timeouts")
                .map(|at| timeouts(&at, defaults, errors)),
            degrade: fields
                .get("degrade")
                .and_then(|at| degrade(name, &at, names, errors)),
        });
    }
    tiers
}

/// `None` where it could not be read: then no weight is a mistake.
fn order(fields: &Fields<'_>, errors: &mut Errors) -> Option<Order> {
    let order = match fields.get("order") {
        Some(at) => named("order", ORDERS, &at, errors),
        None => Some(Order::Priority),
    };
    let Some(at) = fields.get("sticky") else {
        return order;
    };
    let sticky = named("choice", STICKY, &at, errors);
    match order? {
        Order::Weighted(default) => Some(Order::Weighted(sticky.unwrap_or(default))),
        Order::Priority => {
            errors.push(&at.path, ONLY_WEIGHTED);
            Some(Order::Priority)
        }
    }
}

fn description(at: &At<'_>, errors: &mut Errors) -> Option<String> {
    let text = at.string(errors)?;
    if text.trim().is_empty() {
        errors.push(&at.path, "must not be empty: the classifier decides by it");
    } else if text.chars().count() > MAX_DESCRIPTION {
        errors.push(
            &at.path,
            format!("must have at most {MAX_DESCRIPTION} characters"),
        );
    }
    Some(text.to_owned())
}

fn tier_targets<'v>(
    at: &At<'v>,
    order: Option<Order>,
    providers: &Names<'v>,
    errors: &mut Errors,
) -> Vec<TargetDraft<'v>> {
    let mut targets = Vec::new();
    let mut weights = Vec::new();
    for at in at.items(1..=MAX_TARGETS, errors).unwrap_or_default() {
        let Some(fields) = at.fields(&["provider", "model", "weight"], errors) else {
            weights.push(None);
            continue;
        };
        let weight = order.and_then(|order| weight(&fields, order, errors));
        weights.push(weight);
        let provider = fields
            .required("provider", errors)
            .and_then(|at| providers.find(&at, errors));
        let model = fields
            .required("model", errors)
            .and_then(|at| at.text(&MODEL, errors));
        // A model is known by its name even where its provider is not.
        let Some(model) = model else { continue };
        targets.push(TargetDraft {
            provider: provider.unwrap_or_default(),
            model,
            weight: weight.unwrap_or_default(),
            path: at.path,
        });
    }
    let is_weighted = matches!(order, Some(Order::Weighted(_)));
    if is_weighted && !weights.is_empty() && weights.iter().all(|weight| *weight == Some(0)) {
        errors.push(
            &at.path,
            "every weight is 0; give one of the targets a larger one",
        );
    }
    targets
}

fn weight(fields: &Fields<'_>, order: Order, errors: &mut Errors) -> Option<u32> {
    if let Order::Weighted(_) = order {
        let missing =
            "required where order is \"weighted\": a share such as 90, or 0 for a fallback only";
        let at = fields.required_as("weight", missing, errors)?;
        return at.integer(0..=MAX_WEIGHT, errors);
    }
    if let Some(at) = fields.get("weight") {
        errors.push(&at.path, ONLY_WEIGHTED);
    }
    None
}

/// The registry's names, and those that tiers add to it.
pub(super) fn model_names<'v>(at: Option<&At<'v>>, tiers: &[TierDraft<'v>]) -> Names<'v> {
    let registry = Names::keys("model", at);
    if at.is_some() && !registry.is_known() {
        return registry;
    }
    let targets = tiers.iter().flat_map(|tier| &tier.targets);
    let names: BTreeSet<&'v str> = registry
        .iter()
        .chain(targets.map(|target| target.model))
        .collect();
    Names::new("model", Some(names))
}

pub(super) fn models<'v>(
    at: Option<&At<'v>>,
    providers: &Names<'v>,
    models: &Names<'v>,
    errors: &mut Errors,
) -> BTreeMap<&'v str, ModelDraft<'v>> {
    let entries = at
        .and_then(|at| at.entries(0..=MAX_MODELS, errors))
        .unwrap_or_default();
    let mut drafts = BTreeMap::new();
    for (name, at) in entries {
        MODEL.check(&at.path, name, errors);
        if let Some(draft) = model(name, &at, providers, models, errors) {
            drafts.insert(name, draft);
        }
    }
    drafts
}

fn model<'v>(
    name: &'v str,
    at: &At<'v>,
    providers: &Names<'v>,
    models: &Names<'v>,
    errors: &mut Errors,
) -> Option<ModelDraft<'v>> {
    const FIELDS: &[&str] = &[
        "targets",
        "fallback",
        "context",
        "max_output",
        "input",
        "tools",
        "json_schema",
        "price",
    ];
    let fields = at.fields(FIELDS, errors)?;
    let fallback = fields
        .get("fallback")
        .map(|at| fallback(name, &at, models, errors));
    let model = Model {
        fallback: fallback.unwrap_or_default(),
        context: fields
            .get("context")
            .and_then(|at| at.integer(1..=u32::MAX, errors)),
        max_output: fields
            .get("max_output")
            .and_then(|at| at.integer(1..=u32::MAX, errors)),
        input: fields
            .get("input")
            .map(|at| input(&at, errors))
            .unwrap_or_default(),
        tools: fields.get("tools").and_then(|at| at.bool(errors)),
        json_schema: fields.get("json_schema").and_then(|at| at.bool(errors)),
        price: fields.get("price").and_then(|at| price(&at, errors)),
        ..bare_model(name)
    };
    let targets = fields
        .get("targets")
        .map(|at| model_targets(name, &at, providers, errors));
    Some(ModelDraft {
        model,
        targets,
        path: at.path.clone(),
    })
}

/// A model of which nothing is known but the name.
fn bare_model(name: &str) -> Model {
    Model {
        name: Arc::from(name),
        targets: Vec::new(),
        fallback: Vec::new(),
        context: None,
        max_output: None,
        input: Vec::new(),
        tools: None,
        json_schema: None,
        price: None,
    }
}

fn model_targets<'v>(
    name: &'v str,
    at: &At<'v>,
    providers: &Names<'v>,
    errors: &mut Errors,
) -> Vec<TargetDraft<'v>> {
    let mut targets = Vec::new();
    for at in at.items(1..=MAX_TARGETS, errors).unwrap_or_default() {
        let Some(fields) = at.fields(&["provider", "model"], errors) else {
            continue;
        };
        let sent_as = fields
            .get("model")
            .and_then(|at| at.text(&MODEL, errors))
            .unwrap_or(name);
        let provider = fields
            .required("provider", errors)
            .and_then(|at| providers.find(&at, errors));
        if let Some(provider) = provider {
            targets.push(TargetDraft {
                provider,
                model: sent_as,
                weight: 0,
                path: at.path,
            });
        }
    }
    targets
}

fn fallback<'v>(name: &str, at: &At<'v>, models: &Names<'v>, errors: &mut Errors) -> Vec<Arc<str>> {
    let names = models.find_all(at, 0..=MAX_FALLBACK, errors);
    if names.contains(&name) {
        errors.push(&at.path, "a model cannot be its own fallback");
    }
    names.into_iter().map(Arc::from).collect()
}

fn input(at: &At<'_>, errors: &mut Errors) -> Vec<String> {
    let known = Names::new("input", Some(INPUTS.iter().copied().collect()));
    known
        .find_all(at, 1..=INPUTS.len(), errors)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

fn price(at: &At<'_>, errors: &mut Errors) -> Option<Price> {
    let fields = at.fields(&["input", "output"], errors)?;
    let input = fields
        .required("input", errors)
        .and_then(|at| at.amount(errors));
    let output = fields
        .required("output", errors)
        .and_then(|at| at.amount(errors));
    Some(Price {
        input: input?,
        output: output?,
    })
}

// === resolved ===

/// The tiers and the registry, every target with its provider and the model's name there.
pub(super) fn resolve(
    tiers: Vec<TierDraft<'_>>,
    drafts: BTreeMap<&str, ModelDraft<'_>>,
    providers: &Providers,
    tier_names: &Names<'_>,
    errors: &mut Errors,
) -> (Vec<Tier>, BTreeMap<Arc<str>, Model>) {
    let mut models: BTreeMap<Arc<str>, Model> = BTreeMap::new();
    // Models whose targets are those of the tiers.
    let mut gathers: BTreeSet<Arc<str>> = BTreeSet::new();
    for (name, draft) in &drafts {
        check_model_name(name, &draft.path, tier_names, errors);
        let mut model = draft.model.clone();
        match &draft.targets {
            Some(targets) => {
                let own = targets
                    .iter()
                    .filter_map(|target| resolve_target(name, target.model, target, providers));
                model.targets = own.collect();
            }
            None => {
                gathers.insert(model.name.clone());
            }
        }
        models.insert(model.name.clone(), model);
    }

    let paired: BTreeSet<&str> = tiers
        .iter()
        .flat_map(|tier| &tier.targets)
        .map(|target| target.model)
        .collect();
    let mut resolved = Vec::new();
    for tier in tiers {
        let mut targets = Vec::new();
        for draft in &tier.targets {
            if !models.contains_key(draft.model) {
                check_model_name(
                    draft.model,
                    &format!("{}.model", draft.path),
                    tier_names,
                    errors,
                );
                let model = bare_model(draft.model);
                gathers.insert(model.name.clone());
                models.insert(model.name.clone(), model);
            }
            let sent_as = drafts
                .get(draft.model)
                .and_then(|model| model.sent_as(draft.provider));
            let sent_as = sent_as.unwrap_or(draft.model);
            let Some(target) = resolve_target(draft.model, sent_as, draft, providers) else {
                continue;
            };
            if gathers.contains(&target.model)
                && let Some(model) = models.get_mut(&target.model)
                && !model
                    .targets
                    .iter()
                    .any(|known| known.provider.name == target.provider.name)
            {
                model.targets.push(target.clone());
            }
            targets.push(Target {
                weight: draft.weight,
                ..target
            });
        }
        resolved.push(Tier {
            name: TierName(Arc::from(tier.name)),
            description: tier.description,
            targets,
            order: tier.order,
            timeouts: tier.timeouts,
            degrade: tier.degrade,
        });
    }

    for (name, draft) in &drafts {
        if draft.targets.is_none() && !paired.contains(name) {
            errors.push(
                &draft.path,
                "is served nowhere: give it \"targets\", or make it a target of a tier",
            );
        }
    }
    (resolved, models)
}

fn check_model_name(name: &str, path: &str, tier_names: &Names<'_>, errors: &mut Errors) {
    if name == AUTO {
        errors.push(
            path,
            "\"auto\" asks for a decision, so it cannot name a model",
        );
    } else if tier_names.has(name) {
        errors.push(
            path,
            format!(
                "\"{}\" names a tier, so it cannot name a model",
                clean(name)
            ),
        );
    }
}

fn resolve_target(
    model: &str,
    sent_as: &str,
    draft: &TargetDraft<'_>,
    providers: &Providers,
) -> Option<Target> {
    let provider = providers.get(draft.provider)?.clone();
    Some(Target {
        provider,
        model: Arc::from(model),
        sent_as: Arc::from(sent_as),
        weight: 0,
    })
}

// === impl ModelDraft ===

impl<'v> ModelDraft<'v> {
    /// The model's name at `provider`, if it has targets of its own there.
    fn sent_as(&self, provider: &str) -> Option<&'v str> {
        let target = self
            .targets
            .iter()
            .flatten()
            .find(|target| target.provider == provider)?;
        Some(target.model)
    }
}
