//! A translated answer is a chat completion, and one that a client of Messages can be given as well.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::provider::anthropic::answer::to_chat;
use pointsman_fuzz::answers::check;

fuzz_target!(|bytes: &[u8]| check(bytes, to_chat));
