//! What the targets of the local classifier share.

use pointsman::classify::local::features::MARKS;
use pointsman::classify::local::model::{LENGTHS, Model, PerLabel};
use pointsman::fnv::Fnv64;

/// The smallest model that there is.
pub fn small() -> Model {
    const BITS: u8 = 8;
    Model {
        labels: vec!["a".to_owned(), "b".to_owned()],
        bits: BITS,
        temperature: 1.0,
        bias: vec![0.5, 0.0],
        scales: vec![0.01; 2],
        marks: vec![0.25; MARKS * 2],
        history: vec![0.125; LENGTHS * 4],
        words: vec![1; (1 << BITS) * 2],
    }
}

/// With the checksum of a model's file behind it.
pub fn signed(mut body: Vec<u8>) -> Vec<u8> {
    let sum = Fnv64::default().bytes(&body).0;
    body.extend(sum.to_le_bytes());
    body
}

/// Probabilities: finite, from 0 to 1, and 1 together; none beyond the labels.
pub fn is_shares(found: &PerLabel, labels: usize) -> bool {
    let (known, beyond) = found.split_at(labels);
    let is_one = (known.iter().sum::<f32>() - 1.0).abs() < 1e-4;
    let is_share = |p: &f32| (0.0..=1.0).contains(p);
    is_one && known.iter().all(is_share) && beyond.iter().all(|p| *p == 0.0)
}
