//! Thinking: `reasoning_effort` as the thinking of the model that is asked.
//!
//! The models differ in how they are told, and refuse the other way, so this goes by the model's name.

use super::chat::Chat;
use super::fault::{Losses, Refused};
use super::wire::{ThinkingConfig, ThinkingLevel};

/// How a model is told how much to think: <https://ai.google.dev/gemini-api/docs/thinking>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Gemini 2.5: a budget of tokens. `least`: 2.5 Pro cannot but think.
    Budget { least: u32 },
    /// Gemini 3 and what came after it, and the `-latest` names, which point there: a level.
    Level { pro: bool, medium: ThinkingLevel },
    /// Before 2.5, or not known: cannot be told.
    Untold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
}

/// The model's name may have a path before it, as `publishers/google/models/` on Vertex AI.
pub(super) fn family(model: &str) -> Family {
    let name = model.rsplit('/').next().unwrap_or(model);
    let Some(name) = name.strip_prefix("gemini-") else {
        return Family::Untold;
    };
    let pro = name.contains("pro");
    if name.starts_with("2.5") {
        return Family::Budget {
            least: if pro { 128 } else { 0 },
        };
    }
    let digits = name
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or_default();
    let major = digits.parse().unwrap_or(0u32);
    if major < 3 && !(digits.is_empty() && name.ends_with("-latest")) {
        return Family::Untold;
    }
    Family::Level {
        pro,
        // The first of them, Gemini 3 Pro, knows low and high only.
        medium: if name.starts_with("3-pro") {
            ThinkingLevel::High
        } else {
            ThinkingLevel::Medium
        },
    }
}

pub(super) fn read(
    chat: &Chat<'_>,
    family: Family,
    losses: &mut Losses,
) -> Result<Option<ThinkingConfig>, Refused> {
    let path = "reasoning_effort";
    let Some(effort) = chat.reasoning_effort.get(path, "must be a string")? else {
        return Ok(None);
    };
    let effort = match effort.as_ref() {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        // Nothing is above Gemini's high.
        "high" | "xhigh" | "max" => Effort::High,
        _ => {
            losses.lose(path, path)?;
            return Ok(None);
        }
    };
    if family == Family::Untold && effort != Effort::None {
        losses.lose(path, path)?;
    }
    Ok(config(family, effort))
}

/// The amounts are Google's own for the same words: <https://ai.google.dev/gemini-api/docs/openai#thinking>. Where a
/// model cannot do without thinking, `none` is its least.
fn config(family: Family, effort: Effort) -> Option<ThinkingConfig> {
    let mut config = ThinkingConfig {
        thinking_budget: None,
        thinking_level: None,
        include_thoughts: effort != Effort::None,
    };
    match family {
        Family::Untold => return None,
        Family::Budget { least } => {
            config.thinking_budget = Some(match effort {
                Effort::None => least,
                Effort::Minimal | Effort::Low => 1_024,
                Effort::Medium => 8_192,
                Effort::High => 24_576,
            });
        }
        Family::Level { pro, medium } => {
            config.thinking_level = Some(match effort {
                // Pro models start at low.
                Effort::None | Effort::Minimal if !pro => ThinkingLevel::Minimal,
                Effort::None | Effort::Minimal | Effort::Low => ThinkingLevel::Low,
                Effort::Medium => medium,
                Effort::High => ThinkingLevel::High,
            });
        }
    }
    Some(config)
}
