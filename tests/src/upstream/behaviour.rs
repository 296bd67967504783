//! What a provider does about one request: a name for each way, compiled to bytes, pauses and endings.
//!
//! Pure. Every behaviour is a list of [`Step`]s, so a test that needs another one writes the steps.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Seen;
use crate::wire::{chunk, last_chunk, message};

/// One thing that a provider does. After the last step the connection is kept alive.
#[derive(Debug, Clone)]
pub enum Step {
    /// One write to the socket, and so (Nagle is off) one packet at least.
    Write(Bytes),
    /// Ends early if the peer goes away.
    Pause(Duration),
    /// Does nothing until the peer goes away.
    Stall,
    /// FIN: a clean end of the connection.
    Close,
    /// RST.
    Reset,
}

/// How a request is met. Where it is not said otherwise, the answer is complete, correct, and one-shot or a
/// stream as the request's `stream` asks.
#[derive(Debug, Clone)]
pub enum Behaviour {
    // --- answers that are in order
    Ok,
    /// Streams have this many content events, `gap` apart.
    Stream {
        events: usize,
        gap: Duration,
    },
    /// Headers at once; the first event (or the one-shot body) after this long.
    SlowFirstToken(Duration),
    /// The whole answer after this long.
    SlowHeaders(Duration),
    /// A comment, a ping event and a role-only delta before the content.
    SsePingThenOk,
    /// One-shot, as a chunked body that ends with these trailers.
    Chunked {
        trailers: Vec<(String, String)>,
    },
    /// One-shot, without a length: the end of the connection ends the body.
    UntilClose,
    /// One-shot, with this many bytes of content.
    BigBody(usize),
    /// 200 `application/json` with this body.
    Body(Bytes),
    /// 200 `text/event-stream`; each element is one chunk and one write, `gap` apart.
    StreamBytes {
        writes: Vec<Bytes>,
        gap: Duration,
    },
    /// A classifier's answer: one-shot, with this content, after `delay`.
    Classify {
        content: String,
        delay: Duration,
    },

    // --- answers that say no
    Status {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },

    // --- answers that are not what they seem
    /// 200, `content-length: 0`.
    EmptyOk,
    /// 200, a chunked body without a chunk.
    EmptyChunked,
    /// 200 without a length, and then a clean end of the connection.
    HeadersOnly,
    /// 200 `text/html`.
    NotJson,
    /// 200, the right length, but half of the JSON.
    TruncatedJson,
    /// 200 with OpenAI's error object, one-shot.
    ErrorObject200,
    /// A good answer labelled with this content type.
    WrongContentType(&'static str),
    /// One-shot though a stream was asked for.
    OneShotForStream,
    /// A stream though none was asked for.
    StreamForOneShot,
    SseErrorFirst,
    SseRoleThenError,
    /// An error event after this many content events.
    SseErrorAfter(usize),
    /// A stream of `[DONE]` only.
    SseOnlyDone,
    /// A stream that ends properly after this many content events, without finish reason and `[DONE]`.
    SseWithoutDone(usize),

    // --- transport faults
    /// RST when the head is read and the body is not.
    ResetBeforeBody,
    /// RST when the request is read.
    ResetAtOnce,
    /// FIN when the request is read.
    CloseAtOnce,
    ResetAfterHeaders,
    /// Half of a one-shot body with `content-length`, then RST.
    ResetMidBody,
    /// Half of a one-shot body with `content-length`, then FIN.
    TruncatedBody,
    /// RST after this many content events.
    ResetMidStream(usize),
    /// FIN after this many content events, without the last chunk.
    TruncatedStream(usize),
    StallBeforeHeaders,
    /// 200 headers (of an event stream, if one was asked for), and then nothing.
    StallAfterHeaders,
    /// Half of a one-shot body with `content-length`, then nothing.
    StallMidBody,
    /// Nothing more after this many content events.
    StallMidStream(usize),
    /// Bytes that are not HTTP, and FIN.
    NotHttp,

    /// Exactly this.
    Steps(Vec<Step>),
}

/// The time that a peer gets to read what came before a reset.
const BEFORE_RESET: Duration = Duration::from_millis(5);

impl Behaviour {
    /// This status with OpenAI's error object.
    pub fn error(status: u16) -> Self {
        let error = json!({"error": {
            "message": format!("stand-in error {status}"), "type": "stand_in", "param": null, "code": "stand_in",
        }});
        Self::Status {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: Bytes::from(error.to_string()),
        }
    }

    /// A classifier that answers this at once.
    pub fn classify(content: impl Into<String>) -> Self {
        Self::Classify {
            content: content.into(),
            delay: Duration::ZERO,
        }
    }

    pub(super) fn steps(&self, name: &str, seen: &Seen) -> Vec<Step> {
        let asked = Asked::new(name, seen);
        let chunks = |events: usize| {
            Script::sse("text/event-stream").chunks(asked.events(events), Duration::ZERO)
        };
        match self {
            Self::Ok => asked.answer(3, Duration::ZERO),
            Self::Stream { events, gap } => asked.answer(*events, *gap),
            Self::SlowFirstToken(time) if asked.stream => Script::sse("text/event-stream")
                .pause(*time)
                .chunks(asked.whole_stream(3), Duration::ZERO)
                .end_chunks(),
            Self::SlowFirstToken(time) => {
                let bytes = one_shot(&asked.completion());
                let (head, body) = halves(&bytes, head_length(&bytes));
                Script::default().write(head).pause(*time).write(body).0
            }
            Self::SlowHeaders(time) => {
                Script::default().pause(*time).then(asked.answer(3, Duration::ZERO))
            }
            Self::SsePingThenOk => {
                let pings = [Bytes::from_static(b": waiting\n\n"), Bytes::from_static(b"event: ping\ndata: {}\n\n")];
                Script::sse("text/event-stream")
                    .chunks(pings, Duration::ZERO)
                    .chunks(asked.whole_stream(3), Duration::ZERO)
                    .end_chunks()
            }
            Self::Chunked { trailers } => {
                let body = Bytes::from(asked.completion());
                let (first, second) = halves(&body, body.len() / 2);
                let trailers: Vec<_> = trailers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
                Script::sse("application/json")
                    .chunks([first, second], Duration::ZERO)
                    .write(last_chunk(&trailers))
                    .0
            }
            Self::UntilClose => Script::default()
                .write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
                .write(asked.completion())
                .end(Step::Close),
            Self::BigBody(size) => Script::default().write(one_shot(&asked.saying(&"x".repeat(*size)))).0,
            Self::Body(body) => Script::default().write(reply(200, "application/json", body)).0,
            Self::StreamBytes { writes, gap } => {
                Script::sse("text/event-stream").chunks(writes.iter().cloned(), *gap).end_chunks()
            }
            Self::Classify { content, delay } => {
                Script::default().pause(*delay).write(one_shot(&asked.saying(content))).0
            }

            Self::Status { status, headers, body } => {
                let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
                Script::default().write(message(&format!("HTTP/1.1 {status} Stand-In"), &headers, body)).0
            }

            Self::EmptyOk => Script::default().write(reply(200, asked.content_type(), b"")).0,
            Self::EmptyChunked => Script::sse(asked.content_type()).end_chunks(),
            Self::HeadersOnly => Script::default()
                .write(format!("HTTP/1.1 200 OK\r\ncontent-type: {}\r\n\r\n", asked.content_type()))
                .end(Step::Close),
            Self::NotJson => Script::default()
                .write(reply(200, "text/html", b"<!doctype html><title>Welcome</title><p>It works!"))
                .0,
            Self::TruncatedJson => {
                let body = asked.completion();
                Script::default().write(one_shot(&body[..body.len() / 2])).0
            }
            Self::ErrorObject200 => Script::default().write(one_shot(&error_object())).0,
            Self::WrongContentType(wrong) if asked.stream => {
                Script::sse(wrong).chunks(asked.whole_stream(3), Duration::ZERO).end_chunks()
            }
            Self::WrongContentType(wrong) => {
                Script::default().write(reply(200, wrong, asked.completion().as_bytes())).0
            }
            Self::OneShotForStream => Script::default().write(one_shot(&asked.completion())).0,
            Self::StreamForOneShot => Asked { stream: true, ..asked }.answer(3, Duration::ZERO),
            Self::SseErrorFirst => {
                Script::sse("text/event-stream").chunks([event(&error_object())], Duration::ZERO).end_chunks()
            }
            Self::SseRoleThenError => chunks(0).chunks([event(&error_object())], Duration::ZERO).end_chunks(),
            Self::SseErrorAfter(n) => chunks(*n).chunks([event(&error_object())], Duration::ZERO).end_chunks(),
            Self::SseOnlyDone => Script::sse("text/event-stream").chunks([event("[DONE]")], Duration::ZERO).end_chunks(),
            Self::SseWithoutDone(n) => chunks(*n).end_chunks(),

            Self::ResetBeforeBody | Self::ResetAtOnce => Script::default().end(Step::Reset),
            Self::CloseAtOnce => Script::default().end(Step::Close),
            Self::ResetAfterHeaders => asked.headers().pause(BEFORE_RESET).end(Step::Reset),
            Self::ResetMidBody => asked.half_a_body().pause(BEFORE_RESET).end(Step::Reset),
            Self::TruncatedBody => asked.half_a_body().end(Step::Close),
            Self::ResetMidStream(n) => chunks(*n).pause(BEFORE_RESET).end(Step::Reset),
            Self::TruncatedStream(n) => chunks(*n).end(Step::Close),
            Self::StallBeforeHeaders => Script::default().end(Step::Stall),
            Self::StallAfterHeaders => asked.headers().end(Step::Stall),
            Self::StallMidBody => asked.half_a_body().end(Step::Stall),
            Self::StallMidStream(n) => chunks(*n).end(Step::Stall),
            Self::NotHttp => Script::default().write("220 mail.example ESMTP\r\n\r\n").end(Step::Close),

            Self::Steps(steps) => steps.clone(),
        }
    }
}

/// What a request asked for, and who answers.
struct Asked<'a> {
    name: &'a str,
    model: String,
    stream: bool,
    include_usage: bool,
}

impl<'a> Asked<'a> {
    fn new(name: &'a str, seen: &Seen) -> Self {
        let json = seen.json();
        let is = |path: &str| json.pointer(path) == Some(&Value::Bool(true));
        Self {
            name,
            model: json
                .get("model")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            stream: is("/stream"),
            include_usage: is("/stream_options/include_usage"),
        }
    }

    fn content_type(&self) -> &'static str {
        if self.stream {
            "text/event-stream"
        } else {
            "application/json"
        }
    }

    fn answer(&self, events: usize, gap: Duration) -> Vec<Step> {
        if self.stream {
            return Script::sse("text/event-stream")
                .chunks(self.whole_stream(events), gap)
                .end_chunks();
        }
        Script::default().write(one_shot(&self.completion())).0
    }

    fn headers(&self) -> Script {
        if self.stream {
            return Script::sse("text/event-stream");
        }
        let bytes = one_shot(&self.completion());
        Script::default().write(halves(&bytes, head_length(&bytes)).0)
    }

    /// A one-shot answer's head and half of its body, in two writes.
    fn half_a_body(&self) -> Script {
        let bytes = one_shot(&self.completion());
        let (head, body) = halves(&bytes, head_length(&bytes));
        Script::default()
            .write(head)
            .write(halves(&body, body.len() / 2).0)
    }

    fn completion(&self) -> String {
        self.saying(&format!("{} answers as {}", self.name, self.model))
    }

    fn saying(&self, content: &str) -> String {
        json!({
            "id": "chatcmpl-stand-in", "object": "chat.completion", "created": CREATED, "model": self.model,
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop",
            }],
            "usage": usage(5),
        })
        .to_string()
    }

    fn delta(&self, delta: &Value, finish_reason: Option<&str>) -> Bytes {
        self.chunk(
            json!([{"index": 0, "delta": delta, "finish_reason": finish_reason}]),
            None,
        )
    }

    fn chunk(&self, choices: Value, usage: Option<Value>) -> Bytes {
        let mut chunk = json!({
            "id": "chatcmpl-stand-in", "object": "chat.completion.chunk", "created": CREATED,
            "model": self.model, "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        event(&chunk.to_string())
    }

    /// The role delta, and `n` content deltas; the first says the provider's name.
    fn events(&self, n: usize) -> Vec<Bytes> {
        let mut events = vec![self.delta(&json!({"role": "assistant", "content": ""}), None)];
        for i in 0..n {
            let content = if i == 0 {
                self.name.to_owned()
            } else {
                format!(" {i}")
            };
            events.push(self.delta(&json!({"content": content}), None));
        }
        events
    }

    fn whole_stream(&self, n: usize) -> Vec<Bytes> {
        let mut events = self.events(n);
        events.push(self.delta(&json!({}), Some("stop")));
        if self.include_usage {
            events.push(self.chunk(json!([]), Some(usage(n))));
        }
        events.push(event("[DONE]"));
        events
    }
}

/// Steps while they are written down.
#[derive(Default)]
struct Script(Vec<Step>);

impl Script {
    /// The head of a chunked 200 of this type.
    fn sse(content_type: &str) -> Self {
        Self::default().write(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
    }

    fn write(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0
            .push(Step::Write(Bytes::copy_from_slice(bytes.as_ref())));
        self
    }

    fn pause(mut self, time: Duration) -> Self {
        if !time.is_zero() {
            self.0.push(Step::Pause(time));
        }
        self
    }

    fn chunks(mut self, data: impl IntoIterator<Item = Bytes>, gap: Duration) -> Self {
        for (i, data) in data.into_iter().enumerate() {
            if i > 0 {
                self = self.pause(gap);
            }
            self = self.write(chunk(&data));
        }
        self
    }

    fn end_chunks(self) -> Vec<Step> {
        self.write(last_chunk(&[])).0
    }

    fn end(mut self, step: Step) -> Vec<Step> {
        self.0.push(step);
        self.0
    }

    fn then(mut self, steps: Vec<Step>) -> Vec<Step> {
        self.0.extend(steps);
        self.0
    }
}

const CREATED: u64 = 1_767_225_600;

fn usage(completion: usize) -> Value {
    json!({"prompt_tokens": 7, "completion_tokens": completion, "total_tokens": completion + 7})
}

fn event(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

fn error_object() -> String {
    json!({"error": {"message": "the stand-in is overloaded", "type": "server_error", "param": null, "code": 503}})
        .to_string()
}

fn one_shot(body: &str) -> Bytes {
    reply(200, "application/json", body.as_bytes())
}

fn reply(status: u16, content_type: &str, body: &[u8]) -> Bytes {
    message(
        &format!("HTTP/1.1 {status} OK"),
        &[(b"content-type", content_type.as_bytes())],
        body,
    )
}

/// Where the body begins.
fn head_length(message: &[u8]) -> usize {
    message
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map_or(message.len(), |at| at + 4)
}

fn halves(bytes: &Bytes, at: usize) -> (Bytes, Bytes) {
    (bytes.slice(..at), bytes.slice(at..))
}
