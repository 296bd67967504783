//! Stream: lets an answer in OpenAI's format pass, notes what it cost, and takes out the chunk of usage that the client
//! did not ask for.
//!
//! Pure. What passes is byte for byte what came, less whole events, and does not depend on how the stream was split.
//! Only an event that is split over chunks is kept, up to a limit; one that is larger passes unread. Its buffers are used
//! again and again: nothing is allocated per event.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::scan::{Lines, event_around, find_choice, find_mark, whole_events};
use super::usage;
use crate::chat::usage::Usage;
use crate::provider::sse::{Decoder, Event};

/// A stream that passes, once it is judged good.
///
/// With `stream_options.include_usage` OpenAI sends one more chunk before `[DONE]`, with `usage` and an empty `choices`,
/// and `"usage":null` in all others (<https://platform.openai.com/docs/api-reference/chat/create>). Other providers send
/// usage with the last choice, or in every chunk, each time for all so far: those pass, and the last usage counts.
#[derive(Debug)]
pub struct Passing {
    remove_usage: bool,
    max_event_bytes: usize,
    lines: Lines,
    /// The start of an event whose end has not come.
    open: Vec<u8>,
    /// `open` was kept back: it may yet be the chunk of usage.
    is_held: bool,
    /// Where in `open` the search for a choice goes on.
    searched: usize,
    /// The event is too large to be kept, and passes.
    is_oversized: bool,
    /// The last event was taken out, and with it goes the LF of its last CRLF.
    is_cut: bool,
    out: Vec<u8>,
    decoder: Decoder,
    seen: Seen,
}

/// What becomes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed<'a> {
    AsItCame,
    /// These bytes take the chunk's place; they may be none.
    Replaced(&'a [u8]),
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    usage: Usage,
    done: bool,
    error: bool,
}

/// The chunk that passes, so far.
struct Edit<'c> {
    chunk: &'c [u8],
    /// What comes before is in `out`, or taken out.
    from: usize,
    is_changed: bool,
}

// === impl Passing ===

impl Passing {
    /// `remove_usage`: the client did not ask for the chunk of usage. `max_event_bytes` bounds what is kept of an event.
    pub fn new(remove_usage: bool, max_event_bytes: usize) -> Self {
        Self {
            remove_usage,
            max_event_bytes,
            lines: Lines::START,
            open: Vec::new(),
            is_held: remove_usage,
            searched: 0,
            is_oversized: false,
            is_cut: false,
            out: Vec::new(),
            decoder: Decoder::new(max_event_bytes),
            seen: Seen::default(),
        }
    }

    /// The next bytes of the stream, and what passes in their place.
    pub fn push(&mut self, chunk: &[u8]) -> Passed<'_> {
        self.out.clear();
        if chunk.is_empty() {
            return Passed::AsItCame;
        }
        let mut edit = Edit {
            chunk,
            from: 0,
            is_changed: false,
        };
        let mut at = 0;
        if self.open.is_empty() && !self.is_oversized {
            at = self.skip_lf(at, &mut edit);
        } else if let Some(length) = self.lines.read_event(chunk) {
            self.close(length, &mut edit);
            at = self.skip_lf(length, &mut edit);
        } else {
            self.keep(at, &mut edit);
            at = chunk.len();
        }
        let rest = chunk.get(at..).unwrap_or_default();
        if let Some((whole, tail)) = rest.split_at_checked(whole_events(rest)) {
            self.read_whole(whole, at, &mut edit);
            if !tail.is_empty() {
                self.lines.read_event(tail);
                self.keep(at.saturating_add(whole.len()), &mut edit);
            }
        }
        if !edit.is_changed {
            return Passed::AsItCame;
        }
        self.out.extend_from_slice(edit.rest());
        Passed::Replaced(&self.out)
    }

    /// The stream has ended: what was kept back and passes after all.
    pub fn finish(&mut self) -> &[u8] {
        self.out.clear();
        let open = std::mem::take(&mut self.open);
        let is_cut = self.read(&open);
        if self.is_held && !is_cut {
            self.out.extend_from_slice(&open);
        }
        self.open_next();
        &self.out
    }

    /// The last usage so far; a provider that sends none leaves zeros.
    pub fn usage(&self) -> Usage {
        self.seen.usage
    }

    /// `data: [DONE]` has come.
    pub fn saw_done(&self) -> bool {
        self.seen.done
    }

    /// An error has come in mid-stream.
    pub fn saw_error(&self) -> bool {
        self.seen.error
    }

    /// Between two events: passes over the LF of the last one's CRLF.
    fn skip_lf(&mut self, at: usize, edit: &mut Edit<'_>) -> usize {
        let Some(&byte) = edit.chunk.get(at) else {
            return at;
        };
        if !self.lines.take_lf(byte) {
            return at;
        }
        let behind = at.saturating_add(1);
        if self.is_cut {
            edit.cut(at, behind, &mut self.out);
        }
        behind
    }

    /// Events that lie in one chunk, `offset` bytes into it.
    fn read_whole(&mut self, whole: &[u8], offset: usize, edit: &mut Edit<'_>) {
        let Some(&last) = whole.last() else {
            return;
        };
        let mut rest = whole;
        let mut offset = offset;
        self.is_cut = false;
        while let Some(mark) = find_mark(rest) {
            let Some((place, next)) = event_around(rest, mark) else {
                break;
            };
            let (start, end) = (place.start, offset.saturating_add(next));
            let event = rest.get(place).unwrap_or_default();
            self.is_cut = event.len() <= self.max_event_bytes && self.read(event);
            if self.is_cut {
                edit.cut(offset.saturating_add(start), end, &mut self.out);
            }
            rest = rest.get(next..).unwrap_or_default();
            offset = end;
        }
        self.is_cut &= rest.is_empty();
        self.lines = Lines::behind_event(last);
    }

    /// The chunk's bytes from `at` on are of an event that has not ended.
    fn keep(&mut self, at: usize, edit: &mut Edit<'_>) {
        let bytes = edit.chunk.get(at..).unwrap_or_default();
        if self.is_oversized || !self.open_more(bytes, edit) || !self.is_held {
            return;
        }
        match find_choice(&self.open, self.searched) {
            Ok(()) => {
                self.is_held = false;
                let held = self.open.len().saturating_sub(bytes.len());
                edit.put(self.open.get(..held).unwrap_or_default(), &mut self.out);
            }
            Err(searched) => {
                self.searched = searched;
                edit.cut(at, edit.chunk.len(), &mut self.out);
            }
        }
    }

    /// The open event ends with the chunk's first `length` bytes.
    fn close(&mut self, length: usize, edit: &mut Edit<'_>) {
        self.is_cut = false;
        let bytes = edit.chunk.get(..length).unwrap_or_default();
        if !self.is_oversized && self.open_more(bytes, edit) {
            let open = std::mem::take(&mut self.open);
            self.is_cut = self.read(&open) && self.is_held;
            if self.is_cut {
                edit.cut(0, length, &mut self.out);
            } else if self.is_held {
                let held = open.len().saturating_sub(length);
                edit.put(open.get(..held).unwrap_or_default(), &mut self.out);
            }
            self.open = open;
        }
        self.open_next();
    }

    /// Adds to the open event; `false` where that makes it too large, and what was held passes.
    fn open_more(&mut self, bytes: &[u8], edit: &mut Edit<'_>) -> bool {
        if self.open.len().saturating_add(bytes.len()) <= self.max_event_bytes {
            self.open.extend_from_slice(bytes);
            return true;
        }
        if self.is_held {
            edit.put(&self.open, &mut self.out);
        }
        self.open.clear();
        self.is_held = false;
        self.is_oversized = true;
        false
    }

    fn open_next(&mut self) {
        self.open.clear();
        self.is_held = self.remove_usage;
        self.searched = 0;
        self.is_oversized = false;
    }

    /// Reads one event, if that is worth it; `true` where it is to be taken out.
    fn read(&mut self, event: &[u8]) -> bool {
        if find_mark(event).is_none() {
            return false;
        }
        let seen = &mut self.seen;
        let mut is_usage_only = false;
        let on_event = &mut |event: Event<'_>| {
            is_usage_only = seen.note(event);
            ControlFlow::Continue(())
        };
        // The decoder's limit is that of a whole event, so that it does not overflow.
        let pushed = self.decoder.push(event, on_event);
        let read = pushed.and_then(|_| self.decoder.finish(on_event));
        read.is_ok() && is_usage_only && self.remove_usage && find_choice(event, 0).is_err()
    }
}

// === impl Seen ===

/// The fields of a chunk that tell. Values stay raw: one of an unexpected type is not an error here.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
}

impl Seen {
    /// Whether the event is the chunk of usage, with nothing else for the client.
    fn note(&mut self, event: Event<'_>) -> bool {
        let data = event.data.trim_ascii();
        self.done |= data == b"[DONE]";
        self.error |= event.event == b"error";
        if !data.starts_with(b"{") {
            return false;
        }
        let text = std::str::from_utf8(data).ok();
        let Some(chunk) = text.and_then(|text| serde_json::from_str::<Chunk<'_>>(text).ok()) else {
            return false;
        };
        let is_error =
            chunk.error.is_some() || chunk.object.is_some_and(|tag| tag.get() == "\"error\"");
        self.error |= is_error;
        let Some(usage) = chunk.usage.and_then(|json| usage::read(json.get())) else {
            return false;
        };
        // One that says nothing does not undo what was said.
        if usage != Usage::default() {
            self.usage = usage;
        }
        !is_error && event.event != b"error" && chunk.choices.is_none_or(is_empty_list)
    }
}

fn is_empty_list(json: &RawValue) -> bool {
    let inside = json.get().strip_prefix('[');
    inside
        .and_then(|inside| inside.strip_suffix(']'))
        .is_some_and(|inside| inside.trim_ascii().is_empty())
}

// === impl Edit ===

impl<'c> Edit<'c> {
    /// Takes out the chunk's bytes from `start` to `end`.
    fn cut(&mut self, start: usize, end: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.chunk.get(self.from..start).unwrap_or_default());
        self.from = end;
        self.is_changed = true;
    }

    /// Puts bytes of earlier chunks before what is left of this one.
    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
        self.is_changed |= !bytes.is_empty();
    }

    fn rest(&self) -> &'c [u8] {
        self.chunk.get(self.from..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
