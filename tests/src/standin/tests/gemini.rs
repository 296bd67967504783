use super::*;

async fn start() -> StandIn {
    StandIn::gemini("gemini").await.expect("a port")
}

async fn generate(to: &StandIn, model: &str, body: &Value) -> Reply {
    post(to, &format!("/v1beta/models/{model}:generateContent"), body).await
}

async fn stream(to: &StandIn, model: &str, body: &Value) -> Reply {
    post(
        to,
        &format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        body,
    )
    .await
}

fn ask(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn with_tools(text: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tool = |name: &str| json!({"name": name, "parametersJsonSchema": schema});
    let tools = json!([{"functionDeclarations": [tool("weather"), tool("time")]}]);
    with(&ask(text), "/tools", &tools)
}

/// The conversation goes on with this answer and its tools' results.
fn go_on(request: &Value, answer: &Value) -> Value {
    let turn = &answer["candidates"][0]["content"];
    let parts = turn["parts"].as_array().expect("parts").iter();
    let calls = parts.filter_map(|part| part.get("functionCall"));
    let results: Vec<Value> = calls
        .map(
            |call| json!({"functionResponse": {"name": call["name"], "response": {"is": "sunny"}}}),
        )
        .collect();
    let results = json!({"role": "user", "parts": results});
    with(&with(request, "/contents/-", turn), "/contents/-", &results)
}

fn text_of(reply: &Value) -> &str {
    reply["candidates"][0]["content"]["parts"][0]["text"]
        .as_str()
        .unwrap_or_default()
}

#[tokio::test]
async fn answers_and_streams() {
    let gemini = start().await;
    let reply = generate(&gemini, "gemini-2.5-flash", &ask("Hi")).await;
    let whole = "This is the stand-in for gemini, answering as gemini-2.5-flash: no model was asked. Your message has 2 characters.";
    assert_eq!(text_of(&reply.json()), whole);
    assert_eq!(reply.json()["candidates"][0]["finishReason"], "STOP");
    assert_eq!(
        reply.json()["candidates"][0]["content"]["parts"][0].get("thoughtSignature"),
        None
    );

    let reply = stream(&gemini, "gemini-3-pro", &ask("Hi")).await;
    assert!(reply.text().contains("}\r\n\r\n"));
    let chunks: Vec<Value> = reply.events().iter().map(client::Event::json).collect();
    let text: String = chunks.iter().map(text_of).collect();
    assert!(text.ends_with("2 characters."), "{text}");
    let last = chunks.last().expect("chunks");
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert!(last["candidates"][0]["content"]["parts"][0]["thoughtSignature"].is_string());
    assert_eq!(
        last["usageMetadata"]["candidatesTokenCount"],
        text.len() / 4
    );
    let array = post(
        &gemini,
        "/v1beta/models/gemini-3-pro:streamGenerateContent",
        &ask("Hi"),
    )
    .await;
    assert_eq!(array.json().as_array().map(Vec::len), Some(chunks.len()));

    let failed = generate(&gemini, "gemini-3-pro", &ask("fail gemini")).await;
    assert_eq!(
        (failed.status, &failed.json()["error"]["status"]),
        (503, &json!("UNAVAILABLE"))
    );
    assert_eq!(
        post(&gemini, "/v1/chat/completions", &ask("Hi"))
            .await
            .status,
        404
    );
    let counted = post(
        &gemini,
        "/v1beta/models/gemini-3-pro:countTokens",
        &ask("Hi"),
    )
    .await;
    assert!(counted.json()["totalTokens"].as_u64() > Some(0));
}

#[tokio::test]
async fn thinks_and_counts_thoughts_apart() {
    let gemini = start().await;
    let config = json!({"thinkingConfig": {"includeThoughts": true, "thinkingBudget": 1024}});
    let request = with(&ask("Hi"), "/generationConfig", &config);
    let reply = generate(&gemini, "gemini-2.5-flash", &request).await.json();
    let parts = &reply["candidates"][0]["content"]["parts"];
    assert_eq!(parts[0]["thought"], true);
    assert!(parts[1]["thoughtSignature"].is_string());
    let usage = &reply["usageMetadata"];
    let count = |field: &str| usage[field].as_u64().expect("a number");
    let sum = [
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
    ]
    .map(count);
    assert_eq!(sum.iter().sum::<u64>(), count("totalTokenCount"));
    let chunks = stream(&gemini, "gemini-2.5-flash", &request).await.events();
    let thoughts: String = chunks
        .iter()
        .map(client::Event::json)
        .filter(|chunk| chunk["candidates"][0]["content"]["parts"][0]["thought"] == true)
        .map(|chunk| text_of(&chunk).to_owned())
        .collect();
    assert_eq!(parts[0]["text"], thoughts);
}

#[tokio::test]
async fn calls_in_a_loop_and_minds_signatures() {
    let gemini = start().await;
    let request = with_tools("use tool twice");
    let first = generate(&gemini, "gemini-3-pro", &request).await.json();
    let call = &first["candidates"][0]["content"]["parts"][0];
    assert_eq!(call["functionCall"]["id"], "standin_1");
    assert_eq!(call["functionCall"]["args"], json!({"city": "stand-in"}));
    let second_request = go_on(&request, &first);
    let second = generate(&gemini, "gemini-3-pro", &second_request)
        .await
        .json();
    let last_request = go_on(&second_request, &second);
    let last = generate(&gemini, "gemini-3-pro", &last_request)
        .await
        .json();
    assert!(text_of(&last).ends_with("Tool results: 2."), "{last}");
    assert!(last["usageMetadata"]["cachedContentTokenCount"].as_u64() > Some(0));

    let signature = "/contents/1/parts/0/thoughtSignature";
    for (new, status) in [
        (Value::Null, 400),
        (json!("c3RhbmQ="), 400),
        (json!("skip_thought_signature_validator"), 200),
    ] {
        let reply = generate(
            &gemini,
            "gemini-3-pro",
            &with(&last_request, signature, &new),
        )
        .await;
        assert_eq!(reply.status, status, "{new}");
    }
    // Before Gemini 3 it may be left out, and once the user speaks again.
    let without = with(&last_request, signature, &Value::Null);
    assert_eq!(
        generate(&gemini, "gemini-2.5-flash", &without).await.status,
        200
    );
    let answered = with(&without, "/contents/-", &last["candidates"][0]["content"]);
    let again = with(&answered, "/contents/-", &ask("Thanks")["contents"][0]);
    assert_eq!(generate(&gemini, "gemini-3-pro", &again).await.status, 200);

    let two = generate(&gemini, "gemini-3-pro", &with_tools("use two tools"))
        .await
        .json();
    let parts = two["candidates"][0]["content"]["parts"]
        .as_array()
        .expect("parts");
    let signed: Vec<bool> = parts
        .iter()
        .map(|part| part.get("thoughtSignature").is_some())
        .collect();
    assert_eq!(signed, [true, false]);
    let both = go_on(&with_tools("use two tools"), &two);
    assert_eq!(generate(&gemini, "gemini-3-pro", &both).await.status, 200);
    let mut one = both.clone();
    one["contents"][2]["parts"]
        .as_array_mut()
        .expect("parts")
        .pop();
    refuses(&gemini, &one, "number of function response parts").await;
}

#[tokio::test]
async fn a_schema_and_a_choice_are_heeded() {
    let gemini = start().await;
    let config = json!({"response_mime_type": "application/json", "responseSchema": {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}}});
    let reply = generate(
        &gemini,
        "gemini-2.5-flash",
        &with(&ask("Hi"), "/generation_config", &config),
    )
    .await;
    assert_eq!(text_of(&reply.json()), r#"{"n":1}"#);
    let calling =
        json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["time"]}});
    let forced = with(&with_tools("Hi"), "/toolConfig", &calling);
    let reply = generate(&gemini, "gemini-2.5-flash", &forced).await.json();
    let call = &reply["candidates"][0]["content"]["parts"][0]["functionCall"];
    assert_eq!((&call["name"], call.get("id")), (&json!("time"), None));
    assert_eq!(reply["candidates"][0]["finishReason"], "STOP");
    let short = with(
        &ask("Hi"),
        "/generationConfig",
        &json!({"maxOutputTokens": 1}),
    );
    let reply = generate(&gemini, "gemini-2.5-flash", &short).await.json();
    assert_eq!(reply["candidates"][0]["finishReason"], "MAX_TOKENS");
}

#[tokio::test]
async fn refuses_what_gemini_refuses() {
    let gemini = start().await;
    let base = with_tools("Hi");
    let call = |name: &str| json!({"functionCall": {"name": name, "args": {}}});
    let model = |part: Value| json!({"role": "model", "parts": [part]});
    let user = |part: Value| json!({"role": "user", "parts": [part]});
    let result =
        |response: Value| json!({"functionResponse": {"name": "weather", "response": response}});
    let function = "/tools/0/functionDeclarations/0";
    for (pointer, new, words) in [
        (
            "/messages",
            json!([]),
            "Unknown name \"messages\": Cannot find field.",
        ),
        (
            "/generationConfig",
            json!({"stop": []}),
            "Unknown name \"stop\" at 'generation_config'",
        ),
        (
            "/generationConfig",
            json!({"temperature": 3}),
            "temperature",
        ),
        (
            "/generationConfig",
            json!({"stopSequences": ["1", "2", "3", "4", "5", "6"]}),
            "stop_sequences",
        ),
        (
            "/generationConfig",
            json!({"responseJsonSchema": {}}),
            "response mime type",
        ),
        (
            "/generationConfig",
            json!({"responseMimeType": "application/json"}),
            "is unsupported",
        ),
        (
            "/generationConfig",
            json!({"thinkingConfig": {"thinkingLevel": "low"}}),
            "not supported for this model",
        ),
        ("/contents", json!([]), "contents is not specified"),
        (
            "/contents/0/role",
            json!("assistant"),
            "valid role: user, model",
        ),
        ("/contents/0/parts", json!([]), "parts must not be empty"),
        (
            "/contents/0/parts/0",
            json!({"text": ""}),
            "oneof field 'data'",
        ),
        (
            "/contents/0/parts/0",
            json!({"thought": true}),
            "oneof field 'data'",
        ),
        (
            "/contents/0/parts/0",
            json!({"type": "text", "text": "x"}),
            "Unknown name \"type\" at 'contents[0].parts[0]'",
        ),
        (
            "/contents/0/parts/0/inline_data",
            json!({"mime_type": "image/png", "data": ""}),
            "already set",
        ),
        (
            "/contents/0/parts/0",
            result(json!({})),
            "immediately after a function call turn",
        ),
        (
            "/contents/-",
            model(call("weather")),
            "number of function response parts",
        ),
        (
            "/systemInstruction",
            json!({"parts": [{"text": ""}]}),
            "system_instruction.parts[0].data",
        ),
        (
            "/tools/0/functionDeclarations/0/name",
            json!("1st"),
            "Invalid function name",
        ),
        (
            "/tools/0/functionDeclarations/0/name",
            json!("time"),
            "Duplicate function declaration",
        ),
        (
            "/tools/0/functionDeclarations/0/strict",
            json!(true),
            "Unknown name \"strict\"",
        ),
        (
            "/tools/0/functionDeclarations/0/parameters",
            json!({"type": "OBJECT"}),
            "only one of",
        ),
        (
            "/toolConfig",
            json!({"functionCallingConfig": {"mode": "auto"}}),
            "Invalid value at",
        ),
        (
            "/toolConfig",
            json!({"functionCallingConfig": {"allowedFunctionNames": ["time"]}}),
            "ANY and VALIDATED",
        ),
    ] {
        refuses(&gemini, &with(&base, pointer, &new), words).await;
    }
    let called = with(&base, "/contents/-", &model(call("weather")));
    for (turn, words) in [
        (
            user(json!({"text": "Go on"})),
            "number of function response parts",
        ),
        (user(result(json!("sunny"))), "google.protobuf.Struct"),
        (
            user(json!({"functionResponse": {"name": "time", "response": {}}})),
            "names of the function calls",
        ),
        (
            model(call("weather")),
            "comes immediately after a user turn",
        ),
    ] {
        refuses(&gemini, &with(&called, "/contents/-", &turn), words).await;
    }
    assert_eq!(
        generate(
            &gemini,
            "gemini-2.5-flash",
            &with(&called, "/contents/-", &user(result(json!({}))))
        )
        .await
        .status,
        200
    );
    // The narrower schema of `parameters`.
    let mut narrow = with(
        &base,
        &format!("{function}/parametersJsonSchema"),
        &Value::Null,
    );
    narrow = with(
        &narrow,
        &format!("{function}/parameters"),
        &json!({"type": "OBJECT", "$schema": "x"}),
    );
    refuses(
        &gemini,
        &narrow,
        "Unknown name \"$schema\" at 'tools[0].function_declarations[0].parameters'",
    )
    .await;
    let both = json!({"thinkingConfig": {"thinkingLevel": "low", "thinkingBudget": 1}});
    let reply = generate(
        &gemini,
        "gemini-3-pro",
        &with(&base, "/generationConfig", &both),
    )
    .await;
    assert_eq!(reply.status, 400);
}

async fn refuses(gemini: &StandIn, request: &Value, words: &str) {
    let reply = generate(gemini, "gemini-2.5-flash", request).await;
    let error = &reply.json()["error"];
    assert_eq!(
        (reply.status, &error["status"]),
        (400, &json!("INVALID_ARGUMENT")),
        "{words}: {}",
        reply.text()
    );
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(words), "{words}: {message}");
}
