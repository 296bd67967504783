//! What a decision of the local model costs: the same request to the same Envoy, once with its tier named and once decided.
//!
//! Nothing but the decision differs, so the CPU that the second costs more is the decision's. Beside it, the same reading natively.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsman::classify::local::features::{Features, Input};
use pointsman::classify::local::{built_in, lexicon};
use pointsman_tests::client::chat_request;
use pointsman_tests::load::{Load, Until};
use serde_json::json;

use crate::Result;
use crate::envoy::Envoy;
use crate::report::{Native, Sample};
use crate::scenario::expect_clean;

/// Characters of the prompt that the promise is made for.
pub const CHARS: usize = 1000;
const CONNECTIONS: usize = 32;

/// Ordinary words, a list, some code: repeated or cut to the length that is wanted.
const TEXT: &str = "Hi! Our team runs a small booking service, and since Tuesday some customers get their confirmation \
twice. The worker reads a row, sends the mail and then marks the row as sent:\n\n\
    rows = db.query(\"select id, mail from bookings where sent = 0 limit 50\")\n    for row in rows:\n        \
send(row.mail)\n        db.execute(\"update bookings set sent = 1 where id = ?\", row.id)\n\n\
Two of these run at the same time. I looked at three things so far:\n- the mail server's log, which shows 214 duplicates\n\
- the retry settings (we never changed them)\n- the queue, which was empty\n\n\
Can you explain why this happens, what you would change first, and how I can test that it is really gone? Please keep it short; \
my colleague Ana, who wrote it, is on holiday until 12 May and I have not worked with Python before. ";

/// How the tier of a request is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A header of the request.
    Name,
    /// The local model.
    Local,
}

pub fn prompt(chars: usize) -> String {
    TEXT.chars().cycle().take(chars).collect()
}

/// `model: auto` and a prompt of [`CHARS`] characters.
pub fn request(by: By) -> Bytes {
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": prompt(CHARS)}]});
    match by {
        By::Name => chat_request(&[("x-llm-policy", "fast")], &body),
        By::Local => chat_request(&[], &body),
    }
}

/// Under load; an answer that was decided in another way is no measurement.
pub async fn measure(envoy: &Envoy, by: By, time: Duration) -> Result<Sample> {
    let mut load = Load::new(envoy.port, CONNECTIONS, Until::Time(time), request(by));
    load.tally = Some("x-routing-source");
    let before = envoy.cpu()?;
    let outcome = load.drive().await;
    let cpu = envoy.cpu()?.saturating_sub(before);
    expect_clean(envoy, "decision", &outcome)?;
    let expected = match by {
        By::Name => "header",
        By::Local => "local",
    };
    if outcome.tally.keys().any(|source| source != expected) {
        let found = &outcome.tally;
        return Err(format!("{}: not decided by {expected}: {found:?}", envoy.name).into());
    }
    Ok(Sample::new(&outcome, cpu))
}

/// The median time of one reading in this process, by the length of the prompt.
pub fn natively() -> Result<Vec<Native>> {
    let model = built_in().ok_or("the filter comes without a model")?;
    let mut features = Features::default();
    let mut found = Vec::new();
    for (chars, times) in [(100, 4000), (CHARS, 2000), (10 * CHARS, 400)] {
        let text = prompt(chars);
        let mut took: Vec<Duration> = (0..times)
            .map(|_| {
                let begun = Instant::now();
                black_box(model.read(&Input::of_text(&text), lexicon(), &mut features));
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        found.push(Native {
            chars,
            us: took[times / 2].as_secs_f64() * 1e6,
        });
    }
    Ok(found)
}
