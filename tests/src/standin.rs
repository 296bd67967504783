//! Stand-ins for providers and for the classifier, on loopback: enough for a first `curl` without keys or network.
//!
//! They say so: every answer names the stand-in, the provider it plays and the model it was asked for. A message that
//! contains `fail openai` makes the one for `openai` answer 503.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Between two words of a stream: slow enough to be seen, fast enough not to bore.
const WORD_GAP: Duration = Duration::from_millis(30);
/// What `created` says: an answer that does not change between runs.
const CREATED: u64 = 1_767_225_600;

/// A server of this process. It ends with it, or when this is dropped.
#[derive(Debug)]
pub struct StandIn {
    pub address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl StandIn {
    /// An OpenAI-compatible provider; it answers on any path that ends in `/chat/completions`.
    pub async fn provider(name: &'static str) -> std::io::Result<Self> {
        Self::serve(move |body| complete(name, &body)).await
    }

    /// An OpenAI-compatible model that picks a tier by a few words.
    pub async fn classifier() -> std::io::Result<Self> {
        Self::serve(|body| classify(&body)).await
    }

    async fn serve(
        answer: impl Fn(Bytes) -> Response + Clone + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let handler = move |body: Bytes| {
            let answer = answer.clone();
            async move { answer(body) }
        };
        let app = Router::new()
            .route("/v1/chat/completions", post(handler))
            .layer(axum::extract::DefaultBodyLimit::disable());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(StandIn { address, server })
    }
}

fn bad_request(message: &str) -> Response {
    let error = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}});
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}

// === provider

fn complete(name: &str, body: &[u8]) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return bad_request("not JSON");
    };
    let Some(model) = request["model"].as_str() else {
        return bad_request("no model");
    };
    let asked = latest_user_text(&request);
    // So that a reader can watch a request move on.
    if asked.contains(&format!("fail {name}")) {
        let message = format!("the stand-in for {name} fails as it was told to");
        let error = json!({"error": {"message": message, "type": "server_error", "param": null, "code": null}});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response();
    }
    let asked = asked.chars().count();
    let text = format!(
        "This is the stand-in for {name}, answering as {model}: no model was asked. Your message has {asked} characters."
    );
    let usage = json!({
        "prompt_tokens": body.len() / 4,
        "completion_tokens": text.len() / 4,
        "total_tokens": body.len() / 4 + text.len() / 4,
    });
    if request["stream"].as_bool() == Some(true) {
        let include_usage = request["stream_options"]["include_usage"].as_bool() == Some(true);
        return stream_answer(name, model, &text, include_usage.then_some(usage));
    }
    Json(json!({
        "id": format!("chatcmpl-{name}-standin"),
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": null}, "logprobs": null, "finish_reason": "stop"}],
        "usage": usage,
    }))
    .into_response()
}

fn stream_answer(name: &str, model: &str, text: &str, usage: Option<Value>) -> Response {
    let with_usage = usage.is_some();
    let chunk = |choices: Value, usage: Option<&Value>| {
        let mut chunk = json!({
            "id": format!("chatcmpl-{name}-standin"),
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": model,
            "choices": choices,
        });
        if with_usage {
            chunk["usage"] = usage.cloned().unwrap_or(Value::Null);
        }
        format!("data: {chunk}\n\n")
    };
    let choice = |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    let mut events = vec![chunk(
        choice(json!({"role": "assistant", "content": ""}), Value::Null),
        None,
    )];
    for word in text.split_inclusive(' ') {
        events.push(chunk(choice(json!({"content": word}), Value::Null), None));
    }
    events.push(chunk(choice(json!({}), json!("stop")), None));
    if let Some(usage) = &usage {
        events.push(chunk(json!([]), Some(usage)));
    }
    events.push("data: [DONE]\n\n".into());
    let events = stream::unfold(events.into_iter(), |mut events| async move {
        let event = events.next()?;
        tokio::time::sleep(WORD_GAP).await;
        Some((Ok::<_, Infallible>(Bytes::from(event)), events))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// Content may be a string or a list of parts.
fn latest_user_text(request: &Value) -> String {
    let messages = request["messages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let Some(message) = messages.iter().rev().find(|m| m["role"] == "user") else {
        return String::new();
    };
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|p| p["text"].as_str())
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::new(),
    }
}

// === classifier

/// The first row with a word that the question has decides; see [`pick`] for the rest.
const WORDS: [(&str, &str, &[&str]); 3] = [
    (
        "reasoning",
        "high",
        &[
            "prove",
            "proof",
            "derive",
            "theorem",
            "step by step",
            "np-hard",
            "deadlock",
            "race condition",
            "optimal",
        ],
    ),
    (
        "quality",
        "high",
        &[
            "refactor",
            "architecture",
            "design",
            "essay",
            "review",
            "contract",
            "migrate",
        ],
    ),
    (
        "balanced",
        "medium",
        &[
            "explain", "compare", "write", "draft", "code", "function", "plan", "why", "how",
        ],
    ),
];
/// Longer questions are taken for everyday work at least, in characters.
const LONG: usize = 400;

fn classify(body: &[u8]) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return bad_request("not JSON");
    };
    let offered: Vec<&str> =
        request["response_format"]["json_schema"]["schema"]["properties"]["tier"]["enum"]
            .as_array()
            .map(|tiers| tiers.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
    let Some(first) = offered.first() else {
        return bad_request("no tiers in response_format");
    };
    let (wanted, reason, complexity) = pick(&question(&latest_user_text(&request)));
    let tier = if offered.contains(&wanted) {
        wanted
    } else {
        first
    };
    let verdict =
        json!({"tier": tier, "reason": reason, "estimated_complexity": complexity}).to_string();
    Json(json!({
        "id": "chatcmpl-classifier-standin",
        "object": "chat.completion",
        "created": CREATED,
        "model": request["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": verdict}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": body.len() / 4, "completion_tokens": 20, "total_tokens": body.len() / 4 + 20},
    }))
    .into_response()
}

/// The user's latest message out of the prompt, which is a JSON object in text.
fn question(prompt: &str) -> String {
    let mut value = serde_json::from_str::<Value>(prompt).unwrap_or_default();
    if let Value::String(inner) = &value {
        value = serde_json::from_str(inner).unwrap_or_default();
    }
    value["latest_user_message"]
        .as_str()
        .unwrap_or(prompt)
        .to_lowercase()
}

fn pick(question: &str) -> (&'static str, String, &'static str) {
    for (tier, complexity, words) in WORDS {
        if let Some(word) = words.iter().find(|word| question.contains(**word)) {
            return (
                tier,
                format!("stand-in: the question says {word:?}"),
                complexity,
            );
        }
    }
    if question.chars().count() > LONG {
        return ("balanced", "stand-in: a long question".into(), "medium");
    }
    ("fast", "stand-in: a short, plain question".into(), "low")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_a_tier_by_words() {
        let check = |prompt: &str, expected: &str| {
            assert_eq!(pick(&question(prompt)).0, expected, "{prompt}")
        };
        check(
            r#"{"latest_user_message": "What is the capital of France?"}"#,
            "fast",
        );
        check(
            r#""{\"latest_user_message\": \"Prove that this terminates\"}""#,
            "reasoning",
        );
        check(
            r#"{"latest_user_message": "Explain TCP slow start"}"#,
            "balanced",
        );
        check("Review this contract", "quality");
        check(&"word ".repeat(100), "balanced");
    }
}
