//! Providers that others wrote behind the gateway, and the SDKs as judges of what it sends and gives.

use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::others::Other;
use pointsman_tests::render;
use pointsman_tests::scenes::{self, check};
use serde_json::json;

use super::POLICY;

/// Each takes any model; scenes of both SDKs go through every format that it serves.
#[tokio::test]
async fn providers_that_others_wrote_serve_both_sdks() {
    for name in ["fakellm", "llmock"] {
        let other = match name {
            "fakellm" => Other::fakellm().await,
            _ => Other::llmock().await,
        };
        let other = other.expect(name);
        let mut bases = vec![
            ("alpha", other.paths.openai),
            ("beta", other.paths.anthropic),
        ];
        let mut tiers = vec!["gpt", "claude"];
        if let Some(gemini) = other.paths.gemini {
            bases.push(("gamma", gemini));
            tiers.push("gemini");
        }
        let options = Options {
            policy: POLICY.to_owned(),
            ports: bases
                .iter()
                .map(|(cluster, _)| (*cluster, other.port))
                .collect(),
            bases,
            ..Options::default()
        };
        let gateway = Gateway::start_with(name, options).await;
        let kinds = ["chat", "stream", "messages", "messages-stream"];
        let played = tiers
            .iter()
            .flat_map(|tier| kinds.map(|kind| format!("{kind}:{tier}")));
        // fakellm ends a stream of OpenAI's format without the usage that the scene asks for.
        let played: Vec<String> = played
            .filter(|scene| name != "fakellm" || scene != "stream:gpt")
            .collect();
        let saw = scenes::play(gateway.port(), "", &played).await;
        for scene in &played {
            let (field, ends) = match scene.starts_with("messages") {
                true => ("stop", "end_turn"),
                false => ("finish", "stop"),
            };
            check(&saw, &json!({ (scene.as_str()): {(field): ends} }));
            let text = saw[scene]["text"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name} {scene}: {saw}");
        }
    }
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
