//! The provider behind all Envoys: prepared bytes, nothing recorded, so that Envoy is what is measured.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pointsman_tests::wire::{Body, Reader, chunk, last_chunk, message};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::MissedTickBehavior;

/// Server-sent events per stream, `[DONE]` included.
pub const EVENTS: usize = 200;

/// Between two events. A pause, so that each is a read of its own for Envoy: a model writes tokens one by one.
const GAP: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Answers {
    one_shot: Bytes,
    stream_head: &'static [u8],
    events: Vec<Bytes>,
    end: Bytes,
}

/// Serves on a thread of its own until the process ends; returns the port.
pub fn start() -> io::Result<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    let answers = Arc::new(Answers::new());
    std::thread::Builder::new()
        .name("provider".into())
        .spawn(move || {
            runtime.block_on(async {
                while let Ok((stream, _)) = listener.accept().await {
                    let answers = Arc::clone(&answers);
                    tokio::spawn(async move { serve(stream, &answers).await });
                }
            });
        })?;
    Ok(port)
}

async fn serve(stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::new(stream);
    while let Some(head) = reader.head().await? {
        let body = Body::of_request(&head.headers)?.rest(&mut reader).await?;
        if !wants_stream(&body) {
            reader.stream.write_all(&answers.one_shot).await?;
            continue;
        }
        reader.stream.write_all(answers.stream_head).await?;
        let mut ticks = tokio::time::interval(GAP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for event in &answers.events {
            ticks.tick().await;
            reader.stream.write_all(event).await?;
        }
        reader.stream.write_all(&answers.end).await?;
    }
    Ok(())
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
            chunk(format!("data: {event}\n\n").as_bytes())
        };
        // The first event says something at once: the filter holds a stream until one does.
        let mut events = vec![delta(json!({"role": "assistant", "content": "Here"}), None)];
        events
            .extend((0..EVENTS - 3).map(|i| delta(json!({"content": format!(" word{i}")}), None)));
        events.push(delta(json!({}), Some("stop")));
        events.push(chunk(b"data: [DONE]\n\n"));
        Self {
            one_shot: message("HTTP/1.1 200 OK", &[(b"content-type", b"application/json")], one_shot.to_string().as_bytes()),
            stream_head: b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            events,
            end: last_chunk(&[]),
        }
    }
}
