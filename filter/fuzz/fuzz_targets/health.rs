//! The table that the workers share: bytes are one if they are what encoding it gives, byte by byte, and whatever it holds, no target
//! is left alone for longer than the rules allow. Before them, eight bytes: the clock. The bodies of errors are read the same way.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::health::Cooldown;
use pointsman::health::record::Phase;
use pointsman::health::signs::read_body;
use pointsman::health::table::{MAX_RECORDS, Table};
use pointsman::health::when::When;
use pointsman_fuzz::choices;

fuzz_target!(|bytes: &[u8]| {
    let Some((clock, bytes)) = choices::<8>(bytes) else {
        return;
    };
    let now = u64::from_le_bytes(*clock);
    let cooldown = Cooldown::default();
    let mut table = Table::decode(bytes);
    assert!(table.records().len() <= MAX_RECORDS);
    if !table.is_empty() {
        assert_eq!(table.encode(), bytes);
    }
    for record in table.records() {
        if let Phase::Open { until } = record.phase(now, &cooldown) {
            assert!(until - now <= cooldown.longest());
        }
        let _ = record.standing(now, &cooldown);
    }
    table.forget(now, &cooldown);
    assert!(!table.is_stale(now, &cooldown));
    assert_eq!(Table::decode(&table.encode()), table);
    let _ = read_body(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = When::read(text);
    }
});
