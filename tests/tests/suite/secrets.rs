//! Keys reach their own provider and nobody else, and neither they nor a prompt are written down.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use pointsman_tests::client;
use pointsman_tests::edit;
use pointsman_tests::envoy::Reload;
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat, key_of};
use pointsman_tests::upstream::{Behaviour, Seen};
use serde_json::{Value, json};

const CLIENT_KEY: &str = "private-key-0123456789abcdef";
const PROMPT: &str = "the-words-of-the-prompt";
const ANSWER: &str = "the-words-of-the-answer";
const REASON: &str = "the-words-of-the-reason";

fn keys() -> [String; 4] {
    ["alpha", "beta", "gamma", "classifier"].map(key_of)
}

/// A request that carries what a client may carry, and a prompt to recognise.
fn request(stream: bool) -> Value {
    let mut body = chat("auto", stream);
    body["messages"] =
        json!([{"role": "system", "content": PROMPT}, {"role": "user", "content": PROMPT}]);
    body
}

fn own_headers() -> Vec<(&'static str, &'static str)> {
    vec![
        ("authorization", "Bearer private-key-0123456789abcdef"),
        ("x-api-key", "private-x-api-key"),
        ("api-key", "private-azure-key"),
        ("cookie", "session=private-cookie"),
    ]
}

/// Every header that could hold a key.
fn secrets_in(seen: &Seen) -> Vec<String> {
    let secret = |text: &str| text.contains("key-of-") || text.contains("private-");
    let all = seen.headers.0.iter();
    all.map(|(name, value)| {
        format!(
            "{}: {}",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value)
        )
    })
    .filter(|line| secret(line))
    .collect()
}

#[tokio::test]
async fn a_key_reaches_its_own_provider_and_nobody_else() {
    let gateway = Gateway::start("keys").await;
    let own = |cluster: &str| vec![format!("authorization: Bearer {}", key_of(cluster))];
    gateway.classifier.set(Behaviour::classify(
        r#"{"tier":"fast","reason":"r","estimated_complexity":"low"}"#,
    ));
    for fault in [
        Behaviour::error(503),
        Behaviour::error(401),
        Behaviour::ResetAtOnce,
        Behaviour::EmptyOk,
    ] {
        gateway.alpha.set(fault.clone());
        gateway.beta.set(fault);
        for stream in [false, true] {
            let reply = gateway.post(&own_headers(), &request(stream)).await;
            assert_eq!(
                reply.header("x-routed-provider"),
                "gamma",
                "{}",
                reply.text()
            );
        }
    }
    for upstream in [
        &gateway.alpha,
        &gateway.beta,
        &gateway.gamma,
        &gateway.classifier,
    ] {
        let requests = upstream.requests();
        assert!(!requests.is_empty());
        for seen in requests {
            assert_eq!(
                secrets_in(&seen),
                own(upstream.name()),
                "{}",
                upstream.name()
            );
        }
    }
}

#[tokio::test]
async fn a_renamed_secret_is_used_without_a_restart() {
    let gateway = Gateway::start("rotation").await;
    let dir = gateway.envoy.settings.out_dir.clone();
    gateway.alpha.set(Behaviour::Stream {
        events: 20,
        gap: Duration::from_millis(30),
    });
    let port = gateway.port();
    let streaming = tokio::spawn(async move {
        client::post_chat(port, &[("x-llm-policy", "single")], &chat("auto", true)).await
    });
    assert!(
        gateway
            .alpha
            .wait_for(Duration::from_secs(5), |c| c.in_flight == 1)
            .await
    );
    edit::write(&dir, "secrets/alpha", "rotated-key");
    let mut looks = 0..100;
    loop {
        gateway.chat(&[("x-llm-policy", "single")], "auto").await;
        let seen = gateway
            .alpha
            .last()
            .expect("a request")
            .header("authorization");
        if seen == "Bearer rotated-key" {
            break;
        }
        assert_eq!(seen, "Bearer key-of-alpha");
        assert!(looks.next().is_some(), "the old key is still sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stream = streaming.await.expect("joined").expect("an answer");
    assert_eq!(
        stream.events().len(),
        23,
        "the stream in flight went on to its end"
    );
    // The others kept theirs.
    gateway.chat(&[("x-llm-policy", "quality")], "auto").await;
    let seen = gateway
        .beta
        .last()
        .expect("a request")
        .header("authorization");
    assert_eq!(seen, "Bearer key-of-beta");
}

type Edit = fn(&Path);

/// A local server without a key, and a file that is not there.
const WITHOUT: [(&str, Edit); 2] = [
    ("key-empty", |dir| edit::write(dir, "secrets/alpha", "")),
    ("key-file-missing", |dir| {
        std::fs::remove_file(dir.join("secrets/alpha")).expect("removed")
    }),
];

#[tokio::test]
async fn a_missing_key_is_the_providers_401_and_the_request_moves_on() {
    for (name, edit) in WITHOUT {
        let gateway = Gateway::start_with(
            name,
            Options {
                edit,
                ..Options::default()
            },
        )
        .await;
        gateway.alpha.set_by(|seen| {
            if seen.header("authorization").is_empty() {
                Behaviour::error(401)
            } else {
                Behaviour::Ok
            }
        });
        let headers = [own_headers(), vec![("x-llm-policy", "fast")]].concat();
        for stream in [false, true] {
            let reply = gateway.post(&headers, &request(stream)).await;
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
            assert_eq!(
                reply.header("x-routed-attempts"),
                "alpha=401, beta=200",
                "{name}"
            );
        }
        for seen in gateway.alpha.requests() {
            assert_eq!(secrets_in(&seen), Vec::<String>::new(), "{name}");
        }
    }
}

fn mode(path: &Path) -> u32 {
    let meta = std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    meta.permissions().mode() & 0o777
}

/// Everything under `dir` that has one of these words in it.
fn files_with(dir: &Path, words: &[String], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_with(&path, words, found);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        if words.iter().any(|word| text.contains(word)) {
            found.push(path.display().to_string());
        }
    }
}

#[tokio::test]
async fn no_key_no_prompt_and_no_answer_is_written_down() {
    let options = Options {
        client_keys: vec![("team-a".into(), CLIENT_KEY.into())],
        ..Options::default()
    };
    let gateway = Gateway::start_with("written", options).await;
    let dir = gateway.envoy.settings.out_dir.clone();
    let verdict =
        json!({"tier": "fast", "reason": REASON, "estimated_complexity": "low"}).to_string();
    gateway.classifier.set(Behaviour::classify(verdict));
    // A provider that quotes in its errors what it was sent, key included.
    let quoting = |status: u16| {
        move |seen: &Seen| {
            let message = format!(
                "{ANSWER} {} {}",
                seen.header("authorization"),
                String::from_utf8_lossy(&seen.body)
            );
            let body =
                json!({"error": {"message": message, "type": "t", "param": null, "code": "c"}});
            Behaviour::Status {
                status,
                headers: vec![("content-type".into(), "application/json".into())],
                body: Bytes::from(body.to_string()),
            }
        }
    };
    let good = Behaviour::Body(Bytes::from(
        json!({"object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}]}).to_string(),
    ));
    let mut heads = String::new();
    let mut ask = async |headers: &[(&str, &str)], body: &Value| {
        let reply = gateway.post(headers, body).await;
        for (name, value) in &reply.headers.0 {
            heads += &format!(
                "{}: {}\n",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            );
        }
        reply
    };
    let mine = own_headers();
    let single = [own_headers(), vec![("x-llm-policy", "single")]].concat();
    gateway.alpha.set(good);
    assert_eq!(ask(&mine, &request(false)).await.status, 200);
    let mut refused = String::new();
    for (status, expected) in [(401, 502), (403, 502), (404, 502)] {
        gateway.alpha.set_by(quoting(status));
        let reply = ask(&single, &request(false)).await;
        assert_eq!(reply.status, expected);
        refused += &reply.text();
    }
    gateway.alpha.set(Behaviour::ResetAtOnce);
    refused += &ask(&single, &request(true)).await.text();
    gateway
        .classifier
        .set(Behaviour::classify(format!("{REASON} {PROMPT}")));
    gateway.alpha.set(Behaviour::Ok);
    let mut other = request(false);
    other["messages"][0]["content"] = json!("another");
    ask(&mine, &other).await;
    // Requests that the gateway itself refuses: a wrong key, a wrong type, a tier that is none.
    refused += &ask(
        &[("authorization", "Bearer private-key-wrong")],
        &request(false),
    )
    .await
    .text();
    let mut wrong = request(false);
    wrong["messages"][0]["content"] = json!({"text": PROMPT});
    refused += &ask(&mine, &wrong).await.text();
    let log = gateway.access_log(8).await;
    assert_eq!(log.len(), 8);

    let mut private: Vec<String> = keys().to_vec();
    private.extend(["private-", PROMPT, ANSWER].map(str::to_owned));
    let without_reason = [private.clone(), vec![REASON.to_owned()]].concat();
    let check = |what: &str, text: &str, words: &[String]| {
        for word in words {
            let line = text.lines().find(|line| line.contains(word.as_str()));
            assert_eq!(line, None, "{what} has {word:?}");
        }
    };
    check("a refusal", &refused, &without_reason);
    check("a response header", &heads, &private);
    check("Envoy's log", &gateway.log(), &without_reason);
    let access = std::fs::read_to_string(dir.join("access.log")).expect("the access log");
    check("the access log", &access, &without_reason);
    for path in [
        "/config_dump",
        "/config_dump?include_eds",
        "/clusters",
        "/stats",
        "/stats/prometheus",
        "/server_info",
        "/listeners",
    ] {
        let text = gateway.envoy.get(path).await.expect("the admin port");
        assert!(!text.is_empty(), "{path}");
        check(path, &text, &without_reason);
    }
    // Envoy shows that there are keys, and not which.
    let dump = gateway.envoy.get("/config_dump").await;
    assert!(dump.expect("the admin port").contains("[redacted]"));
    // What is on disk: the secrets' files, and the client's key in the routes.
    let mut found = Vec::new();
    files_with(&dir, &without_reason, &mut found);
    found.sort();
    let expected = [
        "routes.yaml",
        "secrets/alpha",
        "secrets/beta",
        "secrets/classifier",
        "secrets/gamma",
    ];
    assert_eq!(
        found,
        expected.map(|file| dir.join(file).display().to_string())
    );
    for folder in ["", "secrets", "sds", "ecds"] {
        assert_eq!(mode(&dir.join(folder)), 0o700, "{folder}");
    }
    for file in found {
        assert_eq!(mode(Path::new(&file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn the_access_log_says_the_decision_and_the_reason_only_if_policy_says_so() {
    let options = Options {
        client_keys: vec![("team-a".into(), CLIENT_KEY.into())],
        ..Options::default()
    };
    let mut gateway = Gateway::start_with("access-log", options).await;
    let key = [("authorization", "Bearer private-key-0123456789abcdef")];
    let verdict =
        json!({"tier": "quality", "reason": REASON, "estimated_complexity": "high"}).to_string();
    gateway.classifier.set(Behaviour::classify(verdict));
    gateway.beta.set(Behaviour::error(503));
    gateway.chat(&key, "auto").await;
    let with_reason = format!(
        "{POLICY}
log_reason: true
"
    );
    let reload = gateway.envoy.rewrite_policy(&with_reason).await;
    assert_eq!(reload, Ok(Reload::Taken));
    gateway.stream(&key, "fast").await;
    gateway
        .chat(
            &[("authorization", "Bearer private-key-0123456789abcdef")],
            "auto",
        )
        .await;
    let lines = gateway.access_log(3).await;
    let told = |line: &Value| {
        [
            "status", "caller", "tier", "source", "provider", "model", "attempts", "reason",
        ]
        .map(|field| match &line[field] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let quality = [
        "200",
        "team-a",
        "quality",
        "llm",
        "alpha",
        "alpha-large",
        "beta=503, alpha=200",
    ];
    let fast = [
        "200",
        "team-a",
        "fast",
        "model",
        "alpha",
        "alpha-small",
        "alpha=200",
    ];
    assert_eq!(told(&lines[0])[..7], quality);
    assert_eq!(told(&lines[0])[7], "");
    assert_eq!(told(&lines[1])[..7], fast);
    assert_ne!(told(&lines[1])[7], "");
    assert_eq!(
        told(&lines[2])[..7],
        [
            "200",
            "team-a",
            "quality",
            "cache",
            "alpha",
            "alpha-large",
            "beta=503, alpha=200"
        ]
    );
    assert!(told(&lines[2])[7].contains(REASON), "{}", lines[2]);
}
