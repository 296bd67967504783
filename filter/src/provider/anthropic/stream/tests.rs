//! Streams of events, and the chunks that they become.

use std::ops::ControlFlow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::answer::tests::{TOLD, cases, check_contains, check_usage};
use super::super::answer::to_chat;
use super::*;
use crate::provider::judge::{StreamJudge, Verdict};
use crate::provider::sse::Decoder;

/// What a stream became.
#[derive(Debug, PartialEq)]
struct Read {
    out: Vec<u8>,
    progress: Vec<Progress>,
    end: Progress,
    usage: Usage,
}

fn read<'a>(told: &Told<'_>, chunks: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut stream = Stream::new(told);
    let mut out = Vec::new();
    let mut progress = Vec::new();
    let mut decoder = Decoder::new(1 << 20);
    let mut on_event = |event: Event<'_>| {
        let before = out.len();
        progress.push(stream.event(event, &mut out));
        assert!(
            out.ends_with(b"\n\n") || out.len() == before,
            "whole events"
        );
        ControlFlow::Continue(())
    };
    for chunk in chunks {
        decoder.push(chunk, &mut on_event).expect("small events");
    }
    decoder.finish(&mut on_event).expect("small events");
    let end = stream.end(&mut out);
    assert_eq!(stream.end(&mut out), end);
    Read {
        end,
        usage: stream.usage(),
        out,
        progress,
    }
}

/// A fixture's events as a provider sends them; one that is a string is the data itself.
fn sse(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| match event.as_str() {
            Some(data) => format!("data: {data}\n\n"),
            None => format!(
                "event: {}\ndata: {event}\n\n",
                event["type"].as_str().unwrap_or("x")
            ),
        })
        .collect()
}

/// The data of every event of an output: JSON, or `[DONE]`.
fn data(out: &[u8]) -> Vec<Value> {
    let out = std::str::from_utf8(out).expect("UTF-8");
    let whole = out.strip_suffix("\n\n").expect("an end");
    whole
        .split("\n\n")
        .map(|event| match event.strip_prefix("data: ").expect("data") {
            "[DONE]" => json!("[DONE]"),
            data => serde_json::from_str(data).expect("JSON"),
        })
        .collect()
}

/// What a fixture says in short: a delta, a usage, an error or `[DONE]`.
fn full(case: &Value, short: &Value) -> Value {
    if short.is_string() || short.get("error").is_some() {
        return short.clone();
    }
    let or = |field: &str, value: &str| case.get(field).cloned().unwrap_or(json!(value));
    let mut chunk = json!({
        "id": or("id", "msg_01"),
        "object": "chat.completion.chunk",
        "created": TOLD.created,
        "model": or("model", "claude-sonnet-4-5"),
        "choices": [],
    });
    if let Some(delta) = short.get("delta") {
        let finish_reason = &short["finish_reason"];
        chunk["choices"] =
            json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]);
    }
    if case["include_usage"] == true {
        chunk["usage"] = short["usage"].clone();
    }
    chunk
}

fn told(case: &Value) -> Told<'static> {
    Told {
        include_usage: case["include_usage"] == true,
        ..TOLD
    }
}

fn bytes(case: &Value) -> String {
    match case["sse"].as_str() {
        Some(sse) => sse.to_owned(),
        None => sse(case["events"].as_array().expect("events")),
    }
}

#[test]
fn fixtures() {
    for (name, case) in cases("stream", 58) {
        let read = read(&told(&case), [bytes(&case).as_bytes()]);
        let expected = case["expected"].as_array().expect("chunks");
        let expected: Vec<_> = expected.iter().map(|short| full(&case, short)).collect();
        assert_eq!(data(&read.out), expected, "{name}");
        if let Some(progress) = case["progress"].as_array() {
            let said: Vec<_> = read
                .progress
                .iter()
                .map(|p| json!(format!("{p:?}")))
                .collect();
            assert_eq!(&said, progress, "{name}");
        }
        check_usage(&name, &case, read.usage);
        check_contains(&name, &case, &read.out);
        check_end(&read);
    }
}

/// Exactly one `[DONE]` or one error, and nothing behind it.
fn check_end(read: &Read) {
    let data = data(&read.out);
    let (last, before) = data.split_last().expect("an end");
    let is_end = |data: &Value| data == "[DONE]" || data.get("error").is_some();
    assert!(is_end(last) && !before.iter().any(is_end), "{data:?}");
    let expected = if last == "[DONE]" {
        Progress::Done
    } else {
        Progress::Failed
    };
    assert_eq!(read.end, expected);
    let finished = |data: &&Value| data["choices"][0]["finish_reason"].is_string();
    let finishes = data.iter().filter(finished).count();
    assert!(
        finishes == 1 || (finishes == 0 && expected == Progress::Failed),
        "{data:?}"
    );
    let roles = data
        .iter()
        .map(|data| data["choices"][0]["delta"]["role"].is_string());
    assert!(roles.skip(1).all(|has_role| !has_role), "{data:?}");
}

#[test]
fn splits_change_nothing() {
    for (name, case) in cases("stream", 58) {
        let (told, stream) = (told(&case), bytes(&case).into_bytes());
        let whole = read(&told, [&stream[..]]);
        assert_eq!(read(&told, stream.chunks(1)), whole, "{name}: byte by byte");
        // Every seventh place: the decoder's own tests try them all.
        for at in (name.len() % 7..stream.len()).step_by(7) {
            let (a, b) = stream.split_at(at);
            assert_eq!(read(&told, [a, b]), whole, "{name}: split at {at}");
        }
    }
}

#[test]
fn byte_for_byte() {
    let stream = sse(&[
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude"}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}}),
        json!({"type": "message_stop"}),
    ]);
    let read = read(
        &Told {
            include_usage: true,
            ..TOLD
        },
        [stream.as_bytes()],
    );
    let head = r#"data: {"id":"msg_1","object":"chat.completion.chunk","created":1700000000,"model":"claude","choices":["#;
    let open = r#""logprobs":null,"finish_reason":null}],"usage":null}"#;
    let expected = [
        format!(
            r#"{head}{{"index":0,"delta":{{"role":"assistant","content":"","refusal":null}},{open}"#
        ),
        format!(r#"{head}{{"index":0,"delta":{{"content":"Hi"}},{open}"#),
        format!(
            r#"{head}{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}],"usage":null}}"#
        ),
        format!(r#"{head}],"usage":{{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"#)
            + r#""prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0}}}"#,
        "data: [DONE]".to_owned(),
    ];
    let expected: String = expected
        .iter()
        .map(|event| format!("{event}\n\n"))
        .collect();
    assert_eq!(String::from_utf8(read.out), Ok(expected));
}

/// The judge of OpenAI's streams sees the same in the output as is said of the events.
#[test]
fn progress_is_what_a_judge_sees() {
    for (name, case) in cases("stream", 58) {
        let mut stream = Stream::new(&told(&case));
        let mut judge = StreamJudge::new(1 << 20);
        let mut decided = Verdict::Undecided;
        let mut decoder = Decoder::new(1 << 20);
        let _ = decoder.push(bytes(&case).as_bytes(), &mut |event| {
            let mut out = Vec::new();
            let progress = stream.event(event, &mut out);
            if decided == Verdict::Undecided {
                decided = match progress {
                    Progress::Silent => Verdict::Undecided,
                    Progress::Real | Progress::Done => Verdict::Release,
                    Progress::Failed => Verdict::Bad(crate::provider::judge::Outcome::BadEvent),
                };
            }
            assert_eq!(judge.push(&out), decided, "{name}");
            ControlFlow::Continue(())
        });
    }
}

/// Between events only counters change: a long stream keeps no more than a short one.
#[test]
fn nothing_is_kept() {
    let mut stream = Stream::new(&TOLD);
    let start = sse(&[
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude"}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    ]);
    let text = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}});
    let mut decoder = Decoder::new(1 << 20);
    let mut out = Vec::new();
    let _ = decoder.push(start.as_bytes(), &mut |event| {
        let _ = stream.event(event, &mut out);
        ControlFlow::Continue(())
    });
    let before = format!("{stream:?}");
    let data = text.to_string();
    for _ in 0..10_000 {
        out.clear();
        let event = Event {
            event: b"content_block_delta",
            data: data.as_bytes(),
        };
        assert_eq!(stream.event(event, &mut out), Progress::Real);
    }
    assert_eq!(format!("{stream:?}"), before);
}

/// Events to be shuffled, repeated and left out.
fn some_event() -> impl Strategy<Value = Value> {
    let index = 0u64..3;
    let text = any::<String>();
    prop_oneof![
        Just(json!({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3}}})),
        Just(json!({"type": "ping"})),
        Just(json!({"type": "message_stop"})),
        Just(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}})),
        Just(json!({"type": "message_delta", "delta": {"stop_reason": null}})),
        index.clone().prop_map(|i| json!({"type": "content_block_stop", "index": i})),
        (index.clone(), prop_oneof!["text", "thinking", "tool_use", "redacted_thinking", "new"], text).prop_map(
            |(i, kind, t)| json!({"type": "content_block_start", "index": i, "content_block":
                {"type": kind, "text": t, "thinking": t, "signature": t, "data": t, "id": t, "name": t, "input": {}}})
        ),
        (
            index,
            prop_oneof!["text_delta", "thinking_delta", "signature_delta", "input_json_delta", "new_delta"],
            text
        )
            .prop_map(|(i, kind, t)| json!({"type": "content_block_delta", "index": i, "delta":
                {"type": kind, "text": t, "thinking": t, "signature": t, "partial_json": t}})),
        text.prop_map(|t| json!({"type": "error", "error": {"type": "api_error", "message": t}})),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(stream in prop::collection::vec(any::<u8>(), 0..300), include_usage in any::<bool>()) {
        check_end(&read(&Told { include_usage, ..TOLD }, [&stream[..]]));
    }

    #[test]
    fn no_data_panics(event in prop::collection::vec(any::<u8>(), 0..20), data in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut stream = Stream::new(&TOLD);
        let mut out = Vec::new();
        let _ = stream.event(Event { event: &event, data: &data }, &mut out);
        let _ = stream.end(&mut out);
    }

    #[test]
    fn any_order_ends_once(
        starts in any::<bool>(),
        events in prop::collection::vec(some_event(), 0..20),
        include_usage in any::<bool>(),
    ) {
        let start = json!({"type": "message_start", "message": {"id": "msg_1"}});
        let events: Vec<_> = starts.then_some(start).into_iter().chain(events).collect();
        check_end(&read(&Told { include_usage, ..TOLD }, [sse(&events).as_bytes()]));
    }

    /// A message that comes in pieces is the same as one that comes whole.
    #[test]
    fn pieces_are_the_whole(
        blocks in prop::collection::vec((0usize..3, prop::collection::vec(any::<String>(), 0..4)), 0..5),
    ) {
        let mut events = vec![json!({"type": "message_start", "message": {"id": "msg_01", "model": "m"}})];
        let mut content = Vec::new();
        for (index, (kind, pieces)) in blocks.iter().enumerate() {
            let whole = pieces.concat();
            let (empty, delta, field, full) = match kind {
                0 => (json!({"type": "text", "text": ""}), "text_delta", "text", json!({"type": "text", "text": whole})),
                1 => (
                    json!({"type": "thinking", "thinking": "", "signature": ""}),
                    "thinking_delta",
                    "thinking",
                    json!({"type": "thinking", "thinking": whole, "signature": ""}),
                ),
                _ => (
                    json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
                    "input_json_delta",
                    "partial_json",
                    json!({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}),
                ),
            };
            let input = vec!["{\"a\"".to_owned(), ":1}".to_owned()];
            let pieces = if *kind == 2 { &input } else { pieces };
            events.push(json!({"type": "content_block_start", "index": index, "content_block": empty}));
            for piece in pieces {
                let delta = json!({"type": delta, (field): piece});
                events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
            }
            events.push(json!({"type": "content_block_stop", "index": index}));
            content.push(full);
        }
        events.push(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}));
        events.push(json!({"type": "message_stop"}));
        let whole = to_chat(json!({"content": content, "stop_reason": "tool_use"}).to_string().as_bytes(), &TOLD);
        let whole: Value = serde_json::from_slice(&whole.expect("an answer").body).expect("JSON");
        let message = &whole["choices"][0]["message"];

        let (mut text, mut reasoning, mut calls) = (String::new(), String::new(), Vec::<String>::new());
        for chunk in data(&read(&TOLD, [sse(&events).as_bytes()]).out) {
            let delta = &chunk["choices"][0]["delta"];
            text += delta["content"].as_str().unwrap_or_default();
            reasoning += delta["reasoning_content"].as_str().unwrap_or_default();
            let call = &delta["tool_calls"][0];
            if call["id"].is_string() {
                calls.push(String::new());
            }
            if let Some(index) = call["index"].as_u64() {
                calls[usize::try_from(index).expect("small")] += call["function"]["arguments"].as_str().expect("text");
            }
        }
        prop_assert_eq!(message["content"].as_str().unwrap_or_default(), text);
        prop_assert_eq!(message["reasoning_content"].as_str().unwrap_or_default(), reasoning);
        let expected: Vec<_> = message["tool_calls"].as_array().into_iter().flatten()
            .map(|call| call["function"]["arguments"].as_str().expect("text").to_owned())
            .collect();
        prop_assert_eq!(expected, calls);
    }
}
