//! Passing: lets a stream of the client's own format through, notes what it cost, takes out the chunk of usage that the
//! client did not ask for, and sees to it that the stream ends as a whole answer or in an error.
//!
//! Pure. What passes is byte for byte what came, less whole events, until the stream breaks off: then an error event is
//! the last. None of it depends on how the stream was split. An event passes when it is whole: what is split over chunks is
//! kept, up to a limit, so that nothing is left open where an error has to follow; one that is larger passes unread. Its
//! buffers are used again and again: nothing is allocated per event.

use std::ops::ControlFlow;

use self::scan::{Lines, event_around, find_mark, whole_events};
use self::watch::{Fate, Watch, write_early_end};
use crate::chat::usage::Usage;
use crate::provider::sse::{Decoder, Event};

mod scan;
mod watch;

/// What the stream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenAI's chat completions.
    ///
    /// With `stream_options.include_usage` OpenAI sends one more chunk before `[DONE]`, with `usage` and an empty `choices`,
    /// and `"usage":null` in all others (<https://platform.openai.com/docs/api-reference/chat/create>). Other providers send
    /// usage with the last choice, or in every chunk, each time for all so far: those pass, and the last usage counts.
    Chat {
        /// The client did not ask for the chunk of usage.
        remove_usage: bool,
        /// The client asked for more than one choice: every event is read, to know which of them have finished.
        many_choices: bool,
    },
    /// Anthropic's Messages. Usage is not read.
    Messages,
}

/// How a stream that was released has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The answer is whole.
    Complete,
    /// It ended in good order before the answer did.
    EarlyEnd,
    /// In an error of the provider's, or in what is not of its format.
    Error,
}

/// A stream that passes, once it is judged good.
#[derive(Debug)]
pub struct Passing {
    max_event_bytes: usize,
    lines: Lines,
    /// The start of an event whose end has not come: it is kept back.
    open: Vec<u8>,
    /// The event is too large to be kept, and passes.
    is_oversized: bool,
    /// The last event was taken out, and with it goes the LF of its last CRLF.
    is_cut: bool,
    out: Vec<u8>,
    decoder: Decoder,
    watch: Watch,
    end: Option<StreamEnd>,
}

/// What becomes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed<'a> {
    AsItCame,
    /// These bytes take the chunk's place; they may be none.
    Replaced(&'a [u8]),
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
    /// `max_event_bytes` bounds what is kept of an event.
    pub fn new(format: Format, max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            lines: Lines::START,
            open: Vec::new(),
            is_oversized: false,
            is_cut: false,
            out: Vec::new(),
            decoder: Decoder::new(max_event_bytes),
            watch: Watch::new(format),
            end: None,
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
        if self.is_over() {
            edit.cut(0, chunk.len(), &mut self.out);
        } else {
            self.read_chunk(&mut edit);
        }
        if !edit.is_changed {
            return Passed::AsItCame;
        }
        self.out.extend_from_slice(edit.rest());
        Passed::Replaced(&self.out)
    }

    /// The stream has ended: what was kept back and passes after all, or an error if it ended early. An event that no blank
    /// line closed is dropped then.
    pub fn finish(&mut self) -> &[u8] {
        self.out.clear();
        if self.end.is_some() || self.is_over() {
            return &self.out;
        }
        let open = std::mem::take(&mut self.open);
        let fate = self.read(&open);
        let is_complete = match self.is_oversized {
            true => self.watch.is_complete_without_the_last(),
            false => self.watch.is_complete(),
        };
        match fate {
            Fate::Last => {
                self.out.extend_from_slice(&open);
                self.out.extend_from_slice(b"\n\n");
            }
            Fate::Reworded => self.out.extend_from_slice(self.watch.words()),
            Fate::Pass if is_complete => self.out.extend_from_slice(&open),
            Fate::Cut if is_complete => {}
            Fate::Pass | Fate::Cut => {
                if self.is_oversized {
                    // What has passed of the event is beyond repair; this ends it.
                    self.out.extend_from_slice(b"\n\n");
                }
                write_early_end(self.watch.format(), &mut self.out);
            }
        }
        self.end = Some(match (self.watch.ended(), is_complete) {
            (Some(end), _) => end,
            (None, true) => StreamEnd::Complete,
            (None, false) => StreamEnd::EarlyEnd,
        });
        self.open_next();
        &self.out
    }

    /// The last usage so far; a provider that sends none leaves zeros.
    pub fn usage(&self) -> Usage {
        self.watch.usage()
    }

    /// How the stream has ended, as soon as that is known.
    pub fn ended(&self) -> Option<StreamEnd> {
        self.end.or_else(|| self.watch.ended())
    }

    /// Nothing passes any more.
    fn is_over(&self) -> bool {
        self.watch.ended() == Some(StreamEnd::Error)
    }

    fn read_chunk(&mut self, edit: &mut Edit<'_>) {
        let chunk = edit.chunk;
        let mut at = 0;
        if self.open.is_empty() && !self.is_oversized {
            at = self.skip_lf(at, edit);
        } else if let Some(length) = self.lines.read_event(chunk) {
            self.close(length, edit);
            at = self.skip_lf(length, edit);
        } else {
            self.keep(at, edit);
            return;
        }
        if self.is_over() {
            return;
        }
        let rest = chunk.get(at..).unwrap_or_default();
        let Some((whole, tail)) = rest.split_at_checked(whole_events(rest)) else {
            return;
        };
        self.read_whole(whole, at, edit);
        if !tail.is_empty() && !self.is_over() {
            self.lines.read_event(tail);
            self.keep(at.saturating_add(whole.len()), edit);
        }
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
        if whole.len() > self.max_event_bytes && has_larger(whole, self.max_event_bytes) {
            self.watch.pass_unread();
        }
        let mut rest = whole;
        let mut offset = offset;
        self.is_cut = false;
        while let Some(mark) = find_mark(rest, self.watch.format()) {
            let Some((place, next)) = event_around(rest, mark) else {
                break;
            };
            let start = offset.saturating_add(place.start);
            let end = offset.saturating_add(next);
            let event = rest.get(place).unwrap_or_default();
            let fate = match event.len() <= self.max_event_bytes {
                true => self.read(event),
                false => Fate::Pass,
            };
            self.is_cut = fate == Fate::Cut;
            match fate {
                Fate::Pass => {}
                Fate::Cut => edit.cut(start, end, &mut self.out),
                Fate::Last | Fate::Reworded => return self.end_in_error(fate, event, start, edit),
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
        if !self.is_oversized && self.open_more(bytes, edit) {
            edit.cut(at, edit.chunk.len(), &mut self.out);
        }
    }

    /// The open event ends with the chunk's first `length` bytes.
    fn close(&mut self, length: usize, edit: &mut Edit<'_>) {
        self.is_cut = false;
        let bytes = edit.chunk.get(..length).unwrap_or_default();
        if !self.is_oversized && self.open_more(bytes, edit) {
            let open = std::mem::take(&mut self.open);
            let fate = self.read(&open);
            self.is_cut = fate == Fate::Cut;
            match fate {
                Fate::Pass => {
                    let kept = open.len().saturating_sub(length);
                    edit.put(open.get(..kept).unwrap_or_default(), &mut self.out);
                }
                Fate::Cut => edit.cut(0, length, &mut self.out),
                Fate::Last | Fate::Reworded => self.end_in_error(fate, &open, 0, edit),
            }
            self.open = open;
        }
        if self.is_oversized {
            self.watch.pass_unread();
        }
        self.open_next();
    }

    /// An error in the chunk, from `start` on, is the last event.
    fn end_in_error(&mut self, fate: Fate, event: &[u8], start: usize, edit: &mut Edit<'_>) {
        edit.cut(start, edit.chunk.len(), &mut self.out);
        if fate == Fate::Reworded {
            self.out.extend_from_slice(self.watch.words());
            return;
        }
        self.out.extend_from_slice(event);
        if event.ends_with(b"\r") {
            // Whether it came or not.
            self.out.push(b'\n');
        }
    }

    /// Adds to the open event; `false` where that makes it too large, and what was kept passes.
    fn open_more(&mut self, bytes: &[u8], edit: &mut Edit<'_>) -> bool {
        if self.open.len().saturating_add(bytes.len()) <= self.max_event_bytes {
            self.open.extend_from_slice(bytes);
            return true;
        }
        edit.put(&self.open, &mut self.out);
        self.open.clear();
        self.is_oversized = true;
        false
    }

    fn open_next(&mut self) {
        self.open.clear();
        self.is_oversized = false;
    }

    /// Reads one event, if that is worth it.
    fn read(&mut self, event: &[u8]) -> Fate {
        if find_mark(event, self.watch.format()).is_none() {
            return Fate::Pass;
        }
        let watch = &mut self.watch;
        let mut fate = Fate::Pass;
        let on_event = &mut |event: Event<'_>| {
            fate = watch.note(event);
            ControlFlow::Continue(())
        };
        // The decoder's limit is that of a whole event, so that it does not overflow.
        let pushed = self.decoder.push(event, on_event);
        let _ = pushed.and_then(|_| self.decoder.finish(on_event));
        fate
    }
}

/// Whether one of these whole events is larger than `max`.
fn has_larger(events: &[u8], max: usize) -> bool {
    let mut rest = events;
    while let Some((place, next)) = event_around(rest, 0) {
        if place.len() > max {
            return true;
        }
        rest = rest.get(next..).unwrap_or_default();
    }
    false
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
