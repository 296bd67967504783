//! Message: one chat message's fields, and the calls in it.
//!
//! Fields that are not named here are ignored: `annotations`, `reasoning_content` and the like say nothing that a
//! model is to read again.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::{Path, Read, bad, uncarried, wrong_type};
use super::read::{list, object, text, word};

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) role: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) name: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) reasoning_details: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
}

/// A call of a function.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    /// The arguments: a JSON object, as the model wrote it.
    pub(super) input: Box<RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// Reads `tool_calls` one by one; `each` gets the place in the list and the call.
pub(super) fn tool_calls<'a>(
    raw: &'a RawValue,
    at: &Path<'_>,
    each: &mut dyn FnMut(usize, Call<'a>) -> Read<()>,
) -> Read<()> {
    for (i, raw) in list(raw, at)?.into_iter().enumerate() {
        each(i, tool_call(raw, &at.index(i))?)?;
    }
    Ok(())
}

fn tool_call<'a>(raw: &'a RawValue, at: &Path<'_>) -> Read<Call<'a>> {
    let call: ToolCall<'a> = object(raw, at)?;
    if let Some(kind) = call.kind
        && text(kind, &at.field("type"))? != "function"
    {
        let words = "is no function call, and this provider has no other; leave the call out, with its result";
        return Err(uncarried(at, words));
    }
    let id = word(call.id, &at.field("id"))?;
    let at = at.field("function");
    let function = call.function.ok_or_else(|| wrong_type(&at, "is missing"))?;
    let (name, input) = function_fields(function, &at)?;
    Ok(Call { id, name, input })
}

/// A legacy `function_call`. It has no id, and gets the number of its message for one.
pub(super) fn function_call<'a>(
    raw: &'a RawValue,
    message: usize,
    at: &Path<'_>,
) -> Read<Call<'a>> {
    let (name, input) = function_fields(raw, at)?;
    Ok(Call {
        id: Cow::Owned(format!("function_call_{message}")),
        name,
        input,
    })
}

fn function_fields<'a>(raw: &'a RawValue, at: &Path<'_>) -> Read<(Cow<'a, str>, Box<RawValue>)> {
    let function: Function<'a> = object(raw, at)?;
    let name = word(function.name, &at.field("name"))?;
    let at = at.field("arguments");
    let arguments = match function.arguments {
        Some(raw) => text(raw, &at)?,
        None => Cow::Borrowed(""),
    };
    let arguments = match arguments.trim() {
        // What models of some providers write for a function without parameters.
        "" => "{}",
        arguments => arguments,
    };
    let wrong = || {
        let words = "must be a JSON object, written as a string; send it as the model wrote it";
        bad("invalid_value", &at, words)
    };
    if !arguments.starts_with('{') {
        return Err(wrong());
    }
    let input = RawValue::from_string(arguments.to_owned()).map_err(|_| wrong())?;
    Ok((name, input))
}

// === impl Message ===

impl Message<'_> {
    /// `audio` of an assistant message names speech that only OpenAI has.
    pub(super) fn refuse_audio(&self, at: &Path<'_>) -> Read<()> {
        if self.audio.is_some() {
            let words = "names audio that is at OpenAI, which this provider cannot read; send its text as content";
            return Err(uncarried(&at.field("audio"), words));
        }
        Ok(())
    }
}
