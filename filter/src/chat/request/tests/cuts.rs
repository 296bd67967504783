//! What is kept of long and of earlier messages, and what is counted beside, in every dialect.

use std::fmt::Write as _;

use super::super::Dialect;
use super::*;

const SMALL: Cut = Cut {
    system: 4,
    user: 5,
    user_end: 3,
    previous: 2,
    is_weighed: false,
};

fn talk(body: &str, cut: Cut, dialect: Dialect) -> Conversation {
    match super::super::read(body.as_bytes(), cut, dialect) {
        Ok(request) => request.conversation,
        Err(bad) => panic!("{body}: {bad:?}"),
    }
}

fn both(messages: &str, more: &str) -> [Conversation; 2] {
    let body = format!(r#"{{"model":"m","max_tokens":9,"messages":[{messages}]{more}}}"#);
    [Dialect::Chat, Dialect::Messages].map(|dialect| talk(&body, SMALL, dialect))
}

/// (user, user_end, user_chars, previous, turns): the same in both dialects.
fn check(messages: &str, expected: (&str, &str, usize, &str, usize)) {
    for c in both(messages, "") {
        let found = (
            c.user.as_str(),
            c.user_end.as_str(),
            c.user_chars,
            c.previous.as_str(),
            c.turns,
        );
        assert_eq!(found, expected, "{messages}");
    }
}

#[test]
fn the_end_of_a_long_message() {
    let user = |content: &str| format!(r#"{{"role":"user","content":{content}}}"#);
    let text = |content: &str| user(&format!("\"{content}\""));
    check(&text("abcde"), ("abcde", "", 5, "", 1));
    check(&text("abcdef"), ("abcde", "f", 6, "", 1));
    check(&text("abcdefgh"), ("abcde", "fgh", 8, "", 1));
    check(&text("abcdefghi"), ("abcde", "ghi", 9, "", 1));
    check(&text(""), ("", "", 0, "", 1));
    check(&user("null"), ("", "", 0, "", 1));
    // Whole characters, however long.
    check(&text("ääääääöü😀"), ("äääää", "öü😀", 9, "", 1));
    check(
        &text(r"a\ud83d\ude00\u00e4defgh\n"),
        ("a😀äde", "gh\n", 9, "", 1),
    );
    let long = "é".repeat(100_000);
    check(
        &text(&format!("{long}xyz")),
        ("ééééé", "xyz", 100_003, "", 1),
    );
}

#[test]
fn parts() {
    let parts = |parts: &str| format!(r#"{{"role":"user","content":[{parts}]}}"#);
    let part = |text: &str| format!(r#"{{"type":"text","text":"{text}"}}"#);
    let of = |texts: &[&str]| parts(&texts.iter().map(|t| part(t)).collect::<Vec<_>>().join(","));
    check(&of(&["ab", "cd"]), ("ab\ncd", "", 5, "", 1));
    check(&of(&["ab", "cdefg"]), ("ab\ncd", "efg", 8, "", 1));
    check(&of(&["abcdef", "gh"]), ("abcde", "\ngh", 9, "", 1));
    check(&of(&["abcdef", "gh", "i"]), ("abcde", "h\ni", 11, "", 1));
    // What is no text is named by its kind, wherever it stands.
    let image = r#"{"type":"image"}"#;
    check(&parts(image), ("[imag", "e]", 7, "", 1));
    check(
        &parts(&format!("{},{image}", part("abcdef"))),
        ("abcde", "ge]", 14, "", 1),
    );
    // Its kind comes after its text: the text is taken back.
    check(
        &parts(r#"{"text":"secret","type":"x"}"#),
        ("[x]", "", 3, "", 1),
    );
    check(
        &parts(r#"{"text":"ab","type":"text","text":"cdefgh"}"#),
        ("cdefg", "h", 6, "", 1),
    );
    check(
        &parts(r#"{"text":"abcdefghij","type":"text","text":"c"}"#),
        ("c", "", 1, "", 1),
    );
    check(
        &parts(&format!(
            r#"{},{{"text":"secret secret","type":"x"}}"#,
            part("a")
        )),
        ("a\n[x]", "", 5, "", 1),
    );
    // The content comes twice: the last counts.
    let twice = r#"{"role":"user","content":"abcdefghi","content":"xy"}"#;
    check(twice, ("xy", "", 2, "", 1));
    let then = r#"{"content":"abcdefghi","role":"user"}"#;
    check(then, ("abcde", "ghi", 9, "", 1));
}

#[test]
fn the_message_before() {
    let said = |role: &str, text: &str| format!(r#"{{"role":"{role}","content":"{text}"}}"#);
    let all = |messages: &[(&str, &str)]| {
        let messages = messages.iter().map(|(role, text)| said(role, text));
        messages.collect::<Vec<_>>().join(",")
    };
    check(
        &all(&[("user", "one"), ("assistant", "two"), ("user", "three")]),
        ("three", "", 5, "on", 2),
    );
    check(
        &all(&[("user", "ää"), ("user", "b"), ("user", "c")]),
        ("c", "", 1, "b", 3),
    );
    check(
        &all(&[("user", "äöü"), ("user", "c")]),
        ("c", "", 1, "äö", 2),
    );
    // An empty one is a message too; its end is gone with it.
    check(
        &all(&[("user", "abcdefghi"), ("user", "")]),
        ("", "", 0, "ab", 2),
    );
    check(&all(&[("user", ""), ("user", "x")]), ("x", "", 1, "", 2));
    check(
        &all(&[("user", "x"), ("assistant", "abcdefghi")]),
        ("x", "", 1, "", 1),
    );
    check(&all(&[("assistant", "abcdefghi")]), ("", "", 0, "", 0));
    check(
        &all(&[("system", "abcdefghi"), ("user", "x")]),
        ("x", "", 1, "", 1),
    );
}

/// A message of nothing but tool results is no user's, where results are blocks.
#[test]
fn tool_results_are_no_turn() {
    let messages = r#"{"role":"user","content":"a"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"42"}]}"#;
    let [chat, messages] = both(messages, "");
    assert_eq!(
        (chat.turns, &*chat.previous, chat.ends_in_tool_result),
        (2, "a", false)
    );
    let found = (
        messages.turns,
        &*messages.user,
        &*messages.previous,
        messages.ends_in_tool_result,
    );
    assert_eq!(found, (1, "a", "", true));
    let tool =
        r#"{"role":"user","content":"a"},{"role":"tool","tool_call_id":"1","content":"abcdefghi"}"#;
    let [chat, _] = both(tool, "");
    assert_eq!((chat.turns, &*chat.user, chat.user_chars), (1, "a", 1));
    assert!(chat.ends_in_tool_result);
}

#[test]
fn tools_are_counted() {
    for (tools, expected) in [
        ("", 0),
        (r#","tools":[]"#, 0),
        (r#","tools":[{"type":"function"},{},3]"#, 3),
        (r#","tools":null"#, 0),
        (r#","tools":{"a":1}"#, 0),
        (r#","tools":"many""#, 0),
        (r#","tools":7"#, 0),
        (r#","tools":-7"#, 0),
        (r#","tools":0.5"#, 0),
        (r#","tools":true"#, 0),
        (r#","t\u006fols":[[[]],{"tools":[1,2]}]"#, 2),
    ] {
        for c in both(r#"{"role":"user","content":"x"}"#, tools) {
            assert_eq!(c.tools, expected, "{tools}");
        }
    }
}

/// Without `user_end`, what is beyond the cut is not even counted.
#[test]
fn no_end_is_kept_unasked() {
    let body = with_messages(
        r#"{"role":"user","content":"one"},{"role":"user","content":"abcdefghijkl"}"#,
    );
    let c = talk(&body, CUT, Dialect::Chat);
    assert_eq!((&*c.user, &*c.user_end, &*c.previous), ("abcdefgh", "", ""));
}

/// A longer cut of the system's must not be the user's.
#[test]
fn cuts_are_apart() {
    let body = with_messages(r#"{"role":"user","content":"abcdefghijkl"}"#);
    for system in [0, 1, 3, 4, 7, 11, 12, 50] {
        let cut = Cut {
            system,
            user: 3,
            user_end: 4,
            previous: 0,
            is_weighed: false,
        };
        let c = talk(&body, cut, Dialect::Chat);
        assert_eq!(
            (&*c.user, &*c.user_end, c.user_chars),
            ("abc", "ijkl", 12),
            "{system}"
        );
    }
}

/// The content of a message: a string or the texts of its parts.
fn content() -> impl Strategy<Value = (String, String)> {
    let text = || "[a-cäö😀\\n\"]{0,12}";
    let parts = proptest::collection::vec((text(), any::<bool>()), 0..4);
    prop_oneof![
        text().prop_map(|text| (serde_json::to_string(&text).unwrap(), text)),
        parts.prop_map(|parts| {
            let mut json = Vec::new();
            let mut whole = String::new();
            for (text, is_text) in parts {
                let quoted = serde_json::to_string(&text).unwrap();
                if !whole.is_empty() {
                    whole.push('\n');
                }
                match is_text {
                    true => {
                        json.push(format!(r#"{{"type":"text","text":{quoted}}}"#));
                        whole.push_str(&text);
                    }
                    false => {
                        json.push(r#"{"type":"image"}"#.to_owned());
                        whole.push_str("[image]");
                    }
                }
            }
            (format!("[{}]", json.join(",")), whole)
        }),
    ]
}

fn last(text: &str, count: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    chars[chars.len().saturating_sub(count)..].iter().collect()
}

proptest! {
    /// Against a reference that keeps everything and cuts in the end.
    #[test]
    fn any_conversation_is_cut_as_it_should_be(
        messages in proptest::collection::vec((prop::sample::select(vec!["user", "assistant"]), content()), 1..6),
        [system, user, user_end, previous] in [0usize..20, 1usize..20, 1usize..8, 1usize..8],
        tools in 0usize..4,
        is_messages in any::<bool>(),
    ) {
        let cut = Cut { system, user, user_end, previous, is_weighed: false };
        let mut body = r#"{"model":"m","max_tokens":1,"messages":["#.to_owned();
        for (index, (role, (json, _))) in messages.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(body, r#"{comma}{{"role":"{role}","content":{json}}}"#).unwrap();
        }
        write!(body, r#"],"tools":[{}]}}"#, vec!["{}"; tools].join(",")).unwrap();
        let dialect = if is_messages { Dialect::Messages } else { Dialect::Chat };
        let found = talk(&body, cut, dialect);
        let users: Vec<&str> = messages.iter().filter(|(role, _)| *role == "user").map(|(_, (_, whole))| whole.as_str()).collect();
        let latest = users.last().copied().unwrap_or_default();
        let chars = latest.chars().count();
        prop_assert_eq!(found.turns, users.len());
        prop_assert_eq!(found.tools, tools);
        prop_assert_eq!(found.user_chars, chars);
        prop_assert_eq!(found.user, latest.chars().take(user).collect::<String>());
        prop_assert_eq!(found.user_end, last(latest, user_end.min(chars.saturating_sub(user))));
        let before = users.len().checked_sub(2).map_or("", |at| users[at]);
        // Of the message before, what was kept of it is what can be kept.
        prop_assert_eq!(found.previous, before.chars().take(previous.min(user)).collect::<String>());
    }
}
