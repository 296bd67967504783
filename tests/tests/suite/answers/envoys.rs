//! Errors that Envoy makes before the filter has read a request: in the form of the API that the path is of.

use std::path::Path;

use pointsman_tests::client::{Conn, Reply, request, send};
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};
use pointsman_tests::upstream::Behaviour;
use serde_json::{Value, json};

const MESSAGES: [&str; 4] = [
    "/v1/messages",
    // As the SDK's beta methods ask.
    "/v1/messages?beta=true",
    "/v1/messages/count_tokens",
    "/v1/messages/count_tokens?beta=true",
];
const CHAT: &str = "/v1/chat/completions";

async fn ask(gateway: &Gateway, method: &str, path: &str) -> Reply {
    let body = json!({
        "model": "single", "max_tokens": 9,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    });
    let headers: [(&[u8], &[u8]); 1] = [(b"content-type", b"application/json")];
    let raw = request(method, path, &headers, body.to_string().as_bytes());
    send(gateway.port(), &raw).await.expect("an answer")
}

/// Anthropic's form and nothing more, with this status and type. Returns the message.
fn of_messages(reply: &Reply, status: u16, kind: &str) -> String {
    let body = reply.json();
    let message = body["error"]["message"].clone();
    assert_eq!(reply.status, status, "{body}");
    assert_eq!(
        body,
        json!({"type": "error", "error": {"type": kind, "message": message}})
    );
    assert_eq!(reply.header("content-type"), "application/json");
    message.as_str().expect("a message").to_owned()
}

/// OpenAI's form, with this status and code. Returns the message.
fn of_chat(reply: &Reply, status: u16, code: &str) -> String {
    let body = reply.json();
    let error = &body["error"];
    assert_eq!(
        (reply.status, &error["code"]),
        (status, &code.into()),
        "{body}"
    );
    assert_eq!((body.get("type"), &error["param"]), (None, &Value::Null));
    error["message"].as_str().expect("a message").to_owned()
}

/// A mended fault: whoever has no key was told so in OpenAI's form, which Anthropic's SDKs cannot read.
#[tokio::test]
async fn a_messages_client_without_a_key_is_told_in_its_form() {
    let key = ("team-a".to_owned(), "client-key-of-team-a".to_owned());
    let gateway = Gateway::start_with(
        "envoys-key",
        Options {
            client_keys: vec![key],
            ..Options::default()
        },
    )
    .await;
    let told = of_chat(&ask(&gateway, "POST", CHAT).await, 401, "invalid_api_key");
    for path in MESSAGES {
        let reply = ask(&gateway, "POST", path).await;
        assert_eq!(of_messages(&reply, 401, "authentication_error"), told);
    }
    assert_eq!(gateway.alpha.counters().requests, 0);
}

#[tokio::test]
async fn what_is_not_served_of_an_api_is_said_in_its_form() {
    let gateway = Gateway::start("envoys-path").await;
    for (method, path) in [
        ("GET", "/v1/messages"),
        ("POST", "/v1/messages/"),
        ("POST", "/v1/messages/batches"),
        ("GET", "/v1/messages/batches/b1?beta=true"),
    ] {
        let reply = ask(&gateway, method, path).await;
        let told = of_messages(&reply, 404, "not_found_error");
        assert!(told.contains("POST /v1/messages"), "{told}");
    }
    for path in ["/v1/messagesx", "/v1/completions"] {
        of_chat(&ask(&gateway, "POST", path).await, 404, "unknown_url");
    }
}

#[tokio::test]
async fn a_messages_client_of_a_gateway_without_its_filter_is_told_in_its_form() {
    let gateway = Gateway::start_with(
        "envoys-no-filter",
        Options {
            edit: |dir| std::fs::remove_file(dir.join("pointsman.wasm")).expect("it is there"),
            ..Options::default()
        },
    )
    .await;
    let told = of_chat(&ask(&gateway, "POST", CHAT).await, 500, "policy_not_loaded");
    for path in MESSAGES {
        let reply = ask(&gateway, "POST", path).await;
        assert_eq!(of_messages(&reply, 500, "api_error"), told);
    }
}

fn replace(dir: &Path, file: &str, from: &str, to: &str) {
    let path = dir.join(file);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replace(from, to)).expect("written");
}

/// The router role has seen the headers by then, and not the body.
#[tokio::test]
async fn a_messages_client_that_is_too_slow_is_told_in_its_form() {
    let gateway = Gateway::start_with(
        "envoys-slow",
        Options {
            edit: |dir| {
                replace(
                    dir,
                    "listener.yaml",
                    "request_timeout: 120s",
                    "request_timeout: 0.3s",
                )
            },
            ..Options::default()
        },
    )
    .await;
    let mut told = Vec::new();
    for path in [CHAT, "/v1/messages"] {
        let mut conn = Conn::open(gateway.port()).await.expect("a connection");
        let headers: [(&[u8], &[u8]); 2] = [
            (b"content-type", b"application/json"),
            (b"content-length", b"100"),
        ];
        let raw = request("POST", path, &headers, b"{");
        conn.send(&raw).await.expect("sent");
        let reply = conn.reply().await.expect("an answer");
        told.push(match path {
            CHAT => of_chat(&reply, 408, "request_timeout"),
            _ => of_messages(&reply, 408, "timeout_error"),
        });
    }
    assert_eq!(told.first(), told.last());
}

/// By the time that Envoy fails to hold an answer the path is the provider's, and may be that of Messages.
#[tokio::test]
async fn a_chat_client_of_a_messages_provider_is_told_in_its_own_form() {
    let gateway = Gateway::start_with(
        "envoys-provider",
        Options {
            policy: POLICY.replace(
                "alpha: {cluster: alpha, api: openai",
                "alpha: {cluster: alpha, api: anthropic",
            ),
            edit: |dir| {
                for file in ["listener.yaml", "clusters.yaml"] {
                    let limit = "per_connection_buffer_limit_bytes: 8388608";
                    replace(dir, file, limit, "per_connection_buffer_limit_bytes: 65536");
                }
            },
            ..Options::default()
        },
    )
    .await;
    gateway.alpha.set(Behaviour::Status {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: vec![b' '; 1 << 20].into(),
    });
    let reply = gateway.post(&[], &chat("single", false)).await;
    assert_eq!(
        gateway.alpha.last().expect("a request").path,
        "/v1/messages"
    );
    of_chat(&reply, 500, "gateway_error");
    let reply = ask(&gateway, "POST", "/v1/messages").await;
    of_messages(&reply, 500, "api_error");
}
