//! A tap: what went over a port of loopback, both ways.
//!
//! It copies bytes as they come and changes none, so that neither end can tell it from the server behind it. Messages
//! are read out of the copies afterwards.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::wire::{Body, Head, Headers, Reader};

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Tap {
    /// Connect here instead of to the server.
    pub port: u16,
    connections: Arc<Mutex<Vec<Arc<Connection>>>>,
    server: JoinHandle<()>,
}

/// A whole request, and as much of its answer as there was.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The request target, with its query.
    pub path: String,
    pub sent: Bytes,
    /// 0 while there is no answer.
    pub status: u16,
    pub headers: Headers,
    pub answer: Bytes,
    /// The answer came to its proper end.
    pub is_whole: bool,
}

#[derive(Debug, Default)]
struct Connection {
    bytes: [Mutex<Vec<u8>>; 2],
    /// Exchanges handed out already.
    taken: Mutex<usize>,
}

/// Which of a connection's copies.
const SENT: usize = 0;
const ANSWERED: usize = 1;

// === impl Tap ===

impl Tap {
    /// Before the server on this port of loopback.
    pub async fn before(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let own = listener.local_addr()?.port();
        let connections = Arc::<Mutex<Vec<Arc<Connection>>>>::default();
        let all = Arc::clone(&connections);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = Arc::<Connection>::default();
                lock(&all).push(Arc::clone(&connection));
                tokio::spawn(async move { connection.carry(client, port).await });
            }
        });
        Ok(Tap {
            port: own,
            connections,
            server,
        })
    }

    /// The exchanges whose request came since the last call.
    pub async fn take(&self) -> io::Result<Vec<Exchange>> {
        let connections = lock(&self.connections).clone();
        let mut exchanges = Vec::new();
        for connection in connections {
            let all = connection.exchanges().await?;
            let taken = std::mem::replace(&mut *lock(&connection.taken), all.len());
            exchanges.extend(all.into_iter().skip(taken));
        }
        Ok(exchanges)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// === impl Connection ===

impl Connection {
    /// An end that closes is closed to the other side as well; an error ends the connection.
    async fn carry(&self, client: TcpStream, port: u16) -> io::Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = server.into_split();
        let sent = copy(client_reads, server_writes, &self.bytes[SENT]);
        let answered = copy(server_reads, client_writes, &self.bytes[ANSWERED]);
        tokio::try_join!(sent, answered)?;
        Ok(())
    }

    async fn exchanges(&self) -> io::Result<Vec<Exchange>> {
        let [sent, answered] = &self.bytes;
        let (sent, answered) = (lock(sent).clone(), lock(answered).clone());
        let (mut sent, mut answered) = (Reader::new(&sent[..]), Reader::new(&answered[..]));
        let mut exchanges = Vec::new();
        loop {
            match exchange(&mut sent, &mut answered).await {
                Ok(Some(exchange)) => exchanges.push(exchange),
                Ok(None) => return Ok(exchanges),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(exchanges),
                Err(error) => return Err(error),
            }
        }
    }
}

async fn exchange(
    sent: &mut Reader<&[u8]>,
    answered: &mut Reader<&[u8]>,
) -> io::Result<Option<Exchange>> {
    let Some(asked) = sent.head().await? else {
        return Ok(None);
    };
    let mut exchange = Exchange {
        path: String::from_utf8_lossy(&asked.word(1)).into_owned(),
        sent: Body::of_request(&asked.headers)?.rest(sent).await?,
        status: 0,
        headers: Headers::default(),
        answer: Bytes::new(),
        is_whole: false,
    };
    match exchange.read_answer(answered).await {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(Some(exchange)),
    }
}

// === impl Exchange ===

impl Exchange {
    async fn read_answer(&mut self, from: &mut Reader<&[u8]>) -> io::Result<()> {
        let Some((status, head)) = final_head(from).await? else {
            return Ok(());
        };
        self.status = status;
        let mut body = Body::of_response(status, &head.headers)?;
        self.headers = head.headers;
        let mut answer = BytesMut::new();
        let end = loop {
            match body.next(from).await {
                Ok(Some(piece)) => answer.extend_from_slice(&piece),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.is_whole = end.is_ok();
        self.answer = answer.freeze();
        end
    }
}

/// The next head that is not informational.
async fn final_head(from: &mut Reader<&[u8]>) -> io::Result<Option<(u16, Head)>> {
    while let Some(head) = from.head().await? {
        let status = head.status()?;
        if !(100..200).contains(&status) {
            return Ok(Some((status, head)));
        }
    }
    Ok(None)
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    kept: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return to.shutdown().await;
        }
        lock(kept).extend_from_slice(piece);
        to.write_all(piece).await?;
    }
}

/// A test that panicked elsewhere must not hide its message behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{self, Conn};
    use crate::upstream::{Behaviour, Step, Upstream};

    #[tokio::test]
    async fn tells_what_went_over_a_connection_once() {
        let server = Upstream::start("tapped").unwrap();
        let tap = Tap::before(server.port()).await.unwrap();
        assert!(tap.take().await.unwrap().is_empty());
        let mut conn = Conn::open(tap.port).await.unwrap();
        for (n, said) in ["first", "second"].into_iter().enumerate() {
            let body = serde_json::json!({"model": said, "stream": n == 1, "messages": []});
            conn.send(&client::chat_request(&[], &body)).await.unwrap();
            let reply = conn.reply().await.unwrap();
            let taken = tap.take().await.unwrap();
            assert_eq!(taken.len(), 1);
            assert_eq!(taken[0].path, "/v1/chat/completions");
            assert_eq!(
                serde_json::from_slice::<serde_json::Value>(&taken[0].sent).unwrap(),
                body
            );
            assert_eq!((taken[0].status, &taken[0].answer), (200, &reply.body()));
            assert!(taken[0].is_whole && taken[0].headers.contains("content-type"));
        }
        drop(conn);
        assert!(tap.take().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn tells_as_much_of_an_answer_as_there_was() {
        let server = Upstream::start("tapped").unwrap();
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
        for (steps, status, answer) in [
            (
                vec![Step::Write(half.to_vec().into()), Step::Close],
                200,
                "half",
            ),
            (vec![Step::Close], 0, ""),
        ] {
            server.set(Behaviour::Steps(steps));
            let tap = Tap::before(server.port()).await.unwrap();
            let request = client::chat_request(&[], &serde_json::json!({}));
            client::send(tap.port, &request).await.unwrap_err();
            let taken = tap.take().await.unwrap();
            assert_eq!(
                (taken.len(), taken[0].status, &taken[0].answer[..]),
                (1, status, answer.as_bytes())
            );
            assert!(!taken[0].is_whole && &taken[0].sent[..] == b"{}");
        }
    }
}
