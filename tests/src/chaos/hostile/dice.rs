//! Choices that a seed decides. Pure: the same seed, the same choices.

use crate::chaos::script::mix;

#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The choices of client `number` in the run of this seed.
    pub fn new(seed: u64, number: u64) -> Self {
        Self(mix(mix(seed) ^ number))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Less than `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or_default()
    }

    pub fn is_heads(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Any bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// Bytes that HTTP allows in a header's value, half of them not ASCII.
    pub fn value(&mut self, length: usize) -> Vec<u8> {
        let allowed = |byte: u8| {
            if byte & 0x80 == 0 {
                b'!' + byte % 94
            } else {
                byte
            }
        };
        self.bytes(length).into_iter().map(allowed).collect()
    }

    /// The same name in another case.
    pub fn odd_case(&mut self, name: &str) -> Vec<u8> {
        let turned = name.bytes().map(|byte| match self.is_heads() {
            true => byte.to_ascii_uppercase(),
            false => byte,
        });
        turned.collect()
    }
}
