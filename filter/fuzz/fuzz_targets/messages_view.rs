//! A request that is admitted has its model where it says, and keeps no more text than the cut allows. One that may be
//! answered may be counted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::messages::view::{parse, parse_count};
use pointsman_fuzz::choices;
use pointsman_fuzz::requests::{check, cut};

fuzz_target!(|bytes: &[u8]| {
    let Some((&[system, user], body)) = choices::<2>(bytes) else {
        return;
    };
    let cut = cut(system, user);
    let counted = parse_count(body, cut);
    if let Ok(request) = parse(body, cut) {
        assert_eq!(counted.as_ref(), Ok(&request));
    }
    if let Ok(request) = counted {
        check(body, cut, request);
    }
});
