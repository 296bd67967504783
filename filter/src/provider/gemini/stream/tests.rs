//! Streams, from files, whole and split, and what no file can hold.

use std::ops::ControlFlow;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::fixtures::cases;
use crate::provider::sse::Decoder;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    #[serde(default)]
    include_usage: bool,
    /// The data of each event; a string is data that is not JSON.
    #[serde(default)]
    events: Vec<Box<RawValue>>,
    /// Or the whole stream.
    sse: Option<String>,
    /// The chunks, and `"[DONE]"`.
    expected: Vec<Value>,
    /// Of each event, and of the end.
    progress: Option<Vec<String>>,
    /// Prompt, cached, completion, reasoning.
    #[serde(default)]
    usage: [u64; 4],
}

/// What came of a stream: the bytes, the progress of each event and of the end, and the usage.
#[derive(Debug, PartialEq)]
struct Run {
    out: Vec<u8>,
    progress: Vec<Progress>,
    usage: Usage,
}

fn told(include_usage: bool) -> Told<'static> {
    Told {
        created: 1_700_000_000,
        model: "gemini-told",
        include_usage,
    }
}

fn run<'a>(include_usage: bool, chunks: impl IntoIterator<Item = &'a [u8]>) -> Run {
    let mut stream = Stream::new(&told(include_usage));
    let mut decoder = Decoder::new(1 << 20);
    let (mut out, mut progress) = (Vec::new(), Vec::new());
    let mut on_event = |event: Event<'_>| {
        progress.push(stream.event(event, &mut out));
        ControlFlow::Continue(())
    };
    for chunk in chunks {
        decoder.push(chunk, &mut on_event).expect("fits");
    }
    decoder.finish(&mut on_event).expect("fits");
    progress.push(stream.end(&mut out));
    let ended = out.len();
    assert_eq!(stream.end(&mut out), *progress.last().expect("an end"));
    assert_eq!(out.len(), ended, "an end is written once");
    Run {
        out,
        progress,
        usage: stream.usage(),
    }
}

/// The data of what was written, each JSON but `[DONE]`.
fn chunks(out: &[u8]) -> Vec<Value> {
    let mut chunks = Vec::new();
    let mut decoder = Decoder::new(1 << 20);
    let mut on_event = |event: Event<'_>| {
        chunks.push(match event.data {
            b"[DONE]" => Value::from("[DONE]"),
            data => serde_json::from_slice(data)
                .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(data))),
        });
        ControlFlow::Continue(())
    };
    assert_eq!(decoder.push(out, &mut on_event), Ok(out.len()));
    chunks
}

impl Case {
    fn sse(&self) -> Vec<u8> {
        if let Some(sse) = &self.sse {
            assert!(self.events.is_empty());
            return sse.clone().into_bytes();
        }
        let mut sse = String::new();
        for event in &self.events {
            let data = match serde_json::from_str::<String>(event.get()) {
                Ok(text) => text,
                Err(_) => event.get().replace('\n', "\r\ndata: "),
            };
            sse.push_str(&format!("data: {data}\r\n\r\n"));
        }
        sse.into_bytes()
    }
}

fn read(name: &str, text: &str) -> Case {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn fixtures() {
    for (name, text) in cases("gemini/stream", 42) {
        let case = read(&name, &text);
        assert!(case.source.starts_with("https://"), "{name}");
        let run = run(case.include_usage, [&case.sse()[..]]);
        let got = chunks(&run.out);
        for (i, (got, expected)) in got.iter().zip(&case.expected).enumerate() {
            assert_eq!(got, expected, "{name}, chunk {i}: {got:#}");
        }
        assert_eq!(got.len(), case.expected.len(), "{name}: {got:#?}");
        if let Some(progress) = case.progress {
            let got: Vec<String> = run.progress.iter().map(|p| format!("{p:?}")).collect();
            assert_eq!(got, progress, "{name}");
        }
        let [prompt, cached, completion, reasoning] = case.usage;
        let usage = Usage {
            prompt,
            completion,
            cached,
            cache_write: 0,
            reasoning,
        };
        assert_eq!(run.usage, usage, "{name}");
    }
}

#[test]
fn splits_change_nothing_in_any_fixture() {
    for (name, text) in cases("gemini/stream", 42) {
        let case = read(&name, &text);
        let sse = case.sse();
        let whole = run(case.include_usage, [&sse[..]]);
        for size in [1, 2, 3, 7, 64] {
            let split = run(case.include_usage, sse.chunks(size));
            assert_eq!(split, whole, "{name} in chunks of {size}");
        }
    }
}

#[test]
fn arguments_are_verbatim() {
    let args = "{ \"z\": 1.0e2,\t\"a\":12345678901234567890123, \"z\":\"\\u00e9\\\"\" }";
    let sse = format!(
        "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"functionCall\":{{\"name\":\"f\",\"args\":{args}}}}}]}},\
         \"finishReason\":\"STOP\"}}]}}\n\n"
    );
    let chunks = chunks(&run(false, [sse.as_bytes()]).out);
    let call = &chunks[1]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], args);
}

#[test]
fn choices_are_bounded() {
    let sse: String = (0..=MAX_CHOICES)
        .map(|index| format!("data: {{\"candidates\":[{{\"index\":{index}}}]}}\n\n"))
        .collect();
    let run = run(false, [sse.as_bytes()]);
    assert_eq!(run.progress[MAX_CHOICES - 1], Progress::Silent);
    assert_eq!(run.progress[MAX_CHOICES], Progress::Failed);
    let chunks = chunks(&run.out);
    assert_eq!(chunks.len(), MAX_CHOICES + 1);
    assert_eq!(chunks[MAX_CHOICES]["error"]["code"], "provider_bad_event");
}

#[test]
fn what_an_event_says_before_it_goes_wrong_is_not_said() {
    let sse = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}},{\"content\":7}]}\n\n";
    let run = run(false, [sse.as_bytes()]);
    let chunks = chunks(&run.out);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0]["error"]["code"], "provider_bad_event");
}

#[test]
fn nothing_grows_with_the_stream() {
    let event = Event {
        event: b"",
        data: br#"{"candidates":[{"content":{"parts":[{"text":"Hm","thought":true},{"text":"Hi"},
            {"functionCall":{"name":"f"},"thoughtSignature":"c2ln"}]}}],"responseId":"r"}"#,
    };
    let mut stream = Stream::new(&told(true));
    let mut out = Vec::new();
    let mut feed = |stream: &mut Stream| {
        for _ in 0..100 {
            out.clear();
            assert_eq!(stream.event(event, &mut out), Progress::Real);
        }
        (
            stream.choices.capacity(),
            stream.frame.head.capacity(),
            stream.pieces.capacity(),
        )
    };
    let (choices, head, pieces) = feed(&mut stream);
    let (choices_later, head_later, pieces_later) = feed(&mut stream);
    assert_eq!((choices, head), (choices_later, head_later));
    // Indices have more digits later.
    assert!(
        pieces_later <= pieces * 2 && pieces < 2048,
        "{pieces}, {pieces_later}"
    );
}

/// Events that a stream is made of, good and bad.
fn events() -> impl Strategy<Value = Vec<&'static str>> {
    let event = prop_oneof![
        Just(r#"{"candidates":[{"content":{"parts":[{"text":"é"}]}}],"responseId":"r"}"#),
        Just(r#"{"candidates":[{"content":{"parts":[{"text":"Hm","thought":true}]},"index":1}]}"#),
        Just(
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"},"thoughtSignature":"s"}]}}]}"#
        ),
        Just(r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}"#),
        Just(r#"{"candidates":[{"finishReason":"STOP","index":1}]}"#),
        Just(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#),
        Just(r#"{"usageMetadata":{"promptTokenCount":7}}"#),
        Just(r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#),
        Just("{}"),
        Just(""),
        Just("{"),
    ];
    proptest::collection::vec(event, 0..8)
}

fn ends(run: &Run) -> (usize, usize) {
    let chunks = chunks(&run.out);
    let done = chunks.iter().filter(|chunk| **chunk == "[DONE]").count();
    let errors = chunks
        .iter()
        .filter(|chunk| chunk.get("error").is_some())
        .count();
    (done, errors)
}

proptest! {
    #[test]
    fn every_stream_has_one_end(events in events(), include_usage in any::<bool>()) {
        let sse: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let run = run(include_usage, [sse.as_bytes()]);
        let expected = match run.progress.last() {
            Some(Progress::Done) => (1, 0),
            Some(Progress::Failed) => (0, 1),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(ends(&run), expected);
        let last = chunks(&run.out).pop();
        prop_assert!(last.is_some_and(|last| last == "[DONE]" || last.get("error").is_some()));
    }

    #[test]
    fn splits_change_nothing(
        events in events(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let sse: String = events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
        let sse = sse.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(sse.len() + 1)).collect();
        cuts.extend([0, sse.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|pair| &sse[pair[0]..pair[1]]);
        prop_assert_eq!(run(true, parts), run(true, [sse]));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut stream = Stream::new(&told(true));
        let mut out = Vec::new();
        let event = Event { event: b"", data: &bytes };
        stream.event(event, &mut out);
        stream.end(&mut out);
        let run = run(false, [&bytes[..], &b"\n\ndata: "[..], &bytes]);
        prop_assert_eq!(ends(&run), (0, 1));
    }
}
