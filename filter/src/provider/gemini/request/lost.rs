//! Lost: parameters of OpenAI's that Gemini's generateContent has no counterpart for.
//!
//! A value that says what happens anyway is no loss. `serviceTier` is left out of what is translated: Gemini's own API
//! has it, Vertex AI's body has not.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::chat::Chat;
use super::fault::{Losses, Refused};
use crate::provider::parameters::{TOP_K, is_known, path_of};

pub(super) fn read(chat: &Chat<'_>, losses: &mut Losses) -> Result<(), Refused> {
    // Beside each: the value that is OpenAI's default, <https://platform.openai.com/docs/api-reference/chat/create>.
    let lost = [
        ("audio", chat.audio, &[][..]),
        ("logit_bias", chat.logit_bias, &[]),
        ("metadata", chat.metadata, &[]),
        ("moderation", chat.moderation, &[]),
        ("prediction", chat.prediction, &[]),
        ("prompt_cache_key", chat.prompt_cache_key, &[]),
        ("prompt_cache_options", chat.prompt_cache_options, &[]),
        (
            "prompt_cache_retention",
            chat.prompt_cache_retention,
            &["\"in_memory\""],
        ),
        ("safety_identifier", chat.safety_identifier, &[]),
        (
            "service_tier",
            chat.service_tier,
            &["\"auto\"", "\"default\""],
        ),
        ("store", chat.store, &["false"]),
        ("user", chat.user, &[]),
        ("verbosity", chat.verbosity, &["\"medium\""]),
        ("web_search_options", chat.web_search_options, &[]),
    ];
    if chat
        .modalities
        .is_some_and(|modalities| !is_text_only(modalities))
    {
        losses.lose("modalities", "modalities")?;
    }
    for (name, value, defaults) in lost {
        let Some(value) = value.map(RawValue::get) else {
            continue;
        };
        // An empty list or object asks for nothing, but that a web search needs no options.
        let blank = name != "web_search_options" && is_blank(value);
        if !blank && !defaults.contains(&value) {
            losses.lose(name, name)?;
        }
    }
    Ok(())
}

/// Names, or refuses, what OpenAI's format has no such field for. A second walk over the body, which skips all values.
pub(super) fn read_unknown(body: &[u8], losses: &mut Losses) -> Result<(), Refused> {
    /// The first unknown field that is not `null`.
    struct Unknown;

    impl<'de> Visitor<'de> for Unknown {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a request")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut unknown = None;
            while let Some(Name(name)) = map.next_key()? {
                let is_set = map.next_value::<Option<IgnoredAny>>()?.is_some();
                if is_set && unknown.is_none() && name != TOP_K && !is_known(&name) {
                    unknown = Some(name);
                }
            }
            Ok(unknown)
        }
    }

    let mut json = serde_json::Deserializer::from_slice(body);
    // It was read before, so that it is an object.
    match json.deserialize_map(Unknown) {
        Ok(Some(name)) => losses.lose_unknown(path_of(&name)),
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn is_text_only(modalities: &RawValue) -> bool {
    serde_json::from_str::<Vec<Cow<'_, str>>>(modalities.get())
        .is_ok_and(|modalities| modalities.iter().all(|modality| modality == "text"))
}

/// `""`, `[]` and `{}`.
fn is_blank(value: &str) -> bool {
    let inside = |open, close| {
        let inside = value
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close));
        inside.is_some_and(|inside| inside.trim_ascii().is_empty())
    };
    value == "\"\"" || inside('[', ']') || inside('{', '}')
}
