//! Order: which of a choice's targets is tried first, and which follow.
//!
//! Pure, and the same in every worker, in every Envoy and on every platform: integers only, and what is drawn is passed in.
//!
//! `order: weighted` is weighted rendezvous hashing: a hash of key and target, uniform between 0 and 1, is the target's `u`, and the
//! target of the least `-log(u) / weight` comes first. It does so with a probability of its share of the weights, and what is
//! behind it is ordered alike among the rest. A weight that grows moves keys to its own target only, one that shrinks moves
//! only its own keys away. Sources: <https://datatracker.ietf.org/doc/draft-ietf-bess-weighted-hrw/>, and for the whole order
//! Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006), <https://doi.org/10.1016/j.ipl.2005.11.003>.

use std::cmp::Ordering;
use std::sync::Arc;

use super::admit::ANONYMOUS;
use super::candidates::Asked;
use super::decide::{Access, Choice, join};
use crate::chat::error::{self, ErrorReply};
use crate::fnv::Fnv64;
use crate::http::Headers;
use crate::policy::{Order, Policy, Sticky, Target, clean, nearest};
use crate::telemetry::headers::LLM_PROVIDERS;

/// Providers that a request may name.
const MAX_NAMED: usize = 8;
/// Bytes of the header, all its lines together.
const MAX_BYTES: usize = 256;

/// Fractional bits of a logarithm.
const FRACTION: u32 = 32;

/// Puts targets into the order in which they are tried. `named`: see [`providers`].
pub fn order(policy: &Policy, asked: Asked<'_>, named: &[&str], targets: &mut [&Target]) {
    let order = match asked.choice {
        Choice::Tier(name) => policy.tier(&name.0).map(|tier| tier.order),
        Choice::Model(_) => None,
    };
    if let Some(Order::Weighted(sticky)) = order {
        by_weight(targets, key(sticky, asked));
    }
    if !named.is_empty() {
        by_provider(targets, asked.choice, named);
    }
}

// === by provider ===

/// The providers that `X-LLM-Providers` names, in its order and none twice; none where it names none.
///
/// # Errors
/// What the client is told: it may not, it names too many, or one that there is not.
pub fn providers<'p>(
    policy: &'p Policy,
    access: &Access<'_>,
    headers: &Headers,
) -> Result<Vec<&'p str>, ErrorReply> {
    let lines = headers.0.iter().filter(|(name, _)| name == LLM_PROVIDERS);
    let lines = lines.map(|(_, value)| value.as_slice());
    // Empty elements of a list mean nothing: <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1>
    let names = lines.clone().flat_map(|line| line.split(|b| *b == b','));
    let names = names.map(<[u8]>::trim_ascii).filter(|n| !n.is_empty());
    let mut named = Vec::new();
    if names.clone().next().is_none() {
        return Ok(named);
    }
    if !access.orders_providers() {
        return Err(not_allowed());
    }
    let bytes = lines.fold(0usize, |bytes, line| bytes.saturating_add(line.len()));
    if bytes > MAX_BYTES || names.clone().nth(MAX_NAMED).is_some() {
        return Err(too_many());
    }
    for name in names {
        let known = std::str::from_utf8(name).ok();
        let known = known.and_then(|name| policy.providers.get_key_value(name));
        let Some((known, _)) = known else {
            return Err(unknown(policy, name));
        };
        if !named.contains(&&**known) {
            named.push(known);
        }
    }
    Ok(named)
}

/// Named ones first, in their order; else the order stays. A pinned model stays before its fallbacks.
fn by_provider(targets: &mut [&Target], choice: &Choice, named: &[&str]) {
    let models: Vec<Arc<str>> = match choice {
        Choice::Tier(_) => Vec::new(),
        Choice::Model(_) => targets.iter().map(|t| Arc::clone(&t.model)).collect(),
    };
    targets.sort_by_key(|target| {
        let model = models.iter().position(|model| *model == target.model);
        let rank = named
            .iter()
            .position(|name| *name == &*target.provider.name);
        (model, rank.unwrap_or(MAX_NAMED))
    });
}

fn not_allowed() -> ErrorReply {
    ErrorReply {
        status: 403,
        kind: error::PERMISSION,
        code: "provider_order_not_allowed",
        message: "you may not order providers; send the request without X-LLM-Providers, or have the policy allow it (order_providers of the caller)"
            .to_owned(),
        param: None,
    }
}

fn too_many() -> ErrorReply {
    ErrorReply {
        status: 400,
        kind: error::INVALID_REQUEST,
        code: "too_many_providers",
        message: format!(
            "X-LLM-Providers names too many; name at most {MAX_NAMED}, in {MAX_BYTES} bytes: those that are not named follow by themselves"
        ),
        param: None,
    }
}

fn unknown(policy: &Policy, name: &[u8]) -> ErrorReply {
    let name = String::from_utf8_lossy(name);
    let known = || policy.providers.keys().map(|name| &**name);
    let repair = match nearest(&name, known()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("use one of: {}", join(known())),
    };
    ErrorReply {
        status: 400,
        kind: error::INVALID_REQUEST,
        code: "unknown_provider",
        message: format!(
            "X-LLM-Providers: this gateway has no provider \"{}\"; {repair}",
            clean(&name)
        ),
        param: None,
    }
}

// === by weight ===

/// What keeps its order. All whom nobody named would be one caller: there it is the conversation.
pub fn sticks_to(sticky: Sticky, caller: &str) -> Sticky {
    match sticky {
        Sticky::Caller if caller == ANONYMOUS => Sticky::Conversation,
        sticky => sticky,
    }
}

fn key(sticky: Sticky, asked: Asked<'_>) -> u64 {
    let caller = Fnv64::default().bytes(asked.caller.as_bytes());
    match sticks_to(sticky, asked.caller) {
        Sticky::None => asked.random,
        Sticky::Caller => caller.0,
        Sticky::Conversation => {
            let opening = asked.request.needs.opening.to_le_bytes();
            caller.bytes(&opening).0
        }
    }
}

fn by_weight(targets: &mut [&Target], key: u64) {
    let mut lots: Vec<Lot<'_>> = Vec::with_capacity(targets.len());
    for target in targets.iter() {
        let before = lots.iter().filter(|lot| lot.target.is_same(target));
        let before = before.count();
        lots.push(Lot::draw(key, target, before));
    }
    lots.sort_by(Lot::before);
    for (place, lot) in targets.iter_mut().zip(lots) {
        *place = lot.target;
    }
}

/// What a target drew.
#[derive(Debug, Clone, Copy)]
struct Lot<'p> {
    target: &'p Target,
    /// `-log2(u)` in fixed point, at least 1.
    cost: u64,
}

// === impl Lot ===

impl<'p> Lot<'p> {
    /// `before`: how often a tier named the same target already. Each time draws a lot of its own.
    fn draw(key: u64, target: &'p Target, before: usize) -> Self {
        let hash = Fnv64(mixed(key))
            .bytes(target.provider.name.as_bytes())
            .bytes(&[0])
            .bytes(target.sent_as.as_bytes())
            .bytes(&[0, u8::try_from(before).unwrap_or(u8::MAX)]);
        let cost = (64u64 << FRACTION).saturating_sub(log2(mixed(hash.0)));
        Lot { target, cost }
    }

    /// By cost per weight. Where the weight is 0 that is beyond all others, and equal: those keep the policy's order.
    fn before(&self, other: &Self) -> Ordering {
        // 39 bits and 20: no product overflows.
        let scaled = |lot: &Self, by: &Self| lot.cost.saturating_mul(u64::from(by.target.weight));
        scaled(self, other).cmp(&scaled(other, self))
    }
}

/// Spreads what differs in a bit over all bits: the last steps of SplitMix64,
/// <https://prng.di.unimi.it/splitmix64.c>, public domain.
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The binary logarithm in fixed point, of 0 as of 1; below 64 and never too large. Squares a mantissa for each bit: Knuth, The
/// Art of Computer Programming, 1.2.2. A library's `ln` may differ in its last bit from one platform to the next.
fn log2(number: u64) -> u64 {
    let number = number.max(1);
    let whole = number.ilog2();
    // From 1 to 2, in 31 fractional bits.
    let mut mantissa = (number << number.leading_zeros()) >> 32;
    let mut log = u64::from(whole);
    for _ in 0..FRACTION {
        mantissa = mantissa.saturating_mul(mantissa) >> 31;
        let bit = mantissa >> 32;
        mantissa >>= bit;
        log = (log << 1) | bit;
    }
    log
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
