//! Tools: function definitions and the choice between them.
//!
//! Schemas are copied as they came. <https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools>

use std::borrow::Cow;

use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use super::block::Mark;
use super::fault::{Losses, Path, Read, bad, wrong_type};
use super::read::{Body, boolean, list, object, text, word};
use super::rules::Rules;

#[derive(Debug, Serialize)]
pub(super) struct Tool<'a> {
    pub(super) name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    input_schema: Schema<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<Mark>,
}

/// The API wants a schema whose type is `object`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Schema<'a> {
    AsSent(&'a RawValue),
    /// As sent, behind a `type` that was missing.
    Typed(Box<RawValue>),
    Empty(EmptySchema),
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "type", rename = "object")]
struct EmptySchema {
    properties: NoProperties,
}

#[derive(Debug, Default, Serialize)]
struct NoProperties {}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Choice<'a> {
    Auto {
        #[serde(skip_serializing_if = "is_false")]
        disable_parallel_tool_use: bool,
    },
    Any {
        #[serde(skip_serializing_if = "is_false")]
        disable_parallel_tool_use: bool,
    },
    Tool {
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "is_false")]
        disable_parallel_tool_use: bool,
    },
    None,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What a client asked for, before its other fields are known.
enum Wish<'a> {
    Auto,
    Required,
    Named(Cow<'a, str>),
    None,
}

#[derive(Deserialize)]
struct Definition<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    strict: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChoiceFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<&'a RawValue>,
    #[serde(borrow)]
    allowed_tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Allowed<'a> {
    #[serde(borrow)]
    mode: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
}

/// Tools, and which of them to call. Without tools there is no choice.
pub(super) fn read_tools<'a>(
    body: &Body<'a>,
    rules: &Rules,
    losses: &mut Losses,
) -> Read<(Vec<Tool<'a>>, Option<Choice<'a>>)> {
    let mut tools = Vec::new();
    if let Some(raw) = body.get("tools") {
        let at = Path::top("tools");
        for (i, raw) in list(raw, &at)?.into_iter().enumerate() {
            tools.extend(definition(raw, &at.index(i), rules, losses)?);
        }
    }
    if let Some(raw) = body.get("functions") {
        let at = Path::top("functions");
        for (i, raw) in list(raw, &at)?.into_iter().enumerate() {
            tools.push(function(raw, &at.index(i), rules)?);
        }
    }
    let wish = wish(body, &mut tools, losses)?;
    let disable_parallel_tool_use = match body.get("parallel_tool_calls") {
        Some(raw) => !boolean(raw, &Path::top("parallel_tool_calls"))?,
        None => false,
    };
    let choice = match wish {
        _ if tools.is_empty() => None,
        None if !disable_parallel_tool_use => None,
        None | Some(Wish::Auto) => Some(Choice::Auto {
            disable_parallel_tool_use,
        }),
        Some(Wish::None) => Some(Choice::None),
        Some(Wish::Required | Wish::Named(_)) if !rules.forced_tools => {
            let at = Path::top("tool_choice");
            let words = "forces a call, which this model does not take; use auto";
            losses.lose("tool_choice", &at, words)?;
            Some(Choice::Auto {
                disable_parallel_tool_use,
            })
        }
        Some(Wish::Required) => Some(Choice::Any {
            disable_parallel_tool_use,
        }),
        Some(Wish::Named(name)) => Some(Choice::Tool {
            name,
            disable_parallel_tool_use,
        }),
    };
    Ok((tools, choice))
}

fn definition<'a>(
    raw: &'a RawValue,
    at: &Path<'_>,
    rules: &Rules,
    losses: &mut Losses,
) -> Read<Option<Tool<'a>>> {
    let definition: Definition<'a> = object(raw, at)?;
    let kind = word(definition.kind, &at.field("type"))?;
    if kind != "function" {
        let words = "is no function, and this provider takes no other tool; leave it out";
        losses.lose("tools", at, words)?;
        return Ok(None);
    }
    let at = at.field("function");
    let raw = definition
        .function
        .ok_or_else(|| wrong_type(&at, "is missing"))?;
    function(raw, &at, rules).map(Some)
}

fn function<'a>(raw: &'a RawValue, at: &Path<'_>, rules: &Rules) -> Read<Tool<'a>> {
    let function: Function<'a> = object(raw, at)?;
    let description = match function.description {
        Some(raw) => Some(text(raw, &at.field("description"))?).filter(|text| !text.is_empty()),
        None => None,
    };
    let strict = match function.strict {
        Some(raw) => Some(boolean(raw, &at.field("strict"))?).filter(|_| rules.structured),
        None => None,
    };
    Ok(Tool {
        name: word(function.name, &at.field("name"))?,
        description,
        input_schema: schema(function.parameters, &at.field("parameters"))?,
        strict,
        cache_control: None,
    })
}

fn schema<'a>(raw: Option<&'a RawValue>, at: &Path<'_>) -> Read<Schema<'a>> {
    let Some(raw) = raw else {
        return Ok(Schema::Empty(EmptySchema::default()));
    };
    let typed: Typed<'a> = object(raw, at)?;
    if typed.kind.is_some() {
        return Ok(Schema::AsSent(raw));
    }
    let fields = raw.get().strip_prefix('{').unwrap_or_default().trim_start();
    if fields == "}" {
        return Ok(Schema::Empty(EmptySchema::default()));
    }
    RawValue::from_string(format!("{{\"type\":\"object\",{fields}"))
        .map(Schema::Typed)
        .map_err(|_| wrong_type(at, "must be a JSON schema"))
}

/// Reads `tool_choice`, or the legacy `function_call`. Allowed tools have no counterpart but the tools themselves: the
/// others are taken out of `tools`.
fn wish<'a>(
    body: &Body<'a>,
    tools: &mut Vec<Tool<'a>>,
    losses: &mut Losses,
) -> Read<Option<Wish<'a>>> {
    let (raw, at) = match (body.get("tool_choice"), body.get("function_call")) {
        (Some(raw), _) => (raw, Path::top("tool_choice")),
        (None, Some(raw)) => return function_wish(raw, tools).map(Some),
        (None, None) => return Ok(None),
    };
    if raw.get().starts_with('"') {
        return mode(raw, &at, tools).map(Some);
    }
    let choice: ChoiceFields<'a> = object(raw, &at)?;
    let kind = word(choice.kind, &at.field("type"))?;
    match kind.as_ref() {
        "function" => {
            let at = at.field("function");
            let raw = choice
                .function
                .ok_or_else(|| wrong_type(&at, "is missing"))?;
            named(raw, &at, tools).map(Some)
        }
        "allowed_tools" => {
            let at = at.field("allowed_tools");
            let raw = choice
                .allowed_tools
                .ok_or_else(|| wrong_type(&at, "is missing"))?;
            allowed(raw, &at, tools).map(Some)
        }
        _ => {
            let words = "names no function, and this provider takes no other tool; leave it out";
            losses.lose("tool_choice", &at, words)?;
            Ok(None)
        }
    }
}

fn function_wish<'a>(raw: &'a RawValue, tools: &[Tool<'a>]) -> Read<Wish<'a>> {
    let at = Path::top("function_call");
    if raw.get().starts_with('"') {
        return mode(raw, &at, tools);
    }
    named(raw, &at, tools)
}

fn mode<'a>(raw: &'a RawValue, at: &Path<'_>, tools: &[Tool<'a>]) -> Read<Wish<'a>> {
    match text(raw, at)?.as_ref() {
        "auto" => Ok(Wish::Auto),
        "none" => Ok(Wish::None),
        "required" if tools.is_empty() => {
            let words = "requires a call of a function, but none is defined; define it in tools";
            Err(bad("invalid_value", at, words))
        }
        "required" => Ok(Wish::Required),
        _ => {
            let words = "must be none, auto, required or the name of a function in an object";
            Err(bad("invalid_value", at, words))
        }
    }
}

fn named<'a>(raw: &'a RawValue, at: &Path<'_>, tools: &[Tool<'a>]) -> Read<Wish<'a>> {
    let function: Function<'a> = object(raw, at)?;
    let at = at.field("name");
    let name = word(function.name, &at)?;
    if !tools.iter().any(|tool| tool.name == name) {
        let words = "names no function that is defined in tools";
        return Err(bad("invalid_value", &at, words));
    }
    Ok(Wish::Named(name))
}

fn allowed<'a>(raw: &'a RawValue, at: &Path<'_>, tools: &mut Vec<Tool<'a>>) -> Read<Wish<'a>> {
    let allowed: Allowed<'a> = object(raw, at)?;
    let names_at = at.field("tools");
    let raw = allowed
        .tools
        .ok_or_else(|| wrong_type(&names_at, "is missing"))?;
    let mut names = std::collections::BTreeSet::new();
    for (i, raw) in list(raw, &names_at)?.into_iter().enumerate() {
        let at = names_at.index(i);
        let definition: Definition<'a> = object(raw, &at)?;
        if let Some(raw) = definition.function {
            let at = at.field("function");
            let function: Function<'a> = object(raw, &at)?;
            names.insert(word(function.name, &at.field("name"))?);
        }
    }
    tools.retain(|tool| names.contains(&tool.name));
    if tools.is_empty() {
        let words = "names no function that is defined in tools";
        return Err(bad("invalid_value", &names_at, words));
    }
    let at = at.field("mode");
    match word(allowed.mode, &at)?.as_ref() {
        "auto" => Ok(Wish::Auto),
        "required" => Ok(Wish::Required),
        _ => Err(bad("invalid_value", &at, "must be auto or required")),
    }
}

// === impl Tool ===

impl Tool<'_> {
    /// Bytes of what a model reads of it.
    pub(super) fn len(&self) -> usize {
        let schema = match &self.input_schema {
            Schema::AsSent(schema) => schema.get().len(),
            Schema::Typed(schema) => schema.get().len(),
            Schema::Empty(_) => 0,
        };
        let description = self.description.as_ref().map_or(0, |text| text.len());
        self.name
            .len()
            .saturating_add(description)
            .saturating_add(schema)
    }
}

// === impl Choice ===

impl Choice<'_> {
    /// The model has to call.
    pub(super) fn is_forced(&self) -> bool {
        matches!(self, Self::Any { .. } | Self::Tool { .. })
    }
}
