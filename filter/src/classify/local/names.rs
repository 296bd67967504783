//! Names: what each mark of a [`Features`] stands for, in words for people.
//!
//! Native only, and pure. A name says nothing of the text that was read.
//!
//! [`Features`]: super::features::Features

use super::features::{
    ANYWHERE, CHARS, CHARS_TO, CLOSING, COUNTED, COUNTS, FLAGGED, FLAGS, Group, LINES, LINES_TO,
    NUMBERS, NUMBERS_TO, OPENING, QUESTIONS, QUESTIONS_TO, SENTENCES, SENTENCES_TO, STATE, STEPS,
    SYSTEM, SYSTEM_CONCEPTS, SYSTEM_TO, TOOLS, TOOLS_TO, TURNS, TURNS_TO, WORDS, WORDS_TO,
};

/// Of a mark by its index, such as `math signs, 4 or more` or `opening words: explain`.
pub fn mark_name(index: usize) -> String {
    let measured = [
        (CHARS, CHARS_TO, "characters"),
        (WORDS, WORDS_TO, "words"),
        (LINES, LINES_TO, "lines"),
        (SENTENCES, SENTENCES_TO, "sentences"),
        (NUMBERS, NUMBERS_TO, "numbers"),
        (QUESTIONS, QUESTIONS_TO, "question marks"),
        (TURNS, TURNS_TO, "user messages"),
        (TOOLS, TOOLS_TO, "tools on offer"),
        (SYSTEM, SYSTEM_TO, "bytes of instructions"),
    ];
    for (group, bounds, what) in measured {
        if let Some(at) = group.place(index) {
            return format!("{what}: {}", step(bounds, at));
        }
    }
    let concepts = [
        (OPENING, "opening words"),
        (ANYWHERE, "words"),
        (CLOSING, "last sentence"),
        (SYSTEM_CONCEPTS, "instructions"),
    ];
    for (group, place) in concepts {
        if let Some(at) = group.place(index) {
            let name = super::lexicon().names().get(at);
            return format!("{place}: {}", name.copied().unwrap_or("(unused)"));
        }
    }
    if let Some(at) = COUNTS.place(index) {
        let what = at.checked_div(STEPS).and_then(|at| COUNTED.get(at));
        let least = 1usize << at.checked_rem(STEPS).unwrap_or_default();
        return format!("{}, {least} or more", what.copied().unwrap_or("(unused)"));
    }
    let named = match (FLAGS.place(index), STATE.place(index)) {
        (Some(at), _) => FLAGGED.get(at).copied(),
        (None, Some(0)) => Some("ends in a tool's result"),
        (None, Some(1)) => Some("has an earlier user message"),
        _ => None,
    };
    named.unwrap_or("(no such mark)").to_owned()
}

/// A step of what is measured: `5 to 8`.
fn step(bounds: &[usize], at: usize) -> String {
    let after = |bound: usize| bound.saturating_add(1);
    let least = match at.checked_sub(1) {
        Some(before) => bounds.get(before).copied().map(after),
        None => Some(0),
    };
    match (least.unwrap_or_default(), bounds.get(at)) {
        (least, None) => format!("{least} or more"),
        (0, Some(0)) => "none".to_owned(),
        (0, Some(most)) => format!("up to {most}"),
        (least, Some(most)) if least == *most => least.to_string(),
        (least, Some(most)) => format!("{least} to {most}"),
    }
}

// === impl Group ===

impl Group {
    /// Where in this group a mark stands.
    fn place(self, index: usize) -> Option<usize> {
        index
            .checked_sub(self.first)
            .filter(|place| *place < self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::super::features::{Features, Input, MARKS};
    use super::super::lexicon;
    use super::*;

    /// The names of what is set for a text.
    fn check(input: Input<'_>, expected: &[&str]) {
        let mut features = Features::default();
        features.read(&input, lexicon());
        let names: Vec<String> = (0..MARKS)
            .filter(|at| features.marks[*at] != 0.0)
            .map(mark_name)
            .collect();
        for name in expected {
            assert!(names.iter().any(|n| n == name), "{name}: {names:?}");
        }
    }

    #[test]
    fn a_text_by_its_marks() {
        check(
            Input::of_text("Is 1 + 2 = 3, and a = b + c?"),
            &[
                "characters: 26 to 50",
                "numbers: 3 to 4",
                "lines: up to 1",
                "question marks: 1",
                "math signs, 1 or more",
                "math signs, 4 or more",
                "ends in a question mark",
                "user messages: up to 1",
                "tools on offer: none",
                "bytes of instructions: none",
            ],
        );
        check(
            Input {
                tools: 4,
                turns: 9,
                ends_in_tool_result: true,
                previous: "x",
                ..Input::of_text("hello")
            },
            &[
                "opening words: greet",
                "words: greet",
                "tools on offer: 4 or more",
                "user messages: 5 or more",
                "ends in a tool's result",
                "has an earlier user message",
            ],
        );
    }

    #[test]
    fn every_mark_has_a_name_of_its_own() {
        let mut names: Vec<String> = (0..MARKS).map(mark_name).collect();
        names.retain(|name| !name.ends_with("(unused)"));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(!names.contains(&mark_name(MARKS)));
        assert!(all > 150, "{all}");
    }
}
