//! Providers whose answers end in trailers, as HTTP/2 allows: nothing is lost, and what is cut looks cut.

use pointsman_tests::client::{self, Reply};
use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::http2::{self, with_trailers};
use pointsman_tests::upstream::Behaviour;
use serde_json::{Value, json};

const POLICY: &str = "
version: 1
default_tier: gpt
tiers:
  gpt: {description: openai, targets: [{provider: alpha, model: gpt-5-nano}]}
  claude: {description: anthropic, targets: [{provider: beta, model: claude-haiku-4-5}]}
  gemini: {description: gemini, targets: [{provider: gamma, model: gemini-3-pro}]}
providers:
  alpha: {cluster: alpha, api: openai}
  beta: {cluster: beta, api: anthropic}
  gamma: {cluster: gamma, api: gemini}
";

const TIERS: [&str; 3] = ["gpt", "claude", "gemini"];

async fn gateway(name: &str) -> Gateway {
    let options = Options {
        policy: POLICY.to_owned(),
        edit: |dir| {
            for provider in ["alpha", "beta", "gamma"] {
                http2::ask(dir, provider);
            }
        },
        ..Options::default()
    };
    Gateway::start_with(name, options).await
}

/// Events of a whole answer in each provider's format, in as many chunks. `usize`: how many of them say something real.
fn events(tier: &str) -> (Vec<String>, usize) {
    let openai = |delta: Value, finish: Value| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        format!(
            "data: {}\n\n",
            json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices})
        )
    };
    let anthropic = |event: Value| {
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        format!("event: {kind}\ndata: {event}\n\n")
    };
    let gemini = |text: &str, finish: Value| {
        let candidate = json!({"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish});
        let count = json!({"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7});
        format!(
            "data: {}\r\n\r\n",
            json!({"candidates": [candidate], "usageMetadata": count, "responseId": "r", "modelVersion": "m"})
        )
    };
    let text = |text: &str| {
        anthropic(
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        )
    };
    match tier {
        "gpt" => (
            vec![
                openai(json!({"content": "Par"}), Value::Null),
                openai(json!({"content": "is."}), Value::Null),
                openai(json!({}), json!("stop")),
                "data: [DONE]\n\n".to_owned(),
            ],
            2,
        ),
        "claude" => (
            vec![
                anthropic(json!({"type": "message_start", "message": {
                    "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
                    "usage": {"input_tokens": 3, "output_tokens": 1},
                }})) + &anthropic(
                    json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                ) + &text("Par"),
                text("is."),
                anthropic(json!({"type": "content_block_stop", "index": 0}))
                    + &anthropic(
                        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}),
                    ),
                anthropic(json!({"type": "message_stop"})),
            ],
            2,
        ),
        _ => (
            vec![gemini("Par", Value::Null), gemini("is.", json!("STOP"))],
            1,
        ),
    }
}

async fn ask(gateway: &Gateway, path: &str, tier: &str, stream: bool) -> std::io::Result<Reply> {
    let body = json!({
        "model": tier, "stream": stream, "max_tokens": 50,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    });
    let headers: &[(&[u8], &[u8])] = &[(b"content-type", b"application/json")];
    let request = client::request("POST", path, headers, body.to_string().as_bytes());
    client::send(gateway.port(), &request).await
}

fn upstream<'a>(gateway: &'a Gateway, tier: &str) -> &'a pointsman_tests::upstream::Upstream {
    let at = TIERS.iter().position(|known| *known == tier);
    gateway.providers()[at.expect("a tier")]
}

/// Whether the client was told that the answer is whole, in its own format, and what the answer was.
fn whole(path: &str, reply: &Reply) -> (bool, String) {
    let events = reply.events();
    let datas = || events.iter().map(|event| event.json());
    match path {
        "/v1/messages" => {
            let text = datas().filter_map(|data| Some(data["delta"]["text"].as_str()?.to_owned()));
            let ended = datas().any(|data| data["delta"]["stop_reason"] == "end_turn")
                && datas()
                    .last()
                    .is_some_and(|data| data["type"] == "message_stop");
            (ended, text.collect())
        }
        _ => {
            let finished = datas().any(|data| data["choices"][0]["finish_reason"] == "stop");
            (
                finished && reply.text().ends_with("data: [DONE]\n\n"),
                reply.content(),
            )
        }
    }
}

const PATHS: [&str; 2] = ["/v1/chat/completions", "/v1/messages"];

/// The finish was written into a body that was gone by then: it was lost, or the filter's VM with it.
#[tokio::test]
async fn a_stream_that_ends_in_trailers_ends_properly() {
    let gateway = gateway("trailers-stream").await;
    for tier in TIERS {
        let (events, _) = events(tier);
        let pieces: Vec<&str> = events.iter().map(String::as_str).collect();
        let at_once = events.concat();
        for pieces in [&pieces[..], &[at_once.as_str()]] {
            for path in PATHS {
                upstream(&gateway, tier).set(with_trailers("text/event-stream", pieces));
                let reply = ask(&gateway, path, tier, true)
                    .await
                    .expect("a whole reply");
                assert_eq!(reply.status, 200, "{tier} {path}");
                let said = whole(path, &reply);
                assert_eq!(
                    said,
                    (true, "Paris.".to_owned()),
                    "{tier} {path}: {}",
                    reply.text()
                );
            }
        }
    }
    let log = gateway.access_log(TIERS.len() * 4).await;
    let counted = |line: &Value| (line["input_tokens"] == "3", line["output_tokens"] == "4");
    let all = log.iter().filter(|line| counted(line) == (true, true));
    assert_eq!(all.count(), 8, "of two providers that say it: {log:?}");
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

/// No byte can be added once the trailers are here: the client's transport breaks, as it does for a provider's reset.
#[tokio::test]
async fn a_stream_that_is_cut_by_trailers_breaks() {
    let gateway = gateway("trailers-cut").await;
    for tier in TIERS {
        let (events, real) = events(tier);
        let pieces: Vec<&str> = events.iter().take(real).map(String::as_str).collect();
        for path in PATHS {
            upstream(&gateway, tier).set(with_trailers("text/event-stream", &pieces));
            let reply = ask(&gateway, path, tier, true).await;
            assert!(reply.is_err(), "{tier} {path}: {reply:?}");
        }
    }
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[tokio::test]
async fn a_one_shot_answer_that_ends_in_trailers_is_whole() {
    let gateway = gateway("trailers-one-shot").await;
    let bodies = [
        json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"},
        ]}),
        json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "Paris."}], "usage": {"input_tokens": 3, "output_tokens": 4}}),
        json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Paris."}]}, "finishReason": "STOP"}]}),
    ];
    for (tier, body) in TIERS.iter().zip(bodies) {
        let body = body.to_string();
        let (first, second) = body.split_at(body.len() / 2);
        for path in PATHS {
            upstream(&gateway, tier).set(with_trailers("application/json", &[first, second]));
            let reply = ask(&gateway, path, tier, false)
                .await
                .expect("a whole reply");
            let text = match path {
                "/v1/messages" => reply.json()["content"][0]["text"].clone(),
                _ => reply.json()["choices"][0]["message"]["content"].clone(),
            };
            assert_eq!(
                (reply.status, text),
                (200, json!("Paris.")),
                "{tier} {path}"
            );
        }
    }
    let refusal =
        json!({"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}).to_string();
    let headers =
        "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = format!(
        "{headers}{:x}\r\n{refusal}\r\n0\r\nx-checksum: 1\r\n\r\n",
        refusal.len()
    );
    let steps = vec![pointsman_tests::upstream::Step::Write(answer.into())];
    upstream(&gateway, "gemini").set(Behaviour::Steps(steps));
    let reply = ask(&gateway, PATHS[0], "gemini", false)
        .await
        .expect("a whole reply");
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(reply.json()["error"]["code"], "provider_refused_request");
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}
