//! Training: what is learned of a few clear examples, and that it is learned the same way again.

use super::super::model::{PerLabel, softmax};
use super::super::train::{Example, Options, Random, train};
use super::*;

fn example(user: &str, previous: &str, label: usize) -> Example {
    let mut wanted = PerLabel::default();
    wanted[label] = 1.0;
    let input = Input {
        previous,
        user_chars: user.chars().count(),
        ..Input::of_text(user)
    };
    Example::new(&input, lexicon(), wanted)
}

fn learned(examples: &[Example], options: Options) -> Model {
    let labels = ["easy", "hard"].map(str::to_owned);
    train(&labels, &examples.iter().collect::<Vec<_>>(), options)
}

fn options() -> Options {
    Options {
        bits: 8,
        epochs: 20,
        ..Options::default()
    }
}

fn clear() -> Vec<Example> {
    let easy = ["hello there", "thanks a lot", "good morning", "ok then"];
    let hard = [
        "prove that x = y",
        "prove the lemma",
        "derive the sum",
        "prove it by induction",
    ];
    let of = |users: [&str; 4], label: usize| users.map(|user| example(user, "", label));
    [of(easy, 0), of(hard, 1)].concat()
}

#[test]
fn what_is_clear_is_learned() {
    let examples = clear();
    let model = learned(&examples, options());
    for example in &examples {
        let found = model.predict(example);
        let right = found[0] * example.wanted[0] + found[1] * example.wanted[1];
        assert!(right > 0.8, "{found:?}");
    }
    assert_eq!((model.bits, model.temperature), (8, 1.0));
    assert_eq!(Model::from_bytes(&model.to_bytes()), Ok(model));
}

/// What it says of an example is what it says of the conversation.
#[test]
fn predicted_is_what_is_read() {
    let model = learned(&clear(), options());
    for (user, previous) in [
        ("hello", ""),
        ("go on", "prove it"),
        ("", "x"),
        ("証明して 1 + 1", "hello"),
    ] {
        let input = Input {
            previous,
            user_chars: user.chars().count(),
            ..Input::of_text(user)
        };
        let read = model.read(&input, lexicon(), &mut Features::default());
        assert_eq!(model.predict(&example(user, previous, 0)), read, "{user}");
    }
}

#[test]
fn the_seed_decides() {
    let of = |seed: u64| learned(&clear(), Options { seed, ..options() }).to_bytes();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

/// The same short answer is easy after what is easy, and hard after what is hard.
#[test]
fn the_message_before_is_learned() {
    let mut examples = clear();
    for _ in 0..6 {
        examples.push(example("go on", "hello there", 0));
        examples.push(example("go on", "prove the lemma", 1));
    }
    let model = learned(&examples, options());
    let hard = |previous: &str| model.predict(&example("go on", previous, 0))[1];
    assert!(hard("prove that x = y") > hard("thanks a lot") + 0.3);
}

/// What weighs nothing teaches nothing.
#[test]
fn weights_of_examples_count() {
    let mut examples = clear();
    for example in &mut examples {
        example.weight = 0.0;
    }
    let model = learned(
        &examples,
        Options {
            decay: 0.0,
            ..options()
        },
    );
    assert!(model.bias.iter().chain(&model.marks).all(|w| *w == 0.0));
    assert!(model.words.iter().all(|w| *w == 0));
    let nothing = learned(&[], options());
    assert_eq!(
        softmax(&nothing.score(&Features::default()), 2, 1.0)[..2],
        [0.5, 0.5]
    );
}

#[test]
fn numbers_by_chance_are_the_same_again() {
    // The first three of SplitMix64 from 1234567, as its authors' program prints them: <https://prng.di.unimi.it/splitmix64.c>.
    let mut random = Random(1_234_567);
    let first = [random.number(), random.number(), random.number()];
    assert_eq!(
        first,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423
        ]
    );
    let shuffled = |seed: u64| {
        let mut items: Vec<u32> = (0..20).collect();
        Random(seed).shuffle(&mut items);
        items
    };
    assert_eq!(shuffled(1), shuffled(1));
    assert_ne!(shuffled(1), shuffled(2));
    let mut sorted = shuffled(1);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..20).collect::<Vec<_>>());
    Random(1).shuffle::<u32>(&mut []);
}
