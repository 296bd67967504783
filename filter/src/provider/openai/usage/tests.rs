//! Whole answers as providers send them, and what is read of their usage.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::fixtures::{self, check_source};
use crate::provider::judge::{OneShot, read_one_shot};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    answer: Box<RawValue>,
    usage: Expected,
}

/// What is not named is 0.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(in crate::provider) struct Expected {
    prompt: u64,
    completion: u64,
    cached: u64,
    cache_write: u64,
    reasoning: u64,
}

impl From<Expected> for Usage {
    fn from(expected: Expected) -> Self {
        Usage {
            prompt: expected.prompt,
            completion: expected.completion,
            cached: expected.cached,
            cache_write: expected.cache_write,
            reasoning: expected.reasoning,
        }
    }
}

#[test]
fn answers() {
    for (name, case) in fixtures::read::<Case>("openai/usage", 23) {
        check_source(&name, &case.source);
        let read = read_one_shot(case.answer.get().as_bytes());
        assert_eq!(read, (OneShot::Good, case.usage.into()), "{name}");
    }
}

#[test]
fn no_object() {
    for json in ["", "null", "1", "\"x\"", "[]", "{", "{\"prompt_tokens\":1"] {
        assert_eq!(read(json), None, "{json}");
    }
}

#[test]
fn an_error_may_say_what_it_cost() {
    let body = br#"{"error":{"message":"no"},"usage":{"prompt_tokens":3}}"#;
    let usage = Usage {
        prompt: 3,
        ..Usage::default()
    };
    assert_eq!(read_one_shot(body), (OneShot::Error, usage));
}

proptest! {
    #[test]
    fn counts_are_read_back(prompt: u64, completion: u64, cached: u64) {
        let json = format!(
            "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\
             \"prompt_tokens_details\":{{\"cached_tokens\":{cached}}}}}"
        );
        let usage = Usage { prompt, completion, cached, ..Usage::default() };
        prop_assert_eq!(read(&json), Some(usage));
    }

    #[test]
    fn no_panic(
        text in any::<String>(),
        value in r#"[-0-9.eE"\[\]{}:,a-z]{0,12}"#,
        key in "prompt_tokens(_details)?|total_tokens",
    ) {
        read(&text);
        read(&format!("{{\"{key}\":{value}}}"));
    }
}
