//! Every fuzz target over its seeds and over what becomes of them, a bounded number of times: in seconds, on every `make test`,
//! what `make fuzz` does for as long as one likes and led by coverage.
//!
//! The same cases in every run. `FUZZ_CASES=100000` is a longer one.

// The targets, and what they share, are compiled into this test: what they take from other crates is here.
extern crate self as libfuzzer_sys;
extern crate self as pointsman_fuzz;

#[path = "../../filter/fuzz/src/lib.rs"]
mod shared;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::LazyLock;
use std::{env, fs};

use pointsman_tests::render::root;

pub use shared::*;

use crate::seeds::Seed;

const CASES: usize = 5000;
/// As `make fuzz` has it.
const MAX_LENGTH: usize = 8192;
/// What has a meaning in JSON, in server-sent events, or in a number.
const TOKENS: [&[u8]; 16] = [
    b"\"", b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n\n", b"data: ", b"null", b"-1", b"1e999",
    b"\\ud800", b"\xff", b"\0",
];

macro_rules! targets {
    ($($name:ident)*) => {
        // They say `no_main`, which is a whole program's.
        #[allow(unused_attributes)]
        #[path = "../../filter/fuzz/fuzz_targets"]
        mod targets {
            $(pub mod $name;)*
        }

        $(#[test]
        fn $name() {
            run(stringify!($name), targets::$name::target);
        })*

        const TARGETS: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    adapt anthropic_answer anthropic_request anthropic_stream chat_request classifier_reply errors gemini_answer gemini_request gemini_stream
    handover health local_model local_text messages_answer messages_request messages_stream messages_view openai_request
    openai_stream policy sse
}

#[test]
fn every_target_is_run_and_has_a_seed() {
    let files = fs::read_dir(root().join("filter/fuzz/fuzz_targets")).expect("the targets");
    let files: BTreeSet<String> = files
        .map(|file| file.expect("a target").path())
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let run: BTreeSet<String> = TARGETS.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(files, run);
    let seeded: BTreeSet<String> = SEEDS.iter().map(|seed| seed.target.clone()).collect();
    assert_eq!(seeded, run);
}

static SEEDS: LazyLock<Vec<Seed>> =
    LazyLock::new(|| seeds::seeds(&root()).expect("fixtures as the seeds want them"));

/// Leaves the bytes that fail beside the build, for `target/fuzz/…/<target> <file>` as well.
fn run(name: &str, target: fn(&[u8])) {
    let cases = match env::var("FUZZ_CASES") {
        Ok(cases) => cases.parse().expect("FUZZ_CASES: a number"),
        Err(_) => CASES,
    };
    let seeds: Vec<&[u8]> = SEEDS
        .iter()
        .filter(|seed| seed.target == name)
        .map(|seed| &*seed.bytes)
        .collect();
    let mut random = fastrand::Rng::with_seed(7);
    let mutated = (0..cases).map(|_| mutate(&seeds, &mut random));
    for bytes in seeds.iter().map(|seed| seed.to_vec()).chain(mutated) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&bytes))) {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
            fs::write(&file, &bytes).expect("a file for what fails");
            eprintln!("{name} fails on {}", file.display());
            resume_unwind(panic);
        }
    }
}

/// One of the seeds, with one to eight changes.
fn mutate(seeds: &[&[u8]], random: &mut fastrand::Rng) -> Vec<u8> {
    let seed = |random: &mut fastrand::Rng| seeds[random.usize(..seeds.len())];
    let mut bytes = seed(random).to_vec();
    for _ in 0..random.usize(1..=8) {
        let at = random.usize(..=bytes.len());
        let span = at..bytes.len().min(at + random.usize(..=32));
        match random.u8(..6) {
            // A bit of the byte there.
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.u8(..8);
                }
            }
            1 => drop(bytes.drain(span)),
            2 => drop(bytes.splice(span, TOKENS[random.usize(..TOKENS.len())].iter().copied())),
            3 => drop(bytes.splice(at..at, bytes[span].to_vec())),
            // Goes on as another seed does from there.
            4 => {
                let other = seed(random);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
            }
            _ => bytes.truncate(at),
        }
        bytes.truncate(MAX_LENGTH);
    }
    bytes
}

// Behind the targets, so that they find it by its path.
/// A target's body as a function, in place of libFuzzer's entry.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:expr) => {
        pub fn target($bytes: &[u8]) {
            $body
        }
    };
}
