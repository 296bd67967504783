//! Usage: what an answer in OpenAI's format says that it cost.
//!
//! Pure. Nothing in it is an error: a count of an unexpected type counts as absent, a huge one as the largest, and fields
//! that nobody knows are read over. Where a field occurs twice the last counts.
//!
//! Fields: `prompt_tokens`, `completion_tokens` and their details are OpenAI's
//! (<https://platform.openai.com/docs/api-reference/chat/object>); `cache_write_tokens` is OpenRouter's
//! (<https://openrouter.ai/docs/use-cases/usage-accounting>), `cache_creation_tokens` LiteLLM's word for it
//! (<https://docs.litellm.ai/docs/completion/prompt_caching>), `prompt_cache_hit_tokens` DeepSeek's
//! (<https://api-docs.deepseek.com/api/create-chat-completion>), and `cached_tokens` beside the counts Moonshot's
//! (<https://platform.moonshot.ai/docs/api/chat>).

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::chat::usage::Usage;

/// A name that is read, in `usage` or in its details.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    PromptTokens,
    CompletionTokens,
    TotalTokens,
    PromptTokensDetails,
    CompletionTokensDetails,
    CachedTokens,
    #[serde(alias = "cache_creation_tokens")]
    CacheWriteTokens,
    ReasoningTokens,
    PromptCacheHitTokens,
    #[serde(other)]
    Other,
}

/// Reads the JSON of a `usage` field; `None` where it is no object.
pub fn read(json: &str) -> Option<Usage> {
    let mut usage = Usage::default();
    let mut total = 0;
    let mut hits = 0;
    let is_object = members(json, &mut |key, value| match key {
        Key::PromptTokens => usage.prompt = count(value),
        Key::CompletionTokens => usage.completion = count(value),
        Key::TotalTokens => total = count(value),
        Key::CachedTokens | Key::PromptCacheHitTokens => hits = count(value),
        Key::PromptTokensDetails => {
            (usage.cached, usage.cache_write) = (0, 0);
            members(value.get(), &mut |key, value| match key {
                Key::CachedTokens => usage.cached = count(value),
                Key::CacheWriteTokens => usage.cache_write = count(value),
                _ => {}
            });
        }
        Key::CompletionTokensDetails => {
            usage.reasoning = 0;
            members(value.get(), &mut |key, value| {
                if let Key::ReasoningTokens = key {
                    usage.reasoning = count(value);
                }
            });
        }
        Key::CacheWriteTokens | Key::ReasoningTokens | Key::Other => {}
    });
    if !is_object {
        return None;
    }
    // DeepSeek sends the same number in both places.
    usage.cached = usage.cached.max(hits);
    // xAI counts thinking beside the completion, which only the total shows:
    // <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/grok/capabilities/reasoning>
    let all = usage.completion.saturating_add(usage.reasoning);
    if usage.reasoning > 0 && total == usage.prompt.saturating_add(all) {
        usage.completion = all;
    }
    Some(usage)
}

/// A number of tokens; 0 where the value is none.
fn count(value: &RawValue) -> u64 {
    let json = value.get();
    json.parse().unwrap_or_else(|_| {
        // `12.0` is an integer to JSON Schema. The cast saturates, and makes a negative number 0.
        match serde_json::from_str::<f64>(json) {
            Ok(number) if number == number.trunc() => number as u64,
            _ => 0,
        }
    })
}

/// Calls `each` for every member of an object, until it ends or is broken; `false` where `json` is no object.
fn members(json: &str, each: &mut dyn FnMut(Key, &RawValue)) -> bool {
    struct Members<'f>(&'f mut dyn FnMut(Key, &RawValue));

    impl<'de> Visitor<'de> for Members<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
            while let Some(key) = map.next_key()? {
                (self.0)(key, map.next_value()?);
            }
            Ok(())
        }
    }

    let mut json = serde_json::Deserializer::from_str(json);
    json.deserialize_map(Members(each)).is_ok()
}

#[cfg(test)]
pub(in crate::provider) mod tests;
