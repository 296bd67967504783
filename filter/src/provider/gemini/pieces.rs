//! Pieces: the parts of one candidate, as the JSON text of a message's or a delta's fields.
//!
//! Pure. One pass over the parts; every string is copied as it came. The buffers are kept between the chunks of a
//! stream, which therefore allocates only while a chunk is larger than all before it.
//!
//! Parts: <https://ai.google.dev/api/caching#Part>. `reasoning_details` and `images` are OpenRouter's extensions of
//! OpenAI's message, which clients already read: <https://openrouter.ai/docs/use-cases/reasoning-tokens>,
//! <https://openrouter.ai/docs/features/multimodal/image-generation>.

use std::borrow::Cow;
use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::candidate::{CallIds, Malformed, object, string, string_or_empty};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Message,
    /// Tool calls have an `index`, by which a client joins them.
    Delta,
}

/// What a choice has so far; of a stream it lives from chunk to chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub calls: u32,
    images: u32,
    details: u32,
    /// Index of the thoughts that go on: a client joins details of the same index.
    thoughts: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Pieces {
    form: Form,
    /// The inside of a JSON string, as is `reasoning`.
    pub content: Vec<u8>,
    reasoning: Vec<u8>,
    /// Elements of a JSON list, as are `calls` and `images`.
    details: Vec<u8>,
    calls: Vec<u8>,
    images: Vec<u8>,
    /// Index of the `reasoning.text` in `details` whose end is not written yet.
    open: Option<u32>,
}

/// A part has one of the kinds of data, and may have a signature beside it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    thought: Option<bool>,
    #[serde(borrow)]
    thought_signature: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    inline_data: Option<&'a RawValue>,
    #[serde(borrow)]
    executable_code: Option<&'a RawValue>,
    #[serde(borrow)]
    code_execution_result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InlineData<'a> {
    #[serde(borrow)]
    mime_type: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ExecutableCode<'a> {
    #[serde(borrow)]
    language: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CodeExecutionResult<'a> {
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

// === impl Pieces ===

impl Pieces {
    pub fn new(form: Form) -> Self {
        Self {
            form,
            content: Vec::new(),
            reasoning: Vec::new(),
            details: Vec::new(),
            calls: Vec::new(),
            images: Vec::new(),
            open: None,
        }
    }

    /// Empties the buffers and keeps them.
    pub fn clear(&mut self) {
        self.content.clear();
        self.reasoning.clear();
        self.details.clear();
        self.calls.clear();
        self.images.clear();
        self.open = None;
    }

    pub fn is_empty(&self) -> bool {
        !self.shows() && self.reasoning.is_empty() && self.details.is_empty()
    }

    /// Whether there is anything beside thinking.
    pub fn shows(&self) -> bool {
        !self.content.is_empty() || !self.calls.is_empty() || !self.images.is_empty()
    }

    /// Adds one part. Kinds that a chat completion has no place for (audio, files, images of a thought) are left out.
    pub fn add(
        &mut self,
        part: &RawValue,
        counts: &mut Counts,
        call_ids: &mut CallIds,
    ) -> Result<(), Malformed> {
        let part: Part<'_> = object(part.get())?;
        let is_thought = part.thought == Some(true);
        let text = string_or_empty(part.text)?;
        if is_thought && !text.is_empty() {
            self.thought(text, counts);
        } else {
            self.content.extend_from_slice(text.as_bytes());
        }
        if !is_thought {
            self.data(&part, counts)?;
        }
        let call_id = match part.function_call {
            Some(call) => Some(self.call(object(call.get())?, counts, call_ids)?),
            None => None,
        };
        match string_or_empty(part.thought_signature)? {
            "" => {}
            signature => self.signature(signature, call_id.as_deref(), counts),
        }
        Ok(())
    }

    /// What follows the last part of a candidate.
    pub fn close(&mut self) {
        if let Some(index) = self.open.take() {
            // Writing to a Vec does not fail, here and below.
            let _ = write!(
                self.details,
                r#"","format":"google-gemini-v1","index":{index}}}"#
            );
        }
    }

    fn thought(&mut self, text: &str, counts: &mut Counts) {
        self.reasoning.extend_from_slice(text.as_bytes());
        if self.open.is_none() {
            let index = *counts
                .thoughts
                .get_or_insert_with(|| take_index(&mut counts.details));
            self.open = Some(index);
            separate(&mut self.details);
            self.details
                .extend_from_slice(br#"{"type":"reasoning.text","text":""#);
        }
        self.details.extend_from_slice(text.as_bytes());
    }

    /// A signature has to come back on the part that it came with; `call_id` says which, or that it was no call.
    /// <https://ai.google.dev/gemini-api/docs/thought-signatures>
    fn signature(&mut self, signature: &str, call_id: Option<&str>, counts: &mut Counts) {
        self.close();
        counts.thoughts = None;
        let index = take_index(&mut counts.details);
        separate(&mut self.details);
        let _ = write!(
            self.details,
            r#"{{"type":"reasoning.encrypted","data":"{signature}","format":"google-gemini-v1","index":{index}"#
        );
        if let Some(id) = call_id {
            let _ = write!(self.details, r#","id":"{id}""#);
        }
        self.details.push(b'}');
    }

    /// Returns the call's id, escaped. Gemini sends a call whole, and an id only where it knows ids:
    /// <https://ai.google.dev/api/caching#FunctionCall>.
    fn call<'a>(
        &mut self,
        call: FunctionCall<'a>,
        counts: &mut Counts,
        call_ids: &mut CallIds,
    ) -> Result<Cow<'a, str>, Malformed> {
        let id = match string_or_empty(call.id)? {
            "" => Cow::Owned(call_ids.make()),
            id => Cow::Borrowed(id),
        };
        let name = string(call.name)?;
        let index = take_index(&mut counts.calls);
        separate(&mut self.calls);
        self.calls.push(b'{');
        if self.form == Form::Delta {
            let _ = write!(self.calls, r#""index":{index},"#);
        }
        let _ = write!(
            self.calls,
            r#""id":"{id}","type":"function","function":{{"name":"{name}","arguments":"#
        );
        let args = call.args.map_or("{}", RawValue::get);
        serde_json::to_writer(&mut self.calls, args).map_err(|_| Malformed)?;
        self.calls.extend_from_slice(b"}}");
        Ok(id)
    }

    /// Images, and code that the provider ran itself: fenced, as Google's own pages show it.
    fn data(&mut self, part: &Part<'_>, counts: &mut Counts) -> Result<(), Malformed> {
        if let Some(code) = part.executable_code {
            let code: ExecutableCode<'_> = object(code.get())?;
            let language = match code.language.map(RawValue::get) {
                Some(r#""PYTHON""#) => "python",
                _ => "",
            };
            self.fence(language, string_or_empty(code.code)?);
        }
        if let Some(result) = part.code_execution_result {
            let result: CodeExecutionResult<'_> = object(result.get())?;
            self.fence("", string_or_empty(result.output)?);
        }
        if let Some(blob) = part.inline_data {
            let blob: InlineData<'_> = object(blob.get())?;
            let mime_type = string_or_empty(blob.mime_type)?;
            let data = string_or_empty(blob.data)?;
            if mime_type.starts_with("image/") && !data.is_empty() {
                let index = take_index(&mut counts.images);
                separate(&mut self.images);
                let _ = write!(
                    self.images,
                    r#"{{"type":"image_url","image_url":{{"url":"data:{mime_type};base64,{data}"}},"index":{index}}}"#
                );
            }
        }
        Ok(())
    }

    fn fence(&mut self, language: &str, text: &str) {
        let _ = write!(self.content, r"\n```{language}\n{text}\n```\n");
    }

    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        [
            &self.content,
            &self.reasoning,
            &self.details,
            &self.calls,
            &self.images,
        ]
        .iter()
        .map(|buffer| buffer.capacity())
        .sum()
    }

    /// Writes what there is as fields, without the content of a [`Form::Message`], which every message has.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.form == Form::Delta {
            field(out, "content", b'"', &self.content, b'"');
        }
        field(out, "reasoning_content", b'"', &self.reasoning, b'"');
        field(out, "reasoning_details", b'[', &self.details, b']');
        field(out, "tool_calls", b'[', &self.calls, b']');
        field(out, "images", b'[', &self.images, b']');
    }
}

fn field(out: &mut Vec<u8>, name: &str, open: u8, inside: &[u8], close: u8) {
    if inside.is_empty() {
        return;
    }
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    let _ = write!(out, r#""{name}":"#);
    out.push(open);
    out.extend_from_slice(inside);
    out.push(close);
}

/// A comma before all but the first element.
fn separate(list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.push(b',');
    }
}

fn take_index(next: &mut u32) -> u32 {
    let index = *next;
    *next = next.saturating_add(1);
    index
}
