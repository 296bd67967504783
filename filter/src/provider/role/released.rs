//! A stream that was released: what passes, how it ends, and what it cost.
//!
//! Pure. Apart from the events of [`ProviderAttempt::on`]: it is asked for every token.

use super::response::Serving;
use super::{ProviderAttempt, State};
use crate::http::Action;
use crate::provider::adapt::{Ending, Passed};
use crate::provider::passing::StreamEnd;

/// Whether it was the provider, or its silence, that broke off a stream, by what Envoy says of a response that is over when
/// the attempt is told (`%RESPONSE_CODE_DETAILS%`). A client that leaves is said there (`downstream_remote_disconnect`,
/// `http2.remote_reset`); a provider's reset is not yet.
pub fn is_providers_fault(details: &[u8]) -> bool {
    details == b"via_upstream"
        || details == b"stream_idle_timeout"
        || details.starts_with(b"upstream_")
}

// === impl ProviderAttempt ===

impl ProviderAttempt {
    /// Whether a stream was released: what follows is for [`ProviderAttempt::pass`].
    pub fn is_streaming(&self) -> bool {
        matches!(self.state, State::Streaming(_))
    }

    /// The next bytes of a stream that was released, and what the client gets; `end`: they are the last. Apart from
    /// [`ProviderAttempt::on`], since it comes for every token, and asks for nothing else.
    pub fn pass(&mut self, bytes: &[u8], end: bool) -> Passed<'_> {
        match &mut self.state {
            State::Streaming(stream) => stream.pass(bytes, end),
            _ => Passed::AsItCame,
        }
    }

    /// Bytes at the beginning of what Envoy holds of a stream that was released: they were seen.
    pub fn held(&self) -> usize {
        match &self.state {
            State::Streaming(stream) => stream.held(),
            _ => 0,
        }
    }

    /// A stream that was released has ended in trailers.
    pub fn end_in_trailers(&mut self) -> Ending<'_> {
        match &mut self.state {
            State::Streaming(stream) => stream.end(),
            _ => Ending::Said,
        }
    }

    /// What [`ProviderAttempt::pass`] has read of the tokens, written down if it is news; `end`: that was all of the stream.
    pub fn noted(&mut self, end: bool) -> Vec<Action> {
        let (State::Streaming(stream), Some(serving)) = (&self.state, &mut self.serving) else {
            return Vec::new();
        };
        serving.tokens.usage = stream.usage();
        let mut actions = serving.tokens.log();
        actions.extend(match stream.ended() {
            Some(StreamEnd::EarlyEnd) => serving.count_broken("early_end"),
            Some(StreamEnd::Error) => serving.count_broken("error"),
            Some(StreamEnd::Complete) | None => None,
        });
        if end {
            actions.extend(serving.count_tokens());
        }
        actions
    }

    /// How a stream that was released has ended, as soon as that is known; `None` too where none was.
    pub fn ended(&self) -> Option<StreamEnd> {
        match &self.state {
            State::Streaming(stream) => stream.ended(),
            _ => None,
        }
    }

    /// Whether a stream was released that has not ended: whoever breaks it off now breaks an answer.
    pub fn is_open_ended(&self) -> bool {
        self.is_streaming() && self.ended().is_none()
    }

    pub(super) fn broken(&mut self, how: &str) -> Option<Action> {
        self.serving.as_mut()?.count_broken(how)
    }

    /// The tokens of the attempt, counted once, however it ended.
    pub(super) fn spent(&mut self) -> Vec<Action> {
        let serving = self.serving.as_mut();
        serving.map(Serving::count_tokens).unwrap_or_default()
    }
}
