//! Tokens: an answer's usage as Anthropic counts it, and in OpenAI's words.
//!
//! Anthropic's `input_tokens` leave out what its prompt cache read or wrote; OpenAI's `prompt_tokens` are all of it.
//! Sources: <https://platform.claude.com/docs/en/build-with-claude/prompt-caching> (the three counts add up),
//! <https://platform.claude.com/docs/en/api/messages/create> (`output_tokens_details`),
//! <https://openrouter.ai/docs/use-cases/usage-accounting> (`cache_write_tokens`, which OpenAI has no word for).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::json::{count, object, push, push_number};
use crate::chat::usage::Usage;

/// What the provider said so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    input: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    /// Part of the output. Older models do not say.
    thinking: Option<u64>,
}

/// Values stay raw, so that one of an unexpected type does not hide the others.
#[derive(Deserialize)]
struct Counts<'a> {
    #[serde(borrow)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_read_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_creation_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens_details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputDetails<'a> {
    #[serde(borrow)]
    thinking_tokens: Option<&'a RawValue>,
}

// === impl Tokens ===

impl Tokens {
    /// Takes in a `usage` object. The counts of a stream are cumulative, so a later one replaces an earlier.
    pub fn note(&mut self, usage: Option<&RawValue>) {
        let Some(counts) = usage.and_then(|usage| object::<Counts<'_>>(usage.get())) else {
            return;
        };
        let replace = |old: &mut u64, new| *old = count(new).unwrap_or(*old);
        replace(&mut self.input, counts.input_tokens);
        replace(&mut self.cache_read, counts.cache_read_input_tokens);
        replace(&mut self.cache_write, counts.cache_creation_input_tokens);
        replace(&mut self.output, counts.output_tokens);
        let details = counts
            .output_tokens_details
            .and_then(|details| object::<OutputDetails<'_>>(details.get()));
        if let Some(thinking) = details.and_then(|details| count(details.thinking_tokens)) {
            self.thinking = Some(thinking);
        }
    }

    pub fn usage(&self) -> Usage {
        Usage {
            prompt: self
                .input
                .saturating_add(self.cache_read)
                .saturating_add(self.cache_write),
            completion: self.output,
            cached: self.cache_read,
            cache_write: self.cache_write,
            reasoning: self.thinking.unwrap_or(0),
        }
    }

    /// OpenAI's usage object.
    pub fn push(&self, out: &mut Vec<u8>) {
        let usage = self.usage();
        push(out, "{\"prompt_tokens\":");
        push_number(out, usage.prompt);
        push(out, ",\"completion_tokens\":");
        push_number(out, usage.completion);
        push(out, ",\"total_tokens\":");
        push_number(out, usage.prompt.saturating_add(usage.completion));
        push(out, ",\"prompt_tokens_details\":{\"cached_tokens\":");
        push_number(out, usage.cached);
        push(out, ",\"cache_write_tokens\":");
        push_number(out, usage.cache_write);
        push(out, "}");
        if let Some(thinking) = self.thinking {
            push(out, ",\"completion_tokens_details\":{\"reasoning_tokens\":");
            push_number(out, thinking);
            push(out, "}");
        }
        push(out, "}");
    }
}
