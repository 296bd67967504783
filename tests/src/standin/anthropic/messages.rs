//! Messages: what Anthropic's Messages refuses in a conversation, with 400, `invalid_request_error`.
//!
//! Facts are the API reference's (<https://platform.claude.com/docs/en/api/messages>) where no other source is named.

use std::collections::HashSet;

use serde_json::Value;

use super::super::answer::sign;
use super::super::{is_name, items, unknown};
use super::check::{Checked, Refused, extra, refuse, version};

/// Messages of one role in a row are one turn.
struct Turn<'a> {
    /// Of its first message.
    index: usize,
    role: &'a str,
    blocks: Vec<Block<'a>>,
}

struct Block<'a> {
    path: String,
    kind: &'a str,
    value: &'a Value,
}

/// What a redacted block's data is the checksum of.
pub(super) const REDACTED: &str = "redacted";

/// Blocks, their fields, and the role that they are for, if only one.
const BLOCKS: [(&str, &str, Option<&str>); 7] = [
    ("text", "cache_control citations text type", None),
    (
        "image",
        "cache_control source transformations type",
        Some("user"),
    ),
    (
        "document",
        "cache_control citations context source title type",
        None,
    ),
    ("thinking", "signature thinking type", Some("assistant")),
    ("redacted_thinking", "data type", Some("assistant")),
    (
        "tool_use",
        "cache_control caller id input name toolset_name type",
        Some("assistant"),
    ),
    (
        "tool_result",
        "cache_control content is_error tool_use_id toolset_name type",
        Some("user"),
    ),
];
/// Kinds of block that are let through unseen: server tools and the like, by how they begin or end.
const OTHER_BLOCKS: &str = "search_result server_tool_use container_upload _tool_result";
const IMAGES: &str = "image/jpeg image/png image/gif image/webp";

/// `name` is whose signatures are ours; `newest` is the API's version since 2026-10-21.
pub(super) fn check(name: &str, request: &Value, newest: bool) -> Checked {
    let turns = turns(request)?;
    for block in turns.iter().flat_map(|turn| &turn.blocks) {
        check_signature(name, block)?;
    }
    for turn in &turns {
        check_blocks(turn, newest)?;
    }
    check_tool_turns(&turns)?;
    check_last_turn(request, &turns)
}

/// Only what was issued comes back:
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking#preserving-thinking-blocks>.
fn check_signature(name: &str, block: &Block) -> Checked {
    let is = |field: &str, expected: &str| block.value[field] == sign(name, expected);
    let thinking = block.value["thinking"].as_str().unwrap_or_default();
    match block.kind {
        "thinking" if !is("signature", thinking) => refuse(format!(
            "{}: Invalid `signature` in `thinking` block",
            block.path
        )),
        "redacted_thinking" if !is("data", REDACTED) => refuse(format!(
            "{}: Invalid `data` in `redacted_thinking` block",
            block.path
        )),
        _ => Ok(()),
    }
}

pub(super) fn check_text(block: &Value) -> Checked {
    let text = block["text"].as_str().unwrap_or_default();
    if text.is_empty() {
        return refuse("messages: text content blocks must be non-empty");
    }
    if text.trim().is_empty() {
        return refuse("messages: text content blocks must contain non-whitespace text");
    }
    Ok(())
}

fn turns(request: &Value) -> Result<Vec<Turn<'_>>, Refused> {
    let messages = items(&request["messages"]);
    if messages.is_empty() {
        return refuse("messages: at least one message is required");
    }
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if !["user", "assistant"].contains(&role) {
            return refuse(format!(
                "messages: Unexpected role \"{role}\". Allowed roles are \"user\" or \"assistant\"."
            ));
        }
        if let Some(field) = unknown(message, "content role") {
            return extra(&format!("messages.{index}.{field}"));
        }
        let content = &message["content"];
        let is_empty = content.as_str().is_some_and(str::is_empty)
            || content.as_array().is_some_and(Vec::is_empty);
        let may_be_empty = role == "assistant" && index + 1 == messages.len();
        if content.is_null() || (is_empty && !may_be_empty) {
            return refuse(format!(
                "messages.{index}: all messages must have non-empty content except for the optional final assistant message"
            ));
        }
        if turns.last().is_none_or(|turn| turn.role != role) {
            turns.push(Turn {
                index,
                role,
                blocks: Vec::new(),
            });
        }
        let Some(turn) = turns.last_mut() else {
            continue;
        };
        if content.is_string() {
            turn.blocks.push(Block {
                path: format!("messages.{index}.content"),
                kind: "string",
                value: content,
            });
        }
        turn.blocks
            .extend(items(content).iter().enumerate().map(|(i, value)| Block {
                path: format!("messages.{index}.content.{i}"),
                kind: value["type"].as_str().unwrap_or_default(),
                value,
            }));
    }
    if turns.first().is_some_and(|turn| turn.role != "user") {
        return refuse("messages: first message must use the \"user\" role");
    }
    Ok(turns)
}

fn check_blocks(turn: &Turn, newest: bool) -> Checked {
    for block in &turn.blocks {
        let (path, kind, value) = (&block.path, block.kind, block.value);
        if kind == "string" {
            if value
                .as_str()
                .is_some_and(|text| !text.is_empty() && text.trim().is_empty())
            {
                return refuse("messages: text content blocks must contain non-whitespace text");
            }
            continue;
        }
        let Some((_, fields, role)) = BLOCKS.iter().find(|known| known.0 == kind) else {
            if OTHER_BLOCKS.split(' ').any(|other| kind.ends_with(other)) {
                continue;
            }
            return refuse(format!(
                "{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
            ));
        };
        if let Some(field) = unknown(value, fields) {
            return extra(&format!("{path}.{kind}.{field}"));
        }
        if let Some(role) = role.filter(|role| *role != turn.role) {
            return refuse(format!(
                "{path}: `{kind}` blocks can only be in `{role}` messages"
            ));
        }
        match kind {
            "text" => {
                check_text(value)?;
                if newest && turn.role == "user" && !items(&value["citations"]).is_empty() {
                    return refuse(format!(
                        "{path}.text.citations: not permitted in user messages"
                    ));
                }
            }
            "document" if newest && turn.role == "assistant" => {
                return refuse(format!(
                    "{path}: `document` blocks can only be in `user` messages"
                ));
            }
            "image" => check_source(path, &value["source"])?,
            "tool_use" => {
                let id = value["id"].as_str().unwrap_or_default();
                if !is_name(id, usize::MAX) {
                    return refuse(format!(
                        "{path}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
                    ));
                }
                if !value["input"].is_object() {
                    return refuse(format!(
                        "{path}.tool_use.input: Input should be a valid dictionary"
                    ));
                }
            }
            "tool_result" => {
                for (i, inner) in items(&value["content"]).iter().enumerate() {
                    match inner["type"].as_str() {
                        Some("text") => check_text(inner)?,
                        Some("image") => {
                            check_source(
                                &format!("{path}.tool_result.content.{i}"),
                                &inner["source"],
                            )?;
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// <https://platform.claude.com/docs/en/build-with-claude/vision>
fn check_source(path: &str, source: &Value) -> Checked {
    let path = format!("{path}.image.source");
    match source["type"].as_str() {
        Some("base64") => {
            let kind = source["media_type"].as_str().unwrap_or_default();
            if !IMAGES.split(' ').any(|image| image == kind) {
                return refuse(format!(
                    "{path}.base64.media_type: Input should be one of {IMAGES}"
                ));
            }
            let data = source["data"].as_str().unwrap_or_default();
            let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
            if data.is_empty() || !data.len().is_multiple_of(4) || !data.bytes().all(is_base64) {
                return refuse(format!("{path}.base64: invalid base64 data"));
            }
            Ok(())
        }
        Some("url") => {
            let url = source["url"].as_str().unwrap_or_default();
            if url.starts_with("https://") {
                Ok(())
            } else {
                refuse(format!("{path}.url.url: Only HTTPS URLs are supported."))
            }
        }
        Some("file") => Ok(()),
        _ => refuse(format!(
            "{path}: Input tag does not match any of the expected tags"
        )),
    }
}

/// Each call is answered by the next turn, which begins with the results:
/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls>.
fn check_tool_turns(turns: &[Turn]) -> Checked {
    let ids = |turn: &Turn, kind: &str, field: &str| -> Vec<String> {
        let blocks = turn.blocks.iter().filter(|block| block.kind == kind);
        let ids = blocks.filter_map(|block| block.value[field].as_str());
        ids.map(str::to_owned).collect()
    };
    let mut seen = HashSet::new();
    for (i, turn) in turns.iter().enumerate() {
        let calls = ids(turn, "tool_use", "id");
        if let Some(id) = calls.iter().find(|id| !seen.insert((*id).clone())) {
            return refuse(format!("messages: `tool_use` ids must be unique: {id}"));
        }
        let previous = i.checked_sub(1).and_then(|i| turns.get(i));
        let called = previous
            .map(|turn| ids(turn, "tool_use", "id"))
            .unwrap_or_default();
        let mut answered = HashSet::new();
        for block in turn
            .blocks
            .iter()
            .filter(|block| block.kind == "tool_result")
        {
            let id = block.value["tool_use_id"].as_str().unwrap_or_default();
            if !called.iter().any(|called| called == id) {
                return refuse(format!(
                    "{}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must \
                     have a corresponding `tool_use` block in the previous message.",
                    block.path
                ));
            }
            if !answered.insert(id) {
                return refuse(format!(
                    "{}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {id}",
                    block.path
                ));
            }
        }
        let next = turns
            .get(i + 1)
            .map(|turn| turn.blocks.as_slice())
            .unwrap_or_default();
        let first = next.iter().take_while(|block| block.kind == "tool_result");
        let results: Vec<&Value> = first.map(|block| &block.value["tool_use_id"]).collect();
        let open = calls
            .iter()
            .filter(|id| !results.iter().any(|result| result == id));
        let open: Vec<&str> = open.map(String::as_str).collect();
        if !open.is_empty() {
            return refuse(format!(
                "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
                 `tool_use` block must have a corresponding `tool_result` block in the next message.",
                turn.index,
                open.join(", ")
            ));
        }
    }
    Ok(())
}

/// With thinking enabled the assistant's latest turn begins with a thinking block, and lasts from the latest message
/// that is no tool result:
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking#extended-thinking-with-tool-use>.
fn check_last_turn(request: &Value, turns: &[Turn]) -> Checked {
    let Some(last) = turns.last() else {
        return Ok(());
    };
    let ends = last.blocks.last().filter(|_| last.role == "assistant");
    let text = ends.and_then(|end| end.value.as_str().or(end.value["text"].as_str()));
    if text.is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return refuse("messages: final assistant content cannot end with trailing whitespace");
    }
    // https://platform.claude.com/docs/en/api/errors#prefill-not-supported
    if ends.is_some() && version(request["model"].as_str().unwrap_or_default()) >= (4, 6) {
        return refuse(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        );
    }
    if request["thinking"]["type"] != "enabled" {
        return Ok(());
    }
    let is_result = |block: &Block| block.kind == "tool_result";
    let speaks = |turn: &Turn| turn.role == "user" && !turn.blocks.iter().all(is_result);
    let begin = turns.iter().rposition(speaks).map_or(0, |at| at + 1);
    let Some(first) = turns.get(begin).and_then(|turn| turn.blocks.first()) else {
        return Ok(());
    };
    if ["thinking", "redacted_thinking"].contains(&first.kind) {
        return Ok(());
    }
    let kind = if first.kind == "string" {
        "text"
    } else {
        first.kind
    };
    refuse(format!(
        "{}.type: Expected `thinking` or `redacted_thinking`, but found `{kind}`. When `thinking` is enabled, a final \
         `assistant` message must start with a thinking block (preceding the lastmost set of `tool_use` and \
         `tool_result` blocks).",
        first.path
    ))
}
