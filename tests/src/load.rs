//! A closed-loop load generator: each connection sends its next request when it has the whole answer.
//!
//! Cheap enough (one write, few reads, no formatting per request) to keep a proxy busy from one thread. Errors
//! are counted, never hidden: an answer counts as ok only if it came to its proper end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::wire::{Body, Headers, Reader};

/// What to send, and for how long.
#[derive(Debug, Clone)]
pub struct Load {
    pub port: u16,
    pub connections: usize,
    pub until: Until,
    /// The whole request, sent again and again on kept-alive connections.
    pub request: Bytes,
    /// Count the answers by this header's value.
    pub tally: Option<&'static str>,
    /// An answer that takes longer is a transport error of the kind `TimedOut`.
    pub patience: Duration,
}

#[derive(Debug, Clone, Copy)]
pub enum Until {
    Requests(u64),
    /// No request is begun after this time; those begun are finished.
    Time(Duration),
}

/// What came back.
#[derive(Debug)]
pub struct Outcome {
    pub elapsed: Duration,
    /// Answers by status, complete ones only.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a whole answer, by what went wrong.
    pub errors: BTreeMap<String, u64>,
    /// Answers by the value of the header in [`Load::tally`]; absent counts as an empty value.
    pub tally: BTreeMap<String, u64>,
    /// Microseconds from the request's first byte to the answer's last, of complete answers.
    pub latency: Histogram<u64>,
    /// Microseconds to the first server-sent event, of streams.
    pub first_event: Histogram<u64>,
    /// Server-sent events, comments and `[DONE]` included.
    pub events: u64,
    /// Reads' worth of streams: how many pieces the events arrived in.
    pub pieces: u64,
    /// Streams whose last event was `[DONE]`.
    pub done: u64,
    pub body_bytes: u64,
}

impl Load {
    /// `requests` requests over `connections` connections.
    pub fn new(port: u16, connections: usize, until: Until, request: Bytes) -> Self {
        Self {
            port,
            connections,
            until,
            request,
            tally: None,
            patience: Duration::from_secs(60),
        }
    }

    /// Runs on the current thread's runtime.
    pub async fn drive(&self) -> Outcome {
        let begun = Instant::now();
        let budget = Rc::new(Cell::new(match self.until {
            Until::Requests(n) => n,
            Until::Time(_) => u64::MAX,
        }));
        let end = match self.until {
            Until::Requests(_) => None,
            Until::Time(time) => Some(begun + time),
        };
        let local = LocalSet::new();
        let tasks: Vec<_> = (0..self.connections.max(1))
            .map(|_| local.spawn_local(worker(self.clone(), Rc::clone(&budget), end)))
            .collect();
        let mut outcome = Outcome::default();
        local
            .run_until(async {
                for task in tasks {
                    match task.await {
                        Ok(part) => outcome.add(&part),
                        Err(error) => *outcome.errors.entry(error.to_string()).or_default() += 1,
                    }
                }
            })
            .await;
        outcome.elapsed = begun.elapsed();
        outcome
    }

    /// Runs on a thread of its own, and waits for it.
    pub fn run(&self) -> io::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread =
            std::thread::scope(|scope| scope.spawn(|| runtime.block_on(self.drive())).join());
        thread.map_err(|_| io::Error::other("the load generator's thread panicked"))
    }
}

// === impl Outcome ===

impl Default for Outcome {
    fn default() -> Self {
        Self {
            elapsed: Duration::ZERO,
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            tally: BTreeMap::new(),
            latency: microseconds(),
            first_event: microseconds(),
            events: 0,
            pieces: 0,
            done: 0,
            body_bytes: 0,
        }
    }
}

impl Outcome {
    /// Complete answers, whatever their status.
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Complete answers with status 200.
    pub fn ok(&self) -> u64 {
        self.statuses.get(&200).copied().unwrap_or_default()
    }

    /// Whether every request got a complete 200.
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.ok() == self.answers()
    }

    pub fn per_second(&self) -> f64 {
        self.answers() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Microseconds.
    pub fn p50(&self) -> u64 {
        self.latency.value_at_quantile(0.5)
    }

    /// Microseconds.
    pub fn p99(&self) -> u64 {
        self.latency.value_at_quantile(0.99)
    }

    /// Statuses and errors in one line.
    pub fn summary(&self) -> String {
        let statuses = self
            .statuses
            .iter()
            .map(|(status, n)| format!("{n}x{status}"));
        let errors = self
            .errors
            .iter()
            .map(|(error, n)| format!("{n}x[{error}]"));
        statuses.chain(errors).collect::<Vec<_>>().join(" ")
    }

    fn add(&mut self, part: &Outcome) {
        add_counts(&mut self.statuses, &part.statuses);
        add_counts(&mut self.errors, &part.errors);
        add_counts(&mut self.tally, &part.tally);
        self.latency += &part.latency;
        self.first_event += &part.first_event;
        self.events += part.events;
        self.pieces += part.pieces;
        self.done += part.done;
        self.body_bytes += part.body_bytes;
    }
}

fn add_counts<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, n) in from {
        *to.entry(key.clone()).or_default() += n;
    }
}

/// 1 µs to 2 minutes, three digits; longer is counted as 2 minutes.
fn microseconds() -> Histogram<u64> {
    Histogram::new_with_max(120_000_000, 3)
        .expect("the bounds are constants that the crate accepts")
}

fn record(histogram: &mut Histogram<u64>, since: Instant) {
    histogram.saturating_record(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
}

// === the workers ===

async fn worker(load: Load, budget: Rc<Cell<u64>>, end: Option<Instant>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut conn: Option<Reader<TcpStream>> = None;
    while budget.get() > 0 && end.is_none_or(|end| Instant::now() < end) {
        budget.set(budget.get() - 1);
        let one = tokio::time::timeout(load.patience, exchange(&load, conn.take(), &mut outcome));
        match one
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        {
            Ok(kept) => conn = kept,
            Err(error) => {
                *outcome.errors.entry(error.to_string()).or_default() += 1;
                // Nobody is there: a closed loop must not become a busy one.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    outcome
}

/// One request and its answer; gives the connection back if it can be used again.
async fn exchange(
    load: &Load,
    conn: Option<Reader<TcpStream>>,
    outcome: &mut Outcome,
) -> io::Result<Option<Reader<TcpStream>>> {
    let mut conn = match conn {
        Some(conn) => conn,
        None => {
            let stream = TcpStream::connect(("127.0.0.1", load.port)).await?;
            stream.set_nodelay(true)?;
            Reader::new(stream)
        }
    };
    let begun = Instant::now();
    conn.stream.write_all(&load.request).await?;
    let head = conn.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.status()?;
    let mut body = Body::of_response(status, &head.headers)?;
    let reusable = !body.is_until_close() && !head.headers.closes();
    if is_stream(&head.headers) {
        read_events(&mut conn, &mut body, begun, outcome).await?;
    } else {
        while let Some(piece) = body.next(&mut conn).await? {
            outcome.body_bytes += piece.len() as u64;
        }
    }
    record(&mut outcome.latency, begun);
    *outcome.statuses.entry(status).or_default() += 1;
    if let Some(name) = load.tally {
        *outcome
            .tally
            .entry(head.headers.text(name).unwrap_or_default())
            .or_default() += 1;
    }
    Ok(reusable.then_some(conn))
}

fn is_stream(headers: &Headers) -> bool {
    headers
        .get("content-type")
        .is_some_and(|t| t.starts_with(b"text/event-stream"))
}

async fn read_events(
    conn: &mut Reader<TcpStream>,
    body: &mut Body,
    begun: Instant,
    outcome: &mut Outcome,
) -> io::Result<()> {
    const DONE: &[u8] = b"data: [DONE]\n\n";
    // The last bytes seen: a blank line, or the end mark, can lie across pieces.
    let mut tail: Vec<u8> = Vec::with_capacity(DONE.len());
    let mut events = 0;
    while let Some(piece) = body.next(conn).await? {
        let across = tail.last() == Some(&b'\n') && piece.first() == Some(&b'\n');
        let ends = u64::from(across) + piece.windows(2).filter(|w| w == b"\n\n").count() as u64;
        if events == 0 && ends > 0 {
            record(&mut outcome.first_event, begun);
        }
        events += ends;
        outcome.pieces += 1;
        outcome.body_bytes += piece.len() as u64;
        tail.extend_from_slice(&piece[piece.len().saturating_sub(DONE.len())..]);
        tail.drain(..tail.len().saturating_sub(DONE.len()));
    }
    outcome.events += events;
    outcome.done += u64::from(tail == DONE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::chat_request;
    use crate::upstream::{Behaviour, Upstream, refused_port};
    use serde_json::json;

    fn load(port: u16, connections: usize, requests: u64, stream: bool) -> Load {
        let request = chat_request(
            &[],
            &json!({"model": "m", "messages": [], "stream": stream}),
        );
        Load::new(port, connections, Until::Requests(requests), request)
    }

    #[test]
    fn counts_answers_on_kept_connections() {
        let upstream = Upstream::start("one").unwrap();
        let outcome = Load {
            tally: Some("content-type"),
            ..load(upstream.port(), 8, 500, false)
        }
        .run()
        .unwrap();
        assert!(outcome.is_clean(), "{}", outcome.summary());
        assert_eq!((outcome.ok(), outcome.latency.len()), (500, 500));
        assert_eq!(
            outcome.tally,
            BTreeMap::from([("application/json".to_owned(), 500)])
        );
        let counters = upstream.counters();
        assert_eq!(
            (counters.requests, counters.connections, counters.aborted),
            (500, 8, 0)
        );
        assert!(outcome.p50() > 0 && outcome.p50() <= outcome.p99());
    }

    #[test]
    fn counts_the_events_of_streams() {
        let upstream = Upstream::start("one").unwrap();
        upstream.set(Behaviour::Stream {
            events: 50,
            gap: Duration::from_micros(10),
        });
        let outcome = load(upstream.port(), 4, 8, true).run().unwrap();
        // A role delta, a finish reason and [DONE] besides.
        assert_eq!(
            (outcome.ok(), outcome.done, outcome.events),
            (8, 8, 8 * 53),
            "{}",
            outcome.summary()
        );
        assert_eq!(outcome.first_event.len(), 8);
    }

    #[test]
    fn counts_what_went_wrong() {
        let upstream = Upstream::start("one").unwrap();
        for (behaviour, ok) in [
            (Behaviour::ResetAtOnce, 0),
            (Behaviour::TruncatedBody, 0),
            (Behaviour::ResetMidBody, 0),
            (Behaviour::error(503), 0),
            (Behaviour::UntilClose, 20),
        ] {
            upstream.set(behaviour.clone());
            let outcome = load(upstream.port(), 4, 20, false).run().unwrap();
            let errors: u64 = outcome.errors.values().sum();
            assert_eq!(
                (outcome.ok(), outcome.answers() + errors),
                (ok, 20),
                "{behaviour:?}: {}",
                outcome.summary()
            );
        }
        let refused = refused_port().unwrap();
        let outcome = load(refused.port, 2, 4, false).run().unwrap();
        assert_eq!(
            outcome.errors.values().sum::<u64>(),
            4,
            "{}",
            outcome.summary()
        );
    }

    #[test]
    fn ends_in_time() {
        let upstream = Upstream::start("one").unwrap();
        let until = Until::Time(Duration::from_millis(50));
        let outcome = Load {
            until,
            ..load(upstream.port(), 2, 0, false)
        }
        .run()
        .unwrap();
        assert!(
            outcome.is_clean() && outcome.ok() > 0,
            "{}",
            outcome.summary()
        );
        assert!(outcome.elapsed < Duration::from_secs(5));
        upstream.set(Behaviour::StallBeforeHeaders);
        let patience = Duration::from_millis(30);
        let outcome = Load {
            patience,
            ..load(upstream.port(), 1, 2, false)
        }
        .run()
        .unwrap();
        assert_eq!(
            outcome.errors,
            BTreeMap::from([("timed out".to_owned(), 2)])
        );
    }
}
