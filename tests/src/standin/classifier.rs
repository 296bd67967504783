//! A stand-in for the classifier: a model of OpenAI's format that picks a tier by a few words.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{CREATED, items, openai};

/// The first row with a word that the question has decides; see [`pick`] for the rest.
const WORDS: [(&str, &str, &[&str]); 3] = [
    (
        "reasoning",
        "high",
        &[
            "prove",
            "proof",
            "derive",
            "theorem",
            "step by step",
            "np-hard",
            "deadlock",
            "race condition",
            "optimal",
        ],
    ),
    (
        "quality",
        "high",
        &[
            "refactor",
            "architecture",
            "design",
            "essay",
            "review",
            "contract",
            "migrate",
        ],
    ),
    (
        "balanced",
        "medium",
        &[
            "explain", "compare", "write", "draft", "code", "function", "plan", "why", "how",
        ],
    ),
];
/// Longer questions are taken for everyday work at least, in characters.
const LONG: usize = 400;

pub(super) fn classify(body: &[u8]) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return openai::Refused::new(None, None, "not JSON").into_response();
    };
    let schema = &request["response_format"]["json_schema"]["schema"];
    let tiers = items(&schema["properties"]["tier"]["enum"]);
    let offered: Vec<&str> = tiers.iter().filter_map(Value::as_str).collect();
    let Some(first) = offered.first() else {
        return openai::Refused::new(Some("response_format"), None, "no tiers in response_format")
            .into_response();
    };
    let (wanted, reason, complexity) = pick(&question(&openai::ask(&request).text));
    let tier = if offered.contains(&wanted) {
        wanted
    } else {
        first
    };
    let verdict =
        json!({"tier": tier, "reason": reason, "estimated_complexity": complexity}).to_string();
    Json(json!({
        "id": "chatcmpl-classifier-standin",
        "object": "chat.completion",
        "created": CREATED,
        "model": request["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": verdict}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": body.len() / 4, "completion_tokens": 20, "total_tokens": body.len() / 4 + 20},
    }))
    .into_response()
}

/// The user's latest message out of the prompt, which is a JSON object in text.
fn question(prompt: &str) -> String {
    let mut value = serde_json::from_str::<Value>(prompt).unwrap_or_default();
    if let Value::String(inner) = &value {
        value = serde_json::from_str(inner).unwrap_or_default();
    }
    value["latest_user_message"]
        .as_str()
        .unwrap_or(prompt)
        .to_lowercase()
}

fn pick(question: &str) -> (&'static str, String, &'static str) {
    for (tier, complexity, words) in WORDS {
        if let Some(word) = words.iter().find(|word| question.contains(**word)) {
            return (
                tier,
                format!("stand-in: the question says {word:?}"),
                complexity,
            );
        }
    }
    if question.chars().count() > LONG {
        return ("balanced", "stand-in: a long question".into(), "medium");
    }
    ("fast", "stand-in: a short, plain question".into(), "low")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_a_tier_by_words() {
        let check = |prompt: &str, expected: &str| {
            assert_eq!(pick(&question(prompt)).0, expected, "{prompt}")
        };
        check(
            r#"{"latest_user_message": "What is the capital of France?"}"#,
            "fast",
        );
        check(
            r#""{\"latest_user_message\": \"Prove that this terminates\"}""#,
            "reasoning",
        );
        check(
            r#"{"latest_user_message": "Explain TCP slow start"}"#,
            "balanced",
        );
        check("Review this contract", "quality");
        check(&"word ".repeat(100), "balanced");
    }
}
