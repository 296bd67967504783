//! HTTP/1.1 as bytes: what the raw client, the scripted providers and the load generator read.
//!
//! Nothing is normalised: header names and values are the bytes that came, in their order, duplicates included.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A head larger than this is refused, so that a broken peer cannot fill memory.
const MAX_HEAD: usize = 1 << 20;

/// Header or trailer fields as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(Bytes, Bytes)>);

impl Headers {
    /// The first value of `name`, in any letter case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, v)| v.as_ref())
    }

    /// The first value of `name` as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, v)| v.as_ref())
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether any name or value contains `needle`: for "this key was seen nowhere".
    pub fn mentions(&self, needle: &[u8]) -> bool {
        let has = |bytes: &[u8]| bytes.windows(needle.len().max(1)).any(|w| w == needle);
        self.0.iter().any(|(name, value)| has(name) || has(value))
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.all(name)
            .any(|v| v.eq_ignore_ascii_case(value.as_bytes()))
    }

    /// Whether the sender of this head closes the connection after the message.
    pub fn closes(&self) -> bool {
        self.is("connection", "close")
    }
}

/// The start line without its CRLF, and the fields.
#[derive(Debug, Clone)]
pub struct Head {
    pub start: Bytes,
    pub headers: Headers,
}

impl Head {
    /// The `n`th word of the start line; empty if there is none.
    pub fn word(&self, n: usize) -> Bytes {
        let word = self.start.split(|b| *b == b' ').nth(n).unwrap_or_default();
        self.start.slice_ref(word)
    }

    /// The status of a response's head; `InvalidData` if this is not one.
    pub fn status(&self) -> io::Result<u16> {
        std::str::from_utf8(&self.word(1))
            .ok()
            .filter(|_| self.start.starts_with(b"HTTP/1."))
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| invalid("not an HTTP/1 status line"))
    }
}

/// How a body ends, and how much of it is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    /// Bytes left of the current chunk; `None` before a chunk's size line.
    Chunked(Option<u64>),
    UntilClose,
    Done,
}

/// A message's body while it is being read.
#[derive(Debug)]
pub struct Body {
    framing: Framing,
    pub trailers: Headers,
}

impl Body {
    /// The body of a request with these headers.
    pub fn of_request(headers: &Headers) -> io::Result<Self> {
        Self::new(headers, Framing::Done)
    }

    /// The body of a response with these headers, to a request that was not `HEAD`.
    pub fn of_response(status: u16, headers: &Headers) -> io::Result<Self> {
        if status == 204 || status == 304 {
            return Ok(Self {
                framing: Framing::Done,
                trailers: Headers::default(),
            });
        }
        Self::new(headers, Framing::UntilClose)
    }

    fn new(headers: &Headers, without_length: Framing) -> io::Result<Self> {
        let framing = match headers.get("content-length") {
            _ if headers.is("transfer-encoding", "chunked") => Framing::Chunked(None),
            Some(length) => match number(length, 10)? {
                0 => Framing::Done,
                length => Framing::Length(length),
            },
            None => without_length,
        };
        Ok(Self {
            framing,
            trailers: Headers::default(),
        })
    }

    /// Whether the message was framed by the end of its connection.
    pub fn is_until_close(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// The next bytes as they arrived, never across a chunk's border; `None` at the proper end.
    /// A connection that ends before that is `UnexpectedEof`.
    pub async fn next<S: AsyncRead + Unpin>(
        &mut self,
        from: &mut Reader<S>,
    ) -> io::Result<Option<Bytes>> {
        loop {
            match self.framing {
                Framing::Done => return Ok(None),
                Framing::UntilClose => {
                    if from.buf.is_empty() && !from.fill().await? {
                        self.framing = Framing::Done;
                        return Ok(None);
                    }
                    return Ok(Some(from.take(u64::MAX)));
                }
                Framing::Length(left) => {
                    let piece = from.some(left).await?;
                    self.framing = match left - piece.len() as u64 {
                        0 => Framing::Done,
                        left => Framing::Length(left),
                    };
                    return Ok(Some(piece));
                }
                Framing::Chunked(None) => {
                    let line = from.line().await?;
                    let size = line.split(|b| *b == b';').next().unwrap_or_default();
                    match number(size.trim_ascii(), 16)? {
                        0 => {
                            self.trailers = from.fields().await?;
                            self.framing = Framing::Done;
                        }
                        size => self.framing = Framing::Chunked(Some(size)),
                    }
                }
                Framing::Chunked(Some(0)) => {
                    if !from.line().await?.is_empty() {
                        return Err(invalid("a chunk is longer than its size"));
                    }
                    self.framing = Framing::Chunked(None);
                }
                Framing::Chunked(Some(left)) => {
                    let piece = from.some(left).await?;
                    self.framing = Framing::Chunked(Some(left - piece.len() as u64));
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// The rest of the body in one piece.
    pub async fn rest<S: AsyncRead + Unpin>(&mut self, from: &mut Reader<S>) -> io::Result<Bytes> {
        let Some(first) = self.next(from).await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.next(from).await? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(piece) = self.next(from).await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

/// A buffered reader of HTTP/1.1 messages.
#[derive(Debug)]
pub struct Reader<S> {
    pub stream: S,
    buf: BytesMut,
}

impl<S> Reader<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buf: BytesMut::new(),
        }
    }

    fn take(&mut self, most: u64) -> Bytes {
        let n = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .min(self.buf.len());
        self.buf.split_to(n).freeze()
    }
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// Reads once; `false` at the end of the stream.
    async fn fill(&mut self) -> io::Result<bool> {
        self.buf.reserve(16 * 1024);
        Ok(self.stream.read_buf(&mut self.buf).await? > 0)
    }

    /// At least one byte, at most `most`.
    async fn some(&mut self, most: u64) -> io::Result<Bytes> {
        if self.buf.is_empty() && !self.fill().await? {
            return Err(cut("in the middle of a body"));
        }
        Ok(self.take(most))
    }

    /// One line, without its CRLF.
    async fn line(&mut self) -> io::Result<Bytes> {
        let end = self
            .find(b"\r\n")
            .await?
            .ok_or_else(|| cut("in the middle of a line"))?;
        let line = self.buf.split_to(end).freeze();
        let _ = self.buf.split_to(2);
        Ok(line)
    }

    /// Fields up to and with the empty line.
    async fn fields(&mut self) -> io::Result<Headers> {
        let mut headers = Headers(Vec::with_capacity(16));
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(headers);
            }
            let colon = line
                .iter()
                .position(|b| *b == b':')
                .ok_or_else(|| invalid("a header without a colon"))?;
            headers.0.push((
                line.slice(..colon),
                line.slice_ref(line[colon + 1..].trim_ascii()),
            ));
        }
    }

    /// The next message's head; `None` if the peer closed before its first byte.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        if self.buf.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        let start = self.line().await?;
        let headers = self.fields().await?;
        Ok(Some(Head { start, headers }))
    }

    async fn find(&mut self, what: &[u8]) -> io::Result<Option<usize>> {
        let mut from = 0;
        loop {
            if let Some(at) = self.buf[from..].windows(what.len()).position(|w| w == what) {
                return Ok(Some(from + at));
            }
            if self.buf.len() > MAX_HEAD {
                return Err(invalid("a line of more than 1 MiB"));
            }
            from = self.buf.len().saturating_sub(what.len() - 1);
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }
}

/// A request's or response's bytes: start line, fields, and a body framed by `content-length` unless the
/// fields already say how it is framed.
pub fn message(start: &str, headers: &[(&[u8], &[u8])], body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(body.len() + 256);
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        for part in [*name, b": ", *value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    let framed = |(name, _): &(&[u8], &[u8])| {
        name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding")
    };
    if !headers.iter().any(framed) {
        out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out.freeze()
}

/// `data` as one chunk of a chunked body; empty data would end the body, and makes no chunk.
pub fn chunk(data: &[u8]) -> Bytes {
    if data.is_empty() {
        return Bytes::new();
    }
    let mut out = BytesMut::from(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    out.freeze()
}

/// The end of a chunked body, with trailers.
pub fn last_chunk(trailers: &[(&[u8], &[u8])]) -> Bytes {
    let mut out = BytesMut::from(&b"0\r\n"[..]);
    for (name, value) in trailers {
        for part in [*name, b": ", *value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
    out.freeze()
}

fn number(digits: &[u8], radix: u32) -> io::Result<u64> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, radix).ok())
        .ok_or_else(|| invalid("a length that is not a number"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn cut(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the connection ended {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `input`, as `step` bytes per read, and says the body's pieces joined, or the error's kind.
    async fn check(input: &[u8], expected: Result<(&str, &[u8]), io::ErrorKind>) {
        for step in [1, 3, input.len().max(1)] {
            let (mut to, from) = tokio::io::duplex(step);
            let bytes = input.to_vec();
            tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut to, &bytes).await });
            let got = read(Reader::new(from)).await;
            match (&got, &expected) {
                (Ok((start, body)), Ok((s, b))) => {
                    assert_eq!((start.as_ref(), body.as_ref()), (s.as_bytes(), *b))
                }
                (Err(e), Err(kind)) => assert_eq!(e.kind(), *kind, "{e}"),
                _ => panic!("{:?} gave {got:?}", String::from_utf8_lossy(input)),
            }
        }
    }

    async fn read(mut from: Reader<tokio::io::DuplexStream>) -> io::Result<(Bytes, Bytes)> {
        let head = from.head().await?.ok_or_else(|| cut("before the head"))?;
        let mut body = Body::of_response(head.status()?, &head.headers)?;
        Ok((head.start, body.rest(&mut from).await?))
    }

    #[tokio::test]
    async fn reads_every_framing() {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        check(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhix",
            Ok(("HTTP/1.1 200 OK", b"hi")),
        )
        .await;
        check(
            b"HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n",
            Ok(("HTTP/1.1 200 OK", b"")),
        )
        .await;
        check(b"HTTP/1.1 204 No\r\n\r\n", Ok(("HTTP/1.1 204 No", b""))).await;
        check(
            b"HTTP/1.1 200 OK\r\n\r\nto the end",
            Ok(("HTTP/1.1 200 OK", b"to the end")),
        )
        .await;
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\nA;x=1\r\n0123456789\r\n0\r\na: b\r\n\r\n";
        check(chunked, Ok(("HTTP/1.1 200 OK", b"hi0123456789"))).await;
        check(&chunked[..chunked.len() - 9], Err(UnexpectedEof)).await;
        check(
            b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhi",
            Err(UnexpectedEof),
        )
        .await;
        check(b"HTTP/1.1 200 OK\r\ncontent-le", Err(UnexpectedEof)).await;
        check(
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            Err(InvalidData),
        )
        .await;
        check(b"SSH-2.0-hello\r\n\r\n", Err(InvalidData)).await;
    }

    #[tokio::test]
    async fn keeps_trailers_and_bytes_that_are_not_text() {
        let input: &[u8] =
            b"HTTP/1.1 200 OK\r\nx: \xff\xfe\r\nX: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\nt: \x80\r\n\r\n";
        let mut from = Reader::new(input);
        let head = from.head().await.unwrap().unwrap();
        assert_eq!(
            head.headers.all("x").collect::<Vec<_>>(),
            [&b"\xff\xfe"[..], b"2"]
        );
        assert!(head.headers.mentions(b"\xfe") && !head.headers.mentions(b"\x80"));
        let mut body = Body::of_response(200, &head.headers).unwrap();
        assert_eq!(body.rest(&mut from).await.unwrap(), "");
        assert_eq!(body.trailers.get("t"), Some(&b"\x80"[..]));
    }
}
