//! Filter state: what the roles, the route and the access log tell each other about one request.
//!
//! Keys here are what `set_property` takes; Envoy, and its configuration, see them under `wasm.`.

/// The plan and the attempts so far: see [`crate::router::handover`].
pub const PLAN: &str = "pointsman.plan";
/// The cluster of the attempt that comes next: the route reads it.
pub const CLUSTER: &str = "pointsman.cluster";
/// Who is calling, cleaned, for the access log; absent if nobody said.
pub const CALLER: &str = "pointsman.caller";
/// `x-request-id`, cleaned, for the access log: the header itself goes to no provider, and is gone when Envoy logs.
pub const REQUEST_ID: &str = "pointsman.request_id";
/// Why, cleaned, for the access log; only where policy says `log_reason`.
pub const REASON: &str = "pointsman.reason";
/// What classifiers in shadow would have decided, for the access log: `local=fast:0.83, llm=balanced`.
pub const SHADOW: &str = "pointsman.shadow";
/// Tokens of the answer, in decimal, for the access log; absent (or `-`, where an attempt before had some)
/// where they are none or not known. Those of the prompt.
pub const INPUT_TOKENS: &str = "pointsman.input_tokens";
pub const OUTPUT_TOKENS: &str = "pointsman.output_tokens";
/// Of the input: read from the provider's prompt cache, and written into it.
pub const CACHED_TOKENS: &str = "pointsman.cached_tokens";
pub const CACHE_WRITE_TOKENS: &str = "pointsman.cache_write_tokens";
/// Of the output: thinking.
pub const REASONING_TOKENS: &str = "pointsman.reasoning_tokens";
/// `1` when the filter itself answers: `local_reply_config` passes such a body untouched.
pub const REPLY: &str = "pointsman.reply";

/// The attempts of a request: how many failed, where the last one went, and how they ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts {
    /// How many were reported.
    pub begun: usize,
    /// The last one's target, by its index in the plan.
    pub target: usize,
    /// The next one's.
    pub next: usize,
    /// In order, as the client is told: `openai=503, anthropic=200`.
    pub outcomes: String,
}
