//! The official `openai` SDK, unmodified, gets completions, streams and typed errors through the gateway.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pointsman_tests::gateway::{Gateway, Options, POLICY};
use pointsman_tests::render;
use pointsman_tests::upstream::{Behaviour, Seen};
use serde_json::{Value, json};

const KEY: &str = "key-of-the-sdks-client";

/// More tiers, one for each thing that a provider may do, and a caller who may not use `single`.
fn policy() -> String {
    let scenes = [
        "tools", "once", "limited", "broken", "unpaid", "picky", "breaks", "fails",
    ];
    let mut policy = POLICY.to_owned();
    let mut tiers = String::from("tiers:\n");
    for scene in scenes {
        tiers += &format!(
            "  {scene}: {{description: d, targets: [{{provider: alpha, model: {scene}-model}}, {{provider: beta, model: {scene}-model}}]}}\n"
        );
    }
    policy = policy.replace("tiers:\n", &tiers);
    policy
        + &format!(
            "callers:\n  sdk: {{tiers: [fast, quality, {}]}}\n",
            scenes.join(", ")
        )
}

fn completion(message: Value, finish_reason: &str) -> Behaviour {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    });
    Behaviour::Body(Bytes::from(body.to_string()))
}

fn tool_call(seen: &Seen) -> Behaviour {
    let request = seen.json();
    assert_eq!(request["tools"][0]["function"]["name"], "weather");
    let messages = request["messages"].as_array().cloned().unwrap_or_default();
    if let Some(result) = messages.iter().find(|m| m["role"] == "tool") {
        assert_eq!(messages[1]["tool_calls"][0]["id"], result["tool_call_id"]);
        let content = format!("It is {}.", result["content"].as_str().unwrap_or_default());
        return completion(json!({"role": "assistant", "content": content}), "stop");
    }
    let call = |name: Value, arguments: &str| json!([{"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}]);
    if request["stream"] != json!(true) {
        assert_eq!(request["tool_choice"], "auto");
        assert_eq!(request["parallel_tool_calls"], json!(false));
        let calls = call(json!("weather"), "{\"city\": \"Paris\"}");
        return completion(
            json!({"role": "assistant", "content": null, "tool_calls": calls}),
            "tool_calls",
        );
    }
    let deltas = [
        json!({"role": "assistant", "content": null, "tool_calls": call(json!("weather"), "")}),
        json!({"tool_calls": call(Value::Null, "{\"city\":")}),
        json!({"tool_calls": call(Value::Null, " \"Paris\"}")}),
    ];
    let event = |delta: &Value| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let mut writes: Vec<Bytes> = deltas.iter().map(event).collect();
    writes.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Behaviour::StreamBytes {
        writes,
        gap: Duration::from_millis(2),
    }
}

fn provide(seen: &Seen, is_first: bool) -> Behaviour {
    match seen.model().trim_end_matches("-model") {
        "tools" => tool_call(seen),
        "once" if is_first => Behaviour::error(503),
        "limited" => Behaviour::error(429),
        "broken" => Behaviour::error(500),
        "unpaid" => Behaviour::error(401),
        "picky" => Behaviour::error(400),
        "breaks" => Behaviour::ResetMidStream(2),
        "fails" => Behaviour::SseErrorAfter(2),
        _ => Behaviour::Ok,
    }
}

#[tokio::test]
async fn the_official_sdk_gets_completions_streams_and_typed_errors() {
    let python = render::root().join(".venv/bin/python");
    assert!(python.exists(), "no {}: run make test", python.display());
    let options = Options {
        policy: policy(),
        client_keys: vec![("sdk".into(), KEY.into())],
        ..Options::default()
    };
    let gateway = Gateway::start_with("sdk", options).await;
    for upstream in gateway.providers() {
        let asked_once = AtomicBool::new(false);
        upstream.set_by(move |seen| {
            let is_once = seen.model() == "once-model";
            provide(seen, is_once && !asked_once.swap(true, Ordering::Relaxed))
        });
    }
    let script = render::root().join("tests/fixtures/sdk.py");
    let base_url = format!("http://127.0.0.1:{}/v1", gateway.port());
    let ran = tokio::process::Command::new(python)
        .arg(script)
        .args([base_url.as_str(), KEY])
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(Duration::from_secs(50), ran).await;
    let ran = ran.expect("the script ends").expect("python runs");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{stderr}");
    let saw: Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    let expected = json!({
        "completion": ["alpha-small", "alpha answers as alpha-small", "stop", 12],
        "stream": ["alpha 1 2", "stop", 3],
        "stream helper": "alpha 1 2",
        "async": ["beta answers as beta-large", "alpha 1 2"],
        "tool call": ["tool_calls", "call_1", "weather", {"city": "Paris"}, "It is sunny."],
        "streamed tool call": ["weather", {"city": "Paris"}],
        "headers": ["quality", "header", "beta", "beta-large", "beta=200", "beta answers as beta-large"],
        "retried": "alpha answers as once-model",
    });
    for (scene, expected) in expected.as_object().expect("an object") {
        assert_eq!(saw[scene], *expected, "{scene}");
    }
    let [models, one, object] = [0, 1, 2].map(|i| saw["models"][i].clone());
    assert_eq!([one, object], ["quality", "model"]);
    let offers = |model: &str| {
        models
            .as_array()
            .is_some_and(|list| list.iter().any(|m| m == model))
    };
    assert!(
        offers("auto") && offers("fast") && offers("alpha-small"),
        "{models}"
    );
    assert!(!offers("single"), "{models}");

    // The class, the status, `code`, `type`, `param`, and words of the message.
    let invalid = "invalid_request_error";
    for (scene, class, status, code, kind, param, words) in [
        (
            "no messages",
            "BadRequestError",
            Some(400),
            "empty_messages",
            invalid,
            Some("messages"),
            "send at least one",
        ),
        (
            "wrong key",
            "AuthenticationError",
            Some(401),
            "invalid_api_key",
            invalid,
            None,
            "Authorization: Bearer",
        ),
        (
            "tier not allowed",
            "PermissionDeniedError",
            Some(403),
            "tier_not_allowed",
            "permission_error",
            None,
            "allowed: ",
        ),
        (
            "unknown model",
            "NotFoundError",
            Some(404),
            "model_not_found",
            invalid,
            Some("model"),
            "did you mean quality?",
        ),
        (
            "model not offered",
            "NotFoundError",
            Some(404),
            "model_not_found",
            invalid,
            Some("model"),
            "GET /v1/models",
        ),
        (
            "all say 429",
            "RateLimitError",
            Some(429),
            "stand_in",
            "stand_in",
            None,
            "429",
        ),
        (
            "all say 429, streamed",
            "RateLimitError",
            Some(429),
            "stand_in",
            "stand_in",
            None,
            "429",
        ),
        (
            "all say 500",
            "InternalServerError",
            Some(500),
            "stand_in",
            "stand_in",
            None,
            "500",
        ),
        (
            "all say 401",
            "InternalServerError",
            Some(502),
            "provider_auth_failed",
            "server_error",
            None,
            "\"beta\"",
        ),
        (
            "the provider says 400",
            "BadRequestError",
            Some(400),
            "stand_in",
            "stand_in",
            None,
            "400",
        ),
        (
            "an error in the stream",
            "APIError",
            None,
            "503",
            "server_error",
            None,
            "overloaded",
        ),
    ] {
        let error = &saw[scene];
        assert_eq!(error[0], class, "{scene}: {error}");
        assert_eq!(error[1], json!(status), "{scene}: {error}");
        assert_eq!([&error[2], &error[3]], [code, kind], "{scene}");
        assert_eq!(error[4], json!(param), "{scene}: {error}");
        assert!(
            error[5].as_str().unwrap_or_default().contains(words),
            "{scene}: {error}"
        );
    }
    assert_eq!(saw["the stream breaks off"][0], "APIConnectionError");
}
