//! Details: `reasoning_details` of an assistant message back into the thinking blocks that they came from.
//!
//! The API checks each block's signature, so that text and signature go back untouched, and a block that lacks its
//! signature does not go at all. <https://platform.claude.com/docs/en/build-with-claude/thinking>

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::block::Block;
use super::fault::Path;
use super::read::{list, object, text};
use crate::provider::anthropic::THINKING_FORMAT;

#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    signature: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// A thinking block whose signature may still come.
struct Pending<'a> {
    index: Option<&'a str>,
    thinking: Cow<'a, str>,
    signature: Option<Cow<'a, str>>,
}

/// Appends the thinking blocks of `reasoning_details`. The field is no part of OpenAI's format: what in it is not
/// understood is left out, not refused.
pub(super) fn read_details<'a>(raw: &'a RawValue, out: &mut Vec<Block<'a>>) {
    let at = Path::top("reasoning_details");
    let mut pending: Option<Pending<'a>> = None;
    for raw in list(raw, &at).unwrap_or_default() {
        let Ok(detail) = object::<Detail<'a>>(raw, &at) else {
            continue;
        };
        let read = |raw: Option<&'a RawValue>| raw.and_then(|raw| text(raw, &at).ok());
        // Details of other formats belong to other providers.
        if read(detail.format).as_deref() != Some(THINKING_FORMAT) {
            continue;
        }
        match read(detail.kind).as_deref() {
            Some("reasoning.text") => {
                let next = Pending {
                    index: detail.index.map(RawValue::get),
                    thinking: read(detail.text).unwrap_or_default(),
                    signature: read(detail.signature).filter(|signature| !signature.is_empty()),
                };
                match &mut pending {
                    Some(pending) if pending.goes_on_in(&next) => pending.append(next),
                    pending => flush(pending.replace(next), out),
                }
            }
            Some("reasoning.encrypted") => {
                flush(pending.take(), out);
                let data = read(detail.data).filter(|data| !data.is_empty());
                out.extend(data.map(|data| Block::RedactedThinking { data }));
            }
            _ => {}
        }
    }
    flush(pending, out);
}

fn flush<'a>(pending: Option<Pending<'a>>, out: &mut Vec<Block<'a>>) {
    if let Some(Pending {
        thinking,
        signature: Some(signature),
        ..
    }) = pending
    {
        out.push(Block::Thinking {
            thinking,
            signature,
        });
    }
}

// === impl Pending ===

impl<'a> Pending<'a> {
    /// A client may keep a stream's deltas as they came, each a detail of its own: text, text, signature.
    fn goes_on_in(&self, next: &Self) -> bool {
        self.signature.is_none() && self.index.is_some() && self.index == next.index
    }

    fn append(&mut self, next: Self) {
        if !next.thinking.is_empty() {
            self.thinking.to_mut().push_str(&next.thinking);
        }
        self.signature = next.signature;
    }
}
