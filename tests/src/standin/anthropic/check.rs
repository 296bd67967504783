//! Check: what Anthropic's Messages refuses with 400, `invalid_request_error`.
//!
//! Facts are the API reference's (<https://platform.claude.com/docs/en/api/messages>) where no other source is named.
//! The order of the checks is ours; the API names one mistake at a time as well.

use std::collections::HashSet;

use axum::http::HeaderMap;
use serde_json::Value;

use super::super::{is_name, items, unknown};
use super::messages;

/// What is wrong, as the API words it.
#[derive(Debug)]
pub(super) struct Refused(pub String);

pub(super) type Checked = Result<(), Refused>;

/// A request beside its body.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Whose signatures are ours.
    pub name: &'a str,
    pub headers: &'a HeaderMap,
    /// Tokens are to be counted only.
    pub count: bool,
}

/// The API's versions, <https://platform.claude.com/docs/en/api/versioning>. From `2026-10-21` on sampling parameters,
/// documents in assistant messages and citations in user messages are refused:
/// <https://platform.claude.com/docs/en/api/migration-2026-10-21>.
const VERSIONS: [&str; 3] = ["2023-01-01", "2023-06-01", "2026-10-21"];
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

const REQUEST: &str = "cache_control container diagnostics inference_geo max_tokens messages metadata model output_config \
    service_tier speed stop_sequences stream system temperature thinking tool_choice tools top_k top_p";
/// Not for counting tokens.
const ANSWER_ONLY: &str =
    "container diagnostics inference_geo max_tokens metadata service_tier stop_sequences stream";
const TOOL: &str = "allowed_callers cache_control defer_loading description eager_input_streaming input_examples input_schema \
    name strict type";
/// Not in a schema for the output:
/// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>.
const NOT_IN_SCHEMA: &str =
    "exclusiveMaximum exclusiveMinimum maxLength maximum minLength minimum multipleOf";
/// <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>
const MOST_CACHE_MARKS: usize = 4;
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>
const LEAST_BUDGET: u64 = 1024;

pub(super) fn refuse<T>(message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(message.into()))
}

pub(super) fn extra<T>(path: &str) -> Result<T, Refused> {
    refuse(format!("{path}: Extra inputs are not permitted"))
}

/// Whether the request enables thinking.
pub(super) fn thinks(request: &Value) -> bool {
    let kind = request["thinking"]["type"].as_str();
    matches!(kind, Some("enabled" | "adaptive" | "between_tools"))
}

/// Marks for the prompt cache in the whole request.
pub(super) fn cache_marks(request: &Value) -> usize {
    let marked = |value: &&Value| {
        value
            .get("cache_control")
            .is_some_and(|mark| !mark.is_null())
    };
    let messages = items(&request["messages"]).iter();
    let blocks = messages.flat_map(|message| items(&message["content"]));
    let blocks = blocks.flat_map(|block| std::iter::once(block).chain(items(&block["content"])));
    let others = items(&request["system"])
        .iter()
        .chain(items(&request["tools"]));
    blocks.chain(others).chain([request]).filter(marked).count()
}

/// A model's version by its name: `claude-haiku-4-5-20251001` is 4.5. Names that are not Claude's are old.
pub(super) fn version(model: &str) -> (u64, u64) {
    let Some(name) = model.strip_prefix("claude-") else {
        return (0, 0);
    };
    let numbers = name.split('-').filter(|part| part.len() < 3);
    let mut numbers = numbers.filter_map(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

// === impl Call ===

impl Call<'_> {
    pub fn check(&self, request: &Value) -> Checked {
        let version = self.headers.get("anthropic-version");
        let Some(version) = version.and_then(|version| version.to_str().ok()) else {
            return refuse("anthropic-version: header is required");
        };
        if !VERSIONS.contains(&version) {
            return refuse(format!(
                "anthropic-version: \"{version}\" is not a valid version"
            ));
        }
        if !request.is_object() {
            return refuse("Input should be an object");
        }
        // A beta may bring fields that are unknown here.
        if let Some(field) = unknown(request, REQUEST)
            && !self.headers.contains_key("anthropic-beta")
        {
            return extra(field);
        }
        if self.count {
            if let Some(field) = ANSWER_ONLY
                .split(' ')
                .find(|field| request.get(*field).is_some())
            {
                return extra(field);
            }
        } else {
            check_max_tokens(request)?;
        }
        if request["model"].as_str().is_none_or(str::is_empty) {
            return refuse("model: Field required");
        }
        check_sampling(request, version >= "2026-10-21")?;
        check_lists(request)?;
        check_tools(request)?;
        check_thinking(request)?;
        check_output(&request["output_config"])?;
        let marks = cache_marks(request);
        if marks > MOST_CACHE_MARKS {
            return refuse(format!(
                "A maximum of {MOST_CACHE_MARKS} blocks with cache_control may be provided. Found {marks}."
            ));
        }
        check_system(&request["system"])?;
        messages::check(self.name, request, version >= "2026-10-21")
    }
}

// === the request without its messages

fn check_max_tokens(request: &Value) -> Checked {
    match &request["max_tokens"] {
        Value::Null => refuse("max_tokens: Field required"),
        tokens if tokens.as_u64().is_some_and(|tokens| tokens > 0) => Ok(()),
        tokens if tokens.is_i64() => {
            refuse("max_tokens: Input should be greater than or equal to 1")
        }
        _ => refuse("max_tokens: Input should be a valid integer"),
    }
}

/// Refused by the newest version altogether, by models since 4.7 but for the default, beside thinking but for 1.
fn check_sampling(request: &Value, newest: bool) -> Checked {
    let model = version(request["model"].as_str().unwrap_or_default());
    for field in SAMPLING {
        let Some(value) = request.get(field) else {
            continue;
        };
        let is_default = field == "temperature" && value.as_f64() == Some(1.0);
        if newest {
            return extra(field);
        }
        if model >= (4, 7) && !is_default {
            return refuse(format!("`{field}` is deprecated for this model."));
        }
        let Some(number) = value.as_f64() else {
            return refuse(format!("{field}: Input should be a valid number"));
        };
        if field != "top_k" && !(0.0..=1.0).contains(&number) {
            return refuse(format!("{field}: range: 0..1"));
        }
        if thinks(request) {
            match field {
                "temperature" if !is_default => {
                    return refuse("`temperature` may only be set to 1 when thinking is enabled.");
                }
                "top_p" if number < 0.95 => {
                    return refuse(
                        "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.",
                    );
                }
                "top_k" => return refuse("`top_k` must be unset when thinking is enabled."),
                _ => {}
            }
        }
    }
    if request.get("temperature").is_some() && request.get("top_p").is_some() && model >= (4, 5) {
        return refuse(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        );
    }
    Ok(())
}

fn check_lists(request: &Value) -> Checked {
    for stop in items(&request["stop_sequences"]) {
        if stop.as_str().is_none_or(|stop| stop.trim().is_empty()) {
            return refuse("stop_sequences: each stop sequence must contain non-whitespace");
        }
    }
    if let Some(field) = unknown(&request["metadata"], "user_id") {
        return extra(&format!("metadata.{field}"));
    }
    let user = request["metadata"]["user_id"].as_str().unwrap_or_default();
    if user.chars().count() > 256 {
        return refuse("metadata.user_id: String should have at most 256 characters");
    }
    match &request["service_tier"] {
        Value::Null => Ok(()),
        tier if tier == "auto" || tier == "standard_only" => Ok(()),
        _ => refuse("service_tier: Input should be 'auto' or 'standard_only'"),
    }
}

fn check_tools(request: &Value) -> Checked {
    let tools = items(&request["tools"]);
    let mut names = HashSet::new();
    for (i, tool) in tools.iter().enumerate() {
        // Server tools have a type of their own.
        if tool["type"].as_str().is_some_and(|kind| kind != "custom") {
            continue;
        }
        let path = format!("tools.{i}.custom");
        if let Some(field) = unknown(tool, TOOL) {
            return extra(&format!("{path}.{field}"));
        }
        let name = tool["name"].as_str().unwrap_or_default();
        if !is_name(name, 128) {
            return refuse(format!(
                "{path}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            ));
        }
        if !names.insert(name) {
            return refuse("tools: Tool names must be unique.");
        }
        let schema = &tool["input_schema"];
        if schema["type"] != "object" {
            return refuse(format!(
                "{path}.input_schema.type: Input should be 'object'"
            ));
        }
        if ["allOf", "anyOf", "oneOf"]
            .iter()
            .any(|of| schema.get(of).is_some())
        {
            return refuse(format!(
                "{path}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"
            ));
        }
    }
    let choice = &request["tool_choice"];
    if choice.is_null() {
        return Ok(());
    }
    if tools.is_empty() {
        return refuse("tool_choice: tool_choice may only be specified while providing tools");
    }
    let kind = choice["type"].as_str().unwrap_or_default();
    let fields = match kind {
        "auto" | "any" => "disable_parallel_tool_use type",
        "tool" => "disable_parallel_tool_use name type",
        "none" => "type",
        _ => {
            return refuse(
                "tool_choice: Input tag does not match any of the expected tags: 'any', 'auto', 'none', 'tool'",
            );
        }
    };
    if let Some(field) = unknown(choice, fields) {
        return extra(&format!("tool_choice.{kind}.{field}"));
    }
    let name = choice["name"].as_str().unwrap_or_default();
    if kind == "tool" && !names.contains(name) {
        return refuse(format!("Tool '{name}' not found in provided tools"));
    }
    // https://github.com/langchain-ai/langchain-aws/pull/1141: from 4.8 on it may.
    let newer = version(request["model"].as_str().unwrap_or_default()) >= (4, 8);
    if matches!(kind, "any" | "tool") && thinks(request) && !newer {
        return refuse("Thinking may not be enabled when tool_choice forces tool use.");
    }
    Ok(())
}

fn check_thinking(request: &Value) -> Checked {
    let thinking = &request["thinking"];
    if thinking.is_null() {
        return Ok(());
    }
    let kind = thinking["type"].as_str().unwrap_or_default();
    let fields = match kind {
        "enabled" => "budget_tokens display type",
        "adaptive" => "display type",
        "disabled" | "between_tools" => "type",
        _ => return refuse("thinking: Input tag does not match any of the expected tags"),
    };
    if let Some(field) = unknown(thinking, fields) {
        return extra(&format!("thinking.{kind}.{field}"));
    }
    if kind != "enabled" {
        return Ok(());
    }
    // https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking
    if version(request["model"].as_str().unwrap_or_default()) >= (4, 7) {
        return refuse(
            "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\".",
        );
    }
    let Some(budget) = thinking["budget_tokens"].as_u64() else {
        return refuse("thinking.enabled.budget_tokens: Field required");
    };
    if budget < LEAST_BUDGET {
        return refuse(format!(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to {LEAST_BUDGET}"
        ));
    }
    if request["max_tokens"]
        .as_u64()
        .is_some_and(|most| most <= budget)
    {
        return refuse("`max_tokens` must be greater than `thinking.budget_tokens`.");
    }
    Ok(())
}

fn check_output(config: &Value) -> Checked {
    if let Some(field) = unknown(config, "effort format") {
        return extra(&format!("output_config.{field}"));
    }
    match config["effort"].as_str() {
        None | Some("low" | "medium" | "high" | "xhigh" | "max") => {}
        Some(_) => {
            return refuse(
                "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
            );
        }
    }
    let format = &config["format"];
    if format.is_null() {
        return Ok(());
    }
    if let Some(field) = unknown(format, "schema type") {
        return extra(&format!("output_config.format.{field}"));
    }
    if format["type"] != "json_schema" || !format["schema"].is_object() {
        return refuse("output_config.format: Input should be a json_schema with its schema");
    }
    check_schema(&format["schema"])
}

fn check_schema(schema: &Value) -> Checked {
    if schema["type"] == "object" && schema["additionalProperties"].as_bool() != Some(false) {
        return refuse(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        );
    }
    if let Some(name) = NOT_IN_SCHEMA
        .split(' ')
        .find(|name| schema.get(*name).is_some())
    {
        let kind = schema["type"].as_str().unwrap_or_default();
        return refuse(format!(
            "output_config.format.schema: For '{kind}' type, property '{name}' is not supported"
        ));
    }
    for group in ["properties", "$defs", "definitions"] {
        let mut schemas = schema[group].as_object().into_iter().flatten();
        schemas.try_for_each(|(_, schema)| check_schema(schema))?;
    }
    for list in ["anyOf", "allOf"] {
        items(&schema[list]).iter().try_for_each(check_schema)?;
    }
    match schema.get("items") {
        Some(items) => check_schema(items),
        None => Ok(()),
    }
}

fn check_system(system: &Value) -> Checked {
    for (i, block) in items(system).iter().enumerate() {
        if block["type"] != "text" {
            return refuse(format!("system.{i}.type: Input should be 'text'"));
        }
        if let Some(field) = unknown(block, "cache_control citations text type") {
            return extra(&format!("system.{i}.{field}"));
        }
        messages::check_text(block)?;
    }
    Ok(())
}
