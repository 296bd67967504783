//! Model: a linear classifier over [`Features`], in a small versioned file.
//!
//! Pure. The words' weights are added as integers and the rest in one fixed order, with no function of the platform's, so
//! that the same conversation gets the same numbers natively and in Wasm.
//!
//! The file, little-endian: `PMLM`, version (u16), labels (u8), bits of the buckets' index (u8), each label (u8 length, UTF-8),
//! temperature (f32), biases (f32 a label), the words' scales (f32 a label), marks (f32, [`MARKS`] times labels), history (f32,
//! [`LENGTHS`] times labels times labels), words (i8, buckets times labels), and the FNV-1a hash of all before it (u64).

use super::features::{Features, Input, MARKS};
use super::lexicon::Lexicon;
use crate::fnv::Fnv64;

const MAGIC: &[u8; 4] = b"PMLM";
/// Counts up whenever what is hashed or counted changes.
const VERSION: u16 = 1;
pub const MAX_LABELS: usize = 8;
pub const MAX_LABEL_BYTES: usize = 64;
const MIN_BITS: u8 = 8;
const MAX_BITS: u8 = 18;
/// Steps of the latest message's length that its history is weighed by.
pub const LENGTHS: usize = 4;

/// Why a file is no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error("is no model: it does not begin with \"PMLM\"")]
    NoModel,
    #[error(
        "has version {0}, and this filter reads version {VERSION}; train it anew with this release"
    )]
    Version(u16),
    #[error("is cut short or changed: its checksum does not match")]
    Checksum,
    #[error("is malformed: {0}")]
    Malformed(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Tiers, the weakest first.
    pub labels: Vec<String>,
    pub bits: u8,
    /// Divides the scores, so that a probability is how often it is right.
    pub temperature: f32,
    pub bias: Vec<f32>,
    pub scales: Vec<f32>,
    /// By mark, then label.
    pub marks: Vec<f32>,
    /// By step of length, then the label of the message before, then label.
    pub history: Vec<f32>,
    /// By bucket, then label.
    pub words: Vec<i8>,
}

/// A number for each label; those beyond the labels are 0.
pub type PerLabel = [f32; MAX_LABELS];

// === impl Model ===

impl Model {
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        if bytes.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(ModelError::NoModel);
        }
        let after_magic = bytes.get(MAGIC.len()..).unwrap_or_default();
        let version = Reader(after_magic).u16()?;
        if version != VERSION {
            return Err(ModelError::Version(version));
        }
        let (body, sum) = bytes
            .len()
            .checked_sub(size_of::<u64>())
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(ModelError::Checksum)?;
        if sum != checksum(body).to_le_bytes() {
            return Err(ModelError::Checksum);
        }
        let head = MAGIC.len().saturating_add(size_of::<u16>());
        let mut read = Reader(body.get(head..).unwrap_or_default());
        let count = usize::from(read.u8()?);
        let bits = read.u8()?;
        if !(2..=MAX_LABELS).contains(&count) {
            return Err(ModelError::Malformed("it must have 2 to 8 labels"));
        }
        if !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(ModelError::Malformed("its buckets must be 2^8 to 2^18"));
        }
        let mut labels: Vec<String> = Vec::with_capacity(count);
        for _ in 0..count {
            let len = usize::from(read.u8()?);
            let label = std::str::from_utf8(read.take(len)?)
                .map_err(|_| ModelError::Malformed("a label is not UTF-8"))?;
            if label.is_empty() || len > MAX_LABEL_BYTES || labels.iter().any(|l| l == label) {
                return Err(ModelError::Malformed(
                    "a label is empty, too long or there twice",
                ));
            }
            labels.push(label.to_owned());
        }
        let temperature = read.floats(1)?.first().copied().unwrap_or_default();
        if temperature < 0.01 {
            return Err(ModelError::Malformed(
                "its temperature must be 0.01 at least",
            ));
        }
        let model = Model {
            bits,
            temperature,
            bias: read.floats(count)?,
            scales: read.floats(count)?,
            marks: read.floats(MARKS.saturating_mul(count))?,
            history: read.floats(LENGTHS.saturating_mul(count).saturating_mul(count))?,
            words: {
                let len = (1usize << bits).saturating_mul(count);
                read.take(len)?.iter().map(|&b| b.cast_signed()).collect()
            },
            labels,
        };
        if !read.0.is_empty() {
            return Err(ModelError::Malformed("it is longer than it says"));
        }
        Ok(model)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.push(u8::try_from(self.labels.len()).unwrap_or(u8::MAX));
        bytes.push(self.bits);
        for label in &self.labels {
            bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            bytes.extend(label.as_bytes());
        }
        let numbers = [self.temperature];
        let numbers = numbers
            .iter()
            .chain(&self.bias)
            .chain(&self.scales)
            .chain(&self.marks)
            .chain(&self.history);
        bytes.extend(numbers.flat_map(|n| n.to_le_bytes()));
        bytes.extend(self.words.iter().map(|w| w.cast_unsigned()));
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Probabilities of the labels for a conversation. `features` is working memory, and keeps what was read of the latest
    /// message.
    pub fn read(&self, input: &Input<'_>, lexicon: &Lexicon, features: &mut Features) -> PerLabel {
        let mut before = None;
        if !input.previous.is_empty() {
            features.read(&Input::of_text(input.previous), lexicon);
            before = Some(softmax(&self.score(features), self.labels.len(), 1.0));
        }
        features.read(input, lexicon);
        let mut scores = self.score(features);
        if let Some(before) = before {
            self.add_history(&mut scores, &before, length_of(input.user_chars));
        }
        softmax(&scores, self.labels.len(), self.temperature)
    }

    /// Of the features alone, before the temperature.
    pub fn score(&self, features: &Features) -> PerLabel {
        let count = self.labels.len().max(1);
        let mut scores = PerLabel::default();
        let mut sums = [0i32; MAX_LABELS];
        for hash in &features.words {
            let from = bucket(*hash, self.bits).wrapping_mul(count);
            if let Some(weights) = self.words.get(from..from.wrapping_add(count)) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = sum.wrapping_add(i32::from(*weight));
                }
            }
        }
        let norm = normal(features.words.len());
        for (((score, sum), scale), bias) in scores
            .iter_mut()
            .zip(sums)
            .zip(&self.scales)
            .zip(&self.bias)
        {
            *score = bias + sum as f32 * scale * norm;
        }
        for (mark, weights) in features.marks.iter().zip(self.marks.chunks_exact(count)) {
            if *mark != 0.0 {
                for (score, weight) in scores.iter_mut().zip(weights) {
                    *score += mark * weight;
                }
            }
        }
        scores
    }

    /// What the message before says, by how long the latest is.
    pub fn add_history(&self, scores: &mut PerLabel, before: &PerLabel, length: usize) {
        for (probability, weights) in before.iter().zip(self.history_of(length)) {
            for (score, weight) in scores.iter_mut().zip(weights) {
                *score += probability * weight;
            }
        }
    }

    /// By the label of the message before: its weights, where the latest is of this length.
    pub fn history_of(&self, length: usize) -> impl Iterator<Item = &[f32]> {
        let count = self.labels.len().max(1);
        let rows = self.history.chunks_exact(count);
        rows.skip(length.saturating_mul(count)).take(count)
    }
}

/// A word's place among the 2^`bits` buckets: the upper bits of its hash.
pub fn bucket(hash: u32, bits: u8) -> usize {
    let shift = 32u32.saturating_sub(u32::from(bits));
    usize::try_from(hash >> shift).unwrap_or_default()
}

/// What a sum over `words` is multiplied by: a text of many words is not surer for that.
pub fn normal(words: usize) -> f32 {
    1.0 / (words.max(1) as f32).sqrt()
}

/// The step of a message's length: a short one leans on what was before.
pub fn length_of(chars: usize) -> usize {
    let bounds = [15, 40, 120];
    bounds
        .iter()
        .position(|b| chars <= *b)
        .unwrap_or(bounds.len())
}

/// Probabilities from the first `count` scores.
pub fn softmax(scores: &PerLabel, count: usize, temperature: f32) -> PerLabel {
    let most = scores.iter().take(count).copied().fold(f32::MIN, f32::max);
    let mut found = PerLabel::default();
    let mut sum = 0.0f32;
    for (p, score) in found.iter_mut().zip(scores).take(count) {
        *p = exp((score - most) / temperature);
        sum += *p;
    }
    for p in &mut found {
        *p /= sum;
    }
    found
}

/// e to the power of `x`, for `x` up to 0, by additions and multiplications only: a platform's own differs in the last bits.
///
/// e^x = (e^(x/1024))^1024, the inner one by four terms of its series; the relative error is below 1e-4 for x > -30.
fn exp(x: f32) -> f32 {
    let x = f64::from(x.max(-80.0)) / 1024.0;
    let mut e = 1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x / 24.0)));
    for _ in 0..10 {
        e *= e;
    }
    e as f32
}

/// It finds accidents, not forgeries: whoever may write the policy may write a model.
fn checksum(bytes: &[u8]) -> u64 {
    Fnv64::default().bytes(bytes).0
}

/// What is left of a file.
struct Reader<'a>(&'a [u8]);

// === impl Reader ===

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], ModelError> {
        let (taken, left) = self
            .0
            .split_at_checked(len)
            .ok_or(ModelError::Malformed("it is shorter than it says"))?;
        self.0 = left;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, ModelError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn u16(&mut self) -> Result<u16, ModelError> {
        let bytes = self.take(2)?.try_into().unwrap_or_default();
        Ok(u16::from_le_bytes(bytes))
    }

    /// None of them infinite or not a number.
    fn floats(&mut self, count: usize) -> Result<Vec<f32>, ModelError> {
        let bytes = self.take(count.saturating_mul(4))?;
        let (numbers, _) = bytes.as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if numbers.iter().any(|n| !n.is_finite() || n.abs() > 1e6) {
            return Err(ModelError::Malformed("a number is out of range"));
        }
        Ok(numbers)
    }
}
