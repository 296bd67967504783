//! The names of the contract's headers, and what may stand in their values.
//!
//! Pure. A value that was cleaned is visible ASCII and single spaces, at most [`MAX_VALUE`] characters: no answer is
//! split and no log line is broken by what a model or a provider wrote.

/// Request: names the tier, and nothing is classified.
pub const LLM_POLICY: &str = "x-llm-policy";

pub const ROUTED_PROVIDER: &str = "x-routed-provider";
pub const ROUTED_MODEL: &str = "x-routed-model";
/// Per attempt `provider=outcome`, in order: `openai=503, anthropic=200`.
pub const ROUTED_ATTEMPTS: &str = "x-routed-attempts";
pub const ROUTING_TIER: &str = "x-routing-tier";
pub const ROUTING_REASON: &str = "x-routing-reason";
/// What decided: `header`, `model`, `rule`, `local`, `llm`, `cache` or `default`.
pub const ROUTING_SOURCE: &str = "x-routing-source";
pub const ROUTING_CONFIDENCE: &str = "x-routing-confidence";
/// Milliseconds, as `73ms`; absent where nothing was classified.
pub const CLASSIFICATION_TIME: &str = "x-classification-time";

/// Parameters of the request that the provider's format has no counterpart for, and that were left out; absent where none was.
pub const ROUTING_DROPPED: &str = "x-routing-dropped";

/// Targets that were not tried and why, `provider/model=why` each; absent where none was.
pub const ROUTING_SKIPPED: &str = "x-routing-skipped";

/// Every response header of the contract.
pub const RESPONSE: &[&str] = &[
    ROUTED_PROVIDER,
    ROUTED_MODEL,
    ROUTED_ATTEMPTS,
    ROUTING_TIER,
    ROUTING_REASON,
    ROUTING_SOURCE,
    ROUTING_CONFIDENCE,
    CLASSIFICATION_TIME,
    ROUTING_DROPPED,
    ROUTING_SKIPPED,
];

/// Characters of a header's value.
pub const MAX_VALUE: usize = 200;

/// Makes a text fit for a header: runs of anything but visible ASCII become one space, the ends are trimmed, and it
/// is cut at [`MAX_VALUE`] characters.
pub fn clean(value: &str) -> String {
    let mut cleaned = String::with_capacity(value.len().min(MAX_VALUE));
    for word in value
        .split(|c: char| !c.is_ascii_graphic())
        .filter(|word| !word.is_empty())
    {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        // Only ASCII is in here: bytes are characters.
        let room = MAX_VALUE.saturating_sub(cleaned.len());
        cleaned.push_str(word.get(..room).unwrap_or(word));
        if cleaned.len() >= MAX_VALUE {
            break;
        }
    }
    cleaned.truncate(cleaned.trim_end().len());
    cleaned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cleaned() {
        for (value, expected) in [
            ("", ""),
            (" \t\r\n ", ""),
            (
                "plain words, {\"and\": signs}~!",
                "plain words, {\"and\": signs}~!",
            ),
            ("  a  b  ", "a b"),
            ("a\r\nset-cookie: b", "a set-cookie: b"),
            ("a\u{0}\u{7f}\u{1f682}\u{200b}b", "a b"),
            ("na\u{ef}ve", "na ve"),
            ("\u{e9}", ""),
        ] {
            assert_eq!(clean(value), expected, "{value:?}");
        }
    }

    #[test]
    fn cut() {
        assert_eq!(clean(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(clean(&"x".repeat(10_000)), "x".repeat(200));
        assert_eq!(
            clean(&format!("{} y", "x".repeat(198))),
            format!("{} y", "x".repeat(198))
        );
        assert_eq!(clean(&format!("{} y", "x".repeat(199))), "x".repeat(199));
        assert_eq!(clean(&format!("{} y", "x".repeat(200))), "x".repeat(200));
    }

    #[test]
    fn names_are_lower_case() {
        for name in RESPONSE.iter().chain([&LLM_POLICY]) {
            assert_eq!(**name, name.to_ascii_lowercase());
        }
    }

    proptest! {
        #[test]
        fn holds_for_any_text(value in any::<String>()) {
            let cleaned = clean(&value);
            prop_assert!(cleaned.len() <= MAX_VALUE);
            prop_assert!(cleaned.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
            prop_assert_eq!(cleaned.trim(), &cleaned);
            prop_assert!(!cleaned.contains("  "));
            prop_assert_eq!(clean(&cleaned), cleaned);
        }
    }
}
