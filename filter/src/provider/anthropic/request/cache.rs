//! Cache: where a request says that its beginning may come from the prompt cache.
//!
//! At most four marks, which is what the API takes: the last tool, the end of the system prompt, and the last two
//! user turns. The one before the last is what the request before this one ended with, so that a conversation reads
//! back what it wrote. <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>

use super::block::{Block, Mark, Role, Turn, length};
use super::tools::Tool;

/// Bytes that a prefix must have for a mark: 512 tokens, the least that any model caches, of about four bytes each.
/// A mark on less is ignored by the API. <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>
const MIN_PREFIX: usize = 2048;

const USER_TURNS: usize = 2;

pub(super) fn mark_prefixes(
    tools: &mut [Tool<'_>],
    system: &mut [Block<'_>],
    turns: &mut [Turn<'_>],
) {
    let mut prefix = tools
        .iter()
        .fold(0, |sum: usize, tool| sum.saturating_add(tool.len()));
    if let Some(tool) = tools.last_mut().filter(|_| prefix >= MIN_PREFIX) {
        tool.cache_control = Some(Mark::Ephemeral);
    }
    prefix = prefix.saturating_add(length(system));
    if let Some(block) = system.last_mut().filter(|_| prefix >= MIN_PREFIX) {
        block.mark();
    }
    let all = turns.iter().fold(prefix, |sum, turn| {
        sum.saturating_add(length(&turn.content))
    });
    // From the end: what remains up to and including a turn is its prefix.
    let mut prefix = all;
    let mut marks = USER_TURNS;
    for turn in turns.iter_mut().rev() {
        if marks == 0 || prefix < MIN_PREFIX {
            return;
        }
        let len = length(&turn.content);
        if turn.role == Role::User {
            marks = marks.saturating_sub(1);
            if let Some(block) = turn.content.last_mut() {
                block.mark();
            }
        }
        prefix = prefix.saturating_sub(len);
    }
}
