//! Bytes are a handover if they are what encoding the plan and its attempts gives, byte by byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::router::handover::{attempts, is_retry, set_attempts};
use pointsman::router::plan::Plan;
use pointsman_fuzz::choices;

fuzz_target!(|bytes: &[u8]| {
    let Some(([], bytes)) = choices::<0>(bytes) else {
        return;
    };
    let read = attempts(bytes);
    if let Some(read) = &read {
        assert_eq!(is_retry(bytes), read.begun > 0);
        let mut written = bytes.to_vec();
        set_attempts(&mut written, read);
        assert_eq!(written, bytes);
    }
    let Some((plan, decoded)) = Plan::decode(bytes) else {
        return;
    };
    assert_eq!(read.as_ref(), Some(&decoded));
    let mut encoded = plan.encode();
    set_attempts(&mut encoded, &decoded);
    assert_eq!(encoded, bytes);
});
