//! Answer: a whole GenerateContentResponse as a chat completion.
//!
//! Pure. What is withheld or broken off ends in `content_filter`: only a natural end is a whole answer. Gemini:
//! <https://ai.google.dev/api/generate-content>; OpenAI: <https://platform.openai.com/docs/api-reference/chat/object>.

use std::io::Write;

use serde_json::value::RawValue;

use super::candidate::{
    CallIds, Candidate, Finish, Head, MAX_CHOICES, Malformed, Response, each, object,
};
use super::logprobs;
use super::pieces::{Counts, Form, Pieces};
use crate::provider::translate::{Answer, NoAnswer, Told};

/// The answer for the client. Google's list form of a response belongs to streams without `alt=sse`, and is none.
pub fn to_chat(body: &[u8], told: &Told<'_>) -> Result<Answer, NoAnswer> {
    translate(body, told).map_err(|Malformed| NoAnswer)
}

fn translate(body: &[u8], told: &Told<'_>) -> Result<Answer, Malformed> {
    let response: Response<'_> = object(std::str::from_utf8(body).map_err(|_| Malformed)?)?;
    if response.error.is_some() {
        return Err(Malformed);
    }
    let Head { json, mut call_ids } =
        response.head("chat.completion", told.created, told.model, body);
    let mut out = json;
    out.reserve(body.len());
    let mut choices: usize = 0;
    if let Some(candidates) = response.candidates {
        each(candidates, &mut |candidate| {
            if choices > 0 {
                out.push(b',');
            }
            write_choice(candidate, choices, &mut call_ids, &mut out)?;
            choices = choices.saturating_add(1);
            Ok(())
        })?;
    }
    if choices == 0 {
        let refusal = response.blocked()?.ok_or(Malformed)?;
        // Writing to a Vec does not fail, here and below.
        let _ = write!(
            out,
            r#"{{"index":0,"message":{{"role":"assistant","content":null,"refusal":"{refusal}"}},"logprobs":null,"#
        );
        let _ = write!(out, r#""finish_reason":"{}"}}"#, Finish::Filter.name(false));
    }
    let count = response.count().unwrap_or_default();
    out.extend_from_slice(br#"],"usage":"#);
    count.write(&mut out);
    out.push(b'}');
    Ok(Answer {
        body: out,
        usage: count.usage,
    })
}

fn write_choice(
    candidate: &RawValue,
    position: usize,
    call_ids: &mut CallIds,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    if position >= MAX_CHOICES {
        return Err(Malformed);
    }
    let candidate: Candidate<'_> = object(candidate.get())?;
    let mut pieces = Pieces::new(Form::Message);
    let mut counts = Counts::default();
    candidate.each_part(&mut |part| pieces.add(part, &mut counts, call_ids))?;
    pieces.close();
    let refusal = candidate.refusal().filter(|_| !pieces.shows());
    let index = candidate
        .index
        .unwrap_or(u32::try_from(position).unwrap_or(u32::MAX));
    let _ = write!(
        out,
        r#"{{"index":{index},"message":{{"role":"assistant","content":"#
    );
    if pieces.content.is_empty() && (counts.calls > 0 || refusal.is_some()) {
        out.extend_from_slice(b"null");
    } else {
        out.push(b'"');
        out.extend_from_slice(&pieces.content);
        out.push(b'"');
    }
    match refusal {
        Some(refusal) => {
            let _ = write!(out, r#","refusal":"{refusal}""#);
        }
        None => out.extend_from_slice(br#","refusal":null"#),
    }
    pieces.write(out);
    out.extend_from_slice(br#"},"logprobs":"#);
    logprobs::write(candidate.logprobs_result, out)?;
    // A whole answer that gives no reason has nothing to say against being whole.
    let finish = candidate.finish().unwrap_or(Finish::Stop);
    let _ = write!(
        out,
        r#","finish_reason":"{}"}}"#,
        finish.name(counts.calls > 0)
    );
    Ok(())
}

#[cfg(test)]
mod tests;
