//! A request that is admitted has its model where it says, and keeps no more text than the cut allows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::chat::request::parse;
use pointsman_fuzz::choices;
use pointsman_fuzz::requests::{check, cut};

fuzz_target!(|bytes: &[u8]| {
    let Some((&[system, user], body)) = choices::<2>(bytes) else {
        return;
    };
    let cut = cut(system, user);
    if let Ok(request) = parse(body, cut) {
        check(body, cut, request);
    }
});
