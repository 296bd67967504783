//! As much of an HTTP/2 client as it takes to ask, to read and to cancel: one stream, no Huffman codes, no dynamic table.
//!
//! After RFC 9113 (<https://www.rfc-editor.org/rfc/rfc9113>), section 6 for the frames, and RFC 7541
//! (<https://www.rfc-editor.org/rfc/rfc7541>), section 6.2.2 for header fields without indexing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Error code CANCEL.
const CANCEL: u32 = 8;

const PATIENCE: Duration = Duration::from_secs(10);

/// One connection for one request. The answer must fit into the window of 65,535 bytes that HTTP/2 begins with.
pub struct Client(TcpStream);

impl Client {
    pub async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let mut client = Client(stream.expect("a connection"));
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        client.0.write_all(preface).await.expect("the preface");
        client.send(SETTINGS, 0, 0, b"").await;
        client
    }

    pub async fn post(&mut self, path: &str, body: &[u8]) {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "gateway.test"),
            (":path", path),
            ("content-type", "application/json"),
        ] {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).expect("short"));
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.send(HEADERS, END_HEADERS, 1, &block).await;
        self.send(DATA, END_STREAM, 1, body).await;
    }

    /// Reads the answer's body until it has this in it.
    pub async fn read_until(&mut self, text: &str) {
        let mut body = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&body).contains(text) {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await.expect("a frame");
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                self.0.read_exact(&mut payload).await.expect("its payload");
                match head[3] {
                    DATA => body.extend_from_slice(&payload),
                    RST_STREAM => panic!("reset before {text:?} came"),
                    _ => {}
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, read).await;
        assert!(waited.is_ok(), "{text:?} did not come");
    }

    /// Resets the stream, and leaves the connection open for a while: it is the stream's end that is to be seen.
    pub async fn cancel(mut self) {
        self.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()).await;
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        let _ = tokio::time::timeout(Duration::from_millis(200), read).await;
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).await.expect("sent");
    }
}
