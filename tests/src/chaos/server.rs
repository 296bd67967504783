//! The providers: real HTTP/1.1 and HTTP/2 servers on one thread, which play for each request the fault that its model names.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use axum::http;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::fault::{self, Port};
use super::script::{Act, Asked};
use crate::upstream::{RefusedPort, refused_port};
use crate::wire::{Body, Headers, Reader, chunk, last_chunk};

/// What is spoken to the providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// All ports of the stand-ins. Ends with its owner.
#[derive(Debug)]
pub struct Providers {
    stage: u16,
    resetting: u16,
    not_http: u16,
    refused: RefusedPort,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    seed: u64,
    /// Requests by the credential that they carried.
    keys: Mutex<BTreeMap<String, u64>>,
}

// === impl Http ===

impl Http {
    pub fn name(self) -> &'static str {
        match self {
            Http::One => "HTTP/1",
            Http::Two => "HTTP/2",
        }
    }
}

// === impl Providers ===

impl Providers {
    pub fn start(http: Http, seed: u64) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let [stage, resetting, not_http] = {
            let _inside = runtime.enter();
            [listen()?, listen()?, listen()?]
        };
        let port = |listener: &TcpListener| Ok::<_, io::Error>(listener.local_addr()?.port());
        let ports = (port(&stage)?, port(&resetting)?, port(&not_http)?);
        let seen = Arc::new(Seen {
            seed,
            ..Seen::default()
        });
        let (stop, stopped) = oneshot::channel();
        let played = Arc::clone(&seen);
        let thread = std::thread::Builder::new()
            .name("providers".into())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        () = accept(&stage, |stream| drop(tokio::spawn(serve(stream, http, Arc::clone(&played))))) => {}
                        () = accept(&resetting, reset) => {}
                        () = accept(&not_http, |stream| drop(tokio::spawn(greet(stream)))) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            stage: ports.0,
            resetting: ports.1,
            not_http: ports.2,
            refused: refused_port()?,
            seen,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub fn port(&self, port: Port) -> u16 {
        match port {
            Port::Stage => self.stage,
            Port::Resetting => self.resetting,
            Port::NotHttp => self.not_http,
            // The cluster's only host is taken out of it.
            Port::Refused | Port::Nowhere => self.refused.port,
        }
    }

    /// Requests so far that carried this credential.
    pub fn with_key(&self, key: &str) -> u64 {
        let keys = self
            .seen
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keys.get(key).copied().unwrap_or_default()
    }
}

impl Drop for Providers {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// With room for all connections of a wave at once.
fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(4096)
}

async fn accept(listener: &TcpListener, meet: impl Fn(TcpStream)) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => meet(stream),
            // Out of file descriptors: let some connections end.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    }
}

fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
}

/// As a mail server would.
async fn greet(mut stream: TcpStream) {
    let _ = stream.write_all(b"220 mail.example ESMTP\r\n\r\n").await;
    let _ = stream.shutdown().await;
    // What was sent is lost if unread bytes make the close a reset.
    let mut unread = [0; 4096];
    while matches!(stream.read(&mut unread).await, Ok(1..)) {}
}

async fn serve(stream: TcpStream, http: Http, seen: Arc<Seen>) {
    let _ = stream.set_nodelay(true);
    // A peer that went away is no news here.
    let _ = match http {
        Http::One => serve_one(stream, &seen).await.map_err(drop),
        Http::Two => serve_two(stream, &seen).await.map_err(drop),
    };
}

// === impl Seen ===

impl Seen {
    fn acts(&self, key: Option<&[u8]>, body: &[u8]) -> Vec<Act> {
        let key = String::from_utf8_lossy(key.unwrap_or_default());
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get_mut(key.as_ref()) {
            Some(n) => *n += 1,
            None => drop(keys.insert(key.into_owned(), 1)),
        }
        drop(keys);
        let played = Asked::read(body, self.seed)
            .and_then(|asked| Some((fault::of_model(&asked.model)?.acts)(&asked)));
        // The gateway sent what no client asked: nothing answers it well.
        played.unwrap_or_else(|| vec![Act::Reset])
    }
}

// === HTTP/1.1 ===

async fn serve_one(stream: TcpStream, seen: &Seen) -> io::Result<()> {
    let mut reader = Reader::new(stream);
    while let Some(head) = reader.head().await? {
        let body = Body::of_request(&head.headers)?.rest(&mut reader).await?;
        let acts = seen.acts(Headers::get(&head.headers, "authorization"), &body);
        if !play_one(&mut reader.stream, acts).await? {
            break;
        }
    }
    Ok(())
}

/// Says whether the connection goes on.
async fn play_one(stream: &mut TcpStream, acts: Vec<Act>) -> io::Result<bool> {
    // Bytes that were announced and did not come yet.
    let mut left: Option<usize> = None;
    for act in acts {
        match act {
            Act::Head {
                status,
                headers,
                length,
            } => {
                left = length;
                let framing = match length {
                    Some(length) => format!("content-length: {length}"),
                    None => "transfer-encoding: chunked".to_owned(),
                };
                let mut head = format!("HTTP/1.1 {status} Played\r\n{framing}\r\n");
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                stream.write_all((head + "\r\n").as_bytes()).await?;
            }
            Act::Data(bytes) => match &mut left {
                Some(left) => {
                    *left = left.saturating_sub(bytes.len());
                    stream.write_all(&bytes).await?;
                }
                None => stream.write_all(&chunk(&bytes)).await?,
            },
            Act::Pause(time) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = gone(stream) => return Ok(false),
            },
            Act::Stall => {
                gone(stream).await;
                return Ok(false);
            }
            Act::End => match left {
                None => stream.write_all(&last_chunk(&[])).await?,
                Some(0) => {}
                Some(_) => return Ok(false),
            },
            Act::Cut => return Ok(false),
            Act::Reset => {
                stream.set_zero_linger()?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Returns when the peer has closed or reset the connection.
async fn gone(stream: &TcpStream) {
    if matches!(stream.peek(&mut [0]).await, Ok(1..)) {
        std::future::pending::<()>().await;
    }
}

// === HTTP/2 ===

/// Envoy's usual number; more would only be queued.
const STREAMS: u32 = 1024;
const WINDOW: u32 = 1 << 20;

async fn serve_two(stream: TcpStream, seen: &Arc<Seen>) -> Result<(), h2::Error> {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        // Envoy resets what its timeouts end: a wave of stalls is no attack.
        .max_concurrent_reset_streams(100_000)
        .max_pending_accept_reset_streams(100_000)
        .max_local_error_reset_streams(None);
    let mut connection = builder.handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let seen = Arc::clone(seen);
        tokio::spawn(async move { answer_two(request, respond, &seen).await });
    }
    Ok(())
}

async fn answer_two(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    seen: &Seen,
) -> Result<(), h2::Error> {
    let (parts, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len())?;
    }
    let key = parts.headers.get("authorization");
    let acts = seen.acts(key.map(|key| key.as_bytes()), &body);
    let mut sending: Option<h2::SendStream<Bytes>> = None;
    for act in acts {
        match (act, &mut sending) {
            (
                Act::Head {
                    status,
                    headers,
                    length,
                },
                _,
            ) => sending = Some(respond.send_response(response(status, headers, length), false)?),
            (Act::Data(bytes), Some(sending)) => sending.send_data(bytes, false)?,
            (Act::End, Some(sending)) => sending.send_data(Bytes::new(), true)?,
            (Act::Pause(time), Some(sending)) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                reset = poll_fn(|cx| sending.poll_reset(cx)) => return reset.map(drop),
            },
            (Act::Pause(time), None) => tokio::time::sleep(time).await,
            (Act::Stall, Some(sending)) => {
                return poll_fn(|cx| sending.poll_reset(cx)).await.map(drop);
            }
            (Act::Stall, None) => return poll_fn(|cx| respond.poll_reset(cx)).await.map(drop),
            (Act::Reset, _) => respond.send_reset(h2::Reason::INTERNAL_ERROR),
            (Act::Cut | Act::Data(_) | Act::End, _) => respond.send_reset(h2::Reason::CANCEL),
        }
    }
    Ok(())
}

fn response(
    status: u16,
    headers: Vec<(&'static str, String)>,
    length: Option<usize>,
) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let length = length.map(|length| ("content-length", length.to_string()));
    for (name, value) in headers.into_iter().chain(length) {
        if let Ok(value) = http::HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
