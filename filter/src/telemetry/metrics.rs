//! Metric names that carry their tags, as Envoy's `stats_tags` read them.
//!
//! Pure. A tag's value is bounded and cannot end the tag early; how many values there are is the caller's to bound:
//! take them from the policy, never from a request.

/// Characters of a tag's value: longer ones are cut.
pub const MAX_TAG_VALUE: usize = 64;

/// A metric's name behind its tags: `provider=.=openai;.model=.=gpt-5;.pointsman_attempts_total`.
///
/// Envoy reads each tag with a `stats_tags` regex such as `(provider=\.=(.*?);\.)`, and shows
/// `pointsman_attempts_total{provider="openai",model="gpt-5"}`. In a value `[A-Za-z0-9_-]` and the dot stay, anything
/// else becomes `_`. A dot is safe, though Envoy splits names at dots, because the regex runs over the whole name up
/// to `;.`: `gpt-4.1` stays `gpt-4.1` (seen on Envoy 1.40). Only at the end Envoy would lose it: there it is `_`.
pub fn metric_name(name: &str, tags: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(160);
    for (tag, value) in tags {
        out.push_str(tag);
        out.push_str("=.=");
        push_value(value, &mut out);
        out.push_str(";.");
    }
    out.push_str(name);
    out
}

fn push_value(value: &str, out: &mut String) {
    if value.is_empty() {
        // An empty label cannot be told from an absent one.
        out.push_str("unknown");
        return;
    }
    let is_kept = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let is_plain = value.len() <= MAX_TAG_VALUE && value.bytes().all(is_kept);
    if is_plain && !value.ends_with('.') {
        out.push_str(value);
        return;
    }
    let start = out.len();
    out.extend(value.chars().take(MAX_TAG_VALUE).map(|c| match c {
        'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' | '.' => c,
        _ => '_',
    }));
    let kept = out
        .get(start..)
        .unwrap_or_default()
        .trim_end_matches('.')
        .len();
    let dots = out.len().saturating_sub(start).saturating_sub(kept);
    out.truncate(start.saturating_add(kept));
    out.extend(std::iter::repeat_n('_', dots));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(tags: &[(&str, &str)], expected: &str) {
        assert_eq!(metric_name("pointsman_attempts_total", tags), expected);
    }

    #[test]
    fn names() {
        check(&[], "pointsman_attempts_total");
        check(
            &[("provider", "openai"), ("model", "gpt-5-nano")],
            "provider=.=openai;.model=.=gpt-5-nano;.pointsman_attempts_total",
        );
        check(
            &[("model", "gpt-4.1-mini")],
            "model=.=gpt-4.1-mini;.pointsman_attempts_total",
        );
        check(
            &[("model", "a.b..")],
            "model=.=a.b__;.pointsman_attempts_total",
        );
        check(&[("model", "...")], "model=.=___;.pointsman_attempts_total");
        check(
            &[("model", "meta/llama3:8b;.x=.=y")],
            "model=.=meta_llama3_8b_.x_._y;.pointsman_attempts_total",
        );
        check(
            &[("model", "")],
            "model=.=unknown;.pointsman_attempts_total",
        );
        check(
            &[("model", "a\n\u{e9}b")],
            "model=.=a__b;.pointsman_attempts_total",
        );
        check(
            &[("m", &"x".repeat(100))],
            &format!("m=.={};.pointsman_attempts_total", "x".repeat(64)),
        );
    }

    proptest! {
        /// What the regexes `(a=\.=(.*?);\.)` and `(b=\.=(.*?);\.)` would take out.
        #[test]
        fn tags_are_read_back(a in any::<String>(), b in any::<String>()) {
            let name = metric_name("total", &[("a", &a), ("b", &b)]);
            let rest = name.strip_prefix("a=.=").expect("first tag");
            let (a, rest) = rest.split_once(";.").expect("its end");
            let (b, rest) = rest.strip_prefix("b=.=").and_then(|rest| rest.split_once(";.")).expect("second tag");
            prop_assert_eq!(rest, "total");
            for value in [a, b] {
                prop_assert!((1..=MAX_TAG_VALUE).contains(&value.len()));
                prop_assert!(!value.ends_with('.') && !value.contains([';', '=']));
            }
        }
    }
}
