//! Bodies of both APIs, and what they need of a model.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::request::{ChatRequest, Cut, Dialect, read};

fn parse(dialect: Dialect, body: &str) -> ChatRequest {
    match read(body.as_bytes(), Cut::default(), dialect) {
        Ok(request) => request,
        Err(bad) => panic!("{body}: {bad:?}"),
    }
}

fn needs(dialect: Dialect, body: &str) -> Needs {
    parse(dialect, body).needs
}

fn chat(rest: &str) -> Needs {
    needs(Dialect::Chat, &format!(r#"{{"model":"m",{rest}}}"#))
}

fn messages(rest: &str) -> Needs {
    needs(
        Dialect::Messages,
        &format!(r#"{{"model":"m","max_tokens":1,{rest}}}"#),
    )
}

fn says(role: &str, content: &str) -> String {
    format!(r#""messages":[{{"role":"{role}","content":{content}}}]"#)
}

fn names(needs: Needs) -> Vec<&'static str> {
    needs.inputs.iter().map(Input::name).collect()
}

#[test]
fn inputs() {
    let check = |rest: &str, expected: &[&str]| {
        assert_eq!(names(chat(rest)), expected, "{rest}");
        assert_eq!(names(messages(rest)), expected, "{rest}");
    };
    let parts = |parts: &str, expected: &[&str]| {
        check(&says("user", &format!("[{parts}]")), expected);
    };
    check(&says("user", r#""image_url""#), &[]);
    parts("", &[]);
    parts(r#"{"type":"text","text":"image"}"#, &[]);
    parts(
        r#"{"type":"image_url","image_url":{"url":"x"}}"#,
        &["image"],
    );
    parts(
        r#"{"image_url":{"url":"x"},"type":"image_\u0075rl"}"#,
        &["image"],
    );
    parts(
        r#"{"type":"image","source":{"type":"url","url":"x"}}"#,
        &["image"],
    );
    parts(r#"{"type":"input_audio","input_audio":{}}"#, &["audio"]);
    parts(r#"{"type":"video_url"}"#, &["video"]);
    parts(r#"{"type":"file","file":7}"#, &["file"]);
    parts(
        r#"{"type":"file"},{"type":"video_url"},{"type":"input_audio"},{"type":"image"}"#,
        &["image", "audio", "video", "file"],
    );
    // What nobody knows is nothing, and twice the same key counts as its last.
    parts(r#"{"type":"hologram"},{"type":"IMAGE"}"#, &[]);
    parts(r#"{"type":"image","type":"text","text":"a"}"#, &[]);
    parts(r#"{"type":"x","type":"image"}"#, &["image"]);
    check(
        r#""messages":[{"role":"user","content":[{"type":"image"}],"content":"a"}]"#,
        &[],
    );
    // Whoever says it.
    for role in ["system", "assistant", "tool", "x"] {
        check(&says(role, r#"[{"type":"image"}]"#), &["image"]);
    }
    // A document that is written out is text.
    parts(r#"{"type":"document"}"#, &["file"]);
    parts(r#"{"type":"document","source":7}"#, &["file"]);
    parts(
        r#"{"source":{"type":"base64","data":"x"},"type":"document"}"#,
        &["file"],
    );
    parts(
        r#"{"type":"document","source":{"type":"text","data":"x"}}"#,
        &[],
    );
    parts(
        r#"{"type":"document","source":{"type":"content","content":[{"type":"image"}]}}"#,
        &["image"],
    );
    // In a tool's result, and in a document there, but not in what a tool is given.
    let result = |content: &str| {
        format!(r#"{{"type":"tool_result","tool_use_id":"t","content":{content}}}"#)
    };
    parts(&result(r#"[{"type":"text"},{"type":"image"}]"#), &["image"]);
    parts(&result(r#"[{"type":"document"}]"#), &["file"]);
    parts(
        &result(
            r#"[{"type":"document","source":{"type":"content","content":[{"type":"image"}]}}]"#,
        ),
        &["image"],
    );
    for content in [
        r#""image""#,
        "null",
        "7",
        r#"{"type":"image"}"#,
        r#"["image",7,{"type":7},[{"type":"image"}]]"#,
    ] {
        parts(&result(content), &[]);
    }
    parts(
        r#"{"type":"tool_use","id":"t","name":"n","input":{"type":"image","content":[{"type":"image"}]}}"#,
        &[],
    );
    let system = messages(&format!(
        r#""system":[{{"type":"image"}}],{}"#,
        says("user", r#""x""#)
    ));
    assert_eq!(names(system), ["image"]);
}

#[test]
fn tools() {
    let both = |rest: &str, expected: bool| {
        assert_eq!(chat(rest).tools, expected, "{rest}");
        assert_eq!(messages(rest).tools, expected, "{rest}");
    };
    let top = |top: &str, expected: bool| {
        both(&format!("{top},{}", says("user", r#""x""#)), expected);
    };
    top(r#""x":1"#, false);
    top(r#""tools":[]"#, false);
    top(r#""tools":null"#, false);
    top(r#""tools":{"type":"function"}"#, false);
    top(r#""tools":[{"type":"function"}]"#, true);
    top(r#""tools":[7]"#, true);
    let functions = format!(r#""functions":[{{"name":"f"}}],{}"#, says("user", r#""x""#));
    assert!(chat(&functions).tools);
    assert!(!messages(&functions).tools);
    let part = |part: &str, expected: bool| {
        both(&says("assistant", &format!("[{part}]")), expected);
    };
    part(r#"{"type":"tool_use","input":{}}"#, true);
    part(r#"{"input":{},"type":"server_tool_use"}"#, true);
    part(r#"{"type":"tool_result"}"#, true);
    part(r#"{"type":"web_search_tool_result"}"#, true);
    part(r#"{"type":"text","text":"tool_use"}"#, false);
    assert!(chat(&says("tool", r#""42""#)).tools);
    assert!(chat(&says("function", r#""42""#)).tools);
    for (more, expected) in [
        (r#""tool_calls":[{"id":"1"}]"#, true),
        (r#""tool_calls":[ ]"#, false),
        (r#""tool_calls":null"#, false),
        (r#""tool_calls":"x""#, false),
        (r#""tool_calls":[{"id":"1"}],"tool_calls":null"#, false),
        (r#""function_call":{"name":"f"}"#, true),
        (r#""function_call":{}"#, false),
        (r#""function_call":"auto""#, false),
    ] {
        let found = chat(&format!(r#""messages":[{{"role":"assistant",{more}}}]"#));
        assert_eq!(found.tools, expected, "{more}");
    }
}

#[test]
fn schemas() {
    let check = |top: &str, in_chat: bool, in_messages: bool| {
        let rest = format!("{top},{}", says("user", r#""x""#));
        assert_eq!(chat(&rest).json_schema, in_chat, "{top}");
        assert_eq!(messages(&rest).json_schema, in_messages, "{top}");
    };
    let format = r#"{"schema":{"type":"object"},"type":"json_schema"}"#;
    check(&format!(r#""response_format":{format}"#), true, false);
    check(&format!(r#""output_format":{format}"#), false, true);
    check(
        &format!(r#""output_config":{{"effort":"low","format":{format}}}"#),
        false,
        true,
    );
    for format in [
        r#"{"type":"json_object"}"#,
        r#"{"type":"text"}"#,
        r#"{"type":["json_schema"]}"#,
        r#"{"type":"json_schema","type":"text"}"#,
        r#""json_schema""#,
        r#"["json_schema"]"#,
        "null",
        "{}",
    ] {
        check(&format!(r#""response_format":{format}"#), false, false);
        check(&format!(r#""output_format":{format}"#), false, false);
        check(
            &format!(r#""output_config":{{"format":{format}}}"#),
            false,
            false,
        );
    }
}

#[test]
fn limits_of_the_answer() {
    let check = |top: &str, expected: Option<u32>| {
        let rest = format!("{top},{}", says("user", r#""x""#));
        assert_eq!(chat(&rest).max_output, expected, "{top}");
    };
    check(r#""x":1"#, None);
    check(r#""max_tokens":100"#, Some(100));
    check(r#""max_completion_tokens":200"#, Some(200));
    check(r#""max_completion_tokens":200,"max_tokens":100"#, Some(200));
    check(r#""max_tokens":100,"max_completion_tokens":200"#, Some(200));
    check(
        r#""max_tokens":100,"max_completion_tokens":null"#,
        Some(100),
    );
    check(r#""max_tokens":5000000000"#, Some(u32::MAX));
    for wrong in ["null", "-1", "1.5", r#""7""#, "[7]", "true"] {
        check(&format!(r#""max_tokens":{wrong}"#), None);
    }
    assert_eq!(messages(&says("user", r#""x""#)).max_output, Some(1));
    let count = format!(r#"{{"model":"m",{}}}"#, says("user", r#""x""#));
    assert_eq!(needs(Dialect::CountTokens, &count).max_output, None);
}

#[test]
fn what_is_no_text_counts_for_no_text() {
    let long = "QUJD".repeat(10_000);
    let flat = |rest: &str, input: Input| {
        let estimate = chat(rest).input_tokens();
        let most = input.tokens() + 20;
        assert!(estimate.low < 10, "{estimate:?}");
        assert!(
            (input.tokens()..most).contains(&estimate.likely),
            "{estimate:?}"
        );
    };
    for (part, input) in [
        (
            format!(
                r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{long}"}}}}"#
            ),
            Input::Image,
        ),
        (
            format!(r#"{{"type":"input_audio","input_audio":{{"data":"{long}","format":"wav"}}}}"#),
            Input::Audio,
        ),
        (
            format!(
                r#"{{"type":"file","file":{{"file_data":"data:application/pdf;base64,{long}"}}}}"#
            ),
            Input::File,
        ),
        (
            format!(r#"{{"type":"image","source":{{"type":"base64","data":"{long}"}}}}"#),
            Input::Image,
        ),
        (
            format!(r#"{{"type":"document","source":{{"type":"base64","data":"{long}"}}}}"#),
            Input::File,
        ),
        (
            format!(
                r#"{{"type":"tool_result","content":[{{"type":"image","source":{{"type":"base64","data":"{long}"}}}}]}}"#
            ),
            Input::Image,
        ),
    ] {
        flat(&says("user", &format!("[{part}]")), input);
    }
}

#[test]
fn what_is_text_counts_wherever_it_is() {
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(100);
    let plain = chat(&says("user", &format!(r#""{text}""#))).input_tokens();
    for part in [
        format!(r#"{{"type":"text","text":"{text}"}}"#),
        format!(r#"{{"type":"tool_result","content":"{text}"}}"#),
        format!(r#"{{"type":"tool_result","content":[{{"text":"{text}","type":"text"}}]}}"#),
        format!(r#"{{"type":"document","source":{{"data":"{text}","type":"text"}}}}"#),
        format!(r#"{{"type":"document","source":{{"content":"{text}","type":"content"}}}}"#),
    ] {
        let found = messages(&says("user", &format!("[{part}]"))).input_tokens();
        assert_eq!(found, plain, "{part}");
    }
    // Written in another form at the provider, or left out: it counts, but not for much of what must be.
    for part in [
        format!(r#"{{"type":"tool_use","input":{{"a":"{text}"}}}}"#),
        format!(r#"{{"type":"thinking","thinking":"{text}"}}"#),
    ] {
        let found = messages(&says("assistant", &format!("[{part}]"))).input_tokens();
        assert!(
            found.low < plain.low && found.likely >= plain.likely,
            "{part}"
        );
    }
    let tool = format!(
        r#""tools":[{{"description":"{text}"}}],{}"#,
        says("user", r#""x""#)
    );
    assert!(chat(&tool).input_tokens().likely > plain.likely);
    assert!(messages(&tool).input_tokens().likely > plain.likely);
    let system = format!(r#""system":"{text}",{}"#, says("user", r#""x""#));
    assert!(messages(&system).input_tokens().low > plain.low);
}

/// In JSON that is skipped too, an escape is what it stands for.
#[test]
fn escapes() {
    for text in [
        "日本語のテキスト",
        "plain\n\ttext \"quoted\" \\ here",
        "Привет",
        "é\u{1}",
    ] {
        let ascii: String = text
            .chars()
            .map(|c| match c {
                '\u{80}'.. => format!("\\u{:04x}", u32::from(c)),
                c => serde_json::to_string(&c)
                    .unwrap()
                    .trim_matches('"')
                    .replace('"', "\\\""),
            })
            .collect();
        let plain = Tally::of_text(text).estimate();
        let found = Tally::of_escaped(&ascii).estimate();
        assert!(
            found.likely.abs_diff(plain.likely) <= 2,
            "{text}: {plain:?}, {found:?}"
        );
    }
    for broken in [
        "\\", "\\u", "\\u12", "\\uzzzz", "\\ué", "\\ud800", "\\u00éa",
    ] {
        let _ = Tally::of_escaped(broken);
    }
}

#[test]
fn openings() {
    let opening = |body: &str| chat(&format!(r#""messages":[{body}]"#)).opening;
    let system = r#"{"role":"system","content":"be brief"}"#;
    let user = r#"{"role":"user","content":"hello"}"#;
    let first = opening(&format!("{system},{user}"));
    // A conversation that grows.
    for more in [
        r#"{"role":"assistant","content":"hi"}"#,
        r#"{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},{"role":"tool","content":"42"}"#,
        r#"{"role":"system","content":"stop"}"#,
        r#"{"role":"user","content":"bye"}"#,
    ] {
        assert_eq!(opening(&format!("{system},{user},{more}")), first, "{more}");
    }
    assert_eq!(
        opening(&format!(
            r#"{{"content":[{{"text":"be brief","type":"text"}}],"role":"developer"}},{user}"#
        )),
        first
    );
    // Another one.
    for other in [
        user.to_owned(),
        format!("{system},{system},{user}"),
        format!(r#"{system},{{"role":"user","content":"hell"}}"#),
        format!(r#"{system},{{"role":"user","content":"hello "}}"#),
        r#"{"role":"system","content":"be brie"},{"role":"user","content":"fhello"}"#.to_owned(),
    ] {
        assert_ne!(opening(&other), first, "{other}");
    }
    // Behind a long part too, and in the middle of one by its length.
    let long = |middle: &str, end: &str| {
        let text = format!("{}{middle}{}", "a".repeat(50_000), "b".repeat(50_000));
        opening(&format!(
            r#"{{"role":"user","content":[{{"type":"text","text":"{text}"}},{{"type":"text","text":"{end}"}}]}}"#
        ))
    };
    assert_eq!(long("x", "y"), long("x", "y"));
    assert_ne!(long("x", "y"), long("x", "z"));
    assert_ne!(long("x", "y"), long("xx", "y"));
}

#[test]
fn openings_of_messages() {
    let user = says("user", r#""hello""#);
    let with = |system: &str| messages(&format!(r#""system":{system},{user}"#)).opening;
    let first = with(r#"[{"type":"text","text":"be brief"}]"#);
    assert_eq!(
        messages(&format!(r#"{user},"system":"be brief""#)).opening,
        first
    );
    assert_ne!(messages(&user).opening, first);
    assert_ne!(with(r#""be long""#), first);
    // Claude Code's line changes on every request.
    for number in ["36ee5", "0aaa9"] {
        let line = format!("x-anthropic-billing-header: cc_version=2.1.177; cch={number};");
        let found = with(&format!(
            r#"[{{"type":"text","text":"{line}"}},{{"type":"text","text":"be brief"}}]"#
        ));
        assert_eq!(found, first);
    }
    // A loop of tools is the same conversation, though its results are a user's blocks.
    let result = r#"{"role":"user","content":[{"type":"tool_result","content":"42"}]}"#;
    let grown =
        format!(r#""system":"be brief","messages":[{{"role":"user","content":"hello"}},{result}]"#);
    assert_eq!(messages(&grown).opening, first);
}

/// Numbers are told to people: that they change is to be noticed.
#[test]
fn estimates() {
    let check = |text: &str, low: u32, likely: u32| {
        let expected = Estimate { low, likely };
        assert_eq!(Tally::of_text(text).estimate(), expected, "{text:.40}");
    };
    check("", 0, 0);
    check("Hello, world", 2, 3);
    check("日本語", 1, 2);
    check("    ", 0, 1);
    check(&"-".repeat(1000), 10, 46);
    check(&"word ".repeat(1000), 726, 954);
}

proptest! {
    #[test]
    fn low_is_at_most_likely(text in ".{0,200}", ascii in "[ -~\n]{0,200}") {
        for text in [&text, &ascii] {
            let Estimate { low, likely } = Tally::of_text(text).estimate();
            prop_assert!(low <= likely);
            let quoted = serde_json::to_string(text).unwrap();
            let Estimate { low, likely } = Tally::of_json(&quoted).estimate();
            prop_assert!(low <= likely);
        }
    }

    #[test]
    fn a_message_more_is_no_less(texts in proptest::collection::vec(".{0,40}", 1..6)) {
        let mut before = Estimate::default();
        let mut said: Vec<Value> = Vec::new();
        for text in texts {
            said.push(json!({"role": "user", "content": text}));
            let body = json!({"model": "m", "messages": said}).to_string();
            let now = needs(Dialect::Chat, &body).input_tokens();
            prop_assert!(now.low >= before.low && now.likely > before.likely);
            before = now;
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter(order in Just(FIELDS.to_vec()).prop_shuffle(), part in Just(PART.to_vec()).prop_shuffle(), dialect in prop::sample::select(vec![Dialect::Chat, Dialect::Messages])) {
        let body = |order: &[&str], part: &[&str]| {
            let fields = order.join(",").replace("PART", &part.join(","));
            needs(dialect, &format!("{{{fields}}}"))
        };
        prop_assert_eq!(body(&order, &part), body(FIELDS, PART));
    }
}

const FIELDS: &[&str] = &[
    r#""model":"m""#,
    r#""max_tokens":7"#,
    r#""system":"be brief""#,
    r#""tools":[{"name":"f"}]"#,
    r#""output_format":{"type":"json_schema"}"#,
    r#""response_format":{"type":"json_schema"}"#,
    r#""messages":[{"role":"system","content":"a"},{PART},{"role":"user","content":"b"}]"#,
];

const PART: &[&str] = &[
    r#""role":"user""#,
    r#""content":[{"type":"image"},{"type":"text","text":"hello"}]"#,
    r#""tool_calls":[{"id":"1"}]"#,
    r#""x":1"#,
];
