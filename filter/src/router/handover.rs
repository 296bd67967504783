//! Handover: a plan and how its attempts ended, as bytes in one filter state, since each property costs a host call.
//!
//! Pure. The router role writes it, an attempt that failed writes itself into it, the next attempt and the final error read
//! it. Decoding borrows, so that an attempt copies only what it sends. Both roles are one binary: bytes of another version,
//! or of another filter, are refused.

use std::borrow::Cow;

use super::plan::{MAX_ATTEMPTS, Plan, PlannedTarget};
use crate::chat::request::Dialect;
use crate::policy::{Api, Unsupported};
use crate::telemetry::state::Attempts;

/// The first byte; changes with the layout.
const VERSION: u8 = 3;

/// Headers that one target may have at most.
const MAX_HEADERS: usize = 256;

// A head of fixed size: the version, the attempts that are over, the last one's target, the next one's, the plan's length; then
// the plan; then, to the end, how the attempts ended. Numbers are u64 in little-endian order; a string is its length and its bytes;
// `user_agent` absent is empty.

/// Bytes of the head.
const HEAD: usize = 4 + size_of::<u64>();

/// Whether an attempt of this request is over. Cheap, since what a retry wants to know besides is not.
pub fn is_retry(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|begun| *begun > 0)
}

/// `None`: these are not the bytes of a handover.
pub fn attempts(bytes: &[u8]) -> Option<Attempts> {
    Some(split(bytes)?.1)
}

/// Write down how the attempts went.
pub fn set_attempts(bytes: &mut Vec<u8>, attempts: &Attempts) {
    let Some((plan, _)) = split(bytes) else {
        return;
    };
    bytes.truncate(HEAD.saturating_add(plan.len()));
    let small = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    for (at, number) in [
        (1, attempts.begun),
        (2, attempts.target),
        (3, attempts.next),
    ] {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = small(number);
        }
    }
    bytes.extend_from_slice(attempts.outcomes.as_bytes());
}

/// The plan's bytes, and the attempts.
fn split(bytes: &[u8]) -> Option<(&[u8], Attempts)> {
    let mut rest = Rest(bytes);
    if rest.byte()? != VERSION {
        return None;
    }
    let (begun, target, next) = (rest.byte()?, rest.byte()?, rest.byte()?);
    let plan = rest.number().and_then(|length| rest.take(length))?;
    let attempts = Attempts {
        begun: begun.into(),
        target: target.into(),
        next: next.into(),
        outcomes: std::str::from_utf8(rest.0).ok()?.to_owned(),
    };
    Some((plan, attempts))
}

impl Plan<'_> {
    /// As handed over before the first attempt.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(&[VERSION, 0, 0, 0]);
        out.extend_from_slice(&[0; size_of::<u64>()]);
        for number in [
            self.body_len,
            self.model_span.start,
            self.model_span.end,
            self.hold_answer,
        ] {
            push_number(number, &mut out);
        }
        out.push(match self.client {
            Dialect::Chat => 0,
            Dialect::Messages => 1,
            Dialect::CountTokens => 2,
        });
        out.push(flags([
            self.stream,
            self.include_usage,
            self.has_reasoning,
            self.many_choices,
        ]));
        push_text(self.tier, &mut out);
        out.extend_from_slice(&self.attempt_timeout_ms.to_le_bytes());
        push_text(self.user_agent.unwrap_or_default(), &mut out);
        push_pairs(&self.told, &mut out);
        push_number(self.targets.len(), &mut out);
        for target in &self.targets {
            for text in [
                target.provider,
                target.cluster,
                target.host,
                &target.path,
                target.model,
                target.sent_as,
            ] {
                push_text(text, &mut out);
            }
            out.push(match target.api {
                Api::OpenAi => 0,
                Api::Anthropic => 1,
                Api::Gemini => 2,
            });
            out.push(flags([
                target.unsupported == Unsupported::Refuse,
                target.prompt_cache,
                target.stream_usage,
            ]));
            out.extend_from_slice(&target.max_tokens.to_le_bytes());
            push_pairs(&target.headers, &mut out);
        }
        let length = u64::try_from(out.len().saturating_sub(HEAD)).unwrap_or(u64::MAX);
        if let Some(place) = out.get_mut(4..HEAD) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        out
    }
}

/// A few of them in a byte, the first in its lowest bit.
fn flags<const N: usize>(flags: [bool; N]) -> u8 {
    let byte = |byte, flag: &bool| byte << 1 | u8::from(*flag);
    flags.iter().rev().fold(0, byte)
}

fn push_pairs(pairs: &[(&str, &str)], out: &mut Vec<u8>) {
    push_number(pairs.len(), out);
    for (name, value) in pairs {
        push_text(name, out);
        push_text(value, out);
    }
}

fn push_number(number: usize, out: &mut Vec<u8>) {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    out.extend_from_slice(&number.to_le_bytes());
}

fn push_text(text: &str, out: &mut Vec<u8>) {
    push_number(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

impl<'a> Plan<'a> {
    /// `None`: these are not the bytes of a handover.
    pub fn decode(bytes: &'a [u8]) -> Option<(Self, Attempts)> {
        let (plan, attempts) = split(bytes)?;
        Some((Plan::read(plan)?, attempts))
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        let body_len = rest.number()?;
        let model_span = rest.number()?..rest.number()?;
        let hold_answer = rest.number()?;
        let client = match rest.byte()? {
            0 => Dialect::Chat,
            1 => Dialect::Messages,
            2 => Dialect::CountTokens,
            _ => return None,
        };
        let [stream, include_usage, has_reasoning, many_choices] = rest.flags()?;
        let tier = rest.text()?;
        let attempt_timeout_ms = rest.long()?;
        let user_agent = rest.text()?;
        let told = rest.pairs()?;
        let count = rest.number().filter(|count| *count <= MAX_ATTEMPTS)?;
        let mut targets = Vec::with_capacity(count);
        for _ in 0..count {
            targets.push(rest.target()?);
        }
        rest.0.is_empty().then_some(Plan {
            body_len,
            model_span,
            client,
            stream,
            include_usage,
            has_reasoning,
            many_choices,
            tier,
            hold_answer,
            attempt_timeout_ms,
            user_agent: (!user_agent.is_empty()).then_some(user_agent),
            told,
            targets,
        })
    }
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flags<const N: usize>(&mut self) -> Option<[bool; N]> {
        let mut rest = self.byte()?;
        let flags = std::array::from_fn(|_| {
            let flag = rest & 1 != 0;
            rest >>= 1;
            flag
        });
        (rest == 0).then_some(flags)
    }

    fn long(&mut self) -> Option<u64> {
        let bytes = self.take(size_of::<u64>())?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(self.long()?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn pairs(&mut self) -> Option<Vec<(&'a str, &'a str)>> {
        let count = self.number().filter(|count| *count <= MAX_HEADERS)?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            pairs.push((self.text()?, self.text()?));
        }
        Some(pairs)
    }

    fn target(&mut self) -> Option<PlannedTarget<'a>> {
        let provider = self.text()?;
        let cluster = self.text()?;
        let host = self.text()?;
        let path = Cow::Borrowed(self.text()?);
        let model = self.text()?;
        let sent_as = self.text()?;
        let api = match self.byte()? {
            0 => Api::OpenAi,
            1 => Api::Anthropic,
            2 => Api::Gemini,
            _ => return None,
        };
        let [refuse, prompt_cache, stream_usage] = self.flags()?;
        let max_tokens = u32::from_le_bytes(self.take(size_of::<u32>())?.try_into().ok()?);
        let headers = self.pairs()?;
        Some(PlannedTarget {
            provider,
            cluster,
            api,
            host,
            path,
            model,
            sent_as,
            max_tokens,
            unsupported: if refuse {
                Unsupported::Refuse
            } else {
                Unsupported::Drop
            },
            prompt_cache,
            stream_usage,
            headers,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target<'a>(name: &'a str, headers: &[(&'a str, &'a str)]) -> PlannedTarget<'a> {
        PlannedTarget {
            provider: name,
            cluster: name,
            api: Api::Gemini,
            host: "h",
            path: Cow::Borrowed("/p"),
            model: name,
            sent_as: "s",
            max_tokens: u32::MAX,
            unsupported: Unsupported::Refuse,
            prompt_cache: false,
            stream_usage: true,
            headers: headers.to_vec(),
        }
    }

    fn plan<'a>(targets: Vec<PlannedTarget<'a>>, user_agent: Option<&'a str>) -> Plan<'a> {
        Plan {
            body_len: 4_194_304,
            model_span: 9..15,
            client: Dialect::CountTokens,
            stream: true,
            include_usage: false,
            has_reasoning: true,
            many_choices: true,
            tier: "fast",
            hold_answer: 7,
            attempt_timeout_ms: u64::MAX,
            user_agent,
            told: vec![("x-routing-tier", "fast")],
            targets,
        }
    }

    #[test]
    fn a_plan_survives_filter_state() {
        for plan in [
            plan(vec![], None),
            plan(
                vec![target("a", &[("x-a", "1"), ("x-b", "ü")]), target("", &[])],
                Some("sdk"),
            ),
        ] {
            let mut bytes = plan.encode();
            assert!(!is_retry(&bytes));
            assert_eq!(
                Plan::decode(&bytes),
                Some((plan.clone(), Attempts::default()))
            );
            for (begun, outcomes) in [(1, "openai=503"), (2, "openai=503, anthropic=200")] {
                let written = Attempts {
                    begun,
                    target: begun - 1,
                    next: begun + 1,
                    outcomes: outcomes.to_owned(),
                };
                set_attempts(&mut bytes, &written);
                assert!(is_retry(&bytes));
                assert_eq!(attempts(&bytes).as_ref(), Some(&written));
                assert_eq!(Plan::decode(&bytes), Some((plan.clone(), written)));
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let good = plan(vec![target("a", &[])], None).encode();
        for end in 0..good.len() {
            assert_eq!(Plan::decode(good.get(..end).expect("a prefix")), None);
        }
        for (at, byte) in [(0, VERSION + 1), (4, 0), (4, 255)] {
            let mut other = good.clone();
            other[at] = byte;
            assert_eq!(Plan::decode(&other), None, "{at} {byte}");
        }
        let not_text = [good.as_slice(), b"\xff"].concat();
        assert_eq!(Plan::decode(&not_text), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..200, to: u8) {
            let _ = Plan::decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = Plan::decode(&bytes);
            set_attempts(&mut bytes, &Attempts::default());
            let _ = Plan::read(&bytes);
            let mut good = plan(vec![target("a", &[("x", "y")])], None).encode();
            if let Some(byte) = good.get_mut(at) {
                *byte = to;
            }
            let _ = Plan::decode(&good);
        }
    }
}
