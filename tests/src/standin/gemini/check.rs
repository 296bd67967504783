//! Check: what Gemini refuses with 400, `INVALID_ARGUMENT`.
//!
//! Facts are the API reference's (<https://ai.google.dev/api/generate-content>, <https://ai.google.dev/api/caching> for
//! contents, parts and tools) where no other source is named. The order of the checks is ours.

use serde_json::Value;

use super::super::answer::sign;
use super::super::items;
use super::{TEXT, field, is_third, signed_call, snake};

#[derive(Debug)]
pub(super) struct Refused {
    pub message: String,
    /// The path of a field that is unknown or has a wrong value.
    pub field: Option<String>,
}

type Checked = Result<(), Refused>;

/// A request beside its body.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Whose signatures are ours.
    pub name: &'a str,
    pub model: &'a str,
}

const REQUEST: &str = "cachedContent contents generationConfig model safetySettings serviceTier store systemInstruction toolConfig \
    tools";
/// What a part may hold, one of them.
const DATA: &str = "codeExecutionResult executableCode fileData functionCall functionResponse inlineData text toolCall \
    toolResponse";
const PART: &str = "mediaResolution partMetadata thought thoughtSignature videoMetadata";
const GENERATION: &str = "candidateCount enableEnhancedCivicAnswers frequencyPenalty imageConfig logprobs maxOutputTokens \
    mediaResolution presencePenalty responseFormat responseJsonSchema responseLogprobs responseMimeType \
    responseModalities responseSchema seed speechConfig stopSequences temperature thinkingConfig topK topP";
const TOOL: &str = "codeExecution computerUse fileSearch functionDeclarations googleMaps googleSearch googleSearchRetrieval \
    mcpServers urlContext";
const FUNCTION: &str =
    "behavior description name parameters parametersJsonSchema response responseJsonSchema";
/// <https://ai.google.dev/api/caching#Schema>: less than JSON Schema knows.
const SCHEMA: &str = "additionalProperties anyOf default description enum example format items maxItems maxLength maxProperties \
    maximum minItems minLength minProperties minimum nullable pattern properties propertyOrdering required title \
    type";
/// For a call that the model did not make, from
/// <https://ai.google.dev/gemini-api/docs/thought-signatures#faqs>.
const OFFERED: [&str; 2] = [
    "skip_thought_signature_validator",
    "context_engineering_is_the_way_to_go",
];
const MOST_STOPS: usize = 5;

fn refuse<T>(message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused {
        message: message.into(),
        field: None,
    })
}

/// Refuses a field that is unknown in either spelling.
fn known(value: &Value, path: &str, fields: &str) -> Checked {
    let names = value
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys());
    let is_known = |name: &str| fields.split(' ').any(|f| f == name || snake(f) == name);
    let Some(name) = names.map(String::as_str).find(|name| !is_known(name)) else {
        return Ok(());
    };
    let at = if path.is_empty() {
        String::new()
    } else {
        format!(" at '{path}'")
    };
    Err(Refused {
        message: format!(
            "Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field."
        ),
        field: Some(path.to_owned()),
    })
}

/// Refuses what is no value of a protocol buffer's type.
fn wrong_type<T>(path: &str, kind: &str) -> Result<T, Refused> {
    Err(Refused {
        message: format!("Invalid value at '{path}' ({kind})"),
        field: Some(path.to_owned()),
    })
}

fn has(part: &Value, name: &str) -> bool {
    !field(part, name).is_null()
}

fn holds(content: &Value, name: &str) -> usize {
    let parts = items(&content["parts"]).iter();
    parts.filter(|part| has(part, name)).count()
}

// === impl Call ===

impl Call<'_> {
    pub fn check(&self, request: &Value) -> Checked {
        if !request.is_object() {
            return refuse("Invalid JSON payload received.");
        }
        known(request, "", REQUEST)?;
        check_tools(request)?;
        self.check_generation(request)?;
        let system = field(request, "systemInstruction");
        if !system.is_null() {
            known(system, "system_instruction", "parts role")?;
            check_parts(system, "system_instruction")?;
        }
        let contents = items(&request["contents"]);
        if contents.is_empty() {
            return refuse("* GenerateContentRequest.contents: contents is not specified\n");
        }
        for (i, content) in contents.iter().enumerate() {
            let path = format!("contents[{i}]");
            known(content, &path, "parts role")?;
            if !matches!(content["role"].as_str(), None | Some("user" | "model")) {
                return refuse("Please use a valid role: user, model.");
            }
            check_parts(content, &path)?;
        }
        check_turns(contents)?;
        self.check_signatures(contents)
    }

    fn check_generation(&self, request: &Value) -> Checked {
        let config = field(request, "generationConfig");
        known(config, "generation_config", GENERATION)?;
        let thinking = field(config, "thinkingConfig");
        let fields = "includeThoughts thinkingBudget thinkingLevel";
        known(thinking, "generation_config.thinking_config", fields)?;
        if has(thinking, "thinkingBudget") && has(thinking, "thinkingLevel") {
            return refuse("Only one of thinking_budget and thinking_level can be set.");
        }
        // https://ai.google.dev/gemini-api/docs/thinking: levels came with Gemini 3.
        if has(thinking, "thinkingLevel") && !is_third(self.model) {
            return refuse("Thinking level is not supported for this model.");
        }
        let temperature = config["temperature"].as_f64();
        if temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
            return refuse(
                "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n",
            );
        }
        if items(field(config, "stopSequences")).len() > MOST_STOPS {
            return refuse(format!(
                "* GenerateContentRequest.generation_config.stop_sequences: at most {MOST_STOPS}.\n"
            ));
        }
        let tokens = field(config, "maxOutputTokens");
        if !tokens.is_null() && tokens.as_i64().is_none_or(|tokens| tokens < 1) {
            return refuse(
                "* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.\n",
            );
        }
        let is_json = field(config, "responseMimeType") == "application/json";
        let has_schema = has(config, "responseSchema") || has(config, "responseJsonSchema");
        if has_schema && !is_json {
            return refuse("A response schema needs the response mime type application/json.");
        }
        if has(config, "responseSchema") && has(config, "responseJsonSchema") {
            return refuse("Only one of response_schema and response_json_schema can be set.");
        }
        check_schema(
            field(config, "responseSchema"),
            "generation_config.response_schema",
        )?;
        // https://ai.google.dev/gemini-api/docs/structured-output: with tools from Gemini 3 on.
        if is_json && !items(&request["tools"]).is_empty() && !is_third(self.model) {
            return refuse(
                "Function calling with a response mime type: 'application/json' is unsupported",
            );
        }
        Ok(())
    }

    /// Signatures are ours; from Gemini 3 on the first call of each step since the latest user message has one:
    /// <https://ai.google.dev/gemini-api/docs/thought-signatures>.
    fn check_signatures(&self, contents: &[Value]) -> Checked {
        for part in contents.iter().flat_map(|content| items(&content["parts"])) {
            let Some(signature) = field(part, "thoughtSignature").as_str() else {
                continue;
            };
            let call = field(part, "functionCall");
            let what = if call.is_object() {
                signed_call(call)
            } else {
                TEXT.to_owned()
            };
            if signature != sign(self.name, &what) && !OFFERED.contains(&signature) {
                return refuse("Thought signature is not valid.");
            }
        }
        if !is_third(self.model) {
            return Ok(());
        }
        let speaks =
            |content: &Value| content["role"] != "model" && holds(content, "functionResponse") == 0;
        let begin = contents.iter().rposition(speaks).unwrap_or(0);
        for (i, content) in contents.iter().enumerate().skip(begin) {
            let mut calls = items(&content["parts"])
                .iter()
                .filter(|part| has(part, "functionCall"));
            if let Some(first) = calls.next()
                && !has(first, "thoughtSignature")
            {
                let name = field(first, "functionCall")["name"]
                    .as_str()
                    .unwrap_or_default();
                return refuse(format!(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools to \
                     work correctly, and missing thought_signature may lead to degraded model performance. Additional \
                     data, function call `default_api:{name}`, position {}.",
                    i + 1
                ));
            }
        }
        Ok(())
    }
}

fn check_tools(request: &Value) -> Checked {
    let tools = items(&request["tools"]);
    let mut names = Vec::new();
    for (i, tool) in tools.iter().enumerate() {
        known(tool, &format!("tools[{i}]"), TOOL)?;
        for (j, function) in items(field(tool, "functionDeclarations"))
            .iter()
            .enumerate()
        {
            let path = format!("tools[{i}].function_declarations[{j}]");
            known(function, &path, FUNCTION)?;
            let name = function["name"].as_str().unwrap_or_default();
            let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            let is_fine = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
            if !begins || !name.chars().all(is_fine) || name.len() > 64 {
                return refuse(format!(
                    "* GenerateContentRequest.{path}.name: Invalid function name. Must start with a letter or an \
                     underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes \
                     (-), with a maximum length of 64.\n"
                ));
            }
            if names.contains(&name) {
                return refuse(format!("Duplicate function declaration found: {name}"));
            }
            names.push(name);
            if has(function, "parameters") && has(function, "parametersJsonSchema") {
                return refuse(format!(
                    "{path}: only one of parameters and parameters_json_schema can be set."
                ));
            }
            check_schema(&function["parameters"], &format!("{path}.parameters"))?;
        }
    }
    let config = field(request, "toolConfig");
    let fields = "functionCallingConfig includeServerSideToolInvocations retrievalConfig";
    known(config, "tool_config", fields)?;
    let calling = field(config, "functionCallingConfig");
    let path = "tool_config.function_calling_config";
    known(calling, path, "allowedFunctionNames mode")?;
    if calling.is_null() {
        return Ok(());
    }
    let mode = calling["mode"].as_str().unwrap_or("AUTO");
    if !["AUTO", "ANY", "NONE", "VALIDATED"].contains(&mode) {
        return wrong_type(
            &format!("{path}.mode"),
            "type.googleapis.com/google.ai.generativelanguage.v1beta.FunctionCallingConfig.Mode",
        );
    }
    if names.is_empty() && mode != "NONE" {
        return refuse("Function calling config is set without function_declarations.");
    }
    let allowed = items(field(calling, "allowedFunctionNames"));
    if !allowed.is_empty() && !["ANY", "VALIDATED"].contains(&mode) {
        return refuse("Allowed function names are for the modes ANY and VALIDATED.");
    }
    if allowed
        .iter()
        .any(|name| !names.iter().any(|known| name == known))
    {
        return refuse("Allowed function names must be declared.");
    }
    Ok(())
}

fn check_schema(schema: &Value, path: &str) -> Checked {
    if !schema.is_object() {
        return Ok(());
    }
    known(schema, path, SCHEMA)?;
    let kind = &schema["type"];
    if !kind.is_null() && !kind.is_string() {
        return wrong_type(&format!("{path}.type"), "TYPE_STRING");
    }
    for (i, value) in items(&schema["enum"]).iter().enumerate() {
        if !value.is_string() {
            return wrong_type(&format!("{path}.enum[{i}]"), "TYPE_STRING");
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        check_schema(schema, &format!("{path}.properties['{name}']"))?;
    }
    for (i, schema) in items(field(schema, "anyOf")).iter().enumerate() {
        check_schema(schema, &format!("{path}.any_of[{i}]"))?;
    }
    check_schema(&schema["items"], &format!("{path}.items"))
}

fn check_parts(content: &Value, path: &str) -> Checked {
    let parts = items(&content["parts"]);
    if parts.is_empty() {
        return refuse(format!(
            "* GenerateContentRequest.{path}.parts: contents.parts must not be empty.\n"
        ));
    }
    let fields = format!("{DATA} {PART}");
    for (i, part) in parts.iter().enumerate() {
        let path = format!("{path}.parts[{i}]");
        known(part, &path, &fields)?;
        let data: Vec<&str> = DATA.split(' ').filter(|name| has(part, name)).collect();
        let is_empty = part["text"] == "" && !has(part, "thoughtSignature");
        if data.is_empty() || is_empty {
            return refuse(format!(
                "* GenerateContentRequest.{path}.data: required oneof field 'data' must have one initialized field\n"
            ));
        }
        if let [_, second, ..] = data.as_slice() {
            return refuse(format!(
                "Invalid value at '{path}' (oneof), oneof field 'data' is already set. Cannot set '{}'",
                snake(second)
            ));
        }
        let inner = field(part, data[0]);
        match data[0] {
            "functionCall" => {
                known(inner, &format!("{path}.function_call"), "args id name")?;
                if has(inner, "args") && !inner["args"].is_object() {
                    return wrong_type(
                        &format!("{path}.function_call.args"),
                        "type.googleapis.com/google.protobuf.Struct",
                    );
                }
            }
            "functionResponse" => {
                let path = format!("{path}.function_response");
                known(
                    inner,
                    &path,
                    "id name parts response scheduling willContinue",
                )?;
                if !inner["response"].is_object() {
                    return wrong_type(
                        &format!("{path}.response"),
                        "type.googleapis.com/google.protobuf.Struct",
                    );
                }
                if inner["name"].as_str().is_none_or(str::is_empty) {
                    return refuse(format!(
                        "* GenerateContentRequest.{path}.name: Name cannot be empty.\n"
                    ));
                }
            }
            "inlineData" => known(
                inner,
                &format!("{path}.inline_data"),
                "data displayName mimeType",
            )?,
            "fileData" => known(
                inner,
                &format!("{path}.file_data"),
                "displayName fileUri mimeType",
            )?,
            _ => {}
        }
    }
    Ok(())
}

/// Calls come after the user or after results; the next content has as many results, of the same functions:
/// <https://ai.google.dev/gemini-api/docs/function-calling>.
fn check_turns(contents: &[Value]) -> Checked {
    let names = |content: &Value, name: &str| -> Vec<String> {
        let parts = items(&content["parts"])
            .iter()
            .map(|part| field(part, name));
        let named = parts.filter(|data| data.is_object());
        let mut names: Vec<String> = named
            .map(|data| data["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        names.sort_unstable();
        names
    };
    for (i, content) in contents.iter().enumerate() {
        let is_model = content["role"] == "model";
        let (calls, results) = (
            names(content, "functionCall"),
            names(content, "functionResponse"),
        );
        let previous = i.checked_sub(1).and_then(|i| contents.get(i));
        if !calls.is_empty() && (!is_model || previous.is_none_or(|p| p["role"] == "model")) {
            return refuse(
                "Please ensure that function call turn comes immediately after a user turn or after a function response turn.",
            );
        }
        let called = previous
            .map(|p| names(p, "functionCall"))
            .unwrap_or_default();
        if !results.is_empty() && (is_model || called.is_empty()) {
            return refuse(
                "Please ensure that function response turn comes immediately after a function call turn.",
            );
        }
        if called.len() != results.len() {
            return refuse(
                "Please ensure that the number of function response parts is equal to the number of function call parts \
                 of the function call turn.",
            );
        }
        // The documentation says that names match; the API may be more lenient.
        if called != results {
            return refuse(
                "Please ensure that function responses have the names of the function calls.",
            );
        }
    }
    if contents
        .last()
        .is_some_and(|last| !names(last, "functionCall").is_empty())
    {
        return refuse(
            "Please ensure that the number of function response parts is equal to the number of function call parts of \
             the function call turn.",
        );
    }
    Ok(())
}
