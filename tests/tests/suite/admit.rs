//! Admit, on a real Envoy: what is ours, what is refused and how, and that nothing hostile leaves a mark.

use std::path::Path;

use pointsman_tests::client::{Conn, Reply, chat_request, get, request, send};
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};
use pointsman_tests::health;
use pointsman_tests::wire::chunk;
use serde_json::{Value, json};
use serde_norway::Value as Yaml;

const CHAT: &str = "/v1/chat/completions";
const JSON: (&[u8], &[u8]) = (b"content-type", b"application/json");

/// Written by clients where no error and no log may show it.
const QUOTED: &str = "quoted-by-nobody";

fn with(section: &str) -> Options {
    Options {
        policy: format!("{POLICY}{section}\n"),
        ..Options::default()
    }
}

/// Callers are named by a header that Envoy does not remove.
fn with_teams(section: &str) -> Options {
    Options {
        policy: with(section).policy.replace("x-client-id", "x-team"),
        ..Options::default()
    }
}

/// The status, code and param of an error in OpenAI's form.
fn error(reply: &Reply) -> (u16, String, Value) {
    let text = reply.text();
    let error = &reply.json()["error"];
    assert_eq!(reply.header("content-type"), "application/json", "{text}");
    assert!(
        !error["message"].as_str().unwrap_or_default().is_empty(),
        "{text}"
    );
    assert!(error["type"].is_string(), "{text}");
    assert!(!text.contains(QUOTED), "{text}");
    let code = error["code"].as_str().unwrap_or_default().to_owned();
    (reply.status, code, error["param"].clone())
}

fn is_error(reply: &Reply, status: u16, code: &str, what: &str) {
    assert_eq!(
        error(reply),
        (status, code.to_owned(), Value::Null),
        "{what}"
    );
}

async fn post(gateway: &Gateway, headers: &[(&[u8], &[u8])], body: &[u8]) -> Reply {
    let reply = send(gateway.port(), &request("POST", CHAT, headers, body)).await;
    reply.expect("the gateway answers")
}

// === what is ours

/// Beside the shipped routes: the chat route for one more path, and one that is none of the filter's.
fn more_routes(dir: &Path) {
    let file = dir.join("routes.yaml");
    let text = std::fs::read_to_string(&file).expect("routes.yaml");
    let mut doc: Yaml = serde_norway::from_str(&text).expect("YAML");
    let routes = doc["resources"][0]["virtual_hosts"][0]["routes"].as_sequence_mut();
    let routes = routes.expect("routes");
    let mut team = routes[0].clone();
    team["name"] = "team".into();
    team["match"]["safe_regex"]["regex"] = "/team/chat".into();
    let other = "{name: other, match: {prefix: /other}, route: {cluster: gamma_endpoints}}";
    routes.insert(0, team);
    routes.insert(0, serde_norway::from_str(other).expect("a route"));
    std::fs::write(file, serde_norway::to_string(&doc).expect("YAML")).expect("written");
}

#[tokio::test]
async fn only_post_on_a_configured_path_is_handled() {
    let mut options = with(&format!("admit: {{paths: [{CHAT}, /team/chat]}}"));
    options.edit = more_routes;
    let rule = "classify:\n- rules: [{when: {path: /team/chat}, tier: quality}]\n";
    options.policy = options.policy.replace("classify:\n", rule);
    let gateway = Gateway::start_with("paths", options).await;
    let body = chat("single", false).to_string();

    for path in [
        CHAT,
        "/team/chat",
        "/v1/chat/completions?api-version=1",
        "//team/chat",
    ] {
        let reply = send(
            gateway.port(),
            &request("POST", path, &[JSON], body.as_bytes()),
        )
        .await;
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(reply.header("x-routing-source"), "model", "{path}");
        let seen = gateway.alpha.last().expect("a request");
        assert_eq!(
            (seen.path.as_str(), seen.model()),
            (CHAT, "alpha-small".into()),
            "{path}"
        );
    }

    // A rule may go by the path, whatever its query.
    for (path, source) in [("/team/chat?a=/b", "rule"), (CHAT, "default")] {
        let body = chat("auto", false).to_string();
        let raw = request("POST", path, &[JSON], body.as_bytes());
        let reply = send(gateway.port(), &raw).await.expect("an answer");
        assert_eq!(reply.header("x-routing-source"), source, "{path}");
    }

    // Not ours: neither read, nor changed, nor reported on.
    let headers: [(&[u8], &[u8]); 8] = [
        (b"authorization", b"Bearer the-clients"),
        (b"cookie", b"a=b"),
        (b"content-encoding", b"gzip"),
        (b"content-type", b"application/octet-stream"),
        (b"x-llm-policy", b"no-such-tier"),
        (b"x-routed-provider", b"mine"),
        (b"x-bytes", b"\xff\xfe"),
        (b"user-agent", b"test/1"),
    ];
    for (method, path) in [
        ("POST", "/other/v1?q=1"),
        ("PUT", "/other"),
        ("DELETE", "/other/x"),
    ] {
        let raw = request(method, path, &headers, b"\x00\xff{not json");
        let reply = send(gateway.port(), &raw).await.expect("an answer");
        assert_eq!(reply.status, 200, "{method} {path}");
        assert!(
            !reply.headers.contains("x-routing-source"),
            "{method} {path}"
        );
        let seen = gateway.gamma.last().expect("a request");
        assert_eq!((seen.method.as_str(), seen.path.as_str()), (method, path));
        assert_eq!(seen.body.as_ref(), b"\x00\xff{not json", "{method} {path}");
        for (name, value) in headers {
            let name = String::from_utf8_lossy(name);
            assert_eq!(
                seen.headers.get(&name),
                Some(value),
                "{method} {path}: {name}"
            );
        }
    }

    for (method, path) in [
        ("GET", CHAT),
        ("PUT", CHAT),
        ("DELETE", CHAT),
        ("POST", "/v1/models"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/chat"),
        ("POST", "/v1/chat%2Fcompletions"),
        ("POST", "/v1/chat/completions/count_tokens"),
        ("GET", "/v1/messagesx"),
        ("GET", "/v1/modelsx"),
    ] {
        let raw = request(method, path, &[JSON], body.as_bytes());
        let reply = send(gateway.port(), &raw).await.expect("an answer");
        is_error(&reply, 404, "unknown_url", &format!("{method} {path}"));
    }
    health::check(&gateway, "all paths").await;
}

#[tokio::test]
async fn models_are_listed_for_their_caller() {
    let gateway = Gateway::start_with(
        "models",
        with_teams(
            "
aliases: {quick: fast, large: beta-large, one: single}
callers:
  limited: {tiers: [single], models: [beta-large]}",
        ),
    )
    .await;
    let port = gateway.port();
    let ids = |reply: &Reply| -> Vec<String> {
        let list = reply.json();
        assert_eq!(
            (reply.status, &list["object"]),
            (200, &json!("list")),
            "{list}"
        );
        let data = list["data"].as_array().expect("data").clone();
        let id = |model: &Value| {
            assert_eq!(model["object"], "model", "{model}");
            assert!(
                model["created"].is_u64() && model["owned_by"].is_string(),
                "{model}"
            );
            model["id"].as_str().expect("an id").to_owned()
        };
        data.iter().map(id).collect()
    };
    let all = ids(&gateway.get("/v1/models").await);
    assert_eq!(
        all,
        [
            "auto",
            "fast",
            "quality",
            "single",
            "alpha-large",
            "alpha-small",
            "beta-large",
            "beta-small",
            "gamma-small",
            "large",
            "one",
            "quick",
        ]
    );
    let limited: &[(&str, &str)] = &[("x-team", "limited")];
    let reply = get(port, "/v1/models?limit=3", limited)
        .await
        .expect("a list");
    assert_eq!(
        ids(&reply),
        ["auto", "single", "beta-large", "large", "one"]
    );

    for (id, owner) in [
        ("auto", "pointsman"),
        ("beta-large", "beta"),
        ("quick", "pointsman"),
    ] {
        let reply = gateway.get(&format!("/v1/models/{id}")).await;
        let expected = json!({"id": id, "object": "model", "created": 0, "owned_by": owner});
        assert_eq!((reply.status, reply.json()), (200, expected));
    }
    // What a caller may not use is not there for it.
    for (id, headers) in [
        ("nothing", &[][..]),
        ("fast", limited),
        ("beta-small", limited),
        ("quick", limited),
    ] {
        let reply = get(port, &format!("/v1/models/{id}"), headers)
            .await
            .expect("an answer");
        let expected = (404, "model_not_found".to_owned(), json!("model"));
        assert_eq!(error(&reply), expected, "{id}");
    }
    assert_eq!(
        gateway.providers().map(|p| p.counters().requests),
        [0, 0, 0]
    );
}

// === size

/// A chat completion of this many bytes.
fn body_of(size: usize) -> Vec<u8> {
    let body = |text: &str| {
        json!({"model": "single", "messages": [{"role": "user", "content": text}]}).to_string()
    };
    let body = body(&"x".repeat(size - body("").len()));
    assert_eq!(body.len(), size);
    body.into_bytes()
}

/// In chunks of 16 KiB, with the last one.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = body
        .chunks(16 << 10)
        .flat_map(|part| chunk(part).to_vec())
        .collect();
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

const CHUNKED: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

/// Bodies of exactly the cap pass, whole; those over it are answered 413.
async fn check_cap(name: &str, options: Options, cap: usize) {
    let gateway = Gateway::start_with(name, options).await;
    let limit = cap.to_string();
    for size in [cap, cap - 1] {
        let body = body_of(size);
        let reply = post(&gateway, &[JSON], &body).await;
        assert_eq!(reply.status, 200, "{size}: {}", reply.text());
        let reply = send(gateway.port(), &[CHUNKED, &chunked(&body)].concat()).await;
        assert_eq!(reply.expect("an answer").status, 200, "{size} in chunks");
        let sizes: Vec<_> = gateway
            .alpha
            .requests()
            .iter()
            .map(|r| r.body.len())
            .collect();
        assert_eq!(sizes, [size + 5, size + 5], "`single` became `alpha-small`");
        gateway.alpha.clear();
    }

    // Announced: refused before any of the body was sent.
    let mut conn = Conn::open(gateway.port()).await.expect("a connection");
    let announced = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-length: {}\r\n\r\n",
        cap + 1
    );
    conn.send(announced.as_bytes()).await.expect("sent");
    let reply = conn.reply().await.expect("an answer at once");
    is_error(&reply, 413, "request_too_large", "announced");
    assert!(reply.text().contains(&limit), "{}", reply.text());

    // Not announced: refused while it grows, without waiting for its end.
    let mut conn = Conn::open(gateway.port()).await.expect("a connection");
    conn.send(CHUNKED).await.expect("sent");
    conn.upload(&chunk(&vec![b' '; cap / 16]), 17)
        .await
        .expect("sent");
    let reply = conn
        .reply()
        .await
        .expect("an answer before the end of the body");
    is_error(&reply, 413, "request_too_large", "growing");
    assert!(reply.text().contains(&limit), "{}", reply.text());
    health::check(&gateway, "large bodies").await;
    // Nothing but that last request came through.
    assert_eq!(gateway.alpha.counters().requests, 1);
}

#[tokio::test]
async fn a_cap_from_policy_holds_to_the_byte() {
    check_cap("cap", with("admit: {max_body: 64KiB}"), 64 << 10).await;
}

#[tokio::test]
async fn the_default_cap_is_4_mib() {
    check_cap("default-cap", Options::default(), 4 << 20).await;
}

#[tokio::test]
async fn a_body_of_100_mib_is_refused_and_the_next_request_served() {
    const SIZE: usize = 100 << 20;
    const PIECE: usize = 64 << 10;
    let gateway = Gateway::start("100-mib").await;
    let announced = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-length: {SIZE}\r\n\r\n");
    let plain = vec![b' '; PIECE];
    for (head, piece) in [
        (announced.as_bytes(), plain.clone()),
        (CHUNKED, chunk(&plain).to_vec()),
    ] {
        let mut conn = Conn::open(gateway.port()).await.expect("a connection");
        conn.send(head).await.expect("sent");
        let sent = conn
            .upload(&piece, SIZE / PIECE)
            .await
            .expect("sent until answered");
        assert!(sent < SIZE / 2, "{sent} bytes were taken");
        let reply = conn.reply().await.expect("an answer");
        is_error(&reply, 413, "request_too_large", "100 MiB");
        health::check(&gateway, "100 MiB").await;
    }
}

// === bodies

fn messages(messages: &str) -> String {
    format!(r#"{{"x":"{QUOTED}","model":"single","messages":{messages}}}"#)
}

fn nested(open: &str, close: &str) -> String {
    format!("{}{}", open.repeat(10_000), close.repeat(10_000))
}

#[tokio::test]
async fn a_bad_body_is_told_where_it_is_bad_and_its_connection_goes_on() {
    let gateway = Gateway::start("bodies").await;
    let user = r#"[{"role":"user","content":"hi"}]"#;
    let invalid_type =
        |list: &str, param: &'static str| (messages(list), "invalid_type", json!(param));
    let top = |body: String, code: &'static str, param: Value| (body, code, param);
    let cases: Vec<(String, &str, Value)> = vec![
        // Not JSON.
        top(String::new(), "invalid_json", Value::Null),
        top(QUOTED.into(), "invalid_json", Value::Null),
        top(messages(user)[..40].into(), "invalid_json", Value::Null),
        top(
            messages(user).trim_end_matches('}').into(),
            "invalid_json",
            Value::Null,
        ),
        top(
            format!("{} {QUOTED}", messages(user)),
            "invalid_json",
            Value::Null,
        ),
        top(
            format!("\u{feff}{}", messages(user)),
            "invalid_json",
            Value::Null,
        ),
        top(
            messages("[{\"role\":\"user\",\"content\":\"a\u{0}b\"}]"),
            "invalid_json",
            Value::Null,
        ),
        // Not an object.
        top("[]".into(), "not_an_object", Value::Null),
        top("null".into(), "not_an_object", Value::Null),
        top("1e999".into(), "invalid_json", Value::Null),
        top(format!("\"{QUOTED}\""), "not_an_object", Value::Null),
        // Keys that two readers could read differently.
        top(
            r#"{"model":"single","model":"fast","messages":[]}"#.into(),
            "duplicate_key",
            json!("model"),
        ),
        top(
            r#"{"model":"single","mod\u0065l":"fast","messages":[]}"#.into(),
            "duplicate_key",
            json!("model"),
        ),
        top(
            r#"{"\u006dodel":"single","model":"fast"}"#.into(),
            "duplicate_key",
            json!("model"),
        ),
        top(
            r#"{"messages":[],"messages":[]}"#.into(),
            "duplicate_key",
            json!("messages"),
        ),
        top(r#"{"x":1,"x":2}"#.into(), "duplicate_key", json!("x")),
        // The model.
        top(
            format!(r#"{{"messages":{user}}}"#),
            "missing_model",
            json!("model"),
        ),
        top(
            format!(r#"{{"model":"","messages":{user}}}"#),
            "missing_model",
            json!("model"),
        ),
        top(
            format!(r#"{{"model":5,"messages":{user}}}"#),
            "invalid_type",
            json!("model"),
        ),
        top(
            format!(r#"{{"model":null,"messages":{user}}}"#),
            "invalid_type",
            json!("model"),
        ),
        top(
            format!(r#"{{"model":["{QUOTED}"],"messages":{user}}}"#),
            "invalid_type",
            json!("model"),
        ),
        top(
            format!(r#"{{"model":"{}","messages":{user}}}"#, "m".repeat(257)),
            "invalid_type",
            json!("model"),
        ),
        top(
            format!(r#"{{"model":"\ud800","messages":{user}}}"#),
            "invalid_json",
            json!("model"),
        ),
        // Messages.
        top(
            r#"{"model":"single"}"#.into(),
            "missing_messages",
            json!("messages"),
        ),
        top(messages("[]"), "empty_messages", json!("messages")),
        invalid_type(&format!("\"{QUOTED}\""), "messages"),
        invalid_type("{}", "messages"),
        invalid_type("null", "messages"),
        invalid_type("[1]", "messages[0]"),
        invalid_type(&format!("[\"{QUOTED}\"]"), "messages[0]"),
        invalid_type(r#"[{"content":"hi"}]"#, "messages[0].role"),
        invalid_type(r#"[{"role":1,"content":"hi"}]"#, "messages[0].role"),
        invalid_type(
            r#"[{"role":"user","content":"hi"},{"role":"user","content":5}]"#,
            "messages[1].content",
        ),
        invalid_type(r#"[{"role":"user","content":{}}]"#, "messages[0].content"),
        invalid_type(
            r#"[{"role":"user","content":[{"type":"text","text":"a"},1]}]"#,
            "messages[0].content[1]",
        ),
        invalid_type(
            r#"[{"role":"user","content":[{"text":"hi"}]}]"#,
            "messages[0].content[0].type",
        ),
        invalid_type(
            r#"[{"role":"user","content":[{"type":7}]}]"#,
            "messages[0].content[0].type",
        ),
        invalid_type(
            r#"[{"role":"user","content":[{"type":"text"}]}]"#,
            "messages[0].content[0].text",
        ),
        invalid_type(
            r#"[{"role":"user","content":[{"type":"text","text":5}]}]"#,
            "messages[0].content[0].text",
        ),
        top(
            format!(r#"{{"model":"single","stream":"{QUOTED}","messages":{user}}}"#),
            "invalid_type",
            json!("stream"),
        ),
        top(
            format!(r#"{{"model":"single","stream":1,"messages":{user}}}"#),
            "invalid_type",
            json!("stream"),
        ),
        // Nested 10,000 deep.
        top(nested("[", "]"), "not_an_object", Value::Null),
        top("[".repeat(10_000), "not_an_object", Value::Null),
        top(
            nested(r#"{"a":"#, "}").replace(":}", ":1}"),
            "missing_model",
            json!("model"),
        ),
        top(r#"{"a":"#.repeat(10_000), "invalid_json", Value::Null),
        top(
            messages(&nested("[", "]")),
            "invalid_type",
            json!("messages[0]"),
        ),
        top(
            messages(&format!(
                r#"[{{"role":"user","content":{}}}]"#,
                nested("[", "]")
            )),
            "invalid_type",
            json!("messages[0].content[0]"),
        ),
        top(
            messages(&format!(
                r#"[{{"role":{},"content":"hi"}}]"#,
                nested("[", "]")
            )),
            "invalid_type",
            json!("messages[0].role"),
        ),
        top(
            format!(r#"{{"model":{},"messages":{user}}}"#, nested("[", "]")),
            "invalid_type",
            json!("model"),
        ),
    ];
    let mut bodies: Vec<(Vec<u8>, &str, Value)> = cases
        .into_iter()
        .map(|(body, code, param)| (body.into_bytes(), code, param))
        .collect();
    let utf8 = messages(user).into_bytes();
    for place in [0, 10, utf8.len() - 5] {
        let mut broken = utf8.clone();
        broken.insert(place, 0xff);
        bodies.push((broken, "invalid_json", Value::Null));
    }

    let mut conn = Conn::open(gateway.port()).await.expect("a connection");
    let good = chat_request(&[("x-llm-policy", "single")], &chat("auto", false));
    for (body, code, param) in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        conn.send(&request("POST", CHAT, &[JSON], &body))
            .await
            .expect("sent");
        let reply = conn.reply().await;
        let reply = reply.unwrap_or_else(|e| panic!("{shown}: {e}"));
        assert_eq!(error(&reply), (400, code.to_owned(), param), "{shown}");
        conn.send(&good).await.expect("the connection goes on");
        let reply = conn.reply().await;
        let reply = reply.unwrap_or_else(|e| panic!("after {shown}: {e}"));
        assert_eq!(reply.status, 200, "after {shown}: {}", reply.text());
    }
    assert_eq!(gateway.classifier.counters().requests, 0);
    health::check(&gateway, "bad bodies").await;
    assert!(!gateway.log().contains(QUOTED));
}

#[tokio::test]
async fn an_unusual_body_that_is_in_order_is_served() {
    let gateway = Gateway::start("unusual-bodies").await;
    let user = r#"[{"role":"user","content":"hi"}]"#;
    let deep = nested("[", "]");
    let deep_objects = nested(r#"{"a":"#, "}").replace(":}", ":1}");
    for body in [
        r#"{"mod\u0065l":"singl\u0065","m\u0065ssages":[{"role":"user","content":"hi"}]}"#
            .to_owned(),
        format!(r#"{{"x":{deep},"model":"single","messages":{user}}}"#),
        format!(r#"{{"messages":{user},"x":{deep_objects},"model":"single"}}"#),
        format!(
            r#"{{"model":"single","messages":[{{"x":{deep},"role":"user","content":[{{"type":"image_url","image_url":{deep}}}]}}]}}"#
        ),
        format!("\n\t {{\"model\" : \"single\" , \"messages\":{user}}} \r\n"),
    ] {
        gateway.alpha.clear();
        let reply = post(&gateway, &[JSON], body.as_bytes()).await;
        let shown = &body[..body.len().min(80)];
        assert_eq!(reply.status, 200, "{shown}: {}", reply.text());
        // All but the model as it came.
        let seen = gateway.alpha.last().expect("a request").body;
        let model = [r#""single""#, r#""singl\u0065""#]
            .into_iter()
            .find(|m| body.contains(m))
            .expect("a model");
        let expected = body.replacen(model, r#""alpha-small""#, 1);
        assert!(seen == expected.as_bytes(), "{shown}");
    }
    health::check(&gateway, "unusual bodies").await;
}

// === headers

#[tokio::test]
async fn an_encoded_body_is_refused_unless_the_encoding_is_identity() {
    let gateway = Gateway::start("encodings").await;
    let body = chat("single", false).to_string();
    for encodings in [
        &["gzip"][..],
        &["br"],
        &["GZIP"],
        &["identity, gzip"],
        &["identity", "gzip"],
        &["\u{fe}"],
    ] {
        let mut headers = vec![JSON];
        headers.extend(
            encodings
                .iter()
                .map(|e| (&b"content-encoding"[..], e.as_bytes())),
        );
        let reply = post(&gateway, &headers, body.as_bytes()).await;
        is_error(
            &reply,
            415,
            "unsupported_content_encoding",
            &format!("{encodings:?}"),
        );
    }
    for encoding in ["identity", "Identity", ""] {
        let headers: [(&[u8], &[u8]); 2] = [JSON, (b"content-encoding", encoding.as_bytes())];
        let reply = post(&gateway, &headers, body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{encoding:?}: {}", reply.text());
        let seen = gateway.alpha.last().expect("a request");
        assert!(!seen.headers.contains("content-encoding"), "{encoding:?}");
    }
}

#[tokio::test]
async fn hostile_headers_leave_the_next_request_served() {
    let gateway = Gateway::start_with(
        "headers",
        with_teams("callers: {named: {tiers: [single]}}\n"),
    )
    .await;
    let body = chat("single", false).to_string();
    let long = vec![b'x'; 50_000];
    let many: Vec<(Vec<u8>, &[u8])> = (0..90)
        .map(|i| (format!("x-h{i}").into_bytes(), &long[..500]))
        .collect();
    let flood: Vec<(&[u8], &[u8])> = many
        .iter()
        .map(|(name, value)| (name.as_slice(), *value))
        .collect();
    // A value that nobody has to understand is not a reason to refuse.
    let bytes = b"\xff\xfe\x80quoted";
    for headers in [
        &[(&b"user-agent"[..], &bytes[..])][..],
        &[(b"x-team", bytes)],
        &[(b"x-team", b"\xc3")],
        &[
            (b"cookie", bytes),
            (b"authorization", bytes),
            (b"x-api-key", bytes),
        ],
        &[(b"accept", bytes)],
        &[(b"content-type", bytes)],
        &[(b"traceparent", bytes), (b"x-request-id", bytes)],
        &[(b"x-anything", bytes)],
        &[(b"x-team", b"")],
        &[(b"x-team", &long[..2000])],
        &[
            (b"x-pointsman-reply", b"1"),
            (b"x-pointsman-plan", b"{}"),
            (b"x-envoy-max-retries", b"x"),
        ],
        &flood,
    ] {
        let shown = String::from_utf8_lossy(headers[0].0);
        let reply = post(&gateway, headers, body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{shown}: {}", reply.text());
        health::check(&gateway, &shown).await;
    }
    for value in [
        &b"\xff"[..],
        bytes,
        b"no-such-tier",
        b"",
        b"fast,quality",
        &long[..2000],
    ] {
        let reply = post(&gateway, &[(b"x-llm-policy", value)], body.as_bytes()).await;
        is_error(&reply, 400, "unknown_tier", &String::from_utf8_lossy(value));
        assert!(
            reply.text().contains("fast, quality, single"),
            "{}",
            reply.text()
        );
    }
    health::check(&gateway, "x-llm-policy").await;

    // What Envoy refuses by itself is in OpenAI's form as well.
    let head = |line: &str| {
        [
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\n",
            line.as_bytes(),
            b"\r\ncontent-length: 2\r\n\r\n{}",
        ]
        .concat()
    };
    let sixty_kib = "x".repeat(60 << 10);
    let too_many: String = (0..101).map(|i| format!("x-h{i}: 1\r\n")).collect();
    for (raw, status) in [
        (b"GARBAGE\r\n\r\n".to_vec(), 400),
        (
            b"POST /v1/chat/completions?\xff HTTP/1.1\r\nhost: g\r\n\r\n".to_vec(),
            400,
        ),
        (head("x-nul: a\0b"), 400),
        (head("x-bad name: a"), 400),
        (head("no colon"), 400),
        (head("content-length: 3"), 400),
        (head("content-length: -1"), 400),
        (head("transfer-encoding: chunked"), 400),
        (head(&format!("x-long: {sixty_kib}")), 431),
        (head(too_many.trim_end()), 431),
        ([CHUNKED, b"zz\r\n"].concat(), 400),
    ] {
        let shown = String::from_utf8_lossy(&raw[..raw.len().min(80)]).into_owned();
        let reply = send(gateway.port(), &raw).await.expect("an answer");
        assert_eq!(error(&reply).0, status, "{shown:?}: {}", reply.text());
        // What follows on this connection cannot be told from the rest of it.
        assert_eq!(reply.header("connection"), "close", "{shown:?}");
        health::check(&gateway, &shown).await;
    }
    let log = gateway.log();
    assert!(!log.contains("quoted"), "{log}");
}

/// A body that never comes to its end, or whose sender leaves, holds nothing up.
#[tokio::test]
async fn a_client_that_leaves_in_its_body_leaves_no_mark() {
    let gateway = Gateway::start("leaving").await;
    let whole = chat_request(&[], &chat("single", false));
    for cut in [whole.len() / 2, whole.len() - 1] {
        for by_reset in [true, false] {
            let mut conn = Conn::open(gateway.port()).await.expect("a connection");
            conn.send(&whole[..cut]).await.expect("sent");
            if by_reset {
                conn.reset().expect("reset");
            } else {
                conn.finish().await.expect("finished");
            }
        }
    }
    health::check(&gateway, "clients that left").await;
    assert_eq!(gateway.alpha.counters().requests, 1);
}
