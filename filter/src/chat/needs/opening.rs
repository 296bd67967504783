//! Opening: what a conversation begins with, as one number that stays the same while it grows.
//!
//! Pure. It is made of the system text before the first user message and of that message's text, of each a bounded
//! part: every turn of an agent's loop sends both again as they were, and they are what a provider's prompt cache
//! begins with.
//!
//! What a client says of itself (`prompt_cache_key`, `metadata.user_id`) is not part of it. Some clients send there
//! one name for a whole application or one for all of a user's conversations, and a share of the traffic that is dealt
//! by it would be all or nothing.

use crate::fnv::Fnv64;

/// Bytes hashed of all of a text's parts together.
const MOST: usize = 4096;

/// A line that Claude Code puts before its instructions, with a number that changes on every request
/// (<https://github.com/anthropics/claude-code/issues/68900>).
const CHANGING: &str = "x-anthropic-billing-header:";

/// A hash of a text that comes in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) struct Digest {
    hash: Fnv64,
    /// Bytes that may still be hashed.
    left: usize,
}

/// Of the messages up to the first user's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::chat) struct Opening {
    hash: Fnv64,
    /// A user's message was read: what follows changes nothing.
    whole: bool,
}

// === impl Digest ===

impl Default for Digest {
    fn default() -> Self {
        Digest {
            hash: Fnv64::default(),
            left: MOST,
        }
    }
}

impl Digest {
    /// Of a text that nobody asks for.
    const CLOSED: Digest = Digest {
        hash: Fnv64(0),
        left: 0,
    };

    /// A long part counts by its length, its beginning and its end, at most half of what is left together: the part
    /// behind it may be what tells two conversations apart.
    pub(super) fn part(&mut self, text: &str) {
        if self.left == 0 || text.starts_with(CHANGING) {
            return;
        }
        let bytes = text.as_bytes();
        let most = self.left / 2;
        let (first, last) = if bytes.len() <= most {
            (bytes, None)
        } else {
            let end = bytes.len().saturating_sub(most / 2);
            (bytes.get(..most / 2).unwrap_or_default(), bytes.get(end..))
        };
        let last = last.unwrap_or_default();
        self.hash = number(self.hash, bytes.len() as u64)
            .bytes(first)
            .bytes(last);
        self.left = self
            .left
            .saturating_sub(first.len())
            .saturating_sub(last.len());
    }
}

// === impl Opening ===

impl Opening {
    /// What the next message's text goes into.
    pub(in crate::chat) fn digest(self) -> Digest {
        if self.whole {
            Digest::CLOSED
        } else {
            Digest::default()
        }
    }

    pub(in crate::chat) fn system(&mut self, text: Digest) {
        if !self.whole {
            self.hash = number(self.hash, text.hash.0);
        }
    }

    pub(in crate::chat) fn user(&mut self, text: Digest) {
        self.system(text);
        self.whole = true;
    }

    /// With the instructions that stand beside the messages.
    pub(in crate::chat) fn behind(self, system: Option<Digest>) -> u64 {
        let system = system.map_or(0, |text| text.hash.0);
        number(number(Fnv64::default(), system), self.hash.0).0
    }
}

fn number(hash: Fnv64, number: u64) -> Fnv64 {
    hash.bytes(&number.to_le_bytes())
}
