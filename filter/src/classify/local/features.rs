//! Features: what the model sees of a conversation, as numbers.
//!
//! Two kinds: *words*, hashed one- and two-grams of the latest user message, and *marks*, a few hundred numbers between 0
//! and 1 that say what the text and the conversation look like. Pure, bounded by the text it is given, and without memory
//! of its own but [`Features`], which is reused.

use super::lexicon::{Concepts, Lexicon, MAX_CONCEPTS, NO_CONCEPTS};
use super::scan::{Pass, Scan, is_end, is_question, scan_concepts};

/// What is classified.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<'a> {
    /// System and developer messages, their beginning.
    pub system: &'a str,
    /// The latest user message, its beginning.
    pub user: &'a str,
    /// The end of it, where `user` does not reach that far.
    pub user_end: &'a str,
    /// Characters of the whole.
    pub user_chars: usize,
    /// The user message before it, its beginning.
    pub previous: &'a str,
    /// User messages.
    pub turns: usize,
    /// Tools on offer.
    pub tools: usize,
    pub ends_in_tool_result: bool,
}

/// A run of marks of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) first: usize,
    pub(super) len: usize,
}

const fn group(after: Group, len: usize) -> Group {
    Group {
        first: after.first.saturating_add(after.len),
        len,
    }
}

// The marks, in groups. [`super::names::mark_name`] says what each stands for.
pub(super) const CHARS: Group = Group { first: 0, len: 12 };
pub(super) const WORDS: Group = group(CHARS, 10);
pub(super) const LINES: Group = group(WORDS, 6);
pub(super) const SENTENCES: Group = group(LINES, 5);
pub(super) const NUMBERS: Group = group(SENTENCES, 6);
pub(super) const QUESTIONS: Group = group(NUMBERS, 4);
pub(super) const COUNTS: Group = group(QUESTIONS, COUNTED.len().saturating_mul(STEPS));
pub(super) const FLAGS: Group = group(COUNTS, FLAGGED.len());
pub(super) const OPENING: Group = group(FLAGS, MAX_CONCEPTS);
pub(super) const ANYWHERE: Group = group(OPENING, MAX_CONCEPTS);
pub(super) const CLOSING: Group = group(ANYWHERE, MAX_CONCEPTS);
pub(super) const TURNS: Group = group(CLOSING, 4);
pub(super) const TOOLS: Group = group(TURNS, 3);
pub(super) const SYSTEM: Group = group(TOOLS, 4);
pub(super) const SYSTEM_CONCEPTS: Group = group(SYSTEM, MAX_CONCEPTS);
pub(super) const STATE: Group = group(SYSTEM_CONCEPTS, 2);

// The steps of what is measured: the first bound that is not exceeded counts, or one step more.
pub(super) const CHARS_TO: &[usize] = &[12, 25, 50, 80, 120, 200, 350, 600, 1000, 2000, 4000];
pub(super) const WORDS_TO: &[usize] = &[2, 4, 7, 11, 16, 25, 45, 90, 200];
pub(super) const LINES_TO: &[usize] = &[1, 2, 4, 10, 30];
pub(super) const SENTENCES_TO: &[usize] = &[1, 2, 4, 10];
pub(super) const NUMBERS_TO: &[usize] = &[0, 1, 2, 4, 10];
pub(super) const QUESTIONS_TO: &[usize] = &[0, 1, 2];
pub(super) const TURNS_TO: &[usize] = &[1, 2, 4];
pub(super) const TOOLS_TO: &[usize] = &[0, 3];
pub(super) const SYSTEM_TO: &[usize] = &[0, 120, 500];

/// How many marks there are.
pub const MARKS: usize = STATE.first.saturating_add(STATE.len);

/// What is counted, each in [`STEPS`] steps: at least 1, 2, 4, 8.
pub(super) const COUNTED: [&str; 22] = [
    "math signs",
    "LaTeX commands",
    "brackets and semicolons at a line's end",
    "indented lines",
    "calls",
    "operators of code",
    "snake_case or camelCase",
    "code fences",
    "list items",
    "numbered items",
    "answer options",
    "table rows",
    "JSON keys",
    "tags",
    "links and addresses",
    "money and percent signs",
    "quotations",
    "lines that end in a colon",
    "changed lines of a diff",
    "words in capitals",
    "exclamation marks",
    "attached parts",
];
pub(super) const STEPS: usize = 4;

#[derive(Debug, Clone, Copy)]
#[repr(usize)]
pub(super) enum Count {
    Math,
    Latex,
    CodeEnds,
    Indented,
    Calls,
    Operators,
    Cased,
    Fences,
    Items,
    Numbered,
    Options,
    Rows,
    Keys,
    Tags,
    Links,
    Money,
    Quotes,
    Colons,
    Diff,
    Capitals,
    Exclamations,
    Parts,
}

pub(super) const FLAGGED: [&str; 10] = [
    "ends in a question mark",
    "no capital letter",
    "no full stop or other end",
    "long words",
    "short words",
    "mostly digits and signs",
    "Latin letters with marks",
    "a script other than Latin",
    "a script without spaces",
    "longer than what is read",
];

#[derive(Debug, Clone, Copy)]
#[repr(usize)]
enum Flag {
    EndsInQuestion,
    NoCapital,
    NoEnd,
    LongWords,
    ShortWords,
    Signs,
    Accented,
    OtherScript,
    NoSpaces,
    Long,
}

/// What was extracted. Reused from one request to the next.
#[derive(Debug, Default)]
pub struct Features {
    /// Spread hashes; a model takes as many of the upper bits as it has buckets.
    pub words: Vec<u32>,
    /// [`MARKS`] numbers.
    pub marks: Vec<f32>,
    /// Which text each word hash is of, for a report to people; empty unless asked for.
    pub traced: Option<Vec<(u32, String)>>,
}

// === impl Input ===

impl<'a> Input<'a> {
    /// A message by itself.
    pub fn of_text(user: &'a str) -> Self {
        Input {
            user,
            turns: 1,
            ..Input::default()
        }
    }
}

// === impl Features ===

impl Features {
    /// Reads a conversation. What was read before is gone.
    pub fn read(&mut self, input: &Input<'_>, lexicon: &Lexicon) {
        self.words.clear();
        self.marks.clear();
        self.marks.resize(MARKS, 0.0);
        if let Some(traced) = &mut self.traced {
            traced.clear();
        }
        let mut scan = Scan::new(&mut self.words, &mut self.traced, lexicon);
        scan.text(input.user);
        if !input.user_end.is_empty() {
            scan.text(input.user_end);
        }
        let mut pass = scan.finish();
        let read = pass.chars;
        pass.chars = input.user_chars.max(read);
        self.mark_text(&pass, pass.chars > read);
        self.mark_conversation(input);
        let mut system = NO_CONCEPTS;
        scan_concepts(input.system, lexicon, &mut system);
        self.concepts(SYSTEM_CONCEPTS, &system);
    }

    fn set(&mut self, group: Group, at: usize, value: f32) {
        if at < group.len
            && let Some(mark) = self.marks.get_mut(group.first.wrapping_add(at))
        {
            *mark = value;
        }
    }

    /// One of a group's marks: the first whose bound `value` does not exceed, or the one after all of them.
    fn one_of(&mut self, group: Group, bounds: &[usize], value: usize) {
        let at = bounds.iter().position(|bound| value <= *bound);
        self.set(group, at.unwrap_or(bounds.len()), 1.0);
    }

    fn concepts(&mut self, group: Group, found: &Concepts) {
        for (at, &count) in found.iter().enumerate() {
            if count > 0 {
                // 1: 0.5, 2: 0.75, 3 and more: 1.
                let value = 0.25 + 0.25 * f32::from(count.min(3));
                self.set(group, at, value);
            }
        }
    }

    fn mark_text(&mut self, pass: &Pass, is_cut: bool) {
        self.one_of(CHARS, CHARS_TO, pass.chars);
        self.one_of(WORDS, WORDS_TO, pass.words);
        self.one_of(LINES, LINES_TO, pass.lines);
        self.one_of(SENTENCES, SENTENCES_TO, pass.sentences);
        self.one_of(NUMBERS, NUMBERS_TO, pass.numbers);
        self.one_of(QUESTIONS, QUESTIONS_TO, pass.questions);
        for (at, &count) in pass.counts.iter().enumerate() {
            for step in 0..STEPS {
                if count >= 1 << step {
                    let at = at.wrapping_mul(STEPS).wrapping_add(step);
                    self.set(COUNTS, at, 1.0);
                }
            }
        }
        self.concepts(OPENING, &pass.opening);
        self.concepts(ANYWHERE, &pass.anywhere);
        if pass.sentences > 1 {
            self.concepts(CLOSING, &pass.closing);
        }
        let mut flag = |flag: Flag, is_set: bool| {
            if is_set {
                self.set(FLAGS, flag as usize, 1.0);
            }
        };
        let many = |part: usize, whole: usize, of: usize| part.saturating_mul(of) >= whole.max(1);
        let words = pass.words.saturating_sub(pass.ideographs);
        flag(Flag::EndsInQuestion, is_question(pass.last));
        flag(Flag::NoCapital, pass.capitals == 0);
        flag(Flag::NoEnd, !is_end(pass.last));
        flag(
            Flag::LongWords,
            words > 0 && pass.letters >= words.saturating_mul(6),
        );
        flag(
            Flag::ShortWords,
            words > 0 && pass.letters < words.saturating_mul(4),
        );
        flag(Flag::Signs, many(pass.signs, pass.chars, 4));
        flag(Flag::Accented, pass.accented > 0);
        flag(Flag::OtherScript, many(pass.other_script, pass.chars, 4));
        flag(Flag::NoSpaces, many(pass.ideographs, pass.chars, 4));
        flag(Flag::Long, is_cut);
    }

    fn mark_conversation(&mut self, input: &Input<'_>) {
        self.one_of(TURNS, TURNS_TO, input.turns);
        self.one_of(TOOLS, TOOLS_TO, input.tools);
        self.one_of(SYSTEM, SYSTEM_TO, input.system.len());
        if input.ends_in_tool_result {
            self.set(STATE, 0, 1.0);
        }
        if !input.previous.is_empty() {
            self.set(STATE, 1, 1.0);
        }
    }
}
