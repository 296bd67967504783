//! Packs the lexicon for the filter: hashes instead of words, less than half its size in the Wasm.
//!
//! Writes `lexicon.bin`, for each entry its key (u32, little-endian) and its concept (u8), and `concepts.txt`, the concepts' names by
//! index, a line each.

use std::path::Path;
use std::{env, fs};

#[allow(dead_code, reason = "the filter uses the rest")]
#[path = "src/classify/local/text.rs"]
mod text;

use text::{Class, Fnv, class, fold};

const TSV: &str = "model/lexicon.tsv";

fn main() {
    println!("cargo::rerun-if-changed={TSV}");
    println!("cargo::rerun-if-changed=src/classify/local/text.rs");
    let tsv = fs::read_to_string(TSV).unwrap_or_else(|e| panic!("{TSV}: {e}"));
    let mut concepts: Vec<&str> = Vec::new();
    let mut entries: Vec<(u32, u8)> = Vec::new();
    let lines = tsv.lines().enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.starts_with('#')) {
        let mistake = |what: &str| -> ! { panic!("{TSV}:{}: {what}", number + 1) };
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, _language, words] = fields[..] else {
            mistake("not three fields: a concept, a language, entries")
        };
        let known = concepts.iter().position(|concept| *concept == name);
        let concept = known.unwrap_or_else(|| {
            concepts.push(name);
            concepts.len() - 1
        });
        for word in words.split(',') {
            let Some(key) = key(word) else {
                mistake("an entry without letters")
            };
            match entries.iter().find(|(known, _)| *known == key) {
                Some((_, other)) if usize::from(*other) != concept => {
                    let other = concepts[usize::from(*other)];
                    mistake(&format!("{word} is under {other} already"))
                }
                Some(_) => {}
                None => entries.push((key, u8::try_from(concept).expect("few concepts"))),
            }
        }
    }
    let packed = entries.iter().flat_map(|(key, concept)| {
        let [a, b, c, d] = key.to_le_bytes();
        [a, b, c, d, *concept]
    });
    let out = env::var("OUT_DIR").expect("set by cargo");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(Path::new(&out).join(name), bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    };
    write("lexicon.bin", &packed.collect::<Vec<u8>>());
    write("concepts.txt", concepts.join("\n").as_bytes());
}

/// Of a whole word or run, or of a beginning: `schreib*`.
fn key(word: &str) -> Option<u32> {
    let (letters, is_beginning) = match word.strip_suffix('*') {
        Some(letters) => (letters, true),
        None => (word, false),
    };
    let folded: Vec<char> = letters.chars().filter_map(fold).collect();
    let is_word = |c: &char| matches!(class(*c), Class::Letter | Class::Ideograph | Class::Digit);
    if folded.is_empty() || !folded.iter().all(is_word) {
        return None;
    }
    let hash = folded
        .iter()
        .fold(Fnv::EMPTY, |hash, c| hash.push(u32::from(*c)));
    Some(if is_beginning {
        hash.beginning()
    } else {
        hash.whole()
    })
}
