//! What passes of a stream, and what is seen of it, do not depend on how it was split; what passes is what came, less
//! whole events.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::chat::usage::Usage;
use pointsman::provider::openai::stream::{Passed, Passing};
use pointsman_fuzz::streams::events;
use pointsman_fuzz::{choices, chunks};

#[derive(Debug, PartialEq)]
struct Outcome {
    passed: Vec<u8>,
    usage: Usage,
    done: bool,
    error: bool,
}

fn pass(remove_usage: bool, max: usize, chunks: &[&[u8]]) -> Outcome {
    let mut passing = Passing::new(remove_usage, max);
    let mut passed = Vec::new();
    for chunk in chunks {
        match passing.push(chunk) {
            Passed::AsItCame => passed.extend_from_slice(chunk),
            Passed::Replaced(bytes) => passed.extend_from_slice(bytes),
        }
    }
    passed.extend_from_slice(passing.finish());
    Outcome {
        passed,
        usage: passing.usage(),
        done: passing.saw_done(),
        error: passing.saw_error(),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[max, ref sizes @ ..], stream)) = choices::<4>(bytes) else {
        return;
    };
    let chunks = chunks(stream, sizes);
    for max in [usize::from(max), usize::MAX] {
        let untouched = pass(false, max, &[stream]);
        assert_eq!(untouched.passed, stream);
        assert_eq!(pass(false, max, &chunks), untouched);

        let whole = pass(true, max, &[stream]);
        assert_eq!(pass(true, max, &chunks), whole);
        assert_eq!(
            Outcome {
                passed: untouched.passed,
                ..whole
            },
            Outcome {
                passed: stream.to_vec(),
                ..untouched
            }
        );
        // A subsequence of the events.
        let mut came = events(stream).into_iter();
        for event in events(&whole.passed) {
            assert!(came.any(|one| one == event));
        }
    }
});
