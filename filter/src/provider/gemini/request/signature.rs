//! Signature: the model's sealed state of thought, handed back where it was.
//!
//! An answer's signatures reach the client as `reasoning_details` of format `google-gemini-v1`, and come back in its
//! next request. Other formats are other providers' and are ignored, as is what is not of the form: the member is no
//! part of OpenAI's API, and an answer is better without a signature than not at all.
//! <https://ai.google.dev/gemini-api/docs/thought-signatures>

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::SeqAccess;

use super::chat::{Raw, Text};
use super::shape::{Field, Object, Shape};
use super::wire::{Content, Data, Part, Role};
use crate::provider::gemini::THINKING_FORMAT;

/// Google's stand-in for a signature that there is none of: calls that another model made, or a client that did not
/// keep it. <https://ai.google.dev/gemini-api/docs/thought-signatures#faqs>
const UNKNOWN: &str = "skip_thought_signature_validator";

/// The signatures of one message.
#[derive(Debug, Default)]
pub(super) struct Signatures<'a> {
    text: Option<Cow<'a, str>>,
    /// By the id of the tool call.
    calls: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    format: Text<'a>,
    #[serde(borrow)]
    data: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
}

impl<'de: 'a, 'a> Object<'de> for Detail<'a> {}

/// Gives the first call of each step of the current turn a signature, if it has none: Gemini 3 answers 400 without.
/// A turn begins with what the user says; results of functions do not begin one. What is before it is not validated.
/// Of calls made at once, only the first is signed.
pub(super) fn fill(turns: &mut [Content<'_>]) {
    let said = |turn: &Content<'_>| {
        let said = |part: &Part<'_>| !matches!(part.data, Data::FunctionResponse(_));
        turn.role == Role::User && turn.parts.iter().any(said)
    };
    let steps = turns.iter_mut().rev().take_while(|turn| !said(turn));
    for step in steps.filter(|turn| turn.role == Role::Model) {
        let mut parts = step.parts.iter_mut();
        if let Some(call) = parts.find(|part| matches!(part.data, Data::FunctionCall(_))) {
            call.thought_signature.get_or_insert(Cow::Borrowed(UNKNOWN));
        }
    }
}

// === impl Signatures ===

impl<'a> Signatures<'a> {
    pub(super) fn read(details: Raw<'a>) -> Self {
        match details.map(|raw| serde_json::from_str(raw.get())) {
            Some(Ok(Field::Is(signatures))) => signatures,
            _ => Self::default(),
        }
    }

    fn keep(&mut self, detail: Detail<'a>) {
        let (Field::Is(kind), Field::Is(format), Field::Is(data)) =
            (detail.kind, detail.format, detail.data)
        else {
            return;
        };
        if kind != "reasoning.encrypted" || format != THINKING_FORMAT || data.is_empty() {
            return;
        }
        match detail.id {
            Field::Is(id) => {
                self.calls.insert(id, data);
            }
            _ => self.text = Some(data),
        }
    }

    /// Signs the last of a message's texts. A signature without a text came in an empty one, at a stream's end, and
    /// goes back in an empty one.
    pub(super) fn sign_text(&mut self, texts: &mut Vec<Part<'a>>) {
        let Some(signature) = self.text.take() else {
            return;
        };
        match texts.last_mut() {
            Some(text) => text.thought_signature = Some(signature),
            None => texts.push(Part {
                data: Data::Text(""),
                thought_signature: Some(signature),
            }),
        }
    }

    pub(super) fn of_call(&mut self, id: &str) -> Option<Cow<'a, str>> {
        self.calls.remove(id)
    }
}

impl<'de: 'a, 'a> Shape<'de> for Signatures<'a> {
    /// One by one: what is no signature costs no memory.
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut signatures = Self::default();
        while let Some(detail) = list.next_element()? {
            if let Field::Is(detail) = detail {
                signatures.keep(detail);
            }
        }
        Ok(Some(signatures))
    }
}
