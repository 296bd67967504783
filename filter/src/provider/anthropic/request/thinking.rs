//! Thinking: reasoning effort, the limit of tokens, and the sampling parameters that thinking rules out.
//!
//! Where two wishes exclude each other the one that shapes the answer more is kept and the other is named: a forced
//! tool call and an opened answer before thinking, thinking before sampling parameters.
//! <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>

use serde::Serialize;

use super::fault::{Losses, Path, Read};
use super::read::{Body, number, text, tokens};
use super::rules::{Form, Off, Rules};

/// `thinking`, where it is not left to the model's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Thinking {
    Enabled {
        budget_tokens: u64,
    },
    Adaptive {
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<Display>,
    },
    Disabled,
    BetweenTools,
}

/// What of the thinking is to be read, where it is not the model's default.
/// <https://platform.claude.com/docs/en/build-with-claude/thinking>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Display {
    Summarized,
}

/// `output_config.effort`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Effort {
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    pub(super) thinking: Option<Thinking>,
    pub(super) effort: Option<Effort>,
    pub(super) max_tokens: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampling {
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
}

/// What in a request stands against thinking: all of it against a budget, a forced call against some models' other form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hindrances {
    /// `tool_choice` forces a call.
    pub(super) forced: bool,
    /// The conversation ends with the assistant's text.
    pub(super) prefilled: bool,
    /// A tool loop runs whose thinking blocks the client did not keep.
    pub(super) lost_blocks: bool,
}

/// What a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    None,
    Minimal,
    Some(Effort),
}

const EFFORT: Path<'_> = Path::top("reasoning_effort");
const EFFORT_NAME: &str = "reasoning_effort";
const NO_EFFECT: &str =
    "has no effect with a forced tool_choice or a last message of the assistant's; leave it out";

/// The least top_p that thinking allows.
/// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>
const THINKING_TOP_P: f64 = 0.95;
/// A top_p that models without sampling parameters take for the default.
/// <https://platform.claude.com/docs/en/about-claude/models/migration-guide>
const DEFAULT_TOP_P: f64 = 0.99;

/// Settles how much the model may think and write. `default_limit` is for clients that set no limit.
///
/// A budget is added to the client's limit, so that the answer keeps its room; where that is more than the model
/// writes, the limit becomes what it writes and the budget at most half of it. An effort has no number to add: there
/// the limit holds for thinking and answer together, as OpenAI's `max_completion_tokens` does.
pub(super) fn plan(
    body: &Body<'_>,
    rules: &Rules,
    default_limit: u32,
    hindrances: Hindrances,
    losses: &mut Losses,
) -> Read<Plan> {
    let limit = limit(body, default_limit)?;
    let plain = Plan {
        thinking: None,
        effort: None,
        max_tokens: limit,
    };
    let Some(asked) = asked(body, losses)? else {
        return Ok(plain);
    };
    match (rules.thinking, asked) {
        (Form::None | Form::Budget, Asked::None | Asked::Minimal) => Ok(plain),
        (Form::None, Asked::Some(_)) => {
            losses.lose(
                EFFORT_NAME,
                &EFFORT,
                "is not known to this model; leave it out",
            )?;
            Ok(plain)
        }
        (Form::Budget, Asked::Some(effort)) => budgeted(effort, rules, plain, hindrances, losses),
        (Form::Adaptive(_), Asked::Some(_)) if hindrances.forced && !rules.thinks_when_forced => {
            losses.lose(EFFORT_NAME, &EFFORT, NO_EFFECT)?;
            Ok(plain)
        }
        (Form::Adaptive(_), Asked::Some(effort)) => Ok(Plan {
            thinking: Some(Thinking::Adaptive {
                display: rules.omits_thinking.then_some(Display::Summarized),
            }),
            effort: Some(effort.known_to(rules)),
            ..plain
        }),
        (Form::Adaptive(off), _) => without_thinking(off, asked, plain, losses),
    }
}

fn budgeted(
    effort: Effort,
    rules: &Rules,
    plain: Plan,
    hindrances: Hindrances,
    losses: &mut Losses,
) -> Read<Plan> {
    if hindrances.lost_blocks {
        // Once per loop of a client that keeps no thinking blocks: to refuse it would end the loop.
        losses.note(EFFORT_NAME);
        return Ok(plain);
    }
    if hindrances.forced || hindrances.prefilled {
        losses.lose(EFFORT_NAME, &EFFORT, NO_EFFECT)?;
        return Ok(plain);
    }
    let budget = effort.budget();
    let wanted = plain.max_tokens.saturating_add(budget);
    let (budget_tokens, max_tokens) = if wanted <= rules.max_output {
        (budget, wanted)
    } else {
        let max_tokens = plain.max_tokens.max(rules.max_output);
        (budget.min(max_tokens.wrapping_shr(1)), max_tokens)
    };
    Ok(Plan {
        thinking: Some(Thinking::Enabled { budget_tokens }),
        effort: None,
        max_tokens,
    })
}

fn without_thinking(off: Off, asked: Asked, plain: Plan, losses: &mut Losses) -> Read<Plan> {
    let thinking = match off {
        Off::Omitted => None,
        Off::Disabled => Some(Thinking::Disabled),
        Off::BetweenTools => Some(Thinking::BetweenTools),
        Off::Never => {
            if asked == Asked::None {
                let words =
                    "cannot be none for this model, which always thinks; use minimal or low";
                losses.lose(EFFORT_NAME, &EFFORT, words)?;
            }
            return Ok(Plan {
                // Nobody asked to read it.
                thinking: Some(Thinking::Adaptive { display: None }),
                effort: Some(Effort::Low),
                ..plain
            });
        }
    };
    Ok(Plan { thinking, ..plain })
}

fn limit(body: &Body<'_>, default: u32) -> Read<u64> {
    for name in ["max_completion_tokens", "max_tokens"] {
        if let Some(raw) = body.get(name) {
            return tokens(raw, &Path::top(name));
        }
    }
    Ok(u64::from(default))
}

fn asked(body: &Body<'_>, losses: &mut Losses) -> Read<Option<Asked>> {
    let Some(raw) = body.get(EFFORT_NAME) else {
        return Ok(None);
    };
    let asked = match text(raw, &EFFORT)?.as_ref() {
        "none" => Asked::None,
        "minimal" => Asked::Minimal,
        "low" => Asked::Some(Effort::Low),
        "medium" => Asked::Some(Effort::Medium),
        "high" => Asked::Some(Effort::High),
        "xhigh" => Asked::Some(Effort::Xhigh),
        "max" => Asked::Some(Effort::Max),
        _ => {
            let words = "is none of none, minimal, low, medium, high, xhigh and max";
            losses.lose(EFFORT_NAME, &EFFORT, words)?;
            return Ok(None);
        }
    };
    Ok(Some(asked))
}

/// Temperature and top_p, as far as the model and the plan allow them.
///
/// OpenAI's temperature goes to 2, the Messages API's to 1: what is above 1 becomes 1, the most random that there is.
/// Where only one of the two is taken it is the temperature, as the API's documentation advises.
pub(super) fn sampling(
    body: &Body<'_>,
    rules: &Rules,
    plan: &Plan,
    losses: &mut Losses,
) -> Read<Sampling> {
    let read = |name| match body.get(name) {
        Some(raw) => number(raw, &Path::top(name)).map(Some),
        None => Ok(None),
    };
    // The default says nothing.
    let temperature = read("temperature")?
        .map(|t| t.clamp(0.0, 1.0))
        .filter(|&t| t < 1.0);
    let top_p = read("top_p")?
        .map(|p| p.clamp(0.0, 1.0))
        .filter(|&p| p < 1.0);
    let thinks = plan.thinks();
    let mut sampling = Sampling { temperature, top_p };
    if temperature.is_some() && (thinks || !rules.sampling) {
        let words = "must be 1 for this model, or where it thinks; leave it out";
        losses.lose("temperature", &Path::top("temperature"), words)?;
        sampling.temperature = None;
    }
    if let Some(p) = top_p {
        let words = if !rules.sampling {
            sampling.top_p = None;
            (p < DEFAULT_TOP_P).then_some("must be 1 for this model; leave it out")
        } else if thinks && p < THINKING_TOP_P {
            Some("must be at least 0.95 where the model thinks; leave it out")
        } else if sampling.temperature.is_some() && !rules.both_samplings {
            Some("cannot be set beside temperature for this model; leave one of them out")
        } else {
            None
        };
        if let Some(words) = words {
            losses.lose("top_p", &Path::top("top_p"), words)?;
            sampling.top_p = None;
        }
    }
    Ok(sampling)
}

// === impl Plan ===

impl Plan {
    fn thinks(&self) -> bool {
        matches!(
            self.thinking,
            Some(Thinking::Enabled { .. } | Thinking::Adaptive { .. })
        )
    }
}

// === impl Effort ===

impl Effort {
    /// Tokens of a thinking budget. The API's least is 1024, and past 32,000 it advises batches instead.
    /// <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>
    fn budget(self) -> u64 {
        match self {
            Self::Low => 1024,
            Self::Medium => 4096,
            Self::High => 16_384,
            Self::Xhigh | Self::Max => 32_000,
        }
    }

    fn known_to(self, rules: &Rules) -> Self {
        match self {
            Self::Xhigh if !rules.xhigh => Self::High,
            effort => effort,
        }
    }
}
