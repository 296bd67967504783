//! Lexicon: words of many languages for a few concepts, so that what is learned in one language holds in all.
//!
//! The words are ours: `filter/model/lexicon.tsv` has a line for each concept and language. An entry is a whole word, a beginning
//! (`schreib*`), or, in a script without spaces, any run of characters. Entries are folded as texts are. `build.rs` packs them.

use super::text::Fnv;

/// Keys (u32, little-endian), each with its concept (u8).
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lexicon.bin"));
const CONCEPTS: &str = include_str!(concat!(env!("OUT_DIR"), "/concepts.txt"));

/// A concept's index in [`Lexicon::names`].
pub type Concept = u8;

/// Room for the concepts, wherever they are counted.
pub const MAX_CONCEPTS: usize = 64;

/// How often each concept was met.
pub type Concepts = [u8; MAX_CONCEPTS];

pub const NO_CONCEPTS: Concepts = [0; MAX_CONCEPTS];

/// Characters of the longest run that is looked up in a script without spaces.
pub const LONGEST_RUN: usize = 6;

/// Slots of the table, a power of two; no more than half of them are taken.
const SLOTS: usize = 1 << 14;
const EMPTY: Concept = Concept::MAX;

/// A table from keys to concepts.
#[derive(Debug)]
pub struct Lexicon {
    slots: Vec<(u32, Concept)>,
    names: Vec<&'static str>,
}

// === impl Lexicon ===

impl Lexicon {
    pub fn new() -> Self {
        let mut lexicon = Lexicon {
            slots: vec![(0, EMPTY); SLOTS],
            names: CONCEPTS.lines().take(MAX_CONCEPTS).collect(),
        };
        let (packed, _) = PACKED.as_chunks::<5>();
        // Half full is full: a search ends at an empty slot.
        for [a, b, c, d, concept] in packed.iter().take(SLOTS / 2) {
            lexicon.add(u32::from_le_bytes([*a, *b, *c, *d]), *concept);
        }
        lexicon
    }

    /// In the order in which the file names them.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Of a word that begins with what is hashed.
    pub fn beginning(&self, hash: Fnv) -> Option<Concept> {
        self.find(hash.beginning())
    }

    /// Of exactly what is hashed: a word, or a run of a script without spaces.
    pub fn whole(&self, hash: Fnv) -> Option<Concept> {
        self.find(hash.whole())
    }

    fn add(&mut self, key: u32, concept: Concept) {
        let mut at = slot(key);
        while let Some(found) = self.slots.get_mut(at) {
            if found.1 == EMPTY {
                *found = (key, concept);
                return;
            }
            at = next(at);
        }
    }

    fn find(&self, key: u32) -> Option<Concept> {
        let mut at = slot(key);
        loop {
            let &(hash, concept) = self.slots.get(at)?;
            if concept == EMPTY {
                return None;
            }
            if hash == key {
                return Some(concept);
            }
            at = next(at);
        }
    }
}

impl Default for Lexicon {
    fn default() -> Self {
        Lexicon::new()
    }
}

fn slot(key: u32) -> usize {
    let mixed = key ^ (key >> 15);
    usize::try_from(mixed).unwrap_or_default() & (SLOTS - 1)
}

fn next(at: usize) -> usize {
    at.wrapping_add(1) & (SLOTS - 1)
}
