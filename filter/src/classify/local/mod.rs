//! Local: the classifier inside the filter, which decides the clear requests in microseconds.
//!
//! Pure: no host call, no clock, no randomness. A linear model over what a text looks like ([`features`]) and its hashed words
//! ([`scan`]); [`lexicon`] makes words of many languages one. The trainer is native only.

use std::sync::{Arc, OnceLock};

use crate::chat::content::{last_chars, split_at_char};
use crate::chat::request::{Conversation, Cut};

pub mod features;
pub mod lexicon;
pub mod model;
#[cfg(not(target_family = "wasm"))]
pub mod names;
pub mod opinion;
mod scan;
pub mod text;
#[cfg(not(target_family = "wasm"))]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    reason = "never in the filter: dense numeric loops over arrays of known size, on a developer's machine"
)]
pub mod train;
#[cfg(not(target_family = "wasm"))]
pub mod why;

#[cfg(test)]
mod tests;

/// What of a conversation is read, in characters.
pub const READ: Cut = Cut {
    system: 500,
    user: 1500,
    user_end: 600,
    previous: 500,
    is_weighed: false,
};

/// The weights that the filter comes with: `filter/model/` says what they were learned from.
const BUILT_IN: &[u8] = include_bytes!("../../../model/tiers.bin");

/// The model that the filter comes with.
pub fn built_in() -> Option<Arc<model::Model>> {
    static MODEL: OnceLock<Option<Arc<model::Model>>> = OnceLock::new();
    let read = || model::Model::from_bytes(BUILT_IN).ok().map(Arc::new);
    MODEL.get_or_init(read).clone()
}

/// Read once.
pub fn lexicon() -> &'static lexicon::Lexicon {
    static LEXICON: OnceLock<lexicon::Lexicon> = OnceLock::new();
    LEXICON.get_or_init(lexicon::Lexicon::new)
}

/// What of a conversation the model sees: what was read of it by [`READ`], or longer cuts.
pub fn input(talk: &Conversation) -> features::Input<'_> {
    // The LLM classifier may read more of the message than the model does.
    let (user, beyond, _) = split_at_char(&talk.user, READ.user);
    let user_end = match talk.user_end.as_str() {
        "" => last_chars(beyond, READ.user_end),
        end => end,
    };
    features::Input {
        system: split_at_char(&talk.system, READ.system).0,
        user,
        user_end,
        user_chars: talk.user_chars,
        previous: &talk.previous,
        turns: talk.turns,
        tools: talk.tools,
        ends_in_tool_result: talk.ends_in_tool_result,
    }
}
