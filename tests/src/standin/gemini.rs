//! A stand-in for Google's Gemini: <https://ai.google.dev/api/generate-content>.
//!
//! What it refuses is in [`check`]. Thought signatures are checksums, and only those of this stand-in come back in (or
//! the two that the documentation offers for calls of another model).

mod check;

use axum::Json;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::{Answer, Ask, Choice, Content, Finish, Output, sign, words};
use super::{event_stream, is_true, items};

/// What a text's signature is the checksum of.
const TEXT: &str = "text";

/// A field by its name in JSON or, as the API takes both, in the protocol buffer.
fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    match value.get(name) {
        Some(found) => found,
        None => &value[snake(name)],
    }
}

fn snake(camel: &str) -> String {
    let letters = camel.chars().flat_map(|c| {
        let under = c.is_ascii_uppercase().then_some('_');
        under.into_iter().chain([c.to_ascii_lowercase()])
    });
    letters.collect()
}

/// What a call's signature is the checksum of.
fn signed_call(call: &Value) -> String {
    let name = call["name"].as_str().unwrap_or_default();
    format!("{name} {}", call["args"])
}

/// Whether the model is of Gemini 3 or later: those name their calls and demand signatures, see
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>.
fn is_third(model: &str) -> bool {
    let version = model.strip_prefix("gemini-").unwrap_or_default();
    let major = version
        .split(['.', '-'])
        .next()
        .and_then(|n| n.parse().ok());
    major.is_some_and(|major: u32| major >= 3)
}

pub(super) fn reply(name: &str, parts: &Parts, body: &[u8]) -> Response {
    // The SDKs ask for `v1`, most of the documentation for `v1beta`: https://ai.google.dev/gemini-api/docs/api-versions
    let path = parts.uri.path();
    let path = ["/v1beta/models/", "/v1/models/"].map(|start| path.strip_prefix(start));
    let path = path.into_iter().flatten().next();
    let Some((model, method)) = path.and_then(|path| path.split_once(':')) else {
        return error(StatusCode::NOT_FOUND, "NOT_FOUND", "no such path");
    };
    let methods = ["generateContent", "streamGenerateContent", "countTokens"];
    if parts.method != Method::POST || !methods.contains(&method) {
        return error(StatusCode::NOT_FOUND, "NOT_FOUND", "no such method");
    }
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return invalid("Invalid JSON payload received.", None);
    };
    if method == "countTokens" {
        return Json(json!({"totalTokens": body.len() / 4})).into_response();
    }
    let what = check::Call { name, model };
    if let Err(refused) = what.check(&request) {
        return invalid(&refused.message, refused.field);
    }
    let ask = ask(model, &request);
    if ask.fails(name) {
        let message = format!("the stand-in for {name} fails as it was told to");
        return error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", &message);
    }
    let answer = ask.answer(name);
    let shown = is_true(field(thinking_config(&request), "includeThoughts"));
    let reply = Reply {
        name,
        model,
        prompt: body.len() / 4,
        cached: cached(&request, body),
        signs: is_third(model) || ask.think,
        answer: &answer,
    };
    if method == "generateContent" {
        let parts = reply.parts(shown);
        return Json(reply.chunk(parts, Some(finish_reason(&answer)))).into_response();
    }
    let chunks = reply.chunks(shown);
    let is_sse = parts
        .uri
        .query()
        .is_some_and(|query| query.split('&').any(|q| q == "alt=sse"));
    if is_sse {
        // The API ends its lines so.
        return event_stream(
            chunks
                .iter()
                .map(|c| format!("data: {c}\r\n\r\n"))
                .collect(),
        );
    }
    Json(Value::Array(chunks)).into_response()
}

fn invalid(message: &str, field: Option<String>) -> Response {
    let mut body =
        json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}});
    if let Some(field) = field {
        let violation = json!({"field": field, "description": message});
        body["error"]["details"] = json!([{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]);
    }
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

fn error(code: StatusCode, status: &str, message: &str) -> Response {
    let error = json!({"code": code.as_u16(), "message": message, "status": status});
    (code, Json(json!({"error": error}))).into_response()
}

fn thinking_config(request: &Value) -> &Value {
    field(field(request, "generationConfig"), "thinkingConfig")
}

/// Caching is implicit: a conversation's second request reads it.
fn cached(request: &Value, body: &[u8]) -> usize {
    let later = items(&request["contents"])
        .iter()
        .any(|c| c["role"] == "model");
    if later { body.len() / 8 } else { 0 }
}

/// The reason is `STOP` for tool calls as well.
fn finish_reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Whole | Finish::Sequence(_) | Finish::Calls => "STOP",
        Finish::Length => "MAX_TOKENS",
    }
}

struct Reply<'a> {
    name: &'a str,
    model: &'a str,
    prompt: usize,
    cached: usize,
    /// Its parts carry signatures.
    signs: bool,
    answer: &'a Answer,
}

// === impl Reply ===

impl Reply<'_> {
    fn parts(&self, shown: bool) -> Vec<Value> {
        let mut parts = self.thoughts(shown);
        match &self.answer.content {
            Content::Text(text) => {
                let mut part = json!({"text": text});
                if self.signs {
                    part["thoughtSignature"] = json!(sign(self.name, TEXT));
                }
                parts.push(part);
            }
            Content::Calls(_) => parts.extend(self.calls()),
        }
        parts
    }

    fn thoughts(&self, shown: bool) -> Vec<Value> {
        let thinking = self.answer.thinking.iter().filter(|_| shown);
        thinking
            .map(|text| json!({"text": text, "thought": true}))
            .collect()
    }

    /// Of several calls the first is signed.
    fn calls(&self) -> Vec<Value> {
        let Content::Calls(calls) = &self.answer.content else {
            return Vec::new();
        };
        let part = |(i, call): (usize, &super::answer::Call)| {
            let mut function = json!({"name": call.name, "args": call.input});
            if is_third(self.model) {
                function["id"] = json!(format!("standin_{}", call.number));
            }
            let signature = sign(self.name, &signed_call(&function));
            let mut part = json!({"functionCall": function});
            if i == 0 && self.signs {
                part["thoughtSignature"] = json!(signature);
            }
            part
        };
        calls.iter().enumerate().map(part).collect()
    }

    /// One answer, or a piece of a streamed one.
    fn chunk(&self, parts: Vec<Value>, finish: Option<&str>) -> Value {
        let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
        let mut usage = json!({
            "promptTokenCount": self.prompt,
            "totalTokenCount": self.prompt,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": self.prompt}],
        });
        if self.cached > 0 {
            usage["cachedContentTokenCount"] = json!(self.cached);
            usage["cacheTokensDetails"] = json!([{"modality": "TEXT", "tokenCount": self.cached}]);
        }
        if let Some(finish) = finish {
            let (tokens, thoughts) = (self.answer.tokens(), self.answer.thinking_tokens());
            candidate["finishReason"] = json!(finish);
            usage["candidatesTokenCount"] = json!(tokens);
            usage["totalTokenCount"] = json!(self.prompt + tokens + thoughts);
            if thoughts > 0 {
                usage["thoughtsTokenCount"] = json!(thoughts);
            }
        }
        json!({
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": self.model,
            "responseId": format!("{}-standin", self.name),
        })
    }

    /// Thoughts and text by the word, calls whole; a text's signature comes in a part without text at the end.
    fn chunks(&self, shown: bool) -> Vec<Value> {
        let mut parts = Vec::new();
        for thought in self.thoughts(shown) {
            let text = thought["text"].as_str().unwrap_or_default();
            parts.extend(words(text).map(|word| json!({"text": word, "thought": true})));
        }
        match &self.answer.content {
            Content::Text(text) => {
                parts.extend(words(text).map(|word| json!({"text": word})));
                let mut last = json!({"text": ""});
                if self.signs {
                    last["thoughtSignature"] = json!(sign(self.name, TEXT));
                }
                parts.push(last);
            }
            Content::Calls(_) => parts.extend(self.calls()),
        }
        let last = parts.len().saturating_sub(1);
        let finish = |i| (i == last).then(|| finish_reason(self.answer));
        let chunk = |(i, part)| self.chunk(vec![part], finish(i));
        parts.into_iter().enumerate().map(chunk).collect()
    }
}

fn ask<'a>(model: &'a str, request: &'a Value) -> Ask<'a> {
    let config = field(request, "generationConfig");
    let thinking = thinking_config(request);
    let calling = field(field(request, "toolConfig"), "functionCallingConfig");
    let allowed = items(field(calling, "allowedFunctionNames"));
    let schema = ["responseJsonSchema", "responseSchema"]
        .map(|name| field(config, name))
        .into_iter()
        .find(|schema| schema.is_object());
    let is_json = field(config, "responseMimeType") == "application/json";
    let mut ask = Ask {
        model,
        choice: match (calling["mode"].as_str(), allowed) {
            (Some("NONE"), _) => Choice::Never,
            (Some("ANY"), [name]) => Choice::Named(name.as_str().unwrap_or_default()),
            (Some("ANY"), _) => Choice::Any,
            _ => Choice::Auto,
        },
        think: thinking.is_object() && field(thinking, "thinkingBudget") != 0,
        output: match schema {
            Some(schema) => Output::Schema(schema),
            None if is_json => Output::Json,
            None => Output::Text,
        },
        limit: field(config, "maxOutputTokens").as_u64(),
        stop: items(field(config, "stopSequences"))
            .iter()
            .filter_map(Value::as_str)
            .collect(),
        ..Ask::default()
    };
    for content in items(&request["contents"]) {
        let (mut begins, mut calls) = (true, 0);
        for part in items(&content["parts"]) {
            if field(part, "functionCall").is_object() {
                calls += 1;
            } else if field(part, "functionResponse").is_object() {
                ask.results += 1;
            } else if let Some(text) = part["text"].as_str().filter(|_| content["role"] != "model")
            {
                ask.says(text, begins);
                begins = false;
            }
        }
        ask.calls += calls;
        ask.rounds += usize::from(calls > 0);
    }
    let tools = items(&request["tools"]).iter();
    let functions = tools.flat_map(|tool| items(field(tool, "functionDeclarations")));
    ask.tools = functions
        .filter_map(|function| {
            let schema = ["parametersJsonSchema", "parameters"].map(|name| field(function, name));
            let schema = schema.into_iter().find(|schema| schema.is_object());
            Some((function["name"].as_str()?, schema.unwrap_or(&Value::Null)))
        })
        .collect();
    ask
}
