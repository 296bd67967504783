//! `tiers.<name>.degrade:` what a request gets when everybody failed it.

use std::sync::Arc;

use super::error::Errors;
use super::names::Names;
use super::reader::At;
use super::{Degrade, TierName};

/// Characters of an answer that nobody gave.
const MAX_ANSWER: usize = 2000;

/// Of the tier `name`.
pub(super) fn degrade(
    name: &str,
    at: &At<'_>,
    tiers: &Names<'_>,
    errors: &mut Errors,
) -> Option<Degrade> {
    let fields = at.fields(&["tier", "answer"], errors)?;
    match (fields.get("tier"), fields.get("answer")) {
        (Some(tier), None) => to_tier(name, &tier, tiers, errors),
        (None, Some(answer)) => to_answer(&answer, errors),
        _ => {
            errors.push(&at.path, "must have exactly one of \"tier\" and \"answer\"");
            None
        }
    }
}

fn to_tier(name: &str, at: &At<'_>, tiers: &Names<'_>, errors: &mut Errors) -> Option<Degrade> {
    let tier = tiers.find(at, errors)?;
    if tier == name {
        errors.push(&at.path, "a tier cannot degrade to itself");
    }
    Some(Degrade::Tier(TierName(Arc::from(tier))))
}

fn to_answer(at: &At<'_>, errors: &mut Errors) -> Option<Degrade> {
    let text = at.string(errors)?;
    if text.trim().is_empty() {
        errors.push(&at.path, "must not be empty: the client is shown it");
    } else if text.chars().count() > MAX_ANSWER {
        errors.push(
            &at.path,
            format!("must have at most {MAX_ANSWER} characters"),
        );
    }
    Some(Degrade::Answer(Arc::from(text)))
}
