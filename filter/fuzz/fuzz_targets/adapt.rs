//! For every pair of client and provider: a stream comes to the same however it was split, whether it is held or passes,
//! and an admitted request and a good answer come out as JSON.

#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use pointsman::chat::request::{Cut, Dialect, parse};
use pointsman::chat::usage::Usage;
use pointsman::health::{Key, Rules, Standing};
use pointsman::messages::view;
use pointsman::policy::Api;
use pointsman::provider::adapt::{Passed, Step, Wire};
use pointsman::provider::judge::Outcome;
use pointsman::router::plan::{Plan, PlannedTarget};
use pointsman_fuzz::asks::{TOLD, unsupported};
use pointsman_fuzz::json::is_json;
use pointsman_fuzz::{choices, chunks, pick};

const CLIENTS: [Dialect; 3] = [Dialect::Chat, Dialect::Messages, Dialect::CountTokens];
const APIS: [Api; 3] = [Api::OpenAi, Api::Anthropic, Api::Gemini];
const CUT: Cut = Cut {
    system: 64,
    user: 64,
    user_end: 0,
    previous: 0,
    is_weighed: true,
};

fn wire(client: Dialect, api: Api, flags: u8, max: usize) -> Wire {
    let target = PlannedTarget {
        is_degraded: false,
        provider: "p",
        cluster: "p",
        api,
        host: "h",
        path: Cow::Borrowed("/"),
        model: "m",
        sent_as: "m",
        max_tokens: 4096,
        context: 0,
        unsupported: unsupported(flags),
        prompt_cache: flags & 2 != 0,
        stream_usage: flags & 4 != 0,
        key: Key(0),
        standing: Standing::default(),
        headers: Vec::new(),
    };
    let plan = Plan {
        body_len: 0,
        model_span: 0..0,
        client,
        stream: flags & 8 != 0,
        include_usage: flags & 16 != 0,
        has_reasoning: flags & 32 != 0,
        many_choices: flags & 64 != 0,
        tier: "t",
        degraded_to: "",
        hold_answer: max,
        attempt_timeout_ms: 1,
        health: Rules::default(),
        user_agent: None,
        told: Vec::new(),
        targets: Vec::new(),
    };
    Wire::new(&plan, &target)
}

#[derive(Debug, PartialEq)]
enum End {
    Given(Vec<u8>, Usage),
    Refused(Outcome),
}

/// A stream as the provider role reads it. `apart`: that it ended is known only after its last byte.
fn read(wire: &Wire, chunks: &[&[u8]], apart: bool) -> End {
    let mut chunks = chunks.to_vec();
    if apart || chunks.is_empty() {
        chunks.push(b"");
    }
    let mut stream = wire.stream(TOLD.created);
    let (mut given, mut held, mut is_released) = (Vec::new(), Vec::new(), false);
    for (at, chunk) in chunks.iter().enumerate() {
        let end = at + 1 == chunks.len();
        if is_released {
            match stream.pass(chunk, end) {
                Passed::AsItCame => given.extend_from_slice(chunk),
                Passed::Replaced(bytes) => given.extend_from_slice(bytes),
                Passed::Held => assert!(!end, "held for ever"),
            }
            continue;
        }
        held.extend_from_slice(chunk);
        match stream.hold(chunk, end) {
            Step::Hold => assert!(!end, "held for ever"),
            Step::Bad(outcome) => return End::Refused(outcome),
            Step::Release => {
                is_released = true;
                given = stream
                    .release()
                    .unwrap_or_else(|| std::mem::take(&mut held));
            }
        }
    }
    End::Given(given, stream.usage())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[client, api, flags, max, ref sizes @ ..], body)) = choices::<7>(bytes) else {
        return;
    };
    let (client, api) = (pick(&CLIENTS, client), pick(&APIS, api));
    let max = if max == 0 { 1 << 20 } else { usize::from(max) };
    let wire = wire(client, api, flags, max);

    let admitted = match client {
        Dialect::Chat => parse(body, CUT),
        Dialect::Messages => view::parse(body, CUT),
        Dialect::CountTokens => view::parse_count(body, CUT),
    };
    if let Ok(request) = admitted
        && let Ok(adapted) = wire.request(body, Some(request.model_span))
    {
        assert!(is_json(&adapted.body));
    }
    let _ = wire.request(body, None);
    if let Ok(answer) = wire.answer(body, TOLD.created) {
        assert!(is_json(answer.body.as_deref().unwrap_or(body)));
    }

    let whole = read(&wire, &[body], false);
    assert_eq!(read(&wire, &[body], true), whole, "the end apart");
    if let (true, End::Given(given, _)) = (wire.passes() && api == Api::Anthropic, &whole) {
        assert_eq!(given, body);
    }
    for apart in [false, true] {
        assert_eq!(
            read(&wire, &chunks(body, sizes), apart),
            whole,
            "{client:?} {api:?}"
        );
    }
});
