//! A stream that dies early, or whose client leaves, has cost what its provider had said until then: no more, and no less.

use std::time::Duration;

use bytes::Bytes;
use pointsman_tests::client::{self, Conn};
use pointsman_tests::edit;
use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::render::Version;
use pointsman_tests::upstream::{Behaviour, Step};
use pointsman_tests::wire::{chunk, last_chunk};
use serde_json::{Value, json};

use super::super::POLICY;
use super::http2;

const FIELDS: [&str; 5] = [
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
];

/// As in `type` of `pointsman_tokens_total`, in the order of [`FIELDS`].
const TYPES: [&str; 5] = ["input", "output", "cached", "cache_write", "reasoning"];

/// Tokens in the order of [`FIELDS`]; 0: nothing was said.
type Tokens = [u64; 5];

/// What a provider writes before its stream dies.
struct Cut {
    tier: &'static str,
    /// One write each.
    writes: Vec<String>,
    /// In what a client of chat completions gets last, and in what a client of Messages gets.
    last: [&'static str; 2],
    tokens: Tokens,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// The client closes its connection.
    Closed,
    /// The client resets its stream, one of HTTP/2.
    Cancelled,
    /// The provider resets its connection.
    Reset,
    /// The provider ends its answer, which is not complete.
    Ended,
    /// Nothing more comes.
    Idle,
}

fn event(data: &Value) -> String {
    let name = data["type"].as_str();
    let name = name.map(|name| format!("event: {name}\n"));
    format!("{}data: {data}\n\n", name.unwrap_or_default())
}

fn openai(says: &str, usage: Option<Value>) -> String {
    let mut chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": says}, "finish_reason": null}]});
    if let Some(usage) = usage {
        chunk["usage"] = usage;
    }
    event(&chunk)
}

/// The chunk that a client did not ask for.
fn openai_usage() -> String {
    event(
        &json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 3}}}),
    )
}

/// Anthropic counts the prompt at the start, and the answer as it goes
/// (<https://platform.claude.com/docs/en/build-with-claude/streaming>).
fn anthropic_start() -> String {
    let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 10, "output_tokens": 1});
    event(&json!({"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage}}))
}

fn anthropic_text(says: &str) -> String {
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": says}});
    format!("{}{}", event(&block), event(&delta))
}

fn anthropic_delta(output: u64) -> String {
    let stop = event(&json!({"type": "content_block_stop", "index": 0}));
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
        "usage": {"output_tokens": output}});
    format!("{stop}{}", event(&delta))
}

/// Gemini counts anew in each event (<https://ai.google.dev/api/generate-content#UsageMetadata>).
fn gemini(says: &str, usage: &Value) -> String {
    event(
        &json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": says}]}}],
        "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}),
    )
}

fn cuts() -> Vec<Cut> {
    let cut = |tier, writes, last, tokens| Cut {
        tier,
        writes,
        last,
        tokens,
    };
    let so_far =
        |n: u64| json!({"prompt_tokens": 7, "completion_tokens": n, "total_tokens": 7 + n});
    let first = json!({"promptTokenCount": 6, "candidatesTokenCount": 1, "totalTokenCount": 7});
    let then = json!({"promptTokenCount": 6, "candidatesTokenCount": 3, "cachedContentTokenCount": 2,
        "thoughtsTokenCount": 4, "totalTokenCount": 13});
    vec![
        // Says it at the end only: until then nothing is known, and nothing is made up.
        cut(
            "gpt",
            vec![openai("one", None), openai("two", None)],
            ["two"; 2],
            [0; 5],
        ),
        cut(
            "gpt",
            vec![
                openai("one", None),
                format!("{}{}", openai_usage(), openai("two", None)),
            ],
            ["two"; 2],
            [7, 5, 2, 0, 3],
        ),
        // vLLM's `continuous_usage_stats`.
        cut(
            "gpt",
            vec![
                openai("one", Some(so_far(1))),
                openai("two", Some(so_far(2))),
            ],
            ["two"; 2],
            [7, 2, 0, 0, 0],
        ),
        cut(
            "claude",
            vec![anthropic_start(), anthropic_text("one")],
            ["one"; 2],
            [35, 1, 20, 10, 0],
        ),
        cut(
            "claude",
            vec![anthropic_start(), anthropic_text("one"), anthropic_delta(9)],
            ["\"finish_reason\":\"stop\"", "message_delta"],
            [35, 9, 20, 10, 0],
        ),
        cut(
            "gemini",
            vec![gemini("one", &first), gemini("two", &then)],
            ["two"; 2],
            [6, 7, 2, 0, 4],
        ),
    ]
}

// === impl Cut ===

impl Cut {
    fn behaviour(&self, death: Death) -> Behaviour {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut steps = vec![Step::Write(head.into())];
        for write in &self.writes {
            steps.push(Step::Write(chunk(write.as_bytes())));
            // So that each is a read of its own for Envoy.
            steps.push(Step::Pause(Duration::from_millis(20)));
        }
        match death {
            Death::Closed | Death::Cancelled | Death::Idle => steps.push(Step::Stall),
            Death::Reset => steps.push(Step::Reset),
            Death::Ended => steps.push(Step::Write(last_chunk(&[]))),
        }
        Behaviour::Steps(steps)
    }
}

fn body(tier: &str, messages: bool) -> Value {
    let mut body =
        json!({"model": tier, "stream": true, "messages": [{"role": "user", "content": "hello"}]});
    if messages {
        body["max_tokens"] = 100.into();
    }
    body
}

fn path(messages: bool) -> &'static str {
    match messages {
        true => "/v1/messages",
        false => "/v1/chat/completions",
    }
}

async fn start(name: &str, edit: fn(&std::path::Path)) -> Gateway {
    let options = Options {
        policy: POLICY.to_owned(),
        edit,
        ..Options::default()
    };
    Gateway::start_with(name, options).await
}

fn provide(gateway: &Gateway, tier: &str, behaviour: Behaviour) {
    let provider = match tier {
        "gpt" => &gateway.alpha,
        "claude" => &gateway.beta,
        _ => &gateway.gamma,
    };
    provider.next([behaviour]);
}

/// Reads until `last` has come, and then leaves or sees the stream die.
async fn watch(gateway: &Gateway, tier: &str, messages: bool, last: &str, death: Death) {
    let body = body(tier, messages).to_string();
    if death == Death::Cancelled {
        let mut client = http2::Client::open(gateway.port()).await;
        client.post(path(messages), body.as_bytes()).await;
        client.read_until(last).await;
        client.cancel().await;
        return;
    }
    let mut conn = Conn::open(gateway.port()).await.expect("a connection");
    let headers: [(&[u8], &[u8]); 1] = [(b"content-type", b"application/json")];
    let request = client::request("POST", path(messages), &headers, body.as_bytes());
    conn.send(&request).await.expect("sent");
    let mut response = conn.response().await.expect("an answer");
    assert_eq!(response.status, 200);
    let mut text = String::new();
    loop {
        let piece = response.piece().await;
        if let Ok(Some(piece)) = &piece {
            text += &String::from_utf8_lossy(&piece.bytes);
        }
        let has_last = text.contains(last);
        match piece {
            Ok(Some(_)) if has_last && death == Death::Closed => return,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                assert!(has_last, "{tier} {death:?}: {text}");
                return;
            }
        }
    }
}

fn logged(line: &Value) -> Tokens {
    FIELDS.map(|field| match &line[field] {
        Value::Null => 0,
        Value::String(absent) if absent == "-" => 0,
        value => {
            let count = value.as_str().and_then(|count| count.parse().ok());
            count.unwrap_or_else(|| panic!("{field}: {line}"))
        }
    })
}

/// `pointsman_tokens_total` of the provider that tier `of` is for, in this tier.
async fn counted(gateway: &Gateway, of: &str, tier: &str) -> Tokens {
    let stats = client::get(gateway.envoy.admin_port, "/stats/prometheus", &[]).await;
    let stats = stats.expect("the admin port answers").text();
    let (provider, model) = match of {
        "gpt" => ("alpha", "gpt-5-nano"),
        "claude" => ("beta", "claude-haiku-4-5"),
        _ => ("gamma", "gemini-3-pro"),
    };
    TYPES.map(|kind| {
        let labels = [
            ("provider", provider),
            ("model", model),
            ("tier", tier),
            ("type", kind),
        ];
        let labels = labels.map(|(name, value)| format!("{name}=\"{value}\""));
        let has = |line: &&str| labels.iter().all(|label| line.contains(label.as_str()));
        let mut lines = stats
            .lines()
            .filter(|line| line.starts_with("pointsman_tokens_total{"));
        let count = lines.find(has).and_then(|line| line.rsplit(' ').next());
        count.map_or(0, |count| count.parse().expect("a number"))
    })
}

/// `pointsman_streams_broken_total` in all, by `how`.
async fn broken(gateway: &Gateway) -> [u64; 3] {
    let stats = client::get(gateway.envoy.admin_port, "/stats/prometheus", &[]).await;
    let stats = stats.expect("the admin port answers").text();
    ["early_end", "error", "reset"].map(|how| {
        let lines = stats.lines().filter(|line| {
            line.starts_with("pointsman_streams_broken_total{")
                && line.contains(&format!("how=\"{how}\""))
        });
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum()
    })
}

/// The attempt may be over a moment after the log was written.
async fn check_counted(gateway: &Gateway, of: &str, tier: &str, expected: Tokens, what: &str) {
    for _ in 0..40 {
        if counted(gateway, of, tier).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(counted(gateway, of, tier).await, expected, "{what}");
}

/// Every cut, for both kinds of client, with each of these ends.
async fn check(gateway: &Gateway, deaths: &[Death]) {
    let mut lines = 0;
    let mut has_broken = [0; 3];
    let mut totals = [("gpt", [0; 5]), ("claude", [0; 5]), ("gemini", [0; 5])];
    for cut in cuts() {
        for messages in [false, true] {
            for &death in deaths {
                let what = format!("{} messages={messages} {death:?}", cut.tier);
                provide(gateway, cut.tier, cut.behaviour(death));
                let last = cut.last[usize::from(messages)];
                watch(gateway, cut.tier, messages, last, death).await;
                lines += 1;
                let log = gateway.access_log(lines).await;
                let line = log.last().expect("a line");
                assert_eq!(logged(line), cut.tokens, "{what}: {line}");
                // What was not said is absent, and `-` in a log of text. Before Envoy 1.40 it is null.
                let has_nulls = gateway.envoy.settings.version < Version(1, 40, 0);
                let unsaid = has_nulls.then_some(&Value::Null);
                for (field, tokens) in FIELDS.iter().zip(cut.tokens) {
                    assert_eq!(line.get(field) == unsaid, tokens == 0, "{what}: {line}");
                }
                // A client that leaves is not the provider's fault.
                match death {
                    Death::Closed | Death::Cancelled => {}
                    Death::Ended => has_broken[0] += 1,
                    Death::Reset | Death::Idle => has_broken[2] += 1,
                }
                for (tier, total) in &mut totals {
                    if *tier == cut.tier {
                        *total = std::array::from_fn(|n| total[n] + cut.tokens[n]);
                        check_counted(gateway, tier, tier, *total, &what).await;
                    }
                }
                if cut.tokens != [0; 5] {
                    // Its tokens are counted by now, and so is its end.
                    assert_eq!(broken(gateway).await, has_broken, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_dies_or_is_left_has_cost_what_was_said() {
    let gateway = start("died", |_| {}).await;
    check(
        &gateway,
        &[Death::Closed, Death::Cancelled, Death::Reset, Death::Ended],
    )
    .await;
}

#[tokio::test]
async fn a_stream_that_stalls_has_cost_what_was_said() {
    let gateway = start("stalled", |dir| {
        edit::replace(
            dir,
            "routes.yaml",
            "idle_timeout: 600s",
            "idle_timeout: 0.3s",
        );
    })
    .await;
    check(&gateway, &[Death::Idle]).await;
}

/// Nothing but the prompt's tokens has come: no event that a client would show.
fn silent_start(then: Step) -> Behaviour {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    Behaviour::Steps(vec![
        Step::Write(Bytes::from(head)),
        Step::Write(chunk(anthropic_start().as_bytes())),
        Step::Pause(Duration::from_millis(20)),
        then,
    ])
}

#[tokio::test]
async fn a_stream_that_is_left_while_it_is_held_has_cost_its_prompt() {
    let gateway = start("left-held", |_| {}).await;
    provide(&gateway, "claude", silent_start(Step::Stall));
    let request = client::chat_request(&[], &body("claude", false));
    let mut conn = Conn::open(gateway.port()).await.expect("a connection");
    conn.send(&request).await.expect("sent");
    let has_asked = gateway
        .beta
        .wait_for(Duration::from_secs(5), |seen| seen.requests == 1)
        .await;
    assert!(has_asked);
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(conn);
    let tokens = [35, 1, 20, 10, 0];
    let log = gateway.access_log(1).await;
    assert_eq!(logged(&log[0]), tokens, "{}", log[0]);
    check_counted(&gateway, "claude", "claude", tokens, "left").await;
}

/// What a failed attempt cost is counted for its provider, and is not the answer's.
#[tokio::test]
async fn the_log_of_an_answer_is_without_the_tokens_of_an_attempt_before() {
    let gateway = start("before", |_| {}).await;
    let cut = &cuts()[0];
    for (n, end) in [Step::Reset, Step::Write(last_chunk(&[]))]
        .into_iter()
        .enumerate()
    {
        gateway.alpha.next([Behaviour::error(503)]);
        gateway.beta.next([silent_start(end)]);
        let usage = json!({"promptTokenCount": 6, "candidatesTokenCount": 3, "totalTokenCount": 9});
        let says = event(&json!({"candidates": [{"index": 0, "finishReason": "STOP",
            "content": {"role": "model", "parts": [{"text": "two"}]}}], "usageMetadata": usage}));
        gateway.gamma.next([Cut {
            tier: "gemini",
            writes: vec![says],
            ..*cut
        }
        .behaviour(Death::Ended)]);
        let reply = gateway.post(&[], &body("chain", false)).await;
        assert!(reply.text().contains("two"), "{}", reply.text());
        let log = gateway.access_log(n + 1).await;
        let so_far = n as u64 + 1;
        let line = log.last().expect("a line");
        assert_eq!(logged(line), [6, 3, 0, 0, 0], "{line}");
        check_counted(
            &gateway,
            "gemini",
            "chain",
            [6 * so_far, 3 * so_far, 0, 0, 0],
            "answered",
        )
        .await;
        let failed = [35, 1, 20, 10, 0].map(|tokens| tokens * so_far);
        check_counted(&gateway, "claude", "chain", failed, "failed").await;
    }
}
