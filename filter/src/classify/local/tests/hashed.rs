//! Words: what of a text is hashed, and what is the same.

use super::super::features::Input;
use super::*;

/// The texts that are hashed, each as often as it is.
fn check(user: &str, expected: &[&str]) {
    let found = hashed(&Input::of_text(user));
    let found: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(found, expected, "{user:?}");
}

fn sorted(user: &str) -> Vec<u32> {
    let mut hashes: Vec<u32> = hashed(&Input::of_text(user))
        .into_iter()
        .map(|(hash, _)| hash)
        .collect();
    hashes.sort_unstable();
    hashes
}

#[test]
fn words_and_pairs() {
    check("", &[]);
    check("hello", &["hello", "hello"]);
    // A word, as the first, and its beginning if it is longer than five letters.
    check("longer", &["longer", "longer", "longer"]);
    check("go on", &["go", "go", "on", "go on"]);
    check("go, on", &["go", "go", ",", "on", "go, on"]);
    check("a b c", &["a", "a", "b", "a b", "c", "b c"]);
}

/// Nor where a line ends, or where a script without spaces is between.
#[test]
fn a_pair_ends_with_the_sentence() {
    let has_pair = |user: &str| {
        hashed(&Input::of_text(user))
            .iter()
            .any(|(_, text)| text.contains("so") && text.contains("it"))
    };
    for user in ["so it", "so, it", "so: it", "so (it)", "so - it"] {
        assert!(has_pair(user), "{user:?}");
    }
    for user in [
        "so. it",
        "so! it",
        "so? it",
        "so… it",
        "so\nit",
        "so 字 it",
        "so\n\nit",
        "so। it",
    ] {
        assert!(!has_pair(user), "{user:?}");
    }
    // The end of a message is no neighbour of its beginning.
    let input = Input {
        user_end: "it",
        ..Input::of_text("so")
    };
    let found = hashed(&input);
    let found: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(found, ["so", "so", "it"]);
}

#[test]
fn numbers_by_their_length() {
    assert_eq!(sorted("17"), sorted("42"));
    assert_ne!(sorted("17"), sorted("171"));
    assert_eq!(sorted("17171"), sorted("1234567890"));
    assert_ne!(sorted("17"), sorted("a7"));
    assert_eq!(sorted("in 17 days"), sorted("in 99 days"));
}

#[test]
fn what_is_folded_is_the_same() {
    for (one, two) in [
        ("HELLO", "hello"),
        ("École", "ecole"),
        ("e\u{301}te", "été"),
        ("ＡＢＣ", "abc"),
        ("zero\u{200b}width", "zerowidth"),
        ("أحمد", "احمد"),
    ] {
        assert_eq!(sorted(one), sorted(two), "{one}");
    }
    for (one, two) in [
        ("hello", "hallo"),
        ("ab", "ba"),
        ("a b", "ab"),
        ("!?", "?!"),
    ] {
        assert_ne!(sorted(one), sorted(two), "{one}");
    }
}

/// Each character, and the runs of two and of three that end in it.
#[test]
fn scripts_without_spaces() {
    check("日本語", &["日", "本", "日本", "語", "本語", "日本語"]);
    check(
        "日本語学",
        &[
            "日",
            "本",
            "日本",
            "語",
            "本語",
            "日本語",
            "学",
            "語学",
            "本語学",
        ],
    );
    // Anything else between ends a run.
    check("日 本", &["日", "本"]);
    check("日a本", &["日", "a", "本"]);
    // A run of signs is known when it has ended.
    check("日。本", &["日", "本", "。"]);
}

/// A run of signs is told apart by its first three.
#[test]
fn runs_of_signs() {
    check("->", &["->"]);
    check("-> =>", &["->", "=>"]);
    assert_eq!(sorted("====="), sorted("==="));
    assert_ne!(sorted("=="), sorted("==="));
}

/// A word, its beginning and a sign are never one hash; the same word is the same again but for its being first.
#[test]
fn kinds_are_apart() {
    let mut found = sorted("abcdef");
    found.dedup();
    assert_eq!(found.len(), 3);
    let of = |user: &str| hashed(&Input::of_text(user));
    let again = of("so. so");
    let so: Vec<u32> = again
        .iter()
        .filter(|(_, text)| text == "so")
        .map(|(hash, _)| *hash)
        .collect();
    assert_eq!(so.len(), 3);
    assert_eq!(so[0], so[2]);
    assert_ne!(so[0], so[1]);
}
