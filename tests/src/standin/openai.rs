//! A stand-in for a provider of OpenAI's chat completions.
//!
//! Refuses what the API refuses and a gateway could get wrong: fields that it does not know, roles and parts that do not
//! exist, tool results without their call. Facts: <https://platform.openai.com/docs/api-reference/chat/create>.

use std::collections::HashSet;

use axum::Json;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::{Answer, Ask, Choice, Content, Finish, Output, words};
use super::{CREATED, event_stream, is_name, is_true, items, unknown};

/// A 400 in OpenAI's form.
#[derive(Debug)]
pub(super) struct Refused {
    param: Option<String>,
    code: Option<&'static str>,
    message: String,
}

const REQUEST: &str = "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens \
    messages metadata modalities model moderation n parallel_tool_calls prediction presence_penalty \
    prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format \
    safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools \
    top_logprobs top_p user verbosity web_search_options";

/// A role's fields and its kinds of content parts. `annotations` is part of an answer that clients send back.
const ROLES: [(&str, &str, &str); 6] = [
    ("developer", "content name role", "text"),
    ("system", "content name role", "text"),
    (
        "user",
        "content name role",
        "text image_url input_audio file",
    ),
    (
        "assistant",
        "annotations audio content function_call name refusal role tool_calls",
        "text refusal",
    ),
    ("tool", "content role tool_call_id", "text"),
    ("function", "content name role", "text"),
];

/// Models that know `max_completion_tokens` only, by how their names begin.
const REASONING: [&str; 4] = ["gpt-5", "o1", "o3", "o4"];

// === impl Refused ===

impl Refused {
    pub fn new(
        param: Option<&str>,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Refused {
            param: param.map(str::to_owned),
            code,
            message: message.into(),
        }
    }

    fn unknown(path: &str) -> Self {
        Self::new(
            Some(path),
            Some("unknown_parameter"),
            format!("Unknown parameter: '{path}'."),
        )
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (message, param, code) = (self.message, self.param, self.code);
        let error = json!({"message": message, "type": "invalid_request_error", "param": param, "code": code});
        (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
    }
}

// === the answer

pub(super) fn reply(name: &str, parts: &Parts, body: &[u8]) -> Response {
    if parts.method != Method::POST || !parts.uri.path().ends_with("/chat/completions") {
        return error(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "no such method and path",
        );
    }
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return Refused::new(None, None, "not JSON").into_response();
    };
    if let Err(refused) = check(&request) {
        return refused.into_response();
    }
    let ask = ask(&request);
    if ask.fails(name) {
        let message = format!("the stand-in for {name} fails as it was told to");
        return error(StatusCode::SERVICE_UNAVAILABLE, "server_error", &message);
    }
    let answer = ask.answer(name);
    let usage = usage(&request, body, &answer);
    if is_true(&request["stream"]) {
        let include_usage = is_true(&request["stream_options"]["include_usage"]);
        return event_stream(chunks(name, &ask, &answer, include_usage.then_some(usage)));
    }
    let mut message = json!({"role": "assistant", "content": null, "refusal": null});
    match &answer.content {
        Content::Text(text) => message["content"] = json!(text),
        Content::Calls(_) => message["tool_calls"] = Value::Array(calls(&answer)),
    }
    let finish = finish_reason(&answer);
    Json(json!({
        "id": format!("chatcmpl-{name}-standin"),
        "object": "chat.completion",
        "created": CREATED,
        "model": ask.model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
        "usage": usage,
    }))
    .into_response()
}

fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    let error = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    (status, Json(error)).into_response()
}

/// The details only where there is something to tell.
fn usage(request: &Value, body: &[u8], answer: &Answer) -> Value {
    let (prompt, thinking) = (body.len() / 4, answer.thinking_tokens());
    let completion = answer.tokens() + thinking;
    let mut usage = json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    });
    if thinking > 0 {
        usage["completion_tokens_details"] = json!({"reasoning_tokens": thinking});
    }
    // The cache knows a conversation from its second request on.
    if items(&request["messages"])
        .iter()
        .any(|m| m["role"] == "assistant")
    {
        usage["prompt_tokens_details"] = json!({"cached_tokens": prompt / 2});
    }
    usage
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Whole | Finish::Sequence(_) => "stop",
        Finish::Length => "length",
        Finish::Calls => "tool_calls",
    }
}

fn calls(answer: &Answer) -> Vec<Value> {
    let Content::Calls(calls) = &answer.content else {
        return Vec::new();
    };
    let call = |call: &super::answer::Call| {
        json!({
            "id": format!("call_standin_{}", call.number),
            "type": "function",
            "function": {"name": call.name, "arguments": call.input.to_string()},
        })
    };
    calls.iter().map(call).collect()
}

fn chunks(name: &str, ask: &Ask, answer: &Answer, usage: Option<Value>) -> Vec<String> {
    let with_usage = usage.is_some();
    let chunk = |choices: Value, usage: Option<&Value>| {
        let mut chunk = json!({
            "id": format!("chatcmpl-{name}-standin"),
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": ask.model,
            "choices": choices,
        });
        if with_usage {
            chunk["usage"] = usage.cloned().unwrap_or(Value::Null);
        }
        format!("data: {chunk}\n\n")
    };
    let delta = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        chunk(json!([choice]), None)
    };
    let first = match answer.content {
        Content::Text(_) => json!({"role": "assistant", "content": ""}),
        Content::Calls(_) => json!({"role": "assistant", "content": null}),
    };
    let mut events = vec![delta(first, Value::Null)];
    if let Content::Text(text) = &answer.content {
        events.extend(words(text).map(|word| delta(json!({"content": word}), Value::Null)));
    }
    for (i, mut call) in calls(answer).into_iter().enumerate() {
        let arguments = call["function"]["arguments"].take();
        call["index"] = json!(i);
        call["function"]["arguments"] = json!("");
        events.push(delta(json!({"tool_calls": [call]}), Value::Null));
        for piece in words(arguments.as_str().unwrap_or_default()) {
            let call = json!({"index": i, "function": {"arguments": piece}});
            events.push(delta(json!({"tool_calls": [call]}), Value::Null));
        }
    }
    events.push(delta(json!({}), json!(finish_reason(answer))));
    if let Some(usage) = &usage {
        events.push(chunk(json!([]), Some(usage)));
    }
    events.push("data: [DONE]\n\n".into());
    events
}

// === what was asked

pub(super) fn ask(request: &Value) -> Ask<'_> {
    let mut ask = Ask {
        model: request["model"].as_str().unwrap_or_default(),
        one_call: request["parallel_tool_calls"].as_bool() == Some(false),
        think: !matches!(
            request["reasoning_effort"].as_str(),
            None | Some("none" | "minimal")
        ),
        limit: ["max_completion_tokens", "max_tokens"]
            .iter()
            .find_map(|field| request[field].as_u64()),
        stop: match &request["stop"] {
            Value::String(stop) => vec![stop],
            stops => items(stops).iter().filter_map(Value::as_str).collect(),
        },
        ..Ask::default()
    };
    for message in items(&request["messages"]) {
        match message["role"].as_str() {
            Some("user") => ask.says(&text_of(&message["content"]), true),
            Some("tool") => ask.results += 1,
            Some("assistant") => {
                let calls = items(&message["tool_calls"]).len();
                ask.calls += calls;
                ask.rounds += usize::from(calls > 0);
            }
            _ => {}
        }
    }
    let tools = items(&request["tools"]).iter();
    ask.tools = tools
        .filter_map(|tool| {
            let function = &tool["function"];
            Some((function["name"].as_str()?, &function["parameters"]))
        })
        .collect();
    ask.choice = match &request["tool_choice"] {
        choice if choice == "none" => Choice::Never,
        choice if choice == "required" => Choice::Any,
        choice => choice["function"]["name"]
            .as_str()
            .map_or(Choice::Auto, Choice::Named),
    };
    let format = &request["response_format"];
    ask.output = match format["type"].as_str() {
        Some("json_object") => Output::Json,
        Some("json_schema") => Output::Schema(&format["json_schema"]["schema"]),
        _ => Output::Text,
    };
    ask
}

/// Content may be a string or a list of parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        parts => {
            let texts = items(parts).iter().filter_map(|p| p["text"].as_str());
            texts.collect::<Vec<_>>().join(" ")
        }
    }
}

// === what is refused

fn check(request: &Value) -> Result<(), Refused> {
    let Some(model) = request["model"].as_str() else {
        let message = "you must provide a model parameter";
        return Err(Refused::new(None, None, message));
    };
    if let Some(field) = unknown(request, REQUEST) {
        return Err(Refused::unknown(field));
    }
    let has = |field: &str| request.get(field).is_some_and(|value| !value.is_null());
    if has("max_tokens") && REASONING.iter().any(|name| model.starts_with(name)) {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. \
                       Use 'max_completion_tokens' instead.";
        let code = Some("unsupported_parameter");
        return Err(Refused::new(Some("max_tokens"), code, message));
    }
    if has("stream_options") && !is_true(&request["stream"]) {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Refused::new(Some("stream_options"), None, message));
    }
    for field in ["tool_choice", "parallel_tool_calls"] {
        if has(field) && items(&request["tools"]).is_empty() {
            let message = format!("'{field}' is only allowed when 'tools' are specified.");
            return Err(Refused::new(Some(field), None, message));
        }
    }
    for (i, tool) in items(&request["tools"]).iter().enumerate() {
        let name = tool["function"]["name"].as_str().unwrap_or_default();
        if tool["type"] == "function" && !is_name(name, 64) {
            let path = format!("tools[{i}].function.name");
            let message = format!("Invalid '{path}': does not match '^[a-zA-Z0-9_-]+$'.");
            return Err(Refused::new(Some(&path), Some("invalid_value"), message));
        }
    }
    let messages = items(&request["messages"]);
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1.";
        return Err(Refused::new(Some("messages"), Some("empty_array"), message));
    }
    for (i, message) in messages.iter().enumerate() {
        check_message(&format!("messages[{i}]"), message)?;
    }
    check_tool_messages(messages)
}

fn check_message(path: &str, message: &Value) -> Result<(), Refused> {
    let role = ROLES.iter().find(|role| message["role"] == role.0);
    let Some((role, fields, parts)) = role else {
        let path = format!("{path}.role");
        let message = format!("Invalid value for '{path}'.");
        return Err(Refused::new(Some(&path), Some("invalid_value"), message));
    };
    if let Some(field) = unknown(message, fields) {
        return Err(Refused::unknown(&format!("{path}.{field}")));
    }
    let content = &message["content"];
    if content.is_null() && items(&message["tool_calls"]).is_empty() && *role != "function" {
        let path = format!("{path}.content");
        let message = format!("Invalid value for '{path}': expected a string, got null.");
        return Err(Refused::new(Some(&path), None, message));
    }
    for (i, part) in items(content).iter().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        if !parts.split(' ').any(|part| part == kind) {
            let path = format!("{path}.content[{i}].type");
            let message = format!("Invalid value: '{kind}'. Supported values are: {parts}.");
            return Err(Refused::new(Some(&path), Some("invalid_value"), message));
        }
    }
    for (i, call) in items(&message["tool_calls"]).iter().enumerate() {
        if let Some(field) = unknown(call, "custom function id type") {
            return Err(Refused::unknown(&format!("{path}.tool_calls[{i}].{field}")));
        }
        if call["type"] == "function" && !call["function"]["arguments"].is_string() {
            let path = format!("{path}.tool_calls[{i}].function.arguments");
            let message = format!("Invalid type for '{path}': expected a string.");
            return Err(Refused::new(Some(&path), Some("invalid_type"), message));
        }
    }
    Ok(())
}

/// After tool calls comes one tool message for each, and nowhere else.
fn check_tool_messages(messages: &[Value]) -> Result<(), Refused> {
    let mut open: HashSet<&str> = HashSet::new();
    let unanswered = |at: usize, open: &HashSet<&str>| {
        let mut ids: Vec<&str> = open.iter().copied().collect();
        ids.sort_unstable();
        let message = format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
             'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            ids.join(", ")
        );
        Refused::new(Some(&format!("messages.[{at}].role")), None, message)
    };
    for (i, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            if !open.remove(id) {
                let text = "Invalid parameter: messages with role 'tool' must be a response to a \
                            preceeding message with 'tool_calls'.";
                return Err(Refused::new(
                    Some(&format!("messages.[{i}].role")),
                    None,
                    text,
                ));
            }
            continue;
        }
        if !open.is_empty() {
            return Err(unanswered(i, &open));
        }
        let calls = items(&message["tool_calls"]).iter();
        open.extend(calls.filter_map(|call| call["id"].as_str()));
    }
    if open.is_empty() {
        return Ok(());
    }
    Err(unanswered(messages.len(), &open))
}
