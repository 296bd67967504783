//! From bytes to a [`Policy`], or to every mistake in them.
//!
//! Pure, and total: any bytes at all yield one or the other, in bounded time and depth.

use std::sync::Arc;

use super::access::{Known, aliases, callers, route_models};
use super::catalog::{model_names, models, resolve, tiers};
use super::classify::{Context, steps};
use super::cooldown::rules;
use super::error::{Errors, PolicyErrors};
use super::fingerprint::fingerprint;
use super::names::Names;
use super::proto::decode_struct;
use super::providers::providers;
use super::reader::{At, Fields};
use super::settings::{admit, cache, caller, limits};
use super::timeouts::{DEFAULT_TIMEOUTS, timeouts};
use super::value::{MAX_BYTES, Value};
use super::{Policy, TierName};

const FIELDS: &[&str] = &[
    "version",
    "default_tier",
    "tiers",
    "providers",
    "models",
    "aliases",
    "callers",
    "classify",
    "admit",
    "caller",
    "route_models",
    "timeouts",
    "cache",
    "limits",
    "cooldown",
    "retry_budget",
    "log_reason",
];

// === impl Policy ===

impl Policy {
    /// Reads a policy from a plugin's configuration: JSON text, or a serialized `google.protobuf.Struct`.
    ///
    /// # Errors
    /// Every mistake in the document, each with its path and, where there is one, its repair.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PolicyErrors> {
        let mut errors = Errors::default();
        let value = read(bytes, &mut errors)?;
        let policy = policy(&value, &mut errors);
        errors.into_result()?;
        policy.ok_or_else(|| PolicyErrors::whole("the policy is not a map"))
    }
}

/// Tells JSON text from a `Struct`.
///
/// A `Struct` starts with 0x0a, which is also a newline that JSON may start with, and its second byte is a length, which may be any
/// character. So what looks like JSON and is JSON is JSON, and whatever else starts with 0x0a is a `Struct`.
fn read(bytes: &[u8], errors: &mut Errors) -> Result<Value, PolicyErrors> {
    if bytes.len() > MAX_BYTES {
        return Err(PolicyErrors::whole(format!(
            "the policy is larger than {} MiB",
            MAX_BYTES >> 20
        )));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let trimmed = bytes.trim_ascii_start();
    if trimmed.is_empty() {
        return Err(PolicyErrors::whole(
            "no policy: the plugin's configuration is empty; give it the policy document, as a Struct or as JSON text in a StringValue",
        ));
    }
    let not_json = if !trimmed.starts_with(b"{") {
        PolicyErrors::whole(
            "the policy is neither JSON text that starts with \"{\" nor a Struct; YAML text is not read, so write it as a Struct or as JSON",
        )
    } else if let Ok(text) = std::str::from_utf8(trimmed) {
        match Value::from_json(text, errors) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        }
    } else {
        PolicyErrors::whole("the policy is not valid JSON: it is not UTF-8")
    };
    if !bytes.starts_with(b"\n") {
        return Err(not_json);
    }
    // Mistakes of a text that turned out to be no JSON are not mistakes of the Struct.
    *errors = Errors::default();
    match decode_struct(bytes) {
        Ok(value) => Ok(value),
        Err(_) if trimmed.starts_with(b"{") => Err(not_json),
        Err(error) => Err(PolicyErrors::whole(format!(
            "the policy is neither JSON text nor a valid Struct: {error}"
        ))),
    }
}

/// Goes on with defaults after a mistake, to find the others; what is missing has been reported then.
fn policy(value: &Value, errors: &mut Errors) -> Option<Policy> {
    let fields = At::root(value).fields(FIELDS, errors)?;
    version(&fields, errors);

    let providers_at = fields.required("providers", errors);
    let provider_names = Names::keys("provider", providers_at.as_ref());
    let providers = providers_at
        .map(|at| providers(&at, errors))
        .unwrap_or_default();

    let timeouts = match fields.get("timeouts") {
        Some(at) => timeouts(&at, DEFAULT_TIMEOUTS, errors),
        None => DEFAULT_TIMEOUTS,
    };

    let tiers_at = fields.required("tiers", errors);
    let tier_names = Names::keys("tier", tiers_at.as_ref());
    let tier_drafts = tiers_at
        .map(|at| tiers(&at, (&tier_names, &provider_names), timeouts, errors))
        .unwrap_or_default();
    let models_at = fields.get("models");
    let model_names = model_names(models_at.as_ref(), &tier_drafts);
    let model_drafts = models(models_at.as_ref(), &provider_names, &model_names, errors);
    let (tiers, models) = resolve(tier_drafts, model_drafts, &providers, &tier_names, errors);

    let default_tier = fields
        .required("default_tier", errors)
        .and_then(|at| tier_names.find(&at, errors));

    let known = Known {
        tiers: &tier_names,
        models: &model_names,
    };
    let aliases = aliases(fields.get("aliases"), &known, errors);
    let regions = providers.values().filter_map(|p| p.region.as_deref());
    let regions = Names::new("region", Some(regions.collect()));
    let callers = callers(fields.get("callers"), &known, &regions, errors);
    let route_models = route_models(fields.get("route_models"), &known, &aliases, errors);

    let admit = admit(fields.get("admit"), errors);
    let paths = [admit.paths.as_slice(), &admit.messages_paths].concat();
    let context = Context {
        tiers: &tier_names,
        paths: &paths,
        providers: &providers,
    };
    let steps = steps(fields.get("classify"), &context, errors);

    let mut policy = Policy {
        default_tier: TierName(Arc::from(default_tier.unwrap_or_default())),
        caller: fields.get("caller").and_then(|at| caller(&at, errors)),
        cache: cache(fields.get("cache"), errors),
        limits: limits(fields.get("limits"), errors),
        health: rules(fields.get("cooldown"), fields.get("retry_budget"), errors),
        log_reason: fields.flag("log_reason", errors),
        classify: steps,
        admit,
        callers,
        tiers,
        providers,
        models,
        aliases,
        route_models,
        timeouts,
        smallest_context: u32::MAX,
        fingerprint: 0,
    };
    let contexts = policy.models.values().filter_map(|model| model.context);
    policy.smallest_context = contexts.min().unwrap_or(u32::MAX);
    policy.fingerprint = fingerprint(&policy);
    Some(policy)
}

fn version(fields: &Fields<'_>, errors: &mut Errors) {
    let Some(at) = fields.required("version", errors) else {
        return;
    };
    if *at.value != Value::Number(1.0) {
        let message = match at.value {
            Value::Number(_) => "must be 1, the version that this filter reads".to_owned(),
            other => format!("expected the number 1, found {}", other.kind()),
        };
        errors.push(&at.path, message);
    }
}
