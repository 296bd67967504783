//! Rules: what a Claude model takes, read from its name.
//!
//! The Messages API has one format, but each generation of models refuses some of it with a 400. A name that says no
//! version is taken for a model newer than this table: the newest refuse the most, so that a request made for them is
//! refused least.

/// What differs from model to model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) thinking: Form,
    /// `output_config.effort` knows `xhigh`. <https://platform.claude.com/docs/en/build-with-claude/effort>
    pub(super) xhigh: bool,
    /// Sends signatures and no text of its thinking unless `thinking.display` is `summarized`: from Claude 4.7 on. Those
    /// before it summarize by default.
    /// <https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-7#thinking-content-omitted-by-default>
    pub(super) omits_thinking: bool,
    /// Thinks beside a `tool_choice` that forces a call, if it takes one. The general rule is that none does
    /// (<https://platform.claude.com/docs/en/build-with-claude/thinking-tool-workflows>), but from Claude 4.8 on they were
    /// seen to (<https://github.com/langchain-ai/langchain-aws/pull/1141>), and Opus 5, which thinks by default, is said to
    /// have taken what Opus 5.5 refuses.
    pub(super) thinks_when_forced: bool,
    /// Goes on from an assistant's last message: up to Claude 4.5; the others answer 400.
    /// <https://platform.claude.com/docs/en/api/errors#prefill-not-supported>
    pub(super) prefill: bool,
    /// Takes `temperature` and `top_p` other than their defaults: up to Claude 4.6.
    /// <https://platform.claude.com/docs/en/about-claude/models/migration-guide>
    pub(super) sampling: bool,
    /// Takes both of them at once: up to Claude 4.
    /// <https://platform.claude.com/docs/en/models/haiku-4-5/migration-guide>
    pub(super) both_samplings: bool,
    /// Takes a `tool_choice` that forces a call.
    /// <https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5#forced-tool-use-is-not-supported>
    pub(super) forced_tools: bool,
    /// Takes `output_config.format` and a tool's `strict`.
    /// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>
    pub(super) structured: bool,
    /// Tokens of the longest answer, thinking included; of interest where thinking has a budget.
    /// <https://platform.claude.com/docs/en/about-claude/models/overview>
    pub(super) max_output: u64,
}

/// How thinking is asked for. <https://platform.claude.com/docs/en/build-with-claude/thinking>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Before Claude 3.7 there is none.
    None,
    /// `enabled` with a budget of tokens, up to Claude 4.5; off where it is not asked for.
    Budget,
    /// `adaptive` with an effort, from Claude 4.6 on.
    Adaptive(Off),
}

/// How a model of the adaptive form is asked not to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Off {
    /// By saying nothing.
    Omitted,
    /// Thinks unless told `disabled`, which Claude 5 takes with an effort of at most `high`, or with none.
    /// <https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5#thinking-cant-be-disabled>
    Disabled,
    /// Thinks unless told `between_tools`.
    /// <https://platform.claude.com/docs/en/models/sonnet-5-5/whats-new-sonnet-5-5>
    BetweenTools,
    /// Always thinks.
    /// <https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5#thinking-cant-be-disabled>
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Opus,
    Sonnet,
    Haiku,
    /// Fable and Mythos, which are one in what they take.
    Fable,
    Other,
}

/// Major and minor.
type Version = (u8, u8);

const NEWER: Version = (u8::MAX, 0);

// === impl Rules ===

impl Rules {
    pub(super) fn of(model: &str) -> Self {
        let family = family(model);
        let version = version(model).unwrap_or(NEWER);
        Self {
            thinking: thinking(family, version),
            xhigh: version >= (4, 7),
            omits_thinking: version >= (4, 7),
            thinks_when_forced: version >= (4, 8),
            prefill: version < (4, 6),
            sampling: version < (4, 7),
            both_samplings: version < (4, 1),
            forced_tools: match family {
                Family::Fable => version < (5, 1),
                Family::Haiku => version <= (5, 5),
                _ => version < (5, 5),
            },
            structured: version >= (4, 1),
            max_output: match (family, version) {
                (Family::Opus, (4, 0 | 1)) => 32_000,
                _ => 64_000,
            },
        }
    }
}

fn thinking(family: Family, version: Version) -> Form {
    match version {
        _ if version < (3, 7) => Form::None,
        _ if version < (4, 6) => Form::Budget,
        _ if version < (5, 0) => Form::Adaptive(Off::Omitted),
        _ => Form::Adaptive(match family {
            Family::Opus | Family::Sonnet | Family::Haiku if version < (5, 5) => Off::Disabled,
            Family::Haiku if version == (5, 5) => Off::Disabled,
            Family::Sonnet if version == (5, 5) => Off::BetweenTools,
            _ => Off::Never,
        }),
    }
}

fn parts(model: &str) -> impl Iterator<Item = &str> {
    model.split(['-', '.', '@', '/', ':'])
}

fn family(model: &str) -> Family {
    parts(model)
        .find_map(|part| match part {
            "opus" => Some(Family::Opus),
            "sonnet" => Some(Family::Sonnet),
            "haiku" => Some(Family::Haiku),
            "fable" | "mythos" => Some(Family::Fable),
            _ => None,
        })
        .unwrap_or(Family::Other)
}

/// `claude-3-7-sonnet-20250219` is 3.7, `claude-sonnet-4-20250514` is 4.0: a date is longer than a version.
/// <https://platform.claude.com/docs/en/about-claude/models/model-ids-and-versions>
fn version(model: &str) -> Option<Version> {
    let number = |part: &str| -> Option<u8> {
        (part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse().ok())
            .flatten()
    };
    let mut parts = parts(model);
    let major = parts.find_map(number)?;
    let minor = parts.next().and_then(number).unwrap_or(0);
    Some((major, minor))
}
