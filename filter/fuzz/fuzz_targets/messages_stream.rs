//! What a client gets of a stream does not depend on how it was split, and is a whole Message or ends in one error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::messages::stream::Stream;
use pointsman_fuzz::streams::{check_message, translate};
use pointsman_fuzz::{choices, chunks};

fuzz_target!(|bytes: &[u8]| {
    let Some((&[max, ref sizes @ ..], stream)) = choices::<4>(bytes) else {
        return;
    };
    for max in [usize::from(max), usize::MAX] {
        let whole = translate(&mut Stream::new("m"), max, &[stream]);
        check_message(&whole);
        let split = translate(&mut Stream::new("m"), max, &chunks(stream, sizes));
        assert_eq!(split, whole);
    }
});
