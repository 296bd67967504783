//! Streams as providers send them, whole and split everywhere, and what passes of them.

use proptest::prelude::*;
use serde::Deserialize;

use super::super::usage::tests::Expected;
use super::*;
use crate::fixtures::{check_source, read};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    remove_usage: bool,
    /// A string is the event's bytes; an object is its data.
    events: Vec<Box<RawValue>>,
    /// Indices of the events that are taken out.
    cut: Vec<usize>,
    usage: Expected,
    done: bool,
    error: bool,
}

/// What passed, and what was seen in passing.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    passed: String,
    usage: Usage,
    done: bool,
    error: bool,
}

/// Pushes the chunks; returns how many did not pass as they came as well.
fn pass<'a>(
    remove_usage: bool,
    max: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Outcome, usize) {
    let mut passing = Passing::new(remove_usage, max);
    let mut passed = Vec::new();
    let mut replaced = 0;
    for chunk in chunks {
        match passing.push(chunk) {
            Passed::AsItCame => passed.extend_from_slice(chunk),
            Passed::Replaced(bytes) => {
                passed.extend_from_slice(bytes);
                replaced += 1;
            }
        }
        assert!(passing.open.len() <= max);
    }
    passed.extend_from_slice(passing.finish());
    let outcome = Outcome {
        passed: String::from_utf8_lossy(&passed).into_owned(),
        usage: passing.usage(),
        done: passing.saw_done(),
        error: passing.saw_error(),
    };
    (outcome, replaced)
}

/// Checks a stream whole, byte by byte, and split in two at every place.
fn check(name: &str, remove_usage: bool, stream: &[u8], expected: &Outcome) {
    let pass = |chunks: &[&[u8]]| pass(remove_usage, 4096, chunks.iter().copied());
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(&pass(&[stream]).0, expected, "{name}");
    assert_eq!(&pass(&bytes).0, expected, "{name}, byte by byte");
    for at in 0..=stream.len() {
        let (a, b) = stream.split_at(at);
        assert_eq!(&pass(&[a, b]).0, expected, "{name}, split at {at}");
    }
}

#[test]
fn streams() {
    for (name, case) in read::<Case>("openai/stream", 35) {
        check_source(&name, &case.source);
        let events: Vec<String> = case
            .events
            .iter()
            .map(|event| match event.get() {
                json if json.starts_with('"') => serde_json::from_str(json).expect("a string"),
                json => format!("data: {json}\n\n"),
            })
            .collect();
        let passed = events
            .iter()
            .enumerate()
            .filter(|(at, _)| !case.cut.contains(at))
            .map(|(_, event)| event.as_str())
            .collect();
        let expected = Outcome {
            passed,
            usage: case.usage.into(),
            done: case.done,
            error: case.error,
        };
        check(
            &name,
            case.remove_usage,
            events.concat().as_bytes(),
            &expected,
        );
    }
}

const TOKEN: &[u8] =
    b"data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n";
const USAGE: &[u8] = b"data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\n";

#[test]
fn tokens_pass_as_they_came() {
    for remove_usage in [false, true] {
        let (_, replaced) = pass(remove_usage, 4096, [TOKEN, TOKEN, &TOKEN.repeat(9)[..]]);
        assert_eq!(replaced, 0);
        // Split behind its first choice, an event is nothing to keep back.
        let (a, b) = TOKEN.split_at(40);
        assert_eq!(pass(remove_usage, 4096, [a, b, a, b]).1, 0);
    }
    // Without removal even the usage passes so, however it is split.
    assert_eq!(pass(false, 4096, USAGE.chunks(7)).1, 0);
}

#[test]
fn only_what_may_be_usage_is_kept_back() {
    let mut passing = Passing::new(true, 4096);
    let (a, b) = USAGE.split_at(30);
    assert_eq!(passing.push(&[TOKEN, a].concat()), Passed::Replaced(TOKEN));
    assert_eq!(passing.push(b), Passed::Replaced(b""));
    assert_eq!(passing.push(TOKEN), Passed::AsItCame);
    let (a, b) = TOKEN.split_at(9);
    assert_eq!(passing.push(a), Passed::Replaced(b""));
    assert_eq!(passing.push(b), Passed::Replaced(TOKEN));
    assert_eq!(passing.push(a), Passed::Replaced(b""));
    assert_eq!(passing.finish(), a);
}

#[test]
fn an_event_over_the_limit_passes_unread() {
    let stream = [TOKEN, USAGE, b"data: [DONE]\n\n"].concat();
    let pass = |max, size| pass(true, max, stream.chunks(size)).0;
    for size in 1..stream.len() {
        let out = pass(USAGE.len(), size);
        assert_eq!(out.usage.prompt, 3);
        assert_eq!(out.passed.len() + USAGE.len(), stream.len());
        let out = pass(USAGE.len() - 1, size);
        assert_eq!((out.usage, out.done), (Usage::default(), true));
        assert_eq!(out.passed.as_bytes(), stream);
        assert!(!pass(0, size).done);
    }
}

#[test]
fn deep_nesting_is_skipped() {
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let event = format!("data: {{\"x\":{deep},\"choices\":[],\"usage\":{{\"a\":{deep}}}}}\n\n");
    assert_eq!(pass(true, usize::MAX, [event.as_bytes()]).0.passed, "");
    let event = format!("data: {{\"choices\":{deep},\"usage\":{{\"prompt_tokens\":1}}}}\n\n");
    assert_eq!(pass(true, usize::MAX, [event.as_bytes()]).0.passed, event);
}

#[test]
fn warm_buffers_are_kept() {
    let mut passing = Passing::new(true, 4096);
    let feed = |passing: &mut Passing| {
        for chunk in [TOKEN, USAGE].concat().chunks(7) {
            passing.push(chunk);
        }
        (passing.open.capacity(), passing.out.capacity())
    };
    let warm = feed(&mut passing);
    for _ in 0..100 {
        assert_eq!(feed(&mut passing), warm);
    }
}

// === properties ===

/// Events, and what may stand between and inside them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            TOKEN,
            USAGE,
            b"data: [DONE]\n\n",
            b"data: {\"error\":{}}\n\n",
            b"data: {\"error\":{},\"usage\":{\"prompt_tokens\":5}}\r\n\r\n",
            b"data: {\"object\": \"error\"}\n\n",
            b"data:{\"usage\":{\"completion_tokens\":2},\"choices\":[ ]}\r\r",
            b"data: {\"usage\":{\"prompt_tokens\":7},\ndata: \"choices\":[{}]}\r\n\r\n",
            b"data: {\"a\":{\"choices\":[{}]},\"choices\":[],\"usage\":{\"prompt_tokens\":8}}\n\n",
            b"event: error\ndata: x\n\n",
            b": \"usage\":1\n",
            b"data: {\"choices\" :",
            b"data: \"usage\"",
            b"event:",
            b"data:",
            b"\xC3\xA9",
            b"\xF0",
        ])
        .prop_map(<[u8]>::to_vec),
        prop::sample::select(vec!["\n", "\n\n", "\r\n", "\r", "\r\n\r\n"])
            .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Every event, as a decoder reads it; those of no data and no name are none.
fn events(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut events = Vec::new();
    let mut decoder = Decoder::new(usize::MAX);
    let on_event = &mut |event: Event<'_>| {
        events.push((event.event.to_vec(), event.data.to_vec()));
        ControlFlow::Continue(())
    };
    decoder.push(stream, on_event).expect("no limit");
    decoder.finish(on_event).expect("no limit");
    events
}

proptest! {
    #[test]
    fn splits_change_nothing(
        stream in stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        remove_usage: bool,
        max in prop_oneof![1usize..120, Just(4096)],
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        let whole = pass(remove_usage, max, [&stream[..]]).0;
        prop_assert_eq!(&pass(remove_usage, max, chunks).0, &whole);
        prop_assert_eq!(&pass(remove_usage, max, stream.chunks(1)).0, &whole);
        if !remove_usage {
            prop_assert_eq!(&whole.passed, &String::from_utf8_lossy(&stream));
        }
    }

    /// The quick scan finds what reading every event finds.
    #[test]
    fn nothing_is_overlooked(stream in stream()) {
        let mut seen = Seen::default();
        let mut kept = Vec::new();
        for (name, data) in events(&stream) {
            let is_usage = seen.note(Event { event: &name, data: &data });
            if !is_usage || find_choice(&data, 0).is_ok() {
                kept.push((name, data));
            }
        }
        let mut passing = Passing::new(true, usize::MAX);
        let mut passed = match passing.push(&stream) {
            Passed::AsItCame => stream,
            Passed::Replaced(bytes) => bytes.to_vec(),
        };
        passed.extend_from_slice(passing.finish());
        prop_assert_eq!(events(&passed), kept);
        prop_assert_eq!(
            (passing.usage(), passing.saw_done(), passing.saw_error()),
            (seen.usage, seen.done, seen.error)
        );
    }
}
