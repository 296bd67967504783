//! HTTP as the roles see it: header maps in, actions out.
//!
//! A role answers each event with [`Action`]s; `host.rs` carries them out in order and knows nothing of why.

use std::borrow::Cow;
use std::time::Duration;

use crate::chat::error::ErrorReply;

/// A header map as the host gave it: names in lower case, values as bytes, since a client may send anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(Cow<'static, str>, Vec<u8>)>);

impl Headers {
    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_slice())
    }

    /// The first value of a name, if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// `:status`, 0 if there is none that is a number.
    pub fn status(&self) -> u16 {
        self.text(":status")
            .and_then(|s| s.parse().ok())
            .unwrap_or(0)
    }

    pub fn content_length(&self) -> Option<u64> {
        self.text("content-length").and_then(|s| s.parse().ok())
    }
}

/// A header to be sent. What is always the same is not copied.
pub type HeaderLine = (Cow<'static, str>, Cow<'static, [u8]>);

/// A response made by the filter itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(status: u16, mut headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        Reply {
            status,
            headers,
            body,
        }
    }
}

impl From<&ErrorReply> for Reply {
    fn from(error: &ErrorReply) -> Self {
        Reply::json(error.status, Vec::new(), error.body())
    }
}

/// An HTTP request of the filter's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callout {
    pub cluster: String,
    pub host: String,
    pub path: String,
    pub body: Vec<u8>,
    pub timeout: Duration,
}

/// How a callout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalloutEnd<'a> {
    /// Envoy would not send it: no such cluster, or no healthy host.
    NotSent,
    /// The connection failed or was reset.
    Reset,
    Answered {
        status: u16,
        body: &'a [u8],
    },
}

/// What a role asks of its host and needs the answer to at once. Tests have hosts of their own, whose clock stands still.
pub trait Host {
    /// Any clock that goes forward, the same in every worker. Reading it is not free.
    fn now(&self) -> Duration;

    fn random(&self) -> u64;

    /// What the workers of this Envoy share under a key, empty if nothing; and the token that [`Host::share`] takes.
    fn shared(&self, key: &str) -> (Vec<u8>, Option<u32>);

    /// Replaces what is shared under a key. `false`: another worker did since the token was given.
    fn share(&self, key: &str, value: &[u8], token: Option<u32>) -> bool;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Go on with the request or response that this event belongs to. The last of `Continue` and `Pause` counts.
    Continue,
    /// Hold it, and buffer what follows.
    Pause,
    /// Replace the whole map.
    SetRequestHeaders(Vec<HeaderLine>),
    SetRequestHeader(&'static str, String),
    RemoveRequestHeader(String),
    ReplaceRequestBody(Vec<u8>),
    /// Of what is buffered.
    ReplaceResponseBody(Vec<u8>),
    /// Replace the whole map.
    SetResponseHeaders(Vec<HeaderLine>),
    SetResponseHeader(&'static str, Cow<'static, str>),
    RemoveResponseHeader(Cow<'static, str>),
    /// Filter state `wasm.<key>`: shared by both roles and all attempts of a request.
    SetState(&'static str, Vec<u8>),
    ClearRouteCache,
    Dispatch(Callout),
    /// Ends the exchange.
    Reply(Reply),
    Log(log::Level, String),
    /// Add to a counter; see [`metric_name`](crate::telemetry::metrics::metric_name).
    Count(String, i64),
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;

    use super::*;

    /// A host whose clock stands still until it is told to go on.
    #[derive(Debug, Default)]
    pub(crate) struct Still {
        pub(crate) now: Cell<Duration>,
        pub(crate) random: Cell<u64>,
        /// With how often each was written.
        shared: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    }

    impl Still {
        pub(crate) fn at(seconds: u64) -> Self {
            let still = Still::default();
            still.wait(Duration::from_secs(seconds));
            still
        }

        pub(crate) fn wait(&self, time: Duration) {
            self.now.set(self.now.get() + time);
        }
    }

    impl Host for Still {
        fn now(&self) -> Duration {
            self.now.get()
        }

        fn random(&self) -> u64 {
            self.random.get()
        }

        fn shared(&self, key: &str) -> (Vec<u8>, Option<u32>) {
            let shared = self.shared.borrow();
            let found = shared.get(key).cloned();
            found
                .map(|(value, writes)| (value, Some(writes)))
                .unwrap_or_default()
        }

        fn share(&self, key: &str, value: &[u8], token: Option<u32>) -> bool {
            let mut shared = self.shared.borrow_mut();
            let entry = shared.entry(key.to_owned()).or_default();
            if token.is_some_and(|token| token != entry.1) {
                return false;
            }
            *entry = (value.to_vec(), entry.1 + 1);
            true
        }
    }
}
