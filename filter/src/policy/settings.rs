//! The sections of a policy that stand alone: admit, caller, cache, limits.

use std::time::Duration;

use super::error::{Errors, clean};
use super::reader::At;
use super::text::{CALLER, caller_header, exact_path};
use super::{Admit, Cache, CallerSource, Limits};

const MIB: usize = 1 << 20;
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

const ADMIT: &[&str] = &["paths", "messages_paths", "models_path", "max_body"];

pub(super) fn admit(at: Option<At<'_>>, errors: &mut Errors) -> Admit {
    let mut admit = Admit {
        paths: vec!["/v1/chat/completions".to_owned()],
        messages_paths: vec!["/v1/messages".to_owned()],
        models_path: "/v1/models".to_owned(),
        max_body: 4 * MIB,
    };
    let Some(fields) = at.and_then(|at| at.fields(ADMIT, errors)) else {
        return admit;
    };
    if let Some(path) = fields
        .get("models_path")
        .and_then(|at| exact_path(&at, errors))
    {
        admit.models_path = path;
    }
    if let Some(size) = fields
        .get("max_body")
        .and_then(|at| at.size(1..=32 << 20, errors))
    {
        admit.max_body = size;
    }
    // Where each path is given, so that a path that is given twice is named at its second place.
    let mut taken = vec![("models_path", admit.models_path.clone())];
    for (field, least, paths) in [
        ("paths", 1, &mut admit.paths),
        ("messages_paths", 0, &mut admit.messages_paths),
    ] {
        let given = fields
            .get(field)
            .and_then(|at| at.items(least..=64, errors));
        let given: Vec<(String, String)> = match given {
            Some(items) => {
                let path = |item: At<'_>| Some((exact_path(&item, errors)?, item.path));
                items.into_iter().filter_map(path).collect()
            }
            None => std::mem::take(paths)
                .into_iter()
                .map(|path| (path, fields.path_of(field)))
                .collect(),
        };
        paths.clear();
        for (path, place) in given {
            match taken.iter().find(|(_, other)| *other == path) {
                Some((other, _)) if *other == field => {
                    errors.push(&place, format!("\"{}\" is given twice", clean(&path)));
                }
                Some((other, _)) => errors.push(
                    &place,
                    format!(
                        "\"{}\" is in {other} too; what comes on a path is one thing",
                        clean(&path)
                    ),
                ),
                None => {
                    taken.push((field, path.clone()));
                    paths.push(path);
                }
            }
        }
    }
    admit
}

pub(super) fn caller(at: &At<'_>, errors: &mut Errors) -> Option<CallerSource> {
    let fields = at.fields(&["header", "metadata"], errors)?;
    match (fields.get("header"), fields.get("metadata")) {
        (Some(header), None) => caller_header(&header, errors).map(CallerSource::Header),
        (None, Some(metadata)) => {
            let items = metadata.items(1..=16, errors)?;
            if items.len() < 2 {
                errors.push(&metadata.path, "must be a namespace and at least one key");
            }
            let key = |item: &At<'_>| item.text(&CALLER, errors).map(str::to_owned);
            Some(CallerSource::Metadata(
                items.iter().filter_map(key).collect(),
            ))
        }
        _ => {
            errors.push(
                &at.path,
                "must have exactly one of \"header\" and \"metadata\"",
            );
            None
        }
    }
}

pub(super) fn cache(at: Option<At<'_>>, errors: &mut Errors) -> Cache {
    let mut cache = Cache {
        max_bytes: MIB,
        ttl: Duration::from_secs(600),
        share_between_callers: false,
    };
    let Some(fields) =
        at.and_then(|at| at.fields(&["max_bytes", "ttl", "share_between_callers"], errors))
    else {
        return cache;
    };
    if let Some(size) = fields
        .get("max_bytes")
        .and_then(|at| at.size(0..=64 << 20, errors))
    {
        cache.max_bytes = size;
    }
    if let Some(ttl) = fields
        .get("ttl")
        .and_then(|at| at.duration(MAX_TTL, errors))
    {
        cache.ttl = ttl;
    }
    cache.share_between_callers = fields.flag("share_between_callers", errors);
    cache
}

pub(super) fn limits(at: Option<At<'_>>, errors: &mut Errors) -> Limits {
    let hold_answer = at
        .and_then(|at| at.fields(&["hold_answer"], errors))
        .and_then(|fields| fields.get("hold_answer"))
        .and_then(|at| at.size(0..=32 << 20, errors));
    Limits {
        hold_answer: hold_answer.unwrap_or(4 * MIB),
    }
}
