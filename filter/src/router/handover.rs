//! Handover: a plan as bytes, from the router role to each attempt, through filter state.
//!
//! Pure. Decoding borrows, so that an attempt copies only what it sends. Both roles are one binary: bytes of another
//! version, or of another filter, are refused.

use std::borrow::Cow;

use super::plan::{MAX_ATTEMPTS, Plan, PlannedTarget};
use crate::policy::Api;

/// The first byte; changes with the layout.
const VERSION: u8 = 1;

/// Headers that one target may have at most.
const MAX_HEADERS: usize = 256;

// Numbers are u64 in little-endian order; a string is its length and its bytes; `user_agent` absent is empty.

impl Plan<'_> {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.push(VERSION);
        for number in [
            self.body_len,
            self.model_span.start,
            self.model_span.end,
            usize::from(self.stream),
            self.hold_answer,
        ] {
            push_number(number, &mut out);
        }
        out.extend_from_slice(&self.attempt_timeout_ms.to_le_bytes());
        push_text(self.user_agent.unwrap_or_default(), &mut out);
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
            });
            push_number(target.headers.len(), &mut out);
            for (name, value) in &target.headers {
                push_text(name, &mut out);
                push_text(value, &mut out);
            }
        }
        out
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
    /// `None`: these are not the bytes of a plan.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        if rest.byte()? != VERSION {
            return None;
        }
        let body_len = rest.number()?;
        let model_span = rest.number()?..rest.number()?;
        let stream = rest.number()? == 1;
        let hold_answer = rest.number()?;
        let attempt_timeout_ms = rest.long()?;
        let user_agent = rest.text()?;
        let count = rest.number().filter(|count| *count <= MAX_ATTEMPTS)?;
        let mut targets = Vec::with_capacity(count);
        for _ in 0..count {
            targets.push(rest.target()?);
        }
        rest.0.is_empty().then_some(Plan {
            body_len,
            model_span,
            stream,
            hold_answer,
            attempt_timeout_ms,
            user_agent: (!user_agent.is_empty()).then_some(user_agent),
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

    fn target(&mut self) -> Option<PlannedTarget<'a>> {
        let provider = self.text()?;
        let cluster = self.text()?;
        let host = self.text()?;
        let path = Cow::Borrowed(self.text()?);
        let model = self.text()?;
        let sent_as = self.text()?;
        let api = match self.byte()? {
            0 => Api::OpenAi,
            _ => return None,
        };
        let count = self.number().filter(|count| *count <= MAX_HEADERS)?;
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            headers.push((self.text()?, self.text()?));
        }
        Some(PlannedTarget {
            provider,
            cluster,
            api,
            host,
            path,
            model,
            sent_as,
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
            api: Api::OpenAi,
            host: "h",
            path: Cow::Borrowed("/p"),
            model: name,
            sent_as: "s",
            headers: headers.to_vec(),
        }
    }

    fn plan<'a>(targets: Vec<PlannedTarget<'a>>, user_agent: Option<&'a str>) -> Plan<'a> {
        Plan {
            body_len: 4_194_304,
            model_span: 9..15,
            stream: true,
            hold_answer: 7,
            attempt_timeout_ms: u64::MAX,
            user_agent,
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
            assert_eq!(Plan::decode(&plan.encode()), Some(plan));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let good = plan(vec![target("a", &[])], None).encode();
        for end in 0..good.len() {
            assert_eq!(Plan::decode(good.get(..end).expect("a prefix")), None);
        }
        let longer = [good.as_slice(), b"x"].concat();
        assert_eq!(Plan::decode(&longer), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..200, to: u8) {
            let _ = Plan::decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = Plan::decode(&bytes);
            let mut good = plan(vec![target("a", &[("x", "y")])], None).encode();
            if let Some(byte) = good.get_mut(at) {
                *byte = to;
            }
            let _ = Plan::decode(&good);
        }
    }
}
