//! Usage: the tokens that one answer cost, whatever the provider calls them.
//!
//! Pure. Counted as OpenAI counts: cached and cache-write tokens are part of the prompt's, reasoning tokens part of the
//! completion's.

/// Tokens of one answer. A provider that does not say leaves 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All of the prompt, cached or not.
    pub prompt: u64,
    pub completion: u64,
    /// Of the prompt: read from the provider's prompt cache.
    pub cached: u64,
    /// Of the prompt: written into the provider's prompt cache.
    pub cache_write: u64,
    /// Of the completion: thinking.
    pub reasoning: u64,
}
