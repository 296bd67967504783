//! Part: what one part of a content needs, whatever order its fields come in.
//!
//! A part's own fields are met in the pass over the body. What is deeper (a tool's result, a document's blocks) was
//! skipped there, and is read level by level, at most [`DEPTH`] of them: depth costs no stack.

use serde_json::value::RawValue;

use super::{Heard, Input, Tally};
use crate::chat::json::{each, entries, inside, word};

/// Levels of blocks within a part: a tool's result, a document in it, and that document's blocks.
const DEPTH: usize = 3;

/// A part by its type, whichever API calls it so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::chat) enum Block {
    Media(Input),
    /// Of Messages: a file, or text and blocks that are written out.
    Document,
    /// A call, or its result.
    Tool,
    /// The form of an answer, no part.
    JsonSchema,
    #[default]
    Other,
}

/// A field that is read when the part is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) enum Field {
    Content,
    Source,
    Input,
    Thinking,
}

/// A part's fields but its text; each as it came last.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::chat) struct Part<'de> {
    pub(in crate::chat) block: Block,
    content: Option<&'de RawValue>,
    source: Option<&'de RawValue>,
    input: Option<&'de RawValue>,
    thinking: Option<&'de RawValue>,
}

/// Where a document's data is.
#[derive(Default)]
struct Source<'de> {
    kind: Option<&'de RawValue>,
    data: Option<&'de RawValue>,
    content: Option<&'de RawValue>,
}

/// The type that a JSON object says it is.
pub(super) fn kind_of(object: &str) -> Block {
    let mut block = Block::Other;
    entries(object, |key, value| {
        if key == "type" {
            block = Block::of_value(value);
        }
    });
    block
}

// === impl Block ===

impl Block {
    pub(in crate::chat) fn of(name: &str) -> Self {
        match name {
            "image" | "image_url" => Block::Media(Input::Image),
            "input_audio" => Block::Media(Input::Audio),
            "video_url" => Block::Media(Input::Video),
            "file" => Block::Media(Input::File),
            "document" => Block::Document,
            "json_schema" => Block::JsonSchema,
            _ if name.ends_with("tool_use") || name.ends_with("tool_result") => Block::Tool,
            _ => Block::Other,
        }
    }

    fn of_value(value: &RawValue) -> Self {
        word(Some(value)).map_or(Block::Other, |name| Block::of(&name))
    }
}

// === impl Field ===

impl Field {
    pub(in crate::chat) fn of(key: &str) -> Option<Self> {
        Some(match key {
            "content" => Field::Content,
            "source" => Field::Source,
            "input" => Field::Input,
            "thinking" => Field::Thinking,
            _ => return None,
        })
    }
}

// === impl Part ===

impl<'de> Part<'de> {
    pub(in crate::chat) fn take(&mut self, field: Field, value: &'de RawValue) {
        let slot = match field {
            Field::Content => &mut self.content,
            Field::Source => &mut self.source,
            Field::Input => &mut self.input,
            Field::Thinking => &mut self.thinking,
        };
        *slot = Some(value);
    }

    pub(in crate::chat) fn count(self, heard: &mut Heard) {
        self.count_to(heard, DEPTH);
    }

    fn count_to(self, heard: &mut Heard, depth: usize) {
        match self.block {
            Block::Media(input) => heard.media(input),
            Block::Document => self.document(heard, depth),
            Block::Tool => heard.tools = true,
            Block::JsonSchema | Block::Other => {}
        }
        if let Some(raw) = self.input {
            heard.weigh(|| Tally::of_json(raw.get()));
        }
        if let Some(text) = inside(self.thinking) {
            heard.weigh(|| Tally::of_optional(text));
        }
        content(self.content, heard, depth);
    }

    /// One whose text is written out is no file: any model reads it.
    fn document(self, heard: &mut Heard, depth: usize) {
        let source = self.source.map(Source::read).unwrap_or_default();
        match word(source.kind).as_deref() {
            Some("text") => heard.escaped(source.data),
            Some("content") => content(source.content, heard, depth),
            _ => heard.media(Input::File),
        }
    }
}

/// A string, or blocks.
fn content(raw: Option<&RawValue>, heard: &mut Heard, depth: usize) {
    heard.escaped(raw);
    let (Some(raw), Some(depth)) = (raw, depth.checked_sub(1)) else {
        return;
    };
    each(Some(raw), |raw| {
        let mut part = Part::default();
        let mut text = None;
        entries(raw.get(), |key, value| match key {
            "type" => part.block = Block::of_value(value),
            "text" => text = Some(value),
            _ => {
                if let Some(field) = Field::of(key) {
                    part.take(field, value);
                }
            }
        });
        heard.escaped(text);
        part.count_to(heard, depth);
    });
}

impl Heard {
    /// A string, if it is one.
    fn escaped(&mut self, raw: Option<&RawValue>) {
        if let Some(text) = inside(raw) {
            self.weigh(|| Tally::of_escaped(text));
        }
    }
}

// === impl Source ===

impl<'de> Source<'de> {
    fn read(raw: &'de RawValue) -> Self {
        let mut source = Source::default();
        entries(raw.get(), |key, value| match key {
            "type" => source.kind = Some(value),
            "data" => source.data = Some(value),
            "content" => source.content = Some(value),
            _ => {}
        });
        source
    }
}
