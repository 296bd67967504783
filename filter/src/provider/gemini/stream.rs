//! Stream: the events of `streamGenerateContent?alt=sse` as chat completion chunks.
//!
//! Pure. Every stream ends in one `[DONE]` or one error event, never in both. State is a few numbers per choice.
//!
//! Each event is a GenerateContentResponse with what is new in it, and none says that it is the last
//! (<https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>). So the finish reasons are held
//! until the provider's stream ends: a reason that is repeated, or a call that follows one, changes nothing.

use std::io::Write;

use serde_json::value::RawValue;

use super::candidate::{
    CallIds, Candidate, Count, Finish, Head, MAX_CHOICES, Malformed, Response, each, object,
};
use super::error;
use super::logprobs;
use super::pieces::{Counts, Form, Pieces};
use crate::chat::error::{SERVER, error_body};
use crate::chat::usage::Usage;
use crate::provider::sse::Event;
use crate::provider::translate::{Progress, Told, Translator};

/// A stream on its way to the client.
#[derive(Debug)]
pub struct Stream {
    created: u64,
    model: String,
    frame: Frame,
    call_ids: CallIds,
    choices: Vec<Choice>,
    count: Count,
    pieces: Pieces,
    /// [`Progress::Done`] or [`Progress::Failed`].
    ended: Option<Progress>,
}

/// What is the same in every chunk.
#[derive(Debug)]
struct Frame {
    /// From `data: ` to `"choices":[`. Empty before the first chunk.
    head: Vec<u8>,
    include_usage: bool,
}

#[derive(Debug)]
struct Choice {
    index: u32,
    counts: Counts,
    /// The client has something to show, be it a refusal.
    shown: bool,
    finish: Option<Finish>,
}

/// Why a stream fails.
enum Failure {
    Malformed,
    /// The body of the error that the provider sent.
    Error(Vec<u8>),
}

// === impl Stream ===

impl Stream {
    pub fn new(told: &Told<'_>) -> Self {
        Self {
            created: told.created,
            model: told.model.to_owned(),
            frame: Frame {
                head: Vec::new(),
                include_usage: told.include_usage,
            },
            call_ids: CallIds::none(),
            choices: Vec::new(),
            count: Count::default(),
            pieces: Pieces::new(Form::Delta),
            ended: None,
        }
    }

    fn read(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<Progress, Failure> {
        let as_error = || {
            error::read(200, data).map_or(Failure::Malformed, |fault| Failure::Error(fault.body()))
        };
        let text = std::str::from_utf8(data).map_err(|_| Failure::Malformed)?;
        let response: Response<'_> = object(text).map_err(|Malformed| as_error())?;
        if response.error.is_some() {
            return Err(as_error());
        }
        // Of the first event that says something; one before it may lack the names.
        if self.frame.head.is_empty() && response.says_something() {
            let head = response.head("chat.completion.chunk", self.created, &self.model, data);
            let Head { json, call_ids } = head;
            self.frame.head = [b"data: ", &json[..]].concat();
            self.call_ids = call_ids;
        }
        if let Some(count) = response.count() {
            self.count = count;
        }
        let mut is_real = false;
        let mut position: u32 = 0;
        if let Some(candidates) = response.candidates {
            each(candidates, &mut |candidate| {
                is_real |= self.candidate(candidate, position, out)?;
                position = position.saturating_add(1);
                Ok(())
            })?;
        }
        if position == 0
            && let Some(refusal) = response.blocked()?
        {
            self.refuse(&refusal, out)?;
            is_real = true;
        }
        Ok(if is_real {
            Progress::Real
        } else {
            Progress::Silent
        })
    }

    /// Whether the candidate has anything that a client would show or act on.
    fn candidate(
        &mut self,
        candidate: &RawValue,
        position: u32,
        out: &mut Vec<u8>,
    ) -> Result<bool, Malformed> {
        let candidate: Candidate<'_> = object(candidate.get())?;
        let choice = open_choice(
            candidate.index.unwrap_or(position),
            &mut self.choices,
            &self.frame,
            out,
        )?;
        let pieces = &mut self.pieces;
        pieces.clear();
        candidate
            .each_part(&mut |part| pieces.add(part, &mut choice.counts, &mut self.call_ids))?;
        pieces.close();
        choice.shown |= pieces.shows();
        let refusal = candidate.refusal().filter(|_| !choice.shown);
        let is_real = !pieces.is_empty() || candidate.finish_reason.is_some();
        if !pieces.is_empty() || candidate.logprobs_result.is_some() {
            self.frame.start(choice.index, out);
            pieces.write(out);
            out.extend_from_slice(br#"},"logprobs":"#);
            logprobs::write(candidate.logprobs_result, out)?;
            self.frame.end(None, out);
        }
        if let Some(refusal) = refusal {
            choice.refuse(&refusal, &self.frame, out);
        }
        choice.finish = candidate.finish().or(choice.finish);
        Ok(is_real)
    }

    /// The prompt was blocked: every choice that is not finished ends in a refusal.
    fn refuse(&mut self, refusal: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.choices.is_empty() {
            open_choice(0, &mut self.choices, &self.frame, out)?;
        }
        for choice in &mut self.choices {
            if choice.finish.is_none() {
                choice.refuse(refusal, &self.frame, out);
                choice.finish = Some(Finish::Filter);
            }
        }
        Ok(())
    }

    fn fail(&mut self, body: &[u8], out: &mut Vec<u8>) -> Progress {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(body);
        out.extend_from_slice(b"\n\n");
        self.stop(Progress::Failed)
    }

    /// Every choice that has begun has its finish reason.
    fn is_finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finish.is_some())
    }

    fn stop(&mut self, progress: Progress) -> Progress {
        self.ended = Some(progress);
        progress
    }
}

impl Translator for Stream {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Progress {
        if let Some(progress) = self.ended {
            return progress;
        }
        let data = event.data.trim_ascii();
        if data.is_empty() {
            // `data:` alone keeps a connection alive, as a comment does.
            return Progress::Silent;
        }
        let start = out.len();
        match self.read(data, out) {
            Ok(progress) => progress,
            Err(failure) => {
                // What an event says before it goes wrong is not said.
                out.truncate(start);
                match failure {
                    Failure::Error(body) => self.fail(&body, out),
                    Failure::Malformed => {
                        let message = "the provider sent an event that is not of its format, and the answer is not \
                                       whole: send the request again, or name another tier or model";
                        self.fail(
                            &error_body(SERVER, "provider_bad_event", message, None),
                            out,
                        )
                    }
                }
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Progress {
        if let Some(progress) = self.ended {
            return progress;
        }
        if !self.is_finished() {
            let message = "the provider's stream ended before the answer did: send the request again, or name another \
                           tier or model";
            return self.fail(
                &error_body(SERVER, "provider_stream_cut", message, None),
                out,
            );
        }
        for choice in &self.choices {
            self.frame.start(choice.index, out);
            out.extend_from_slice(br#"},"logprobs":null"#);
            let finish = choice.finish.unwrap_or(Finish::Filter);
            self.frame
                .end(Some(finish.name(choice.counts.calls > 0)), out);
        }
        if self.frame.include_usage {
            out.extend_from_slice(&self.frame.head);
            out.extend_from_slice(br#"],"usage":"#);
            self.count.write(out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.stop(Progress::Done)
    }

    fn waits_for_end(&self) -> bool {
        self.ended.is_none() && self.is_finished()
    }

    fn usage(&self) -> Usage {
        self.count.usage
    }
}

impl From<Malformed> for Failure {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

// === impl Frame ===

impl Frame {
    /// A chunk of one choice, up to the inside of its delta.
    fn start(&self, index: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        // Writing to a Vec does not fail, here and below.
        let _ = write!(out, r#"{{"index":{index},"delta":{{"#);
    }

    /// The rest of a chunk, after its logprobs.
    fn end(&self, finish: Option<&str>, out: &mut Vec<u8>) {
        match finish {
            Some(finish) => {
                let _ = write!(out, r#","finish_reason":"{finish}"}}]"#);
            }
            None => out.extend_from_slice(br#","finish_reason":null}]"#),
        }
        if self.include_usage {
            out.extend_from_slice(br#","usage":null"#);
        }
        out.extend_from_slice(b"}\n\n");
    }
}

// === impl Choice ===

impl Choice {
    fn refuse(&mut self, refusal: &str, frame: &Frame, out: &mut Vec<u8>) {
        self.shown = true;
        frame.start(self.index, out);
        let _ = write!(out, r#""refusal":"{refusal}"}},"logprobs":null"#);
        frame.end(None, out);
    }
}

/// Finds a choice, or begins it with the chunk of its role.
fn open_choice<'c>(
    index: u32,
    choices: &'c mut Vec<Choice>,
    frame: &Frame,
    out: &mut Vec<u8>,
) -> Result<&'c mut Choice, Malformed> {
    let position = choices.iter().position(|choice| choice.index == index);
    if position.is_none() {
        if choices.len() >= MAX_CHOICES {
            return Err(Malformed);
        }
        choices.push(Choice {
            index,
            counts: Counts::default(),
            shown: false,
            finish: None,
        });
        frame.start(index, out);
        out.extend_from_slice(
            br#""role":"assistant","content":"","refusal":null},"logprobs":null"#,
        );
        frame.end(None, out);
    }
    let position = position.unwrap_or(choices.len().saturating_sub(1));
    choices.get_mut(position).ok_or(Malformed)
}

#[cfg(test)]
mod tests;
