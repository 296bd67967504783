//! Answers: what reaches a provider, and what reaches the client, good or bad, byte for byte.

mod bodies;
mod envoys;
mod errors;
mod headers;
mod streams;

use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};

/// Alpha alone.
const SINGLE: &[(&str, &str)] = &[("x-llm-policy", "single")];
/// Alpha, beta, gamma.
const FAST: &[(&str, &str)] = &[("x-llm-policy", "fast")];

/// An attempt may take this long, one-shot or to its first event.
fn with_timeout(time: &str) -> Options {
    let timeouts = format!("timeouts: {{first_event: {time}, one_shot: {time}}}");
    Options {
        policy: POLICY.replace("timeouts: {first_event: 1s, one_shot: 1s}", &timeouts),
        ..Options::default()
    }
}

fn clear(gateway: &Gateway) {
    for provider in gateway.providers() {
        provider.clear();
    }
}

/// The bytes of a chat request with these headers.
fn chat_bytes(headers: &[(&str, &str)], stream: bool) -> bytes::Bytes {
    pointsman_tests::client::chat_request(headers, &chat("auto", stream))
}
