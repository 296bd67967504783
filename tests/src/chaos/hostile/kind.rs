//! The kinds of hostile clients: what each sends and when it leaves, and what it must be told.
//!
//! Pure: a client is a list of moves that a seed decides.

use std::time::Duration;

use super::dice::Dice;
use super::{FAILING, LATE, LONG, MAX_BODY, PONDERED, headers};
use crate::client::request;
use crate::wire::chunk;

/// One thing that a client does. After the last it leaves.
#[derive(Debug, Clone)]
pub enum Move {
    Send(Vec<u8>),
    /// In pieces, with a pause after each.
    Drip(Vec<u8>),
    Pause(Duration),
    /// Waits for the answer's head and the first piece of its body.
    Begin,
    /// Waits for a whole answer.
    Reply,
    /// Says that nothing more will be sent.
    Finish,
    /// Leaves with a TCP reset.
    Reset,
}

/// What may come of a client that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// There is nothing wrong with it but its manners: a 200.
    Served,
    /// A 4xx with an error object.
    Refused,
    /// Either of them, or the connection ends. Never a 5xx, and never a wait without end.
    Any,
}

#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    pub expect: Expect,
    pub moves: fn(&mut Dice) -> Vec<Move>,
}

pub const KINDS: &[Kind] = &[
    served("smuggled-headers", |dice| asking(smuggling(dice))),
    refused("hostile-tier", |dice| {
        let value = dice.value(40);
        let name = dice.odd_case("x-llm-policy");
        asking(good(dice, "", &[(&name, &value)]))
    }),
    any("hostile-providers", |dice| {
        let (first, second) = (dice.value(80), dice.value(5000));
        let names = ["x-llm-providers"; 2].map(|name| dice.odd_case(name));
        asking(good(dice, "", &[(&names[0], &first), (&names[1], &second)]))
    }),
    served("headers-not-utf-8", |dice| {
        let values = [0; 4].map(|_| dice.value(60));
        let own = [
            &b"user-agent"[..],
            b"cookie",
            b"traceparent",
            b"x-request-id",
        ];
        let headers: Vec<_> = own
            .into_iter()
            .zip(values.iter().map(Vec::as_slice))
            .collect();
        asking(good(dice, "", &headers))
    }),
    any("hop-by-hop", |dice| {
        let value = dice.pick(headers::HOP_BY_HOP);
        let name = dice.pick(&[&b"connection"[..], b"te", b"upgrade", b"trailer", b"expect"]);
        asking(good(dice, "", &[(name, value)]))
    }),
    refused("too-many-headers", |dice| {
        let mut raw = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\n".to_vec();
        let long = vec![b'x'; 60 << 10];
        match dice.is_heads() {
            true => raw.extend_from_slice(&[b"x-long: ", &long[..], b"\r\n"].concat()),
            false => {
                (0..120).for_each(|i| raw.extend_from_slice(format!("x-{i}: 1\r\n").as_bytes()))
            }
        }
        asking([&raw[..], b"content-length: 2\r\n\r\n{}"].concat())
    }),
    refused("malformed-headers", |dice| {
        let line = dice.pick(headers::MALFORMED);
        let head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\n";
        asking([&head[..], line, b"\r\ncontent-length: 2\r\n\r\n{}"].concat())
    }),
    any("not-http", |dice| {
        let mut bytes = dice.pick(headers::NOT_HTTP).to_vec();
        bytes.extend(dice.bytes(200));
        bytes.extend_from_slice(b"\r\n\r\n");
        asking(bytes)
    }),
    refused("body-not-utf-8", |dice| {
        let mut body = body(dice, "a", false);
        let place = body.len() - 6;
        body.insert(place, 0xff);
        asking(post(dice, &body))
    }),
    any("random-body", |dice| {
        let length = dice.below(4000);
        let body = dice.bytes(length);
        asking(post(dice, &body))
    }),
    any("mutated-body", |dice| {
        let stream = dice.is_heads();
        let mut body = body(dice, "mutated", stream);
        for _ in 0..=dice.below(4) {
            let place = dice.below(body.len());
            body[place] = dice.bytes(1)[0];
        }
        asking(post(dice, &body))
    }),
    refused("oversized", |dice| {
        let body = vec![b' '; MAX_BODY + 1 + dice.below(MAX_BODY)];
        asking(post(dice, &body))
    }),
    refused("oversized-in-chunks", |dice| {
        let piece = chunk(&vec![b' '; 8 << 10]);
        asking([&chunked(dice)[..], &piece.repeat(MAX_BODY / (8 << 10) + 1)].concat())
    }),
    any("deep-json", |dice| {
        let depth = 1000 + dice.below(9000);
        let (open, close) = dice.pick(&[("[", "]"), ("{\"a\":", "}")]);
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let deep = &deep[..deep.len() - dice.below(2) * dice.below(depth)];
        let field = dice.pick(&["model", "x", "messages", "tools", "metadata", "stream"]);
        let body = format!("{{\"{field}\":{deep},\"model\":\"fast\",\"messages\":[]}}");
        asking(post(dice, body.as_bytes()))
    }),
    refused("duplicate-keys", |dice| {
        let key = dice.pick(&[
            "model",
            "mod\\u0065l",
            "messages",
            "stream",
            "\\u006dessages",
        ]);
        let body = format!(
            "{{\"model\":\"fast\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}],\"max_tokens\":9,\
             \"stream\":false,\"{key}\":\"single\"}}"
        );
        asking(post(dice, body.as_bytes()))
    }),
    // The rest of the body is read as the next request.
    refused("length-too-short", |dice| {
        let body = body(dice, "short", false);
        let length = 1 + dice.below(body.len() - 2);
        asking(
            [
                &framed(dice, &format!("content-length: {length}"))[..],
                &body,
            ]
            .concat(),
        )
    }),
    any("length-too-long", |dice| {
        let body = body(dice, "long", false);
        let length = body.len() + 1 + dice.below(1000);
        let message = [
            &framed(dice, &format!("content-length: {length}"))[..],
            &body,
        ]
        .concat();
        vec![Move::Send(message), Move::Finish, Move::Reply]
    }),
    refused("contradictory-framing", |dice| {
        let framing = dice.pick(headers::CONTRADICTORY);
        asking([&framed(dice, framing)[..], b"2\r\n{}\r\n0\r\n\r\n"].concat())
    }),
    refused("bad-chunks", |dice| {
        let chunks = dice.pick(headers::BAD_CHUNKS);
        asking([&chunked(dice)[..], chunks].concat())
    }),
    served("slow-body", |dice| {
        let whole = good(dice, "", &[]);
        let (head, body) = whole.split_at(end_of_head(&whole));
        vec![
            Move::Send(head.to_vec()),
            Move::Drip(body.to_vec()),
            Move::Reply,
        ]
    }),
    served("slow-head", |dice| {
        vec![Move::Drip(good(dice, "", &[])), Move::Reply]
    }),
    any("half-closed", |dice| {
        vec![Move::Send(good(dice, "", &[])), Move::Finish, Move::Reply]
    }),
    any("leaves-in-head", |dice| {
        let whole = good(dice, "", &[]);
        let cut = 1 + dice.below(end_of_head(&whole) - 1);
        leaving(dice, &whole[..cut], Duration::ZERO)
    }),
    any("leaves-before-body", |dice| {
        let whole = good(dice, "", &[]);
        leaving(
            dice,
            &whole[..end_of_head(&whole)],
            Duration::from_millis(3),
        )
    }),
    any("leaves-in-body", |dice| {
        let whole = good(dice, "", &[]);
        let head = end_of_head(&whole);
        let cut = head + 1 + dice.below(whole.len() - head - 1);
        leaving(dice, &whole[..cut], Duration::from_millis(3))
    }),
    any("leaves-while-classified", |dice| {
        let whole = good(dice, PONDERED, &[]);
        leaving(dice, &whole, Duration::from_millis(40))
    }),
    any("leaves-before-answer", |dice| {
        let whole = good(dice, LATE, &[(b"x-llm-policy", b"fast")]);
        leaving(dice, &whole, Duration::from_millis(40))
    }),
    any("leaves-in-stream", |dice| {
        let body = body(dice, LONG, true);
        let whole = framed_by_length(dice, &[(b"x-llm-policy", b"fast")], &body);
        let mut moves = vec![Move::Send(whole), Move::Begin];
        moves.extend(dice.is_heads().then_some(Move::Reset));
        moves
    }),
    any("leaves-in-a-queue", |dice| {
        let whole = good(dice, LATE, &[]);
        leaving(dice, &whole.repeat(5), Duration::from_millis(20))
    }),
];

const fn served(name: &'static str, moves: fn(&mut Dice) -> Vec<Move>) -> Kind {
    Kind {
        name,
        expect: Expect::Served,
        moves,
    }
}

const fn refused(name: &'static str, moves: fn(&mut Dice) -> Vec<Move>) -> Kind {
    Kind {
        name,
        expect: Expect::Refused,
        moves,
    }
}

const fn any(name: &'static str, moves: fn(&mut Dice) -> Vec<Move>) -> Kind {
    Kind {
        name,
        expect: Expect::Any,
        moves,
    }
}

fn asking(request: Vec<u8>) -> Vec<Move> {
    vec![Move::Send(request), Move::Reply]
}

/// Within `most` of having sent this, one way or the other.
fn leaving(dice: &mut Dice, sent: &[u8], most: Duration) -> Vec<Move> {
    let wait = most.mul_f64(dice.below(1000) as f64 / 1e3);
    let end = if dice.is_heads() {
        Move::Finish
    } else {
        Move::Reset
    };
    vec![Move::Send(sent.to_vec()), Move::Pause(wait), end]
}

/// A body that both chat completions and the Messages API take. No two questions are alike.
fn body(dice: &mut Dice, about: &str, stream: bool) -> Vec<u8> {
    let question = format!(
        "{about} {:x}?",
        u128::from_le_bytes(dice.bytes(16).try_into().unwrap_or_default())
    );
    let body = serde_json::json!({
        "model": "auto", "max_tokens": 9, "stream": stream,
        "messages": [{"role": "user", "content": question}],
    });
    body.to_string().into_bytes()
}

fn path(dice: &mut Dice) -> &'static str {
    dice.pick(&["/v1/chat/completions", "/v1/messages"])
}

/// A request with nothing wrong in it but these headers.
fn good(dice: &mut Dice, about: &str, headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let stream = dice.is_heads();
    let body = body(dice, about, stream);
    framed_by_length(dice, headers, &body)
}

fn framed_by_length(dice: &mut Dice, headers: &[(&[u8], &[u8])], body: &[u8]) -> Vec<u8> {
    let json: (&[u8], &[u8]) = (b"content-type", b"application/json");
    request("POST", path(dice), &[&[json], headers].concat(), body).to_vec()
}

fn post(dice: &mut Dice, body: &[u8]) -> Vec<u8> {
    framed_by_length(dice, &[], body)
}

/// A head whose body is framed by these lines.
fn framed(dice: &mut Dice, framing: &str) -> Vec<u8> {
    format!(
        "POST {} HTTP/1.1\r\nhost: g\r\n{framing}\r\n\r\n",
        path(dice)
    )
    .into_bytes()
}

fn chunked(dice: &mut Dice) -> Vec<u8> {
    framed(dice, "transfer-encoding: chunked")
}

fn end_of_head(request: &[u8]) -> usize {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n");
    end.map_or(request.len(), |end| end + 4)
}

/// A good request with names in it that only the gateway may say, several times and in odd case.
fn smuggling(dice: &mut Dice) -> Vec<u8> {
    let mut smuggled: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for _ in 0..12 {
        let name = dice.pick(headers::INTERNAL);
        let value = match dice.below(3) {
            0 => dice.pick(headers::VALUES).to_vec(),
            1 => dice.value(30),
            _ => headers::MARK.as_bytes().to_vec(),
        };
        for _ in 0..=dice.below(2) {
            smuggled.push((dice.odd_case(name), value.clone()));
        }
    }
    // Obeyed, a smuggled number of retries or a timeout would lose some of these.
    let (tier, about) = dice.pick(&[
        ("fast", ""),
        ("fast", FAILING),
        ("quality", LATE),
        ("single", LATE),
    ]);
    let smuggled = smuggled
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()));
    let headers: Vec<_> = smuggled
        .chain([(&b"x-llm-policy"[..], tier.as_bytes())])
        .collect();
    good(dice, about, &headers)
}
