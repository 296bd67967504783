//! Generation: what the client says of the answer, as `generationConfig`.
//!
//! Numbers are written as the client wrote them. Source of the ranges:
//! <https://ai.google.dev/api/generate-content#generationconfig>.

use serde_json::value::RawValue;

use super::chat::{Chat, Raw, Stop};
use super::fault::{self, Losses, Refused};
use super::thinking::{self, Family};
use super::wire::{GenerationConfig, Verbatim};

/// Of `stopSequences`.
pub const MAX_STOP_SEQUENCES: usize = 5;
const JSON: &str = "application/json";
const INTEGER: &str = "must be an integer";

/// `None` where the client says nothing.
pub(super) fn read<'a>(
    chat: &'a Chat<'a>,
    family: Family,
    losses: &mut Losses,
) -> Result<Option<GenerationConfig<'a>>, Refused> {
    let (response_logprobs, logprobs) = logprobs(chat)?;
    let (response_mime_type, response_json_schema) = response_format(chat)?;
    let config = GenerationConfig {
        candidate_count: candidates(chat)?,
        stop_sequences: stops(chat)?,
        max_output_tokens: max_tokens(chat)?,
        temperature: number("temperature", chat.temperature)?,
        top_p: number("top_p", chat.top_p)?,
        top_k: integer("pointsman.top_k", chat.top_k)?.map(|top_k| top_k.min(i64::from(i32::MAX))),
        seed: integer("seed", chat.seed)?.map(fold_seed),
        presence_penalty: penalty("presence_penalty", chat.presence_penalty)?,
        frequency_penalty: penalty("frequency_penalty", chat.frequency_penalty)?,
        response_logprobs,
        logprobs,
        response_mime_type,
        response_json_schema,
        thinking_config: thinking::read(chat, family, losses)?,
    };
    Ok((config != GenerationConfig::default()).then_some(config))
}

/// One is the default, and some models refuse the field.
fn candidates(chat: &Chat<'_>) -> Result<Option<i64>, Refused> {
    match integer("n", chat.n)? {
        Some(n) if n < 1 => Err(fault::invalid("n", "must be at least 1")),
        n => Ok(n.filter(|&n| n != 1)),
    }
}

fn max_tokens(chat: &Chat<'_>) -> Result<Option<i64>, Refused> {
    let (path, raw) = match chat.max_completion_tokens {
        Some(_) => ("max_completion_tokens", chat.max_completion_tokens),
        None => ("max_tokens", chat.max_tokens),
    };
    match integer(path, raw)? {
        Some(max) if max < 1 => Err(fault::invalid(path, "must be at least 1")),
        // The field has 32 bits; more than that is no limit.
        max => Ok(max.map(|max| max.min(i64::from(i32::MAX)))),
    }
}

fn stops<'a>(chat: &'a Chat<'a>) -> Result<Vec<&'a str>, Refused> {
    let want = "must be a string or an array of strings";
    let mut stops = Vec::new();
    match chat.stop.get("stop", want)? {
        None => {}
        Some(Stop::One(stop)) => stops.push(stop.as_ref()),
        Some(Stop::Many(list)) => {
            for (index, stop) in list.iter().enumerate() {
                stops.push(
                    stop.need(format_args!("stop[{index}]"), "must be a string")?
                        .as_ref(),
                );
            }
        }
    }
    stops.retain(|stop| !stop.is_empty());
    if stops.len() > MAX_STOP_SEQUENCES {
        return Err(fault::invalid(
            "stop",
            "has too many sequences; send at most 5",
        ));
    }
    Ok(stops)
}

/// Zero is the default, and some models refuse the field.
fn penalty<'a>(path: &'static str, raw: Raw<'a>) -> Result<Option<Verbatim<'a>>, Refused> {
    let penalty = number(path, raw)?;
    Ok(penalty.filter(|penalty| penalty.0.get().parse() != Ok(0f64)))
}

/// A seed of OpenAI's has 64 bits, Gemini's 32. What does not fit is folded: the same seed stays the same seed.
fn fold_seed(seed: i64) -> i64 {
    match i32::try_from(seed) {
        Ok(seed) => i64::from(seed),
        Err(_) => seed & i64::from(i32::MAX),
    }
}

fn logprobs(chat: &Chat<'_>) -> Result<(Option<bool>, Option<i64>), Refused> {
    let wanted = flag("logprobs", chat.logprobs)?;
    let top = integer("top_logprobs", chat.top_logprobs)?;
    match (wanted, top) {
        (true, top) => Ok((Some(true), top)),
        (false, None | Some(0)) => Ok((None, None)),
        (false, Some(_)) => Err(fault::invalid(
            "top_logprobs",
            "needs logprobs; send true as logprobs",
        )),
    }
}

/// A schema is always kept to, as OpenAI does if it is strict.
fn response_format<'a>(
    chat: &'a Chat<'a>,
) -> Result<(Option<&'static str>, Option<Verbatim<'a>>), Refused> {
    let Some(format) = chat
        .response_format
        .get("response_format", "must be an object")?
    else {
        return Ok((None, None));
    };
    let path = "response_format.type";
    match format.kind.need(path, "must be a string")?.as_ref() {
        "text" => Ok((None, None)),
        "json_object" => Ok((Some(JSON), None)),
        "json_schema" => {
            let schema = format
                .json_schema
                .need("response_format.json_schema", "must be an object")?;
            let path = "response_format.json_schema.schema";
            match schema.schema {
                Some(schema) if !schema.get().starts_with('{') => {
                    Err(fault::wrong_type(path, "must be a JSON Schema object"))
                }
                schema => Ok((Some(JSON), schema.map(Verbatim))),
            }
        }
        _ => Err(fault::parameter(
            path,
            "must be text, json_object or json_schema",
        )),
    }
}

fn number<'a>(path: &'static str, raw: Raw<'a>) -> Result<Option<Verbatim<'a>>, Refused> {
    match raw {
        Some(raw) if !is_number(raw) => Err(fault::wrong_type(path, "must be a number")),
        raw => Ok(raw.map(Verbatim)),
    }
}

fn integer(path: &'static str, raw: Raw<'_>) -> Result<Option<i64>, Refused> {
    let Some(raw) = raw else {
        return Ok(None);
    };
    match raw.get().parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) if is_number(raw) => Err(fault::invalid(path, INTEGER)),
        Err(_) => Err(fault::wrong_type(path, INTEGER)),
    }
}

fn flag(path: &'static str, raw: Raw<'_>) -> Result<bool, Refused> {
    match raw.map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(fault::wrong_type(path, "must be true or false")),
    }
}

/// It is JSON, so its first character tells.
fn is_number(raw: &RawValue) -> bool {
    raw.get()
        .starts_with(|c: char| c == '-' || c.is_ascii_digit())
}
