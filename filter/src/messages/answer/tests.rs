//! Whole chat completions, and the Messages that they become.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::chat::usage::Usage;
use crate::fixtures::cases;

/// `usage` as fixtures say it.
#[derive(Deserialize)]
pub(in crate::messages) struct Tokens {
    prompt: u64,
    completion: u64,
    cached: u64,
    cache_write: u64,
    reasoning: u64,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self {
            prompt: tokens.prompt,
            completion: tokens.completion,
            cached: tokens.cached,
            cache_write: tokens.cache_write,
            reasoning: tokens.reasoning,
        }
    }
}

#[derive(Deserialize)]
struct Case<'a> {
    source: String,
    #[serde(default)]
    model: String,
    /// The completion, byte for byte.
    #[serde(borrow)]
    chat: Option<&'a RawValue>,
    /// In its place: what is no JSON.
    body: Option<String>,
    /// Absent where there is none to be had.
    message: Option<Value>,
    tokens: Option<Tokens>,
    /// Bytes that the Message holds.
    #[serde(default)]
    verbatim: Vec<String>,
}

#[test]
fn fixtures() {
    for (name, json) in cases("messages/answer", 50) {
        let case: Case<'_> = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(case.source.starts_with("https://"), "{name}");
        let body = case
            .body
            .unwrap_or_else(|| case.chat.unwrap().get().to_owned());
        let answer = from_chat(body.as_bytes(), &case.model);
        let Some(message) = case.message else {
            assert_eq!(answer, Err(NoAnswer), "{name}");
            continue;
        };
        let answer = answer.unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = String::from_utf8(answer.body).unwrap();
        let given: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(given, message, "{name}");
        if let Some(tokens) = case.tokens {
            assert_eq!(answer.usage, tokens.into(), "{name}");
        }
        for verbatim in case.verbatim {
            assert!(text.contains(&verbatim), "{name}: {text}");
        }
    }
}

#[test]
fn deep_nesting_is_copied_or_refused() {
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
    let chat = |arguments: &str| {
        format!(
            r#"{{"choices":[{{"message":{{"tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]}}}}]}}"#
        )
    };
    let nested = deep("{\"a\":", "}");
    let text = serde_json::to_string(&nested).unwrap();
    for arguments in [nested.as_str(), &text] {
        let answer = from_chat(chat(arguments).as_bytes(), "").unwrap();
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains(&nested));
    }
    assert!(from_chat(chat(&deep("[", "]")).as_bytes(), "").is_ok());
    assert_eq!(from_chat("[".repeat(100_000).as_bytes(), ""), Err(NoAnswer));
    assert_eq!(
        from_chat("{\"choices\":".repeat(100_000).as_bytes(), ""),
        Err(NoAnswer)
    );
}

/// A mended fault: a call's id went to the client as the provider wrote it, and Anthropic refused the conversation when
/// the next turn went there.
#[test]
fn ids_of_tool_uses_are_such_as_anthropic_takes() {
    let id = |call: Option<&str>, completion: &str| {
        let id = |id: &str| format!(r#""id":{},"#, serde_json::to_string(id).unwrap());
        let body = format!(
            r#"{{{}"choices":[{{"message":{{"tool_calls":[{{{}"function":{{"name":"f","arguments":"{{}}"}}}}]}}}}]}}"#,
            id(completion),
            call.map_or_else(String::new, id),
        );
        let message = from_chat(body.as_bytes(), "m").unwrap().body;
        let message: Value = serde_json::from_slice(&message).unwrap();
        message["content"][0]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(id(Some("call_A-1"), "c"), "call_A-1");
    assert_eq!(id(None, "c-1"), "toolu_c-1_0");
    let odd = [
        "functions.get:0",
        "functions.get_0",
        "functions_get:0",
        "a b",
        "ü",
        "a\"b\\n",
        "call|1",
    ];
    let clean = |id: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        !id.is_empty() && id.chars().all(fits)
    };
    let mut given: Vec<_> = odd.iter().map(|odd| id(Some(odd), "c")).collect();
    given.extend(odd.iter().map(|odd| id(None, odd)));
    assert!(given.iter().all(|id| clean(id)), "{given:?}");
    assert!(given[0].starts_with("functions_get_0_"), "{given:?}");
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 2 * odd.len(), "{given:?}");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = from_chat(&bytes, "m");
    }

    /// A fixture with bytes changed is a Message, or none.
    #[test]
    fn damaged_answers_are_messages_or_none(
        case in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        damage in proptest::collection::vec(any::<u8>(), 1..4),
    ) {
        let cases = cases("messages/answer", 40);
        let (_, json) = case.get(&cases);
        let case: Case<'_> = serde_json::from_str(json).unwrap();
        let mut body = case.body.unwrap_or_else(|| case.chat.unwrap().get().to_owned()).into_bytes();
        let at = at.index(body.len());
        let end = (at + damage.len()).min(body.len());
        body.splice(at..end, damage);
        if let Ok(answer) = from_chat(&body, "m") {
            let _: &RawValue = serde_json::from_slice(&answer.body).unwrap();
        }
    }
}
