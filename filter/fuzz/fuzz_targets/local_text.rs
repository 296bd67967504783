//! Any conversation is read within bounds, the same way again, and the model that ships gives it shares that sum to 1.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::classify::local::features::{Features, Input, MARKS};
use pointsman::classify::local::{built_in, lexicon};
use pointsman_fuzz::choices;
use pointsman_fuzz::local::is_shares;

fuzz_target!(|bytes: &[u8]| {
    let Some(([split, numbers], text)) = choices::<2>(bytes) else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    // A share of the text is the latest message, the rest of it what is around.
    let part = |share: usize| {
        let at = text.len() * share / 255;
        text.floor_char_boundary(at)
    };
    let (user, rest) = text.split_at(part(255 - usize::from(*split)));
    let mut lines = rest.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let input = Input {
        user,
        user_end: next(),
        previous: next(),
        system: next(),
        user_chars: usize::from(*numbers) * 40,
        turns: usize::from(numbers & 7),
        tools: usize::from(numbers >> 5),
        ends_in_tool_result: numbers & 8 != 0,
    };
    let mut features = Features::default();
    features.read(&input, lexicon());
    assert_eq!(features.marks.len(), MARKS);
    assert!(features.marks.iter().all(|mark| (0.0..=1.0).contains(mark)));
    let chars = input.user.chars().count() + input.user_end.chars().count();
    assert!(features.words.len() <= 5 * chars);

    let model = built_in().expect("the model that ships");
    let mut reused = Features {
        traced: Some(Vec::new()),
        ..Features::default()
    };
    let found = model.read(&input, lexicon(), &mut reused);
    assert!(is_shares(&found, model.labels.len()), "{found:?}");
    assert_eq!(reused.words, features.words);
    assert_eq!(reused.marks, features.marks);
});
