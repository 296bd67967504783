//! A provider on loopback that does what a test tells it to, byte by byte, and remembers what it was asked.
//!
//! A real HTTP/1.1 server over TCP on a thread of its own: it works under any test runtime and keeps
//! answering while a test blocks. Everything stops when the [`Upstream`] is dropped.

mod behaviour;

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use crate::wire::{Body, Head, Headers, Reader};
pub use behaviour::{Behaviour, Step};

/// A running provider.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    port: u16,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// The request target, with its query; bytes that are not UTF-8 are replaced.
    pub path: String,
    pub headers: Headers,
    pub body: Bytes,
    pub trailers: Headers,
    /// Counts the connections of this upstream from 1.
    pub connection: u64,
    pub at: Instant,
}

impl Seen {
    /// The header's value as text, or an empty string.
    pub fn header(&self, name: &str) -> String {
        self.headers.text(name).unwrap_or_default()
    }

    /// The body as JSON; `Null` when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn model(&self) -> String {
        self.json()
            .get("model")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// The text of the request's messages with this role, joined by newlines: a classifier's prompt.
    pub fn prompt(&self, role: &str) -> String {
        let json = self.json();
        let messages = json
            .get("messages")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let said = messages.filter(|m| m.get("role").and_then(Value::as_str) == Some(role));
        said.filter_map(|m| m.get("content")?.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub connections: u64,
    /// Requests read to their end, or to the end of the head by a behaviour that reads no further.
    pub requests: u64,
    /// Requests whose behaviour was carried out to its end.
    pub answered: u64,
    /// The peer went away before the end of its request or of our answer.
    pub aborted: u64,
    pub in_flight: u64,
    pub most_in_flight: u64,
}

#[derive(Clone)]
enum Standing {
    Always(Behaviour),
    By(Arc<dyn Fn(&Seen) -> Behaviour + Send + Sync>),
}

struct State {
    /// For the next requests, one each.
    next: VecDeque<Behaviour>,
    /// For every request after those.
    standing: Standing,
    seen: Vec<Seen>,
    counters: Counters,
}

struct Shared {
    name: String,
    state: Mutex<State>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A test that panicked elsewhere must not hide its message behind a poisoned lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What meets the request whose head has just come.
    fn choose(&self) -> Standing {
        let mut state = self.state();
        state
            .next
            .pop_front()
            .map_or_else(|| state.standing.clone(), Standing::Always)
    }

    fn remember(&self, seen: Seen) {
        let mut state = self.state();
        state.counters.requests += 1;
        state.seen.push(seen);
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.state().counters);
    }
}

// === impl Upstream ===

impl Upstream {
    /// Starts a provider that answers well. Its name is in the answers.
    pub fn start(name: &str) -> io::Result<Self> {
        Self::start_on(name, 0)
    }

    /// The same on a port that is known: a provider that comes back.
    pub fn start_on(name: &str, port: u16) -> io::Result<Self> {
        let state = State {
            next: VecDeque::new(),
            standing: Standing::Always(Behaviour::Ok),
            seen: Vec::new(),
            counters: Counters::default(),
        };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            state: Mutex::new(state),
        });
        let (stop, stopped) = oneshot::channel();
        let (bound, port_of) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("upstream-{name}"))
            .spawn(move || run(port, &serving, stopped, &bound))?;
        let port = port_of
            .recv()
            .map_err(|_| io::Error::other("the upstream's thread ended"))??;
        Ok(Self {
            name: name.to_owned(),
            port,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:<port>`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on every request is met with this, once [`Upstream::next`]'s are used up.
    pub fn set(&self, behaviour: Behaviour) {
        self.shared.state().standing = Standing::Always(behaviour);
    }

    /// From now on the request decides. `ResetBeforeBody` cannot be chosen so: the body is read by then.
    pub fn set_by(&self, choose: impl Fn(&Seen) -> Behaviour + Send + Sync + 'static) {
        self.shared.state().standing = Standing::By(Arc::new(choose));
    }

    /// The next requests are met with these, one each and in the order of their arrival.
    pub fn next(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.shared.state().next.extend(behaviours);
    }

    /// Every request so far, in the order in which they were complete.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    pub fn last(&self) -> Option<Seen> {
        self.shared.state().seen.last().cloned()
    }

    pub fn counters(&self) -> Counters {
        self.shared.state().counters
    }

    /// Forgets requests, counters and script; what is in flight goes on.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        let in_flight = state.counters.in_flight;
        state.counters = Counters {
            in_flight,
            most_in_flight: in_flight,
            ..Counters::default()
        };
        state.seen.clear();
        state.next.clear();
    }

    /// Waits until the counters are as wanted: things that happen after the client has its answer.
    /// `false` when `patience` ended first.
    pub async fn wait_for(&self, patience: Duration, wanted: impl Fn(&Counters) -> bool) -> bool {
        let end = Instant::now() + patience;
        while !wanted(&self.counters()) {
            if Instant::now() > end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A port of loopback that refuses connections for as long as this value lives.
#[derive(Debug)]
pub struct RefusedPort {
    pub port: u16,
    _bound: TcpSocket,
}

/// Bound but never listening: nobody else can be given the port, and a connection to it is refused.
pub fn refused_port() -> io::Result<RefusedPort> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok(RefusedPort {
        port: socket.local_addr()?.port(),
        _bound: socket,
    })
}

// === the server ===

fn run(
    port: u16,
    shared: &Arc<Shared>,
    stopped: oneshot::Receiver<()>,
    bound: &std::sync::mpsc::Sender<io::Result<u16>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return drop(bound.send(Err(error))),
    };
    runtime.block_on(async {
        let listener = match listen(port) {
            Ok(listener) => listener,
            Err(error) => return drop(bound.send(Err(error))),
        };
        let _ = bound.send(listener.local_addr().map(|address| address.port()));
        tokio::select! {
            () = accept(listener, shared) => {}
            _ = stopped => {}
        }
    });
}

/// With a backlog for thousands of connections at once; the usual 128 would make some wait a second.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(4096)
}

async fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: let some connections end.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            shared.count(|c| c.connections += 1);
            let connection = shared.state().counters.connections;
            let _ = stream.set_nodelay(true);
            let mut reader = Reader::new(stream);
            while let Ok(true) = exchange(&mut reader, &shared, connection).await {}
        });
    }
}

/// One request and what is done about it. Says whether the connection goes on.
async fn exchange(
    reader: &mut Reader<TcpStream>,
    shared: &Shared,
    connection: u64,
) -> io::Result<bool> {
    let Some(head) = reader.head().await? else {
        return Ok(false);
    };
    shared.count(|c| {
        c.in_flight += 1;
        c.most_in_flight = c.most_in_flight.max(c.in_flight);
    });
    let result = answer(reader, shared, connection, head).await;
    shared.count(|c| {
        c.in_flight = c.in_flight.saturating_sub(1);
        match result {
            Ok(_) => c.answered += 1,
            Err(_) => c.aborted += 1,
        }
    });
    result
}

async fn answer(
    reader: &mut Reader<TcpStream>,
    shared: &Shared,
    connection: u64,
    head: Head,
) -> io::Result<bool> {
    let mut seen = Seen {
        method: String::from_utf8_lossy(&head.word(0)).into_owned(),
        path: String::from_utf8_lossy(&head.word(1)).into_owned(),
        headers: head.headers,
        body: Bytes::new(),
        trailers: Headers::default(),
        connection,
        at: Instant::now(),
    };
    let chosen = shared.choose();
    if !matches!(chosen, Standing::Always(Behaviour::ResetBeforeBody)) {
        if seen
            .headers
            .text("expect")
            .is_some_and(|e| e.eq_ignore_ascii_case("100-continue"))
        {
            reader
                .stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await?;
        }
        let mut body = Body::of_request(&seen.headers)?;
        seen.body = body.rest(reader).await?;
        seen.trailers = body.trailers;
    }
    let behaviour = match chosen {
        Standing::Always(behaviour) => behaviour,
        Standing::By(choose) => choose(&seen),
    };
    let steps = behaviour.steps(&shared.name, &seen);
    let closes = seen.headers.closes();
    shared.remember(seen);
    Ok(carry_out(&mut reader.stream, steps).await? && !closes)
}

/// Says whether the connection is still open. An error: the peer went away.
async fn carry_out(stream: &mut TcpStream, steps: Vec<Step>) -> io::Result<bool> {
    for step in steps {
        match step {
            Step::Write(bytes) => stream.write_all(&bytes).await?,
            Step::Pause(time) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                error = gone(stream) => return Err(error),
            },
            Step::Stall => return Err(gone(stream).await),
            Step::Close => {
                stream.shutdown().await?;
                return Ok(false);
            }
            Step::Reset => {
                stream.set_zero_linger()?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Returns when the peer has closed or reset the connection. Bytes of a next request end the watch: it stays.
async fn gone(stream: &TcpStream) -> io::Error {
    match stream.peek(&mut [0]).await {
        Ok(0) => io::ErrorKind::ConnectionAborted.into(),
        Ok(_) => std::future::pending().await,
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests;
