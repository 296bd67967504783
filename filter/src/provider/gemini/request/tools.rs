//! Tools: functions and which of them may be called.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;

use super::chat::{AllowedTools, Chat, Choice, Function, Named};
use super::fault::{self, Losses, Refused};
use super::shape::Field;
use super::wire::{FunctionCallingConfig, FunctionDeclaration, Mode, Tool, ToolConfig};

const STRING: &str = "must be a string";
const OBJECT: &str = "must be an object";
const ARRAY: &str = "must be an array";
const CHOICE: &str = "must be \"none\", \"auto\", \"required\", or an object that names functions";

/// The functions that the client declares.
#[derive(Debug, Default)]
struct Declared<'a> {
    functions: Vec<FunctionDeclaration<'a>>,
    names: BTreeSet<&'a str>,
    /// At least one asks for calls that fit its schema.
    strict: bool,
}

pub(super) fn read<'a>(
    chat: &'a Chat<'a>,
    losses: &mut Losses,
) -> Result<(Option<[Tool<'a>; 1]>, Option<ToolConfig<'a>>), Refused> {
    if chat
        .functions
        .is_some_and(|functions| functions.get() != "[]")
    {
        return Err(fault::parameter(
            "functions",
            "is deprecated; send the functions as tools",
        ));
    }
    if chat
        .function_call
        .is_some_and(|call| call.get().starts_with('{'))
    {
        return Err(fault::parameter(
            "function_call",
            "is deprecated; send it as tool_choice",
        ));
    }
    let declared = declared(chat, losses)?;
    let config = choice(chat, &declared, losses)?;
    if declared.functions.is_empty() {
        return Ok((None, None));
    }
    if chat
        .parallel_tool_calls
        .is_some_and(|parallel| parallel.get() == "false")
    {
        losses.lose("parallel_tool_calls", "parallel_tool_calls")?;
    }
    let tool = Tool {
        function_declarations: declared.functions,
    };
    let config = config.map(|function_calling_config| ToolConfig {
        function_calling_config,
    });
    Ok((Some([tool]), config))
}

fn declared<'a>(chat: &'a Chat<'a>, losses: &mut Losses) -> Result<Declared<'a>, Refused> {
    let mut declared = Declared::default();
    let tools = chat.tools.get("tools", ARRAY)?;
    for (index, tool) in tools.into_iter().flatten().enumerate() {
        let tool = tool.need(format_args!("tools[{index}]"), OBJECT)?;
        let kind = tool
            .kind
            .need(format_args!("tools[{index}].type"), STRING)?;
        if kind != "function" {
            losses.lose("tools", format_args!("tools[{index}]"))?;
            continue;
        }
        let function = tool
            .function
            .need(format_args!("tools[{index}].function"), OBJECT)?;
        declared.add(format_args!("tools[{index}].function"), function)?;
    }
    Ok(declared)
}

/// Nothing where the client leaves it to the model: that is Gemini's default too. But for strict functions the mode
/// that holds calls to their schema is chosen; `ANY` does so anyway.
fn choice<'a>(
    chat: &'a Chat<'a>,
    declared: &Declared<'a>,
    losses: &mut Losses,
) -> Result<Option<FunctionCallingConfig<'a>>, Refused> {
    let auto = if declared.strict {
        Mode::Validated
    } else {
        Mode::Auto
    };
    let Some(choice) = chat.tool_choice.get("tool_choice", CHOICE)? else {
        return Ok(declared.strict.then(|| config(auto)));
    };
    let choice = match choice {
        Choice::Word(word) => match word.as_ref() {
            "none" => return Ok(Some(config(Mode::None))),
            "auto" => return Ok(Some(config(auto))),
            "required" if declared.functions.is_empty() => {
                return Err(fault::invalid(
                    "tool_choice",
                    "requires a tool, and there is none; send tools",
                ));
            }
            "required" => return Ok(Some(config(Mode::Any))),
            _ => return Err(fault::invalid("tool_choice", CHOICE)),
        },
        Choice::Named(choice) => choice,
    };
    match choice.kind.need("tool_choice.type", STRING)?.as_ref() {
        "function" => Ok(Some(FunctionCallingConfig {
            mode: Mode::Any,
            allowed_function_names: vec![declared.named("tool_choice.function", &choice.function)?],
        })),
        "allowed_tools" => {
            let allowed = choice
                .allowed_tools
                .need("tool_choice.allowed_tools", OBJECT)?;
            allowed_tools(allowed, declared).map(Some)
        }
        _ => {
            losses.lose("tool_choice", "tool_choice")?;
            Ok(declared.strict.then(|| config(auto)))
        }
    }
}

fn allowed_tools<'a>(
    allowed: &'a AllowedTools<'a>,
    declared: &Declared<'a>,
) -> Result<FunctionCallingConfig<'a>, Refused> {
    let path = "tool_choice.allowed_tools.mode";
    let mode = match allowed.mode.need(path, STRING)?.as_ref() {
        "auto" => Mode::Validated,
        "required" => Mode::Any,
        _ => return Err(fault::invalid(path, "must be \"auto\" or \"required\"")),
    };
    let path = "tool_choice.allowed_tools.tools";
    let tools = allowed.tools.need(path, ARRAY)?;
    let mut names = Vec::with_capacity(tools.len());
    for (index, tool) in tools.iter().enumerate() {
        let tool = tool.need(format_args!("{path}[{index}]"), OBJECT)?;
        // Another tool than a function is not among those that are sent.
        if tool.function.is_there() {
            names.push(declared.named(format_args!("{path}[{index}].function"), &tool.function)?);
        }
    }
    if names.is_empty() {
        return Err(fault::invalid(
            path,
            "names no function; name one, or send \"none\" as tool_choice",
        ));
    }
    Ok(FunctionCallingConfig {
        mode,
        allowed_function_names: names,
    })
}

fn config<'a>(mode: Mode) -> FunctionCallingConfig<'a> {
    FunctionCallingConfig {
        mode,
        allowed_function_names: Vec::new(),
    }
}

// === impl Declared ===

impl<'a> Declared<'a> {
    fn add(&mut self, at: impl Display, function: &'a Function<'a>) -> Result<(), Refused> {
        let name = function.name.need(format_args!("{at}.name"), STRING)?;
        let description = function
            .description
            .get(format_args!("{at}.description"), STRING)?;
        let parameters = match function.parameters {
            Some(schema) if !schema.get().starts_with('{') => {
                return Err(fault::wrong_type(
                    format_args!("{at}.parameters"),
                    "must be a JSON Schema object",
                ));
            }
            // No schema is a function without parameters; one that says nothing is as good, and Gemini wants an
            // object's.
            Some(schema) if is_hollow(schema.get()) => None,
            schema => schema,
        };
        self.strict |= function.strict.is_some_and(|strict| strict.get() == "true");
        self.names.insert(name);
        self.functions.push(FunctionDeclaration {
            name,
            description: description.map(Cow::as_ref).filter(|text| !text.is_empty()),
            parameters_json_schema: parameters,
        });
        Ok(())
    }

    fn named(&self, at: impl Display, function: &'a Field<Named<'a>>) -> Result<&'a str, Refused> {
        let name = function
            .need(&at, OBJECT)?
            .name
            .need(format_args!("{at}.name"), STRING)?;
        if !self.names.contains(name.as_ref()) {
            return Err(fault::invalid(
                format_args!("{at}.name"),
                "is the name of no function in tools",
            ));
        }
        Ok(name)
    }
}

/// `{}`, whatever the white space.
fn is_hollow(json: &str) -> bool {
    json.trim_start_matches('{').trim_ascii_start() == "}"
}
