//! A fallback chain that crosses formats: openai, then anthropic, then gemini, in one request.

use pointsman_tests::client::{Reply, chat_request, send};
use serde_json::{Value, json};

use super::Formats;

fn ask(says: &str, stream: bool, tools: bool) -> Value {
    let mut body = json!({
        "model": "chain", "stream": stream,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": says},
        ],
    });
    if tools {
        body["tools"] = json!([{"type": "function", "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }}]);
    }
    body
}

async fn post(formats: &Formats, body: &Value) -> Reply {
    let reply = send(formats.wire.gateway.port(), &chat_request(&[], body)).await;
    reply.expect("an answer")
}

/// Text, the tools called, and the finish reason.
fn read(reply: &Reply, stream: bool) -> (String, Vec<String>, String) {
    let text = reply.text();
    let chunks: Vec<Value> = match stream {
        false => vec![serde_json::from_str(&text).expect("JSON")],
        true => {
            assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
            let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
            let chunks = data.filter(|data| *data != "[DONE]");
            chunks
                .map(|data| serde_json::from_str(data).expect("JSON"))
                .collect()
        }
    };
    let (mut said, mut calls, mut finish) = (String::new(), Vec::new(), String::new());
    for chunk in chunks {
        for choice in chunk["choices"].as_array().expect("choices") {
            let delta = &choice[if stream { "delta" } else { "message" }];
            said += delta["content"].as_str().unwrap_or_default();
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                calls.extend(call["function"]["name"].as_str().map(str::to_owned));
            }
            finish += choice["finish_reason"].as_str().unwrap_or_default();
        }
    }
    (said, calls, finish)
}

#[tokio::test]
async fn each_failure_moves_on_to_the_next_format() {
    let formats = Formats::start("chain").await;
    for stream in [false, true] {
        for (fails, attempts, name) in [
            ("", "alpha=200", "alpha"),
            ("fail alpha, ", "alpha=503, beta=200", "beta"),
            (
                "fail alpha, fail beta, ",
                "alpha=503, beta=529, gamma=200",
                "gamma",
            ),
        ] {
            let reply = post(&formats, &ask(&format!("{fails}hello"), stream, false)).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.header("x-routed-attempts"), attempts);
            let (said, _, finish) = read(&reply, stream);
            assert!(said.contains(&format!("stand-in for {name},")), "{said}");
            assert_eq!(finish, "stop");

            let body = ask(&format!("{fails}use tool"), stream, true);
            let reply = post(&formats, &body).await;
            assert_eq!(reply.header("x-routed-attempts"), attempts);
            let (_, calls, finish) = read(&reply, stream);
            assert_eq!(
                (calls, finish.as_str()),
                (vec!["weather".to_owned()], "tool_calls")
            );
        }
        let fails = "fail alpha, fail beta, fail gamma";
        let reply = post(&formats, &ask(fails, stream, false)).await;
        assert_eq!(reply.status, 503);
        let attempts = "alpha=503, beta=529, gamma=503";
        assert_eq!(reply.header("x-routed-attempts"), attempts);
        let error: Value = serde_json::from_str(&reply.text()).expect("JSON");
        assert_eq!(error["error"]["code"], "provider_failed", "{error}");
        assert_eq!(error["error"]["type"], "server_error");
    }
}

/// The thinking of one provider never goes to another, and the conversation goes on.
#[tokio::test]
async fn a_tool_loop_that_changes_its_provider_goes_on_without_the_others_thinking() {
    let formats = Formats::start("changes").await;
    let order = ["claude", "gemini", "gpt", "claude"];
    for (n, first) in order.iter().enumerate() {
        let mut body = ask("use tool", false, true);
        body["model"] = json!(first);
        body["reasoning_effort"] = json!("medium");
        let reply = post(&formats, &body).await;
        assert_eq!(reply.status, 200, "{first}: {}", reply.text());
        let answer: Value = serde_json::from_str(&reply.text()).expect("JSON");
        let message = answer["choices"][0]["message"].clone();
        let id = message["tool_calls"][0]["id"].clone();
        let turns = body["messages"].as_array_mut().expect("messages");
        turns.push(message);
        turns.push(json!({"role": "tool", "tool_call_id": id, "content": "sunny"}));
        for then in &order[n..] {
            body["model"] = json!(then);
            let reply = post(&formats, &body).await;
            assert_eq!(reply.status, 200, "{first}, then {then}: {}", reply.text());
            assert!(
                reply.text().contains("Tool results: 1."),
                "{}",
                reply.text()
            );
        }
    }
}
