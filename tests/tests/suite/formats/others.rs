//! Providers that others wrote behind the gateway: every scene of both SDKs, in every format that they serve. And the
//! SDKs as judges of what the fixtures expect.
//!
//! What each can play (`+`), scene by scene; the rest is played against our own stand-ins alone (`clients.rs`):
//!
//! | scenes, one-shot and streamed | fakellm | llmock | llm-mock-api |
//! |---|---|---|---|
//! | formats | OpenAI, Anthropic | all three | OpenAI, Anthropic |
//! | chat, messages | + | + | + |
//! | tool loops of three requests, two calls at once | + | + | + |
//! | images | + (unread) | + (unread) | + (unread) |
//! | structured output | + (scripted) | + (from the schema; scripted in Anthropic's format, whose field it does not know) | + (scripted) |
//! | thinking is asked for | + (answers without) | + (answers without) | + (answers without) |
//! | thinking is answered | no: has none | no: has none | in Anthropic's format, unsigned; none in OpenAI's |
//! | 400, 429, 500, 529 | one-shot; it streams a 200 | + | no: its rules cannot say errors |
//! | a stream that breaks off | no | + | no |
//!
//! None of them has signed thinking, or thoughts in OpenAI's or Gemini's format. None reads an image or checks a
//! request: what arrives there is judged instead, by the provider's SDK.

use pointsman_tests::others::{Line, Other, Part};
use pointsman_tests::render;
use pointsman_tests::scenes::{self, check};
use serde_json::{Value, json};

use super::wire::{Client, Judged, Provider, Wire, has_judged};

const PARIS: &str = "It is Paris.";
const THOUGHT: &str = "They ask for a capital.";
const OBJECT: &str = r#"{"city": "mock-city", "population": 1}"#;
const LOOP: [Line; 3] = [
    Line::Calls(&["Paris"]),
    Line::Calls(&["Lyon"]),
    Line::Text("It stays sunny."),
];
const AT_ONCE: [Line; 2] = [
    Line::Calls(&["Paris", "Lyon"]),
    Line::Text("It stays sunny."),
];
const STATUSES: [(&str, u16); 4] = [
    ("fails-400", 400),
    ("fails-429", 429),
    ("fails-500", 500),
    ("fails-529", 529),
];

/// Tier and model end in the kind of script; a loop uses its script up and has one of its own.
const LOOPS: [(&str, &[Line]); 8] = [
    ("tools", &LOOP),
    ("tools-streamed", &LOOP),
    ("parallel-tools", &AT_ONCE),
    ("parallel-tools-streamed", &AT_ONCE),
    ("messages-tools", &LOOP),
    ("messages-tools-streamed", &LOOP),
    ("messages-parallel-tools", &AT_ONCE),
    ("messages-parallel-tools-streamed", &AT_ONCE),
];
const KINDS: [(&str, &[Line]); 4] = [
    ("plain", &[Line::Text(PARIS)]),
    ("thinks", &[Line::Thought(THOUGHT, PARIS)]),
    ("object", &[Line::Object(OBJECT)]),
    ("cut", &[Line::Cut]),
];

/// The scenes that are no loop and no failure, and the kind of script that they need.
const SCENES: [(Client, &str, &str); 18] = [
    (Client::Chat, "chat", "plain"),
    (Client::Chat, "stream", "plain"),
    (Client::Chat, "image", "plain"),
    (Client::Chat, "image-streamed", "plain"),
    (Client::Chat, "structured", "object"),
    (Client::Chat, "structured-streamed", "object"),
    (Client::Chat, "thinking", "thinks"),
    (Client::Chat, "thinking-streamed", "thinks"),
    (Client::Chat, "cut", "cut"),
    (Client::Messages, "messages", "plain"),
    (Client::Messages, "messages-stream", "plain"),
    (Client::Messages, "messages-image", "plain"),
    (Client::Messages, "messages-image-streamed", "plain"),
    (Client::Messages, "messages-structured", "object"),
    (Client::Messages, "messages-structured-streamed", "object"),
    (Client::Messages, "messages-thinking", "thinks"),
    (Client::Messages, "messages-thinking-streamed", "thinks"),
    (Client::Messages, "messages-cut", "cut"),
];

/// A format: how its tiers end, its cluster, its name in the policy, and how its models begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Format {
    tier: &'static str,
    cluster: &'static str,
    api: &'static str,
    model: &'static str,
}

const FORMATS: [Format; 3] = [
    Format {
        tier: "gpt",
        cluster: "alpha",
        api: "openai",
        model: "gpt-5-nano",
    },
    Format {
        tier: "claude",
        cluster: "beta",
        api: "anthropic",
        model: "claude-haiku-4-5",
    },
    Format {
        tier: "gemini",
        cluster: "gamma",
        api: "gemini",
        model: "gemini-3-pro",
    },
];

/// What tells these servers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Fakellm,
    Llmock,
    LlmMockApi,
}

/// One scene, whose script and format say which model plays it.
#[derive(Debug, Clone, Copy)]
struct Scene {
    client: Client,
    name: &'static str,
    kind: &'static str,
    format: Format,
}

fn kinds() -> impl Iterator<Item = (&'static str, Vec<Line>)> {
    let said = KINDS.into_iter().chain(LOOPS);
    let said = said.map(|(kind, lines)| (kind, lines.to_vec()));
    said.chain(STATUSES.map(|(kind, status)| (kind, vec![Line::Status(status)])))
}

/// What the stand-in is told, and a policy with a tier for each of its models.
fn script(formats: &[Format]) -> (Vec<Part>, String) {
    let (mut parts, mut policy) = (
        Vec::new(),
        String::from("version: 1\ncooldown: {enabled: false}\ntiers:\n"),
    );
    let mut providers = String::from("providers:\n");
    for format in formats {
        for (kind, lines) in kinds() {
            let model = format!("{}-{kind}", format.model);
            policy += &format!(
                "  {kind}-{}: {{description: d, targets: [{{provider: {}, model: {model}}}]}}\n",
                format.tier, format.cluster
            );
            parts.push(Part { model, lines });
        }
        providers += &format!(
            "  {0}: {{cluster: {0}, api: {1}}}\n",
            format.cluster, format.api
        );
    }
    (
        parts,
        format!("{policy}default_tier: plain-gpt\n{providers}"),
    )
}

/// Every cell of the table that this one can play.
fn played(name: Name, formats: &[Format]) -> Vec<Scene> {
    let mut all: Vec<(Client, &str, &str)> = SCENES.to_vec();
    all.extend(LOOPS.map(|(scene, _)| match scene.starts_with("messages") {
        true => (Client::Messages, scene, scene),
        false => (Client::Chat, scene, scene),
    }));
    for (kind, _) in STATUSES {
        all.push((Client::Chat, "failure", kind));
        all.push((Client::Chat, "failure-streamed", kind));
        all.push((Client::Messages, "messages-failure", kind));
        all.push((Client::Messages, "messages-failure-streamed", kind));
    }
    let can = |(_, scene, _): &(Client, &str, &str)| match name {
        Name::Llmock => true,
        Name::Fakellm => !scene.ends_with("cut") && !scene.ends_with("failure-streamed"),
        Name::LlmMockApi => !scene.ends_with("cut") && !scene.contains("failure"),
    };
    all.retain(can);
    let in_format = |format: &Format| {
        let format = *format;
        let scene = move |&(client, name, kind): &(Client, &'static str, &'static str)| Scene {
            client,
            name,
            kind,
            format,
        };
        all.iter().map(scene).collect::<Vec<_>>()
    };
    formats.iter().flat_map(in_format).collect()
}

// === impl Scene ===

impl Scene {
    /// As the script takes it.
    fn word(&self) -> String {
        format!("{}:{}-{}", self.name, self.kind, self.format.tier)
    }

    fn status(&self) -> u16 {
        let status = STATUSES.iter().find(|(kind, _)| *kind == self.kind);
        status.map_or(200, |(_, status)| *status)
    }

    /// At least this is what the SDK sees.
    fn expected(&self, name: Name) -> Value {
        let calls = json!([["weather", {"city": "Paris"}], ["weather", {"city": "Lyon"}]]);
        let thinks = name == Name::LlmMockApi && self.format.api == "anthropic";
        let thought = if thinks { json!(THOUGHT) } else { Value::Null };
        let blocks = match thinks && self.client == Client::Messages {
            true => json!(["thinking", "text"]),
            false => json!(["text"]),
        };
        match self.name.trim_end_matches("-streamed") {
            "chat" | "stream" => json!({"text": PARIS, "finish": "stop"}),
            "image" => json!({"text": PARIS}),
            "thinking" if self.name.ends_with("streamed") => {
                let order = match thinks {
                    true => json!(["reasoning_content", "content"]),
                    false => json!(["content"]),
                };
                json!({"text": PARIS, "reasoning": thought, "order": order})
            }
            "thinking" => json!({"text": PARIS, "reasoning": thought}),
            "structured" | "messages-structured" => json!({"city": "mock-city", "population": 1}),
            "tools" => json!({"requests": 3, "calls": calls, "ids": 2, "finish": "stop"}),
            "parallel-tools" => json!({"calls": 2, "ids": 2}),
            "messages" | "messages-image" => {
                json!({"text": PARIS, "kinds": ["text"], "stop": "end_turn"})
            }
            "messages-stream" => json!({"text": PARIS, "streamed": true, "stop": "end_turn"}),
            "messages-thinking" => json!({"text": PARIS, "kinds": blocks, "signed": false}),
            "messages-tools" => {
                json!({"requests": 3, "calls": calls, "ids": 2, "stop": "end_turn"})
            }
            "messages-parallel-tools" => {
                json!({"requests": 2, "calls": calls, "ids": 2, "stop": "end_turn"})
            }
            other => panic!("what does {other} expect?"),
        }
    }

    fn check(&self, name: Name, saw: &Value) {
        let word = self.word();
        let got = &saw[&word];
        if self.name.ends_with("cut") || self.name.contains("failure") {
            let expected = self.error();
            let seen: Vec<Value> = got
                .as_array()
                .into_iter()
                .flatten()
                .take(expected.len())
                .cloned()
                .collect();
            assert_eq!(seen, expected, "{name:?} {word}: {got}");
            return;
        }
        check(saw, &json!({(word.as_str()): self.expected(name)}));
        // Unscripted, llmock ends a loop in words of its own.
        if self.name.contains("tools") {
            let text = got["text"].as_str().unwrap_or_default();
            let own = name == Name::Llmock && text.starts_with("Hello!");
            assert!(own || text == "It stays sunny.", "{name:?} {word}: {got}");
        }
    }

    /// What the SDK raises: class, status and the error's own words, as far as they are the gateway's.
    fn error(&self) -> Vec<Value> {
        let status = self.status();
        let is_chat = self.client == Client::Chat;
        if self.name.ends_with("cut") {
            return match is_chat {
                true => vec![json!("APIError"), Value::Null, json!("provider_stream_cut")],
                false => vec![json!("APIStatusError"), json!(200), json!("api_error")],
            };
        }
        let class = match status {
            400 => "BadRequestError",
            429 => "RateLimitError",
            529 if !is_chat => "OverloadedError",
            _ => "InternalServerError",
        };
        let mut error = vec![json!(class), json!(status)];
        match (is_chat, status) {
            // The provider's own words pass.
            (true, _) if self.format.api == "openai" => {}
            (true, 400) => error.extend([
                json!("provider_refused_request"),
                json!("invalid_request_error"),
            ]),
            (true, 429) => {
                error.extend([json!("provider_rate_limited"), json!("rate_limit_error")])
            }
            (true, 529) if self.format.api == "anthropic" => {
                error.extend([json!("provider_overloaded"), json!("server_error")])
            }
            (true, _) => error.extend([json!("provider_failed"), json!("server_error")]),
            (false, 400) => error.push(json!("invalid_request_error")),
            (false, 429) => error.push(json!("rate_limit_error")),
            (false, 529) => error.push(json!("overloaded_error")),
            (false, _) => error.push(json!("api_error")),
        }
        error
    }
}

async fn plays_every_scene(name: Name, label: &str) {
    let formats = match name {
        Name::Llmock => &FORMATS[..],
        _ => &FORMATS[..2],
    };
    let (parts, policy) = script(formats);
    let other = match name {
        Name::Fakellm => Other::fakellm(&parts).await,
        Name::Llmock => Other::llmock(&parts).await,
        Name::LlmMockApi => Other::llm_mock_api(&parts).await,
    };
    let other = other.expect(label);
    let base = |format: &Format| match format.api {
        "openai" => other.paths.openai,
        "anthropic" => other.paths.anthropic,
        _ => other.paths.gemini.expect("it serves Gemini's format"),
    };
    let bases = formats.iter().map(|format| (format.cluster, base(format)));
    let provider = |format: &Format| Provider {
        cluster: format.cluster,
        api: format.api,
        port: other.port,
    };
    let providers: Vec<Provider> = formats.iter().map(provider).collect();
    let mut wire = Wire::start(label, &policy, &providers, bases.collect()).await;

    let played = played(name, formats);
    for client in [Client::Chat, Client::Messages] {
        let of_client: Vec<&Scene> = played.iter().filter(|s| s.client == client).collect();
        let words: Vec<String> = of_client.iter().map(|scene| scene.word()).collect();
        let saw = wire.play(client, Judged::Translations, &words).await;
        for scene in of_client {
            scene.check(name, &saw);
        }
    }
    for format in formats {
        // Each SDK shows one picture one-shot and one streamed, and asks for one object so.
        assert_eq!(
            wire.sent(format.api, "iVBORw0KGgo"),
            4,
            "{label} {format:?}"
        );
        assert_eq!(wire.sent(format.api, "population"), 4, "{label} {format:?}");
    }
    let judged = wire.judge().await;
    for format in formats {
        has_judged(&judged, &[&format!("requests to {}", format.api)]);
    }
    has_judged(
        &judged,
        &[
            "answers of chat",
            "streams of chat",
            "answers of messages",
            "streams of messages",
        ],
    );
}

#[tokio::test]
async fn fakellm_serves_both_sdks() {
    plays_every_scene(Name::Fakellm, "fakellm").await;
}

#[tokio::test]
async fn llmock_serves_both_sdks() {
    plays_every_scene(Name::Llmock, "llmock").await;
}

#[tokio::test]
async fn llm_mock_api_serves_both_sdks() {
    plays_every_scene(Name::LlmMockApi, "llm-mock-api").await;
}

/// The SDKs' own types judge every request that the fixtures expect, and every answer for clients of Messages.
#[tokio::test]
async fn what_the_fixtures_expect_is_what_the_sdks_take() {
    let folder = render::root().join("tests/fixtures/messages");
    let folder = folder.display().to_string();
    let none: &[String] = &[];
    let answers = [folder];
    let (a, b, c, d) = tokio::join!(
        scenes::python("anthropic/judge.py", none),
        scenes::python("gemini/judge.py", none),
        scenes::python("messages/judge.py", none),
        scenes::python("messages/judge_answers.py", &answers),
    );
    for said in [a, b, c, d] {
        assert!(!said.is_empty());
    }
}
