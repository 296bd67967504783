use super::*;

#[tokio::test]
async fn refuses_what_anthropic_refuses() {
    let anthropic = start().await;
    let base = with_tools("Hi");
    let content = |block: Value| json!([block]);
    let image = |source: Value| json!([{"type": "image", "source": source}]);
    let user = |content: Value| json!({"role": "user", "content": content});
    let called = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t_1", "name": "weather", "input": {}}]});
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "sunny"});
    let loose = json!({"type": "object", "properties": {}});
    let ranged = json!({"type": "integer", "minimum": 1});
    let format = |schema: Value| json!({"format": {"type": "json_schema", "schema": schema}});
    let marked = json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}});
    for (pointer, new, words) in [
        ("/max_tokens", Value::Null, "max_tokens: Field required"),
        ("/max_tokens", json!(0), "greater than or equal to 1"),
        ("/max_tokens", json!("9"), "valid integer"),
        ("/model", Value::Null, "model: Field required"),
        ("/n", json!(1), "n: Extra inputs are not permitted"),
        (
            "/messages/0/name",
            json!("x"),
            "messages.0.name: Extra inputs",
        ),
        ("/temperature", json!(1.5), "temperature: range: 0..1"),
        ("/top_p", json!(-0.1), "top_p: range: 0..1"),
        ("/stop_sequences", json!(["\n"]), "non-whitespace"),
        (
            "/metadata",
            json!({"team": "x"}),
            "metadata.team: Extra inputs",
        ),
        ("/service_tier", json!("flex"), "service_tier"),
        ("/messages", json!([]), "at least one message"),
        ("/messages/0/role", json!("system"), "Unexpected role"),
        (
            "/messages/0/role",
            json!("assistant"),
            "first message must use",
        ),
        ("/messages/0/content", json!(""), "non-empty content"),
        (
            "/messages/0/content",
            content(json!({"type": "text", "text": ""})),
            "must be non-empty",
        ),
        (
            "/messages/0/content",
            content(json!({"type": "text", "text": " "})),
            "non-whitespace text",
        ),
        (
            "/messages/0/content",
            content(json!({"type": "image_url", "image_url": {}})),
            "Input tag 'image_url'",
        ),
        (
            "/messages/0/content",
            content(json!({"type": "text", "text": "x", "x": 1})),
            "content.0.text.x: Extra",
        ),
        (
            "/messages/0/content",
            image(json!({"type": "url", "url": "http://a.test/"})),
            "Only HTTPS",
        ),
        (
            "/messages/0/content",
            image(json!({"type": "base64", "media_type": "image/bmp", "data": "QQ=="})),
            "media_type",
        ),
        (
            "/messages/0/content",
            image(json!({"type": "base64", "media_type": "image/png", "data": "QQ"})),
            "base64",
        ),
        (
            "/messages/0/content",
            content(result("t_1")),
            "unexpected `tool_use_id`",
        ),
        (
            "/messages/0/content",
            json!([marked, marked, marked, marked, marked]),
            "Found 5.",
        ),
        (
            "/messages/-",
            called.clone(),
            "without `tool_result` blocks immediately after: t_1",
        ),
        (
            "/messages/-",
            json!({"role": "assistant", "content": "So "}),
            "trailing whitespace",
        ),
        (
            "/system",
            content(json!({"type": "text", "text": ""})),
            "must be non-empty",
        ),
        ("/tools/0/name", json!("a b"), "tools.0.custom.name"),
        ("/tools/0/name", json!("time"), "must be unique"),
        (
            "/tools/0/strict_mode",
            json!(true),
            "tools.0.custom.strict_mode: Extra",
        ),
        (
            "/tools/0/input_schema",
            json!({"type": "string"}),
            "input_schema.type",
        ),
        (
            "/tools",
            Value::Null,
            "only be specified while providing tools",
        ),
        (
            "/tool_choice",
            json!({"type": "tool", "name": "x"}),
            "not found in provided tools",
        ),
        (
            "/tool_choice",
            json!({"type": "none", "disable_parallel_tool_use": true}),
            "Extra inputs",
        ),
        ("/output_config", format(loose), "additionalProperties"),
        (
            "/output_config",
            format(ranged),
            "'minimum' is not supported",
        ),
        (
            "/output_config",
            json!({"effort": "minimal"}),
            "output_config.effort",
        ),
        (
            "/thinking",
            json!({"type": "enabled"}),
            "budget_tokens: Field required",
        ),
        (
            "/thinking",
            json!({"type": "enabled", "budget_tokens": 1000}),
            "greater than or equal to 1024",
        ),
        (
            "/thinking",
            json!({"type": "enabled", "budget_tokens": 2048}),
            "greater than `thinking.budget_tokens`",
        ),
        (
            "/thinking",
            json!({"type": "disabled", "budget_tokens": 2000}),
            "Extra inputs",
        ),
    ] {
        let mut request = with(&base, pointer, &new);
        if pointer == "/tools" {
            request["tool_choice"] = json!({"type": "auto"});
        }
        refuses(&anthropic, &request, words).await;
    }
    let loops = with(&base, "/messages/-", &called);
    for (turn, words) in [
        (user(json!("Go on")), "without `tool_result`"),
        (
            user(json!([{"type": "text", "text": "Here:"}, result("t_1")])),
            "without `tool_result`",
        ),
        (
            user(json!([result("t_1"), result("t_1")])),
            "multiple `tool_result`",
        ),
        (
            user(json!([result("t_1"), result("t_2")])),
            "unexpected `tool_use_id`",
        ),
    ] {
        refuses(&anthropic, &with(&loops, "/messages/-", &turn), words).await;
    }
    let thinks = thinking(&base);
    for (pointer, new, words) in [
        ("/temperature", json!(0.5), "may only be set to 1"),
        ("/top_p", json!(0.5), "greater than or equal to 0.95"),
        ("/top_k", json!(5), "must be unset"),
        ("/tool_choice", json!({"type": "any"}), "forces tool use"),
        (
            "/messages/-",
            json!({"role": "assistant", "content": "So"}),
            "but found `text`",
        ),
    ] {
        refuses(&anthropic, &with(&thinks, pointer, &new), words).await;
    }
    // Consecutive messages of one role are one turn, so that results may come in several.
    let called = with(
        &called,
        "/content/-",
        &json!({"type": "tool_use", "id": "t_2", "name": "time", "input": {}}),
    );
    let mut apart = with(&base, "/messages/-", &called);
    for id in ["t_1", "t_2"] {
        apart = with(&apart, "/messages/-", &user(json!([result(id)])));
    }
    assert_eq!(post(&anthropic, PATH, &apart).await.status, 200);
}

async fn refuses(anthropic: &StandIn, request: &Value, words: &str) {
    let reply = post(anthropic, PATH, request).await;
    let error = &reply.json()["error"];
    assert_eq!(
        (reply.status, &error["type"]),
        (400, &json!("invalid_request_error")),
        "{words}"
    );
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(words), "{words}: {message}");
}

#[tokio::test]
async fn versions_and_models_differ() {
    let anthropic = start().await;
    let mut newer = message("Hi");
    newer["model"] = json!("claude-sonnet-5");
    let warm = with(&message("Hi"), "/temperature", &json!(1));
    let document = json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}});
    let turn = json!({"role": "assistant", "content": [document]});
    let document = with(&message("Hi"), "/messages/-", &turn);
    for (version, request, status) in [
        (Some("2026-10-21"), message("Hi"), 200),
        (Some("2026-10-21"), warm.clone(), 400),
        (Some("2026-10-21"), document.clone(), 400),
        (Some("2023-06-01"), warm, 200),
        (Some("2023-06-01"), document, 200),
        (
            Some("2023-06-01"),
            with(&newer, "/temperature", &json!(0)),
            400,
        ),
        (
            Some("2023-06-01"),
            with(&newer, "/temperature", &json!(1)),
            200,
        ),
        (Some("2023-06-01"), thinking(&newer), 400),
        (
            Some("2023-06-01"),
            with(
                &newer,
                "/messages/-",
                &json!({"role": "assistant", "content": "So"}),
            ),
            400,
        ),
        (Some("2024-01-01"), message("Hi"), 400),
        (None, message("Hi"), 400),
    ] {
        let version = version.map(|v| (&b"anthropic-version"[..], v.as_bytes()));
        let headers: Vec<(&[u8], &[u8])> = version.into_iter().collect();
        let reply = post_with(&anthropic, PATH, &headers, &request).await;
        assert_eq!(
            reply.status,
            status,
            "{version:?} {request} {}",
            reply.text()
        );
    }
    let headers: [(&[u8], &[u8]); 2] = [
        (b"anthropic-version", b"2023-06-01"),
        (b"anthropic-beta", b"x"),
    ];
    let beta = with(&message("Hi"), "/context_management", &json!({}));
    assert_eq!(
        post_with(&anthropic, PATH, &headers, &beta).await.status,
        200
    );
}
