//! The estimate of input tokens beside what tokenizers count: `make estimate`.
//!
//! Texts are the repository's own: prompts, code, documents, JSON; and those of the files named as arguments. OpenAI's
//! two vocabularies are built in. Others are named as `--tokenizer name=tokenizer.json`, in the format of Hugging Face.

mod texts;

use std::collections::BTreeMap;
use std::error::Error;

use pointsman::chat::needs::Estimate;
use pointsman::chat::request::{Cut, parse};
use serde_json::json;
use tiktoken_rs::CoreBPE;
use tokenizers::Tokenizer;

use texts::Text;

/// Characters from which on `low` is promised to hold.
const LONG: usize = 1_000;

/// What counts tokens.
enum Counter {
    OpenAi(CoreBPE),
    File(Box<Tokenizer>),
}

/// One text's estimate, and what was counted.
struct Row {
    estimate: Estimate,
    counted: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut counters = vec![
        (
            "o200k".to_owned(),
            Counter::OpenAi(tiktoken_rs::o200k_base()?),
        ),
        (
            "cl100k".to_owned(),
            Counter::OpenAi(tiktoken_rs::cl100k_base()?),
        ),
    ];
    let mut files = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg != "--tokenizer" {
            files.push(arg.into());
            continue;
        }
        let named = args.next().unwrap_or_default();
        let (name, path) = named
            .split_once('=')
            .ok_or("--tokenizer wants name=tokenizer.json")?;
        let tokenizer = Tokenizer::from_file(path).map_err(|e| format!("{path}: {e}"))?;
        counters.push((name.to_owned(), Counter::File(Box::new(tokenizer))));
    }
    let texts = texts::read(files)?;
    println!(
        "estimate / counted, texts of {LONG} characters and more; \"over\": of which `low` is above what was counted"
    );
    for (name, counter) in &counters {
        let mut kinds: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
        for text in &texts {
            let row = Row {
                estimate: estimate(text)?,
                counted: counter.count(&text.text)?,
            };
            kinds.entry(text.kind).or_default().push(row);
        }
        println!(
            "\n{name:<20} {:>6} {:>7} {:>7} {:>7} {:>9} {:>5}",
            "texts", "p5", "median", "p95", "low: p50", "over"
        );
        for (kind, rows) in &kinds {
            print(kind, rows);
        }
        print("all", kinds.values().flatten());
    }
    Ok(())
}

/// Of the text alone: a message's own tokens, which no tokenizer counts, are taken off.
fn estimate(text: &Text) -> Result<Estimate, Box<dyn Error>> {
    let of = |text: &str| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
        let request = parse(body.to_string().as_bytes(), Cut::default());
        request.map(|request| request.needs.input_tokens())
    };
    let (whole, empty) = (of(&text.text), of(""));
    let (whole, empty) = whole
        .and_then(|w| Ok((w, empty?)))
        .map_err(|bad| bad.message)?;
    Ok(Estimate {
        low: whole.low - empty.low,
        likely: whole.likely - empty.likely,
    })
}

fn print<'r>(kind: &str, rows: impl IntoIterator<Item = &'r Row>) {
    let rows: Vec<&Row> = rows.into_iter().collect();
    let ratios = |of: fn(&Row) -> u32| {
        let ratio = |row: &&Row| f64::from(of(row)) / row.counted.max(1) as f64;
        let mut ratios: Vec<f64> = rows.iter().map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    };
    let (likely, low) = (
        ratios(|row| row.estimate.likely),
        ratios(|row| row.estimate.low),
    );
    let at = |ratios: &[f64], percent: usize| ratios[(ratios.len() - 1) * percent / 100];
    let over = low.iter().filter(|ratio| **ratio > 1.0).count();
    println!(
        "{kind:<20} {:>6} {:>7.2} {:>7.2} {:>7.2} {:>9.2} {:>5}",
        rows.len(),
        at(&likely, 5),
        at(&likely, 50),
        at(&likely, 95),
        at(&low, 50),
        over
    );
}

// === impl Counter ===

impl Counter {
    fn count(&self, text: &str) -> Result<usize, Box<dyn Error>> {
        Ok(match self {
            Counter::OpenAi(bpe) => bpe.encode_ordinary(text).len(),
            Counter::File(tokenizer) => {
                let encoding = tokenizer.encode_fast(text, false);
                encoding.map_err(|e| e.to_string())?.len()
            }
        })
    }
}
