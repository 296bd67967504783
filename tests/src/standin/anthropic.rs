//! A stand-in for Anthropic's Messages: <https://platform.claude.com/docs/en/api/messages>.
//!
//! What it refuses is in [`check`] and [`messages`]. A thinking block is signed, and only what this stand-in signed comes
//! back in; like the models without interleaved thinking it thinks once in a turn, before the first tool call.

mod check;
mod messages;

use axum::Json;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::{Answer, Ask, Choice, Content, Finish, Output, sign, words};
use super::{event_stream, is_true, items};

/// A message with these words is answered with thinking that is hidden: a `redacted_thinking` block.
const SECRET: &str = "think in secret";

pub(super) fn reply(name: &str, parts: &Parts, body: &[u8]) -> Response {
    let count = match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/v1/messages") => false,
        (&Method::POST, "/v1/messages/count_tokens") => true,
        _ => return error(StatusCode::NOT_FOUND, "not_found_error", "Not found"),
    };
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return invalid("The request body is not valid JSON");
    };
    let what = check::Call {
        name,
        headers: &parts.headers,
        count,
    };
    if let Err(refused) = what.check(&request) {
        return invalid(&refused.0);
    }
    let ask = ask(&request);
    if ask.fails(name) {
        // https://platform.claude.com/docs/en/api/errors: 529 is `overloaded_error`.
        let overloaded = StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let message = format!("the stand-in for {name} fails as it was told to");
        return error(overloaded, "overloaded_error", &message);
    }
    if count {
        return Json(json!({"input_tokens": body.len() / 4})).into_response();
    }
    let answer = ask.answer(name);
    let message = json!({
        "id": format!("msg_{name}_standin"),
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": blocks(name, &request, &ask, &answer),
        "stop_reason": stop_reason(&answer),
        "stop_sequence": match &answer.finish {
            Finish::Sequence(stop) => json!(stop),
            _ => Value::Null,
        },
        "usage": usage(&request, body, &answer),
    });
    let request_id = [("request-id", format!("req_{name}_standin"))];
    if is_true(&request["stream"]) {
        return (request_id, event_stream(events(message))).into_response();
    }
    (request_id, Json(message)).into_response()
}

fn invalid(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "invalid_request_error", message)
}

fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    let body = json!({
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_standin",
    });
    (status, [("request-id", "req_standin")], Json(body)).into_response()
}

fn blocks(name: &str, request: &Value, ask: &Ask, answer: &Answer) -> Vec<Value> {
    let mut blocks = Vec::new();
    if let Some(thinking) = &answer.thinking {
        // https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-7#thinking-content-omitted-by-default
        let by_default = check::version(request["model"].as_str().unwrap_or_default()) >= (4, 7);
        let display = request["thinking"]["display"].as_str();
        let omitted = display.map_or(by_default, |display| display == "omitted");
        let shown = if omitted { "" } else { thinking };
        blocks.push(if ask.text.contains(SECRET) {
            json!({"type": "redacted_thinking", "data": sign(name, messages::REDACTED)})
        } else {
            json!({"type": "thinking", "thinking": shown, "signature": sign(name, shown)})
        });
    }
    match &answer.content {
        Content::Text(text) => blocks.push(json!({"type": "text", "text": text})),
        Content::Calls(calls) => blocks.extend(calls.iter().map(|call| {
            json!({
                "type": "tool_use",
                "id": format!("toolu_standin_{}", call.number),
                "name": call.name,
                "input": call.input,
            })
        })),
    }
    blocks
}

fn stop_reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Whole => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Sequence(_) => "stop_sequence",
        Finish::Calls => "tool_use",
    }
}

/// `input_tokens` is without what the cache wrote and read. With a mark the first turn writes half of the prompt, later
/// ones read it: <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>.
fn usage(request: &Value, body: &[u8], answer: &Answer) -> Value {
    let input = body.len() / 4;
    let messages = items(&request["messages"]);
    let later = messages.iter().any(|m| m["role"] == "assistant");
    let marked = if check::cache_marks(request) > 0 {
        input / 2
    } else {
        0
    };
    let (written, read) = if later { (0, marked) } else { (marked, 0) };
    let mut usage = json!({
        "input_tokens": input - marked,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": answer.tokens() + answer.thinking_tokens(),
        "service_tier": "standard",
    });
    if answer.thinking_tokens() > 0 {
        usage["output_tokens_details"] = json!({"thinking_tokens": answer.thinking_tokens()});
    }
    usage
}

/// A whole message as the events of a stream: <https://platform.claude.com/docs/en/build-with-claude/streaming>.
fn events(mut message: Value) -> Vec<String> {
    let event = |data: Value| {
        let kind = data["type"].as_str().unwrap_or_default();
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let blocks = message["content"].take();
    let delta =
        json!({"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]});
    let mut usage = message["usage"].clone();
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    message["stop_sequence"] = Value::Null;
    message["usage"]["output_tokens"] = json!(1);
    if let Some(usage) = message["usage"].as_object_mut() {
        usage.remove("output_tokens_details");
    }
    let mut events = vec![
        event(json!({"type": "message_start", "message": message})),
        event(json!({"type": "ping"})),
    ];
    for (index, block) in items(&blocks).iter().enumerate() {
        let (start, deltas) = pieces(block);
        events.push(event(
            json!({"type": "content_block_start", "index": index, "content_block": start}),
        ));
        events.extend(deltas.into_iter().map(|delta| {
            event(json!({"type": "content_block_delta", "index": index, "delta": delta}))
        }));
        events.push(event(json!({"type": "content_block_stop", "index": index})));
    }
    if let Some(usage) = usage.as_object_mut() {
        usage.retain(|field, _| field.contains("tokens"));
    }
    events.push(event(
        json!({"type": "message_delta", "delta": delta, "usage": usage}),
    ));
    events.push(event(json!({"type": "message_stop"})));
    events
}

/// How a block starts, and its deltas.
fn pieces(block: &Value) -> (Value, Vec<Value>) {
    let text = |field: &str| block[field].as_str().unwrap_or_default().to_owned();
    let mut start = block.clone();
    match block["type"].as_str() {
        Some("text") => {
            start["text"] = json!("");
            let deltas = words(&text("text"))
                .map(|word| json!({"type": "text_delta", "text": word}))
                .collect();
            (start, deltas)
        }
        Some("thinking") => {
            start["thinking"] = json!("");
            start["signature"] = json!("");
            let thinking = text("thinking");
            let mut deltas: Vec<Value> = words(&thinking)
                .map(|word| json!({"type": "thinking_delta", "thinking": word}))
                .collect();
            deltas.push(json!({"type": "signature_delta", "signature": text("signature")}));
            (start, deltas)
        }
        Some("tool_use") => {
            start["input"] = json!({});
            let input = block["input"].to_string();
            // The API, too, begins with an empty piece.
            let deltas = [""].into_iter().chain(words(&input));
            let deltas =
                deltas.map(|piece| json!({"type": "input_json_delta", "partial_json": piece}));
            (start, deltas.collect())
        }
        _ => (start, Vec::new()),
    }
}

fn ask(request: &Value) -> Ask<'_> {
    let format = &request["output_config"]["format"];
    let choice = &request["tool_choice"];
    let mut ask = Ask {
        model: request["model"].as_str().unwrap_or_default(),
        choice: match choice["type"].as_str() {
            Some("none") => Choice::Never,
            Some("any") => Choice::Any,
            Some("tool") => Choice::Named(choice["name"].as_str().unwrap_or_default()),
            _ => Choice::Auto,
        },
        one_call: is_true(&choice["disable_parallel_tool_use"]),
        think: check::thinks(request),
        output: match format["type"].as_str() {
            Some("json_schema") => Output::Schema(&format["schema"]),
            _ => Output::Text,
        },
        limit: request["max_tokens"].as_u64(),
        stop: items(&request["stop_sequences"])
            .iter()
            .filter_map(Value::as_str)
            .collect(),
        ..Ask::default()
    };
    for message in items(&request["messages"]) {
        let is_user = message["role"] == "user";
        if let Some(text) = message["content"].as_str().filter(|_| is_user) {
            ask.says(text, true);
        }
        let (mut begins, mut calls) = (true, 0);
        for block in items(&message["content"]) {
            match block["type"].as_str() {
                Some("text") if is_user => {
                    ask.says(block["text"].as_str().unwrap_or_default(), begins);
                    begins = false;
                }
                Some("tool_result") => ask.results += 1,
                Some("tool_use") => calls += 1,
                _ => {}
            }
        }
        ask.calls += calls;
        ask.rounds += usize::from(calls > 0);
    }
    let tools = items(&request["tools"]).iter();
    ask.tools = tools
        .filter_map(|tool| Some((tool["name"].as_str()?, tool.get("input_schema")?)))
        .collect();
    ask
}
