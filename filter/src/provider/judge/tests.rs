//! Streams and bodies as providers send them, and what they are taken for.

use proptest::prelude::*;

use super::*;

const BAD: Verdict = Verdict::Bad(Outcome::BadEvent);
const EMPTY: Verdict = Verdict::Bad(Outcome::Empty);

/// The verdict once all is pushed, and the one after the end.
fn judge<'a>(max_held: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Verdict, Verdict) {
    let mut judge = StreamJudge::new(max_held);
    let mut verdict = Verdict::Undecided;
    for chunk in chunks {
        verdict = judge.push(chunk);
    }
    (verdict, judge.finish())
}

fn check(stream: &str, pushed: Verdict, finished: Verdict) {
    assert_eq!(
        judge(4096, [stream.as_bytes()]),
        (pushed, finished),
        "{stream}"
    );
    assert_eq!(
        judge(4096, stream.as_bytes().chunks(1)),
        (pushed, finished),
        "byte by byte: {stream}"
    );
}

/// Checks what a first event's data is, with a blank line behind it.
fn check_data(data: &str, expected: Verdict) {
    let finished = if expected == Verdict::Undecided {
        EMPTY
    } else {
        expected
    };
    check(&format!("data: {data}\n\n"), expected, finished);
}

#[test]
fn real_events() {
    for data in [
        r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":" "}}]}"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":"Hi"}}]}"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":"","reasoning_content":"Hm"}}]}"#,
        r#"{"choices":[{"delta":{"reasoning":"Hm"}}]}"#,
        r#"{"choices":[{"delta":{"refusal":"No"}}]}"#,
        r#"{"choices":[{"delta":{"content":null,"tool_calls":[{"index":0,"id":"c"}]}}]}"#,
        r#"{"choices":[{"delta":{"function_call":{"name":"f"}}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"thinking"}]}}]}"#,
        r#"{"choices":[{"delta":{"never heard of it":1}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"delta":{}},{"index":1,"delta":{"content":"Hi"}}]}"#,
        r#"{"choices":[{"text":"Once"}]}"#,
        r#"{"choices":[{"message":{"role":"assistant","content":"Hi"}}]}"#,
        r#"{"error":null,"choices":[{"delta":{"content":"Hi"}}]}"#,
        r#"{ "ch\u006fices" : [ { "d\u0065lta" : { "content" : "Hi" } } ] }"#,
    ] {
        check_data(data, Verdict::Release);
    }
}

#[test]
fn events_that_are_not_real() {
    for data in [
        "",
        "   ",
        "{}",
        r#"{"choices":[]}"#,
        r#"{"choices":null}"#,
        r#"{"choices":{"delta":{"content":"Hi"}}}"#,
        r#"{"choices":["delta",[{"content":"Hi"}],null]}"#,
        r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[{"delta":{"role":"assistant"},"finish_reason":null}]}"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":"","refusal":null,"tool_calls":[ ],"x":{ }}}]}"#,
        r#"{"choices":[{"delta":{"r\u006fle":"assistant"}}]}"#,
        r#"{"choices":[{"delta":null,"logprobs":null,"finish_reason":""}]}"#,
        r#"{"choices":[{"delta":"Hi"}]}"#,
        r#"{"choices":[{"text":""}]}"#,
        r#"{"id":"x","object":"chat.completion.chunk","error":null,"choices":[]}"#,
    ] {
        check_data(data, Verdict::Undecided);
    }
}

#[test]
fn bad_events() {
    for data in [
        r#"{"error":{"message":"overloaded","type":"overloaded_error"}}"#,
        r#"{"error":"no"}"#,
        r#"{"type":"error","error":{"type":"rate_limit_error"}}"#,
        r#"{"error":{"code":502},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}"#,
        r#"{"object":"error","message":"too long","code":400}"#,
        r#"{"choices":[{"delta":{"content":"Hi"#,
        r#"{"choices":[]} {"choices":[]}"#,
        "<html>",
        "[]",
        "7",
        "null",
    ] {
        check_data(data, BAD);
    }
    check("event: error\ndata: {\"choices\":[]}\n\n", BAD, BAD);
    assert_eq!(judge(4096, [&b"data: {\"a\":\"\xFF\xFE\"}\n\n"[..]]).0, BAD);
    check_data("[DONE]", EMPTY);
}

#[test]
fn streams() {
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let real = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let error = "data: {\"error\":{\"message\":\"no\"}}\n\n";
    let ping = ": keep-alive\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\nevent: ping\ndata: x\n\n";

    check("", Verdict::Undecided, EMPTY);
    check(": OPENROUTER PROCESSING\n\n", Verdict::Undecided, EMPTY);
    check(&[ping, role].concat(), Verdict::Undecided, EMPTY);
    check(
        &[ping, role, real].concat(),
        Verdict::Release,
        Verdict::Release,
    );
    check(&[ping, role, error, real].concat(), BAD, BAD);
    // After the first real event an error is the client's to see.
    check(
        &[role, real, error].concat(),
        Verdict::Release,
        Verdict::Release,
    );
    check(&[role, "data: [DONE]\n\n"].concat(), EMPTY, EMPTY);
    check(real.trim_end(), Verdict::Undecided, Verdict::Release);
    check(error.trim_end(), Verdict::Undecided, BAD);
    check(
        "data: {\"choices\":[{\"delta\":{\"con",
        Verdict::Undecided,
        BAD,
    );
    check(
        "{\"error\":{\"message\":\"JSON in a stream's clothes\"}}",
        Verdict::Undecided,
        EMPTY,
    );
}

#[test]
fn what_cannot_be_held_is_released() {
    let ping = b": ping\n\n";
    assert_eq!(judge(16, [&ping[..], ping]), (Verdict::Undecided, EMPTY));
    assert_eq!(
        judge(16, [&ping[..], ping, b":"]),
        (Verdict::Release, Verdict::Release)
    );
    // The error is past what is held, in one chunk or in many.
    let late = [ping, &ping[..], b"data: <\n\n"].concat();
    assert_eq!(judge(16, [&late[..]]), (Verdict::Release, Verdict::Release));
    assert_eq!(
        judge(16, late.chunks(1)),
        (Verdict::Release, Verdict::Release)
    );
    assert_eq!(judge(0, [&b"x"[..]]), (Verdict::Release, Verdict::Release));
    assert_eq!(judge(0, [&b""[..]]), (Verdict::Undecided, EMPTY));
}

#[test]
fn deep_nesting_is_skipped() {
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    for deep in [deep("[", "]"), deep("{\"a\":", "}").replace(":}", ":1}")] {
        let data = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{deep}}}}}]}}\n\n");
        assert_eq!(judge(usize::MAX, [data.as_bytes()]).0, Verdict::Release);
        assert_eq!(
            judge_one_shot(format!("{{\"a\":{deep},\"error\":{deep}}}").as_bytes()),
            OneShot::Error
        );
    }
    assert_eq!(
        judge_one_shot("[".repeat(100_000).as_bytes()),
        OneShot::NotJson
    );
    assert_eq!(
        judge_one_shot("{\"a\":".repeat(100_000).as_bytes()),
        OneShot::NotJson
    );
}

#[test]
fn one_shot_answers() {
    for (body, expected) in [
        ("", OneShot::Empty),
        (" \r\n\t", OneShot::Empty),
        (
            r#"{"choices":[{"message":{"content":"Hi"}}]}"#,
            OneShot::Good,
        ),
        (" {\"choices\":[]}\n", OneShot::Good),
        ("{}", OneShot::Good),
        (r#"{"error":null,"choices":[]}"#, OneShot::Good),
        (
            r#"{"error":{"message":"partial"},"choices":[{}]}"#,
            OneShot::Good,
        ),
        (r#"{"choices":[{"error":1}],"error":{}}"#, OneShot::Good),
        (
            r#"{"object":"chat.completion","object":null,"a":1,"a":2}"#,
            OneShot::Good,
        ),
        (r#"{"error":null}"#, OneShot::Good),
        (r#"{"error":{"message":"no"}}"#, OneShot::Error),
        (r#"{"\u0065rror":"no","choices":null}"#, OneShot::Error),
        (r#"{"object":"error","message":"no"}"#, OneShot::Error),
        (r#"{"choices":[{"message":{"content":"Hi"#, OneShot::NotJson),
        (r#"{"choices":[]}}"#, OneShot::NotJson),
        (r#"{"choices":[]}{"choices":[]}"#, OneShot::NotJson),
        ("[]", OneShot::NotJson),
        ("null", OneShot::NotJson),
        ("\"x\"", OneShot::NotJson),
        ("<html></html>", OneShot::NotJson),
        ("data: {}\n\n", OneShot::NotJson),
    ] {
        assert_eq!(judge_one_shot(body.as_bytes()), expected, "{body}");
    }
    assert_eq!(judge_one_shot(b"{\"a\":\"\xFF\"}"), OneShot::NotJson);
}

#[test]
fn outcomes() {
    for (outcome, text) in [
        (Outcome::Status(200), "200"),
        (Outcome::Status(503), "503"),
        (Outcome::ConnectFailure, "connect_failure"),
        (Outcome::Timeout, "timeout"),
        (Outcome::Reset, "reset"),
        (Outcome::Empty, "empty"),
        (Outcome::BadEvent, "bad_event"),
    ] {
        assert_eq!(outcome.to_string(), text);
        assert_eq!(text.parse(), Ok(outcome));
    }
    for text in [
        "",
        "20",
        "2000",
        "+20",
        "-20",
        "20x",
        "Timeout",
        " 200",
        "\u{663}\u{663}",
    ] {
        assert_eq!(text.parse::<Outcome>(), Err(UnknownOutcome), "{text}");
    }
}

#[test]
fn event_streams() {
    for (content_type, expected) in [
        ("text/event-stream", true),
        ("Text/Event-Stream; charset=utf-8", true),
        (" text/event-stream ;x", true),
        ("text/event-streams", false),
        ("application/json", false),
        ("", false),
        (";text/event-stream", false),
    ] {
        assert_eq!(
            is_event_stream(content_type.as_bytes()),
            expected,
            "{content_type}"
        );
    }
    assert!(!is_event_stream(b"text/event-stream\xFF"));
}

proptest! {
    #[test]
    fn splits_change_nothing(
        pieces in proptest::collection::vec(prop_oneof![
            Just(&b": c\n\n"[..]),
            Just(&b"data: {\"choices\":[]}\n\n"[..]),
            Just(&b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\r\n\r\n"[..]),
            Just(&b"data: {\"choices\":[{\"delta\":{\"content\":\"\xC3\xA9\"}}]}\n\n"[..]),
            Just(&b"data: {\"error\":1}\n\n"[..]),
            Just(&b"data: [DONE]\n\n"[..]),
            Just(&b"data:"[..]),
            Just(&b"\n"[..]),
            Just(&b"\xF0"[..]),
        ], 0..8),
        size in 1usize..40,
        max_held in 0usize..300,
    ) {
        let stream = pieces.concat();
        prop_assert_eq!(judge(max_held, stream.chunks(size)), judge(max_held, [&stream[..]]));
    }

    #[test]
    fn no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        judge(100, [&bytes[..], &bytes]);
        judge_one_shot(&bytes);
        is_event_stream(&bytes);
    }
}
