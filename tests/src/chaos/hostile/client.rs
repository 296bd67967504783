//! Hostile clients at work: many at once, each with its moves, and what came of them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::dice::Dice;
use super::kind::{Expect, KINDS, Kind, Move};
use crate::client::{Conn, Reply};

/// Longer than anything here takes. Who waits longer was forgotten.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pieces of what is sent slowly, and the pause after each.
const PIECES: usize = 12;
const SLOWLY: Duration = Duration::from_millis(3);

/// Which clients, and how many of them at once.
#[derive(Debug, Clone)]
pub struct Crowd {
    pub port: u16,
    /// By number: the seed and the number decide what a client does.
    pub clients: Range<u64>,
    pub at_once: usize,
    pub seed: u64,
    /// Clients of other kinds than this are left out; `None`: none is.
    pub only: Option<&'static str>,
}

/// What came of a kind's clients.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub served: u64,
    pub refused: u64,
    /// The connection ended without a whole answer, or the client left.
    pub ended: u64,
}

#[derive(Debug, Default)]
pub struct Outcome {
    pub kinds: BTreeMap<&'static str, Tally>,
    /// What must not have come of a client.
    pub wrong: BTreeMap<String, u64>,
}

/// What came of one client.
enum End {
    Reply(Box<Reply>),
    Left,
    /// Instead of an answer.
    Failed(io::Error),
}

// === impl Crowd ===

impl Crowd {
    pub async fn play(self) -> Outcome {
        let next = Arc::new(AtomicU64::new(self.clients.start));
        let mut players = JoinSet::new();
        for _ in 0..self.at_once.max(1) {
            players.spawn(self.clone().player(Arc::clone(&next)));
        }
        let mut outcome = Outcome::default();
        while let Some(part) = players.join_next().await {
            match part {
                Ok(part) => outcome.add(part),
                Err(error) => outcome.is_wrong(error.to_string()),
            }
        }
        outcome
    }

    async fn player(self, next: Arc<AtomicU64>) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.clients.end {
                return outcome;
            }
            let mut dice = Dice::new(self.seed, number);
            // Every kind as often as any other.
            let Some(kind) = KINDS.get(number as usize % KINDS.len()) else {
                return outcome;
            };
            if self.only.is_some_and(|only| only != kind.name) {
                continue;
            }
            let end = play(self.port, (kind.moves)(&mut dice)).await;
            outcome.count(kind, number, end);
        }
    }
}

async fn play(port: u16, moves: Vec<Move>) -> End {
    match tokio::time::timeout(PATIENCE, run(port, moves)).await {
        Ok(Ok(Some(reply))) => End::Reply(Box::new(reply)),
        Ok(Ok(None)) => End::Left,
        Ok(Err(error)) => End::Failed(error),
        Err(_) => End::Failed(io::ErrorKind::TimedOut.into()),
    }
}

async fn run(port: u16, moves: Vec<Move>) -> io::Result<Option<Reply>> {
    let mut conn = Conn::open(port).await?;
    let mut reply = None;
    for one in moves {
        match one {
            // An answer may have come, and the connection ended, before all was sent.
            Move::Send(bytes) => drop(conn.send(&bytes).await),
            Move::Drip(bytes) => {
                for piece in bytes.chunks(bytes.len().div_ceil(PIECES).max(1)) {
                    conn.send(piece).await?;
                    tokio::time::sleep(SLOWLY).await;
                }
            }
            Move::Pause(time) => tokio::time::sleep(time).await,
            Move::Begin => drop(conn.response().await?.piece().await?),
            Move::Reply => reply = Some(conn.reply().await?),
            Move::Finish => drop(conn.finish().await),
            Move::Reset => return conn.reset().map(|()| None),
        }
    }
    Ok(reply)
}

// === impl Outcome ===

impl Outcome {
    pub fn clients(&self) -> u64 {
        let of = |tally: &Tally| tally.served + tally.refused + tally.ended;
        self.kinds.values().map(of).sum()
    }

    pub fn add(&mut self, other: Self) {
        for (kind, part) in other.kinds {
            let tally = self.kinds.entry(kind).or_default();
            tally.served += part.served;
            tally.refused += part.refused;
            tally.ended += part.ended;
        }
        for (why, n) in other.wrong {
            *self.wrong.entry(why).or_default() += n;
        }
    }

    fn count(&mut self, kind: &Kind, number: u64, end: End) {
        let tally = self.kinds.entry(kind.name).or_default();
        let status = match &end {
            End::Reply(reply) if reply.status == 200 => {
                tally.served += 1;
                200
            }
            End::Reply(reply) => {
                tally.refused += 1;
                reply.status
            }
            End::Left | End::Failed(_) => {
                tally.ended += 1;
                0
            }
        };
        let what = match (&end, kind.expect) {
            (End::Left, _) => return,
            (End::Failed(error), _) if is_forgotten(error) => "was never answered".to_owned(),
            (End::Failed(_), Expect::Any) => return,
            (End::Failed(error), _) => format!("got no answer: {error}"),
            (End::Reply(_), Expect::Served | Expect::Any) if status == 200 => return,
            (End::Reply(reply), Expect::Refused | Expect::Any) if (400..500).contains(&status) => {
                if reply.json()["error"]["message"].is_string() {
                    return;
                }
                format!("got a {status} without an error object")
            }
            (End::Reply(reply), _) => format!("got a {status}, {}", reply.json()["error"]["code"]),
        };
        self.is_wrong(format!("{} {what} (client {number} first)", kind.name));
    }

    /// The first client of each is enough to play it again.
    fn is_wrong(&mut self, what: String) {
        let same = |known: &String| known.split(" (").next() == what.split(" (").next();
        let key = self.wrong.keys().find(|known| same(known)).cloned();
        *self.wrong.entry(key.unwrap_or(what)).or_default() += 1;
    }
}

fn is_forgotten(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}
