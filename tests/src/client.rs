//! A raw HTTP/1.1 client for tests that care about bytes and moments.
//!
//! It sends exactly what it is given, well-formed or not, and reports what came and when. No wait is longer
//! than [`PATIENCE`], so a hang becomes a failed test.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::wire::{Body, Headers, Reader, message};

/// The longest wait for the next byte. Over it: `ErrorKind::TimedOut`.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a port of loopback.
#[derive(Debug)]
pub struct Conn {
    reader: Reader<TcpStream>,
    patience: Duration,
}

impl Conn {
    pub async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: Reader::new(stream),
            patience: PATIENCE,
        })
    }

    /// Waits at most `patience` for each byte instead of [`PATIENCE`].
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends these bytes, whatever they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.patience, self.reader.stream.write_all(bytes)).await
    }

    /// Sends `piece` so many times, or until the peer has something to say. Returns the bytes of whole pieces sent.
    pub async fn upload(&mut self, piece: &[u8], times: usize) -> io::Result<usize> {
        let upload = async {
            let mut sent = 0;
            for _ in 0..times {
                let (reads, mut writes) = self.reader.stream.split();
                tokio::select! {
                    biased;
                    ready = reads.readable() => return ready.map(|()| sent),
                    written = writes.write_all(piece) => written?,
                }
                sent += piece.len();
            }
            Ok(sent)
        };
        within(self.patience, upload).await
    }

    /// Says that nothing more will be sent; answers can still be read.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.reader.stream.shutdown().await
    }

    /// Goes away at once, with a TCP reset.
    pub fn reset(self) -> io::Result<()> {
        self.reader.stream.set_zero_linger()
    }

    /// The next response, as soon as its head is in. Informational (1xx) heads are skipped.
    pub async fn response(&mut self) -> io::Result<Response<'_>> {
        loop {
            let head = within(self.patience, self.reader.head())
                .await?
                .ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the connection ended before a response",
                    )
                })?;
            let status = head.status()?;
            if !(100..200).contains(&status) {
                let body = Body::of_response(status, &head.headers)?;
                return Ok(Response {
                    status,
                    headers: head.headers,
                    at: Instant::now(),
                    body,
                    conn: self,
                });
            }
        }
    }

    /// The next response, whole.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        self.response().await?.reply().await
    }

    /// Whether the peer has closed: reads until the end or an error.
    pub async fn is_closed(&mut self) -> bool {
        matches!(within(self.patience, self.reader.head()).await, Ok(None))
    }
}

/// A response whose body is being read.
#[derive(Debug)]
pub struct Response<'a> {
    pub status: u16,
    pub headers: Headers,
    /// When the head was complete.
    pub at: Instant,
    body: Body,
    conn: &'a mut Conn,
}

impl Response<'_> {
    /// The next piece of the body as it arrived; `None` at its proper end.
    pub async fn piece(&mut self) -> io::Result<Option<Piece>> {
        let next = self.body.next(&mut self.conn.reader);
        let bytes = within(self.conn.patience, next).await?;
        Ok(bytes.map(|bytes| Piece {
            at: Instant::now(),
            bytes,
        }))
    }

    /// Everything to the end of the body.
    pub async fn reply(mut self) -> io::Result<Reply> {
        let mut pieces = Vec::new();
        while let Some(piece) = self.piece().await? {
            pieces.push(piece);
        }
        Ok(Reply {
            status: self.status,
            headers: self.headers,
            trailers: self.body.trailers,
            pieces,
            head_at: self.at,
        })
    }
}

/// Bytes of a body, and when they came.
#[derive(Debug, Clone)]
pub struct Piece {
    pub at: Instant,
    pub bytes: Bytes,
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Headers,
    pub trailers: Headers,
    /// The body in the pieces in which it arrived.
    pub pieces: Vec<Piece>,
    pub head_at: Instant,
}

impl Reply {
    pub fn body(&self) -> Bytes {
        match self.pieces.as_slice() {
            [] => Bytes::new(),
            [one] => one.bytes.clone(),
            pieces => pieces
                .iter()
                .flat_map(|piece| piece.bytes.iter().copied())
                .collect(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// The body as JSON; `Null` when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap_or_default()
    }

    /// The header's value as text, or an empty string.
    pub fn header(&self, name: &str) -> String {
        self.headers.text(name).unwrap_or_default()
    }

    /// The body as server-sent events.
    pub fn events(&self) -> Vec<Event> {
        let mut sse = Sse::default();
        let mut events: Vec<Event> = self
            .pieces
            .iter()
            .flat_map(|piece| sse.push(piece))
            .collect();
        events.extend(sse.unfinished());
        events
    }

    /// What an OpenAI chat completion says: a one-shot answer's content, or a stream's deltas joined.
    pub fn content(&self) -> String {
        let text = |value: &Value, path: &str| {
            value
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        if let Some(content) = text(&self.json(), "/choices/0/message/content") {
            return content;
        }
        let deltas = self.events();
        deltas
            .iter()
            .filter_map(|event| text(&event.json(), "/choices/0/delta/content"))
            .collect()
    }
}

/// One server-sent event, or one comment block.
#[derive(Debug, Clone)]
pub struct Event {
    /// When its last byte came.
    pub at: Instant,
    /// The `event:` field; empty when there is none.
    pub name: String,
    /// The `data:` lines, joined by newlines.
    pub data: String,
    /// The block as it came, without the blank line that ends it.
    pub raw: Bytes,
    /// The blank line came: false only for what was left over at the end of a body.
    pub complete: bool,
}

impl Event {
    /// The data as JSON; `Null` when it is not (`[DONE]`, a comment).
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }

    fn new(raw: Bytes, at: Instant, complete: bool) -> Self {
        let text = String::from_utf8_lossy(&raw);
        let field = |name: &str| {
            let values = text
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            values
                .map(|v| v.strip_prefix(' ').unwrap_or(v))
                .collect::<Vec<_>>()
                .join("\n")
        };
        Self {
            at,
            name: field("event"),
            data: field("data"),
            complete,
            raw: raw.clone(),
        }
    }
}

/// Cuts pieces of a body into server-sent events.
#[derive(Debug, Default)]
pub struct Sse {
    buf: BytesMut,
    last: Option<Instant>,
}

impl Sse {
    /// The events that this piece completed.
    pub fn push(&mut self, piece: &Piece) -> Vec<Event> {
        self.buf.extend_from_slice(&piece.bytes);
        self.last = Some(piece.at);
        let mut events = Vec::new();
        while let Some((end, gap)) = self.blank_line() {
            let raw = self.buf.split_to(end).freeze();
            let _ = self.buf.split_to(gap);
            events.push(Event::new(raw, piece.at, true));
        }
        events
    }

    /// What is left without a blank line at its end.
    pub fn unfinished(&mut self) -> Option<Event> {
        let raw = self.buf.split().freeze();
        let at = self.last?;
        (!raw.is_empty()).then(|| Event::new(raw, at, false))
    }

    /// Where the first blank line begins, and its length with the line end before it.
    fn blank_line(&self) -> Option<(usize, usize)> {
        let find = |end: &[u8]| {
            self.buf
                .windows(end.len())
                .position(|w| w == end)
                .map(|at| (at, end.len()))
        };
        [find(b"\n\n"), find(b"\r\n\r\n")]
            .into_iter()
            .flatten()
            .min()
    }
}

/// A request's bytes: `host` is added when `headers` have none, `content-length` when they do not frame the body.
pub fn request(method: &str, path: &str, headers: &[(&[u8], &[u8])], body: &[u8]) -> Bytes {
    let mut all: Vec<(&[u8], &[u8])> = Vec::with_capacity(headers.len() + 1);
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case(b"host"))
    {
        all.push((b"host", b"gateway.test"));
    }
    all.extend_from_slice(headers);
    message(&format!("{method} {path} HTTP/1.1"), &all, body)
}

/// `POST /v1/chat/completions` with this JSON.
pub fn chat_request(headers: &[(&str, &str)], json: &Value) -> Bytes {
    let mut all: Vec<(&[u8], &[u8])> = vec![(b"content-type", b"application/json")];
    all.extend(
        headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    );
    request(
        "POST",
        "/v1/chat/completions",
        &all,
        json.to_string().as_bytes(),
    )
}

/// One request on a connection of its own, and its whole answer.
pub async fn send(port: u16, request: &[u8]) -> io::Result<Reply> {
    let mut conn = Conn::open(port).await?;
    conn.send(request).await?;
    conn.reply().await
}

pub async fn post_chat(port: u16, headers: &[(&str, &str)], json: &Value) -> io::Result<Reply> {
    send(port, &chat_request(headers, json)).await
}

pub async fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
    let headers: Vec<(&[u8], &[u8])> = headers
        .iter()
        .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
        .collect();
    send(port, &request("GET", path, &headers, b"")).await
}

async fn within<T>(patience: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(patience, what).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("nothing came for {patience:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `input` cut into pieces of every size gives these `(name, data, complete)`.
    fn check(input: &str, expected: &[(&str, &str, bool)]) {
        for size in 1..=input.len() {
            let mut sse = Sse::default();
            let at = Instant::now();
            let mut events = Vec::new();
            for bytes in input.as_bytes().chunks(size) {
                events.extend(sse.push(&Piece {
                    at,
                    bytes: Bytes::copy_from_slice(bytes),
                }));
            }
            events.extend(sse.unfinished());
            let got: Vec<_> = events
                .iter()
                .map(|e| (e.name.as_str(), e.data.as_str(), e.complete))
                .collect();
            assert_eq!(got, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn cuts_server_sent_events() {
        check(
            "data: 1\n\ndata: [DONE]\n\n",
            &[("", "1", true), ("", "[DONE]", true)],
        );
        check("event: ping\r\ndata: {}\r\n\r\n", &[("ping", "{}", true)]);
        check(
            ": comment\n\ndata:a\ndata: b\n\n",
            &[("", "", true), ("", "a\nb", true)],
        );
        check("data: 1\n\ndata: 2\n", &[("", "1", true), ("", "2", false)]);
    }
}
