//! `providers:` who serves models, each in a cluster of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{Errors, clean};
use super::names::repair;
use super::reader::At;
use super::text::{
    CLUSTER, Headers, PROVIDER, REGION, header_value, host, path_template, provider_header,
};
use super::{Api, Provider, Unsupported};

pub(super) type Providers = BTreeMap<Arc<str>, Arc<Provider>>;

const APIS: &[(&str, Api)] = &[
    ("openai", Api::OpenAi),
    ("anthropic", Api::Anthropic),
    ("gemini", Api::Gemini),
];

const UNSUPPORTED: &[(&str, Unsupported)] =
    &[("drop", Unsupported::Drop), ("refuse", Unsupported::Refuse)];

const MAX_PROVIDERS: usize = 256;
const MAX_HEADERS: usize = 64;

const FIELDS: &[&str] = &[
    "cluster",
    "api",
    "host",
    "path",
    "set_headers",
    "pass_headers",
    "unsupported",
    "prompt_cache",
    "stream_usage",
    "region",
];

pub(super) fn providers(at: &At<'_>, errors: &mut Errors) -> Providers {
    let mut providers = Providers::new();
    let mut clusters: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    for (name, at) in at.entries(1..=MAX_PROVIDERS, errors).unwrap_or_default() {
        PROVIDER.check(&at.path, name, errors);
        let Some(provider) = provider(name, &at, errors) else {
            continue;
        };
        if let Some(other) = clusters.insert(provider.cluster.clone(), provider.name.clone()) {
            errors.push(
                &format!("{}.cluster", at.path),
                format!(
                    "\"{}\" is provider \"{}\"'s cluster too; providers are told apart by their clusters, so give each its own",
                    clean(&provider.cluster),
                    clean(&other)
                ),
            );
        }
        providers.insert(provider.name.clone(), Arc::new(provider));
    }
    providers
}

fn provider(name: &str, at: &At<'_>, errors: &mut Errors) -> Option<Provider> {
    let fields = at.fields(FIELDS, errors)?;
    let cluster = fields
        .required("cluster", errors)
        .and_then(|at| at.text(&CLUSTER, errors));
    let api = fields
        .required("api", errors)
        .and_then(|at| named("api", APIS, &at, errors));
    let host = host(&fields, cluster, errors);
    let path = match fields.get("path") {
        Some(at) => path_template(&at, errors),
        None => api.map(|api| api.default_path().to_owned()),
    };
    let unsupported = fields
        .get("unsupported")
        .and_then(|at| named("choice", UNSUPPORTED, &at, errors));
    let mut only_of = |field: &'static str, wanted: Api, default: bool| {
        let at = fields.get(field)?;
        if api.is_some_and(|api| api != wanted) {
            let name = APIS.iter().find(|(_, api)| *api == wanted)?.0;
            errors.push(&at.path, format!("is for api \"{name}\" only; remove it"));
        }
        Some(at.bool(errors).unwrap_or(default))
    };
    let prompt_cache = only_of("prompt_cache", Api::Anthropic, false).unwrap_or(false);
    let stream_usage = only_of("stream_usage", Api::OpenAi, true).unwrap_or(true);
    let set_headers = fields
        .get("set_headers")
        .map(|at| set_headers(&at, errors))
        .unwrap_or_default();
    let pass_headers = fields
        .get("pass_headers")
        .map(|at| pass_headers(&at, &set_headers, errors))
        .unwrap_or_default();
    let region = fields.get("region").and_then(|at| at.text(&REGION, errors));
    Some(Provider {
        name: Arc::from(name),
        cluster: Arc::from(cluster?),
        api: api?,
        host: host?,
        path: path?,
        unsupported: unsupported.unwrap_or_default(),
        prompt_cache,
        stream_usage,
        set_headers,
        pass_headers,
        region: region.map(Arc::from),
    })
}

/// One of a few words; `what` they are.
pub(super) fn named<T: Copy>(
    what: &str,
    known: &[(&str, T)],
    at: &At<'_>,
    errors: &mut Errors,
) -> Option<T> {
    let name = at.string(errors)?;
    let found = known.iter().find(|(known, _)| *known == name);
    if found.is_none() {
        let repair = repair(name, known.iter().map(|(known, _)| *known));
        errors.push(&at.path, format!("no {what} \"{}\"{repair}", clean(name)));
    }
    found.map(|(_, value)| *value)
}

fn set_headers(at: &At<'_>, errors: &mut Errors) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, at) in at.entries(0..=MAX_HEADERS, errors).unwrap_or_default() {
        let name = provider_header(&at.path, name, Headers::Set, errors);
        let value = header_value(&at, errors);
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        if headers.iter().any(|(set, _)| *set == name) {
            errors.push(&at.path, format!("\"{}\" is given twice", clean(&name)));
        }
        headers.push((name, value));
    }
    headers
}

fn pass_headers(at: &At<'_>, set: &[(String, String)], errors: &mut Errors) -> Vec<String> {
    let mut headers: Vec<String> = Vec::new();
    for at in at.items(0..=MAX_HEADERS, errors).unwrap_or_default() {
        let name = at
            .string(errors)
            .and_then(|name| provider_header(&at.path, name, Headers::Pass, errors));
        let Some(name) = name else { continue };
        if headers.contains(&name) {
            errors.push(&at.path, format!("\"{}\" is given twice", clean(&name)));
        } else if set.iter().any(|(set, _)| *set == name) {
            errors.push(
                &at.path,
                format!(
                    "\"{}\" is in set_headers too; a header is set or passed, not both",
                    clean(&name)
                ),
            );
        }
        headers.push(name);
    }
    headers
}
