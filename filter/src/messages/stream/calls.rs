//! The tool calls of a stream: one content block each, in the order in which they began, one after the other.
//!
//! Anthropic streams a block to its end before the next begins, and clients may count on it; OpenAI's format allows
//! parts of several calls to alternate. A call is complete when its arguments' object is. While the open one is not,
//! the events of those that began after it are held. Held are at most [`MAX_HELD`] bytes: past that the open block is
//! ended as it is, so that a call which has no arguments and never says so costs no more than a wait.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::arguments::Arguments;
use super::events::{self, Delta};
use crate::messages::answer::completion::{Text, ToolCall};
use crate::messages::answer::parts::ToolUseId;

/// Tool calls of one answer, as many as OpenAI allows tools in a request
/// (<https://platform.openai.com/docs/api-reference/chat/create>).
pub(super) const MAX_CALLS: usize = 128;

/// Bytes of events held for calls that wait. Two large files written at once fit.
pub(super) const MAX_HELD: usize = 256 * 1024;

/// The calls so far.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// The first call whose block has not ended. Those behind it wait.
    open: usize,
    /// Bytes held by those that wait.
    held: usize,
}

/// Why a stream's calls cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    #[error("the answer has more than {MAX_CALLS} tool calls; ask for fewer at once")]
    TooMany,
    #[error("a tool call of the answer has no name; send the request again")]
    NoName,
    #[error("a tool call of the answer went on after other content; send the request again")]
    Ended,
}

#[derive(Debug)]
struct Call {
    index: Option<u64>,
    /// Hash of its id: told apart by it, and no memory that a server can choose the size of.
    id: Option<u64>,
    block: u32,
    arguments: Arguments,
    /// Its events, while it waits.
    held: Vec<u8>,
}

// === impl Calls ===

impl Calls {
    /// Whether any began.
    pub fn any(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Bytes held for calls that wait.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Which of the calls a part belongs to; `None` for a new one.
    ///
    /// By `index`. Servers are known that give every call the same: then a new id together with a name begins a call,
    /// and where there are no ids, a name together with arguments does once those so far are complete. Without
    /// an index an id that is not known, or no id, begins a call if there is a name, and else belongs to the last.
    pub fn find(&self, part: &ToolCall<'_>) -> Option<usize> {
        let id = part.id.map(hash);
        let Some(index) = part.index else {
            let known = id.and_then(|id| self.calls.iter().rposition(|call| call.id == Some(id)));
            return match part.name {
                Some(_) => known,
                None => known.or(self.calls.len().checked_sub(1)),
            };
        };
        let at = self
            .calls
            .iter()
            .rposition(|call| call.index == Some(index))?;
        let call = self.calls.get(at)?;
        let is_other = match (id, call.id) {
            (Some(id), Some(known)) => id != known,
            (None, None) => call.arguments.is_settled() && !part.has_no_arguments(),
            _ => false,
        };
        (part.name.is_none() || !is_other).then_some(at)
    }

    /// Begins a call as content block `block`, and returns which it is.
    pub fn begin(
        &mut self,
        part: &ToolCall<'_>,
        name: Text<'_>,
        completion: Option<Text<'_>>,
        block: u32,
        out: &mut Vec<u8>,
    ) -> Result<usize, CallError> {
        let at = self.calls.len();
        if at >= MAX_CALLS {
            return Err(CallError::TooMany);
        }
        self.calls.push(Call {
            index: part.index,
            id: part.id.map(hash),
            block,
            arguments: Arguments::Before,
            held: Vec::new(),
        });
        // The call before is ended if it is complete, and this one opened.
        self.advance(out);
        let id = ToolUseId {
            call: part.id,
            completion,
            block,
        };
        self.write(at, out, |out| events::tool_use_start(block, id, name, out));
        Ok(at)
    }

    /// More of a call's arguments.
    pub fn push(
        &mut self,
        at: usize,
        fragment: Text<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let Some(call) = self.calls.get_mut(at) else {
            return Ok(());
        };
        let Some(fragment) = call.arguments.push(fragment) else {
            // It may have been refused, which completes it.
            self.advance(out);
            return Ok(());
        };
        if at < self.open {
            return Err(CallError::Ended);
        }
        let block = call.block;
        self.write(at, out, |out| {
            events::delta(block, Delta::InputJson, fragment, out);
        });
        self.advance(out);
        Ok(())
    }

    /// Ends every block, complete or not.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        while self.open < self.calls.len() {
            self.next(out);
        }
    }

    /// Ends the blocks that are complete while others wait, or that too much is held for.
    fn advance(&mut self, out: &mut Vec<u8>) {
        let waiting = |calls: &Self| calls.open.saturating_add(1) < calls.calls.len();
        while waiting(self)
            && (self.held > MAX_HELD
                || self
                    .calls
                    .get(self.open)
                    .is_some_and(|call| call.arguments.is_settled()))
        {
            self.next(out);
        }
    }

    /// Ends the open block, and gives what was held for the next.
    fn next(&mut self, out: &mut Vec<u8>) {
        if let Some(call) = self.calls.get(self.open) {
            events::block_stop(call.block, out);
        }
        self.open = self.open.saturating_add(1);
        if let Some(call) = self.calls.get_mut(self.open) {
            self.held = self.held.saturating_sub(call.held.len());
            out.append(&mut call.held);
            call.held = Vec::new();
        }
    }

    /// Writes an event of a call whose block has not ended: out, or to what is held for it.
    fn write(&mut self, at: usize, out: &mut Vec<u8>, event: impl FnOnce(&mut Vec<u8>)) {
        if at == self.open {
            return event(out);
        }
        if let Some(call) = self.calls.get_mut(at) {
            let before = call.held.len();
            event(&mut call.held);
            let grown = call.held.len().saturating_sub(before);
            self.held = self.held.saturating_add(grown);
        }
    }
}

fn hash(id: Text<'_>) -> u64 {
    // Of fixed keys: the same id is the same number, always.
    let mut hasher = DefaultHasher::new();
    id.0.hash(&mut hasher);
    hasher.finish()
}
