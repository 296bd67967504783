//! Models: the file that they are in, and the arithmetic that must be the same everywhere.

use proptest::prelude::*;

use super::super::built_in;
use super::super::features::{Features, Input};
use super::super::model::{LENGTHS, MAX_LABELS, Model, ModelError, PerLabel, length_of, softmax};
use super::*;

/// FNV-1a, 64 bits, as the file's last bytes: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn signed(mut body: Vec<u8>) -> Vec<u8> {
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    body.extend(sum.to_le_bytes());
    body
}

/// Without its checksum.
fn body(model: &Model) -> Vec<u8> {
    let mut bytes = model.to_bytes();
    bytes.truncate(bytes.len() - 8);
    bytes
}

#[test]
fn there_and_back() {
    for labels in [
        &["a", "b"][..],
        &["fast", "täglich", "c"],
        &["1", "2", "3", "4", "5", "6", "7", "8"],
    ] {
        let mut model = blank(labels);
        model.bits = 9;
        model.temperature = 0.5;
        model.words = (0..512 * labels.len())
            .map(|i| (i % 255) as u8 as i8)
            .collect();
        model.marks[3] = -1.5;
        model.history[1] = 1e6;
        let bytes = model.to_bytes();
        assert_eq!(Model::from_bytes(&bytes).unwrap(), model);
        assert_eq!(signed(body(&model)), bytes);
    }
    let shipped = built_in().unwrap();
    assert_eq!(
        Model::from_bytes(&shipped.to_bytes()).as_ref(),
        Ok(&*shipped)
    );
}

#[test]
fn each_malformation_has_its_message() {
    let good = || body(&blank(&["ab", "cd"]));
    let check = |bytes: &[u8], expected: &str| {
        let said = Model::from_bytes(bytes).map_err(|error| error.to_string());
        assert_eq!(said.err().as_deref(), Some(expected));
    };
    let changed = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut bytes = good();
        change(&mut bytes);
        check(&signed(bytes), expected);
    };
    let no_model = "is no model: it does not begin with \"PMLM\"";
    for bytes in [&b""[..], b"PML", b"PMLX\x01\0", b"pmlm\x01\0"] {
        check(bytes, no_model);
    }
    check(b"PMLM", "is malformed: it is shorter than it says");
    let checksum = "is cut short or changed: its checksum does not match";
    check(b"PMLM\x01\0", checksum);
    check(b"PMLM\x01\0 more than eight", checksum);
    check(&good(), checksum);
    changed(
        &|b| b[4] = 2,
        "has version 2, and this filter reads version 1; train it anew with this release",
    );
    let labels = "is malformed: it must have 2 to 8 labels";
    changed(&|b| b[6] = 1, labels);
    changed(&|b| b[6] = 9, labels);
    let bits = "is malformed: its buckets must be 2^8 to 2^18";
    changed(&|b| b[7] = 7, bits);
    changed(&|b| b[7] = 19, bits);
    changed(&|b| b[9] = 0xff, "is malformed: a label is not UTF-8");
    let label = "is malformed: a label is empty, too long or there twice";
    changed(&|b| b[8] = 0, label);
    changed(&|b| drop(b.splice(12..14, *b"ab")), label);
    let long = "x".repeat(65);
    check(&signed(body(&blank(&["a", &long]))), label);
    let temperature = "is malformed: its temperature must be 0.01 at least";
    for value in [0.0f32, 0.009, -1.0] {
        changed(
            &|b| drop(b.splice(14..18, value.to_le_bytes())),
            temperature,
        );
    }
    let range = "is malformed: a number is out of range";
    for value in [f32::NAN, f32::INFINITY, -1.1e6] {
        for at in [14, 18, 38] {
            changed(&|b| drop(b.splice(at..at + 4, value.to_le_bytes())), range);
        }
    }
    let short = "is malformed: it is shorter than it says";
    // The checksum is no part of what is read: a file that lacks up to eight bytes would be called longer than it says.
    for lacks in [1, 7, 8, 9, 100] {
        changed(&|b| b.truncate(b.len() - lacks), short);
    }
    changed(&|b| b.truncate(6), short);
    changed(&|b| b.truncate(9), short);
    changed(&|b| b.push(0), "is malformed: it is longer than it says");
}

#[test]
fn lengths() {
    for (chars, expected) in [
        (0, 0),
        (15, 0),
        (16, 1),
        (40, 1),
        (41, 2),
        (120, 2),
        (121, 3),
        (usize::MAX, 3),
    ] {
        assert_eq!(length_of(chars), expected, "{chars}");
    }
    assert_eq!(length_of(usize::MAX), LENGTHS - 1);
}

/// By the standard library's, within the error that is stated.
#[test]
fn the_exponential() {
    let mut x = 0.0f32;
    while x > -30.0 {
        let found = softmax(&scores(&[0.0, x]), 2, 1.0);
        let ratio = f64::from(found[1]) / f64::from(found[0]);
        let expected = f64::from(x).exp();
        assert!(
            (ratio / expected - 1.0).abs() < 1e-4,
            "{x}: {ratio} {expected}"
        );
        x -= 0.013;
    }
}

fn scores(of: &[f32]) -> PerLabel {
    let mut scores = PerLabel::default();
    scores[..of.len()].copy_from_slice(of);
    scores
}

#[test]
fn probabilities() {
    let near = |found: PerLabel, expected: &[f32]| {
        let expected = scores(expected);
        let is_near = found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(is_near, "{found:?} {expected:?}");
    };
    near(softmax(&scores(&[1.0, 1.0]), 2, 1.0), &[0.5, 0.5]);
    near(softmax(&scores(&[3.0f32.ln(), 0.0]), 2, 1.0), &[0.75, 0.25]);
    near(
        softmax(&scores(&[2.0 * 3.0f32.ln(), 0.0]), 2, 2.0),
        &[0.75, 0.25],
    );
    // Scores beyond the labels are none.
    near(softmax(&[9.0; MAX_LABELS], 3, 1.0), &[1.0 / 3.0; 3]);
    near(softmax(&scores(&[1e12, -1e12]), 2, 0.01), &[1.0, 0.0]);
    near(softmax(&scores(&[-1e12, -1e12]), 2, 0.01), &[0.5, 0.5]);
}

/// A mark's weight, times its value, is what the score grows by; and the message before counts by the latest's length.
#[test]
fn scores_add_up() {
    let mut model = blank(&["a", "b"]);
    model.bias = vec![0.25, -0.5];
    let at = (0..MARKS)
        .find(|at| mark_name(*at) == "words: greet")
        .unwrap();
    model.marks[at * 2 + 1] = 4.0;
    let mut features = Features::default();
    let mut score = |model: &Model, input: &Input<'_>| {
        features.read(input, lexicon());
        let score = model.score(&features);
        (score[0], score[1])
    };
    assert_eq!(score(&model, &Input::of_text("")), (0.25, -0.5));
    assert_eq!(score(&model, &Input::of_text("hello")), (0.25, 1.5));
    assert_eq!(score(&model, &Input::of_text("hello hello")), (0.25, 2.5));
    // Every word says one for the first: four hashes, over the root of four.
    let mut words = blank(&["a", "b"]);
    words.words = [100, 0].repeat(256);
    assert_eq!(score(&words, &Input::of_text("go on")), (2.0, 0.0));

    let mut history = blank(&["a", "b"]);
    // After a short message: as the one before.
    history.history[0] = 10.0;
    history.history[3] = 10.0;
    history.marks = model.marks.clone();
    let read = |user_chars: usize, previous: &str| {
        let input = Input {
            user_chars,
            previous,
            ..Input::of_text("x")
        };
        history.read(&input, lexicon(), &mut Features::default())[1]
    };
    assert!(read(1, "hello hello hello") > 0.95);
    assert_eq!(read(16, "hello hello hello"), 0.5);
    assert_eq!(read(1, ""), 0.5);
}

/// What the latest message is read into stays, for who asks why.
#[test]
fn the_latest_message_is_what_stays() {
    let mut features = Features::default();
    let input = Input {
        previous: "something else entirely",
        ..Input::of_text("go on")
    };
    blank(&["a", "b"]).read(&input, lexicon(), &mut features);
    let mut alone = Features::default();
    alone.read(&input, lexicon());
    assert_eq!((features.words, features.marks), (alone.words, alone.marks));
}

/// Clear ones only, for weights are learned anew now and then.
#[test]
fn what_ships_decides_what_is_clear() {
    let model = built_in().unwrap();
    assert_eq!(model.labels, ["fast", "balanced", "quality", "reasoning"]);
    for (user, expected) in [
        ("hello", "fast"),
        ("thanks!", "fast"),
        ("What is the capital of France?", "fast"),
        (
            "Prove that there are infinitely many primes, and that √2 is irrational. Show every step of the proof.",
            "reasoning",
        ),
    ] {
        let input = Input {
            user_chars: user.chars().count(),
            ..Input::of_text(user)
        };
        let found = model.read(&input, lexicon(), &mut Features::default());
        let best = (0..4)
            .max_by(|a, b| found[*a].total_cmp(&found[*b]))
            .unwrap();
        assert_eq!(model.labels[best], expected, "{user} {found:?}");
    }
}

/// Once, and then the same.
#[test]
fn what_ships_is_read_once() {
    assert!(std::sync::Arc::ptr_eq(
        &built_in().unwrap(),
        &built_in().unwrap()
    ));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), has_head in any::<bool>()) {
        let bytes = if has_head { [b"PMLM\x01\0", &bytes[..]].concat() } else { bytes };
        prop_assert!(Model::from_bytes(&bytes).is_err());
        // With a checksum that matches, what is read is as long as it says.
        if let Ok(model) = Model::from_bytes(&signed(bytes)) {
            prop_assert_eq!(model.words.len(), (1usize << model.bits) * model.labels.len());
        }
    }

    #[test]
    fn no_header_panics(count in any::<u8>(), bits in any::<u8>(), rest in proptest::collection::vec(any::<u8>(), 0..64)) {
        let bytes = signed([b"PMLM\x01\0", &[count, bits][..], &rest].concat());
        let is_malformed = matches!(Model::from_bytes(&bytes), Err(ModelError::Malformed(_)));
        prop_assert!(is_malformed);
    }

    #[test]
    fn a_changed_file_never_loads(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..5),
    ) {
        let good = blank(&["a", "b"]).to_bytes();
        let mut bytes = good.clone();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        prop_assert_eq!(Model::from_bytes(&bytes).is_ok(), bytes == good);
    }

    #[test]
    fn probabilities_are_shares(
        values in proptest::collection::vec(-1e9f32..1e9, 2..=MAX_LABELS), temperature in 0.01f32..100.0,
    ) {
        let found = softmax(&scores(&values), values.len(), temperature);
        prop_assert!(found.iter().all(|p| (0.0..=1.0).contains(p)), "{found:?}");
        prop_assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{found:?}");
        prop_assert!(found[values.len()..].iter().all(|p| *p == 0.0));
    }
}
