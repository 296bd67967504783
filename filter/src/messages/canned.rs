//! A Message that no model wrote: the canned chat completion, translated as any other.
//!
//! Pure.

use super::answer::from_chat;
use super::stream::Stream;
use crate::chat::canned::{Words, chunks, completion};
use crate::provider::sse::Event;
use crate::provider::translate::Translator;

/// One-shot.
pub fn message(words: &Words<'_>) -> Vec<u8> {
    let translated = from_chat(&completion(words), words.model);
    // What we wrote is a completion; the fallback is for the type checker.
    translated.map(|answer| answer.body).unwrap_or_default()
}

/// The whole of a stream.
pub fn stream(words: &Words<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut stream = Stream::new(words.model);
    let chunks = chunks(words, false);
    let data = chunks.iter().map(String::as_bytes);
    for data in data.chain([&b"[DONE]"[..]]) {
        let event = Event { event: b"", data };
        stream.event(event, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const WORDS: Words<'_> = Words {
        text: "Back \"soon\".\n",
        model: "fast",
        id: 0xab,
        created: 9,
    };

    #[test]
    fn one_shot() {
        let answer: Value = serde_json::from_slice(&message(&WORDS)).expect("JSON");
        assert_eq!(
            answer["content"],
            json!([{"type": "text", "text": WORDS.text}])
        );
        assert_eq!(
            (&answer["type"], &answer["role"]),
            (&json!("message"), &json!("assistant"))
        );
        assert_eq!(
            (&answer["model"], &answer["stop_reason"]),
            (&json!("fast"), &json!("end_turn"))
        );
        assert_eq!(answer["usage"]["output_tokens"], 0);
    }

    #[test]
    fn streamed() {
        let body = String::from_utf8(stream(&WORDS)).expect("text");
        let names = body.lines().filter_map(|line| line.strip_prefix("event: "));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop"
            ]
        );
        assert!(body.contains(r#""text":"Back \"soon\".\n""#), "{body}");
    }
}
