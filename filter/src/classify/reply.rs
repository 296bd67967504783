//! Reply: the tier that the LLM classifier chose.
//!
//! A verdict always names a tier that was offered, spelt as it was offered. Whatever else comes back is a failure,
//! whose text never quotes the reply: a model may quote the prompt.

use serde::Deserialize;

/// Bytes of a reply that is read; a verdict takes a few hundred.
pub const MAX_BODY: usize = 64 * 1024;
/// Characters of a reason that are kept.
const MAX_REASON: usize = 1000;
/// Bytes of what may have been meant as a tier's name.
const MAX_WORD: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// One of those offered.
    pub tier: String,
    /// Raw: may hold anything, the prompt included.
    pub reason: Option<String>,
    /// `low`, `medium` or `high`.
    pub complexity: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("classifier answered more than 64 KiB")]
    TooLong,
    #[error("classifier answered no chat completion")]
    NotACompletion,
    #[error("classifier answered nothing")]
    Empty,
    #[error("classifier answered neither JSON nor a tier")]
    NotUnderstood,
    #[error("classifier answered an unknown tier")]
    UnknownTier,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    tier: String,
    reason: Option<String>,
    estimated_complexity: Option<String>,
}

/// Reads a chat completion whose content is the JSON asked for, that JSON in a code fence, or one tier's name.
pub fn parse(body: &[u8], offered: &[&str]) -> Result<Verdict, Failure> {
    if body.len() > MAX_BODY {
        return Err(Failure::TooLong);
    }
    let completion: Completion =
        serde_json::from_slice(body).map_err(|_| Failure::NotACompletion)?;
    let choice = completion
        .choices
        .into_iter()
        .next()
        .ok_or(Failure::NotACompletion)?;
    let content = choice.message.content.unwrap_or_default();
    let content = content.trim();
    if content.is_empty() {
        return Err(Failure::Empty);
    }
    let content = unfence(content).unwrap_or(content);
    if content.starts_with('{') {
        answer(content, offered)
    } else {
        word(content, offered)
    }
}

fn answer(content: &str, offered: &[&str]) -> Result<Verdict, Failure> {
    let answer: Answer = serde_json::from_str(content).map_err(|_| Failure::NotUnderstood)?;
    let tier = find(&answer.tier, offered).ok_or(Failure::UnknownTier)?;
    Ok(Verdict {
        tier,
        reason: answer
            .reason
            .map(|reason| reason.chars().take(MAX_REASON).collect())
            .filter(|reason: &String| !reason.is_empty()),
        complexity: answer
            .estimated_complexity
            .and_then(|found| find(&found, &["low", "medium", "high"])),
    })
}

fn word(content: &str, offered: &[&str]) -> Result<Verdict, Failure> {
    let tier = find(content, offered).ok_or_else(|| {
        let name = |c: char| c.is_alphanumeric() || "-_./:'\"`*".contains(c);
        if content.len() <= MAX_WORD && content.chars().all(name) {
            Failure::UnknownTier
        } else {
            Failure::NotUnderstood
        }
    })?;
    Ok(Verdict {
        tier,
        reason: None,
        complexity: None,
    })
}

/// What is between the fences: "```json\n…\n```", or on one line.
fn unfence(content: &str) -> Option<&str> {
    let inner = content.strip_prefix("```")?.strip_suffix("```")?;
    let language = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '-';
    let text = match inner.split_once('\n') {
        Some((first, rest)) if first.trim().chars().all(language) => rest,
        _ => inner.strip_prefix("json").unwrap_or(inner),
    };
    Some(text.trim())
}

/// The exact name, or else the one that differs in case, quotes or a trailing dot.
fn find(said: &str, offered: &[&str]) -> Option<String> {
    let exact = said.trim();
    let bare = exact
        .trim_end_matches('.')
        .trim_matches(['"', '\'', '`', '*'])
        .trim_end_matches('.')
        .trim();
    let mut tries = [exact, bare].into_iter();
    tries
        .find_map(|said| offered.iter().find(|name| **name == said))
        .or_else(|| {
            offered
                .iter()
                .find(|name| name.to_lowercase() == bare.to_lowercase())
        })
        .map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const OFFERED: &[&str] = &["fast", "reasoning", "Deep.Think", "FAST-2"];

    fn completion(content: &str) -> Vec<u8> {
        json!({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn verdicts() {
        let check = |content: &str, expected: (&str, Option<&str>, Option<&str>)| {
            let verdict = parse(&completion(content), OFFERED).expect(content);
            let found = (
                verdict.tier.as_str(),
                verdict.reason.as_deref(),
                verdict.complexity.as_deref(),
            );
            assert_eq!(found, expected, "{content}");
        };
        let whole = ("fast", Some("short"), Some("low"));
        check(
            r#"{"tier":"fast","reason":"short","estimated_complexity":"low"}"#,
            whole,
        );
        check(
            "\n {\"estimated_complexity\":\"LOW\", \"x\": [1], \"reason\":\"short\",\"tier\":\" Fast \"} \n",
            whole,
        );
        check(
            "```json\n{\"tier\":\"fast\",\"reason\":\"short\",\"estimated_complexity\":\"low\"}\n```",
            whole,
        );
        check(
            "```\n{\"tier\":\"fast\",\"reason\":\"short\",\"estimated_complexity\":\"low\"}\n```\n",
            whole,
        );
        check(
            "```json {\"tier\":\"fast\",\"reason\":\"short\",\"estimated_complexity\":\"low\"}```",
            whole,
        );
        check(
            "```{\n\"tier\":\"fast\",\"reason\":\"short\",\"estimated_complexity\":\"low\"}```",
            whole,
        );
        check(r#"{"tier":"fast"}"#, ("fast", None, None));
        check(
            r#"{"tier":"fast","reason":null,"estimated_complexity":"huge"}"#,
            ("fast", None, None),
        );
        check(r#"{"tier":"fast","reason":""}"#, ("fast", None, None));
        for bare in [
            "fast",
            " fast\n",
            "Fast",
            "\"fast\"",
            "'FAST'.",
            "`fast`",
            "fast.",
            "\"fast.\"",
            "**fast**",
            "```\nfast\n```",
        ] {
            check(bare, ("fast", None, None));
        }
        check("deep.think.", ("Deep.Think", None, None));
        check("FAST-2", ("FAST-2", None, None));
    }

    #[test]
    fn exact_name_wins_over_another_case() {
        let check = |said: &str, expected: &str| {
            let verdict = parse(&completion(said), &["Fast", "fast"]).unwrap();
            assert_eq!(verdict.tier, expected);
        };
        check("fast", "fast");
        check("Fast", "Fast");
        check("\"fast\"", "fast");
        check("FAST", "Fast");
    }

    #[test]
    fn failures() {
        let check = |body: &[u8], expected: Failure| {
            assert_eq!(
                parse(body, OFFERED),
                Err(expected),
                "{}",
                String::from_utf8_lossy(body)
            );
            assert!(expected.to_string().starts_with("classifier answered "));
        };
        let content = |content: &str, expected: Failure| check(&completion(content), expected);
        for body in [
            &b""[..],
            b"fast",
            b"{}",
            b"[]",
            b"\xff",
            br#"{"choices":[]}"#,
            br#"{"choices":null}"#,
            br#"{"choices":[{}]}"#,
            br#"{"choices":[{"message":{"content":["fast"]}}]}"#,
            br#"{"error":{"message":"no"}}"#,
        ] {
            check(body, Failure::NotACompletion);
        }
        check(
            br#"{"choices":[{"message":{"content":null}}]}"#,
            Failure::Empty,
        );
        check(
            br#"{"choices":[{"message":{"role":"assistant","refusal":"no"}}]}"#,
            Failure::Empty,
        );
        content(" \n", Failure::Empty);
        content("slow", Failure::UnknownTier);
        content("", Failure::Empty);
        content("...", Failure::UnknownTier);
        content("```", Failure::UnknownTier);
        content(r#"{"tier":"slow"}"#, Failure::UnknownTier);
        content(r#"{"tier":""}"#, Failure::UnknownTier);
        for garbage in [
            r#"{"tier":"fast""#,
            r#"{"tier":"fast"} and more"#,
            r#"{"tier":["fast"]}"#,
            r#"{"reason":"fast"}"#,
            "I choose fast",
            "fast reasoning",
            "Sure:\n```json\n{\"tier\":\"fast\"}\n```",
            "```json\n{\"tier\":\"fast\"}",
        ] {
            content(garbage, Failure::NotUnderstood);
        }
        content(&"x".repeat(MAX_BODY), Failure::TooLong);
        content(&"[".repeat(10_000), Failure::NotUnderstood);
        content(&"{\"a\":".repeat(7_000), Failure::NotUnderstood);
        check(&b"[".repeat(10_000), Failure::NotACompletion);
        check(&br#"{"a":"#.repeat(10_000), Failure::NotACompletion);
    }

    #[test]
    fn long_reasons_are_cut_on_a_character() {
        let content = json!({"tier": "fast", "reason": "ä".repeat(5000)}).to_string();
        let verdict = parse(&completion(&content), OFFERED).unwrap();
        assert_eq!(verdict.reason, Some("ä".repeat(1000)));
    }

    proptest! {
        #[test]
        fn never_panics_and_only_names_what_was_offered(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            content in "[`{}\"a-zäß.* \n]{0,40}",
        ) {
            for body in [bytes, completion(&content)] {
                if let Ok(verdict) = parse(&body, OFFERED) {
                    prop_assert!(OFFERED.contains(&verdict.tier.as_str()));
                }
            }
        }
    }
}
