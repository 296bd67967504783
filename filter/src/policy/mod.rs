//! The policy: the one document that an operator edits to change routing.
//!
//! Pure. A [`Policy`] only exists validated: every name in it that refers to another was found.

mod access;
mod catalog;
mod classify;
mod cooldown;
mod degrade;
mod error;
mod fingerprint;
mod names;
mod nearest;
mod parse;
mod proto;
mod providers;
mod reader;
mod settings;
mod text;
mod timeouts;
mod units;
mod value;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use error::clean;
pub use error::{MAX_ERRORS, PolicyError, PolicyErrors, field_path, item_path};
pub use nearest::{nearest, nearest_n};

use crate::chat::request::Cut;
use crate::classify::local;
pub use crate::health::{Cooldown, RetryBudget, Rules};
pub use crate::provider::translate::Unsupported;

/// The `model` that asks for a decision; no tier, model or alias has this name.
pub const AUTO: &str = "auto";

/// A tier's name, one of the policy's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TierName(pub Arc<str>);

impl std::fmt::Display for TierName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A validated policy document.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Where requests go that nothing else decided.
    pub default_tier: TierName,
    pub admit: Admit,
    /// Where the caller's name is read; `None`: every caller is `anonymous`.
    pub caller: Option<CallerSource>,
    /// What a named caller may use. A caller without an entry falls under `*`, and without that is not limited.
    pub callers: BTreeMap<String, CallerLimits>,
    /// In the document's order (a `Struct` has none: by name).
    pub tiers: Vec<Tier>,
    pub providers: BTreeMap<Arc<str>, Arc<Provider>>,
    /// The registry, and every model that a tier's target names without an entry in the registry.
    pub models: BTreeMap<Arc<str>, Model>,
    /// Another name for a tier or a model of the registry.
    pub aliases: BTreeMap<String, AliasTarget>,
    pub route_models: RouteModels,
    pub timeouts: Timeouts,
    /// `classify:` in order, the first that is sure enough decides. At most one of each kind.
    pub classify: Vec<Step>,
    pub cache: Cache,
    pub limits: Limits,
    /// `cooldown:` and `retry_budget:`
    pub health: Rules,
    /// `log_reason:` put the classifier's reason, which may quote the prompt, into the access log. Default false.
    pub log_reason: bool,
    /// Tokens that the model reads that reads fewest, of those of which it is known.
    pub smallest_context: u32,
    /// A hash of everything here that can change the LLM classifier's decision: tiers' names and descriptions,
    /// `default_tier`, `llm` (but its timeout and its load), `callers`. Not of targets or providers.
    /// FNV-1a over 64 bits, the same in every worker and on every platform.
    pub fingerprint: u64,
}

// === impl Policy ===

impl Policy {
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.iter().find(|tier| &*tier.name.0 == name)
    }

    pub fn llm(&self) -> Option<&LlmClassifier> {
        self.classify.iter().find_map(|step| match &step.kind {
            StepKind::Llm(llm) => Some(llm),
            _ => None,
        })
    }

    pub fn local(&self) -> Option<&LocalClassifier> {
        self.classify.iter().find_map(|step| match &step.kind {
            StepKind::Local(local) => Some(local),
            _ => None,
        })
    }

    /// What its classifiers read of a conversation in a body of this length; and whether that may be more tokens than some
    /// model reads: a token has a byte at least.
    pub fn cut(&self, body_len: usize) -> Cut {
        let local = self.local().map_or(Cut::default(), |_| local::READ);
        let llm = self.llm().map_or(Cut::default(), |llm| Cut {
            system: llm.max_system_chars,
            user: llm.max_user_chars,
            ..Cut::default()
        });
        Cut {
            system: local.system.max(llm.system),
            user: local.user.max(llm.user),
            is_weighed: u32::try_from(body_len).unwrap_or(u32::MAX) >= self.smallest_context,
            ..local
        }
    }

    /// What `caller` may use: its own entry, else that of `*`; `None`: everything.
    pub fn limits_of(&self, caller: &str) -> Option<&CallerLimits> {
        self.callers.get(caller).or_else(|| self.callers.get("*"))
    }
}

/// `admit:` which requests are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admit {
    /// `POST` of a chat completion on one of these exact paths is routed. Default: `[/v1/chat/completions]`.
    pub paths: Vec<String>,
    /// `POST` of an Anthropic Messages request on one of these exact paths is routed, and on the same path with
    /// `/count_tokens` behind it passed on. Default: `[/v1/messages]`; may be empty.
    pub messages_paths: Vec<String>,
    /// `GET` on this path lists models. Default: `/v1/models`.
    pub models_path: String,
    /// Bytes of request body; a larger one is answered 413. Default: 4 MiB. At most 32 MiB.
    pub max_body: usize,
}

/// `caller:` a source that Envoy's authentication overwrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerSource {
    /// `{header: name}`. Lower case; never under `x-pointsman-` or `x-envoy-`.
    Header(String),
    /// `{metadata: [namespace, key, …]}`: dynamic metadata, such as `jwt_authn`'s payload.
    Metadata(Vec<String>),
}

/// `callers.<name>:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerLimits {
    /// Required, not empty. The first is this caller's default if the policy's default is not among them.
    pub tiers: Vec<TierName>,
    /// Models that it may pin. Absent: those that are targets of its tiers.
    pub models: Option<Vec<Arc<str>>>,
    /// Where its requests may go: to providers of these regions, and to no provider without one. Absent: anywhere.
    pub regions: Option<Vec<Arc<str>>>,
    /// The versions of models that it may get, by their names at the provider: exact, or a prefix followed by `*`.
    /// Absent: any.
    pub versions: Option<Vec<String>>,
    /// `order_providers:` its requests may name the providers that are tried first, in `X-LLM-Providers: vertex, anthropic`.
    /// Default false, as for a caller without an entry where there is no `*`.
    pub order_providers: bool,
}

#[derive(Debug, Clone)]
pub struct Tier {
    pub name: TierName,
    /// For the LLM classifier, and for people.
    pub description: String,
    /// In order of preference; 1 to 8.
    pub targets: Vec<Target>,
    pub order: Order,
    /// Overrides the policy's.
    pub timeouts: Option<Timeouts>,
    pub degrade: Option<Degrade>,
}

/// `tiers.<name>.order:` which of a tier's targets is tried first. The others follow as fallbacks, whatever the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// `priority`: the first.
    #[default]
    Priority,
    /// `weighted`: each as often as its weight says, and the fallbacks behind it alike.
    Weighted(Sticky),
}

/// `tiers.<name>.sticky:` what keeps its order while the weights stay, so that the provider's prompt cache stays warm. A weight
/// that changes moves no more than it must. Of `order: weighted` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sticky {
    /// `conversation`: its turns, and all of an agent's loop. Two callers' same conversation is two.
    #[default]
    Conversation,
    /// `caller`: all that it asks. Of callers that nobody named it is each conversation: they would all be one.
    Caller,
    /// `none`: each request is drawn anew.
    None,
}

/// A model at a provider.
#[derive(Debug, Clone)]
pub struct Target {
    pub provider: Arc<Provider>,
    /// The model's name in the policy, shown to the client.
    pub model: Arc<str>,
    /// The model's name at this provider (a deployment, say). Often the same.
    pub sent_as: Arc<str>,
    /// `weight:` in a tier of `order: weighted`, and required there: its share of what all its tier's weights add up to, which may
    /// be 100. 0 to 1,000,000, not all 0; one of 0 is only a fallback, behind all others. Elsewhere 0.
    pub weight: u32,
}

// === impl Target ===

impl Target {
    /// Whether a request goes to the same place: the same model of the same provider.
    pub fn is_same(&self, other: &Target) -> bool {
        Arc::ptr_eq(&self.provider, &other.provider) && self.sent_as == other.sent_as
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub name: Arc<str>,
    /// Envoy's cluster.
    pub cluster: Arc<str>,
    pub api: Api,
    /// The `:authority` sent. Default: the cluster's name.
    pub host: String,
    /// Path and query sent; `{model}` stands for the model's name at the provider. Default: [`Api::default_path`].
    pub path: String,
    /// `unsupported:` what becomes of parameters that this provider's format has no counterpart for. Default: `drop`.
    pub unsupported: Unsupported,
    /// `prompt_cache:` mark long stable prefixes for the provider's prompt cache (`api: anthropic`). Default: false.
    pub prompt_cache: bool,
    /// `stream_usage:` ask for the tokens of a stream (`stream_options.include_usage`, `api: openai`). Default: true.
    pub stream_usage: bool,
    /// Set on every request to this provider. Lower-case names.
    pub set_headers: Vec<(String, String)>,
    /// Client headers that may pass, beside the base allowlist. Lower-case names.
    pub pass_headers: Vec<String>,
    /// `region:` where it keeps what it is sent, in the operator's words; `callers.<name>.regions` names it.
    pub region: Option<Arc<str>>,
}

/// `api:` the wire format that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// OpenAI's chat completions, and what is compatible with them.
    #[serde(rename = "openai")]
    OpenAi,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's generateContent, of the Gemini API and of Vertex AI.
    Gemini,
}

// === impl Api ===

impl Api {
    /// Where a provider of this format serves, if its policy does not say.
    pub fn default_path(self) -> &'static str {
        match self {
            Api::OpenAi => "/v1/chat/completions",
            Api::Anthropic => "/v1/messages",
            Api::Gemini => "/v1beta/models/{model}",
        }
    }
}

/// `models.<name>:` a model of the registry.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: Arc<str>,
    /// Where it is served. Without `targets:` in the document: every provider that a tier pairs with this name.
    pub targets: Vec<Target>,
    /// Models to try when this one's own targets failed, in order.
    pub fallback: Vec<Arc<str>>,
    /// Tokens.
    pub context: Option<u32>,
    /// Tokens of the longest answer; asked for where a client sets no limit and the provider's format wants one.
    pub max_output: Option<u32>,
    pub input: Vec<String>,
    pub tools: Option<bool>,
    pub json_schema: Option<bool>,
    /// US dollars per million tokens.
    pub price: Option<Price>,
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    pub input: f64,
    pub output: f64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasTarget {
    Tier(TierName),
    Model(Arc<str>),
}

/// `route_models:` names that are not pinned but routed, as `auto` always is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteModels {
    /// Exact names, or a prefix followed by `*`. A tier, model or alias of the same name wins.
    pub names: Vec<String>,
    /// Route every name that is not known, instead of answering 404.
    pub unknown: bool,
}

/// `timeouts:` how long a request may go without an answer: a stream without its first real event (the time to first token), a
/// one-shot answer until it is whole. What was released is cut by none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// One attempt of a stream. Default 15 s.
    pub first_token: Duration,
    /// One attempt of a one-shot answer. Default 120 s.
    pub one_shot: Duration,
    /// All attempts of a stream together. Never less than one attempt's; default: three times that.
    pub first_token_total: Duration,
    /// All attempts of a one-shot answer together; as above.
    pub one_shot_total: Duration,
}

/// `tiers.<name>.degrade:` what a request gets when everybody whom the tier names has failed it. Default: the last error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Degrade {
    /// `{tier: name}`: that tier's targets are tried too, if the caller may use it. What it degrades to itself is not asked.
    Tier(TierName),
    /// `{answer: text}`: these words, as if a model had said them. 1 to 2000 characters.
    Answer(Arc<str>),
}

/// `classify[]`
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub kind: StepKind,
    /// `shadow: true`: it decides nothing, and what it would have decided is counted and logged. Default false.
    pub shadow: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// First match wins.
    Rules(Vec<Rule>),
    Local(LocalClassifier),
    Llm(LlmClassifier),
}

/// `classify[].local:` the model inside the filter.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalClassifier {
    /// `model:` a model file of `pointsman train`, in Base64. Default: the one that the filter comes with.
    pub model: Arc<local::model::Model>,
    /// The tiers that it tells apart, the weakest first.
    pub tiers: Vec<LocalTier>,
    /// How much worse too weak a tier is than too strong a one. Default 1.25, from 1 to 100.
    pub under_routing_cost: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LocalTier {
    pub tier: TierName,
    /// Those of the model's labels that stand for it; `tiers: {label: tier}` says which, else those of its name.
    pub labels: Vec<usize>,
    /// `min_confidence:` for all, or by tier. Default 0.7.
    pub min_confidence: f32,
}

/// `classify[].rules[]`: every condition given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub when: When,
    pub tier: TierName,
}

/// At least one is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// `{name, value}`; without `value` the header only has to be there. Lower-case name.
    pub header: Option<(String, Option<String>)>,
    /// The exact request path, query left out; one of `admit.paths` and `admit.messages_paths`.
    pub path: Option<String>,
    pub caller: Option<String>,
    pub model_prefix: Option<String>,
}

/// `classify[].llm:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LlmClassifier {
    /// Never a provider's cluster: a callout into the filter's own VM kills it.
    pub cluster: String,
    pub model: String,
    /// Default 800 ms.
    pub timeout: Duration,
    /// Default: the cluster's name.
    pub host: String,
    /// Default `/v1/chat/completions`.
    pub path: String,
    /// Characters of the system prompt shown. Default 500, at most 20,000.
    pub max_system_chars: usize,
    /// Characters of the latest user message shown. Default 500, at most 20,000.
    pub max_user_chars: usize,
    /// Default 120.
    pub max_tokens: u32,
    /// Callouts at a time and worker; beyond it the default tier. Default 256.
    pub max_in_flight: usize,
}

/// `cache:` decisions of the classifier, per worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Default 1 MiB; 0 turns it off. At most 64 MiB.
    pub max_bytes: usize,
    /// Default 10 minutes.
    pub ttl: Duration,
    /// One caller's decisions serve another's same question. Default false.
    pub share_between_callers: bool,
}

/// `limits:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a one-shot answer held until whole; beyond it the answer is released unjudged. Default 4 MiB, at most 32 MiB.
    pub hold_answer: usize,
}
