//! Rules: the policy's static rules, the first that matches.
//!
//! Pure. Every condition that a rule gives must hold; values are compared exactly, as bytes.

use std::fmt;

use crate::policy::{Rule, When};

/// What a rule may look at.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Without the query.
    pub path: &'a str,
    pub caller: &'a str,
    /// As the client named it.
    pub model: &'a str,
    /// A request header by its lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

/// The first rule that matches, and its place in the policy.
pub fn first_match<'p>(rules: &'p [Rule], facts: &Facts) -> Option<(usize, &'p Rule)> {
    rules
        .iter()
        .enumerate()
        .find(|(_, rule)| holds(&rule.when, facts))
}

fn holds(when: &When, facts: &Facts) -> bool {
    let equal = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
    equal(&when.path, facts.path)
        && equal(&when.caller, facts.caller)
        && when
            .model_prefix
            .as_ref()
            .is_none_or(|prefix| facts.model.starts_with(prefix.as_str()))
        && when.header.as_ref().is_none_or(|(name, wanted)| {
            (facts.header)(name).is_some_and(|found| {
                wanted
                    .as_ref()
                    .is_none_or(|wanted| wanted.as_bytes() == found)
            })
        })
}

// === impl Facts ===

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("path", &self.path)
            .field("caller", &self.caller)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::TierName;

    fn when() -> When {
        When::default()
    }

    fn header(name: &str, value: Option<&str>) -> When {
        When {
            header: Some((name.to_owned(), value.map(str::to_owned))),
            ..when()
        }
    }

    #[test]
    fn matches() {
        let facts = Facts {
            path: "/v1/chat/completions",
            caller: "team-a",
            model: "gpt-5-nano",
            header: &|name| match name {
                "x-task" => Some(b"summary"),
                "x-bytes" => Some(b"\xff"),
                "x-empty" => Some(b""),
                _ => None,
            },
        };
        let check = |whens: &[When], expected: Option<usize>| {
            let rules: Vec<_> = whens
                .iter()
                .map(|when| Rule {
                    when: when.clone(),
                    tier: TierName("fast".into()),
                })
                .collect();
            let found = first_match(&rules, &facts).map(|(i, _)| i);
            assert_eq!(found, expected, "{whens:?}");
        };
        let path = |p: &str| When {
            path: Some(p.into()),
            ..when()
        };
        let caller = |c: &str| When {
            caller: Some(c.into()),
            ..when()
        };
        let prefix = |m: &str| When {
            model_prefix: Some(m.into()),
            ..when()
        };

        check(&[], None);
        check(&[header("x-task", Some("summary"))], Some(0));
        check(&[header("x-task", None)], Some(0));
        check(&[header("x-task", Some("Summary"))], None);
        check(&[header("x-task", Some("summary "))], None);
        check(&[header("x-none", None)], None);
        check(&[header("x-none", Some(""))], None);
        check(&[header("x-empty", Some(""))], Some(0));
        check(&[header("x-bytes", None)], Some(0));
        check(&[header("x-bytes", Some("ÿ"))], None);
        check(&[path("/v1/chat/completions")], Some(0));
        check(&[path("/v1/chat")], None);
        check(&[caller("team-a")], Some(0));
        check(
            &[caller("team-b"), caller("team-a"), prefix("gpt")],
            Some(1),
        );
        check(&[prefix("gpt-5-nano")], Some(0));
        check(&[prefix("gpt-5-nano-2")], None);
        // Every condition given must hold.
        let both = When {
            caller: Some("team-b".into()),
            ..prefix("gpt")
        };
        check(&[both], None);
        let all = When {
            path: Some(facts.path.into()),
            caller: Some("team-a".into()),
            model_prefix: Some("gpt-".into()),
            ..header("x-task", None)
        };
        check(&[all], Some(0));
    }
}
