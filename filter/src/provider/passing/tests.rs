//! Streams as providers send them, whole and split everywhere, and what passes of them.

use proptest::prelude::*;
use serde::Deserialize;

use serde_json::value::RawValue;

use super::*;
use crate::fixtures::{check_source, read};
use crate::provider::openai::usage::tests::Expected;

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
    end: Ending,
    /// Bytes that come last, in place of events that were cut.
    #[serde(default)]
    last: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ending {
    Complete,
    EarlyEnd,
    Error,
}

/// What passed, and what was seen in passing.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    passed: String,
    usage: Usage,
    end: StreamEnd,
}

const CHAT: Format = Format::Chat {
    remove_usage: false,
    many_choices: false,
};
const LESS_USAGE: Format = Format::Chat {
    remove_usage: true,
    many_choices: false,
};
const MANY: Format = Format::Chat {
    remove_usage: false,
    many_choices: true,
};

const CUT: &str = r#"data: {"error":{"message":"the provider's stream ended before the answer was complete; send the request again","type":"server_error","param":null,"code":"provider_stream_cut"}}

"#;
const MESSAGE_CUT: &str = r#"event: error
data: {"type":"error","error":{"type":"api_error","message":"the provider's stream was cut before the answer was complete; send the request again"}}

"#;

/// Pushes the chunks; returns how many did not pass as they came as well.
fn pass<'a>(
    format: Format,
    max: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Outcome, usize) {
    let mut passing = Passing::new(format, max);
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
    assert_eq!(passing.finish(), b"", "it ends once");
    let outcome = Outcome {
        passed: String::from_utf8_lossy(&passed).into_owned(),
        usage: passing.usage(),
        end: passing.ended().expect("an end"),
    };
    (outcome, replaced)
}

/// Checks a stream whole, byte by byte, and split in two at every place.
fn check(name: &str, format: Format, stream: &[u8], expected: &Outcome) {
    let pass = |chunks: &[&[u8]]| pass(format, 4096, chunks.iter().copied());
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
        let passed: String = events
            .iter()
            .enumerate()
            .filter(|(at, _)| !case.cut.contains(at))
            .map(|(_, event)| event.as_str())
            .collect();
        let (end, last) = match case.end {
            Ending::Complete => (StreamEnd::Complete, ""),
            Ending::EarlyEnd => (StreamEnd::EarlyEnd, CUT),
            Ending::Error => (StreamEnd::Error, case.last.as_str()),
        };
        let expected = Outcome {
            passed: passed + last,
            usage: case.usage.into(),
            end,
        };
        let format = Format::Chat {
            remove_usage: case.remove_usage,
            many_choices: false,
        };
        check(&name, format, events.concat().as_bytes(), &expected);
    }
}

const TOKEN: &[u8] =
    b"data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n";
const USAGE: &[u8] = b"data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\n";

const DONE: &[u8] = b"data: [DONE]\n\n";

#[test]
fn tokens_pass_as_they_came() {
    for format in [CHAT, LESS_USAGE, MANY] {
        let (_, replaced) = pass(format, 4096, [TOKEN, TOKEN, &TOKEN.repeat(9)[..], DONE]);
        assert_eq!(replaced, 0);
    }
    assert_eq!(pass(CHAT, 4096, [TOKEN, USAGE, DONE]).1, 0);
}

#[test]
fn what_is_split_is_kept_back_until_it_is_whole() {
    let mut passing = Passing::new(LESS_USAGE, 4096);
    let (a, b) = USAGE.split_at(30);
    assert_eq!(passing.push(&[TOKEN, a].concat()), Passed::Replaced(TOKEN));
    assert_eq!(passing.push(b), Passed::Replaced(b""));
    assert_eq!(passing.push(TOKEN), Passed::AsItCame);
    let (a, b) = TOKEN.split_at(40);
    assert_eq!(passing.push(a), Passed::Replaced(b""));
    assert_eq!(passing.push(b), Passed::Replaced(TOKEN));
    assert_eq!(passing.push(a), Passed::Replaced(b""));
    assert_eq!(passing.finish(), CUT.as_bytes());
}

#[test]
fn an_event_over_the_limit_passes_unread() {
    let stream = [TOKEN, USAGE, DONE].concat();
    let pass = |max, size| pass(LESS_USAGE, max, stream.chunks(size)).0;
    for size in 1..stream.len() {
        let out = pass(USAGE.len(), size);
        assert_eq!(out.usage.prompt, 3);
        assert_eq!(out.passed.len() + USAGE.len(), stream.len());
        for max in [USAGE.len() - 1, 0] {
            let out = pass(max, size);
            assert_eq!(
                (out.usage, out.end),
                (Usage::default(), StreamEnd::Complete)
            );
            assert_eq!(out.passed.as_bytes(), stream);
        }
    }
}

/// It may have held the finish reason: a good stream is not called broken. One that breaks off inside of it is.
#[test]
fn an_event_over_the_limit_may_have_been_the_last() {
    let (short, cut) = (&b"data: x\n\n"[..], &TOKEN[..TOKEN.len() - 2]);
    for (stream, end) in [
        ([short, TOKEN].concat(), StreamEnd::Complete),
        ([TOKEN, short].concat(), StreamEnd::Complete),
        ([short, cut].concat(), StreamEnd::EarlyEnd),
        (short.to_vec(), StreamEnd::EarlyEnd),
    ] {
        for size in 1..=stream.len() {
            let out = pass(CHAT, 40, stream.chunks(size)).0;
            assert_eq!(out.end, end, "{size}");
            let is_whole = out.passed.as_bytes() == stream;
            assert_eq!(is_whole, end == StreamEnd::Complete);
            assert_eq!(out.passed.ends_with(CUT), !is_whole);
        }
    }
}

#[test]
fn chat_completions_end_whole_or_in_an_error_that_the_sdks_raise_on() {
    let token = |index: u8, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let (t, t1) = (token(0, "null"), token(1, "null"));
    let (stop, stop1) = (token(0, "\"stop\""), token(1, "\"length\""));
    let (done, usage) = (
        "data: [DONE]\n\n",
        std::str::from_utf8(USAGE).expect("text"),
    );
    let failed = |words: &str| {
        format!(
            "data: {{\"error\":{{\"message\":\"the provider broke off its answer: {words}\",\"type\":\"server_error\",\"param\":null,\"code\":\"provider_failed\"}}}}\n\n"
        )
    };
    let again = "send the request again, or name another tier or model";
    let good = "data: {\"id\":\"c\",\"error\":{\"code\":502,\"message\":\"no\"},\"choices\":[{\"index\":0,\"finish_reason\":\"error\"}]}\n\n";
    use StreamEnd::{Complete, EarlyEnd, Error};
    // What comes behind the first token; how much of it passes; what follows then.
    let cases: &[(&[&str], usize, &str, StreamEnd)] = &[
        (&[&stop, done], 2, "", Complete),
        (&[&stop, usage, done], 3, "", Complete),
        (&[done], 1, "", Complete),
        // `[DONE]` is the end, not its blank line; nor is there one in it.
        (&["data: [DONE]"], 1, "", Complete),
        (&["data:[DONE]\r\n\r\n"], 1, "", Complete),
        // Of servers that send none.
        (&[&stop], 1, "", Complete),
        (&[&stop, usage], 2, "", Complete),
        (&[&stop[..stop.len() - 2]], 1, "", Complete),
        (&[&stop, "data: {\"choices\":[],\"us"], 2, "", Complete),
        // What ends early: an event that is not whole is dropped.
        (&[], 0, CUT, EarlyEnd),
        (&[&t], 1, CUT, EarlyEnd),
        (&[&t, usage], 2, CUT, EarlyEnd),
        (&[&t, &t[..30]], 1, CUT, EarlyEnd),
        (&[&t, &t[..t.len() - 2]], 1, CUT, EarlyEnd),
        (&[&t, ": ping"], 1, CUT, EarlyEnd),
        (&[&token(0, "\"\"")], 1, CUT, EarlyEnd),
        (
            &[
                "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"finish_reason\\\":\\\"stop\\\"\"}}]}\n\n",
            ],
            1,
            CUT,
            EarlyEnd,
        ),
        // Errors that the SDKs raise on pass as they came, and nothing follows.
        (&[good], 1, "", Error),
        (&[good, &t, &stop, done], 1, "", Error),
        (
            &[
                "event: error\ndata: {\"error\":{\"message\":\"no\"}}\r\n\r\n",
                done,
            ],
            1,
            "",
            Error,
        ),
        (
            &["data: {\"error\":{\"message\":\"no\"}}"],
            1,
            "\n\n",
            Error,
        ),
        // Errors that they do not.
        (
            &[
                "data: {\"object\":\"error\",\"message\":\"no such luck\",\"code\":500}\n\n",
                done,
            ],
            0,
            &failed("no such luck"),
            Error,
        ),
        (
            &[
                "data: {\"object\":\"error\",\"message\":\"bad key sk-1\",\"code\":401}\n\n",
                done,
            ],
            0,
            &failed(again),
            Error,
        ),
        (
            &["data: {\"error\":\"overloaded\"}\n\n", done],
            0,
            &failed("overloaded"),
            Error,
        ),
        (
            &["data: {\"error\":{}}\n\n", done],
            0,
            &failed(again),
            Error,
        ),
        (
            &["data: {\"error\":{\"code\":502}}"],
            0,
            &failed(again),
            Error,
        ),
        (
            &[
                "event: error\ndata: {\"message\":\"overloaded\"}\r\n\r\n",
                done,
            ],
            0,
            &failed("overloaded"),
            Error,
        ),
        (
            &["event: error\ndata: overloaded\n\n", &t],
            0,
            &failed(again),
            Error,
        ),
        (
            &["event: thread.x\ndata: {\"error\":{\"message\":\"no\"}}\n\n"],
            0,
            "data: {\"error\":{\"message\":\"no\"}}\n\n",
            Error,
        ),
        (&[&token(0, "\"error\""), done], 0, &failed(again), Error),
        // Behind the end nobody reads.
        (&[done, good, &t], 3, "", Complete),
    ];
    for (n, (events, passes, last, end)) in cases.iter().enumerate() {
        let stream = t.clone() + &events.concat();
        let expected = |usage| Outcome {
            passed: t.clone() + &events[..*passes].concat() + last,
            usage,
            end: *end,
        };
        for format in [CHAT, MANY] {
            let usage = pass(format, 4096, [stream.as_bytes()]).0.usage;
            check(
                &format!("{n} {format:?}"),
                format,
                stream.as_bytes(),
                &expected(usage),
            );
        }
    }
    for (events, end) in [
        (vec![&t, &t1, &stop, &stop1], Complete),
        (vec![&t, &t1, &stop], EarlyEnd),
        (vec![&t, &t1, &stop, &t1], EarlyEnd),
        (vec![&t, &t1, &stop1], EarlyEnd),
        (vec![&t, &stop], Complete),
    ] {
        let stream = events.into_iter().map(String::as_str).collect::<String>();
        let last = if end == Complete { "" } else { CUT };
        let expected = Outcome {
            passed: stream.clone() + last,
            usage: Usage::default(),
            end,
        };
        check("choices", MANY, stream.as_bytes(), &expected);
    }
}

#[test]
fn messages_end_whole_or_in_an_error_that_the_sdks_raise_on() {
    let event =
        |kind: &str, more: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{more}}}\n\n");
    let text = &event(
        "content_block_delta",
        ",\"delta\":{\"text\":\"event: error \\\"message_stop\\\"\"}",
    );
    let stop = &event("message_stop", "");
    let good = &event(
        "error",
        ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}",
    );
    let failed = |kind: &str, words: &str| {
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"{words}\"}}}}\n\n"
        )
    };
    let broken_off = "the provider broke off its answer with an error; send the request again";
    use StreamEnd::{Complete, EarlyEnd, Error};
    let cases: &[(&[&str], usize, &str, StreamEnd)] = &[
        (&[stop], 1, "", Complete),
        (&[&stop[..stop.len() - 2]], 1, "", Complete),
        (&["data: {\"type\": \"message_stop\"}\n\n"], 1, "", Complete),
        (&["event: message_stop\ndata: {}\n\n"], 1, "", Complete),
        (
            &["event:message_stop\r\ndata: {}\r\n\r\n", text],
            2,
            "",
            Complete,
        ),
        (&[stop, good], 2, "", Complete),
        (&[], 0, MESSAGE_CUT, EarlyEnd),
        (
            &[&event(
                "message_delta",
                ",\"delta\":{\"stop_reason\":\"end_turn\"}",
            )],
            1,
            MESSAGE_CUT,
            EarlyEnd,
        ),
        (&[&stop[..20]], 0, MESSAGE_CUT, EarlyEnd),
        (&["data: {\"error\":null}\n\n"], 1, MESSAGE_CUT, EarlyEnd),
        (&[good], 1, "", Error),
        (&[good, text, stop], 1, "", Error),
        // The SDKs read an event by its name, and one without a name not at all.
        (
            &[
                "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
                stop,
            ],
            0,
            &failed("overloaded_error", "Overloaded"),
            Error,
        ),
        (
            &[
                "event: ping\ndata: {\"error\":{\"message\":\"no\"},\"type\" : \"error\"}\n\n",
                stop,
            ],
            0,
            &failed("api_error", "no"),
            Error,
        ),
        (
            &["event: error\ndata: {\"message\":\"no\"}\n\n", stop],
            0,
            &failed("api_error", "no"),
            Error,
        ),
        (
            &["event: error\ndata: what?\n\n", stop],
            0,
            &failed("api_error", broken_off),
            Error,
        ),
        (
            &["event: error\ndata: {\"type\":\"message_stop\"}\n\n", stop],
            0,
            &failed("api_error", broken_off),
            Error,
        ),
    ];
    for (n, (events, passes, last, end)) in cases.iter().enumerate() {
        let stream = text.clone() + &events.concat();
        let expected = Outcome {
            passed: text.clone() + &events[..*passes].concat() + last,
            usage: Usage::default(),
            end: *end,
        };
        check(
            &n.to_string(),
            Format::Messages,
            stream.as_bytes(),
            &expected,
        );
    }
}

#[test]
fn deep_nesting_is_skipped() {
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let passed = |event: &str| {
        let stream = [event.as_bytes(), DONE].concat();
        pass(LESS_USAGE, usize::MAX, [&stream[..]]).0.passed
    };
    let event = format!("data: {{\"x\":{deep},\"choices\":[],\"usage\":{{\"a\":{deep}}}}}\n\n");
    assert_eq!(passed(&event).as_bytes(), DONE);
    let event = format!("data: {{\"choices\":{deep},\"usage\":{{\"prompt_tokens\":1}}}}\n\n");
    assert_eq!(passed(&event), event + "data: [DONE]\n\n");
}

#[test]
fn warm_buffers_are_kept() {
    let mut passing = Passing::new(LESS_USAGE, 4096);
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
            b"event: message_stop\ndata: {}\n\n",
            b"data: {\"type\":\"message_stop\"}\r\n\r\n",
            b"data: {\"type\":\"error\",\"error\":{\"type\":\"a\",\"message\":\"b\"}}\n\n",
            b"data: {\"choices\":[{\"index\":1,\"finish_reason\" : \"stop\"}]}\n\n",
            b"data: {\"choices\":[{\"index\":2,\"finish_reason\":null}],\"usage\":{}}\n\n",
            b"data: {\"choices\":[{\"finish_reason\":\"error\"}]}\n\n",
            b"data: {\"error\":{\"message\":\"no\"}}\r\n\r\n",
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
        format in format(),
        max in prop_oneof![1usize..120, Just(4096)],
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        let whole = pass(format, max, [&stream[..]]).0;
        prop_assert_eq!(&pass(format, max, chunks).0, &whole);
        prop_assert_eq!(&pass(format, max, stream.chunks(1)).0, &whole);
        if format != LESS_USAGE && whole.end == StreamEnd::Complete {
            prop_assert_eq!(&whole.passed, &String::from_utf8_lossy(&stream));
        }
    }

    /// The quick scan finds what reading every event finds.
    #[test]
    fn nothing_is_overlooked(stream in stream(), format in format()) {
        let mut watch = Watch::new(format);
        let mut kept = Vec::new();
        for (name, data) in events(&stream) {
            match watch.note(Event { event: &name, data: &data }) {
                Fate::Pass => kept.push((name, data)),
                Fate::Cut => {}
                Fate::Last | Fate::Reworded => break,
            }
        }
        let is_whole = watch.ended() == Some(StreamEnd::Complete)
            || (watch.ended().is_none() && watch.is_complete());
        let (out, _) = pass(format, usize::MAX, [&stream[..]]);
        prop_assert_eq!(out.usage, watch.usage());
        prop_assert_eq!(out.end == StreamEnd::Complete, is_whole);
        prop_assert_eq!(out.end == StreamEnd::Error, watch.ended() == Some(StreamEnd::Error));
        if is_whole {
            prop_assert_eq!(events(out.passed.as_bytes()), lossy(kept));
        }
    }

    /// Of what is not whole the last event is an error that both SDKs of its format raise on, and the only one.
    #[test]
    fn what_is_not_whole_ends_in_one_error(stream in stream(), format in format(), max in prop_oneof![Just(40usize), Just(4096)]) {
        let (out, _) = pass(format, max, stream.chunks(5));
        let raises = |(name, data): &(Vec<u8>, Vec<u8>)| {
            let json: serde_json::Value = serde_json::from_slice(data).unwrap_or_default();
            match format {
                Format::Messages => name == b"error" && json["type"] == "error" && json["error"]["message"].is_string(),
                Format::Chat { .. } => !name.starts_with(b"thread.") && json["error"]["message"].is_string(),
            }
        };
        let events = events(out.passed.as_bytes());
        if out.end != StreamEnd::Complete {
            prop_assert!(events.last().is_some_and(raises), "{}", out.passed);
            if max == 4096 {
                prop_assert_eq!(events.iter().filter(|event| raises(event)).count(), 1);
            }
        }
    }
}

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(vec![CHAT, LESS_USAGE, MANY, Format::Messages])
}

/// As the outcome's text has them.
fn lossy(events: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned().into_bytes();
    let both = |(name, data)| (lossy(name), lossy(data));
    events.into_iter().map(both).collect()
}
