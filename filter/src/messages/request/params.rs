//! Params: the parameters beside the conversation, each as OpenAI's counterpart.
//!
//! After <https://docs.claude.com/en/api/messages>, and on tools, thinking, effort and schemas
//! <https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview>,
//! <https://docs.claude.com/en/docs/build-with-claude/extended-thinking>,
//! <https://docs.claude.com/en/docs/build-with-claude/effort>,
//! <https://docs.claude.com/en/docs/build-with-claude/structured-outputs>.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::read::{
    Field, Path, any_object, each, flag, object, optional_text, required, required_text, text,
    whole_number,
};
use super::schema::is_strict;
use super::write::{Chat, Losses, NO_COUNTERPART};
use crate::chat::error::ErrorReply;

/// Read by Gemini's translation, and by nobody else.
const TOP_K: &str = "pointsman.top_k";
/// What a schema that strict mode does not take is told under `unsupported: refuse`.
const NOT_STRICT: &str = "is a schema that the chosen target cannot be held to; require every property, set \
     additionalProperties to false, and leave out what OpenAI's strict mode does not take";
/// OpenAI wants a name for the schema of an answer; Anthropic has none.
const SCHEMA_NAME: &str = "output";

/// Tools that Anthropic runs itself or that only its models are taught: their types begin so, and a date follows.
const ANTHROPIC_TOOLS: [(&str, &str); 11] = [
    ("web_search_", "tools.web_search"),
    ("web_fetch_", "tools.web_fetch"),
    ("bash_", "tools.bash"),
    ("text_editor_", "tools.text_editor"),
    ("computer_", "tools.computer"),
    ("browser_", "tools.browser"),
    ("code_execution_", "tools.code_execution"),
    ("memory_", "tools.memory"),
    ("tool_search_", "tools.tool_search"),
    ("advisor_", "tools.advisor"),
    ("mcp_toolset", "tools.mcp_toolset"),
];

/// What to call.
pub(super) enum Choice<'a> {
    Auto,
    None,
    Any,
    Tool(Cow<'a, str>),
}

#[derive(Serialize)]
pub(super) struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    parameters: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ToolChoice<'a> {
    Mode(&'static str),
    Named {
        #[serde(rename = "type")]
        kind: &'static str,
        function: Name<'a>,
    },
}

#[derive(Serialize)]
pub(super) struct Name<'a> {
    name: &'a str,
}

#[derive(Serialize)]
pub(super) struct ResponseFormat<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    json_schema: JsonSchema<'a>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'static str,
    strict: bool,
    schema: &'a RawValue,
}

/// `output_config`.
#[derive(Default, Deserialize)]
pub(super) struct OutputConfig<'a> {
    #[serde(borrow)]
    effort: Field<'a>,
    #[serde(borrow)]
    pub(super) format: Field<'a>,
    #[serde(borrow)]
    task_budget: Field<'a>,
}

#[derive(Deserialize)]
struct RawTool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Field<'a>,
    #[serde(borrow)]
    name: Field<'a>,
    #[serde(borrow)]
    description: Field<'a>,
    #[serde(borrow)]
    input_schema: Field<'a>,
    #[serde(borrow)]
    strict: Field<'a>,
    #[serde(borrow)]
    input_examples: Field<'a>,
}

#[derive(Deserialize)]
struct RawChoice<'a> {
    #[serde(borrow, rename = "type")]
    kind: Field<'a>,
    #[serde(borrow)]
    name: Field<'a>,
    #[serde(borrow)]
    disable_parallel_tool_use: Field<'a>,
}

#[derive(Deserialize)]
struct Thinking<'a> {
    #[serde(borrow, rename = "type")]
    kind: Field<'a>,
    #[serde(borrow)]
    budget_tokens: Field<'a>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow, rename = "type")]
    kind: Field<'a>,
    #[serde(borrow)]
    schema: Field<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    user_id: Field<'a>,
}

/// Zero says that there is no limit, which is so anyway.
pub(super) fn top_k(raw: &RawValue, path: Path<'_>, chat: &mut Chat) -> Result<(), ErrorReply> {
    if !chat.takes.top_k {
        return chat.losses.lose("top_k", path, NO_COUNTERPART);
    }
    if whole_number(raw, path)? > 0 {
        chat.field(TOP_K, raw);
    }
    Ok(())
}

/// At most as many as the target takes; more are lost.
pub(super) fn stop<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
    chat: &mut Chat,
) -> Result<Vec<Cow<'a, str>>, ErrorReply> {
    let most = chat.takes.stop_sequences;
    let mut stop = Vec::new();
    let count = each(raw, path, |raw, path| {
        let sequence = text(raw, path)?;
        if stop.len() < most {
            stop.push(sequence);
        }
        Ok(())
    })?;
    if count > most {
        let words =
            format!("has more than the {most} entries that the chosen target takes; send fewer");
        chat.losses.lose("stop_sequences", path, &words)?;
    }
    Ok(stop)
}

pub(super) fn user<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
    chat: &mut Chat,
) -> Result<Option<Cow<'a, str>>, ErrorReply> {
    let most = chat.takes.user;
    let metadata: Metadata<'_> = object(raw, path)?;
    let path = path.key("user_id");
    let user = optional_text(metadata.user_id, path)?;
    if user
        .as_deref()
        .is_some_and(|user| user.chars().nth(most).is_some())
    {
        let words =
            format!("has more than the {most} characters that the chosen target takes; send fewer");
        chat.losses.lose("metadata.user_id", path, &words)?;
        return Ok(None);
    }
    Ok(user)
}

// === tools ===

/// The client's own tools, and whether `wanted` is among them. The others are lost: agents list them out of habit.
///
/// Left out silently: `cache_control` and `eager_input_streaming`, which are hints; `defer_loading` and
/// `allowed_callers`, since without Anthropic's tools every tool is loaded, and called directly.
pub(super) fn tools<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
    wanted: Option<&str>,
    chat: &mut Chat,
) -> Result<(Vec<Tool<'a>>, bool), ErrorReply> {
    let mut tools = Vec::new();
    let mut found = false;
    each(raw, path, |raw, path| {
        let tool: RawTool<'_> = object(raw, path)?;
        let kind = optional_text(tool.kind, path.key("type"))?;
        match kind.as_deref() {
            None | Some("custom") => {
                let function = tool.function(path, chat)?;
                found |= wanted == Some(function.name.as_ref());
                tools.push(Tool {
                    kind: "function",
                    function,
                });
                Ok(())
            }
            Some(kind) => chat.losses.lose(anthropic_tool(kind), path, NO_COUNTERPART),
        }
    })?;
    Ok((tools, found))
}

fn anthropic_tool(kind: &str) -> &'static str {
    ANTHROPIC_TOOLS
        .iter()
        .find(|(start, _)| kind.starts_with(start))
        .map_or("tools", |(_, name)| name)
}

impl<'a> RawTool<'a> {
    fn function(self, path: Path<'_>, chat: &mut Chat) -> Result<Function<'a>, ErrorReply> {
        let schema = path.key("input_schema");
        let parameters = any_object(required(self.input_schema, schema)?, schema)?;
        let mut strict = self
            .strict
            .map(|_| flag(self.strict, path.key("strict")))
            .transpose()?;
        if strict == Some(true) && !chat.takes.any_schema && !is_strict(parameters) {
            chat.losses.lose("tools.strict", schema, NOT_STRICT)?;
            strict = Some(false);
        }
        if self.input_examples.is_some() {
            let path = path.key("input_examples");
            chat.losses
                .lose("tools.input_examples", path, NO_COUNTERPART)?;
        }
        Ok(Function {
            name: required_text(self.name, path.key("name"))?,
            description: optional_text(self.description, path.key("description"))?,
            parameters,
            strict,
        })
    }
}

/// And whether at most one tool may be called at a time.
pub(super) fn choice<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
) -> Result<(Choice<'a>, bool), ErrorReply> {
    let choice: RawChoice<'_> = object(raw, path)?;
    let kind = path.key("type");
    let one = path.key("disable_parallel_tool_use");
    let one = flag(choice.disable_parallel_tool_use, one)?;
    let choice = match required_text(choice.kind, kind)?.as_ref() {
        "auto" => Choice::Auto,
        "none" => Choice::None,
        "any" => Choice::Any,
        "tool" => Choice::Tool(required_text(choice.name, path.key("name"))?),
        _ => return Err(kind.fault("invalid_value", "must be auto, any, tool or none")),
    };
    Ok((choice, one))
}

// === thinking and output ===

/// How much to think, in OpenAI's words, and the field that says so.
///
/// The client's own effort comes before a budget, which only bounds it. `xhigh` and `max` are `high`: of the servers
/// that take an effort at all, few take more. A budget becomes the effort that is given that budget on the way from
/// OpenAI to Anthropic. `adaptive` without an effort leaves it to the target. Thinking that is off stays off, whatever
/// the effort.
pub(super) fn effort(
    thinking: Field<'_>,
    config: &OutputConfig<'_>,
    losses: &mut Losses,
) -> Result<Option<(&'static str, &'static str)>, ErrorReply> {
    let path = Path::top("output_config");
    if config.task_budget.is_some() {
        let path = path.key("task_budget");
        losses.lose("output_config.task_budget", path, NO_COUNTERPART)?;
    }
    let path = path.key("effort");
    let effort = match optional_text(config.effort, path)?.as_deref() {
        None => None,
        Some("low") => Some("low"),
        Some("medium") => Some("medium"),
        Some("high" | "xhigh" | "max") => Some("high"),
        Some(_) => {
            let words = "must be low, medium, high, xhigh or max";
            return Err(path.fault("invalid_value", words));
        }
    };
    let effort = effort.map(|effort| (effort, "output_config.effort"));
    let Some(raw) = thinking else {
        return Ok(effort);
    };
    let path = Path::top("thinking");
    let thinking: Thinking<'_> = object(raw, path)?;
    match required_text(thinking.kind, path.key("type"))?.as_ref() {
        "disabled" => Ok(Some(("none", "thinking"))),
        "adaptive" => Ok(effort),
        "enabled" => {
            let path = path.key("budget_tokens");
            let budget = whole_number(required(thinking.budget_tokens, path)?, path)?;
            Ok(effort.or(Some((effort_of(budget), "thinking"))))
        }
        _ => {
            losses.lose("thinking", path, NO_COUNTERPART)?;
            Ok(effort)
        }
    }
}

fn effort_of(budget: u64) -> &'static str {
    match budget {
        0..=2048 => "low",
        2049..=8192 => "medium",
        _ => "high",
    }
}

/// Anthropic holds every answer to its schema, so that strict is what says the same. But of the schemas that it takes OpenAI
/// refuses some in strict mode, such as those with a property that is not required. These go without: the model is asked
/// to keep to them, and mostly does. They are not changed to fit: the client could not read the answer. That nobody is
/// held to the schema is told as `name`, since the client relies on it.
pub(super) fn response_format<'a>(
    raw: &'a RawValue,
    path: Path<'_>,
    name: &'static str,
    chat: &mut Chat,
) -> Result<ResponseFormat<'a>, ErrorReply> {
    let format: Format<'_> = object(raw, path)?;
    let kind = path.key("type");
    if required_text(format.kind, kind)? != "json_schema" {
        return Err(kind.fault("invalid_value", "must be json_schema"));
    }
    let path = path.key("schema");
    let schema = any_object(required(format.schema, path)?, path)?;
    let strict = chat.takes.any_schema || is_strict(schema);
    if !strict {
        chat.losses.lose(name, path, NOT_STRICT)?;
    }
    Ok(ResponseFormat {
        kind: "json_schema",
        json_schema: JsonSchema {
            name: SCHEMA_NAME,
            strict,
            schema,
        },
    })
}

// === impl Choice ===

impl Choice<'_> {
    /// The one tool that must be called.
    pub(super) fn wanted(&self) -> Option<&str> {
        match self {
            Choice::Tool(name) => Some(name),
            Choice::Auto | Choice::None | Choice::Any => None,
        }
    }

    pub(super) fn must_call(&self) -> bool {
        matches!(self, Choice::Any | Choice::Tool(_))
    }

    pub(super) fn as_openai(&self) -> ToolChoice<'_> {
        ToolChoice::Mode(match self {
            Choice::Auto => "auto",
            Choice::None => "none",
            Choice::Any => "required",
            Choice::Tool(name) => {
                return ToolChoice::Named {
                    kind: "function",
                    function: Name { name },
                };
            }
        })
    }
}
