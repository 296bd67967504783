//! Needs: what a request asks of a model, read in the pass that reads the rest.
//!
//! Pure. Targets are left out by it, so that it errs on the side of too little: a kind of content that it does not know
//! is none, a value of a wrong type asks for nothing (the provider judges), and text that is not surely part of the
//! prompt counts for no token of the lower estimate. A key that occurs twice counts as its last occurrence, as in the rest.
//!
//! Media are counted flat, by what they are: their data, and a URL, is no text. Tokens of text are estimated, see
//! [`tokens`].

mod opening;
mod part;
pub mod tokens;

use serde_json::value::RawValue;

use super::json::entries;

pub(super) use opening::{Digest, Opening};
pub(super) use part::{Block, Field, Part};
pub(super) use tokens::Tally;

pub use tokens::Estimate;

/// What a request needs of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Beside text.
    pub inputs: Inputs,
    /// Tools are on offer, or a message has a call or a result.
    pub tools: bool,
    /// The answer is to follow a schema. JSON of any form is not one.
    pub json_schema: bool,
    /// Tokens that the answer may have, by `max_completion_tokens` or else `max_tokens`.
    pub max_output: Option<u32>,
    /// The same for every request of one conversation, see [`opening`].
    pub opening: u64,
    pub(super) tally: Tally,
}

/// A kind of content, by its name in a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Image,
    Audio,
    Video,
    File,
}

/// A set of kinds of content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inputs(u8);

/// What a message was heard to ask for so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) tally: Tally,
    pub(super) inputs: Inputs,
    pub(super) tools: bool,
    pub(super) digest: Digest,
}

/// What a message has beside its content.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls<'de> {
    pub(super) tools: Option<&'de RawValue>,
    /// What a call was before there were `tool_calls`.
    pub(super) function: Option<&'de RawValue>,
}

// === impl Needs ===

impl Needs {
    /// Of everything that the model is given, the conversation and the tools.
    pub fn input_tokens(&self) -> Estimate {
        self.tally.estimate()
    }

    pub(super) fn add(&mut self, heard: &Heard) {
        self.tally.add(heard.tally);
        self.inputs.join(heard.inputs);
        self.tools |= heard.tools;
    }

    pub(super) fn join(&mut self, others: &Needs) {
        self.tally.add(others.tally);
        self.inputs.join(others.inputs);
        self.tools |= others.tools;
    }

    /// One of the tools on offer.
    pub(super) fn offer(&mut self, tool: &RawValue) {
        self.tools = true;
        self.tally.add(Tally::of_json(tool.get()));
    }

    /// The form that the answer shall have: `response_format`, `output_format` or `output_config.format`.
    pub(super) fn answer(&mut self, format: &RawValue) {
        if part::kind_of(format.get()) == Block::JsonSchema {
            self.json_schema = true;
            self.tally.add(Tally::of_json(format.get()));
        }
    }

    pub(super) fn answer_in(&mut self, config: &RawValue) {
        let mut format = None;
        entries(config.get(), |key, value| {
            if key == "format" {
                format = Some(value);
            }
        });
        if let Some(format) = format {
            self.answer(format);
        }
    }
}

// === impl Inputs ===

impl Inputs {
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn contains(self, input: Input) -> bool {
        self.0 & input.bit() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Input> {
        Input::ALL
            .into_iter()
            .filter(move |input| self.contains(*input))
    }

    fn insert(&mut self, input: Input) {
        self.0 |= input.bit();
    }

    fn join(&mut self, others: Inputs) {
        self.0 |= others.0;
    }
}

// === impl Input ===

impl Input {
    pub const ALL: [Input; 4] = [Input::Image, Input::Audio, Input::Video, Input::File];

    /// As a policy calls it.
    pub fn name(self) -> &'static str {
        match self {
            Input::Image => "image",
            Input::Audio => "audio",
            Input::Video => "video",
            Input::File => "file",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }

    /// What one costs, about, its size unknown:
    /// - an image of a megapixel 1,334 tokens at Anthropic
    ///   (<https://docs.claude.com/en/docs/build-with-claude/vision>), 765 at OpenAI
    ///   (<https://platform.openai.com/docs/guides/images-vision>), 1,032 at Gemini;
    /// - a second of audio 32 and of video about 300 at Gemini (<https://ai.google.dev/gemini-api/docs/tokens>): half a
    ///   minute of either;
    /// - a page of PDF 1,500 to 3,000 at Anthropic (<https://docs.claude.com/en/docs/build-with-claude/pdf-support>):
    ///   two pages.
    fn tokens(self) -> u32 {
        match self {
            Input::Image => 1_000,
            Input::Audio => 1_000,
            Input::Video => 9_000,
            Input::File => 4_000,
        }
    }
}

// === impl Heard ===

impl Heard {
    /// A message, or the instructions beside them, whose text goes into `digest`.
    pub(super) fn message(digest: Digest) -> Self {
        Heard {
            tally: Tally::message(),
            digest,
            ..Heard::default()
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.tally.add(Tally::of_text(text));
        self.digest.part(text);
    }

    pub(super) fn calls(&mut self, calls: Calls<'_>) {
        let list = calls.tools.filter(|raw| raw.get().starts_with('['));
        let call = calls.function.filter(|raw| raw.get().starts_with('{'));
        for raw in list.into_iter().chain(call) {
            let inside = raw.get().trim_matches(['[', ']', '{', '}']);
            if !inside.trim_ascii().is_empty() {
                self.tools = true;
                self.tally.add(Tally::of_json(raw.get()));
            }
        }
    }

    fn media(&mut self, input: Input) {
        self.inputs.insert(input);
        self.tally.add(Tally::at_most(input.tokens()));
    }
}

#[cfg(test)]
mod tests;
