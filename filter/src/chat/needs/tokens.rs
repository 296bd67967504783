//! Tokens: about how many tokens a text is, told from its bytes, without a tokenizer.
//!
//! Pure. Every byte has a weight by its class, and after a byte like itself another: a run of spaces or dashes is few
//! tokens.
//!
//! `likely` was fitted (least squares of the relative error) to the mean of what OpenAI's o200k and Gemma 3 count, whose
//! tokenizer Google names for counting Gemini's tokens locally. `low` lies under the smallest count of six tokenizers,
//! and a digit, a newline or a sign weighs no more in it than where they are cheapest. Claude's tokenizer is not public
//! since Claude 2; Anthropic counts only by its API (<https://docs.claude.com/en/docs/build-with-claude/token-counting>).
//!
//! Measured by `make estimate` (2026-11-30) over 4,232 texts of at least 1,000 characters: this repository's prompts, code,
//! JSON and documents, and Django's translations, of which half were fitted to. Estimate by count, `likely` at the 5th
//! percentile, the median and the 95th, then the texts of which `low` was above the count:
//!
//! ```text
//!                      o200k             Gemma 3           Llama 3
//! all                  0.86 1.05 1.20 1  0.78 0.92 1.08 0  0.67 1.02 1.18 0
//! prompts, English     0.90 1.00 1.17 0  0.82 0.92 1.02 0  0.88 0.99 1.17 0
//! code                 1.01 1.10 1.20 0  0.84 0.92 0.99 0  1.01 1.10 1.20 0
//! JSON                 1.03 1.12 1.19 0  0.89 0.92 0.96 0  1.03 1.13 1.19 0
//! other Latin          0.85 1.00 1.22 0  0.76 0.91 1.10 0  0.72 0.92 1.14 0
//! Cyrillic, Greek      0.78 0.97 1.20 1  0.70 0.88 1.14 0  0.53 0.84 1.10 0
//! Arabic, Hebrew       0.67 1.01 1.22 0  0.69 0.96 1.12 0  0.44 0.77 1.09 0
//! Indic, Thai          0.83 0.96 1.08 0  0.86 1.06 1.21 0  0.25 0.49 0.82 0
//! CJK                  0.82 0.95 1.27 0  0.91 1.02 1.23 0  0.83 0.94 1.21 0
//! ```
//!
//! `low` is two thirds of the count at the median. Of base64 within a text `likely` is about half of the count.

/// Of one token.
const UNIT: u64 = 1 << 10;

/// Bytes whose sums fit their half of a `u64`: no weight is above four tokens.
const CHUNK: usize = 1 << 16;

/// Weights, `likely` in the upper half and `low` in the lower: of a byte, and behind those of one like the byte before it.
const WEIGHTS: [u64; 512] = weights();

/// What a message costs beside its text: OpenAI counts 3 and a token for the role
/// (<https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken>), Gemma's template 5.
const MESSAGE: Tally = Tally {
    low: 3 * UNIT,
    likely: 4 * UNIT,
};

/// Tokens, added up as a body is read, in 1/1024.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::chat) struct Tally {
    low: u64,
    likely: u64,
}

/// Tokens of a request's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Hardly ever more than are counted: what a target may be left out by.
    pub low: u32,
    /// What may be told.
    pub likely: u32,
}

// === impl Tally ===

impl Tally {
    pub(in crate::chat) fn add(&mut self, other: Tally) {
        self.low = self.low.saturating_add(other.low);
        self.likely = self.likely.saturating_add(other.likely);
    }

    pub(super) fn message() -> Self {
        MESSAGE
    }

    /// Of media, which a small one may cost next to nothing of.
    pub(super) fn at_most(tokens: u32) -> Self {
        Tally {
            low: 0,
            likely: u64::from(tokens).saturating_mul(UNIT),
        }
    }

    pub(super) fn of_text(text: &str) -> Self {
        let mut tally = Tally::default();
        let mut before = 0;
        for chunk in text.as_bytes().chunks(CHUNK) {
            let mut sum = 0u64;
            for &byte in chunk {
                let at = usize::from(byte) | usize::from(byte == before) << 8;
                sum = sum.wrapping_add(WEIGHTS.get(at).copied().unwrap_or_default());
                before = byte;
            }
            tally.add(Tally {
                low: sum & u64::from(u32::MAX),
                likely: sum >> 32,
            });
        }
        tally
    }

    /// Of a JSON string that was not unescaped, or of any JSON, its strings' escapes as what they stand for.
    pub(super) fn of_escaped(json: &str) -> Self {
        let mut pieces = json.split('\\');
        let mut tally = Tally::of_text(pieces.next().unwrap_or_default());
        for piece in pieces {
            let rest = match piece.as_bytes().first() {
                Some(b'n' | b'r' | b't') => {
                    tally.add(Tally::of_text("\n"));
                    piece.get(1..)
                }
                Some(b'u') => {
                    tally.add(of_unicode(piece.get(1..5)));
                    piece.get(5..)
                }
                _ => Some(piece),
            };
            tally.add(Tally::of_text(rest.unwrap_or_default()));
        }
        tally
    }

    /// Of what a provider writes into its prompt in a form of its own, shorter than the JSON: tools, schemas, calls.
    pub(super) fn of_json(json: &str) -> Self {
        let tally = Tally::of_escaped(json);
        Tally {
            low: tally.low / 2,
            ..tally
        }
    }

    /// Of what a provider may leave out, such as thinking in earlier turns.
    pub(super) fn of_optional(json: &str) -> Self {
        Tally {
            low: 0,
            ..Tally::of_escaped(json)
        }
    }

    pub(super) fn estimate(self) -> Estimate {
        let tokens = |units: u64| u32::try_from(units).unwrap_or(u32::MAX);
        Estimate {
            low: tokens(self.low / UNIT),
            likely: tokens(self.likely.div_ceil(UNIT)),
        }
    }
}

/// A character by the four digits of its `\u` escape. Half of a pair is none; two halves weigh what two letters do.
fn of_unicode(digits: Option<&str>) -> Tally {
    let code = digits.and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let char = code.and_then(char::from_u32).unwrap_or('é');
    Tally::of_text(char.encode_utf8(&mut [0; 4]))
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the compiler runs it: a mistake is one of the build"
)]
const fn weights() -> [u64; 512] {
    let mut weights = [0; 512];
    let mut byte = 0u8;
    loop {
        let (first, again) = class(byte);
        weights[byte as usize] = packed(first);
        weights[byte as usize | 256] = packed(again);
        if byte == u8::MAX {
            return weights;
        }
        byte += 1;
    }
}

const fn packed((low, likely): (u16, u16)) -> u64 {
    assert!(low <= likely && likely < 4096);
    (likely as u64) << 32 | low as u64
}

/// `low` and `likely` of a byte, and of one behind its like. A character beyond ASCII weighs what its first byte does.
const fn class(byte: u8) -> ((u16, u16), (u16, u16)) {
    let once = match byte {
        b' ' => return ((24, 40), (8, 50)),
        0..=b' ' | 0x7f => return ((700, 1640), (0, 50)),
        b'a'..=b'z' => (180, 234),
        b'A'..=b'Z' => (176, 280),
        // Three to a token at OpenAI, each its own at Gemini.
        b'0'..=b'9' => (320, 1100),
        0..=0x7f => return ((400, 570), (10, 46)),
        // Behind the first byte.
        0x80..=0xbf => (0, 0),
        // Latin with accents.
        0xc0..=0xcb => (1000, 1420),
        0xcc..=0xcd => (0, 200),
        // Greek, Cyrillic.
        0xce..=0xd4 => (270, 357),
        // Hebrew, Arabic.
        0xd5..=0xdf => (300, 413),
        // Indic, Thai.
        0xe0 => (280, 386),
        // Rarer scripts, and Vietnamese, whose letters are parts of tokens.
        0xe1 => (0, 200),
        // Dashes, quotes, symbols.
        0xe2 => (560, 750),
        // Kana.
        0xe3 => (360, 524),
        // Han.
        0xe4..=0xe9 => (490, 668),
        // Hangul.
        0xea..=0xed => (600, 850),
        // Full-width forms.
        0xee..=0xef => (1000, 2600),
        // Emoji.
        0xf0..=0xff => (500, 1500),
    };
    (once, once)
}
