//! No policy document panics, and each that is refused says why.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::policy::Policy;
use pointsman_fuzz::MAX;

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > MAX {
        return;
    }
    if let Err(errors) = Policy::from_bytes(bytes) {
        assert!(!errors.to_string().is_empty());
    }
});
