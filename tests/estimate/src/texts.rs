//! Texts: files cut into pieces, each of one kind.
//!
//! Prompts (`.jsonl`, as filter/model has them) and translations (`.po`) are joined with others of their script until
//! they are long enough; anything else is cut.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::LONG;

/// Characters that a file is cut into.
const PIECE: usize = 2_000;

/// Of the repository.
const OWN: [&str; 5] = ["README.md", "CHANGELOG.md", "filter", "k8s", "tests"];

pub struct Text {
    pub kind: &'static str,
    pub text: String,
}

/// What is not yet long enough, by kind.
#[derive(Default)]
struct Joined {
    texts: Vec<Text>,
    open: BTreeMap<&'static str, String>,
}

/// Those of the repository, and of `more` files and folders.
pub fn read(more: Vec<PathBuf>) -> Result<Vec<Text>, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths: Vec<PathBuf> = OWN.iter().map(|name| root.join(name)).collect();
    paths.extend(more);
    let mut joined = Joined::default();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let inside: Result<Vec<_>, _> = fs::read_dir(path)?.collect();
            let mut inside: Vec<_> = inside?.iter().map(fs::DirEntry::path).collect();
            inside.sort();
            paths.extend(inside);
            continue;
        }
        let Some(extension) = path.extension().and_then(|name| name.to_str()) else {
            continue;
        };
        let english = path.to_string_lossy().contains("_en");
        match extension {
            "jsonl" => {
                for line in fs::read_to_string(&path)?.lines() {
                    joined.add(&said(&serde_json::from_str(line)?), english);
                }
            }
            "po" => {
                for text in translations(&fs::read_to_string(&path)?) {
                    joined.add(&text, false);
                }
            }
            "md" | "txt" => joined.cut("documents", &path)?,
            "json" => joined.cut("JSON", &path)?,
            "rs" | "py" | "js" | "ts" | "go" | "c" | "java" => joined.cut("code", &path)?,
            "yaml" | "toml" => joined.cut("YAML, TOML", &path)?,
            _ => {}
        }
    }
    Ok(joined.texts)
}

/// A prompt, or all that is said in a conversation.
fn said(line: &Value) -> String {
    if let Some(prompt) = line["prompt"].as_str() {
        return prompt.to_owned();
    }
    let messages = line["request"]["messages"].as_array();
    let said = messages.into_iter().flatten();
    let said: Vec<&str> = said
        .filter_map(|message| message["content"].as_str())
        .collect();
    said.join("\n\n")
}

fn translations(po: &str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut inside = false;
    for line in po.lines() {
        let start = line.starts_with("msgstr");
        if start {
            texts.push(String::new());
        }
        inside = start || inside && line.starts_with('"');
        let quoted = line
            .find('"')
            .and_then(|at| serde_json::from_str::<String>(&line[at..]).ok());
        if let (true, Some(text), Some(quoted)) = (inside, texts.last_mut(), quoted) {
            text.push_str(&quoted);
        }
    }
    // The first is the file's own header.
    texts
        .into_iter()
        .skip(1)
        .filter(|text| !text.is_empty())
        .collect()
}

/// By the script of most letters: Han, kana and Hangul say more each than an alphabet's.
fn kind(text: &str, english: bool) -> &'static str {
    let mut counts = [0usize; 6];
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        let (script, weight) = match c {
            '\u{370}'..='\u{52f}' => (1, 1),
            '\u{590}'..='\u{77f}' => (2, 1),
            '\u{900}'..='\u{fff}' => (3, 1),
            '\u{3040}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' => (4, 3),
            '\u{1000}'..='\u{1dff}' => (5, 1),
            _ => (0, 1),
        };
        counts[script] += weight;
    }
    let script = (0..6).rev().max_by_key(|script| counts[*script]);
    match script {
        Some(1) => "Cyrillic, Greek",
        Some(2) => "Arabic, Hebrew",
        Some(3) => "Indic, Thai",
        Some(4) => "CJK",
        Some(5) => "other scripts",
        _ if english => "prompts, English",
        _ => "other Latin",
    }
}

// === impl Joined ===

impl Joined {
    fn add(&mut self, text: &str, english: bool) {
        let kind = kind(text, english);
        let open = self.open.entry(kind).or_default();
        open.push_str(text);
        open.push_str("\n\n");
        if open.chars().count() >= LONG {
            let text = std::mem::take(open);
            self.texts.push(Text { kind, text });
        }
    }

    fn cut(&mut self, kind: &'static str, path: &Path) -> Result<(), Box<dyn Error>> {
        let chars: Vec<char> = fs::read_to_string(path)?.chars().collect();
        let pieces = chars.chunks(PIECE).filter(|piece| piece.len() >= LONG);
        self.texts.extend(pieces.map(|piece| Text {
            kind,
            text: piece.iter().collect(),
        }));
        Ok(())
    }
}
