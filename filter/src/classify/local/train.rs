//! Train: weights from labelled conversations, native only.
//!
//! Deterministic: the same examples in the same order with the same seed give the same model, byte for byte, on machines with the
//! same `exp` and `ln`. Multinomial logistic regression, by AdaGrad <https://jmlr.org/papers/v12/duchi11a.html>, one example at a time.

use super::features::{Features, Input, MARKS};
use super::lexicon::Lexicon;
use super::model::{LENGTHS, MAX_LABELS, Model, PerLabel, bucket, length_of, normal, softmax};

/// What is learned from.
#[derive(Debug, Clone)]
pub struct Example {
    words: Vec<u32>,
    /// Those that are not 0.
    marks: Vec<(usize, f32)>,
    /// Of the message before, if there is one.
    previous: Option<Box<Example>>,
    length: usize,
    /// What it should be, summing to 1.
    pub wanted: PerLabel,
    /// What it counts.
    pub weight: f32,
}

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub seed: u64,
    pub epochs: usize,
    pub bits: u8,
    /// Step of the words' and of the marks' weights.
    pub rate: f32,
    /// How strongly weights are pulled to 0.
    pub decay: f32,
    /// The share of words that each pass over an example leaves out, so that none is relied on.
    pub dropout: f32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 1,
            epochs: 12,
            bits: 14,
            rate: 0.1,
            decay: 1e-4,
            dropout: 0.3,
        }
    }
}

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>, public domain.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f32 {
        (self.number() >> 40) as f32 / (1u64 << 24) as f32
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = (self.number() % (last as u64).saturating_add(1)) as usize;
            items.swap(last, other);
        }
    }
}

impl Example {
    pub fn new(input: &Input<'_>, lexicon: &Lexicon, wanted: PerLabel) -> Self {
        let mut features = Features::default();
        features.read(input, lexicon);
        let marks = features.marks.iter().enumerate();
        let marks = marks
            .filter(|(_, m)| **m != 0.0)
            .map(|(i, m)| (i, *m))
            .collect();
        let previous = (!input.previous.is_empty()).then(|| {
            Box::new(Example::new(
                &Input::of_text(input.previous),
                lexicon,
                PerLabel::default(),
            ))
        });
        Example {
            words: features.words,
            marks,
            previous,
            length: length_of(input.user_chars),
            wanted,
            weight: 1.0,
        }
    }
}

/// A model's weights while they are learned, and AdaGrad's sums.
struct Weights {
    count: usize,
    bits: u8,
    words: Vec<f32>,
    marks: Vec<f32>,
    bias: Vec<f32>,
    history: Vec<f32>,
    words_sums: Vec<f32>,
    marks_sums: Vec<f32>,
    bias_sums: Vec<f32>,
    history_sums: Vec<f32>,
}

impl Weights {
    fn new(count: usize, bits: u8) -> Self {
        let words = (1usize << bits) * count;
        let marks = MARKS * count;
        let history = LENGTHS * count * count;
        Weights {
            count,
            bits,
            words: vec![0.0; words],
            marks: vec![0.0; marks],
            bias: vec![0.0; count],
            history: vec![0.0; history],
            words_sums: vec![0.01; words],
            marks_sums: vec![0.01; marks],
            bias_sums: vec![0.01; count],
            history_sums: vec![0.01; history],
        }
    }

    fn bucket(&self, hash: u32) -> usize {
        bucket(hash, self.bits) * self.count
    }

    fn score(&self, example: &Example, words: &[u32]) -> PerLabel {
        let mut scores = PerLabel::default();
        scores[..self.count].copy_from_slice(&self.bias);
        let norm = normal(words.len());
        for hash in words {
            let from = self.bucket(*hash);
            for k in 0..self.count {
                scores[k] += self.words[from + k] * norm;
            }
        }
        for (mark, value) in &example.marks {
            for k in 0..self.count {
                scores[k] += self.marks[mark * self.count + k] * value;
            }
        }
        scores
    }

    fn step(weight: &mut f32, sum: &mut f32, gradient: f32, rate: f32, decay: f32) {
        let gradient = gradient + decay * *weight;
        *sum += gradient * gradient;
        *weight -= rate * gradient / sum.sqrt();
    }
}

/// Learns.
pub fn train(labels: &[String], examples: &[&Example], options: Options) -> Model {
    let count = labels.len().min(MAX_LABELS);
    let mut w = Weights::new(count, options.bits);
    let mut random = Random(options.seed);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut kept = Vec::new();
    for epoch in 0..options.epochs {
        random.shuffle(&mut order);
        let rate = options.rate * (1.0 - 0.8 * epoch as f32 / options.epochs as f32);
        for &at in &order {
            let example = examples[at];
            kept.clear();
            kept.extend(
                example
                    .words
                    .iter()
                    .filter(|_| random.unit() >= options.dropout),
            );
            let scores = w.score(example, &kept);
            let found = softmax(&scores, count, 1.0);
            let norm = normal(kept.len());
            for k in 0..count {
                let error = (found[k] - example.wanted[k]) * example.weight;
                Weights::step(&mut w.bias[k], &mut w.bias_sums[k], error, rate, 0.0);
                for hash in &kept {
                    let i = w.bucket(*hash) + k;
                    let (weight, sum) = (&mut w.words[i], &mut w.words_sums[i]);
                    Weights::step(weight, sum, error * norm, rate, options.decay);
                }
                for (mark, value) in &example.marks {
                    let i = mark * count + k;
                    let (weight, sum) = (&mut w.marks[i], &mut w.marks_sums[i]);
                    Weights::step(weight, sum, error * value, rate * 0.5, options.decay);
                }
            }
        }
    }
    learn_history(&mut w, examples, options);
    quantize(labels, &w)
}

/// The message before is judged by what was learned of single messages; what that means for the latest is learned after it.
fn learn_history(w: &mut Weights, examples: &[&Example], options: Options) {
    let with_history: Vec<(&Example, PerLabel, PerLabel)> = examples
        .iter()
        .filter_map(|example| {
            let previous = example.previous.as_deref()?;
            let before = softmax(&w.score(previous, &previous.words), w.count, 1.0);
            Some((*example, before, w.score(example, &example.words)))
        })
        .collect();
    let mut random = Random(options.seed);
    let mut order: Vec<usize> = (0..with_history.len()).collect();
    for _ in 0..options.epochs {
        random.shuffle(&mut order);
        for &at in &order {
            let (example, before, scores) = &with_history[at];
            let base = example.length * w.count * w.count;
            let mut scores = *scores;
            for j in 0..w.count {
                for k in 0..w.count {
                    scores[k] += before[j] * w.history[base + j * w.count + k];
                }
            }
            let found = softmax(&scores, w.count, 1.0);
            for k in 0..w.count {
                let error = (found[k] - example.wanted[k]) * example.weight;
                for j in 0..w.count {
                    let i = base + j * w.count + k;
                    let (weight, sum) = (&mut w.history[i], &mut w.history_sums[i]);
                    Weights::step(weight, sum, error * before[j], options.rate, options.decay);
                }
            }
        }
    }
}

fn quantize(labels: &[String], w: &Weights) -> Model {
    let mut scales = vec![0.0f32; w.count];
    for row in w.words.chunks_exact(w.count) {
        for (scale, weight) in scales.iter_mut().zip(row) {
            *scale = scale.max(weight.abs());
        }
    }
    for scale in &mut scales {
        *scale = (*scale / 127.0).max(1e-6);
    }
    let words = w.words.chunks_exact(w.count).flat_map(|row| {
        let scaled = row
            .iter()
            .zip(&scales)
            .map(|(weight, scale)| weight / scale);
        scaled.map(|x| x.round().clamp(-127.0, 127.0) as i8)
    });
    Model {
        labels: labels.to_vec(),
        bits: w.bits,
        temperature: 1.0,
        bias: w.bias.clone(),
        words: words.collect(),
        scales,
        marks: w.marks.clone(),
        history: w.history.clone(),
    }
}

impl Model {
    /// Probabilities for an example, as [`Model::read`] finds them for its conversation.
    pub fn predict(&self, example: &Example) -> PerLabel {
        softmax(
            &self.scores_of(example),
            self.labels.len(),
            self.temperature,
        )
    }

    /// Before the temperature.
    pub fn scores_of(&self, example: &Example) -> PerLabel {
        let mut scores = self.score(&example.features());
        if let Some(previous) = &example.previous {
            let before = self.score(&previous.features());
            let before = softmax(&before, self.labels.len(), 1.0);
            self.add_history(&mut scores, &before, example.length);
        }
        scores
    }
}

impl Example {
    fn features(&self) -> Features {
        let mut marks = vec![0.0; MARKS];
        for (at, value) in &self.marks {
            marks[*at] = *value;
        }
        Features {
            words: self.words.clone(),
            marks,
            traced: None,
        }
    }
}
