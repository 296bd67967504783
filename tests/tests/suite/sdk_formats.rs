//! The official SDKs of three formats, unmodified, against the stand-ins: what a provider's own SDK takes for that
//! provider, a gateway may be measured with.

use pointsman_tests::others::Other;
use pointsman_tests::scenes::{self, check};
use pointsman_tests::standin::StandIn;
use serde_json::{Value, json};

async fn play(port: u16, scenes: &[&str]) -> Value {
    play_at(port, "", scenes).await
}

async fn play_at(port: u16, base: &str, scenes: &[&str]) -> Value {
    let scenes: Vec<String> = scenes.iter().map(|scene| (*scene).to_owned()).collect();
    scenes::play(port, base, &scenes).await
}

fn answer(name: &str, model: &str, what: &str) -> String {
    format!("This is the stand-in for {name}, answering as {model}: no model was asked. {what}")
}

const QUESTION: &str = "Your message has 30 characters.";
const PARIS: &str = "stand-in";

#[tokio::test]
async fn the_openai_sdk_takes_the_stand_in_for_openai() {
    let openai = StandIn::provider("openai").await.expect("a port");
    let saw = play(openai.address.port(), &["openai:gpt-5-nano"]).await;
    let says = |what: &str| answer("openai", "gpt-5-nano", what);
    let call = json!(["weather", {"city": PARIS}]);
    let looped = json!({
        "requests": 3, "calls": [call, call], "ids": 2, "details": false, "finish": "stop",
        "text": says("Tool results: 2."),
    });
    let parallel = json!({"calls": 2, "ids": 2, "text": says("Tool results: 2.")});
    let object = json!({"city": PARIS, "population": 1});
    let image = json!({"text": says("Your message has 11 characters.")});
    let expected = json!({
        "chat:gpt-5-nano": {"text": says(QUESTION), "finish": "stop", "adds up": true},
        "stream:gpt-5-nano": {"text": says(QUESTION), "finish": "stop", "adds up": true},
        "tools:gpt-5-nano": looped,
        "tools-streamed:gpt-5-nano": looped,
        "tools-forgetful:gpt-5-nano": looped,
        "tools-forgetful-streamed:gpt-5-nano": looped,
        "parallel-tools:gpt-5-nano": parallel,
        "parallel-tools-streamed:gpt-5-nano": parallel,
        "structured:gpt-5-nano": object,
        "structured-streamed:gpt-5-nano": object,
        "image:gpt-5-nano": image,
        "image-streamed:gpt-5-nano": image,
        "thinking:gpt-5-nano": {"reasoning": null, "text": says(QUESTION), "counted": true},
        "thinking-streamed:gpt-5-nano": {"reasoning": null, "order": ["content"], "counted": true},
        "unsupported-file:gpt-5-nano": ["no error"],
        "unsupported-audio:gpt-5-nano": ["no error"],
        "dropped:gpt-5-nano": {"dropped": null, "text": says(QUESTION)},
    });
    check(&saw, &expected);
}

#[tokio::test]
async fn the_anthropic_sdk_takes_the_stand_in_for_anthropic() {
    let anthropic = StandIn::anthropic("anthropic").await.expect("a port");
    let model = "claude-haiku-4-5";
    let saw = play(anthropic.address.port(), &["anthropic:claude-haiku-4-5"]).await;
    let says = |what: &str| answer("anthropic", model, what);
    let call = json!(["weather", {"city": PARIS}]);
    let looped = json!({
        "requests": 3, "calls": [call, call], "ids": 2, "stop": "end_turn",
        "kinds": [["thinking", "tool_use"], ["tool_use"], ["text"]],
        "text": says("Tool results: 2."),
    });
    let whole =
        json!({"text": says(QUESTION), "kinds": ["text"], "stop": "end_turn", "counted": true});
    let parallel =
        json!({"requests": 2, "calls": [call, call], "ids": 2, "text": says("Tool results: 2.")});
    let object = json!({"city": PARIS, "population": 1});
    let image = json!({"text": says("Your message has 11 characters.")});
    let thinking = json!({
        "kinds": ["thinking", "text"], "signed": true,
        "thinking": "The stand-in for anthropic does not think: this stands in for it.",
    });
    let expected = json!({
        "messages:claude-haiku-4-5": {
            "text": says(QUESTION), "kinds": ["text"], "stop": "end_turn", "counted": true,
            "type": "message", "role": "assistant",
        },
        "messages-stream:claude-haiku-4-5": {
            "text": says(QUESTION), "streamed": true, "stop": "end_turn", "counted": true,
            "events": [
                "message_start", "content_block_start", "content_block_delta", "content_block_stop",
                "message_delta", "message_stop",
            ],
        },
        "messages-tools:claude-haiku-4-5": looped,
        "messages-tools-streamed:claude-haiku-4-5": looped,
        "messages-system:claude-haiku-4-5": whole,
        "messages-parallel-tools:claude-haiku-4-5": parallel,
        "messages-parallel-tools-streamed:claude-haiku-4-5": parallel,
        "messages-image:claude-haiku-4-5": image,
        "messages-image-streamed:claude-haiku-4-5": image,
        "messages-thinking:claude-haiku-4-5": thinking,
        "messages-thinking-streamed:claude-haiku-4-5": thinking,
        "messages-structured:claude-haiku-4-5": object,
        "messages-structured-streamed:claude-haiku-4-5": object,
        "messages-count:claude-haiku-4-5": {"counted": true},
        "messages-bad-request:claude-haiku-4-5": [
            "BadRequestError", 400, "invalid_request_error", "messages: at least one message is required",
        ],
        // The stand-in takes every model.
        "messages-not-found:claude-haiku-4-5": ["no error"],
    });
    check(&saw, &expected);
}

#[tokio::test]
async fn the_google_sdk_takes_the_stand_in_for_gemini() {
    let gemini = StandIn::gemini("gemini").await.expect("a port");
    let scenes = ["genai:gemini-3-pro", "genai:gemini-2.5-flash"];
    let saw = play(gemini.address.port(), &scenes).await;
    for model in ["gemini-3-pro", "gemini-2.5-flash"] {
        let says = |what: &str| answer("gemini", model, what);
        let whole = json!({"text": says(QUESTION), "finish": "STOP"});
        let mut expected = json!({});
        expected[format!("genai-chat:{model}")] = whole.clone();
        expected[format!("genai-stream:{model}")] = whole;
        expected[format!("genai-tools:{model}")] =
            json!({"requests": 3, "text": says("Tool results: 2.")});
        expected[format!("genai-image:{model}")] =
            json!({"text": says("Your message has 11 characters."), "finish": "STOP"});
        expected[format!("genai-structured:{model}")] = json!({"city": PARIS, "population": 1});
        expected[format!("genai-thinking:{model}")] = json!({
            "thoughts": "The stand-in for gemini does not think: this stands in for it.",
            "text": says(QUESTION), "counted": true,
        });
        check(&saw, &expected);
    }
}

/// What they say by themselves; scripted they stand behind the gateway: `formats/others.rs`.
#[tokio::test]
async fn the_sdks_take_what_others_wrote() {
    let fakellm = Other::fakellm(&[]).await.expect("fakellm");
    let llm_mock_api = Other::llm_mock_api(&[]).await.expect("llm-mock-api");
    for other in [&fakellm, &llm_mock_api] {
        let scenes = ["chat:m", "messages:m", "messages-stream:m"];
        let saw = play_at(other.port, other.paths.openai, &scenes).await;
        let expected = json!({
            "chat:m": {"finish": "stop", "adds up": true},
            "messages:m": {"kinds": ["text"], "stop": "end_turn", "role": "assistant"},
            "messages-stream:m": {"streamed": true, "stop": "end_turn"},
        });
        check(&saw, &expected);
    }

    let llmock = Other::llmock(&[]).await.expect("llmock");
    let scenes = ["chat:m", "stream:m", "tools:m", "structured:m"];
    let saw = play_at(llmock.port, llmock.paths.openai, &scenes).await;
    let text = "Hello! You said: What is the capital of France?";
    let object = json!({"city": "mock-city", "population": 1});
    let expected = json!({
        "chat:m": {"text": text, "finish": "stop", "adds up": true},
        "stream:m": {"text": text, "finish": "stop", "adds up": true},
        "tools:m": {"requests": 2, "finish": "stop"},
        "structured:m": object,
    });
    check(&saw, &expected);
    let scenes = ["messages:m", "messages-stream:m", "messages-tools:m"];
    let saw = play_at(llmock.port, llmock.paths.anthropic, &scenes).await;
    let expected = json!({
        "messages:m": {"text": text, "stop": "end_turn"},
        "messages-stream:m": {"text": text, "streamed": true},
        "messages-tools:m": {"requests": 2, "stop": "end_turn"},
    });
    check(&saw, &expected);
    let gemini = llmock.paths.gemini.expect("it serves Gemini's format");
    let saw = play_at(llmock.port, &format!("{gemini}/v1beta"), &["genai:m"]).await;
    let expected = json!({
        "genai-chat:m": {"text": text, "finish": "STOP"},
        "genai-stream:m": {"text": text, "finish": "STOP"},
        "genai-tools:m": {"requests": 2},
        "genai-image:m": {"finish": "STOP"},
        "genai-structured:m": object,
        "genai-thinking:m": {"thoughts": "", "text": text},
    });
    check(&saw, &expected);
}
