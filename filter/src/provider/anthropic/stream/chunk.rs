//! Chunks: what a client of OpenAI's gets, one `data:` line each.
//!
//! Every chunk starts with the same head, made once; text comes as it stood between its quotes. Source:
//! <https://platform.openai.com/docs/api-reference/chat-streaming>.

use super::super::answer::tokens::Tokens;
use super::super::answer::{push_redacted, push_thought};
use crate::chat::json::{push, push_inside, push_number, push_string};

/// Writes the chunks of one stream.
#[derive(Debug)]
pub struct Chunks {
    /// From `data: ` up to the first choice.
    head: Vec<u8>,
    /// A last chunk has the usage and no choices, and the others `"usage": null`.
    include_usage: bool,
}

// === impl Chunks ===

impl Chunks {
    /// `head` is a chunk's JSON up to its first choice, and writes itself.
    pub fn new(include_usage: bool, head: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut line = b"data: ".to_vec();
        head(&mut line);
        Self {
            head: line,
            include_usage,
        }
    }

    /// The first chunk.
    pub fn role(&self, out: &mut Vec<u8>) {
        self.delta(out, |out| {
            push(
                out,
                "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null",
            );
        });
    }

    pub fn content(&self, text: &str, out: &mut Vec<u8>) {
        self.delta(out, |out| {
            push(out, "\"content\":");
            push_inside(out, text);
        });
    }

    pub fn refusal(&self, text: &str, out: &mut Vec<u8>) {
        self.delta(out, |out| {
            push(out, "\"refusal\":");
            push_inside(out, text);
        });
    }

    pub fn thinking(&self, text: &str, index: u64, out: &mut Vec<u8>) {
        self.delta(out, |out| {
            push(out, "\"reasoning_content\":");
            push_inside(out, text);
            push(out, ",\"reasoning_details\":[");
            push_thought(out, Some(text), None, index);
            push(out, "]");
        });
    }

    pub fn signature(&self, signature: &str, index: u64, out: &mut Vec<u8>) {
        self.delta(out, |out| {
            push(out, "\"reasoning_details\":[");
            push_thought(out, None, Some(signature), index);
            push(out, "]");
        });
    }

    pub fn redacted(&self, data: &str, index: u64, out: &mut Vec<u8>) {
        self.delta(out, |out| {
            push(out, "\"reasoning_details\":[");
            push_redacted(out, data, index);
            push(out, "]");
        });
    }

    /// A call's first piece has its id, its name and empty arguments.
    pub fn tool_call(&self, call: u64, id: &str, name: &str, out: &mut Vec<u8>) {
        self.delta(out, |out| {
            push(out, "\"tool_calls\":[{\"index\":");
            push_number(out, call);
            push(out, ",\"id\":");
            push_inside(out, id);
            push(out, ",\"type\":\"function\",\"function\":{\"name\":");
            push_inside(out, name);
            push(out, ",\"arguments\":\"\"}}]");
        });
    }

    /// A piece of a call's arguments, from a JSON string that held it.
    pub fn arguments(&self, call: u64, piece: &str, out: &mut Vec<u8>) {
        self.tool_arguments(call, out, |out| push_inside(out, piece));
    }

    /// All of a call's arguments, which are this JSON.
    pub fn whole_arguments(&self, call: u64, json: &str, out: &mut Vec<u8>) {
        self.tool_arguments(call, out, |out| push_string(out, json));
    }

    fn tool_arguments(&self, call: u64, out: &mut Vec<u8>, string: impl FnOnce(&mut Vec<u8>)) {
        self.delta(out, |out| {
            push(out, "\"tool_calls\":[{\"index\":");
            push_number(out, call);
            push(out, ",\"function\":{\"arguments\":");
            string(out);
            push(out, "}}]");
        });
    }

    pub fn finish(&self, finish_reason: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        push(
            out,
            "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"",
        );
        push(out, finish_reason);
        push(out, "\"}]");
        self.end(out);
    }

    /// The usage, where the client asked for it, and the end of the stream.
    pub fn done(&self, tokens: &Tokens, out: &mut Vec<u8>) {
        if self.include_usage {
            out.extend_from_slice(&self.head);
            push(out, "],\"usage\":");
            tokens.push(out);
            push(out, "}\n\n");
        }
        push(out, "data: [DONE]\n\n");
    }

    fn delta(&self, out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.head);
        push(out, "{\"index\":0,\"delta\":{");
        fields(out);
        push(out, "},\"logprobs\":null,\"finish_reason\":null}]");
        self.end(out);
    }

    fn end(&self, out: &mut Vec<u8>) {
        let end = if self.include_usage {
            ",\"usage\":null}\n\n"
        } else {
            "}\n\n"
        };
        push(out, end);
    }
}
