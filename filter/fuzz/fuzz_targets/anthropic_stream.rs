//! What a client gets of a stream does not depend on how it was split, and is a whole stream of chunks or ends in one error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::provider::anthropic::stream::Stream;
use pointsman::provider::translate::Told;
use pointsman_fuzz::asks::TOLD;
use pointsman_fuzz::streams::{check_chat, translate};
use pointsman_fuzz::{choices, chunks};

fuzz_target!(|bytes: &[u8]| {
    let Some((&[flags, max, ref sizes @ ..], stream)) = choices::<5>(bytes) else {
        return;
    };
    let told = Told {
        include_usage: flags & 1 != 0,
        ..TOLD
    };
    for max in [usize::from(max), usize::MAX] {
        let whole = translate(&mut Stream::new(&told), max, &[stream]);
        check_chat(&whole);
        let split = translate(&mut Stream::new(&told), max, &chunks(stream, sizes));
        assert_eq!(split, whole);
    }
});
