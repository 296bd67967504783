//! Scan: finds the few events of a stream that need reading, and the places where events end, in raw bytes.
//!
//! Pure, and nothing is copied. Invariant: what is found in an event depends on the event's bytes alone, never on what
//! stands around it or on how it was split. An event reaches to the end of its first blank line; the LF of a CRLF there
//! belongs to it, but is not waited for.

use std::ops::Range;

use super::Format;

/// Where an event ends that comes in parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    /// The current line has no bytes yet.
    is_empty: bool,
    /// An LF that follows belongs to the line end before.
    after_cr: bool,
}

// === impl Lines ===

impl Lines {
    pub(super) const START: Self = Self {
        is_empty: true,
        after_cr: false,
    };

    /// Behind an event whose last byte, in what has come of it, is `last`.
    pub(super) fn behind_event(last: u8) -> Self {
        Self {
            is_empty: true,
            after_cr: last == b'\r',
        }
    }

    /// Whether the next byte, which is this one, is the LF of the last event's CRLF; asked once per event.
    pub(super) fn take_lf(&mut self, byte: u8) -> bool {
        std::mem::take(&mut self.after_cr) && byte == b'\n'
    }

    /// Reads on until an event has ended; `None` if it has not by the end of `bytes`.
    pub(super) fn read_event(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            let is_lf_of_crlf = byte == b'\n' && std::mem::take(&mut self.after_cr);
            self.after_cr = byte == b'\r';
            if is_lf_of_crlf {
                continue;
            }
            let was_empty = std::mem::replace(&mut self.is_empty, is_line_end(&byte));
            if was_empty && self.is_empty {
                return at.checked_add(1);
            }
        }
        None
    }
}

// === ends of events ===

/// How many bytes of `bytes`, which begin with an event, are whole events. It looks only at what follows the last one.
pub(super) fn whole_events(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(at) = rest.iter().rposition(is_line_end) {
        if is_end(bytes, at) {
            return past_end(bytes, at);
        }
        rest = rest.get(..at).unwrap_or_default();
    }
    0
}

/// The event that the byte at `at` is part of, without the LF of its last CRLF, and where the next begins. `bytes` begins
/// with an event and ends with one; `at` is inside a line.
pub(super) fn event_around(bytes: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let start = whole_events(bytes.get(..at)?);
    let mut from = at;
    loop {
        let end = from.checked_add(bytes.get(from..)?.iter().position(is_line_end)?)?;
        from = end.checked_add(1)?;
        if is_end(bytes, end) {
            return Some((start..from, past_end(bytes, end)));
        }
    }
}

/// Whether the line end at `at` ends a blank line, and so an event.
fn is_end(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    match (bytes.get(at), before) {
        (Some(b'\r' | b'\n'), None) => true,
        (Some(b'\r'), Some(before)) => is_line_end(before),
        (Some(b'\n'), Some(before)) => *before == b'\n',
        _ => false,
    }
}

/// Behind the line end at `at`, which may be a CRLF.
fn past_end(bytes: &[u8], at: usize) -> usize {
    let next = at.saturating_add(1);
    let is_crlf = bytes.get(at) == Some(&b'\r') && bytes.get(next) == Some(&b'\n');
    next.saturating_add(usize::from(is_crlf))
}

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

// === what to read ===

const USAGE: &[u8] = b"\"usage";
const ERROR: &[u8] = b"\"error";
const FINISH: [&[u8]; 2] = [b"\"finis", b"h_reason"];
const DONE: &[u8] = b"[DONE]";
const STOP: &[u8] = b"message_stop";
const EVENT: &[u8] = b"event:";

/// A byte of the first event that is worth reading. `bytes` begins with an event, and its events are whole.
///
/// Of chat completions that is one with a usage, an error or a finish reason that is not null, of the object `error`, of the
/// name `error`, or `[DONE]`; of many choices every event. Of Messages: one of the type or the name `error` or
/// `message_stop`.
///
/// Names that are written with JSON escapes are not found: nobody writes these so, and reading every event would cost
/// every stream.
pub(super) fn find_mark(bytes: &[u8], format: Format) -> Option<usize> {
    let reads_all = matches!(format, Format::Chat { many_choices, .. } if many_choices);
    if reads_all || names_mark(bytes, format) {
        return (!bytes.is_empty()).then_some(0);
    }
    let mut from = 0;
    loop {
        let at = find_hint(bytes, from, format)?;
        let next = at.checked_add(1)?;
        let (before, rest) = bytes.split_at_checked(at)?;
        if is_mark(before, rest, format) {
            return Some(at);
        }
        if rest.first().is_some_and(is_line_end) && names_mark(bytes.get(next..)?, format) {
            return Some(next);
        }
        from = next;
    }
}

/// The next place, from `from` on, where two bytes look like the start of a mark.
///
/// It is asked about every byte of every stream: 32 places at a time, then eight, then one, all of them in plain 64-bit
/// arithmetic, which Wasm has as well.
fn find_hint(bytes: &[u8], from: usize, format: Format) -> Option<usize> {
    // Of this format alone: the middle of `finish_reason`, which is rarer than its start; the start of `"message_stop"`.
    let own = match format {
        Format::Chat { .. } => *b"h_",
        Format::Messages => *b"\"m",
    };
    let mut at = from;
    for window in bytes.get(from..)?.windows(33).step_by(32) {
        let (firsts, _) = window.as_chunks::<8>();
        let (seconds, _) = window.get(1..)?.as_chunks::<8>();
        let pairs = firsts.iter().zip(seconds);
        let found = pairs.fold(0, |found, (first, second)| {
            found | hints(*first, *second, own)
        });
        if found != 0 {
            break;
        }
        at = at.saturating_add(32);
    }
    for window in bytes.get(at..)?.windows(9).step_by(8) {
        let found = hints(*window.first_chunk()?, *window.last_chunk()?, own);
        if found != 0 {
            return at.checked_add(usize::try_from(found.trailing_zeros() / 8).ok()?);
        }
        at = at.saturating_add(8);
    }
    let tail = bytes.get(at..)?.windows(2);
    let mut hints = tail.map(|pair| match pair {
        pair if pair == own => true,
        pair => matches!(pair, [b'"' | b'\n' | b'\r', b'u' | b'e'] | b"[D"),
    });
    at.checked_add(hints.position(|is_hint| is_hint)?)
}

/// Of eight bytes and those one further each: the high bit where a hint is, and maybe some behind the first.
///
/// `"u`, `"e` and a line end before `e` are found together: `"` and the line ends are of those bytes that have none of
/// the bits 0xD0, as are the space and punctuation, and `u` is `e` with the bit 0x10. `[D` and `own` are looked for
/// beside.
fn hints(first: [u8; 8], second: [u8; 8], [own_first, own_second]: [u8; 2]) -> u64 {
    const LOW: u64 = u64::MAX / 0xFF;
    const HIGH: u64 = LOW * 0x80;
    let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;

    let (first, second) = (u64::from_le_bytes(first), u64::from_le_bytes(second));
    let key = (first & (LOW * 0xD0)) | ((second | (LOW * 0x10)) ^ (LOW * 0x75));
    let done = (first ^ (LOW * 0x5B)) | (second ^ (LOW * 0x44));
    let own = (first ^ (LOW * u64::from(own_first))) | (second ^ (LOW * u64::from(own_second)));
    zeros(key) | zeros(done) | zeros(own)
}

fn is_mark(before: &[u8], rest: &[u8], format: Format) -> bool {
    if let Some(after) = rest.strip_prefix(ERROR) {
        return match (read_member(after), format) {
            (Member::Set, _) => true,
            (Member::Value, Format::Chat { .. }) => is_value_of(b"\"object\"", before),
            (Member::Value, Format::Messages) => is_value_of(b"\"type\"", before),
            (Member::Null | Member::Longer, _) => false,
        };
    }
    if format == Format::Messages {
        return rest
            .strip_prefix(b"\"")
            .is_some_and(|rest| rest.starts_with(STOP));
    }
    if let Some(after) = rest.strip_prefix(USAGE) {
        return matches!(read_member(after), Member::Set);
    }
    let [start, end] = FINISH;
    if let Some(after) = rest.strip_prefix(end) {
        return before.ends_with(start) && matches!(read_member(after), Member::Set);
    }
    rest.starts_with(DONE) && before.trim_ascii_end().ends_with(b"data:")
}

/// Whether a line names its event so that it is worth reading.
fn names_mark(line: &[u8], format: Format) -> bool {
    let Some(name) = line.strip_prefix(EVENT) else {
        return false;
    };
    let name = name.strip_prefix(b" ").unwrap_or(name);
    let is = |expected: &[u8]| {
        name.strip_prefix(expected)
            .is_some_and(|end| end.first().is_none_or(is_line_end))
    };
    is(b"error") || (format == Format::Messages && is(STOP))
}

/// What a mark in quotes is.
enum Member {
    /// The start of another word.
    Longer,
    /// A string, not a key.
    Value,
    /// A key whose value is null.
    Null,
    /// A key with a value.
    Set,
}

/// `after`: what follows the mark, from the quote that closes it on.
fn read_member(after: &[u8]) -> Member {
    let Some(after) = after.strip_prefix(b"\"") else {
        return Member::Longer;
    };
    let after = skip_blanks(after);
    match after.split_first() {
        Some((b':', value)) if skip_blanks(value).starts_with(b"null") => Member::Null,
        // JSON that is broken over several `data:` lines is left to whoever reads the event.
        Some((b':' | b'\n' | b'\r', _)) | None => Member::Set,
        _ => Member::Value,
    }
}

fn is_value_of(key: &[u8], before: &[u8]) -> bool {
    let before = before.trim_ascii_end().strip_suffix(b":");
    before.is_some_and(|before| before.trim_ascii_end().ends_with(key))
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    bytes.get(blanks.count()..).unwrap_or_default()
}
