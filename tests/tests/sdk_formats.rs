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
    let expected = json!({
        "chat:gpt-5-nano": {"text": says(QUESTION), "finish": "stop", "adds up": true},
        "stream:gpt-5-nano": {"text": says(QUESTION), "finish": "stop", "adds up": true},
        "tools:gpt-5-nano": looped,
        "tools-streamed:gpt-5-nano": looped,
        "tools-forgetful:gpt-5-nano": looped,
        "tools-forgetful-streamed:gpt-5-nano": looped,
        "parallel-tools:gpt-5-nano": {"calls": 2, "ids": 2, "text": says("Tool results: 2.")},
        "structured:gpt-5-nano": {"city": PARIS, "population": 1},
        "image:gpt-5-nano": {"text": says("Your message has 11 characters.")},
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
        "messages-image:claude-haiku-4-5": {"text": says("Your message has 11 characters.")},
        "messages-thinking:claude-haiku-4-5": {
            "kinds": ["thinking", "text"], "signed": true,
            "thinking": "The stand-in for anthropic does not think: this stands in for it.",
        },
        "messages-structured:claude-haiku-4-5": {"city": PARIS, "population": 1},
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
        check(&saw, &expected);
    }
}

#[tokio::test]
async fn the_sdks_take_what_others_wrote() {
    let fakellm = Other::fakellm().await.expect("fakellm");
    let scenes = ["chat:m", "messages:m", "messages-stream:m"];
    let saw = play_at(fakellm.port, fakellm.paths.openai, &scenes).await;
    let expected = json!({
        "chat:m": {"finish": "stop", "adds up": true},
        "messages:m": {"kinds": ["text"], "stop": "end_turn", "role": "assistant"},
        "messages-stream:m": {"streamed": true, "stop": "end_turn"},
    });
    check(&saw, &expected);

    let llmock = Other::llmock().await.expect("llmock");
    let scenes = ["chat:m", "stream:m", "tools:m", "structured:m"];
    let saw = play_at(llmock.port, llmock.paths.openai, &scenes).await;
    let text = format!("Hello! You said: {}", "What is the capital of France?");
    let expected = json!({
        "chat:m": {"text": text, "finish": "stop", "adds up": true},
        "stream:m": {"text": text, "finish": "stop", "adds up": true},
        "tools:m": {"requests": 2, "finish": "stop"},
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
}
