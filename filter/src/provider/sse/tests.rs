//! Streams, whole and split everywhere, and the events they hold.

use proptest::prelude::*;

use super::*;

type Read = (Vec<(String, String)>, Option<Overflow>);

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every event of a stream that comes in the given chunks.
fn read<'a>(max: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut events = Vec::new();
    let mut decoder = Decoder::new(max);
    let mut on_event = |event: Event<'_>| {
        events.push((lossy(event.event), lossy(event.data)));
        ControlFlow::Continue(())
    };
    for chunk in chunks {
        match decoder.push(chunk, &mut on_event) {
            Ok(read) => assert_eq!(read, chunk.len()),
            Err(overflow) => return (events, Some(overflow)),
        }
    }
    let end = decoder.finish(&mut on_event).err();
    (events, end)
}

/// Checks the stream whole, byte by byte, and split in two at every place.
fn check(stream: &[u8], expected: &[(&str, &str)]) {
    let expected = expected
        .iter()
        .map(|&(event, data)| (event.to_owned(), data.to_owned()));
    let expected = (expected.collect(), None);
    assert_eq!(read(1024, [stream]), expected, "{}", lossy(stream));
    assert_eq!(
        read(1024, stream.chunks(1)),
        expected,
        "byte by byte: {}",
        lossy(stream)
    );
    for at in 0..stream.len() {
        let (a, b) = stream.split_at(at);
        assert_eq!(
            read(1024, [a, b]),
            expected,
            "split at {at}: {}",
            lossy(stream)
        );
    }
}

#[test]
fn streams() {
    check(b"", &[]);
    check(b"\n\n\n", &[]);
    check(b"data: a\n\n", &[("", "a")]);
    check(b"data:a\n\ndata:  b\n\n", &[("", "a"), ("", " b")]);
    check(b"data: a\r\n\r\ndata: b\r\n\r\n", &[("", "a"), ("", "b")]);
    check(b"data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]);
    check(b"data: a\r\n\rdata: b\n\r\n", &[("", "a"), ("", "b")]);
    check(
        b"data: a\ndata: b\r\ndata:c\rdata\n\n",
        &[("", "a\nb\nc\n")],
    );
    check(
        b": comment\n:\n\ndata: a\n: in between\ndata: b\n\n",
        &[("", "a\nb")],
    );
    check(
        b"event: ping\ndata: {}\n\ndata: a\n\n",
        &[("ping", "{}"), ("", "a")],
    );
    check(b"event: x\nevent: y\ndata: a\n\n", &[("y", "a")]);
    check(
        b"id: 1\nretry: 10\nunknown: x\nunknown\ndata: a\n\n",
        &[("", "a")],
    );
    check(
        b"data: \xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x82\n\n",
        &[("", "\u{e9}\u{20ac}\u{1f682}")],
    );
    check(b"data: a:b: c\n\n", &[("", "a:b: c")]);
    check(b" data: a\nDATA: a\n\n", &[]);
}

#[test]
fn a_name_without_data_is_no_event_and_does_not_name_the_next() {
    check(b"event: error\n\ndata: a\n\n", &[("", "a")]);
}

/// The standard's own examples, section 9.2.6.
#[test]
fn examples_of_the_standard() {
    check(b"data\n\ndata\ndata\n\n", &[("", ""), ("", "\n")]);
    check(
        b"data:test\n\ndata: test\n\n",
        &[("", "test"), ("", "test")],
    );
    check(
        b"data: YHOO\ndata: +2\ndata: 10\n\n",
        &[("", "YHOO\n+2\n10")],
    );
    check(
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        &[("", "first event"), ("", "second event"), ("", " third event")],
    );
}

#[test]
fn a_byte_order_mark_counts_only_at_the_start() {
    check(b"\xEF\xBB\xBFdata: a\n\n", &[("", "a")]);
    check(b"\xEF\xBB\xBF\ndata: a\n\n", &[("", "a")]);
    check(
        b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\ndata: b\n\n",
        &[("", "b")],
    );
    check(b"\n\xEF\xBB\xBFdata: a\n\n", &[]);
}

#[test]
fn the_end_closes_the_last_event() {
    check(b"data: a\n\ndata: [DONE]\n", &[("", "a"), ("", "[DONE]")]);
    check(b"data: a\n\ndata: [DONE]", &[("", "a"), ("", "[DONE]")]);
    check(b"data: a\n\nevent: end\n", &[("", "a")]);
    check(b"data: a\n\n: bye", &[("", "a")]);
    check(b"data: a\r", &[("", "a")]);
}

/// Checks that the outcome at a limit is the same whole and byte by byte.
fn check_limit(max: usize, stream: &[u8], events: usize, overflows: bool) {
    for (read, how) in [
        (read(max, [stream]), "whole"),
        (read(max, stream.chunks(1)), "byte by byte"),
    ] {
        assert_eq!(
            (read.0.len(), read.1.is_some()),
            (events, overflows),
            "{how}: {}",
            lossy(stream)
        );
    }
}

#[test]
fn limits() {
    check_limit(10, b"data: 1234\n\n", 1, false);
    check_limit(10, b"data: 12345\n\n", 0, true);
    check_limit(10, b"data: 12345", 0, true);
    check_limit(10, b"data:1\n\ndata: 12345\n\n", 1, true);
    check_limit(10, b"data: 1234\ndata: 6789\n\n", 1, false);
    check_limit(10, b"data: 1234\ndata: 6789\ndata: 1\n\n", 0, true);
    check_limit(10, b"event:1234\ndata: 6789\ndata:1\n\n", 1, false);
    check_limit(10, b"event:1234\ndata: 6789\ndata:12\n\n", 0, true);
    check_limit(10, b"data: 1234\ndata: 6789\nevent:12\n\n", 0, true);
    check_limit(10, b":123456789\n:123456789\n", 0, false);
    check_limit(10, b":1234567890\n", 0, true);
}

#[test]
fn an_overflow_stays() {
    let mut decoder = Decoder::new(4);
    let mut none = |_: Event<'_>| ControlFlow::Continue(());
    let overflow = Overflow { max_event_bytes: 4 };
    assert_eq!(decoder.push(b"data: a\n\n", &mut none), Err(overflow));
    assert_eq!(decoder.push(b"\n\n", &mut none), Err(overflow));
    assert_eq!(decoder.finish(&mut none), Err(overflow));
}

#[test]
fn a_break_leaves_the_rest_to_be_pushed() {
    let stream = b"data: a\r\n\r\ndata: b\n\nda";
    let mut decoder = Decoder::new(64);
    let mut seen = Vec::new();
    let mut take_one = |event: Event<'_>| {
        seen.push(lossy(event.data));
        ControlFlow::Break(())
    };
    let first = decoder.push(stream, &mut take_one).expect("fits");
    let second = decoder.push(&stream[first..], &mut take_one).expect("fits");
    let third = decoder
        .push(&stream[first + second..], &mut take_one)
        .expect("fits");
    assert_eq!((first, second, third), (10, 10, 2));
    assert_eq!(seen, ["a", "b"]);
}

#[test]
fn warm_buffers_are_kept() {
    let mut decoder = Decoder::new(4096);
    let event = [&b"event: e\ndata: "[..], &[b'x'; 1000], b"\n\n"].concat();
    let mut none = |_: Event<'_>| ControlFlow::Continue(());
    let mut feed = |decoder: &mut Decoder| {
        for chunk in event.chunks(7) {
            decoder.push(chunk, &mut none).expect("fits");
        }
        (
            decoder.line.capacity(),
            decoder.event.capacity(),
            decoder.data.capacity(),
        )
    };
    let warm = feed(&mut decoder);
    assert_eq!(feed(&mut decoder), warm);
}

/// Bytes that the format gives a meaning, more often than others.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"data:".to_vec()),
        Just(b"data: ".to_vec()),
        Just(b"event: ".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(BOM.to_vec()),
        Just("\u{e9}\u{1f682}".as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Lines as the standard's grammar has them, the last one maybe without its end.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(vec!["data", "event", "id", "retry", "", "datum", "d\u{e9}"]);
    let colon = prop::sample::select(vec![":", ": ", ":  ", ""]);
    let value = prop_oneof![
        Just(String::new()),
        "[a-z: ]{0,4}",
        "[\u{e9}\u{20ac}\u{1f682}]{1,2}"
    ];
    let end = || prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\r\r"]);
    let line = (field, colon, value, end())
        .prop_map(|(field, colon, value, end)| [field, colon, &value, end].concat());
    (proptest::collection::vec(line, 0..8), end()).prop_map(|(lines, cut)| {
        let stream = lines.concat();
        stream
            .strip_suffix(cut)
            .unwrap_or(&stream)
            .as_bytes()
            .to_vec()
    })
}

/// Checks every split in two, and byte by byte.
fn check_every_split(max: usize, stream: &[u8]) -> Result<(), TestCaseError> {
    let whole = read(max, [stream]);
    prop_assert_eq!(&read(max, stream.chunks(1)), &whole);
    for at in 0..=stream.len() {
        let (a, b) = stream.split_at(at);
        prop_assert_eq!(&read(max, [a, b]), &whole, "split at {}", at);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_split_of_lines_yields_the_same_events(stream in lines(), max in 1usize..64) {
        check_every_split(max, &stream)?;
    }

    #[test]
    fn every_split_of_any_bytes_yields_the_same_events(
        stream in proptest::collection::vec(any::<u8>(), 0..64),
        max in 1usize..64,
    ) {
        check_every_split(max, &stream)?;
    }

    #[test]
    fn splits_change_nothing(
        stream in stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        max in 1usize..64,
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        prop_assert_eq!(read(max, chunks), read(max, [&stream[..]]));
    }

    #[test]
    fn memory_is_bounded(stream in stream(), max in 1usize..64) {
        let mut decoder = Decoder::new(max);
        for chunk in stream.chunks(3) {
            let _ = decoder.push(chunk, &mut |_| ControlFlow::Continue(()));
            prop_assert!(decoder.line.len() <= max);
            prop_assert!(decoder.event.len() + decoder.data.len() <= max);
        }
    }

    #[test]
    fn what_is_encoded_is_read_back(
        event in "[a-z_ ]{0,8}[a-z]",
        data in proptest::collection::vec(any::<u8>().prop_filter("no CR", |&byte| byte != b'\r'), 0..64),
    ) {
        let mut out = Vec::new();
        encode(Event { event: event.as_bytes(), data: &data }, &mut out);
        let mut seen = Vec::new();
        let mut decoder = Decoder::new(1024);
        let read = decoder.push(&out, &mut |event: Event<'_>| {
            seen.push((event.event.to_vec(), event.data.to_vec()));
            ControlFlow::Continue(())
        });
        prop_assert_eq!(read, Ok(out.len()));
        prop_assert_eq!(seen, vec![(event.into_bytes(), data)]);
    }
}

#[test]
fn encoding() {
    for (event, data, expected) in [
        ("", "a", "data: a\n\n"),
        ("ping", "", "event: ping\ndata: \n\n"),
        (
            "a\nb",
            "1\r\n2\r3\n",
            "event: a\ndata: 1\ndata: 2\ndata: 3\ndata: \n\n",
        ),
    ] {
        let mut out = Vec::new();
        encode(
            Event {
                event: event.as_bytes(),
                data: data.as_bytes(),
            },
            &mut out,
        );
        assert_eq!(lossy(&out), expected);
    }
}
