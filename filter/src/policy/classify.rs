//! `classify:` the steps that decide a tier: static rules, the local model, the LLM classifier.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Errors, clean};
use super::names::{Names, repair};
use super::providers::Providers;
use super::reader::At;
use super::text::{CALLER, CLUSTER, MODEL, client_header, header_value, host, path};
use super::timeouts::timeout;
use super::{LlmClassifier, Rule, Step, StepKind, TierName, When};

mod local;

const MAX_STEPS: usize = 16;
const MAX_RULES: usize = 256;

/// What the steps refer to.
#[derive(Debug)]
pub(super) struct Context<'a, 'v> {
    pub(super) tiers: &'a Names<'v>,
    pub(super) paths: &'a [String],
    pub(super) providers: &'a Providers,
}

const KINDS: &str = "\"rules\", \"local\" or \"llm\"";

pub(super) fn steps<'v>(
    at: Option<At<'v>>,
    context: &Context<'_, 'v>,
    errors: &mut Errors,
) -> Vec<Step> {
    let items = at.and_then(|at| at.items(0..=MAX_STEPS, errors));
    let mut seen: Vec<&str> = Vec::new();
    let mut steps = Vec::new();
    for at in items.unwrap_or_default() {
        let Some(fields) = at.fields(&["rules", "local", "llm", "shadow"], errors) else {
            continue;
        };
        let shadow = fields.flag("shadow", errors);
        let kinds = ["rules", "local", "llm"].map(|kind| (kind, fields.get(kind)));
        let mut given = kinds.into_iter().filter_map(|(kind, at)| Some((kind, at?)));
        let (Some((kind, inner)), None) = (given.next(), given.next()) else {
            if fields.is_known(&["rules", "local", "llm", "shadow"]) {
                errors.push(
                    &at.path,
                    format!("must be one step: {KINDS}, each an item of the list"),
                );
            }
            continue;
        };
        if seen.contains(&kind) {
            let message = match kind {
                "rules" => "a second step of this kind; put all rules into one",
                _ => "a second step of this kind; there is one at most",
            };
            errors.push(&inner.path, message);
        }
        seen.push(kind);
        let kind = match kind {
            "rules" => Some(StepKind::Rules(rules(&inner, context, errors))),
            "local" => local::local(&inner, context.tiers, errors).map(StepKind::Local),
            _ => llm(&inner, context.providers, errors).map(StepKind::Llm),
        };
        steps.extend(kind.map(|kind| Step { kind, shadow }));
    }
    steps
}

fn rules<'v>(at: &At<'v>, context: &Context<'_, 'v>, errors: &mut Errors) -> Vec<Rule> {
    let mut rules = Vec::new();
    for at in at.items(0..=MAX_RULES, errors).unwrap_or_default() {
        let Some(fields) = at.fields(&["when", "tier"], errors) else {
            continue;
        };
        let when = fields
            .required("when", errors)
            .and_then(|at| when(&at, context, errors));
        let tier = fields
            .required("tier", errors)
            .and_then(|at| context.tiers.find(&at, errors));
        let (Some(when), Some(tier)) = (when, tier) else {
            continue;
        };
        rules.push(Rule {
            when,
            tier: TierName(Arc::from(tier)),
        });
    }
    rules
}

fn when(at: &At<'_>, context: &Context<'_, '_>, errors: &mut Errors) -> Option<When> {
    let fields = at.fields(&["header", "path", "caller", "model_prefix"], errors)?;
    if fields.is_empty() {
        errors.push(&at.path, "must have at least one condition");
        return None;
    }
    Some(When {
        header: fields.get("header").and_then(|at| header(&at, errors)),
        path: fields
            .get("path")
            .and_then(|at| admitted_path(&at, context.paths, errors)),
        caller: fields
            .get("caller")
            .and_then(|at| at.text(&CALLER, errors))
            .map(str::to_owned),
        model_prefix: fields
            .get("model_prefix")
            .and_then(|at| model_prefix(&at, errors)),
    })
}

fn header(at: &At<'_>, errors: &mut Errors) -> Option<(String, Option<String>)> {
    let fields = at.fields(&["name", "value"], errors)?;
    let name = fields
        .required("name", errors)
        .and_then(|at| client_header(&at, errors));
    let value = fields.get("value").and_then(|at| header_value(&at, errors));
    Some((name?, value))
}

fn admitted_path(at: &At<'_>, paths: &[String], errors: &mut Errors) -> Option<String> {
    let path = at.string(errors)?;
    if !paths.iter().any(|admitted| admitted == path) {
        let repair = repair(path, paths.iter().map(String::as_str));
        errors.push(
            &at.path,
            format!("\"{}\" is not among admit.paths{repair}", clean(path)),
        );
        return None;
    }
    Some(path.to_owned())
}

fn model_prefix(at: &At<'_>, errors: &mut Errors) -> Option<String> {
    let prefix = at.text(&MODEL, errors)?;
    if prefix.ends_with('*') {
        errors.push(&at.path, "is a prefix as it is; leave out the \"*\"");
    }
    Some(prefix.to_owned())
}

fn llm(at: &At<'_>, providers: &Providers, errors: &mut Errors) -> Option<LlmClassifier> {
    const FIELDS: &[&str] = &[
        "cluster",
        "model",
        "timeout",
        "host",
        "path",
        "max_system_chars",
        "max_user_chars",
        "max_tokens",
        "max_in_flight",
    ];
    let fields = at.fields(FIELDS, errors)?;
    let cluster = fields
        .required("cluster", errors)
        .and_then(|at| llm_cluster(&at, providers, errors));
    let model = fields
        .required("model", errors)
        .and_then(|at| at.text(&MODEL, errors));
    let host = host(&fields, cluster, errors);
    let path = match fields.get("path") {
        Some(at) => path(&at, errors),
        None => Some("/v1/chat/completions".to_owned()),
    };
    let timeout = fields.get("timeout").and_then(|at| timeout(&at, errors));
    let mut number = |name, most, default| {
        fields
            .get(name)
            .and_then(|at| at.integer(1..=most, errors))
            .unwrap_or(default)
    };
    let max_system_chars = number("max_system_chars", 20_000, 500);
    let max_user_chars = number("max_user_chars", 20_000, 500);
    let max_tokens = number("max_tokens", 4096, 120);
    let max_in_flight = number("max_in_flight", 65_536, 256);
    Some(LlmClassifier {
        cluster: cluster?.to_owned(),
        model: model?.to_owned(),
        timeout: timeout.unwrap_or(Duration::from_millis(800)),
        host: host?,
        path: path?,
        max_system_chars: usize::try_from(max_system_chars).ok()?,
        max_user_chars: usize::try_from(max_user_chars).ok()?,
        max_tokens,
        max_in_flight: usize::try_from(max_in_flight).ok()?,
    })
}

fn llm_cluster<'v>(at: &At<'v>, providers: &Providers, errors: &mut Errors) -> Option<&'v str> {
    let cluster = at.text(&CLUSTER, errors)?;
    if let Some(provider) = providers
        .values()
        .find(|provider| &*provider.cluster == cluster)
    {
        errors.push(
            &at.path,
            format!(
                "\"{}\" is provider \"{}\"'s cluster, which carries this filter: a callout through it re-enters the filter's own VM and kills it; give the classifier a cluster of its own",
                clean(cluster),
                clean(&provider.name)
            ),
        );
    }
    Some(cluster)
}
