//! Why: what spoke for one label of a model against another, by name and weight.
//!
//! Native only, and pure. The names repeat words of the text: they are for whoever has the text anyway, never for a log or a header.

use super::features::{Features, Input};
use super::lexicon::Lexicon;
use super::model::{Model, bucket, length_of, normal, softmax};
use super::names::mark_name;

/// What a contribution is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words of the latest user message; all that is hashed of the same words is one contribution.
    Words,
    Mark,
    /// The user message before.
    History,
    /// How common each label is.
    Bias,
}

/// All contributions together are the natural logarithm of the one label's probability over the other's.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    pub kind: Kind,
    /// A mark's name, or words of the text.
    pub name: String,
    /// Above 0: it spoke for the label.
    pub weight: f32,
}

// === impl Kind ===

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Words => "words",
            Kind::Mark => "mark",
            Kind::History => "history",
            Kind::Bias => "bias",
        }
    }
}

/// What speaks for the label at `label` against the one at `other`, the weightiest first.
pub fn why(
    model: &Model,
    input: &Input<'_>,
    lexicon: &Lexicon,
    (label, other): (usize, usize),
) -> Vec<Contribution> {
    let count = model.labels.len().max(1);
    // A row of weights by label: what it says for the one and against the other.
    let between = |row: &[f32]| match (row.get(label), row.get(other)) {
        (Some(one), Some(two)) => (one - two) / model.temperature,
        _ => 0.0,
    };
    let mut found = vec![Contribution {
        kind: Kind::Bias,
        name: "how common the tiers are".to_owned(),
        weight: between(&model.bias),
    }];

    let mut features = Features {
        traced: Some(Vec::new()),
        ..Features::default()
    };
    if !input.previous.is_empty() {
        features.read(&Input::of_text(input.previous), lexicon);
        let before = softmax(&model.score(&features), count, 1.0);
        let rows = model.history_of(length_of(input.user_chars));
        let weight = rows.zip(before).map(|(row, p)| p * between(row)).sum();
        found.push(Contribution {
            kind: Kind::History,
            name: "the user message before".to_owned(),
            weight,
        });
    }

    features.read(input, lexicon);
    let marks = features.marks.iter().zip(model.marks.chunks_exact(count));
    for (index, (mark, row)) in marks.enumerate() {
        if *mark != 0.0 {
            found.push(Contribution {
                kind: Kind::Mark,
                name: mark_name(index),
                weight: mark * between(row),
            });
        }
    }

    let traced = features.traced.take().unwrap_or_default();
    let norm = normal(traced.len());
    let mut words: std::collections::BTreeMap<String, f32> = Default::default();
    for (hash, text) in traced {
        let mut weights = model.words.chunks_exact(count);
        let weights = weights.nth(bucket(hash, model.bits));
        let weights = weights.unwrap_or_default().iter().zip(&model.scales);
        let row: Vec<f32> = weights.map(|(w, scale)| f32::from(*w) * scale).collect();
        *words.entry(text).or_default() += norm * between(&row);
    }
    found.extend(words.into_iter().map(|(name, weight)| Contribution {
        kind: Kind::Words,
        name,
        weight,
    }));
    found.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    found
}

#[cfg(test)]
mod tests {
    use super::super::{built_in, lexicon};
    use super::*;

    /// Whatever is listed is all there is: it adds up to what the model says.
    #[test]
    fn contributions_add_up_to_the_odds() {
        let model = built_in().unwrap();
        for (user, previous) in [
            ("What is the capital of France?", ""),
            ("Prove that √2 is irrational, step by step.", ""),
            ("and now?", "Write a haiku about the sea."),
            ("素数が無限にあることを証明して", "hello"),
            ("", ""),
        ] {
            let input = Input {
                previous,
                user_chars: user.chars().count(),
                ..Input::of_text(user)
            };
            let read = model.read(&input, lexicon(), &mut Features::default());
            for (label, other) in [(0, 1), (3, 0), (2, 2)] {
                let found = why(&model, &input, lexicon(), (label, other));
                let sum: f32 = found.iter().map(|c| c.weight).sum();
                let odds = (read[label] / read[other]).ln();
                assert!((sum - odds).abs() < 0.01, "{user}: {sum} {odds}");
            }
        }
    }

    #[test]
    fn names_are_words_of_the_text_and_of_its_marks() {
        let model = built_in().unwrap();
        let found = why(&model, &Input::of_text("hello there"), lexicon(), (0, 3));
        let named = |kind: Kind| -> Vec<&str> {
            let mut names: Vec<&str> = found
                .iter()
                .filter(|c| c.kind == kind)
                .map(|c| &*c.name)
                .collect();
            names.sort_unstable();
            names
        };
        assert_eq!(named(Kind::Words), ["hello", "hello there", "there"]);
        assert!(named(Kind::Mark).contains(&"opening words: greet"));
        assert_eq!(named(Kind::Bias).len(), 1);
    }
}
