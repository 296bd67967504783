//! No file panics as a model; what loads is written again as it was, and gives a text shares that sum to 1.
//!
//! The input's last bytes are replaced by their checksum, or hardly any would load.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use pointsman::classify::local::features::{Features, Input};
use pointsman::classify::local::lexicon;
use pointsman::classify::local::model::Model;
use pointsman_fuzz::local::{is_shares, signed, small};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_bytes(bytes) {
        assert_eq!(model.to_bytes(), bytes);
    }
    // Laid over a small model: a fuzzer does not find thousands of numbers that are in range.
    static SMALL: OnceLock<Vec<u8>> = OnceLock::new();
    let mut whole = SMALL.get_or_init(|| small().to_bytes()).clone();
    whole.truncate(whole.len() - 8);
    let len = bytes.len().min(whole.len());
    whole[..len].copy_from_slice(&bytes[..len]);
    let whole = signed(whole);
    let Ok(model) = Model::from_bytes(&whole) else {
        return;
    };
    assert_eq!(model.to_bytes(), whole);
    let mut features = Features::default();
    for (user, previous) in [("hello", ""), ("Prove that 1 + 1 = 2.", "hello"), ("", "x")] {
        let input = Input {
            previous,
            ..Input::of_text(user)
        };
        let found = model.read(&input, lexicon(), &mut features);
        assert!(is_shares(&found, model.labels.len()), "{found:?}");
    }
});
