//! Bodies: a provider gets the client's bytes but for the model's name, on every attempt.

use pointsman_tests::client::{self, request};
use pointsman_tests::gateway::Gateway;
use pointsman_tests::upstream::Behaviour;
use pointsman_tests::wire::{chunk, last_chunk};

use super::{clear, with_timeout};

/// Bodies with one `@`, where the model's JSON string stands.
const BODIES: &[&str] = &[
    r#"{"model":@,"messages":[{"role":"user","content":"hi"}]}"#,
    // Order, white space of every kind.
    "\r\n {\t\"messages\" : [ { \"content\":\"hi\" , \"role\":\"user\" } ] ,\n\"model\"  :\r\n@ }\n\n",
    // Numbers.
    r#"{"temperature":1.0,"top_p":1e5,"seed":12345678901234567890123,"n":1,"x":[-0,-0.0,1E+2,0.1000000000000000055],"model":@,"messages":[{"role":"user","content":"hi"}]}"#,
    // Escapes, and characters that need none.
    r#"{"messages":[{"role":"user","content":"\u00e9\ud83d\ude82\/\b\"\\ é🚂 \u0000"}],"model":@}"#,
    // The key itself escaped.
    r#"{"mod\u0065l":@,"messages":[{"role":"user","content":"hi"}]}"#,
    // Other models, deeper and in text; keys that come twice below the top.
    r#"{"metadata":{"model":"m","model":"n","a":1,"a":2},"model":@,"messages":[{"role":"user","content":"\"model\":\"x\""}],"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"model":{"type":"string"}}}}}]}"#,
    // Fields that nobody knows.
    r#"{"model":@,"messages":[{"role":"user","content":"hi","x_y":null}],"":{"":[]},"Model":"kept","future":{"a":[{}]}}"#,
];

/// The model as clients may write it. Each means `auto`.
const AUTO: &[&str] = &[r#""auto""#, r#""\u0061ut\u006f""#];

const HEADERS: &[(&[u8], &[u8])] = &[
    (b"content-type", b"application/json"),
    (b"x-llm-policy", b"fast"),
];

fn as_alpha_and_beta(gateway: &Gateway, body: &str) {
    for provider in [&gateway.alpha, &gateway.beta] {
        let requests = provider.requests();
        assert_eq!(requests.len(), 1, "{}", provider.name());
        let seen = &requests[0];
        let model = format!("\"{}-small\"", provider.name());
        let expected = body.replacen('@', &model, 1);
        assert!(
            seen.body == expected,
            "{} bytes at {}, {} expected; begins {:?}",
            seen.body.len(),
            provider.name(),
            expected.len(),
            String::from_utf8_lossy(&seen.body[..seen.body.len().min(400)])
        );
        let lengths: Vec<_> = seen.headers.all("content-length").collect();
        assert_eq!(lengths, [expected.len().to_string().as_bytes()]);
        assert!(!seen.headers.contains("transfer-encoding"));
        assert!(seen.trailers.0.is_empty(), "trailers are the client's");
    }
}

/// The request as one message, in chunks, and in chunks with trailers.
fn framings(body: &str) -> Vec<bytes::Bytes> {
    let chunked = |trailers: &[(&[u8], &[u8])]| {
        let (first, second) = body.as_bytes().split_at(body.len() / 2);
        let mut headers = HEADERS.to_vec();
        headers.push((b"transfer-encoding", b"chunked"));
        let pieces = [chunk(first), chunk(second), last_chunk(trailers)].concat();
        request("POST", "/v1/chat/completions", &headers, &pieces)
    };
    vec![
        request("POST", "/v1/chat/completions", HEADERS, body.as_bytes()),
        chunked(&[]),
        chunked(&[(b"x-checksum", b"1"), (b"x-api-key", b"2")]),
    ]
}

#[tokio::test]
async fn only_the_model_is_replaced_whatever_the_body_and_its_framing() {
    let gateway = Gateway::start("answers-bodies").await;
    gateway.alpha.set(Behaviour::error(503));
    for body in BODIES {
        for auto in AUTO {
            for bytes in framings(&body.replacen('@', auto, 1)) {
                clear(&gateway);
                let reply = client::send(gateway.port(), &bytes)
                    .await
                    .expect("an answer");
                assert_eq!(reply.status, 200, "{body}: {}", reply.text());
                assert_eq!(reply.header("x-routed-provider"), "beta");
                as_alpha_and_beta(&gateway, body);
            }
        }
    }
}

#[tokio::test]
async fn a_body_just_under_the_cap_is_sent_again_whole() {
    let gateway = Gateway::start_with("answers-large-body", with_timeout("20s")).await;
    let frame = r#"{"model":@,"messages":[{"role":"user","content":""}]}"#;
    let room = (4 << 20) - frame.len() - r#""auto""#.len() + 1;
    let body = frame.replace(
        "\"\"",
        &format!("\"{}\"", "word ".repeat(room)[..room].trim_end()),
    );
    use Behaviour as B;
    for fault in [
        B::error(503),
        B::ResetAtOnce,
        B::NotJson,
        B::ResetBeforeBody,
    ] {
        gateway.alpha.set(fault.clone());
        for bytes in framings(&body.replacen('@', AUTO[0], 1)) {
            clear(&gateway);
            let reply = client::send(gateway.port(), &bytes)
                .await
                .expect("an answer");
            assert_eq!(reply.status, 200, "{fault:?}: {}", reply.text());
            assert_eq!(reply.header("x-routed-provider"), "beta", "{fault:?}");
            if matches!(fault, B::ResetBeforeBody) {
                // Alpha read nothing of it.
                gateway.alpha.clear();
                let seen = gateway.beta.last().expect("a request");
                assert!(seen.body == body.replacen('@', "\"beta-small\"", 1));
            } else {
                as_alpha_and_beta(&gateway, &body);
            }
        }
    }
}
