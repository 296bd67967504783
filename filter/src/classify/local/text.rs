//! Text: a text's words, folded and hashed, in one pass and without memory of its own.
//!
//! Pure, and the same on every machine: nothing but Unicode's tables of the standard library and wrapping integers.
//! The folding and the hashes are part of a model's format: changing them makes every trained model void.

/// Latin letters U+00C0 to U+017F without their marks, in lower case; `.` is no letter.
const LATIN: &[u8; 192] = b"aaaaaaaceeeeiiiidnooooo.ouuuuytsaaaaaaaceeeeiiiidnooooo.ouuuuyty\
aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkkllllllllllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

/// The same for U+1EA0 to U+1EFF, most of them Vietnamese.
const VIETNAMESE: &[u8; 96] =
    b"aaaaaaaaaaaaaaaaaaaaaaaaeeeeeeeeeeeeeeeeiiiioooooooooooooooooooooooouuuuuuuuuuuuuuyyyyyyyy......";

/// ASCII's letters in lower case, its digits and `_`, by byte; 0 for what is no part of a word.
const WORD: [u8; 256] = {
    let mut table = [0; 256];
    let alphabet = b"abcdefghijklmnopqrstuvwxyz0123456789_";
    let mut left: &[u8] = alphabet;
    while let [byte, rest @ ..] = left {
        if let Some((_, [at, ..])) = table.split_at_mut_checked(*byte as usize) {
            *at = *byte;
        }
        if let Some((_, [at, ..])) = table.split_at_mut_checked(byte.to_ascii_uppercase() as usize)
        {
            *at = *byte;
        }
        left = rest;
    }
    table
};

/// What a character is to the scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Part of a word between spaces.
    Letter,
    Digit,
    /// Of a script without spaces: a word of its own.
    Ideograph,
    Space,
    Mark,
}

/// A hash that grows by a character at a time: FNV-1a over code points, 32 bits.
///
/// Source: <http://www.isthe.com/chongo/tech/comp/fnv/>, the FNV-1a parameters for 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fnv(pub u32);

// === impl Fnv ===

impl Fnv {
    pub const EMPTY: Fnv = Fnv(0x811c_9dc5);

    pub fn push(self, value: u32) -> Fnv {
        Fnv((self.0 ^ value).wrapping_mul(0x0100_0193))
    }

    /// Its key in the lexicon as the beginning of a word.
    pub fn beginning(self) -> u32 {
        self.0
    }

    /// Its key in the lexicon as a whole word, or a whole run of a script without spaces.
    pub fn whole(self) -> u32 {
        self.push(0).0
    }
}

/// Spreads a hash over all its bits: the finalizer of MurmurHash3 by Austin Appleby, which is in the public domain.
pub fn spread(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// In lower case, Latin letters without their marks; `None` for a mark that stands by itself (U+0300 to U+036F) and for
/// what joins or is not seen.
pub fn fold(c: char) -> Option<char> {
    if c.is_ascii() {
        return Some(c.to_ascii_lowercase());
    }
    let code = u32::from(c);
    let table = |table: &[u8], first: u32| {
        let at = usize::try_from(code.wrapping_sub(first)).ok()?;
        let letter = char::from(*table.get(at)?);
        Some(if letter == '.' { c } else { letter })
    };
    match code {
        // Small Cyrillic letters, most Arabic ones, the Indic scripts: as they are, without the long search for a small letter.
        0x430..=0x45F | 0x626..=0x648 | 0x904..=0xE7F => Some(c),
        0x410..=0x42F => char::from_u32(code.wrapping_add(0x20)),
        0xC0..=0x17F => table(LATIN, 0xC0),
        0x1EA0..=0x1EFF => table(VIETNAMESE, 0x1EA0),
        0x300..=0x36F | 0x200B..=0x200F | 0xFE00..=0xFE0F | 0xFEFF => None,
        // Full-width forms of ASCII.
        0xFF01..=0xFF5E => {
            let plain = char::from_u32(code.wrapping_sub(0xFEE0))?;
            Some(plain.to_ascii_lowercase())
        }
        // Arabic: the letters that are typed with and without their marks, and the short vowels, which are mostly left out.
        0x622 | 0x623 | 0x625 => Some('\u{627}'),
        0x649 => Some('\u{64A}'),
        0x64B..=0x652 => None,
        0x3041..=0x30FF | 0x3400..=0x9FFF | 0xAC00..=0xD7A3 => Some(c),
        _ => c.to_lowercase().next(),
    }
}

/// A byte that is [`fold`]ed to part of a word between spaces, if it is ASCII.
#[inline]
pub fn of_word(byte: u8) -> Option<char> {
    match WORD.get(usize::from(byte)) {
        None | Some(0) => None,
        Some(folded) => Some(char::from(*folded)),
    }
}

/// Of a folded character.
pub fn class(c: char) -> Class {
    if c.is_ascii() {
        return match c {
            'a'..='z' | '_' => Class::Letter,
            '0'..='9' => Class::Digit,
            ' ' | '\t' | '\n' | '\r' => Class::Space,
            _ => Class::Mark,
        };
    }
    match u32::from(c) {
        // Thai, kana, Han.
        0xE01..=0xE4E | 0x3041..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF => {
            Class::Ideograph
        }
        // Vowel signs and viramas of the Indic scripts are parts of words; the danda is not.
        0x964 | 0x965 => Class::Mark,
        0x900..=0xDFF => Class::Letter,
        // Greek, Cyrillic, Hebrew, Arabic and Hangul letters, without the long search in the table of all.
        0x3A3..=0x3F5 | 0x400..=0x481 | 0x5D0..=0x5EA | 0x620..=0x64A | 0xAC00..=0xD7A3 => {
            Class::Letter
        }
        _ if c.is_alphabetic() => Class::Letter,
        _ if c.is_numeric() => Class::Digit,
        _ if c.is_whitespace() => Class::Space,
        _ => Class::Mark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        text.chars().filter_map(fold).collect()
    }

    #[test]
    fn the_short_way_of_ascii_is_the_long_one() {
        for byte in 0..=u8::MAX {
            let folded = fold(char::from(byte)).filter(|_| byte.is_ascii());
            let expected = folded.filter(|c| matches!(class(*c), Class::Letter | Class::Digit));
            assert_eq!(of_word(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn what_is_named_by_range_is_what_unicode_says() {
        for c in (0..0xE80).chain(0xAC00..0xD7A4).filter_map(char::from_u32) {
            let code = u32::from(c);
            if matches!(code, 0x410..=0x45F | 0x626..=0x648 | 0x904..=0xE7F) {
                assert_eq!(fold(c), c.to_lowercase().next(), "{code:#x}");
            }
            if matches!(code, 0x3A3..=0x481 | 0x5D0..=0x5EA | 0x620..=0x64A | 0xAC00..) {
                assert_eq!(class(c) == Class::Letter, c.is_alphabetic(), "{code:#x}");
            }
        }
    }

    #[test]
    fn folding() {
        let check = |text: &str, expected: &str| assert_eq!(folded(text), expected, "{text}");
        check("Écris-moi", "ecris-moi");
        check("ÜBERSETZE Straße", "ubersetze strase");
        check("łódź ıspanak Ñandú", "lodz ispanak nandu");
        check("Tiếng Việt", "tieng viet");
        check("e\u{301}te\u{301}", "ete");
        check("Привет", "привет");
        check("ＡＢＣ１", "abc1");
        check("أحمد إلى", "احمد الي");
        check("日本語カナ", "日本語カナ");
        check("a × b ÷ c", "a × b ÷ c");
    }

    #[test]
    fn classes() {
        use Class::{Digit, Ideograph, Letter, Mark, Space};
        for (text, expected) in [
            ("aéжαहिंदी가ب_", Letter),
            ("07٣", Digit),
            ("漢字かなカナไทย", Ideograph),
            (" \n\u{a0}", Space),
            ("+-(…。、！¿।∑", Mark),
        ] {
            for c in text.chars().filter_map(fold) {
                assert_eq!(class(c), expected, "{c:?}");
            }
        }
    }
}
