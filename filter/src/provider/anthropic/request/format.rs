//! Format: `response_format` as structured output, or as an instruction where there is only that.
//!
//! A schema is copied as it came. <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::block::Block;
use super::fault::{Losses, Path, Read, wrong_type};
use super::read::{Body, object, word};
use super::rules::Rules;

/// The Messages API has no mode for JSON of any shape.
const ONE_OBJECT: &str = "Answer with exactly one JSON object and nothing else: no text before or after it, no code fence.";
/// For models that take no schema, ahead of it.
const SCHEMA: &str = "The object must be valid against this JSON schema:";

/// `output_config.format`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Format<'a> {
    JsonSchema { schema: &'a RawValue },
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    json_schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct JsonSchema<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

/// Reads `response_format`; an instruction goes to the end of `system`.
pub(super) fn read_format<'a>(
    body: &Body<'a>,
    rules: &Rules,
    system: &mut Vec<Block<'a>>,
    losses: &mut Losses,
) -> Read<Option<Format<'a>>> {
    let at = Path::top("response_format");
    let Some(raw) = body.get("response_format") else {
        return Ok(None);
    };
    let format: ResponseFormat<'a> = object(raw, &at)?;
    let kind = word(format.kind, &at.field("type"))?;
    let instruction = match kind.as_ref() {
        "text" => return Ok(None),
        "json_object" => Cow::Borrowed(ONE_OBJECT),
        "json_schema" => {
            let at = at.field("json_schema");
            let raw = format
                .json_schema
                .ok_or_else(|| wrong_type(&at, "is missing"))?;
            let json_schema: JsonSchema<'a> = object(raw, &at)?;
            match json_schema.schema {
                None => Cow::Borrowed(ONE_OBJECT),
                Some(schema) if !schema.get().starts_with('{') => {
                    return Err(wrong_type(&at.field("schema"), "must be an object"));
                }
                Some(schema) if rules.structured => {
                    return Ok(Some(Format::JsonSchema { schema }));
                }
                Some(schema) => {
                    let words = "is only an instruction to this model, which takes no schema";
                    losses.lose("response_format", &at, words)?;
                    Cow::Owned(format!("{ONE_OBJECT} {SCHEMA}\n{}", schema.get()))
                }
            }
        }
        _ => {
            let words = "is of a type that this provider does not have; use json_schema or text";
            losses.lose("response_format", &at, words)?;
            return Ok(None);
        }
    };
    system.extend(Block::text(instruction));
    Ok(None)
}
