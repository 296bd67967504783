//! A stream that was released: what passes, how it ends, and what it cost.
//!
//! Pure. Apart from the events of [`ProviderAttempt::on`]: it is asked for every token.

use super::response::tokens_in_state;
use super::{ProviderAttempt, State};
use crate::chat::usage::Usage;
use crate::http::Action;
use crate::provider::adapt::{Ending, Passed};

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

    /// What is known of the tokens, written down once: at the end of the answer, or of the attempt.
    pub fn spent(&mut self) -> Vec<Action> {
        let usage = match &self.state {
            State::Streaming(stream) => Some(stream.usage()),
            _ => None,
        };
        let Some(serving) = self.serving.as_mut().filter(|s| !s.is_counted) else {
            return Vec::new();
        };
        serving.usage = usage.unwrap_or(serving.usage);
        if serving.usage == Usage::default() {
            return Vec::new();
        }
        serving.is_counted = true;
        let mut actions = tokens_in_state(serving.usage);
        actions.extend(serving.count_tokens());
        actions
    }
}
