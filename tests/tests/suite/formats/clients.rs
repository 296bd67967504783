//! The official SDKs as clients, each against each provider's format.

use pointsman_tests::scenes::check;
use serde_json::{Value, json};

use super::wire::{Client, Judged, has_judged};
use super::{Formats, QUESTION, answer};

/// The tier to name, who answers, and as which model.
const SERVED: [(&str, &str, &str); 3] = [
    ("gpt", "alpha", "gpt-5-nano"),
    ("claude", "beta", "claude-haiku-4-5"),
    ("gemini", "gamma", "gemini-3-pro"),
];

/// How a provider fails when it is told to: status and code for a chat client, class and type for one of Messages. The
/// stand-in for OpenAI says so itself.
const FAILS: [(&str, u16, &str, &str, &str); 3] = [
    (
        "gpt",
        503,
        "provider_failed",
        "ServiceUnavailableError",
        "api_error",
    ),
    (
        "claude",
        529,
        "provider_overloaded",
        "OverloadedError",
        "overloaded_error",
    ),
    (
        "gemini",
        503,
        "provider_failed",
        "ServiceUnavailableError",
        "api_error",
    ),
];

/// All scenes of an SDK, and the failures, of every tier.
fn scenes(sdk: &str, failures: &[&str]) -> Vec<String> {
    let kinds = [&[sdk][..], failures].concat();
    let of_tier = |(tier, ..): &(&str, &str, &str)| {
        let of_kind = |kind: &&str| format!("{kind}:{tier}");
        kinds.iter().map(of_kind).collect::<Vec<_>>()
    };
    SERVED.iter().flat_map(of_tier).collect()
}

/// Scenes by name, each for one tier.
fn expect(tier: &str, scenes: Value) -> Value {
    let scenes = scenes.as_object().expect("scenes").iter();
    scenes
        .map(|(scene, expected)| (format!("{scene}:{tier}"), expected.clone()))
        .collect()
}

#[tokio::test]
async fn the_openai_sdk_cannot_tell_who_answers() {
    let mut formats = Formats::start("openai-sdk").await;
    let scenes = scenes("openai", &["failure", "failure-streamed"]);
    let saw = formats
        .wire
        .play(Client::Chat, Judged::Everything, &scenes)
        .await;
    for (tier, name, model) in SERVED {
        let says = |what: &str| answer(name, model, what);
        let is_openai = tier == "gpt";
        let call = json!(["weather", {"city": "stand-in"}]);
        let looped = json!({
            "requests": 3, "calls": [call, call], "ids": 2, "finish": "stop", "details": !is_openai,
            "text": says("Tool results: 2."),
        });
        let whole = json!({"text": says(QUESTION), "finish": "stop", "adds up": true});
        let parallel = json!({"calls": 2, "ids": 2, "text": says("Tool results: 2.")});
        let object = json!({"city": "stand-in", "population": 1});
        let image = json!({"text": says("Your message has 11 characters.")});
        let thought = match is_openai {
            true => Value::Null,
            false => {
                format!("The stand-in for {name} does not think: this stands in for it.").into()
            }
        };
        let order = match is_openai {
            true => json!(["content"]),
            false => json!(["reasoning_content", "content"]),
        };
        let expected = json!({
            "chat": whole,
            "stream": whole,
            "tools": looped,
            "tools-streamed": looped,
            // These clients drop the thinking: the turn goes on without it.
            "tools-forgetful": looped,
            "tools-forgetful-streamed": looped,
            "parallel-tools": parallel,
            "parallel-tools-streamed": parallel,
            "structured": object,
            "structured-streamed": object,
            "image": image,
            "image-streamed": image,
            "thinking": {"reasoning": thought, "text": says(QUESTION), "counted": true},
            "thinking-streamed": {"reasoning": thought, "order": order, "counted": true},
            "dropped": {"dropped": if is_openai { Value::Null } else { "logit_bias".into() }, "text": says(QUESTION)},
        });
        check(&saw, &expect(tier, expected));
        let refused = |scene: &str, code: &str, param: &str| {
            let got = &saw[format!("{scene}:{tier}")];
            let expected = json!(["BadRequestError", 400, code, "invalid_request_error", param]);
            assert_eq!(
                got.as_array().map(|got| &got[..5]),
                expected.as_array().map(|e| &e[..]),
                "{got}"
            );
        };
        let no_error = json!(["no error"]);
        match tier {
            "gpt" => check(
                &saw,
                &expect(
                    tier,
                    json!({"unsupported-file": no_error, "unsupported-audio": no_error}),
                ),
            ),
            "claude" => {
                refused("unsupported-audio", "no_capable_target", "messages");
                refused(
                    "unsupported-file",
                    "unsupported_content",
                    "messages[0].content[1].file.file_id",
                );
            }
            _ => {
                check(&saw, &expect(tier, json!({"unsupported-audio": no_error})));
                refused(
                    "unsupported-file",
                    "unsupported_content",
                    "messages[0].content[1].file.file_id",
                );
            }
        }
    }
    for (tier, status, code, ..) in FAILS {
        for scene in ["failure", "failure-streamed"] {
            let got = &saw[format!("{scene}:{tier}")];
            assert_eq!(got[0], "InternalServerError", "{got}");
            assert_eq!(got[1], status, "{got}");
            if tier != "gpt" {
                assert_eq!((&got[2], &got[3]), (&json!(code), &json!("server_error")));
            }
        }
    }
    judge(
        &formats,
        &["answers of chat", "streams of chat", "errors of chat"],
    )
    .await;
}

#[tokio::test]
async fn the_anthropic_sdk_cannot_tell_who_answers() {
    let mut formats = Formats::start("anthropic-sdk").await;
    let scenes = scenes(
        "anthropic",
        &["messages-failure", "messages-failure-streamed"],
    );
    let saw = formats
        .wire
        .play(Client::Messages, Judged::Everything, &scenes)
        .await;
    for (tier, name, model) in SERVED {
        let says = |what: &str| answer(name, model, what);
        // Only Claude signs its thinking, and a client that sends unsigned thinking back is refused.
        let thinks = tier == "claude";
        let call = json!(["weather", {"city": "stand-in"}]);
        let first = if thinks {
            json!(["thinking", "tool_use"])
        } else {
            json!(["tool_use"])
        };
        let looped = json!({
            "requests": 3, "calls": [call, call], "ids": 2, "stop": "end_turn",
            "kinds": [first, ["tool_use"], ["text"]], "text": says("Tool results: 2."),
        });
        let whole =
            json!({"text": says(QUESTION), "kinds": ["text"], "stop": "end_turn", "counted": true});
        let parallel = json!({
            "requests": 2, "calls": [call, call], "ids": 2, "stop": "end_turn", "text": says("Tool results: 2."),
        });
        let object = json!({"city": "stand-in", "population": 1});
        let image = json!({"text": says("Your message has 11 characters.")});
        let thinking = json!({
            "kinds": if thinks { json!(["thinking", "text"]) } else { json!(["text"]) },
            "signed": thinks,
            "text": says(QUESTION),
        });
        let expected = json!({
            "messages": {
                "text": says(QUESTION), "kinds": ["text"], "stop": "end_turn", "counted": true,
                "type": "message", "role": "assistant",
            },
            "messages-stream": {
                "text": says(QUESTION), "streamed": true, "stop": "end_turn", "counted": true,
                "events": [
                    "message_start", "content_block_start", "content_block_delta", "content_block_stop",
                    "message_delta", "message_stop",
                ],
            },
            "messages-tools": looped,
            "messages-tools-streamed": looped,
            "messages-system": whole,
            "messages-parallel-tools": parallel,
            "messages-parallel-tools-streamed": parallel,
            "messages-image": image,
            "messages-image-streamed": image,
            "messages-thinking": thinking,
            "messages-thinking-streamed": thinking,
            "messages-structured": object,
            "messages-structured-streamed": object,
            "messages-bad-request": [
                "BadRequestError", 400, "invalid_request_error", "messages is empty; send at least one message",
            ],
        });
        check(&saw, &expect(tier, expected));
        let not_found = &saw[format!("messages-not-found:{tier}")];
        assert_eq!(not_found[0], "NotFoundError", "{not_found}");
        assert_eq!(not_found[2], "not_found_error", "{not_found}");
        let count = &saw[format!("messages-count:{tier}")];
        match thinks {
            true => assert_eq!(count["counted"], true, "{count}"),
            false => {
                let raised = count["raised"].as_str().unwrap_or_default();
                assert!(raised.contains("api anthropic"), "{count}");
            }
        }
    }
    for (tier, status, _, class, kind) in FAILS {
        for scene in ["messages-failure", "messages-failure-streamed"] {
            let got = &saw[format!("{scene}:{tier}")];
            let expected = json!([class, status, kind]);
            assert_eq!(
                got.as_array().map(|got| &got[..3]),
                expected.as_array().map(|e| &e[..]),
                "{got}"
            );
        }
    }
    judge(
        &formats,
        &[
            "answers of messages",
            "streams of messages",
            "errors of messages",
        ],
    )
    .await;
}

/// The SDKs' own types judged what went to every provider, what Gemini answered, and what the clients got.
async fn judge(formats: &Formats, got: &[&str]) {
    let judged = formats.wire.judge().await;
    let requests = [
        "requests to openai",
        "requests to anthropic",
        "requests to gemini",
    ];
    has_judged(&judged, &requests);
    has_judged(&judged, got);
    has_judged(&judged, &["answers of gemini", "streams of gemini"]);
}
