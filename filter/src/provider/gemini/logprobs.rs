//! Logprobs: Gemini's `logprobsResult` as OpenAI's `logprobs`.
//!
//! Pure. Gemini: <https://ai.google.dev/api/generate-content#LogprobsResult>; OpenAI:
//! <https://platform.openai.com/docs/api-reference/chat/object>.

use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::candidate::{Malformed, each, object, string_or_empty};

/// OpenAI's number for a token that is too unlikely to have one.
const UNLIKELY: &str = "-9999.0";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogprobsResult<'a> {
    #[serde(borrow)]
    chosen_candidates: Option<&'a RawValue>,
    /// One element for each chosen token.
    #[serde(borrow)]
    top_candidates: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TopCandidates<'a> {
    #[serde(borrow)]
    candidates: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token<'a> {
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    log_probability: Option<&'a RawValue>,
}

/// Writes `null`, or the object. `bytes` is null: Gemini does not say them.
pub(super) fn write(result: Option<&RawValue>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let Some(result) = result else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    let result: LogprobsResult<'_> = object(result.get())?;
    let mut tops = Vec::new();
    if let Some(top) = result.top_candidates {
        each(top, &mut |top| {
            tops.push(top);
            Ok(())
        })?;
    }
    let mut tops = tops.into_iter();
    out.extend_from_slice(br#"{"content":["#);
    if let Some(chosen) = result.chosen_candidates {
        let mut is_first = true;
        each(chosen, &mut |chosen| {
            comma(&mut is_first, out);
            token(chosen, out)?;
            out.extend_from_slice(br#","top_logprobs":["#);
            if let Some(top) = tops.next() {
                alternatives(object(top.get())?, out)?;
            }
            out.extend_from_slice(b"]}");
            Ok(())
        })?;
    }
    out.extend_from_slice(br#"],"refusal":null}"#);
    Ok(())
}

fn alternatives(top: TopCandidates<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut is_first = true;
    top.candidates.map_or(Ok(()), |candidates| {
        each(candidates, &mut |candidate| {
            comma(&mut is_first, out);
            token(candidate, out)?;
            out.push(b'}');
            Ok(())
        })
    })
}

/// Leaves the object open.
fn token(json: &RawValue, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let token: Token<'_> = object(json.get())?;
    let text = string_or_empty(token.token)?;
    let number = token.log_probability.map_or("0", RawValue::get);
    let is_number = number.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    // Protobuf's JSON has "-Infinity" as a string.
    let number = if is_number { number } else { UNLIKELY };
    // Writing to a Vec does not fail.
    let _ = write!(out, r#"{{"token":"{text}","logprob":{number},"bytes":null"#);
    Ok(())
}

fn comma(is_first: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::take(is_first) {
        out.push(b',');
    }
}
