//! `classify[].local:` the model inside the filter, and what its labels mean here.

use std::sync::Arc;

use super::super::error::{Errors, clean};
use super::super::names::{Names, repair};
use super::super::reader::At;
use super::super::{LocalClassifier, LocalTier, TierName};
use crate::classify::local::built_in;
use crate::classify::local::model::{MAX_LABELS, Model};

const MIN_CONFIDENCE: f32 = 0.7;
const UNDER_ROUTING_COST: f32 = 1.25;

pub(super) fn local<'v>(
    at: &At<'v>,
    tiers: &Names<'v>,
    errors: &mut Errors,
) -> Option<LocalClassifier> {
    const FIELDS: &[&str] = &["min_confidence", "under_routing_cost", "tiers", "model"];
    let fields = at.fields(FIELDS, errors)?;
    let model = match fields.get("model") {
        Some(at) => model(&at, errors)?,
        None => built_in()?,
    };
    let meaning = fields.get("tiers");
    let meaning = meaning.and_then(|at| meanings(&at, &model, tiers, errors));
    let meaning = meaning.unwrap_or_default();
    let mut found: Vec<LocalTier> = Vec::new();
    for (index, label) in model.labels.iter().enumerate() {
        let said = meaning.iter().find(|(named, _)| named == label);
        let tier = match said {
            Some((_, Some(tier))) => tier,
            // What it stands for is a mistake that was told.
            Some((_, None)) => continue,
            None => label.as_str(),
        };
        if said.is_none() && tiers.is_known() && !tiers.has(tier) {
            errors.push(
                &at.path,
                format!(
                    "its model tells \"{0}\" apart, which is no tier of this policy; say which tier that is: tiers: {{{0}: …}}",
                    clean(label)
                ),
            );
            continue;
        }
        match found.iter_mut().find(|t| &*t.tier.0 == tier) {
            Some(known) => known.labels.push(index),
            None => found.push(LocalTier {
                tier: TierName(Arc::from(tier)),
                labels: vec![index],
                min_confidence: MIN_CONFIDENCE,
            }),
        }
    }
    if let Some(at) = fields.get("min_confidence") {
        min_confidence(&at, &mut found, tiers, errors);
    }
    let cost = fields.get("under_routing_cost");
    let cost = cost.and_then(|at| at.number(1.0, 100.0, errors));
    Some(LocalClassifier {
        model,
        tiers: found,
        under_routing_cost: cost.unwrap_or(UNDER_ROUTING_COST),
    })
}

/// What the document says that labels stand for; `None` where that is no tier.
fn meanings<'v>(
    at: &At<'v>,
    model: &Model,
    tiers: &Names<'v>,
    errors: &mut Errors,
) -> Option<Vec<(&'v str, Option<&'v str>)>> {
    let mut found = Vec::new();
    for (label, at) in at.entries(0..=MAX_LABELS, errors)? {
        if !model.labels.iter().any(|known| known == label) {
            let repair = repair(label, model.labels.iter().map(String::as_str));
            let message = format!("the model has no label \"{}\"{repair}", clean(label));
            errors.push(&at.path, message);
        } else {
            found.push((label, tiers.find(&at, errors)));
        }
    }
    Some(found)
}

fn min_confidence(at: &At<'_>, found: &mut [LocalTier], tiers: &Names<'_>, errors: &mut Errors) {
    if !at.is_map() {
        if let Some(least) = at.number(0.0, 1.0, errors) {
            for tier in found {
                tier.min_confidence = least;
            }
        }
        return;
    }
    for (name, at) in at.entries(1..=MAX_LABELS, errors).unwrap_or_default() {
        let Some(tier) = found.iter_mut().find(|t| &*t.tier.0 == name) else {
            let message = match tiers.has(name) {
                true => "no label of the model stands for this tier".to_owned(),
                false => format!("no tier \"{}\"{}", clean(name), repair(name, tiers.iter())),
            };
            errors.push(&at.path, message);
            continue;
        };
        if let Some(least) = at.number(0.0, 1.0, errors) {
            tier.min_confidence = least;
        }
    }
}

fn model(at: &At<'_>, errors: &mut Errors) -> Option<Arc<Model>> {
    let Some(bytes) = from_base64(at.string(errors)?) else {
        let message = "must be a model file in Base64, on one line: base64 -w0 MODEL";
        errors.push(&at.path, message);
        return None;
    };
    match Model::from_bytes(&bytes) {
        Ok(model) => Some(Arc::new(model)),
        Err(error) => {
            errors.push(&at.path, error.to_string());
            None
        }
    }
}

/// RFC 4648, section 4, with its padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    let digits = text.get(..text.len().checked_sub(padding)?)?;
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    for chunk in digits.chunks(4) {
        let mut bits = 0u32;
        for index in 0..4 {
            let digit = match chunk.get(index).copied().unwrap_or(b'A') {
                digit @ b'A'..=b'Z' => digit.wrapping_sub(b'A'),
                digit @ b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(26),
                digit @ b'0'..=b'9' => digit.wrapping_sub(b'0').wrapping_add(52),
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        let [_, three @ ..] = bits.to_be_bytes();
        bytes.extend(three.iter().take(chunk.len().saturating_sub(1)));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64() {
        let check = |text: &str, expected: Option<&str>| {
            let found = from_base64(text);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{text}");
        };
        // RFC 4648, section 10.
        check("", Some(""));
        check("Zg==", Some("f"));
        check("Zm8=", Some("fo"));
        check("Zm9v", Some("foo"));
        check("Zm9vYmFy\n", Some("foobar"));
        check("Zg", None);
        check("Z===", None);
        check("Zm9*", None);
        check("====", None);
    }
}
