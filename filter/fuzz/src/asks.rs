//! What a translated request is asked with.

use pointsman::policy::Unsupported;
use pointsman::provider::translate::{Ask, Told};

use crate::pick;

/// One model for each set of rules that the translation knows.
pub const ANTHROPIC: [&str; 9] = [
    "claude-haiku-4-5",
    "claude-sonnet-4-0",
    "claude-sonnet-4-6",
    "claude-opus-4-6",
    "claude-opus-4-8",
    "claude-sonnet-5",
    "claude-opus-5-5",
    "claude-fable-5-2",
    "claude-3-5-haiku-latest",
];

/// One model for each family.
pub const GEMINI: [&str; 6] = [
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "gemini-3.1-pro-preview",
    "gemini-2.0-flash",
    "gemini-flash-latest",
];

/// Set: the gateway refuses what has no counterpart.
pub const REFUSE: u8 = 1;

pub const TOLD: Told<'static> = Told {
    created: 1_700_000_000,
    model: "m",
    include_usage: false,
};

pub fn unsupported(flags: u8) -> Unsupported {
    match flags & REFUSE {
        0 => Unsupported::Drop,
        _ => Unsupported::Refuse,
    }
}

pub fn ask<'a>(models: &[&'a str], model: u8, flags: u8) -> Ask<'a> {
    Ask {
        model: pick(models, model),
        stream: flags & 2 != 0,
        max_tokens: pick(&[4096, 1, 1024, 1025, 64_000, u32::MAX], flags >> 3),
        unsupported: unsupported(flags),
        prompt_cache: flags & 4 != 0,
    }
}

/// Each parameter is named once.
pub fn check_dropped(dropped: &[&str]) {
    for (at, name) in dropped.iter().enumerate() {
        assert!(!dropped[..at].contains(name), "{name} is named twice");
    }
}
