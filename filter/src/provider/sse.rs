//! Server-sent events: an incremental decoder, and an encoder.
//!
//! Invariants: what comes out does not depend on where the bytes were split, nothing is held beyond twice the limit, and
//! once its buffers have grown the decoder allocates nothing.
//!
//! After the WHATWG HTML standard, section 9.2 "Server-sent events" (9.2.5 parsing, 9.2.6 interpreting an event
//! stream, <https://html.spec.whatwg.org/multipage/server-sent-events.html>). It differs from a browser in three ways:
//! - Data stays bytes: a browser replaces what is not UTF-8, a gateway must not.
//! - [`Decoder::finish`] yields an event that no blank line closed, where a browser drops it: some providers end
//!   with `data: [DONE]` and close.
//! - `id` and `retry` are read over: they steer reconnection, and nobody reconnects to a chat completion.

use std::ops::ControlFlow;

/// One event, valid until the next is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Empty where the stream names none (a browser calls it `message`).
    pub event: &'a [u8],
    /// The `data:` lines, joined by LF.
    pub data: &'a [u8],
}

/// An event, or one line, larger than the decoder's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("server-sent event larger than {max_event_bytes} bytes")]
pub struct Overflow {
    pub max_event_bytes: usize,
}

/// Takes a stream apart, chunk by chunk.
#[derive(Debug)]
pub struct Decoder {
    max_event_bytes: usize,
    /// The start of a line whose end has not come.
    line: Vec<u8>,
    event: Vec<u8>,
    data: Vec<u8>,
    /// `data:` with nothing after it is an event; no `data:` at all is none.
    has_data: bool,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    at_start: bool,
    overflowed: bool,
}

// === impl Decoder ===

impl Decoder {
    /// `max_event_bytes` bounds a line, and the name and data of an event together.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            line: Vec::new(),
            event: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            at_start: true,
            overflowed: false,
        }
    }

    /// Calls `on_event` for every event that `chunk` completes, until it breaks.
    ///
    /// Returns how many bytes were read: all of them, or those up to the event it broke at, so that the rest can be
    /// pushed later. After an [`Overflow`] the stream cannot be followed any more: every further call returns it.
    pub fn push(
        &mut self,
        chunk: &[u8],
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<usize, Overflow> {
        self.check(!self.overflowed)?;
        let mut rest = chunk;
        loop {
            if self.after_cr
                && let Some((&first, tail)) = rest.split_first()
            {
                self.after_cr = false;
                if first == b'\n' {
                    rest = tail;
                }
            }
            let Some((line, terminator, tail)) = split_line(rest) else {
                self.check(self.line.len().saturating_add(rest.len()) <= self.max_event_bytes)?;
                self.line.extend_from_slice(rest);
                return Ok(chunk.len());
            };
            rest = tail;
            self.after_cr = terminator == b'\r';
            if self.end_line(line, on_event)?.is_break() {
                return Ok(chunk.len().saturating_sub(rest.len()));
            }
        }
    }

    /// The stream has ended: yields the event that no blank line closed, if it has data.
    pub fn finish(
        &mut self,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), Overflow> {
        self.check(!self.overflowed)?;
        if !self.line.is_empty() {
            // The line's own end, which the stream left out; only an empty line breaks.
            let _ = self.end_line(b"", on_event)?;
        }
        let _ = self.dispatch(on_event);
        Ok(())
    }

    /// `tail` is the last part of a line that may have begun in an earlier chunk.
    fn end_line(
        &mut self,
        tail: &[u8],
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Overflow> {
        self.check(self.line.len().saturating_add(tail.len()) <= self.max_event_bytes)?;
        if self.line.is_empty() {
            return self.read_line(tail, on_event);
        }
        // Taken and put back, so that its capacity stays.
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(tail);
        let flow = self.read_line(&line, on_event);
        line.clear();
        self.line = line;
        flow
    }

    fn read_line(
        &mut self,
        line: &[u8],
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Overflow> {
        let mut line = line;
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.dispatch(on_event));
        }
        let (field, value) = split_field(line);
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.check_event(
                    self.event.len(),
                    self.data.len().saturating_add(value.len()),
                )?;
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.check_event(value.len(), self.data.len())?;
                self.event.clear();
                self.event.extend_from_slice(value);
            }
            // `id`, `retry`, fields that nobody knows, and comments, whose field name is empty.
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn dispatch(
        &mut self,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let flow = if self.has_data {
            on_event(Event {
                event: &self.event,
                data: &self.data,
            })
        } else {
            ControlFlow::Continue(())
        };
        self.event.clear();
        self.data.clear();
        self.has_data = false;
        flow
    }

    fn check_event(&mut self, event: usize, data: usize) -> Result<(), Overflow> {
        self.check(event.saturating_add(data) <= self.max_event_bytes)
    }

    fn check(&mut self, fits: bool) -> Result<(), Overflow> {
        if fits {
            return Ok(());
        }
        self.overflowed = true;
        self.line = Vec::new();
        self.event = Vec::new();
        self.data = Vec::new();
        Err(Overflow {
            max_event_bytes: self.max_event_bytes,
        })
    }
}

/// Appends one event to `out`, such that a decoder reads the same back.
///
/// A CR in the data becomes a line end, as the format cannot carry one; a name ends at its first line end.
pub fn encode(event: Event<'_>, out: &mut Vec<u8>) {
    if let Some(name) = event
        .event
        .split(is_line_end)
        .next()
        .filter(|name| !name.is_empty())
    {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name);
        out.push(b'\n');
    }
    let mut rest = event.data;
    loop {
        let (line, tail) = match split_line(rest) {
            Some((line, b'\r', tail)) => (line, Some(tail.strip_prefix(b"\n").unwrap_or(tail))),
            Some((line, _, tail)) => (line, Some(tail)),
            None => (rest, None),
        };
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
        match tail {
            Some(tail) => rest = tail,
            None => break,
        }
    }
    out.push(b'\n');
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The first line, the byte that ended it, and what follows; `None` while no line has ended.
fn split_line(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (line, rest) = bytes.split_at_checked(bytes.iter().position(is_line_end)?)?;
    let (&terminator, rest) = rest.split_first()?;
    Some((line, terminator, rest))
}

/// A line's field name and value: up to the first colon, and after it less one space.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = line.splitn(2, |&byte| byte == b':');
    let field = parts.next().unwrap_or_default();
    let value = parts.next().unwrap_or_default();
    (field, value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests;
