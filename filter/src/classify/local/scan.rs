//! Scan: one pass over a text that hashes its words and counts its marks.
//!
//! Pure, and the same on every machine. What it hashes and counts is part of a model's format.

use super::features::{COUNTED, Count};
use super::lexicon::{Concept, Concepts, LONGEST_RUN, Lexicon, NO_CONCEPTS};
use super::text::{Class, Fnv, class, fold, of_word, spread};

/// Words at the beginning that are the opening.
const OPENING_WORDS: usize = 8;
/// Letters of the beginning that stands for a longer word and its endings.
const STEM: u32 = 5;
/// Characters of a run of signs that are told apart.
const SIGNS: u32 = 3;
/// Characters of the longest run that is hashed, in a script without spaces.
const RUN: usize = 3;

/// What a hash is of: the same letters as a word and as a stem are two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word = 1,
    Pair,
    Stem,
    First,
    Signs,
    Run,
}

/// What the passes over a message's texts counted.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) chars: usize,
    pub(super) words: usize,
    /// In the words between spaces.
    pub(super) letters: usize,
    pub(super) lines: usize,
    pub(super) sentences: usize,
    pub(super) numbers: usize,
    pub(super) questions: usize,
    pub(super) counts: [u16; COUNTED.len()],
    pub(super) opening: Concepts,
    pub(super) anywhere: Concepts,
    /// Of the last sentence.
    pub(super) closing: Concepts,
    pub(super) capitals: usize,
    /// Latin letters with marks.
    pub(super) accented: usize,
    pub(super) other_script: usize,
    pub(super) ideographs: usize,
    pub(super) signs: usize,
    /// The last character that is no space.
    pub(super) last: char,
}

pub(super) struct Scan<'a> {
    pass: Pass,
    hashes: &'a mut Vec<u32>,
    traced: &'a mut Option<Vec<(u32, String)>>,
    lexicon: &'a Lexicon,
}

/// The word being read.
#[derive(Debug, Clone, Copy)]
struct Word {
    start: usize,
    hash: Fnv,
    stem: Fnv,
    len: u32,
    digits: u32,
    /// ASCII capitals.
    uppers: u32,
    /// `likeThis` or `like_this`.
    cased: bool,
    after_lower: bool,
}

/// The line being read.
#[derive(Debug, Clone, Copy)]
struct Line {
    indent: u32,
    /// The first three characters that are no spaces.
    first: [char; 3],
    /// Characters but for the indentation.
    len: u32,
    bars: u32,
    last: char,
}

/// The characters before this one that belong together.
#[derive(Debug, Clone, Copy)]
struct Open {
    start: usize,
    hash: Fnv,
    len: u32,
}

// === impl Scan ===

impl<'a> Scan<'a> {
    pub(super) fn new(
        hashes: &'a mut Vec<u32>,
        traced: &'a mut Option<Vec<(u32, String)>>,
        lexicon: &'a Lexicon,
    ) -> Self {
        Scan {
            pass: Pass::new(),
            hashes,
            traced,
            lexicon,
        }
    }

    pub(super) fn finish(self) -> Pass {
        self.pass
    }

    pub(super) fn text(&mut self, text: &str) {
        let mut word = Word::NONE;
        let mut line = Line::START;
        // The word before, unless a sentence or a line ended between.
        let mut before: Option<Open> = None;
        let mut signs: Option<Open> = None;
        let mut runs = [Fnv::EMPTY; LONGEST_RUN];
        let mut run = 0usize;
        let mut previous = '\n';
        let mut is_between = true;
        self.pass.lines = self.pass.lines.wrapping_add(1);
        self.pass.chars = self.pass.chars.wrapping_add(text.chars().count());
        let mut chars = text.chars();
        loop {
            let rest = chars.as_str();
            // Most of most texts, and the shortest way: within a word, nothing but the word and the line changes.
            if word.len > 0
                && let Some(raw) = rest.as_bytes().first().copied()
                && let Some(c) = of_word(raw)
            {
                chars.next();
                self.letter(&mut word, char::from(raw), c, raw.is_ascii_digit());
                line.push(c, Class::Letter);
                self.pass.last = c;
                previous = c;
                continue;
            }
            let at = text.len().wrapping_sub(rest.len());
            let Some(raw) = chars.next() else {
                break;
            };
            let Some(c) = fold(raw) else {
                continue;
            };
            let class = class(c);
            if is_between && !matches!(class, Class::Space | Class::Mark) {
                self.pass.begin_sentence();
                is_between = false;
            }
            if matches!(class, Class::Letter | Class::Digit) {
                if word.len == 0 {
                    word.start = at;
                }
                if !raw.is_ascii() {
                    self.pass.other_letter(raw, c);
                }
                self.letter(&mut word, raw, c, class == Class::Digit);
            } else if word.len > 0 {
                before = Some(self.end_word(&word, text, at, before));
                if c == '(' {
                    self.pass.count(Count::Calls);
                }
                word = Word::NONE;
            }
            if class == Class::Ideograph {
                run = run.wrapping_add(1).min(LONGEST_RUN);
                runs.rotate_right(1);
                if let Some(newest) = runs.first_mut() {
                    *newest = Fnv::EMPTY;
                }
                self.runs(&mut runs, run, c, text, at);
                before = None;
            } else {
                run = 0;
            }
            if class == Class::Mark {
                self.pass.mark(c, previous);
                let open = signs.get_or_insert(Open {
                    start: at,
                    hash: Fnv::EMPTY,
                    len: 0,
                });
                if open.len < SIGNS {
                    open.len = open.len.wrapping_add(1);
                    open.hash = open.hash.push(u32::from(c));
                }
                if is_end(c) {
                    before = None;
                    is_between = true;
                }
            } else if let Some(open) = signs.take() {
                self.add(Kind::Signs, open.hash, text, open.start, at);
            }
            if c == '\n' {
                self.pass.end_line(&line);
                self.pass.lines = self.pass.lines.wrapping_add(1);
                line = Line::START;
                before = None;
                is_between = true;
            } else {
                line.push(c, class);
            }
            if class != Class::Space {
                self.pass.last = c;
            }
            previous = c;
        }
        if word.len > 0 {
            self.end_word(&word, text, text.len(), before);
        }
        if let Some(open) = signs {
            self.add(Kind::Signs, open.hash, text, open.start, text.len());
        }
        self.pass.end_line(&line);
    }

    /// A word grows.
    #[inline]
    fn letter(&mut self, word: &mut Word, raw: char, c: char, is_digit: bool) {
        word.push(raw, c, is_digit);
        if word.len > 1
            && let Some(concept) = self.lexicon.beginning(word.hash)
        {
            self.pass.met(concept);
        }
    }

    /// A word is whole.
    fn end_word(&mut self, word: &Word, text: &str, end: usize, before: Option<Open>) -> Open {
        self.pass.word(word);
        if word.uppers >= 2 && word.uppers == word.len {
            self.pass.count(Count::Capitals);
        }
        if word.cased {
            self.pass.count(Count::Cased);
        }
        let is_number = word.digits == word.len;
        let hash = if is_number {
            self.pass.numbers = self.pass.numbers.wrapping_add(1);
            // How long a number is, not which.
            Fnv::EMPTY.push(u32::from('#')).push(word.digits.min(5))
        } else {
            if let Some(concept) = self.lexicon.whole(word.hash) {
                self.pass.met(concept);
            }
            word.hash
        };
        self.add(Kind::Word, hash, text, word.start, end);
        if !is_number && word.len > STEM {
            self.add(Kind::Stem, word.stem, text, word.start, end);
        }
        if self.pass.words == 1 {
            self.add(Kind::First, hash, text, word.start, end);
        }
        if let Some(before) = before {
            let both = before.hash.push(u32::from(' ')).push(hash.0);
            self.add(Kind::Pair, both, text, before.start, end);
        }
        Open {
            start: word.start,
            hash,
            len: word.len,
        }
    }

    /// A character of a script without spaces: it, and the runs that end in it. `runs` has them by length.
    fn runs(&mut self, runs: &mut [Fnv; LONGEST_RUN], len: usize, c: char, text: &str, at: usize) {
        self.pass.words = self.pass.words.wrapping_add(1);
        self.pass.ideographs = self.pass.ideographs.wrapping_add(1);
        self.pass.other_script = self.pass.other_script.wrapping_add(1);
        let end = at.wrapping_add(c.len_utf8());
        let mut start = end;
        for (index, hash) in runs.iter_mut().enumerate().take(len) {
            *hash = hash.push(u32::from(c));
            if let Some(concept) = self.lexicon.whole(*hash) {
                self.pass.met(concept);
            }
            if index < RUN {
                if self.traced.is_some() {
                    let shown = text.get(..start).and_then(|text| text.chars().next_back());
                    start = start.saturating_sub(shown.map_or(0, char::len_utf8));
                }
                let hash = *hash;
                self.add(Kind::Run, hash, text, start, end);
            }
        }
    }

    fn add(&mut self, kind: Kind, hash: Fnv, text: &str, start: usize, end: usize) {
        let id = spread(hash.push(kind as u32).0);
        self.hashes.push(id);
        if let Some(traced) = self.traced {
            let shown = text.get(start..end).unwrap_or_default();
            traced.push((id, shown.to_owned()));
        }
    }
}

// === impl Pass ===

impl Pass {
    fn new() -> Self {
        Pass {
            chars: 0,
            words: 0,
            letters: 0,
            lines: 0,
            sentences: 0,
            numbers: 0,
            questions: 0,
            counts: [0; COUNTED.len()],
            opening: NO_CONCEPTS,
            anywhere: NO_CONCEPTS,
            closing: NO_CONCEPTS,
            capitals: 0,
            accented: 0,
            other_script: 0,
            ideographs: 0,
            signs: 0,
            last: ' ',
        }
    }

    fn begin_sentence(&mut self) {
        self.sentences = self.sentences.wrapping_add(1);
        self.closing = NO_CONCEPTS;
    }

    fn met(&mut self, concept: Concept) {
        let at = usize::from(concept);
        let add = |concepts: &mut Concepts| {
            if let Some(count) = concepts.get_mut(at) {
                *count = count.saturating_add(1);
            }
        };
        add(&mut self.anywhere);
        add(&mut self.closing);
        // Words are counted when they end; so this one is not yet.
        if self.words < OPENING_WORDS {
            add(&mut self.opening);
        }
    }

    fn count(&mut self, count: Count) {
        if let Some(count) = self.counts.get_mut(count as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Counted when it ends, not by the letter.
    fn word(&mut self, word: &Word) {
        let count = |letters: u32| usize::try_from(letters).unwrap_or(usize::MAX);
        self.words = self.words.wrapping_add(1);
        self.letters = self.letters.wrapping_add(count(word.len));
        self.capitals = self.capitals.wrapping_add(count(word.uppers));
    }

    /// Of a word, and beyond ASCII.
    fn other_letter(&mut self, raw: char, c: char) {
        if c.is_ascii() {
            self.accented = self.accented.wrapping_add(1);
        } else {
            self.other_script = self.other_script.wrapping_add(1);
            if raw.is_uppercase() {
                self.capitals = self.capitals.wrapping_add(1);
            }
        }
    }

    fn mark(&mut self, c: char, previous: char) {
        self.signs = self.signs.wrapping_add(1);
        match c {
            '?' | '؟' => self.questions = self.questions.wrapping_add(1),
            '!' => {
                self.count(Count::Exclamations);
            }
            '$' | '€' | '£' | '%' | '₹' | '¥' => self.count(Count::Money),
            '"' | '“' | '„' | '«' | '「' => self.count(Count::Quotes),
            '+' | '^' | '×' | '÷' | '√' | '∑' | '∫' | '≤' | '≥' | '≠' | '≡' | '∞' | '∈' | '∀'
            | '∃' | '→' | '⇒' | '²' | '³' | '°' | '±' => self.count(Count::Math),
            '=' if !matches!(previous, '=' | '!' | '<' | '>' | ':') => self.count(Count::Math),
            '\\' => self.count(Count::Latex),
            _ => {}
        }
        match (previous, c) {
            ('=', '=')
            | ('!', '=')
            | ('-', '>')
            | ('=', '>')
            | (':', ':')
            | ('&', '&')
            | ('|', '|')
            | (':', '=')
            | ('+', '=')
            | ('/', '*') => self.count(Count::Operators),
            ('`', '`') => self.count(Count::Fences),
            ('"', ':') => self.count(Count::Keys),
            ('<', '/') | ('/', '>') => self.count(Count::Tags),
            ('/', '/') | (_, '@') => self.count(Count::Links),
            _ => {}
        }
    }

    fn end_line(&mut self, line: &Line) {
        if line.len == 0 {
            return;
        }
        if line.indent >= 2 {
            self.count(Count::Indented);
        }
        match line.last {
            ';' | '{' | '}' => self.count(Count::CodeEnds),
            ':' if line.len < 80 => self.count(Count::Colons),
            _ => {}
        }
        match line.first {
            ['-' | '*' | '•' | '–', ' ', _] => self.count(Count::Items),
            ['0'..='9', '.' | ')', _] | ['0'..='9', '0'..='9', '.' | ')'] => {
                self.count(Count::Numbered);
            }
            ['(', 'a'..='h', ')'] | ['a'..='h', ')' | '.', ' '] => self.count(Count::Options),
            ['@', '@', _] | ['+', _, _] | ['-', 'a'..='z' | '-', _] => self.count(Count::Diff),
            ['[', 'a'..='z', _] if line.last == ']' => self.count(Count::Parts),
            _ => {}
        }
        if line.bars >= 2 {
            self.count(Count::Rows);
        }
    }
}

// === impl Word ===

impl Word {
    const NONE: Word = Word {
        start: 0,
        hash: Fnv::EMPTY,
        stem: Fnv::EMPTY,
        len: 0,
        digits: 0,
        uppers: 0,
        cased: false,
        after_lower: false,
    };

    #[inline]
    fn push(&mut self, raw: char, c: char, is_digit: bool) {
        self.hash = self.hash.push(u32::from(c));
        self.len = self.len.wrapping_add(1);
        if self.len <= STEM {
            self.stem = self.hash;
        }
        let is_upper = raw.is_ascii_uppercase();
        if is_upper {
            self.uppers = self.uppers.wrapping_add(1);
        }
        self.cased |= (is_upper && self.after_lower) || (c == '_' && self.len > 1);
        self.after_lower = raw.is_ascii_lowercase();
        if is_digit {
            self.digits = self.digits.wrapping_add(1);
        }
    }
}

// === impl Line ===

impl Line {
    const START: Line = Line {
        indent: 0,
        first: [' '; 3],
        len: 0,
        bars: 0,
        last: ' ',
    };

    #[inline]
    fn push(&mut self, c: char, class: Class) {
        let is_space = class == Class::Space;
        if self.len == 0 && is_space {
            self.indent = self.indent.wrapping_add(if c == '\t' { 4 } else { 1 });
            return;
        }
        let at = usize::try_from(self.len).unwrap_or(usize::MAX);
        if let Some(first) = self.first.get_mut(at) {
            *first = c;
        }
        self.len = self.len.wrapping_add(1);
        if c == '|' {
            self.bars = self.bars.wrapping_add(1);
        }
        if !is_space {
            self.last = c;
        }
    }
}

/// The concepts of a text, and nothing else.
pub(super) fn scan_concepts(text: &str, lexicon: &Lexicon, found: &mut Concepts) {
    let mut add = |concept: Concept| {
        if let Some(count) = found.get_mut(usize::from(concept)) {
            *count = count.saturating_add(1);
        }
    };
    let mut hash = Fnv::EMPTY;
    let mut len = 0u32;
    for c in text.chars().filter_map(fold).chain([' ']) {
        if matches!(class(c), Class::Letter | Class::Digit) {
            hash = hash.push(u32::from(c));
            len = len.wrapping_add(1);
            if let Some(concept) = lexicon.beginning(hash)
                && len > 1
            {
                add(concept);
            }
        } else if len > 0 {
            if let Some(concept) = lexicon.whole(hash) {
                add(concept);
            }
            hash = Fnv::EMPTY;
            len = 0;
        }
    }
}

pub(super) fn is_end(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '؟' | '।')
}

pub(super) fn is_question(c: char) -> bool {
    matches!(c, '?' | '؟')
}
