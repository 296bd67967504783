//! What a provider does about one request, in the words of no HTTP version: heads, bytes, pauses, ends.
//!
//! Pure. `server` plays a script over HTTP/1.1 and over HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub enum Act {
    Head {
        status: u16,
        headers: Vec<(&'static str, String)>,
        /// Of the body that is announced. `None`: chunked in HTTP/1.1.
        length: Option<usize>,
    },
    /// One write, and one chunk or frame.
    Data(Bytes),
    /// Ends early when the peer goes away.
    Pause(Duration),
    /// Nothing until the peer goes away.
    Stall,
    /// The end. A body shorter than announced ends the connection in HTTP/1.1, the stream in HTTP/2.
    End,
    /// The connection is closed in HTTP/1.1, the stream cancelled in HTTP/2.
    Cut,
    /// TCP's reset in HTTP/1.1, `RST_STREAM` with an error in HTTP/2.
    Reset,
}

/// A request to a stand-in.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What the client wrote, different in every request; the answer quotes it.
    pub question: String,
    /// The fault to play.
    pub model: String,
    pub stream: bool,
    /// Decides where an answer is cut.
    pub chance: u64,
}

/// The words around the question in a good answer.
pub const BEGINS: &str = "You asked: ";
pub const ENDS: &str = " That was all.";

/// Between what is sent and a reset, or a cancelled stream, which would overtake it.
const BEFORE_RESET: Duration = Duration::from_millis(5);

// === impl Asked ===

impl Asked {
    /// `None`: this is no chat completion of text.
    pub fn read(body: &[u8], seed: u64) -> Option<Self> {
        let request: Value = serde_json::from_slice(body).ok()?;
        let last = request.get("messages")?.as_array()?.last()?;
        let question = last.get("content")?.as_str()?.to_owned();
        let chance = question
            .bytes()
            .fold(mix(seed), |h, b| mix(h ^ u64::from(b)));
        Some(Self {
            question,
            model: request.get("model")?.as_str()?.to_owned(),
            stream: request.get("stream").and_then(Value::as_bool) == Some(true),
            chance,
        })
    }

    /// Everything that a good answer says.
    pub fn text(&self) -> String {
        format!("{BEGINS}{}{ENDS}", self.question)
    }

    pub fn completion(&self, text: &str) -> Bytes {
        let body = json!({
            "id": "chatcmpl-chaos", "object": "chat.completion", "created": 1_767_225_600, "model": self.model,
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16},
        });
        body.to_string().into()
    }

    fn delta(&self, delta: &Value, finish: Option<&str>) -> Bytes {
        let body = json!({
            "id": "chatcmpl-chaos", "object": "chat.completion.chunk", "created": 1_767_225_600, "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        });
        event(&body.to_string())
    }

    /// Not yet an answer.
    pub fn role(&self) -> Bytes {
        self.delta(&json!({"role": "assistant", "content": ""}), None)
    }

    pub fn says(&self, text: &str) -> Bytes {
        self.delta(&json!({"content": text}), None)
    }

    /// The finish reason and the terminator.
    pub fn closing(&self) -> [Bytes; 2] {
        [self.delta(&json!({}), Some("stop")), event("[DONE]")]
    }

    /// All events of a good stream that says this.
    pub fn events(&self, texts: &[&str]) -> Vec<Bytes> {
        let said = texts.iter().map(|text| self.says(text));
        std::iter::once(self.role())
            .chain(said)
            .chain(self.closing())
            .collect()
    }

    pub fn content_type(&self) -> &'static str {
        match self.stream {
            true => "text/event-stream",
            false => "application/json",
        }
    }

    /// A good answer.
    pub fn good(&self) -> Vec<Act> {
        if !self.stream {
            return whole(200, "application/json", self.completion(&self.text()));
        }
        let ends = format!("{}{ENDS}", self.question);
        let events = self.events(&[BEGINS, &ends]);
        let data = events.into_iter().map(Act::Data);
        std::iter::once(sse())
            .chain(data)
            .chain([Act::End])
            .collect()
    }

    /// Where `bytes` are cut: somewhere inside.
    pub fn inside(&self, bytes: &Bytes) -> usize {
        let room = (bytes.len() as u64).saturating_sub(2).max(1);
        usize::try_from(1 + self.chance % room).unwrap_or(1)
    }

    /// An answer begun, of which nothing real has come: a part of the one-shot body, or of the first real event.
    pub fn begun(&self) -> Vec<Act> {
        if self.stream {
            let first = self.says(BEGINS);
            let part = first.slice(..self.inside(&first).min(first.len() - 2));
            return vec![sse(), Act::Data(self.role()), Act::Data(part)];
        }
        let body = self.completion(&self.text());
        let part = body.slice(..self.inside(&body));
        vec![
            head(200, "application/json", Some(body.len())),
            Act::Data(part),
        ]
    }

    /// The head alone.
    pub fn head(&self) -> Vec<Act> {
        match self.stream {
            true => vec![sse()],
            false => {
                let length = self.completion(&self.text()).len();
                vec![head(200, "application/json", Some(length))]
            }
        }
    }

    /// A stream whose first words are with the client.
    pub fn released(&self) -> Vec<Act> {
        vec![
            sse(),
            Act::Data(self.role()),
            Act::Data(self.says(BEGINS)),
            Act::Data(self.says(&self.question)),
        ]
    }
}

/// These acts, and then this one; with the time for them to arrive before what would overtake them.
pub fn then(mut acts: Vec<Act>, last: Act) -> Vec<Act> {
    if matches!(last, Act::Reset | Act::Cut) {
        acts.push(Act::Pause(BEFORE_RESET));
    }
    acts.push(last);
    acts
}

/// A whole answer with a length.
pub fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Vec<Act> {
    let body = body.into();
    vec![
        head(status, content_type, Some(body.len())),
        Act::Data(body),
        Act::End,
    ]
}

pub fn head(status: u16, content_type: &str, length: Option<usize>) -> Act {
    Act::Head {
        status,
        headers: vec![("content-type", content_type.to_owned())],
        length,
    }
}

/// The head of a stream.
pub fn sse() -> Act {
    head(200, "text/event-stream", None)
}

pub fn event(data: &str) -> Bytes {
    format!("data: {data}\n\n").into()
}

/// OpenAI's error object.
pub fn error(kind: &str) -> String {
    json!({"error": {"message": "a stand-in's error", "type": kind, "param": null, "code": kind}})
        .to_string()
}

/// The next of a row of numbers that look like chance (Steele, Lea and Flood's SplitMix64).
pub fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
