//! The provider behind both Envoys: an HTTP server as `make run`'s stand-ins are (axum), with prepared answers.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;

/// Server-sent events per stream, `[DONE]` included.
pub const EVENTS: usize = 200;

/// Between two events. A pause, so that each is a read of its own for Envoy: a model writes tokens one by one.
const GAP: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Answers {
    one_shot: Bytes,
    events: Vec<Bytes>,
}

/// Serves on a thread of its own until the process ends; returns the port.
pub fn start() -> io::Result<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    let answers = Arc::new(Answers::new());
    let app = Router::new().fallback(move |body: Bytes| {
        let answers = Arc::clone(&answers);
        async move { answer(&answers, &body) }
    });
    std::thread::Builder::new()
        .name("provider".into())
        .spawn(move || runtime.block_on(async { axum::serve(listener, app).await }))?;
    Ok(port)
}

fn answer(answers: &Arc<Answers>, body: &[u8]) -> Response {
    if !wants_stream(body) {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        return (headers, answers.one_shot.clone()).into_response();
    }
    let mut ticks = tokio::time::interval(GAP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = answers.events.clone().into_iter();
    let events = stream::unfold((events, ticks), |(mut events, mut ticks)| async {
        let event = events.next()?;
        ticks.tick().await;
        Some((Ok::<_, Infallible>(event), (events, ticks)))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    (headers, Body::from_stream(events)).into_response()
}

fn wants_stream(body: &[u8]) -> bool {
    let asked = br#""stream":true"#;
    body.windows(asked.len()).any(|w| w == asked)
}

impl Answers {
    fn new() -> Self {
        let content = "Here is a short summary of what you sent, in words. ".repeat(13);
        let one_shot = json!({
            "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_767_225_600, "model": "bench",
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 210, "completion_tokens": 150, "total_tokens": 360},
        });
        let delta = |delta: serde_json::Value, finish: Option<&str>| {
            let event = json!({
                "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_767_225_600, "model": "bench",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            });
            Bytes::from(format!("data: {event}\n\n"))
        };
        let mut events = vec![delta(json!({"role": "assistant", "content": ""}), None)];
        events
            .extend((0..EVENTS - 3).map(|i| delta(json!({"content": format!(" word{i}")}), None)));
        events.push(delta(json!({}), Some("stop")));
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        Self {
            one_shot: one_shot.to_string().into(),
            events,
        }
    }
}
