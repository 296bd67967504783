//! What a client gets of a stream does not depend on how it was split, and is a whole stream of chunks or ends in one error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::provider::anthropic::stream::Stream;
use pointsman_fuzz::streams::check_splits;

fuzz_target!(|bytes: &[u8]| check_splits(bytes, Stream::new));
