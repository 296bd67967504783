//! Whatever a classifier answers, a verdict is one of the tiers that it was offered, and the rest is bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::classify::reply::parse;
use pointsman_fuzz::choices;

const OFFERED: [&str; 3] = ["fast", "Quality", "my tier"];
/// Characters of a reason.
const MAX_REASON: usize = 1000;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[is_content], reply)) = choices::<1>(bytes) else {
        return;
    };
    // The whole body; or the content of one that is right, which is reached seldom otherwise.
    let body = match is_content {
        0 => reply.to_vec(),
        _ => {
            let content = String::from_utf8_lossy(reply);
            serde_json::json!({"choices": [{"message": {"content": content}}]})
                .to_string()
                .into_bytes()
        }
    };
    assert!(parse(&body, &[]).is_err(), "nothing was offered");
    if let Ok(verdict) = parse(&body, &OFFERED) {
        assert!(OFFERED.contains(&&*verdict.tier));
        let length = verdict.reason.map(|reason| reason.chars().count());
        assert!(length.is_none_or(|length| (1..=MAX_REASON).contains(&length)));
        let complexity = verdict.complexity.as_deref();
        assert!(complexity.is_none_or(|found| ["low", "medium", "high"].contains(&found)));
    }
});
