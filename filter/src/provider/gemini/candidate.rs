//! Candidate: what a whole answer and a chunk of a stream have in common, for both are a GenerateContentResponse.
//!
//! Pure. Lists are read one element at a time, and strings stay the JSON text that they came as, so that reading takes
//! no memory beside the body. Field names and enums: <https://ai.google.dev/api/generate-content>.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use serde::Deserialize;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::chat::json;
use crate::chat::usage::Usage;
use crate::fnv::Fnv64;

/// Choices of one answer. OpenAI's `n` ends at 128, Gemini's `candidateCount` far below.
pub(super) const MAX_CHOICES: usize = 128;

/// Bytes, with the quotes, of an id or a model name that every chunk repeats; Google's are below 40. A longer one is
/// treated as missing.
const MAX_NAME: usize = 256;

/// Characters of a response's id that goes into the ids of its tool calls. With what is around it that stays below the
/// 40 that OpenAI's own API takes in a later request, for a conversation may move there; a longer one is hashed. So is
/// one with other characters than letters, digits, `-` and `_`, which Anthropic's API would refuse
/// (<https://docs.anthropic.com/en/api/messages>).
const MAX_STEM: usize = 24;

/// The JSON is no GenerateContentResponse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    /// Google's error object, where there should be an answer.
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub candidates: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_feedback: Option<&'a RawValue>,
    #[serde(borrow)]
    usage_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    model_version: Option<&'a RawValue>,
    #[serde(borrow)]
    response_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    /// Protobuf's JSON leaves out a 0.
    pub index: Option<u32>,
    #[serde(borrow)]
    pub content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    pub logprobs_result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback<'a> {
    #[serde(borrow)]
    block_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageMetadata<'a> {
    #[serde(borrow)]
    prompt_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_prompt_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    cached_content_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    candidates_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    thoughts_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    total_token_count: Option<&'a RawValue>,
}

/// Why a candidate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    /// Anything but a natural end and the token limit: withheld or broken off, and never to be taken for whole.
    Filter,
}

/// A response's usage, and its sum as the provider gives it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub usage: Usage,
    total: u64,
}

/// Makes ids for tool calls that came without: the same for the same answer, each once within it.
#[derive(Debug)]
pub(super) struct CallIds {
    stem: String,
    next: u32,
}

/// What an answer and each chunk of a stream begin with.
pub(super) struct Head {
    /// From `{"id":` to `"choices":[`.
    pub json: Vec<u8>,
    pub call_ids: CallIds,
}

// === reading ===

/// Reads an object. serde would take an array for a struct as well, field by field.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Malformed> {
    json::object(json).ok_or(Malformed)
}

/// What is between a string's quotes: escaped, so that it can be copied into another string.
pub(super) fn string(json: &RawValue) -> Result<&str, Malformed> {
    let inside = json.get().strip_prefix('"');
    inside
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or(Malformed)
}

/// [`string`], where nothing and `null` are an empty one.
pub(super) fn string_or_empty(json: Option<&RawValue>) -> Result<&str, Malformed> {
    json.map_or(Ok(""), string)
}

/// Calls `on_element` for each element of a list, until it fails.
pub(super) fn each<'a>(
    list: &'a RawValue,
    on_element: &mut dyn FnMut(&'a RawValue) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    struct Elements<'f, 'a>(&'f mut dyn FnMut(&'a RawValue) -> Result<(), Malformed>);

    impl<'a> Visitor<'a> for Elements<'_, 'a> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<S: SeqAccess<'a>>(self, mut list: S) -> Result<(), S::Error> {
            while let Some(element) = list.next_element()? {
                (self.0)(element).map_err(|Malformed| S::Error::custom("malformed"))?;
            }
            Ok(())
        }
    }

    let mut json = serde_json::Deserializer::from_str(list.get());
    serde::Deserializer::deserialize_seq(&mut json, Elements(on_element)).map_err(|_| Malformed)
}

/// An enum's value as it may be shown; what does not look like one is not.
fn enum_name(json: &RawValue) -> &str {
    let is_name =
        |name: &&str| name.len() <= 64 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    string(json)
        .ok()
        .filter(is_name)
        .unwrap_or("a reason that the gateway does not know")
}

// === impl Response ===

impl<'a> Response<'a> {
    /// Whether a chunk may come of it.
    pub fn says_something(&self) -> bool {
        self.candidates.is_some() || self.prompt_feedback.is_some()
    }

    /// The refusal that the client sees if the prompt was blocked. Google sends no candidate then.
    pub fn blocked(&self) -> Result<Option<String>, Malformed> {
        let Some(feedback) = self.prompt_feedback else {
            return Ok(None);
        };
        let feedback: PromptFeedback<'a> = object(feedback.get())?;
        Ok(feedback
            .block_reason
            .map(|reason| format!("the provider blocked the prompt: {}", enum_name(reason))))
    }

    /// `None` where the response has no usage. A count that is none is 0: no answer is lost for it.
    pub fn count(&self) -> Option<Count> {
        let read: UsageMetadata<'a> = object(self.usage_metadata?.get()).ok()?;
        let prompt = number(read.prompt_token_count)
            .saturating_add(number(read.tool_use_prompt_token_count));
        let reasoning = number(read.thoughts_token_count);
        let completion = number(read.candidates_token_count).saturating_add(reasoning);
        let total = match number(read.total_token_count) {
            0 => prompt.saturating_add(completion),
            total => total,
        };
        let usage = Usage {
            prompt,
            completion,
            cached: number(read.cached_content_token_count),
            cache_write: 0,
            reasoning,
        };
        Some(Count { usage, total })
    }

    /// `seed` is what an id is made of where the response has none.
    pub fn head(&self, object: &str, created: u64, model: &str, seed: &[u8]) -> Head {
        let named = |name: Option<&'a RawValue>| {
            name.filter(|name| (3..=MAX_NAME).contains(&name.get().len()) && string(name).is_ok())
        };
        let hash = || format!("{:016x}", hash(created, seed));
        let given = named(self.response_id);
        let id = given.map_or_else(
            || Cow::Owned(format!("\"chatcmpl-{}\"", hash())),
            |id| Cow::Borrowed(id.get()),
        );
        let model = named(self.model_version).map_or_else(
            || Cow::Owned(serde_json::to_string(model).unwrap_or_default()),
            |model| Cow::Borrowed(model.get()),
        );
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let stem = given
            .and_then(|id| string(id).ok())
            .filter(|id| id.len() <= MAX_STEM && id.bytes().all(is_plain))
            .map_or_else(hash, str::to_owned);
        let mut json = Vec::new();
        // Writing to a Vec does not fail.
        let _ = write!(
            json,
            r#"{{"id":{id},"object":"{object}","created":{created},"model":{model},"choices":["#
        );
        Head {
            json,
            call_ids: CallIds { stem, next: 0 },
        }
    }
}

impl<'a> Candidate<'a> {
    /// Calls `on_part` for each part of the content.
    pub fn each_part(
        &self,
        on_part: &mut dyn FnMut(&'a RawValue) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Some(content) = self.content else {
            return Ok(());
        };
        let content: Content<'a> = object(content.get())?;
        content.parts.map_or(Ok(()), |parts| each(parts, on_part))
    }

    pub fn finish(&self) -> Option<Finish> {
        self.finish_reason.map(|reason| match reason.get() {
            // The second is protobuf's unset value.
            r#""STOP""# | r#""FINISH_REASON_UNSPECIFIED""# => Finish::Stop,
            r#""MAX_TOKENS""# => Finish::Length,
            _ => Finish::Filter,
        })
    }

    /// What the client sees of a candidate that was withheld and has nothing else to show.
    pub fn refusal(&self) -> Option<String> {
        self.finish_reason
            .filter(|_| self.finish() == Some(Finish::Filter))
            .map(|reason| format!("the provider stopped the answer: {}", enum_name(reason)))
    }
}

// === impl Finish ===

impl Finish {
    /// OpenAI's `finish_reason`. Gemini ends a turn of function calls with STOP as well.
    pub fn name(self, has_calls: bool) -> &'static str {
        match self {
            Self::Stop if has_calls => "tool_calls",
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Filter => "content_filter",
        }
    }
}

// === impl Count ===

impl Count {
    /// OpenAI's usage object.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Usage {
            prompt,
            completion,
            cached,
            reasoning,
            ..
        } = self.usage;
        // Writing to a Vec does not fail.
        let _ = write!(
            out,
            r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{},"#,
            self.total
        );
        let _ = write!(
            out,
            r#""prompt_tokens_details":{{"cached_tokens":{cached}}},"#
        );
        let _ = write!(
            out,
            r#""completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}"#
        );
    }
}

/// A count; protobuf's JSON quotes 64-bit ones.
fn number(json: Option<&RawValue>) -> u64 {
    json.and_then(|json| json.get().trim_matches('"').parse().ok())
        .unwrap_or(0)
}

// === impl CallIds ===

impl CallIds {
    /// Before the stream's first chunk.
    pub fn none() -> Self {
        Self {
            stem: String::new(),
            next: 0,
        }
    }

    pub fn make(&mut self) -> String {
        let id = format!("call_{}_{}", self.stem, self.next);
        self.next = self.next.saturating_add(1);
        id
    }
}

/// Tells answers apart.
fn hash(created: u64, seed: &[u8]) -> u64 {
    Fnv64::default().bytes(&created.to_le_bytes()).bytes(seed).0
}
