//! Script: what a stand-in that others wrote is to say, and how each of them is told so. Pure.
//!
//! A script says nothing that depends on chance or on what else is asked at the same time: a model plays one scene.

use serde_json::{Value, json};

/// A model, and what it says to one request after the other; the last line goes on for ever.
#[derive(Debug, Clone)]
pub struct Part {
    pub model: String,
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Text(&'static str),
    /// Calls of the tool `weather` at once, one for each city.
    Calls(&'static [&'static str]),
    /// A thought, and the text after it.
    Thought(&'static str, &'static str),
    /// What structured output is; JSON.
    Object(&'static str),
    /// Fails with this status.
    Status(u16),
    /// A stream ends in its middle, without a word.
    Cut,
}

/// What tool results say, one number higher with each result: `tests/fixtures/sdk_formats.py`.
const RESULT: &str = "sunny on day";
const TOOL: &str = "weather";
/// Enough for the first words of a stream in every format.
const CUT_AFTER: u32 = 5;

// === impl Line ===

impl Line {
    fn calls(self) -> &'static [&'static str] {
        match self {
            Line::Calls(cities) => cities,
            _ => &[],
        }
    }

    fn text(self) -> Option<&'static str> {
        match self {
            Line::Text(text) | Line::Thought(_, text) | Line::Object(text) => Some(text),
            Line::Calls(_) | Line::Status(_) | Line::Cut => None,
        }
    }
}

/// Calls as objects with a name, and with the arguments in a field called so.
fn calls(line: Line, arguments: &str) -> Vec<Value> {
    let call = |city: &&str| json!({"name": TOOL, arguments: {"city": city}});
    line.calls().iter().map(call).collect()
}

/// Its configuration file. It keeps count of a conversation by the first message, which many scenes share, so that the
/// rules go by the results in the request instead. What it cannot say, a thought or a cut, is left out.
pub(super) fn fakellm(parts: &[Part]) -> Value {
    let mut rules = Vec::new();
    for part in parts {
        let mut results = 0;
        let mut of_part = Vec::new();
        for line in &part.lines {
            let mut when = json!({"model_matches": part.model});
            if results > 0 {
                when["messages_contain"] = json!(format!("{RESULT} {results}"));
            }
            results += line.calls().len();
            let respond = match line {
                Line::Calls(_) => json!({"tool_calls": calls(*line, "arguments")}),
                Line::Status(status) => json!({"status": status, "error": "told to fail"}),
                other => json!({"content": other.text()}),
            };
            of_part.push(json!({"name": part.model, "when": when, "respond": respond}));
        }
        // The first rule that fits holds, and those of later lines say more.
        rules.extend(of_part.into_iter().rev());
    }
    json!({"version": 1, "rules": rules})
}

/// Behaviours for `/_llmock/scenario`. What it does by itself is left to it: to end a loop with text when the last
/// result is there, and to make up an object for a schema.
pub(super) fn llmock(parts: &[Part]) -> Value {
    let mut behaviors = Vec::new();
    for part in parts {
        let knows_schemas = !part.model.starts_with("claude");
        let loops = part.lines.len() > 1;
        for line in &part.lines {
            let mut behavior = match line {
                Line::Calls(_) => {
                    json!({"type": "reply", "tool_calls": calls(*line, "arguments"), "times": 1})
                }
                Line::Status(status) => json!({"type": "fail", "status": status, "times": null}),
                Line::Cut => {
                    json!({"type": "stream_fault", "kind": "truncate", "after_chunks": CUT_AFTER, "times": null})
                }
                Line::Object(_) if knows_schemas => continue,
                _ if loops => continue,
                other => json!({"type": "reply", "text": other.text(), "times": null}),
            };
            behavior["match"] = json!({"model": part.model});
            behaviors.push(behavior);
        }
    }
    json!({"behaviors": behaviors})
}

/// Its file of rules. A file cannot say errors or cuts: they are left out.
pub(super) fn llm_mock_api(parts: &[Part]) -> Value {
    let rule = |part: &Part| {
        let replies: Vec<Value> = part.lines.iter().filter_map(|line| reply(*line)).collect();
        let when = json!({"model": format!("/^{}$/", part.model)});
        (!replies.is_empty()).then(|| json!({"when": when, "replies": replies}))
    };
    json!({"rules": parts.iter().filter_map(rule).collect::<Vec<_>>()})
}

fn reply(line: Line) -> Option<Value> {
    let reply = match line {
        Line::Calls(_) => json!({"tools": calls(line, "args")}),
        Line::Thought(thought, text) => json!({"reasoning": thought, "text": text}),
        other => json!({"text": other.text()?}),
    };
    Some(json!({"reply": reply}))
}
