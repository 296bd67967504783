//! Params: the parameters of a chat completion that have no counterpart, and the small ones that have.
//!
//! A value that means OpenAI's default is no loss and is not named.
//! <https://platform.openai.com/docs/api-reference/chat/create>

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::fault::{Losses, Path, Read};
use super::read::{Body, is_null, list, text};
use crate::provider::parameters::{UNKNOWN, is_known, path_of};

/// What a parameter without counterpart says where it says nothing.
#[derive(Debug, Clone, Copy)]
enum Neutral {
    Nothing,
    False,
    Number(f64),
    /// An empty object or array.
    Empty,
    Word(&'static str),
    /// An array of this word.
    Only(&'static str),
}

/// In the order in which they are named.
const WITHOUT_COUNTERPART: [(&str, Neutral); 18] = [
    ("n", Neutral::Number(1.0)),
    ("logit_bias", Neutral::Empty),
    ("logprobs", Neutral::False),
    ("top_logprobs", Neutral::Number(0.0)),
    ("presence_penalty", Neutral::Number(0.0)),
    ("frequency_penalty", Neutral::Number(0.0)),
    ("seed", Neutral::Nothing),
    ("modalities", Neutral::Only("text")),
    ("audio", Neutral::Nothing),
    ("prediction", Neutral::Nothing),
    ("store", Neutral::False),
    ("metadata", Neutral::Empty),
    ("web_search_options", Neutral::Nothing),
    ("verbosity", Neutral::Word("medium")),
    ("moderation", Neutral::Nothing),
    ("prompt_cache_key", Neutral::Nothing),
    ("prompt_cache_options", Neutral::Nothing),
    ("prompt_cache_retention", Neutral::Nothing),
];

#[derive(Debug, Serialize)]
pub(super) struct Metadata<'a> {
    user_id: Cow<'a, str>,
}

/// Names, or refuses, all that has no counterpart.
pub(super) fn lose_params(body: &Body<'_>, losses: &mut Losses) -> Read<()> {
    for (name, neutral) in WITHOUT_COUNTERPART {
        if let Some(raw) = body.get(name)
            && !neutral.is(raw)
        {
            let words = "has no counterpart at this provider; leave it out";
            losses.lose(name, &Path::top(name), words)?;
        }
    }
    let unknown = body
        .fields()
        .find(|(key, value)| !is_known(key) && !is_null(value));
    if let Some((key, _)) = unknown {
        losses.lose_at(
            UNKNOWN,
            path_of(key),
            "is a field that this provider does not know; leave it out",
        )?;
    }
    Ok(())
}

/// `stop` as stop sequences. The API refuses those that are blank: they are left out, and named.
/// <https://platform.claude.com/docs/en/api/messages>
pub(super) fn stop_sequences<'a>(body: &Body<'a>, losses: &mut Losses) -> Read<Vec<Cow<'a, str>>> {
    let at = Path::top("stop");
    let Some(raw) = body.get("stop") else {
        return Ok(Vec::new());
    };
    let mut stops = Vec::new();
    if raw.get().starts_with('"') {
        stops.push(text(raw, &at)?);
    } else {
        for (i, raw) in list(raw, &at)?.into_iter().enumerate() {
            stops.push(text(raw, &at.index(i))?);
        }
    }
    let sent = stops.len();
    stops.retain(|stop| !stop.trim().is_empty());
    if stops.len() < sent {
        losses.lose(
            "stop",
            &at,
            "has a blank sequence, which this provider refuses; leave it out",
        )?;
    }
    Ok(stops)
}

/// Who the end user is: `safety_identifier`, or `user`, which it replaces.
pub(super) fn metadata<'a>(body: &Body<'a>) -> Read<Option<Metadata<'a>>> {
    for name in ["safety_identifier", "user"] {
        if let Some(raw) = body.get(name) {
            let user_id = text(raw, &Path::top(name))?;
            return Ok((!user_id.is_empty()).then_some(Metadata { user_id }));
        }
    }
    Ok(None)
}

/// OpenAI's `default` is its standard processing, whatever the project is set to; `auto` is both APIs' default.
/// <https://platform.claude.com/docs/en/api/service-tiers>
pub(super) fn service_tier(body: &Body<'_>, losses: &mut Losses) -> Read<Option<&'static str>> {
    let at = Path::top("service_tier");
    let Some(raw) = body.get("service_tier") else {
        return Ok(None);
    };
    match text(raw, &at)?.as_ref() {
        "auto" => Ok(None),
        "default" => Ok(Some("standard_only")),
        _ => {
            losses.lose(
                "service_tier",
                &at,
                "is a tier that this provider does not have; use auto or default",
            )?;
            Ok(None)
        }
    }
}

// === impl Neutral ===

impl Neutral {
    fn is(self, raw: &RawValue) -> bool {
        let at = Path::top("");
        match self {
            Self::Nothing => false,
            Self::False => raw.get() == "false",
            Self::Number(number) => {
                serde_json::from_str::<f64>(raw.get()).is_ok_and(|n| n == number)
            }
            Self::Empty => {
                matches!(raw.get().as_bytes(), [b'{', inside @ .., b'}'] | [b'[', inside @ .., b']']
                if inside.trim_ascii().is_empty())
            }
            Self::Word(word) => text(raw, &at).is_ok_and(|text| text == word),
            Self::Only(word) => list(raw, &at).is_ok_and(|list| {
                list.iter()
                    .all(|raw| text(raw, &at).is_ok_and(|text| text == word))
            }),
        }
    }
}
