use super::*;

const PATH: &str = "/v1/chat/completions";

async fn start() -> StandIn {
    StandIn::provider("openai").await.expect("a port")
}

fn chat(text: &str) -> Value {
    json!({"model": "gpt-5-nano", "messages": [{"role": "user", "content": text}]})
}

fn with_tools(text: &str) -> Value {
    let parameters =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    with(
        &chat(text),
        "/tools",
        &json!([tool("weather"), tool("time")]),
    )
}

#[tokio::test]
async fn answers_and_streams() {
    let openai = start().await;
    let reply = post(&openai, PATH, &chat("Hi")).await;
    let text = "This is the stand-in for openai, answering as gpt-5-nano: no model was asked. Your message has 2 characters.";
    assert_eq!(reply.status, 200);
    assert_eq!(reply.content(), text);
    let usage = &reply.json()["usage"];
    assert_eq!(usage.as_object().expect("an object").len(), 3, "{usage}");

    let mut streamed = with(&chat("Hi"), "/stream", &json!(true));
    streamed["stream_options"] = json!({"include_usage": true});
    let reply = post(&openai, PATH, &streamed).await;
    assert_eq!(reply.content(), text);
    let events = reply.events();
    assert_eq!(events.last().expect("events").data, "[DONE]");
    let usage = events[events.len() - 2].json()["usage"].clone();
    assert_eq!(usage["completion_tokens"], text.len() / 4);

    let failed = post(&openai, PATH, &chat("fail openai, please")).await;
    assert_eq!(failed.status, 503);
    assert_eq!(failed.json()["error"]["type"], "server_error");
    let elsewhere = post(&openai, "/v1/embeddings", &json!({})).await;
    assert_eq!(elsewhere.status, 404);
}

#[tokio::test]
async fn a_tool_is_called_until_there_is_enough() {
    let openai = start().await;
    let mut request = with_tools("use tool twice");
    for round in 1..=2 {
        let reply = post(&openai, PATH, &request).await.json();
        assert_eq!(reply["choices"][0]["finish_reason"], "tool_calls");
        let message = &reply["choices"][0]["message"];
        let call = &message["tool_calls"][0];
        assert_eq!(call["id"], format!("call_standin_{round}"));
        assert_eq!(call["function"]["arguments"], r#"{"city":"stand-in"}"#);
        request = with(&request, "/messages/-", message);
        let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "sunny"});
        request = with(&request, "/messages/-", &result);
    }
    let reply = post(&openai, PATH, &request).await;
    assert!(
        reply.content().ends_with("Tool results: 2."),
        "{}",
        reply.content()
    );
    assert!(reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64() > Some(0));

    let two = post(&openai, PATH, &with_tools("use two tools"))
        .await
        .json();
    let calls = &two["choices"][0]["message"]["tool_calls"];
    assert_eq!(
        [&calls[0]["function"]["name"], &calls[1]["function"]["name"]],
        ["weather", "time"]
    );
    let one = with(
        &with_tools("use two tools"),
        "/parallel_tool_calls",
        &json!(false),
    );
    let one = post(&openai, PATH, &one).await.json();
    assert_eq!(
        one["choices"][0]["message"]["tool_calls"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let never = with(&with_tools("use tool"), "/tool_choice", &json!("none"));
    assert!(
        post(&openai, PATH, &never)
            .await
            .content()
            .contains("8 characters")
    );

    let streamed = with(&with_tools("use tool"), "/stream", &json!(true));
    let events = post(&openai, PATH, &streamed).await.events();
    let deltas = events
        .iter()
        .map(|e| e.json()["choices"][0]["delta"]["tool_calls"][0].clone());
    let arguments: String = deltas
        .filter_map(|call| Some(call["function"]["arguments"].as_str()?.to_owned()))
        .collect();
    assert_eq!(arguments, r#"{"city":"stand-in"}"#);
}

#[tokio::test]
async fn a_schema_an_effort_and_a_limit_are_heeded() {
    let openai = start().await;
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {
        "type": "object", "properties": {"n": {"type": "integer"}},
    }}});
    let reply = post(
        &openai,
        PATH,
        &with(&chat("Hi"), "/response_format", &format),
    )
    .await;
    assert_eq!(reply.content(), r#"{"n":1}"#);
    let reply = post(
        &openai,
        PATH,
        &with(&chat("Hi"), "/reasoning_effort", &json!("low")),
    )
    .await;
    let details = &reply.json()["usage"]["completion_tokens_details"];
    assert!(details["reasoning_tokens"].as_u64() > Some(0));
    let reply = post(
        &openai,
        PATH,
        &with(&chat("Hi"), "/max_completion_tokens", &json!(2)),
    )
    .await;
    assert_eq!(reply.content(), "This is ");
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "length");
    let reply = post(
        &openai,
        PATH,
        &with(&chat("Hi"), "/stop", &json!(["the", "is"])),
    )
    .await;
    assert_eq!(reply.content(), "Th");
}

#[tokio::test]
async fn refuses_what_openai_refuses() {
    let openai = start().await;
    let base = with_tools("Hi");
    let image = json!([{"type": "image", "source": {}}]);
    let called = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
    ]});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "sunny"});
    let mut nested = called.clone();
    nested["tool_calls"][0]["extra_content"] = json!({});
    for (pointer, new, param) in [
        ("/thinking", json!({}), "thinking"),
        ("/max_tokens", json!(5), "max_tokens"),
        ("/stream_options", json!({}), "stream_options"),
        ("/messages", json!([]), "messages"),
        (
            "/messages/0/reasoning_details",
            json!([]),
            "messages[0].reasoning_details",
        ),
        ("/messages/0/role", json!("model"), "messages[0].role"),
        ("/messages/0/content", Value::Null, "messages[0].content"),
        ("/messages/0/content", image, "messages[0].content[0].type"),
        (
            "/messages/-",
            nested,
            "messages[1].tool_calls[0].extra_content",
        ),
        ("/messages/-", result("call_1"), "messages.[1].role"),
        ("/messages/-", called.clone(), "messages.[2].role"),
        (
            "/tools/0/function/name",
            json!("a b"),
            "tools[0].function.name",
        ),
    ] {
        let reply = post(&openai, PATH, &with(&base, pointer, &new)).await;
        assert_eq!(reply.status, 400, "{param}");
        let error = &reply.json()["error"];
        assert_eq!(error["type"], "invalid_request_error", "{param}");
        assert_eq!(error["param"], param, "{error}");
    }
    let no_tools = with(&chat("Hi"), "/tool_choice", &json!("auto"));
    assert_eq!(
        post(&openai, PATH, &no_tools).await.json()["error"]["param"],
        "tool_choice"
    );
    // Another call's id is no answer.
    let other = with(
        &with(&base, "/messages/-", &called),
        "/messages/-",
        &result("call_2"),
    );
    assert_eq!(post(&openai, PATH, &other).await.status, 400);
    let fine = with(
        &with(&base, "/messages/-", &called),
        "/messages/-",
        &result("call_1"),
    );
    assert_eq!(post(&openai, PATH, &fine).await.status, 200);
}
