//! A chat completion, whole or a chunk of one, as far as a Message needs it.
//!
//! Borrowed: strings stay the JSON text that they came as, so that copying one neither decodes nor allocates. Lenient: a
//! field of an unexpected type is as good as absent, as servers differ and a client can do nothing about it.
//!
//! <https://platform.openai.com/docs/api-reference/chat/object> and
//! <https://platform.openai.com/docs/api-reference/chat-streaming>; `reasoning_details` after
//! <https://openrouter.ai/docs/guides/best-practices/reasoning-tokens>.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::json::{each, object};
use crate::chat::usage::Usage;
use crate::provider::judge::is_blank;
use crate::provider::openai::usage;

/// A non-empty JSON string as it came, without its quotes. Displayed as it is, so put it between quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::messages) struct Text<'a>(pub &'a str);

/// `chat.completion` or `chat.completion.chunk`.
#[derive(Debug, Deserialize)]
pub(in crate::messages) struct Completion<'a> {
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub choices: Option<&'a RawValue>,
    #[serde(borrow)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
    /// `"error"` in errors of vLLM of old, which are not nested.
    #[serde(borrow)]
    pub object: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(in crate::messages) struct Choice<'a> {
    #[serde(borrow)]
    pub index: Option<&'a RawValue>,
    #[serde(borrow)]
    pub message: Option<&'a RawValue>,
    #[serde(borrow)]
    pub delta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub finish_reason: Option<&'a RawValue>,
}

/// A message, or a chunk's delta.
#[derive(Debug, Deserialize)]
pub(in crate::messages) struct Message<'a> {
    #[serde(borrow)]
    pub content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    pub tool_calls: Option<&'a RawValue>,
    /// What `tool_calls` was before there could be several.
    #[serde(borrow)]
    pub function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    pub reasoning_details: Option<&'a RawValue>,
    /// vLLM's and DeepSeek's name of it.
    #[serde(borrow)]
    pub reasoning_content: Option<&'a RawValue>,
    /// OpenRouter's and Ollama's.
    #[serde(borrow)]
    pub reasoning: Option<&'a RawValue>,
}

/// A tool call, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(in crate::messages) struct ToolCall<'a> {
    /// Which call a part belongs to.
    pub index: Option<u64>,
    pub id: Option<Text<'a>>,
    pub name: Option<Text<'a>>,
    pub arguments: Option<&'a RawValue>,
}

/// What became of one of Claude's thinking blocks in OpenAI's format.
#[derive(Debug, Clone, Copy)]
pub(in crate::messages) enum Thinking<'a> {
    Plain {
        index: Option<u64>,
        text: Option<Text<'a>>,
        signature: Option<Text<'a>>,
    },
    /// Encrypted: its `data`.
    Redacted(Text<'a>),
}

// === impl Text ===

impl<'a> Text<'a> {
    pub fn read(json: Option<&'a RawValue>) -> Option<Self> {
        let text = json?.get().strip_prefix('"')?.strip_suffix('"')?;
        (!text.is_empty()).then_some(Self(text))
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

// === impl Completion ===

impl<'a> Completion<'a> {
    /// `None`: not UTF-8, or not one JSON object.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        object(std::str::from_utf8(body).ok()?)
    }

    /// The first choice. Messages has no `n`, so there is one.
    pub fn choice(&self) -> Option<Choice<'a>> {
        self.find_choice(|_| true)
    }

    /// A chunk's choice of index 0, or without.
    pub fn first_choice(&self) -> Option<Choice<'a>> {
        self.find_choice(|choice| matches!(number(choice.index), None | Some(0)))
    }

    fn find_choice(&self, wanted: impl Fn(&Choice<'a>) -> bool) -> Option<Choice<'a>> {
        let mut found = None;
        each(self.choices, |choice| {
            if found.is_none() {
                found = object::<Choice<'a>>(choice.get()).filter(&wanted);
            }
        });
        found
    }

    /// The tokens, if it tells of any.
    pub fn usage(&self) -> Option<Usage> {
        usage::read(self.usage?.get())
    }

    /// Whether it reports an error, whatever else it holds.
    pub fn is_error(&self) -> bool {
        self.error.is_some_and(|error| !is_blank(error)) || is(self.object, "error")
    }
}

// === impl Choice ===

impl<'a> Choice<'a> {
    /// Of a whole answer.
    pub fn message(&self) -> Option<Message<'a>> {
        object(self.message?.get())
    }

    /// Of a chunk; some servers put whole messages into chunks.
    pub fn delta(&self) -> Option<Message<'a>> {
        object(self.delta.or(self.message)?.get())
    }

    pub fn finish_reason(&self) -> Option<Text<'a>> {
        Text::read(self.finish_reason)
    }
}

// === impl Message ===

impl<'a> Message<'a> {
    /// The non-empty texts: a string is one, and of a list of parts (Mistral's) those of type `text` are.
    pub fn texts(&self, visit: &mut dyn FnMut(Text<'a>)) {
        #[derive(Deserialize)]
        struct Part<'a> {
            #[serde(borrow, rename = "type")]
            kind: Option<&'a RawValue>,
            #[serde(borrow)]
            text: Option<&'a RawValue>,
        }

        if let Some(text) = Text::read(self.content) {
            return visit(text);
        }
        each(self.content, |part| {
            let part = object::<Part<'a>>(part.get());
            if let Some(part) = part.filter(|part| is(part.kind, "text"))
                && let Some(text) = Text::read(part.text)
            {
                visit(text);
            }
        });
    }

    pub fn refusal(&self) -> Option<Text<'a>> {
        Text::read(self.refusal)
    }

    pub fn tool_calls(&self, visit: &mut dyn FnMut(ToolCall<'a>)) {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow)]
            index: Option<&'a RawValue>,
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            #[serde(borrow)]
            function: Option<&'a RawValue>,
        }

        each(self.tool_calls, |call| {
            if let Some(call) = object::<Fields<'a>>(call.get()) {
                visit(ToolCall::new(
                    number(call.index),
                    Text::read(call.id),
                    call.function,
                ));
            }
        });
        if let Some(function) = self.function_call {
            visit(ToolCall::new(None, None, Some(function)));
        }
    }

    /// What can be given as thinking: of Claude's, as only a signature that Anthropic made is taken back.
    pub fn thinking(&self, visit: &mut dyn FnMut(Thinking<'a>)) {
        #[derive(Deserialize)]
        struct Detail<'a> {
            #[serde(borrow, rename = "type")]
            kind: Option<&'a RawValue>,
            #[serde(borrow)]
            format: Option<&'a RawValue>,
            #[serde(borrow)]
            index: Option<&'a RawValue>,
            #[serde(borrow)]
            text: Option<&'a RawValue>,
            #[serde(borrow)]
            signature: Option<&'a RawValue>,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
        }

        each(self.reasoning_details, |detail| {
            let detail = object::<Detail<'a>>(detail.get());
            let Some(detail) = detail.filter(|detail| is(detail.format, "anthropic-claude-v1"))
            else {
                return;
            };
            if is(detail.kind, "reasoning.text") {
                visit(Thinking::Plain {
                    index: number(detail.index),
                    text: Text::read(detail.text),
                    signature: Text::read(detail.signature),
                });
            } else if is(detail.kind, "reasoning.encrypted")
                && let Some(data) = Text::read(detail.data)
            {
                visit(Thinking::Redacted(data));
            }
        });
    }

    /// Whether it holds reasoning of any kind.
    pub fn reasons(&self) -> bool {
        #[derive(Deserialize)]
        struct Detail<'a> {
            #[serde(borrow)]
            text: Option<&'a RawValue>,
            #[serde(borrow)]
            summary: Option<&'a RawValue>,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
        }

        let says = |json| Text::read(json).is_some();
        let mut any = says(self.reasoning_content) || says(self.reasoning);
        each(self.reasoning_details, |detail| {
            any = any
                || object::<Detail<'_>>(detail.get())
                    .is_some_and(|d| says(d.text) || says(d.summary) || says(d.data));
        });
        any
    }
}

// === impl ToolCall ===

impl<'a> ToolCall<'a> {
    fn new(index: Option<u64>, id: Option<Text<'a>>, function: Option<&'a RawValue>) -> Self {
        #[derive(Deserialize)]
        struct Function<'a> {
            #[serde(borrow)]
            name: Option<&'a RawValue>,
            #[serde(borrow)]
            arguments: Option<&'a RawValue>,
        }

        let function = function.and_then(|function| object::<Function<'a>>(function.get()));
        Self {
            index,
            id,
            name: function.as_ref().and_then(|f| Text::read(f.name)),
            arguments: function.and_then(|f| f.arguments),
        }
    }

    /// None, or an empty string.
    pub fn has_no_arguments(&self) -> bool {
        self.arguments.is_none_or(|json| json.get() == "\"\"")
    }
}

// === reading ===

/// Whether it is the string `text`, which needs no escape.
pub(in crate::messages) fn is(json: Option<&RawValue>, text: &str) -> bool {
    Text::read(json) == Some(Text(text))
}

pub(in crate::messages) fn number(json: Option<&RawValue>) -> Option<u64> {
    json?.get().parse().ok()
}
