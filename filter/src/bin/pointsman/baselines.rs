//! Baselines: what needs no model. A classifier that does not beat them is not worth its bytes.

use anyhow::{Context, Result};

use crate::data::Sample;
use crate::report::Judged;

/// Steps of the length's logarithm (base 2, of characters) that are told apart.
const LENGTHS: usize = 16;

/// A few words that anybody would try first, by the tier that they suggest; the strongest that is found counts.
const KEYWORDS: [(&str, &[&str]); 3] = [
    (
        "reasoning",
        &[
            "prove",
            "proof",
            "solve",
            "calculate",
            "how many",
            "probability",
            "puzzle",
            "equation",
        ],
    ),
    (
        "quality",
        &[
            "```",
            "code",
            "function",
            "bug",
            "refactor",
            "implement",
            "architecture",
            "analyze",
            "contract",
        ],
    ),
    (
        "balanced",
        &[
            "write", "explain", "draft", "plan", "compare", "suggest", "describe", "ideas",
            "story", "email",
        ],
    ),
];

pub struct Baselines {
    majority: usize,
    by_length: [usize; LENGTHS],
    /// The tiers of [`KEYWORDS`], and the one where none is found.
    by_keyword: [usize; KEYWORDS.len()],
    otherwise: usize,
}

impl Baselines {
    /// Every tier counts the same, or the largest would be the answer everywhere. `place` says which of the `count` tiers a name is.
    pub fn fit(
        samples: &[Sample],
        count: usize,
        place: &dyn Fn(&str) -> Result<usize>,
    ) -> Result<Self> {
        let mut counts = vec![0.0f64; count];
        let mut by_length = vec![[0.0f64; LENGTHS]; count];
        for sample in samples {
            let tier = place(&sample.tier).with_context(|| sample.place.clone())?;
            counts[tier] += 1.0;
            by_length[tier][step(sample)] += 1.0;
        }
        let best = |of: &dyn Fn(usize) -> f64| {
            (0..count)
                .max_by(|a, b| of(*a).total_cmp(&of(*b)))
                .unwrap_or_default()
        };
        let fitted =
            std::array::from_fn(|step| best(&|tier| by_length[tier][step] / counts[tier].max(1.0)));
        // Where tiers have names of their own, the keywords mean the weakest.
        let named = |name: &str| place(name).unwrap_or_default();
        Ok(Baselines {
            majority: best(&|tier| counts[tier]),
            by_length: fitted,
            by_keyword: KEYWORDS.map(|(tier, _)| named(tier)),
            otherwise: named("fast"),
        })
    }

    /// The same samples, as each baseline decides them.
    pub fn judge(&self, samples: &[Sample], judged: &[Judged]) -> Vec<(&'static str, Vec<Judged>)> {
        let by = |guess: &dyn Fn(&Sample) -> usize| -> Vec<Judged> {
            let pairs = samples.iter().zip(judged);
            let judged = pairs.map(|(sample, judged)| Judged {
                guess: guess(sample),
                confidence: 1.0,
                is_decided: true,
                ..judged.clone()
            });
            judged.collect()
        };
        vec![
            ("length", by(&|sample| self.by_length[step(sample)])),
            ("majority", by(&|_| self.majority)),
            ("keywords", by(&|sample| self.by_keywords(sample))),
        ]
    }

    fn by_keywords(&self, sample: &Sample) -> usize {
        let talk = &sample.request.conversation;
        let text = format!("{} {}", talk.user, talk.user_end).to_lowercase();
        let found = KEYWORDS
            .iter()
            .zip(self.by_keyword)
            .find(|((_, words), _)| words.iter().any(|word| text.contains(word)));
        found.map_or(self.otherwise, |(_, tier)| tier)
    }
}

fn step(sample: &Sample) -> usize {
    let chars = sample.request.conversation.user_chars;
    usize::try_from(chars.max(1).ilog2())
        .unwrap_or_default()
        .min(LENGTHS - 1)
}
