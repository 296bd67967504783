//! Lost: parameters of OpenAI's that Gemini's generateContent has no counterpart for.
//!
//! A value that says what happens anyway is no loss. `serviceTier` is left out of what is translated: Gemini's own API
//! has it, Vertex AI's body has not.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::chat::Chat;
use super::fault::{Losses, Refused};

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
