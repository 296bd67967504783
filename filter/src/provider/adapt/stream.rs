//! A stream, on its way back: judged until its first real event, then passed or translated, event by event.
//!
//! Buffers are used again: once they have grown nothing is allocated per event.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::Wire;
use crate::chat::request::Dialect;
use crate::chat::usage::Usage;
use crate::messages;
use crate::policy::Api;
use crate::provider::judge::{Outcome, StreamJudge, Verdict};
use crate::provider::passing::{self, Format, Passing, StreamEnd};
use crate::provider::sse::{Decoder, Event};
use crate::provider::translate::{Progress, Translator};
use crate::provider::{anthropic, gemini};

/// Bytes of a stream that are held while nothing real has come, or while its end is waited for.
const MAX_HELD: usize = 256 * 1024;

/// What is known of a stream that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing real yet: keep holding.
    Hold,
    /// Give the client what [`Stream::held`] says, and pass what follows.
    Release,
    /// The next target can still answer.
    Bad(Outcome),
}

/// What becomes of a chunk of a stream that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed<'a> {
    AsItCame,
    /// These bytes take the place of the chunk, and of those that were held before it; they may be none.
    Replaced(&'a [u8]),
    /// It is held until the next, which is the end in all likelihood.
    Held,
}

/// What becomes of a stream that was released and has ended in trailers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending<'a> {
    /// Nothing is left to say.
    Said,
    /// These bytes take the place of those that are held.
    Replaced(&'a [u8]),
    /// Something is left to say, and nothing is held whose place it could take: only the transport can tell.
    Cut,
}

#[derive(Debug)]
pub struct Stream {
    way: Way,
    /// What the client gets of the chunks that are held, or of the one that passes.
    out: Vec<u8>,
    /// `out` differs from what came.
    is_changed: bool,
    /// What mattered most of all that came before it was released.
    progress: Progress,
    /// Bytes that came and are held.
    held: usize,
}

#[derive(Debug)]
enum Way {
    /// The client's format on both sides.
    Same {
        judge: Judge,
        passing: Passing,
    },
    Translated(Translation),
}

/// Who says whether a stream that passes is one.
#[derive(Debug)]
enum Judge {
    Chat(StreamJudge),
    /// A translation that nobody reads: it knows what is real, and counts the tokens.
    Messages {
        leg: Leg,
        unread: Vec<u8>,
    },
}

/// One translation, or two in a row.
#[derive(Debug)]
struct Translation {
    first: Leg,
    /// From OpenAI's format to Messages.
    second: Option<Leg>,
    /// What the first writes for the second.
    between: Vec<u8>,
}

#[derive(Debug)]
struct Leg {
    decoder: Decoder,
    translator: Box<dyn Translator>,
    ended: Option<StreamEnd>,
}

// === impl Wire ===

impl Wire {
    /// For the answer to a stream. `created`: seconds since 1970.
    pub fn stream(&self, created: u64) -> Stream {
        let told = self.told(created);
        let leg = |translator| Leg {
            decoder: Decoder::new(self.max_event_bytes),
            translator,
            ended: None,
        };
        let same = |judge, format| {
            Stream::new(Way::Same {
                judge,
                passing: Passing::new(format, self.max_event_bytes),
            })
        };
        let to_messages = || leg(Box::new(messages::stream::Stream::new(&self.model)));
        let from_messages = || leg(Box::new(anthropic::stream::Stream::new(&told)));
        let first = match (self.api, self.client) {
            (Api::OpenAi, Dialect::Chat) => {
                let format = Format::Chat {
                    remove_usage: self.asks_usage(),
                    many_choices: self.many_choices,
                };
                return same(Judge::Chat(StreamJudge::new(MAX_HELD)), format);
            }
            (Api::Anthropic, client) if client.is_messages() => {
                let judge = Judge::Messages {
                    leg: from_messages(),
                    unread: Vec::new(),
                };
                return same(judge, Format::Messages);
            }
            (Api::OpenAi, _) => to_messages(),
            (Api::Anthropic, _) => from_messages(),
            (Api::Gemini, _) => leg(Box::new(gemini::stream::Stream::new(&told))),
        };
        let in_two = self.api == Api::Gemini && self.client.is_messages();
        Stream::new(Way::Translated(Translation {
            first,
            second: in_two.then(to_messages),
            between: Vec::new(),
        }))
    }
}

// === impl Stream ===

impl Stream {
    fn new(way: Way) -> Self {
        Stream {
            way,
            out: Vec::new(),
            is_changed: false,
            progress: Progress::Silent,
            held: 0,
        }
    }

    /// The next bytes of a stream that is held; `end`: they are the last.
    pub fn hold(&mut self, bytes: &[u8], end: bool) -> Step {
        self.held = self.held.saturating_add(bytes.len());
        let verdict = match &mut self.way {
            Way::Same {
                judge: Judge::Chat(judge),
                ..
            } => match judge.push(bytes) {
                Verdict::Undecided if end => judge.finish(),
                verdict => verdict,
            },
            _ => Verdict::Undecided,
        };
        let (progress, is_changed) = self.read(bytes, end);
        if !is_changed {
            self.out.extend_from_slice(bytes);
        }
        self.is_changed |= is_changed;
        self.progress = more(self.progress, progress);
        let step = match (verdict, self.progress) {
            (Verdict::Release, _) | (Verdict::Undecided, Progress::Real) => Step::Release,
            (Verdict::Bad(outcome), _) => Step::Bad(outcome),
            (Verdict::Undecided, Progress::Failed) if self.held > 0 => Step::Bad(Outcome::BadEvent),
            (Verdict::Undecided, Progress::Failed | Progress::Done) => Step::Bad(Outcome::Empty),
            (Verdict::Undecided, Progress::Silent) if end => Step::Bad(Outcome::Empty),
            (Verdict::Undecided, Progress::Silent) => Step::Hold,
        };
        match step {
            Step::Hold if self.held > MAX_HELD => Step::Release,
            Step::Release if !end && self.waits_for_end() => Step::Hold,
            step => step,
        }
    }

    /// What the client gets of all that was held; `None`: what came.
    pub fn release(&mut self) -> Option<Vec<u8>> {
        self.held = 0;
        let held = std::mem::take(&mut self.out);
        self.is_changed.then_some(held)
    }

    /// Bytes that came after the stream was released and are held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// The next bytes of a stream that was released; `end`: they are the last.
    pub fn pass(&mut self, bytes: &[u8], end: bool) -> Passed<'_> {
        if self.held == 0 {
            self.out.clear();
        }
        if !self.read(bytes, end).1 {
            return Passed::AsItCame;
        }
        self.held = self.held.saturating_add(bytes.len());
        if !end && self.held > 0 && self.waits_for_end() {
            return Passed::Held;
        }
        self.held = 0;
        Passed::Replaced(&self.out)
    }

    /// A stream that was released has ended in trailers: the chunks that passed are out of reach.
    pub fn end(&mut self) -> Ending<'_> {
        let is_held = self.held > 0;
        let has_more = match self.pass(b"", true) {
            Passed::Replaced(rest) => !rest.is_empty(),
            Passed::AsItCame | Passed::Held => false,
        };
        // Of a whole answer that passes, what no blank line closed is no event.
        let passes = matches!(self.way, Way::Same { .. });
        let is_whole = passes && self.ended() == Some(StreamEnd::Complete);
        match is_held {
            true => Ending::Replaced(&self.out),
            false if has_more && !is_whole => Ending::Cut,
            false => Ending::Said,
        }
    }

    /// How the stream has ended, as soon as that is known.
    pub fn ended(&self) -> Option<StreamEnd> {
        match &self.way {
            Way::Same { passing, .. } => passing.ended(),
            Way::Translated(translation) => translation.ended(),
        }
    }

    /// Whether what came last is to wait for what comes next: see [`Translator::waits_for_end`].
    fn waits_for_end(&self) -> bool {
        match &self.way {
            Way::Translated(translation) => {
                self.held <= MAX_HELD && translation.first.translator.waits_for_end()
            }
            Way::Same { .. } => false,
        }
    }

    pub fn usage(&self) -> Usage {
        match &self.way {
            Way::Same { judge, passing } => match judge {
                Judge::Chat(_) => passing.usage(),
                Judge::Messages { leg, .. } => leg.translator.usage(),
            },
            Way::Translated(translation) => translation.first.translator.usage(),
        }
    }

    /// Appends to `out` what the client gets. What a translation saw, and whether `out` differs from what came: what passes is
    /// not copied.
    fn read(&mut self, bytes: &[u8], end: bool) -> (Progress, bool) {
        match &mut self.way {
            Way::Same { judge, passing } => {
                let progress = judge.read(bytes, end);
                (progress, pass(passing, bytes, end, &mut self.out))
            }
            Way::Translated(translation) => (translation.read(bytes, end, &mut self.out), true),
        }
    }
}

/// Appends to `out` what passes, unless that is what came; whether it is not.
fn pass(passing: &mut Passing, bytes: &[u8], end: bool, out: &mut Vec<u8>) -> bool {
    let mut is_changed = match passing.push(bytes) {
        passing::Passed::AsItCame => false,
        passing::Passed::Replaced(others) => {
            out.extend_from_slice(others);
            true
        }
    };
    if end {
        let rest = passing.finish();
        if !rest.is_empty() {
            if !is_changed {
                out.extend_from_slice(bytes);
            }
            out.extend_from_slice(rest);
            is_changed = true;
        }
    }
    is_changed
}

// === impl Judge ===

impl Judge {
    /// Reads on for the tokens, where that is the judge's.
    fn read(&mut self, bytes: &[u8], end: bool) -> Progress {
        match self {
            Judge::Chat(_) => Progress::Silent,
            Judge::Messages { leg, unread } => {
                unread.clear();
                leg.read(bytes, end, unread)
            }
        }
    }
}

// === impl Translation ===

impl Translation {
    /// Appends to `out` what the client gets. What mattered most of all that the last translation saw: what only the first
    /// one has words for is nothing to a client.
    fn read(&mut self, bytes: &[u8], end: bool, out: &mut Vec<u8>) -> Progress {
        let Some(second) = &mut self.second else {
            return self.first.read(bytes, end, out);
        };
        self.between.clear();
        let _ = self.first.read(bytes, end, &mut self.between);
        second.read(&self.between, end, out)
    }

    /// What the provider did counts before what the second translation made of it.
    fn ended(&self) -> Option<StreamEnd> {
        let second = self.second.as_ref();
        match (self.first.ended, second) {
            (Some(StreamEnd::Complete) | None, Some(second)) => second.ended,
            (ended, _) => ended,
        }
    }
}

// === impl Leg ===

impl Leg {
    fn read(&mut self, bytes: &[u8], end: bool, out: &mut Vec<u8>) -> Progress {
        let Leg {
            decoder,
            translator,
            ended,
        } = self;
        let mut progress = Progress::Silent;
        let failure = Cell::new(StreamEnd::Error);
        let mut on_event = |event: Event<'_>| {
            let step = translator.event(event, out);
            note_end(ended, step, failure.get());
            progress = more(progress, step);
            ControlFlow::Continue(())
        };
        let mut is_whole = decoder.push(bytes, &mut on_event).is_ok();
        if end && is_whole {
            // What no blank line closed was cut.
            failure.set(StreamEnd::EarlyEnd);
            is_whole = decoder.finish(&mut on_event).is_ok();
        }
        // An event too large to be read cuts the stream as well.
        if end || !is_whole {
            let step = translator.end(out);
            note_end(ended, step, failure.get());
            progress = more(progress, step);
        }
        progress
    }
}

/// Notes the first step that ended a stream; `failure`: what it is if it failed.
fn note_end(ended: &mut Option<StreamEnd>, step: Progress, failure: StreamEnd) {
    let how = match step {
        Progress::Done => StreamEnd::Complete,
        Progress::Failed => failure,
        Progress::Silent | Progress::Real => return,
    };
    ended.get_or_insert(how);
}

/// Of two events the one that decides whether a stream is released.
fn more(before: Progress, then: Progress) -> Progress {
    let weight = |progress| match progress {
        Progress::Silent => 0,
        Progress::Done => 1,
        Progress::Failed => 2,
        Progress::Real => 3,
    };
    match weight(then) > weight(before) {
        true => then,
        false => before,
    }
}
