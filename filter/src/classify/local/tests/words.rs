//! Lexicon: its words are found as people write them, and its file says each thing once.

use std::collections::BTreeMap;

use super::super::features::Input;
use super::super::lexicon::MAX_CONCEPTS;
use super::super::text::fold;
use super::*;

const TSV: &str = include_str!("../../../../model/lexicon.tsv");

fn has(user: &str, concept: &str) -> bool {
    let name = format!("words: {concept}");
    marks(&Input::of_text(user)).iter().any(|(n, _)| *n == name)
}

/// Its lines: concept, language, entries.
fn lines() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TSV.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [concept, language, entries] = fields[..] else {
                panic!("{line:?} must be: concept, language, entries");
            };
            (concept, language, entries)
        })
}

#[test]
fn every_line_has_its_form() {
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-')
    };
    let mut concepts: Vec<&str> = Vec::new();
    for (concept, language, entries) in lines() {
        assert!(
            is_name(concept) && is_name(language),
            "{concept} {language}"
        );
        if !concepts.contains(&concept) {
            concepts.push(concept);
        }
        for entry in entries.split(',') {
            let word = entry.strip_suffix('*').unwrap_or(entry);
            let is_word = |c: char| c.is_alphanumeric() || fold(c).is_none() || !c.is_ascii();
            assert!(
                !word.is_empty() && word.trim() == word && word.chars().all(is_word),
                "{concept} {language} {entry:?}"
            );
        }
    }
    assert!(concepts.len() <= MAX_CONCEPTS);
    assert_eq!(lexicon().names(), concepts);
}

/// The first would be found and the others never.
#[test]
fn no_entry_stands_for_two_concepts() {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    let mut twice = Vec::new();
    for (concept, language, entries) in lines() {
        for entry in entries.split(',') {
            let folded: String = entry.chars().filter_map(fold).collect();
            match known.get(&folded) {
                Some(first) if *first != concept => {
                    twice.push(format!("{language} {entry}: {first}, {concept}"))
                }
                _ => drop(known.insert(folded, concept)),
            }
        }
    }
    assert!(twice.is_empty(), "{twice:#?}");
}

#[test]
fn words_with_and_without_their_marks() {
    for user in [
        "hello",
        "Hello!",
        "HALLO",
        "olá",
        "ola",
        "Привет",
        "привіт",
        "你好吗",
        "こんにちは",
        "안녕하세요",
        "नमस्ते",
        "สวัสดีครับ",
        "مرحبا",
        "grüezi",
        "gruezi",
        "xin chào",
    ] {
        assert!(has(user, "greet"), "{user}");
    }
    for user in ["othello", "helloes", "x", "", "h e l l o"] {
        assert!(!has(user, "greet"), "{user}");
    }
}

/// An entry with a star is the beginning of a word, never its middle; one without is a whole word.
#[test]
fn beginnings_and_whole_words() {
    for user in ["teşekkürler", "tesekkur", "안녕"] {
        assert!(has(user, "thanks") || has(user, "greet"), "{user}");
    }
    for user in ["xtesekkur", "thankless"] {
        assert!(!has(user, "thanks"), "{user}");
    }
    assert!(has("thanks", "thanks"));
}

/// Every entry of the file is found in a text of nothing else.
#[test]
fn every_entry_is_found() {
    let mut lost = Vec::new();
    let mut first: BTreeMap<String, &str> = BTreeMap::new();
    for (concept, language, entries) in lines() {
        for entry in entries.split(',') {
            let folded: String = entry.chars().filter_map(fold).collect();
            let concept = *first.entry(folded).or_insert(concept);
            let word = entry.strip_suffix('*').unwrap_or(entry);
            let found = marks(&Input::of_text(word));
            let name = format!("words: {concept}");
            if !found.iter().any(|(n, _)| *n == name) {
                lost.push(format!("{concept} {language} {entry}"));
            }
        }
    }
    assert!(lost.is_empty(), "{} {lost:#?}", lost.len());
}
