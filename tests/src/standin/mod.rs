//! Stand-ins for providers and for the classifier, on loopback: enough for a first `curl` without keys or network, and
//! strict enough that a gateway which translates badly is refused as the provider would refuse it.
//!
//! They say so: every answer names the stand-in, the provider it plays and the model it was asked for. A message that
//! contains `fail openai` makes the one for `openai` fail. [`answer`] says what else a message brings about.
//! Any key will do, and none is kept.

mod answer;
mod anthropic;
mod classifier;
mod gemini;
mod openai;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
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
        Self::serve(move |parts, body| openai::reply(name, parts, body)).await
    }

    /// Anthropic's Messages: `/v1/messages` and `/v1/messages/count_tokens`.
    pub async fn anthropic(name: &'static str) -> std::io::Result<Self> {
        Self::serve(move |parts, body| anthropic::reply(name, parts, body)).await
    }

    /// Google's Gemini: `/v1beta/models/{model}:generateContent`, `:streamGenerateContent` and `:countTokens`, and the
    /// same under `/v1`.
    pub async fn gemini(name: &'static str) -> std::io::Result<Self> {
        Self::serve(move |parts, body| gemini::reply(name, parts, body)).await
    }

    /// An OpenAI-compatible model that picks a tier by a few words.
    pub async fn classifier() -> std::io::Result<Self> {
        Self::serve(|_, body| classifier::classify(body)).await
    }

    async fn serve(
        answer: impl Fn(&Parts, &[u8]) -> Response + Clone + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let handler = move |request: Request| {
            let answer = answer.clone();
            async move {
                let (parts, body) = request.into_parts();
                match axum::body::to_bytes(body, usize::MAX).await {
                    Ok(body) => answer(&parts, &body),
                    Err(_) => StatusCode::BAD_REQUEST.into_response(),
                }
            }
        };
        let app = Router::new().fallback(handler);
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(StandIn { address, server })
    }
}

/// These server-sent events, a word's time apart.
fn event_stream(events: Vec<String>) -> Response {
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

/// The first field of an object that is not among these words.
fn unknown<'a>(object: &'a Value, known: &str) -> Option<&'a str> {
    let mut fields = object.as_object()?.keys().map(String::as_str);
    fields.find(|name| known.split(' ').all(|known| known != *name))
}

/// A value's items, none when it is no array.
fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true)
}

/// A tool's name as OpenAI and Anthropic want it.
fn is_name(name: &str, longest: usize) -> bool {
    (1..=longest).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
