mod refusals;

use super::*;

const PATH: &str = "/v1/messages";

async fn start() -> StandIn {
    StandIn::anthropic("anthropic").await.expect("a port")
}

fn message(text: &str) -> Value {
    json!({"model": "claude-haiku-4-5", "max_tokens": 2048, "messages": [{"role": "user", "content": text}]})
}

fn with_tools(text: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tool = |name: &str| json!({"name": name, "input_schema": schema});
    with(
        &message(text),
        "/tools",
        &json!([tool("weather"), tool("time")]),
    )
}

fn thinking(request: &Value) -> Value {
    let thinking = json!({"type": "enabled", "budget_tokens": 1024});
    with(request, "/thinking", &thinking)
}

/// The conversation goes on with this answer and its tools' results.
fn go_on(request: &Value, answer: &Value) -> Value {
    let turn = json!({"role": "assistant", "content": answer["content"]});
    let blocks = answer["content"].as_array().expect("blocks").iter();
    let calls = blocks.filter(|block| block["type"] == "tool_use");
    let results: Vec<Value> = calls
        .map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}))
        .collect();
    let results = json!({"role": "user", "content": results});
    with(
        &with(request, "/messages/-", &turn),
        "/messages/-",
        &results,
    )
}

/// The message that a stream's events make.
fn assemble(reply: &Reply) -> (Vec<String>, Value) {
    let (mut names, mut message) = (Vec::new(), Value::Null);
    for event in reply.events() {
        let data = event.json();
        assert_eq!(data["type"], event.name.as_str());
        let index = data["index"].as_u64().unwrap_or_default();
        let block = format!("/content/{index}");
        match event.name.as_str() {
            "message_start" => message = data["message"].clone(),
            "content_block_start" => message = with(&message, "/content/-", &data["content_block"]),
            "content_block_delta" => {
                let (field, piece) = ["text", "thinking", "signature", "partial_json"]
                    .iter()
                    .find_map(|field| Some((*field, data["delta"][field].as_str()?)))
                    .expect("a delta");
                let so_far = message.pointer(&format!("{block}/{field}"));
                let so_far = so_far.and_then(Value::as_str).unwrap_or_default();
                let joined = json!(format!("{so_far}{piece}"));
                message = with(&message, &format!("{block}/{field}"), &joined);
            }
            "message_delta" => {
                message["stop_reason"] = data["delta"]["stop_reason"].clone();
                message["usage"] = data["usage"].clone();
            }
            _ => {}
        }
        names.push(event.name);
    }
    (names, message)
}

#[tokio::test]
async fn answers_and_streams() {
    let anthropic = start().await;
    let reply = post(&anthropic, PATH, &message("Hi")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = "This is the stand-in for anthropic, answering as claude-haiku-4-5: no model was asked. Your message has 2 characters.";
    assert_eq!(
        reply.json()["content"],
        json!([{"type": "text", "text": text}])
    );
    assert_eq!(reply.json()["stop_reason"], "end_turn");
    assert!(reply.header("request-id").starts_with("req_"));

    let streamed = post(
        &anthropic,
        PATH,
        &with(&message("Hi"), "/stream", &json!(true)),
    )
    .await;
    let (names, streamed) = assemble(&streamed);
    assert_eq!(streamed["content"], reply.json()["content"]);
    assert_eq!(streamed["usage"]["output_tokens"], text.len() / 4);
    let words = text.split(' ').count();
    assert_eq!(names[..3], ["message_start", "ping", "content_block_start"]);
    assert!(
        names[3..3 + words]
            .iter()
            .all(|name| name == "content_block_delta")
    );
    assert_eq!(
        names[3 + words..],
        ["content_block_stop", "message_delta", "message_stop"]
    );

    let failed = post(&anthropic, PATH, &message("fail anthropic")).await;
    assert_eq!(failed.status, 529);
    assert_eq!(failed.json()["error"]["type"], "overloaded_error");
    let elsewhere = post(&anthropic, "/v1/chat/completions", &message("Hi")).await;
    assert_eq!(
        (elsewhere.status, &elsewhere.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
}

#[tokio::test]
async fn thinks_and_calls_in_a_loop() {
    let anthropic = start().await;
    let request = thinking(&with_tools("use tool twice"));
    let first = post(&anthropic, PATH, &request).await.json();
    let kinds = |answer: &Value| -> Vec<Value> {
        let blocks = answer["content"].as_array().expect("blocks");
        blocks.iter().map(|block| block["type"].clone()).collect()
    };
    assert_eq!(kinds(&first), ["thinking", "tool_use"]);
    assert_eq!(first["stop_reason"], "tool_use");
    assert_eq!(first["content"][1]["input"], json!({"city": "stand-in"}));
    let (_, streamed) =
        assemble(&post(&anthropic, PATH, &with(&request, "/stream", &json!(true))).await);
    assert_eq!(streamed["content"][0], first["content"][0]);
    assert_eq!(
        streamed["content"][1]["partial_json"],
        r#"{"city":"stand-in"}"#
    );

    let request = go_on(&request, &first);
    let second = post(&anthropic, PATH, &request).await.json();
    assert_eq!(kinds(&second), ["tool_use"], "one thinking block a turn");
    assert_ne!(second["content"][0]["id"], first["content"][1]["id"]);
    let request = go_on(&request, &second);
    let last = post(&anthropic, PATH, &request).await.json();
    let text = last["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.ends_with("Tool results: 2."), "{last}");

    // The loop's thinking block is needed, unchanged, and in its place.
    let turn = "/messages/1/content";
    for (pointer, new, words) in [
        (
            format!("{turn}/0/thinking"),
            json!("Altered."),
            "Invalid `signature`",
        ),
        (
            format!("{turn}/0/signature"),
            json!("c3RhbmQ="),
            "Invalid `signature`",
        ),
        (
            turn.to_owned(),
            json!([first["content"][1]]),
            "but found `tool_use`",
        ),
        (
            turn.to_owned(),
            json!([first["content"][1], first["content"][0]]),
            "but found `tool_use`",
        ),
    ] {
        let reply = post(&anthropic, PATH, &with(&request, &pointer, &new)).await;
        let message = reply.json()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            reply.status == 400 && message.contains(words),
            "{pointer}: {message}"
        );
    }
    // Without thinking, or once the user speaks again, it may be left out.
    let without = with(&request, turn, &json!([first["content"][1]]));
    let quiet = with(&without, "/thinking", &Value::Null);
    assert_eq!(post(&anthropic, PATH, &quiet).await.status, 200);
    let answered = with(
        &without,
        "/messages/-",
        &json!({"role": "assistant", "content": last["content"]}),
    );
    let again = with(
        &answered,
        "/messages/-",
        &json!({"role": "user", "content": "Thanks"}),
    );
    assert_eq!(post(&anthropic, PATH, &again).await.status, 200);
}

#[tokio::test]
async fn thinks_in_secret_and_adaptively() {
    let anthropic = start().await;
    let secret = thinking(&with_tools("think in secret and use tool"));
    let first = post(&anthropic, PATH, &secret).await.json();
    assert_eq!(first["content"][0]["type"], "redacted_thinking");
    let next = go_on(&secret, &first);
    assert_eq!(post(&anthropic, PATH, &next).await.status, 200);
    let forged = with(&next, "/messages/1/content/0/data", &json!("abcd"));
    assert_eq!(post(&anthropic, PATH, &forged).await.status, 400);

    let adaptive = json!({"type": "adaptive", "display": "omitted"});
    let mut newer = with(&with_tools("use tool"), "/thinking", &adaptive);
    newer["model"] = json!("claude-opus-4-8");
    let first = post(&anthropic, PATH, &newer).await.json();
    assert_eq!(first["content"][0]["thinking"], "");
    let next = go_on(&newer, &first);
    assert_eq!(post(&anthropic, PATH, &next).await.status, 200);
    let bare = with(&next, "/messages/1/content", &json!([first["content"][1]]));
    assert_eq!(
        post(&anthropic, PATH, &bare).await.status,
        200,
        "adaptive does not insist"
    );
}

#[tokio::test]
async fn counts_caches_and_shapes() {
    let anthropic = start().await;
    let marked =
        json!([{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]);
    let request = with(&with_tools("use tool"), "/system", &marked);
    let first = post(&anthropic, PATH, &request).await.json();
    assert!(first["usage"]["cache_creation_input_tokens"].as_u64() > Some(0));
    assert_eq!(first["usage"]["cache_read_input_tokens"], 0);
    let second = post(&anthropic, PATH, &go_on(&request, &first))
        .await
        .json();
    assert!(second["usage"]["cache_read_input_tokens"].as_u64() > Some(0));

    let count = with(&message("Hi"), "/max_tokens", &Value::Null);
    let counted = post(&anthropic, "/v1/messages/count_tokens", &count).await;
    assert_eq!(
        counted.json(),
        json!({"input_tokens": count.to_string().len() / 4})
    );
    assert_eq!(
        post(&anthropic, "/v1/messages/count_tokens", &message("Hi"))
            .await
            .status,
        400
    );

    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": false});
    let format = json!({"format": {"type": "json_schema", "schema": schema}});
    let reply = post(
        &anthropic,
        PATH,
        &with(&message("Hi"), "/output_config", &format),
    )
    .await;
    assert_eq!(reply.json()["content"][0]["text"], r#"{"n":1}"#);
    let forced = json!({"type": "tool", "name": "time"});
    let reply = post(
        &anthropic,
        PATH,
        &with(&with_tools("Hi"), "/tool_choice", &forced),
    )
    .await;
    assert_eq!(reply.json()["content"][0]["name"], "time");
    let stop = with(&message("Hi"), "/stop_sequences", &json!([" stand"]));
    let reply = post(&anthropic, PATH, &stop).await.json();
    assert_eq!(
        [&reply["stop_reason"], &reply["stop_sequence"]],
        ["stop_sequence", " stand"]
    );
    let short = post(
        &anthropic,
        PATH,
        &with(&message("Hi"), "/max_tokens", &json!(1)),
    )
    .await;
    assert_eq!(short.json()["stop_reason"], "max_tokens");
}
