//! Streams that break after they were released: both official SDKs raise, whoever answers and however it breaks.

use std::time::Duration;

use bytes::Bytes;
use pointsman_tests::edit;
use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::scenes;
use pointsman_tests::upstream::{Behaviour, Seen, Step};
use pointsman_tests::wire::{chunk, last_chunk};
use serde_json::{Value, json};

const APIS: [&str; 3] = ["openai", "anthropic", "gemini"];
const CLIENTS: [&str; 2] = ["chat", "messages"];

/// How a provider's stream goes on after its first words.
const FAULTS: [&str; 6] = ["whole", "cut", "failed", "odd", "reset", "idle"];

/// A tier for every fault of every format; its model is named for it.
fn policy() -> String {
    let mut policy = "version: 1\ndefault_tier: openai-whole\ntiers:\n".to_owned();
    for (api, provider) in APIS.iter().zip(["alpha", "beta", "gamma"]) {
        for fault in FAULTS {
            policy += &format!(
                "  {api}-{fault}: {{description: d, targets: [{{provider: {provider}, model: m-{api}-{fault}}}]}}\n"
            );
        }
    }
    policy
        + "providers:
  alpha: {cluster: alpha, api: openai, stream_usage: false}
  beta: {cluster: beta, api: anthropic}
  gamma: {cluster: gamma, api: gemini}
"
}

/// The first words, the rest of a whole answer, an error as the provider has it, and one as no SDK reads it.
fn events(api: &str) -> [String; 4] {
    let data = |data: Value| format!("data: {data}\n\n");
    let named = |data: Value| {
        let kind = data["type"].as_str().unwrap_or_default().to_owned();
        format!("event: {kind}\ndata: {data}\n\n")
    };
    match api {
        "openai" => {
            let chunk = |delta: Value, finish: Value| {
                data(
                    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}),
                )
            };
            [
                chunk(json!({"role": "assistant", "content": "Par"}), Value::Null),
                // As servers do that send no `[DONE]`.
                chunk(json!({"content": "is."}), json!("stop")),
                data(
                    json!({"error": {"message": "engine died", "type": "server_error", "code": 500}}),
                ) + "data: [DONE]\n\n",
                data(json!({"object": "error", "message": "engine died", "code": 500}))
                    + "data: [DONE]\n\n",
            ]
        }
        "anthropic" => {
            let text = |text: &str| {
                named(
                    json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
                )
            };
            let start = named(json!({"type": "message_start", "message": {
                "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 1}}}));
            let block = named(
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            );
            let end = named(json!({"type": "content_block_stop", "index": 0}))
                + &named(
                    json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                    "usage": {"output_tokens": 4}}),
                );
            let stop = named(json!({"type": "message_stop"}));
            let error =
                json!({"type": "error", "error": {"type": "api_error", "message": "engine died"}});
            [
                start + &block + &text("Par"),
                text("is.") + &end + &stop,
                named(error.clone()) + &stop,
                data(error) + &stop,
            ]
        }
        _ => {
            let says = |text: &str, finish: Value| {
                data(
                    json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]},
                    "finishReason": finish}], "responseId": "r", "modelVersion": "m"}),
                )
            };
            let error = data(
                json!({"error": {"code": 500, "message": "engine died", "status": "INTERNAL"}}),
            );
            [
                says("Par", Value::Null),
                says("is.", json!("STOP")),
                error.clone(),
                error,
            ]
        }
    }
}

fn provide(seen: &Seen) -> Behaviour {
    // Gemini's model stands in the path.
    let asked = format!("{} {}", seen.path, seen.model());
    let is = |what: &&&str| asked.contains(**what);
    let api = APIS.iter().find(is).expect("a format");
    let fault = *FAULTS.iter().find(is).expect("a fault");
    let [first, rest, failed, odd] = events(api);
    let mut steps = vec![Step::Write(Bytes::from(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    ))];
    let mut write = |text: &str| steps.push(Step::Write(chunk(text.as_bytes())));
    write(&first);
    match fault {
        "whole" => write(&rest),
        "failed" => write(&failed),
        "odd" => write(&odd),
        _ => {}
    }
    match fault {
        // Envoy has to read the first words before it sees the reset.
        "reset" => steps.extend([Step::Pause(Duration::from_millis(100)), Step::Reset]),
        "idle" => steps.push(Step::Stall),
        _ => steps.push(Step::Write(last_chunk(&[]))),
    }
    Behaviour::Steps(steps)
}

#[tokio::test]
async fn both_sdks_raise_where_a_stream_breaks_and_nowhere_else() {
    let options = Options {
        policy: policy(),
        edit: |dir| {
            let idle = "idle_timeout: 600s";
            edit::replace(dir, "routes.yaml", idle, "idle_timeout: 2s");
        },
        ..Options::default()
    };
    let gateway = Gateway::start_with("broken", options).await;
    for upstream in gateway.providers() {
        upstream.set_by(provide);
    }
    let mut args = vec![format!("http://127.0.0.1:{}", gateway.port())];
    let models = APIS
        .iter()
        .flat_map(|api| FAULTS.map(|fault| format!("{api}-{fault}")));
    args.extend(models);
    let saw = scenes::python("sdk_broken.py", &args).await;
    let saw: Value = serde_json::from_slice(&saw).expect("one JSON object");
    for api in APIS {
        for client in CLIENTS {
            for fault in FAULTS {
                let scene = format!("{client} {api}-{fault}");
                let got = &saw[&scene];
                let what = format!("{scene}: {got}");
                if fault == "whole" {
                    assert_eq!(*got, json!(["Paris.", "no error"]), "{what}");
                    continue;
                }
                // Gemini's words are given when the next have come.
                assert!(got[0] == "Par" || api == "gemini", "{what}");
                let words = got[2].as_str().unwrap_or_default();
                match fault {
                    // The client's transport.
                    "reset" | "idle" => {
                        let class = got[1].as_str().unwrap_or_default();
                        let of_transport =
                            ["APIConnectionError", "RemoteProtocolError", "ReadError"];
                        assert!(of_transport.contains(&class), "{what}");
                    }
                    "cut" => assert!(words.contains("before the answer"), "{what}"),
                    _ => assert!(words.contains("engine died"), "{what}"),
                }
            }
        }
    }
    let stats = gateway.envoy.get("/stats/prometheus").await.expect("stats");
    for (api, provider) in APIS.iter().zip(["alpha", "beta", "gamma"]) {
        for (fault, how) in [
            ("whole", None),
            ("cut", Some("early_end")),
            ("failed", Some("error")),
            ("odd", Some("error")),
            ("reset", Some("reset")),
            ("idle", Some("reset")),
        ] {
            let labels = [
                format!("provider=\"{provider}\""),
                format!("model=\"m-{api}-{fault}\""),
            ];
            let lines = stats.lines().filter(|line| {
                line.starts_with("pointsman_streams_broken_total{")
                    && labels.iter().all(|label| line.contains(label))
            });
            let lines: Vec<&str> = lines.collect();
            let is_counted = match how {
                None => lines.is_empty(),
                // Once for each SDK.
                Some(how) => {
                    lines.len() == 1
                        && lines[0].contains(&format!("how=\"{how}\""))
                        && lines[0].ends_with("} 2")
                }
            };
            assert!(is_counted, "{api} {fault}: {lines:?}");
        }
    }
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}
