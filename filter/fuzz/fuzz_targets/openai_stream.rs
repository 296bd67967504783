//! What passes of a stream, and what is seen of it, do not depend on how it was split; what passes of a whole answer is what
//! came, less whole events, and of any other the beginning, and one error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::chat::usage::Usage;
use pointsman::provider::passing::{Format, Passed, Passing, StreamEnd};
use pointsman_fuzz::streams::events;
use pointsman_fuzz::{choices, chunks};

#[derive(Debug, PartialEq)]
struct Outcome {
    passed: Vec<u8>,
    usage: Usage,
    end: StreamEnd,
}

fn pass(format: Format, max: usize, chunks: &[&[u8]]) -> Outcome {
    let mut passing = Passing::new(format, max);
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
        end: passing.ended().expect("an end"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[max, ref sizes @ ..], stream)) = choices::<4>(bytes) else {
        return;
    };
    let chunks = chunks(stream, sizes);
    let chat = |remove_usage, many_choices| Format::Chat {
        remove_usage,
        many_choices,
    };
    for max in [usize::from(max), usize::MAX] {
        for format in [chat(false, false), chat(false, true), Format::Messages] {
            let untouched = pass(format, max, &[stream]);
            assert_eq!(pass(format, max, &chunks), untouched);
            if untouched.end == StreamEnd::Complete {
                assert_eq!(untouched.passed, stream);
            }
        }
        let untouched = pass(chat(false, false), max, &[stream]);
        let whole = pass(chat(true, false), max, &[stream]);
        assert_eq!(pass(chat(true, false), max, &chunks), whole);
        assert_eq!((whole.usage, whole.end), (untouched.usage, untouched.end));
        // A subsequence of the events.
        let mut came = events(&untouched.passed).into_iter();
        for event in events(&whole.passed) {
            assert!(came.any(|one| one == event));
        }
    }
});
