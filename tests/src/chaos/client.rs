//! The clients: many at once on kept-alive connections, each with a question of its own, and the tally of what they got.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::gateway::IMPATIENT;
use super::judge::{Got, Received};
use crate::client::chat_request;
use crate::wire::{Body, Reader};

/// Longer than any answer may take: what is not there by then is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to ask, and how often.
#[derive(Debug, Clone)]
pub struct Crowd {
    pub port: u16,
    pub clients: usize,
    pub requests: u64,
    pub tier: String,
    pub stream: bool,
    /// With the header that [`IMPATIENT`] names.
    pub impatient: bool,
    /// Begins every question; with a number behind it no two are alike.
    pub about: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub answered: u64,
    /// By status.
    pub refused: BTreeMap<u16, u64>,
    pub broken: u64,
    /// By what was wrong.
    pub bad: BTreeMap<String, u64>,
    /// Answers by `x-routed-model`.
    pub models: BTreeMap<String, u64>,
}

// === impl Tally ===

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.answered += other.answered;
        self.broken += other.broken;
        for (status, n) in other.refused {
            *self.refused.entry(status).or_default() += n;
        }
        for (why, n) in other.bad {
            *self.bad.entry(why).or_default() += n;
        }
        for (model, n) in other.models {
            *self.models.entry(model).or_default() += n;
        }
    }

    pub fn requests(&self) -> u64 {
        self.answered + self.refusals() + self.broken + self.bad.values().sum::<u64>()
    }

    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    fn count(&mut self, got: Got, model: String) {
        match got {
            Got::Answer => {
                self.answered += 1;
                *self.models.entry(model).or_default() += 1;
            }
            Got::Refusal(status) => *self.refused.entry(status).or_default() += 1,
            Got::Broken => self.broken += 1,
            Got::Bad(why) => *self.bad.entry(why).or_default() += 1,
        }
    }
}

// === impl Crowd ===

impl Crowd {
    /// Asks on the current thread's runtime.
    pub async fn ask(&self) -> Tally {
        let next = Rc::new(Cell::new(0));
        let local = LocalSet::new();
        let clients: Vec<_> = (0..self.clients.max(1))
            .map(|_| local.spawn_local(client(self.clone(), Rc::clone(&next))))
            .collect();
        let mut tally = Tally::default();
        let gather = async {
            for client in clients {
                match client.await {
                    Ok(part) => tally.add(part),
                    Err(error) => *tally.bad.entry(error.to_string()).or_default() += 1,
                }
            }
        };
        local.run_until(gather).await;
        tally
    }
}

async fn client(crowd: Crowd, next: Rc<Cell<u64>>) -> Tally {
    let mut tally = Tally::default();
    let mut kept: Option<Reader<TcpStream>> = None;
    while next.get() < crowd.requests {
        let number = next.get();
        next.set(number + 1);
        let question = format!("{} {number}?", crowd.about);
        let asked = exchange(&crowd, &question, kept.take());
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok((got, model, conn)) => {
                tally.count(got, model);
                kept = conn;
            }
            Err(error) => *tally.bad.entry(format!("no answer: {error}")).or_default() += 1,
        }
    }
    tally
}

/// What came, `x-routed-model`, and the connection if it can be used again. An error: not even a head came.
async fn exchange(
    crowd: &Crowd,
    question: &str,
    conn: Option<Reader<TcpStream>>,
) -> io::Result<(Got, String, Option<Reader<TcpStream>>)> {
    let mut conn = match conn {
        Some(conn) => conn,
        None => {
            let stream = TcpStream::connect(("127.0.0.1", crowd.port)).await?;
            stream.set_nodelay(true)?;
            Reader::new(stream)
        }
    };
    let body = json!({
        "model": "auto", "stream": crowd.stream, "messages": [{"role": "user", "content": question}],
    });
    let headers = [("x-llm-policy", crowd.tier.as_str()), (IMPATIENT, "1")];
    let sent = if crowd.impatient {
        &headers[..]
    } else {
        &headers[..1]
    };
    let request = chat_request(sent, &body);
    conn.stream.write_all(&request).await?;
    let head = conn.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.status()?;
    let model = head.headers.text("x-routed-model").unwrap_or_default();
    let mut body = Body::of_response(status, &head.headers)?;
    let framed = !body.is_until_close();
    let mut bytes = Vec::new();
    let whole = loop {
        match body.next(&mut conn).await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    let received = Received {
        status,
        body: &bytes,
        whole,
    };
    let got = Got::of(&received, question, crowd.stream);
    let goes_on = whole && framed && !head.headers.closes();
    Ok((got, model, goes_on.then_some(conn)))
}
