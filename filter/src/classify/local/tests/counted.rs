//! Marks: what is counted for given texts, by the names that people read.

use proptest::prelude::*;

use super::super::features::{Features, Input, MARKS};
use super::*;

/// Names that must be set, and, behind a `!`, names that must not.
fn check(input: &Input<'_>, expected: &[&str]) {
    let found = marks(input);
    for name in expected {
        let (name, is_set) = match name.strip_prefix('!') {
            Some(name) => (name, false),
            None => (*name, true),
        };
        let known = (0..MARKS).any(|at| mark_name(at) == name);
        assert!(known, "{name}");
        let has = found.iter().any(|(n, _)| n == name);
        assert_eq!(has, is_set, "{name} of {:?}: {found:?}", input.user);
    }
}

fn text(user: &str, expected: &[&str]) {
    check(&Input::of_text(user), expected);
}

#[test]
fn sizes() {
    text(
        "",
        &[
            "characters: up to 12",
            "words: up to 2",
            "lines: up to 1",
            "sentences: up to 1",
            "numbers: none",
        ],
    );
    text("twelve chars", &["characters: up to 12", "words: up to 2"]);
    text("thirteen char", &["characters: 13 to 25"]);
    text(
        "ä".repeat(12).as_str(),
        &["characters: up to 12", "words: up to 2"],
    );
    text("one two three", &["words: 3 to 4"]);
    text("a\nb\nc", &["lines: 3 to 4", "sentences: 3 to 4"]);
    text("a\n\n\n\nb", &["lines: 5 to 10", "sentences: 2"]);
    text(
        "One. Two! Three? Four… Five.",
        &[
            "sentences: 5 to 10",
            "question marks: 1",
            "exclamation marks, 1 or more",
        ],
    );
    text("7 of 12, 3rd", &["numbers: 2"]);
    text(
        &"word ".repeat(201),
        &["words: 201 or more", "characters: 1001 to 2000"],
    );
    text(&"x".repeat(4001), &["characters: 4001 or more"]);
}

/// Steps add up: whoever has eight has four, two and one.
#[test]
fn counts() {
    for (user, most, name) in [
        ("a + b = c", 2, "math signs"),
        ("a != b", 0, "math signs"),
        ("x ≤ ∞, y ∈ S, a² × √b", 4, "math signs"),
        (r"\frac{a}{b} \sum \int \alpha", 4, "LaTeX commands"),
        (
            "int a;\nif b {\n}",
            2,
            "brackets and semicolons at a line's end",
        ),
        ("a\n  b\n\tc\n d", 2, "indented lines"),
        ("f(x) and g(y)", 2, "calls"),
        ("f (x)", 0, "calls"),
        ("a -> b, c => d, e == f, g::h", 4, "operators of code"),
        (
            "snake_case and camelCase, not Plain or _x",
            2,
            "snake_case or camelCase",
        ),
        ("```\nx\n```", 4, "code fences"),
        ("- a\n* b\n• c\n-d", 2, "list items"),
        ("1. a\n2) b\n12. c\n100. d", 2, "numbered items"),
        ("a) x\nb. y\n(c) z\ni) no", 2, "answer options"),
        ("| a | b |\n|---|---|\na | b", 2, "table rows"),
        ("{\"a\": 1, \"b\": 2}", 2, "JSON keys"),
        ("<b>x</b> and <br/>", 2, "tags"),
        (
            "https://a.example and me@b.example",
            2,
            "links and addresses",
        ),
        ("$5, 3 €, 20 %, £1", 4, "money and percent signs"),
        ("\"a\" and “b”", 2, "quotations"),
        ("First:\nSecond:\nno: end", 2, "lines that end in a colon"),
        ("+a\n-b\n@@ -1 @@\n--- c", 4, "changed lines of a diff"),
        ("NASA and the EU are ON, I am not", 2, "words in capitals"),
        ("Stop! Now!", 2, "exclamation marks"),
        ("x\n[image_url]\n[file]", 2, "attached parts"),
        ("[not one] x", 0, "attached parts"),
    ] {
        for step in [1, 2, 4, 8] {
            let name = format!("{name}, {step} or more");
            let expected = match most >= step {
                true => name,
                false => format!("!{name}"),
            };
            text(user, &[&expected]);
        }
    }
}

#[test]
fn flags() {
    for (user, expected) in [
        (
            "Is it so?",
            &[
                "ends in a question mark",
                "!no capital letter",
                "!no full stop or other end",
            ][..],
        ),
        (
            "هل هذا صحيح؟",
            &[
                "ends in a question mark",
                "a script other than Latin",
                "!a script without spaces",
            ],
        ),
        (
            "是吗？ ",
            &["ends in a question mark", "a script without spaces"],
        ),
        (
            "do it",
            &[
                "!ends in a question mark",
                "no capital letter",
                "no full stop or other end",
                "short words",
            ],
        ),
        ("Done.", &["!no full stop or other end"]),
        ("完成。", &["!no full stop or other end"]),
        (
            "Привет",
            &["!no capital letter", "a script other than Latin"],
        ),
        (
            "internationalization considerations",
            &["long words", "!short words"],
        ),
        ("12345 67890 -- ++ ==", &["mostly digits and signs"]),
        (
            "plain words here",
            &["!mostly digits and signs", "!Latin letters with marks"],
        ),
        (
            "déjà vu",
            &["Latin letters with marks", "!a script other than Latin"],
        ),
        (
            "ไทย 日本語",
            &["a script without spaces", "a script other than Latin"],
        ),
        (
            "안녕 세계",
            &["a script other than Latin", "!a script without spaces"],
        ),
    ] {
        text(user, expected);
    }
}

/// What is beyond the beginning counts for the length, and is read at its end.
#[test]
fn a_long_message() {
    let input = Input {
        user_end: "Is that right?",
        user_chars: 5000,
        ..Input::of_text("A long story.")
    };
    check(
        &input,
        &[
            "longer than what is read",
            "characters: 4001 or more",
            "ends in a question mark",
            "sentences: 2",
        ],
    );
    text("A long story.", &["!longer than what is read"]);
    // Fewer than were read is no length.
    let input = Input {
        user_chars: 1,
        ..Input::of_text("thirteen char")
    };
    check(
        &input,
        &["characters: 13 to 25", "!longer than what is read"],
    );
}

#[test]
fn conversations() {
    check(
        &Input {
            turns: 2,
            tools: 3,
            system: "You translate.",
            previous: "x",
            ends_in_tool_result: true,
            ..Input::of_text("x")
        },
        &[
            "user messages: 2",
            "tools on offer: 1 to 3",
            "bytes of instructions: 1 to 120",
            "ends in a tool's result",
            "has an earlier user message",
        ],
    );
    let system = "x".repeat(501);
    check(
        &Input {
            turns: usize::MAX,
            tools: usize::MAX,
            system: &system,
            ..Input::of_text("x")
        },
        &[
            "user messages: 5 or more",
            "tools on offer: 4 or more",
            "bytes of instructions: 501 or more",
            "!ends in a tool's result",
            "!has an earlier user message",
        ],
    );
}

/// 1, 2, 3 and more of a concept; the opening, and the last sentence where there is another before it.
#[test]
fn concepts_by_place() {
    let value = |user: &str, name: &str| {
        let found = marks(&Input::of_text(user));
        found
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| *value)
    };
    assert_eq!(value("hello", "words: greet"), Some(0.5));
    assert_eq!(value("hello hello", "words: greet"), Some(0.75));
    assert_eq!(value("hello hello hello", "words: greet"), Some(1.0));
    assert_eq!(value(&"hello ".repeat(400), "words: greet"), Some(1.0));
    assert_eq!(value("hello", "opening words: greet"), Some(0.5));
    assert_eq!(value("hello", "last sentence: greet"), None);
    assert_eq!(value("So it is. hello", "last sentence: greet"), Some(0.5));
    assert_eq!(value("hello. So it is", "last sentence: greet"), None);
    let late = "x x x x x x x x hello";
    assert_eq!(value(late, "opening words: greet"), None);
    assert_eq!(value(late, "words: greet"), Some(0.5));
    let input = Input {
        system: "hello",
        ..Input::of_text("x")
    };
    assert!(marks(&input).contains(&("instructions: greet".to_owned(), 0.5)));
}

fn conversation() -> impl Strategy<Value = (String, String, String, String, [usize; 3], bool)> {
    let word = prop_oneof![
        "[a-zA-Z]{1,8}",
        "[0-9]{1,6}",
        "[ \\n\\t.?!:;(){}+=|<>/\"@`\\\\-]{1,4}",
        "[\\u{4e00}-\\u{4e20}\\u{3040}-\\u{3060}]{1,8}",
        ".{0,4}",
    ];
    let text = || proptest::collection::vec(word.clone(), 0..30).prop_map(|words| words.concat());
    (
        text(),
        text(),
        text(),
        text(),
        any::<[usize; 3]>(),
        any::<bool>(),
    )
}

proptest! {
    #[test]
    fn any_text_is_read_within_bounds(
        (user, user_end, system, previous, [user_chars, turns, tools], ends_in_tool_result) in conversation(),
        (other, ..) in conversation(),
    ) {
        let input = Input { system: &system, user: &user, user_end: &user_end, user_chars, previous: &previous, turns, tools, ends_in_tool_result };
        let mut features = Features::default();
        features.read(&input, lexicon());
        prop_assert_eq!(features.marks.len(), MARKS);
        prop_assert!(features.marks.iter().all(|mark| (0.0..=1.0).contains(mark)));
        // A character ends a word, its beginning, a pair and the first word at most, or three runs; and a run of signs.
        let chars = user.chars().count() + user_end.chars().count();
        prop_assert!(features.words.len() <= 5 * chars, "{} of {chars}", features.words.len());
        // What was read before leaves nothing behind.
        let mut reused = Features { traced: Some(Vec::new()), ..Features::default() };
        reused.read(&Input { previous: &user, ..Input::of_text(&other) }, lexicon());
        reused.read(&input, lexicon());
        prop_assert_eq!(&reused.words, &features.words);
        prop_assert_eq!(&reused.marks, &features.marks);
        prop_assert_eq!(reused.traced.map(|traced| traced.len()), Some(features.words.len()));
    }
}
