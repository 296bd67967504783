//! Streams of chunks, and the streams of events that they become.

use std::ops::ControlFlow;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::cases;
use crate::messages::answer::tests::Tokens;
use crate::provider::sse::{Decoder, encode};

#[derive(Deserialize)]
struct Case<'a> {
    source: String,
    #[serde(default)]
    model: String,
    /// A chunk, byte for byte; or a string, data that is no chunk; or `sse_event` and `sse_data`.
    #[serde(borrow)]
    chunks: Vec<&'a RawValue>,
    events: Vec<Value>,
    /// What each chunk was, and the end if the last was not.
    #[serde(default)]
    progress: Vec<String>,
    tokens: Option<Tokens>,
}

#[derive(Deserialize)]
struct Named {
    sse_event: String,
    sse_data: String,
}

impl Case<'_> {
    fn read<'a>(name: &str, json: &'a str) -> Case<'a> {
        serde_json::from_str(json).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The provider's stream.
    fn sse(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in &self.chunks {
            if let Ok(named) = serde_json::from_str::<Named>(chunk.get()) {
                let (event, data) = (named.sse_event.as_bytes(), named.sse_data.as_bytes());
                encode(Event { event, data }, &mut out);
                continue;
            }
            let text: Option<String> = serde_json::from_str(chunk.get()).ok();
            let data = text.as_deref().unwrap_or(chunk.get()).as_bytes();
            encode(Event { event: b"", data }, &mut out);
        }
        out
    }
}

/// All that came of a stream.
#[derive(Debug, PartialEq)]
struct Translated {
    out: Vec<u8>,
    progress: Vec<Progress>,
    usage: Usage,
}

fn translate<'a>(model: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> Translated {
    let mut stream = Stream::new(model);
    let mut out = Vec::new();
    let mut progress = Vec::new();
    let mut decoder = Decoder::new(1 << 20);
    let mut on_event = |event: Event<'_>| {
        let before = out.len();
        let now = stream.event(event, &mut out);
        if now == Progress::Silent {
            assert_eq!(out.len(), before, "silent");
        }
        progress.push(now);
        ControlFlow::Continue(())
    };
    for part in parts {
        decoder.push(part, &mut on_event).unwrap();
    }
    decoder.finish(&mut on_event).unwrap();
    let is_over = |now: &Progress| matches!(now, Progress::Done | Progress::Failed);
    let ended = progress.last().copied().filter(is_over);
    let end = stream.end(&mut out);
    match ended {
        Some(ended) => assert_eq!(end, ended),
        None => progress.push(end),
    }
    let length = out.len();
    assert_eq!(stream.end(&mut out), end);
    assert_eq!(out.len(), length, "nothing follows the end");
    Translated {
        out,
        progress,
        usage: stream.usage(),
    }
}

/// The events of what a client gets; each is named as its type says.
fn events(out: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    let mut decoder = Decoder::new(1 << 24);
    let mut on_event = |event: Event<'_>| {
        let data: Value = serde_json::from_slice(event.data).unwrap();
        assert_eq!(data["type"].as_str().unwrap().as_bytes(), event.event);
        events.push(data);
        ControlFlow::Continue(())
    };
    decoder.push(out, &mut on_event).unwrap();
    decoder.finish(&mut on_event).unwrap();
    events
}

/// What holds of every output: one start, blocks 0, 1, 2… one after the other, and one end.
fn check_order(out: &[u8]) {
    let events = events(out);
    let (last, rest) = events.split_last().expect("there is an end");
    let mut open = None;
    let mut next = 0;
    let mut stopped = false;
    for (at, event) in rest.iter().enumerate() {
        let kind = event["type"].as_str().unwrap();
        assert_eq!(kind == "message_start", at == 0, "{kind} at {at}");
        assert!(!stopped, "{kind} after message_delta");
        let index = event["index"].as_u64();
        match kind {
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(next)));
                open = index;
                next += 1;
            }
            "content_block_delta" => assert!(open.is_some() && index == open),
            "content_block_stop" => {
                assert!(open.is_some() && index == open);
                open = None;
            }
            "message_delta" => stopped = true,
            "message_start" | "ping" => {}
            other => panic!("{other} is not the last"),
        }
    }
    match last["type"].as_str().unwrap() {
        "message_stop" => assert!(stopped && open.is_none()),
        "error" => assert!(!stopped),
        other => panic!("{other} is no end"),
    }
}

fn name(progress: Progress) -> &'static str {
    match progress {
        Progress::Silent => "silent",
        Progress::Real => "real",
        Progress::Done => "done",
        Progress::Failed => "failed",
    }
}

#[test]
fn fixtures() {
    for (file, json) in cases("messages/stream", 50) {
        let case = Case::read(&file, &json);
        assert!(case.source.starts_with("https://"), "{file}");
        let sse = case.sse();
        let whole = translate(&case.model, [&sse[..]]);
        assert_eq!(events(&whole.out), case.events, "{file}");
        check_order(&whole.out);
        if !case.progress.is_empty() {
            let progress: Vec<_> = whole.progress.iter().map(|&now| name(now)).collect();
            assert_eq!(progress, case.progress, "{file}");
        }
        if let Some(tokens) = case.tokens {
            assert_eq!(whole.usage, tokens.into(), "{file}");
        }
        assert_eq!(translate(&case.model, sse.chunks(1)), whole, "{file}");
    }
}

fn tool_chunk(calls: Value) -> String {
    let chunk = json!({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]});
    format!("data: {chunk}\n\n")
}

#[test]
fn held_calls_are_bounded() {
    let begin = json!([
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\":"}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{\"y\":\""}},
    ]);
    let more = tool_chunk(json!([{"index": 1, "function": {"arguments": "z".repeat(1000)}}]));
    let mut sse = tool_chunk(begin);
    let mut stream = Stream::new("m");
    let mut out = Vec::new();
    let mut decoder = Decoder::new(1 << 20);
    for _ in 0..400 {
        sse.push_str(&more);
    }
    let mut most = 0;
    decoder
        .push(sse.as_bytes(), &mut |event| {
            assert_eq!(stream.event(event, &mut out), Progress::Real);
            most = most.max(stream.calls.held());
            ControlFlow::Continue(())
        })
        .unwrap();
    // What was held came out once the limit was met, and then everything at once.
    assert!(
        (calls::MAX_HELD / 2..=calls::MAX_HELD).contains(&most),
        "{most}"
    );
    assert_eq!(stream.calls.held(), 0);
    assert_eq!(out.iter().filter(|&&byte| byte == b'z').count(), 400_000);

    // The first call's block has ended before its arguments did: they have no place any more.
    let late = json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}}]});
    let data = late.to_string();
    let event = Event {
        event: b"",
        data: data.as_bytes(),
    };
    assert_eq!(stream.event(event, &mut out), Progress::Failed);
    check_order(&out);
}

#[test]
fn calls_are_bounded() {
    let sse: String = (0..=calls::MAX_CALLS)
        .map(|at| tool_chunk(json!([{"index": at, "function": {"name": "f", "arguments": "{}"}}])))
        .collect();
    let translated = translate("m", [sse.as_bytes()]);
    assert_eq!(translated.progress.last(), Some(&Progress::Failed));
    check_order(&translated.out);
}

/// Chunks that follow no order at all.
fn chunk() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just(""),
        Just("{"),
        Just("}"),
        Just("\"a\":\"\\\""),
        Just(" "),
        Just("null"),
        Just("{}")
    ];
    let call = (
        proptest::option::of(0u8..3),
        proptest::option::of(prop_oneof![Just("a"), Just("b"), Just("")]),
        proptest::option::of(Just("f")),
        proptest::option::of(text.clone()),
    )
        .prop_map(|(index, id, name, arguments)| {
            json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]})
        });
    let detail = (
        0u8..2,
        prop_oneof![Just("anthropic-claude-v1"), Just("other")],
        prop_oneof![Just("reasoning.text"), Just("reasoning.encrypted")],
        text.clone(),
        text.clone(),
    )
        .prop_map(|(index, format, kind, text, signature)| {
            json!({"reasoning_details": [
                {"type": kind, "format": format, "index": index, "text": text, "signature": signature, "data": text},
            ]})
        });
    let delta = prop_oneof![
        4 => call,
        1 => detail,
        1 => text.clone().prop_map(|text| json!({"content": text})),
        1 => text.prop_map(|text| json!({"refusal": text, "reasoning": text})),
    ];
    let chunk =
        |delta: Value| json!({"id": "x", "choices": [{"index": 0, "delta": delta}]}).to_string();
    prop_oneof![
        20 => delta.prop_map(chunk),
        1 => prop_oneof![Just("stop"), Just("length"), Just("tool_calls"), Just("error")]
            .prop_map(|reason| json!({"choices": [{"delta": {}, "finish_reason": reason}]}).to_string()),
        1 => any::<u32>().prop_map(|n| json!({"choices": [], "usage": {"prompt_tokens": n}}).to_string()),
        1 => prop_oneof![Just("[DONE]"), Just("{}"), Just("{\"error\":1}"), Just("[1]"), Just("x")]
            .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn splits_change_nothing(
        case in any::<prop::sample::Index>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let cases = cases("messages/stream", 50);
        let (file, json) = case.get(&cases);
        let case = Case::read(file, json);
        let sse = case.sse();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(sse.len() + 1)).collect();
        cuts.extend([0, sse.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|pair| &sse[pair[0]..pair[1]]);
        prop_assert_eq!(translate("m", parts), translate("m", [&sse[..]]));
    }

    #[test]
    fn any_order_ends_once(chunks in proptest::collection::vec(chunk(), 0..24)) {
        let sse: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        check_order(&translate("m", [sse.as_bytes()]).out);
    }

    /// The input that a client puts together is JSON wherever the provider's finished call was, and `{}` else.
    #[test]
    fn interleaved_calls_keep_their_arguments(
        order in proptest::collection::vec(0usize..3, 0..40),
        inputs in proptest::collection::vec("[a-z\"\\\\{}\\[\\]é\n]{0,12}", 3),
    ) {
        let whole: Vec<String> = inputs.iter().map(|text| json!({"a": [text], "b": {"c": text}}).to_string()).collect();
        let mut left: Vec<Vec<char>> = whole.iter().map(|text| text.chars().rev().collect()).collect();
        let mut sse = String::new();
        let mut begun = [false; 3];
        let rest = [0, 1, 2].into_iter().flat_map(|call| std::iter::repeat_n(call, 200));
        for call in order.into_iter().chain(rest) {
            let mut part = json!({"index": call, "function": {}});
            if !std::mem::replace(&mut begun[call], true) {
                part["id"] = json!(format!("call_{call}"));
                part["function"]["name"] = json!("f");
            } else if left[call].is_empty() {
                continue;
            }
            let at = left[call].len().saturating_sub(4);
            let fragment: String = left[call].drain(at..).rev().collect();
            part["function"]["arguments"] = json!(fragment);
            sse.push_str(&tool_chunk(json!([part])));
        }
        sse.push_str("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n");
        let translated = translate("m", [sse.as_bytes()]);
        check_order(&translated.out);
        let mut given: std::collections::BTreeMap<String, String> = Default::default();
        let mut id = String::new();
        for event in events(&translated.out) {
            if event["type"] == "content_block_start" {
                id = event["content_block"]["id"].as_str().unwrap().to_owned();
            }
            if let Some(part) = event["delta"]["partial_json"].as_str() {
                given.entry(id.clone()).or_default().push_str(part);
            }
        }
        let expected = whole.into_iter().enumerate().map(|(call, text)| (format!("call_{call}"), text));
        prop_assert_eq!(given, expected.collect());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        translate("m", [&bytes[..]]);
        let data = [b"data: ", &bytes[..], b"\n\n"].concat();
        translate("m", [&data[..]]);
    }
}
