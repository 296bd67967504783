//! Request: an OpenAI chat completion request as a request of the Messages API.
//!
//! Pure, and without knowledge of what was asked before. Free JSON (schemas, tool inputs) is copied as it came.
//! Written from <https://platform.claude.com/docs/en/api/messages> and
//! <https://platform.openai.com/docs/api-reference/chat/create>.

mod block;
mod cache;
mod content;
mod conversation;
mod details;
mod fault;
mod format;
mod media;
mod message;
mod open_calls;
mod params;
mod read;
mod rules;
mod thinking;
mod tools;

use std::borrow::Cow;

use serde::Serialize;

use super::super::translate::{Ask, AskResult, Asked};
use block::{Block, Turn};
use conversation::read_messages;
use fault::{Losses, Path, refusal, wrong_type};
use format::{Format, read_format};
use params::{Metadata, lose_params, metadata, service_tier, stop_sequences};
use read::Body;
use rules::{Form, Rules};
use thinking::{Effort, Hindrances, Thinking, plan, sampling};
use tools::{Choice, Tool, read_tools};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
}

/// Translates a chat completion request for the Messages API, version 2023-06-01.
///
/// Fails with a 400 that names the field: for what is not of OpenAI's format, for content that the API cannot carry
/// (`unsupported_content`), and, where `ask.unsupported` says so, for parameters that have no counterpart
/// (`unsupported_parameter`).
pub fn from_chat(body: &[u8], ask: &Ask<'_>) -> AskResult {
    let rules = Rules::of(ask.model);
    let mut losses = Losses::new(ask.unsupported);
    let body = Body::read(body)?;
    lose_params(&body, &mut losses)?;

    let messages = body.get("messages").ok_or_else(|| {
        let words = "is missing; send an array of at least one message";
        wrong_type(&Path::top("messages"), words)
    })?;
    let mut conversation = read_messages(messages, rules.thinking != Form::None, &mut losses)?;
    if conversation.is_prefilled() && !rules.prefill {
        let words = "ends with a message of the assistant's, which this model does not go on from; end with the user's";
        losses.lose("prefill", &Path::top("messages"), words)?;
        conversation.ask_to_go_on();
    }
    let (mut tools, tool_choice) = read_tools(&body, &rules, &mut losses)?;
    let format = read_format(&body, &rules, &mut conversation.system, &mut losses)?;

    let hindrances = Hindrances {
        forced: tool_choice.as_ref().is_some_and(Choice::is_forced),
        prefilled: conversation.is_prefilled(),
        lost_blocks: conversation.calls_without_thinking(),
    };
    let plan = plan(&body, &rules, ask.max_tokens, hindrances, &mut losses)?;
    let sampling = sampling(&body, &rules, &plan, &mut losses)?;
    if ask.prompt_cache {
        cache::mark_prefixes(
            &mut tools,
            &mut conversation.system,
            &mut conversation.turns,
        );
    }

    let request = Request {
        model: ask.model,
        max_tokens: plan.max_tokens,
        system: conversation.system,
        messages: conversation.turns,
        tools,
        tool_choice,
        thinking: plan.thinking,
        output_config: (plan.effort.is_some() || format.is_some()).then_some(OutputConfig {
            effort: plan.effort,
            format,
        }),
        stop_sequences: stop_sequences(&body, &mut losses)?,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        metadata: metadata(&body)?,
        service_tier: service_tier(&body, &mut losses)?,
        stream: ask.stream,
    };
    // Strings, numbers and JSON that was read always serialise; the error is for the type checker.
    let body = serde_json::to_vec(&request).map_err(|_| {
        refusal(
            "invalid_json",
            None,
            "cannot be written in this provider's format",
        )
    })?;
    Ok(Asked {
        body,
        dropped: losses.into_dropped(),
    })
}

#[cfg(test)]
mod tests;
