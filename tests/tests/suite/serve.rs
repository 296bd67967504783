//! `make run`: what it starts, says and leaves behind.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pointsman_tests::client::{self, Conn, Reply, Sse};
use pointsman_tests::gateway::chat;
use pointsman_tests::port::free_port;
use pointsman_tests::render;
use pointsman_tests::upstream::{Behaviour, Upstream};
use serde_json::Value;

/// Starting Envoys on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary behind `make run`, ended when dropped: by SIGTERM, so that it ends its Envoy.
struct Serve {
    child: Child,
    port: u16,
    said: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
}

impl Drop for Serve {
    fn drop(&mut self) {
        if self.exited().is_none() {
            self.signal("TERM");
            let until = Instant::now() + Duration::from_secs(10);
            while self.exited().is_none() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(self.dir());
    }
}

impl Serve {
    /// Of the environment it gets only this, and what finds Envoy and the filter.
    fn spawn(port: u16, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
        command.env_clear();
        for passed in ["PATH", "ENVOY", "WASM", "CARGO_TARGET_DIR"] {
            if let Some(value) = std::env::var_os(passed) {
                command.env(passed, value);
            }
        }
        let mut child = command
            .env("PORT", port.to_string())
            .env("ADMIN_PORT", "0")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("serve starts");
        let said = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let readers = [
            listen(stdout, Arc::clone(&said)),
            listen(stderr, Arc::clone(&said)),
        ];
        Serve {
            child,
            port,
            said,
            readers,
        }
    }

    async fn start(env: &[(&str, &str)]) -> Self {
        let mut serve = Self::spawn(free_port(), env);
        serve.wait_for("Try, in another terminal").await;
        serve
    }

    /// Everything that it, and its Envoy, wrote so far.
    fn said(&self) -> String {
        self.said.lock().expect("no reader panicked").clone()
    }

    async fn wait_for(&mut self, words: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.said().contains(words) {
            let exited = self.exited();
            assert!(
                exited.is_none() && Instant::now() < until,
                "{exited:?} before it said {words:?}:\n{}",
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is ours")
    }

    /// Waits for its end, and until nobody writes where it wrote.
    async fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            let all_read = self.readers.iter().all(JoinHandle::is_finished);
            if let Some(status) = self.exited().filter(|_| all_read) {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn signal(&self, signal: &str) {
        kill(self.child.id(), signal);
    }

    fn dir(&self) -> PathBuf {
        render::root().join(format!("target/run/{}", self.port))
    }

    /// The process ids of its children.
    fn envoys(&self) -> Vec<u32> {
        let id = self.child.id();
        let list = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let of_any_thread = std::fs::read_dir(format!("/proc/{id}/task"))
            .map(|tasks| {
                let lists = tasks.flatten().map(|task| task.path().join("children"));
                lists
                    .filter_map(|path| std::fs::read_to_string(path).ok())
                    .collect::<String>()
            })
            .unwrap_or_else(|_| list.unwrap_or_default());
        of_any_thread
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect()
    }

    async fn chat(&self, headers: &[(&str, &str)], model: &str) -> Reply {
        client::post_chat(self.port, headers, &chat(model, false))
            .await
            .expect("an answer")
    }

    /// An admin port that Envoy picked.
    async fn admin(&self, path: &str) -> String {
        let address = std::fs::read_to_string(self.dir().join("admin-address")).expect("written");
        let port = address
            .trim()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let reply = client::get(port.expect("a port"), path, &[]).await;
        reply.expect("the admin port answers").text()
    }
}

fn listen(pipe: impl std::io::Read + Send + 'static, said: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut said = said.lock().expect("no reader panicked");
            said.push_str(&line);
            said.push('\n');
        }
    })
}

fn kill(id: u32, signal: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &id.to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

fn is_running(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
        // The state comes after the name in parentheses; a zombie is gone for our purpose.
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim_start().starts_with('Z'))
    })
}

/// A file of this test, in the folder of the tests.
fn file(name: &str, text: &str) -> PathBuf {
    let dir = render::root().join(format!("target/tests/serve-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path
}

fn shipped_policy() -> String {
    std::fs::read_to_string(render::root().join("envoy/policy.yaml")).expect("it is shipped")
}

/// The shipped policy, but that the classifier is asked even what is clear.
fn asking_policy() -> String {
    const LOCAL: &str = "- local: {min_confidence: 0.7}\n";
    let shipped = shipped_policy();
    assert!(shipped.contains(LOCAL), "no {LOCAL:?} to leave out");
    shipped.replace(LOCAL, "")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test]
async fn without_keys_the_first_curl_is_answered_by_stand_ins_without_network() {
    let mut serve = Serve::start(&[]).await;
    let said = serve.said();
    for words in [
        "no API key and no base URL is set: stand-ins on loopback answer",
        "stand-in for openai",
        "stand-in for anthropic",
        "stand-in for gemini",
        "stand-in for classifier",
        "no client keys",
    ] {
        assert!(said.contains(words), "{said}\nlacks {words:?}");
    }
    // The curl that it prints.
    let body = said
        .split("-d '")
        .nth(1)
        .and_then(|rest| rest.split("'\n").next());
    let body: Value = serde_json::from_str(body.expect("a body")).expect("JSON");
    let url = format!(
        "curl -i http://127.0.0.1:{}/v1/chat/completions",
        serve.port
    );
    assert!(said.contains(&url), "{said}");
    let reply = client::post_chat(serve.port, &[], &body)
        .await
        .expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    for (name, value) in [
        ("x-routed-provider", "openai"),
        ("x-routed-model", "gpt-5-nano"),
        ("x-routing-tier", "fast"),
        ("x-routing-source", "local"),
        ("x-routed-attempts", "openai=200"),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    assert!(!reply.headers.contains("x-classification-time"));
    assert!(!reply.header("x-routing-reason").is_empty());
    assert!(
        reply.content().contains("stand-in for openai"),
        "{}",
        reply.text()
    );
    // Nothing is looked up, nobody beyond this machine is connected to.
    let clusters = serve.admin("/clusters").await;
    let hosts: Vec<&str> = clusters
        .lines()
        .filter(|line| line.contains("::cx_active::"))
        .collect();
    assert!(hosts.len() >= 5, "{clusters}");
    for host in hosts {
        assert!(
            host.contains("::127.0.0.1:") || host.contains("::envoy://"),
            "{host}"
        );
    }
    assert!(!clusters.contains("api.openai.com"), "{clusters}");
    // Each speaks its own format, and the client is none the wiser.
    for model in ["gpt-5-nano", "claude-haiku-4-5", "gemini-2.5-flash-lite"] {
        let reply = serve.chat(&[], model).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let name = reply.header("x-routed-provider");
        let words = format!("This is the stand-in for {name}, answering as {model}:");
        assert!(reply.content().starts_with(&words), "{}", reply.text());
    }
    serve.wait_for("\"provider\":\"gemini\"").await;
    let logged = serve.said();
    let logged = logged
        .lines()
        .find(|l| l.contains("\"provider\":\"gemini\""));
    let logged: Value = serde_json::from_str(logged.expect("a line")).expect("JSON");
    for tokens in ["input_tokens", "output_tokens"] {
        let tokens = logged[tokens].as_str().and_then(|n| n.parse::<u64>().ok());
        assert!(tokens.is_some_and(|n| n > 0), "{logged}");
    }

    // SIGINT, as of Ctrl-C.
    stops_cleanly(&mut serve, "INT").await;
}

/// Says so, ends with 0, and leaves no Envoy, no secret, and no open port.
async fn stops_cleanly(serve: &mut Serve, signal: &str) {
    let envoys = serve.envoys();
    assert!(!envoys.is_empty());
    assert!(envoys.iter().all(|id| is_running(*id)));
    assert!(serve.dir().join("secrets").is_dir());
    serve.signal(signal);
    let status = serve.end().await;
    assert!(status.success(), "{status}:\n{}", serve.said());
    assert!(serve.said().contains("stopping Envoy"), "{}", serve.said());
    for id in envoys {
        assert!(!is_running(id), "Envoy {id} is left");
    }
    assert!(!serve.dir().join("secrets").exists());
    assert!(Conn::open(serve.port).await.is_err());
}

/// An answer of Anthropic's: <https://docs.claude.com/en/api/messages>.
const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#;

/// An answer of Gemini's: <https://ai.google.dev/api/generate-content>.
const GENERATED: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hello"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"totalTokenCount":7},"modelVersion":"m","responseId":"r1"}"#;

#[tokio::test]
async fn keys_and_base_urls_lead_where_they_say() {
    let [openai, anthropic, gemini, classifier] = ["openai", "anthropic", "gemini", "classifier"]
        .map(|name| Upstream::start(name).expect("starts"));
    anthropic.set(Behaviour::Body(MESSAGE.into()));
    gemini.set(Behaviour::Body(GENERATED.into()));
    let policy = file("asking.yaml", &asking_policy());
    let keys = file(
        "client-keys.yaml",
        "team-a: client-key-of-team-a\nteam-b: client-key-of-team-b\n",
    );
    let mut serve = Serve::start(&[
        (
            "OPENAI_BASE_URL",
            &format!("{}/some/prefix/v1", openai.url()),
        ),
        ("OPENAI_API_KEY", "private-key-of-openai"),
        // Without the /v1, as Anthropic's own SDK reads it.
        ("ANTHROPIC_BASE_URL", &format!("{}/proxy", anthropic.url())),
        ("ANTHROPIC_API_KEY", "private-key-of-anthropic"),
        ("GEMINI_BASE_URL", &format!("{}/google/", gemini.url())),
        ("GEMINI_API_KEY", "private-key-of-gemini"),
        // By name, which is looked up.
        (
            "CLASSIFIER_BASE_URL",
            &format!("http://localhost:{}/v1/", classifier.port()),
        ),
        ("CLASSIFIER_API_KEY", "private-key-of-classifier"),
        ("CLIENT_KEYS", text(&keys)),
        ("POLICY", text(&policy)),
    ])
    .await;
    let said = serve.said();
    for words in [
        "client keys are required; clients: team-a, team-b",
        "authorization: Bearer $KEY",
    ] {
        assert!(said.contains(words), "{said}\nlacks {words:?}");
    }
    assert!(!said.contains("stand-in"), "{said}");
    classifier.set(Behaviour::classify("quality"));
    openai.next([Behaviour::error(503)]);
    let refused = serve.chat(&[], "auto").await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"]["code"], "invalid_api_key");
    assert_eq!(openai.counters().requests, 0);
    let bearer = ("authorization", "Bearer client-key-of-team-b");
    let api_key = ("x-api-key", "client-key-of-team-b");
    // `quality` begins at anthropic, `fast` at openai.
    for (key, model, attempts) in [
        (bearer, "auto", "anthropic=200"),
        (api_key, "fast", "openai=503, anthropic=200"),
        (bearer, "fast", "openai=200"),
        (api_key, "gemini-2.5-flash", "gemini=200"),
    ] {
        let reply = serve.chat(&[key], model).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-routed-attempts"), attempts);
    }
    // Every attempt fails but the last: none sees another's key.
    openai.next([Behaviour::error(503)]);
    anthropic.next([Behaviour::error(529)]);
    let reply = serve
        .chat(&[bearer, ("x-api-key", "client-key-of-team-a")], "fast")
        .await;
    let attempts = "openai=503, anthropic=529, gemini=200";
    assert_eq!(reply.header("x-routed-attempts"), attempts);
    let generate = |model: &str| format!("/google/v1beta/models/{model}:generateContent");
    let [flash, lite] = ["gemini-2.5-flash", "gemini-2.5-flash-lite"].map(generate);
    let chat = "/some/prefix/v1/chat/completions";
    let key_headers = ["authorization", "x-api-key", "x-goog-api-key"];
    for (upstream, paths, host, key_header) in [
        (&openai, [chat; 3].as_slice(), "127.0.0.1", "authorization"),
        (
            &anthropic,
            &["/proxy/v1/messages"; 3],
            "127.0.0.1",
            "x-api-key",
        ),
        (&gemini, &[&flash, &lite], "127.0.0.1", "x-goog-api-key"),
        (
            &classifier,
            &["/v1/chat/completions"],
            "localhost",
            "authorization",
        ),
    ] {
        let name = upstream.name();
        let requests = upstream.requests();
        let asked: Vec<&str> = requests.iter().map(|seen| seen.path.as_str()).collect();
        assert_eq!(asked, paths, "{name}");
        let prefix = if key_header == "authorization" {
            "Bearer "
        } else {
            ""
        };
        for seen in &requests {
            let host = format!("{host}:{}", upstream.port());
            assert_eq!(seen.header("host"), host, "{name}");
            for header in key_headers {
                let expected = match header == key_header {
                    true => format!("{prefix}private-key-of-{name}"),
                    false => String::new(),
                };
                assert_eq!(seen.header(header), expected, "{name} {header}");
            }
        }
    }
    // The access log is on its standard output; keys are on neither.
    serve.wait_for("\"caller\":\"team-b\"").await;
    let said = serve.said();
    for secret in ["private-key", "client-key-of"] {
        assert!(!said.contains(secret), "{said}");
    }
    stops_cleanly(&mut serve, "TERM").await;
    let left = std::fs::read_dir(serve.dir())
        .expect("its folder")
        .flatten();
    for entry in left.filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("private-key"), "{:?}", entry.path());
    }
}

#[tokio::test]
async fn with_only_some_keys_the_rest_is_left_out_and_it_says_so() {
    let openai = Upstream::start("openai").expect("starts");
    let url = format!("{}/v1", openai.url());
    let serve = Serve::start(&[("OPENAI_BASE_URL", &url)]).await;
    let said = serve.said();
    for words in [
        "provider anthropic is left out: neither ANTHROPIC_API_KEY nor ANTHROPIC_BASE_URL is set",
        "provider gemini is left out: neither GEMINI_API_KEY nor GEMINI_BASE_URL is set",
        "claude-sonnet-4-5",
        "the LLM classifier is left out: neither CLASSIFIER_API_KEY nor CLASSIFIER_BASE_URL is set",
    ] {
        assert!(said.contains(words), "{said}\nlacks {words:?}");
    }
    let reply = serve.chat(&[], "quality").await;
    assert_eq!(
        reply.header("x-routed-attempts"),
        "openai=200",
        "{}",
        reply.text()
    );
    let reply = serve.chat(&[], "auto").await;
    assert_eq!(
        reply.header("x-routing-source"),
        "local",
        "{}",
        reply.text()
    );
    let models = client::get(serve.port, "/v1/models", &[])
        .await
        .expect("an answer")
        .text();
    assert!(
        models.contains("gpt-5") && !models.contains("claude") && !models.contains("gemini"),
        "{models}"
    );
    // Without a key nothing is sent as one.
    assert_eq!(
        openai.last().expect("a request").header("authorization"),
        ""
    );
}

#[tokio::test]
async fn saving_the_policy_changes_the_next_request_and_a_mistake_changes_nothing() {
    let openai = Upstream::start("openai").expect("starts");
    openai.set(Behaviour::Stream {
        events: 100,
        gap: Duration::from_millis(40),
    });
    let policy = file("policy.yaml", &shipped_policy());
    let url = format!("{}/v1", openai.url());
    let mut serve = Serve::start(&[("OPENAI_BASE_URL", &url), ("POLICY", text(&policy))]).await;
    assert!(serve.said().contains(text(&policy)), "{}", serve.said());
    let mut conn = Conn::open(serve.port).await.expect("connects");
    conn.send(&client::chat_request(&[], &chat("fast", true)))
        .await
        .expect("sends");
    let mut streaming = conn.response().await.expect("a stream");
    let mut sse = Sse::default();
    let mut events = sse.push(&streaming.piece().await.expect("a piece").expect("an event"));

    let edited = shipped_policy().replace("gpt-5-nano", "gpt-6-nano");
    std::fs::write(&policy, &edited).expect("saved");
    serve.wait_for("policy reloaded").await;
    assert_eq!(
        openai.counters().in_flight,
        1,
        "the stream outlived the reload"
    );
    assert_eq!(
        serve.chat(&[], "fast").await.header("x-routed-model"),
        "gpt-6-nano"
    );
    std::fs::write(
        &policy,
        edited.replace("default_tier: fast", "default_tier: fats"),
    )
    .expect("saved");
    serve.wait_for("policy refused").await;
    let said = serve.said();
    let refusals: Vec<&str> = said.lines().filter(|line| line.contains("fats")).collect();
    assert_eq!(
        refusals,
        [
            "pointsman: policy refused, the one in force keeps serving: default_tier: no tier \"fats\"; did you mean \"fast\"?"
        ]
    );
    assert_eq!(
        serve.chat(&[], "fast").await.header("x-routed-model"),
        "gpt-6-nano"
    );
    while let Some(piece) = streaming.piece().await.expect("the stream goes on") {
        events.extend(sse.push(&piece));
    }
    assert_eq!(events.len(), 103);
    assert_eq!(events[102].data, "[DONE]");

    // Gone and back, as some editors save.
    std::fs::remove_file(&policy).expect("removed");
    serve.wait_for("No such file").await;
    assert_eq!(
        serve.chat(&[], "fast").await.header("x-routed-model"),
        "gpt-6-nano"
    );
    let third = edited.replace("gpt-6-nano", "gpt-7-nano");
    std::fs::write(policy.with_extension("new"), third).expect("saved");
    std::fs::rename(policy.with_extension("new"), &policy).expect("renamed");
    let until = Instant::now() + PATIENCE;
    while serve.chat(&[], "fast").await.header("x-routed-model") != "gpt-7-nano" {
        assert!(Instant::now() < until, "{}", serve.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Variables, and words of the line that they end in.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[tokio::test]
async fn what_cannot_be_served_is_said_in_one_line_and_exits_with_an_error() {
    let taken = TcpListener::bind(("127.0.0.1", free_port())).expect("free");
    let taken_port = taken.local_addr().expect("bound").port();
    let port = taken_port.to_string();
    let broken = file(
        "broken.yaml",
        &shipped_policy().replace("default_tier: fast", "default_tier: fats"),
    );
    let keys = file("keys.yaml", "team-a: short-secret\n");
    let mut not_yaml = shipped_policy();
    not_yaml.push_str("\n  : [");
    let not_yaml = file("not.yaml", &not_yaml);
    let cases: [Case; 10] = [
        (&[("PORT", &port)], &["is in use", "PORT="]),
        (&[("ADMIN_PORT", &port)], &["is in use", "ADMIN_PORT="]),
        (&[("PORT", "http")], &["PORT=http"]),
        (
            &[("POLICY", "/nowhere/policy.yaml")],
            &["/nowhere/policy.yaml", "No such file"],
        ),
        (
            &[("POLICY", text(&broken))],
            &["default_tier: no tier \"fats\"; did you mean \"fast\"?"],
        ),
        (&[("POLICY", text(&not_yaml))], &["not.yaml", "not YAML"]),
        (
            &[("CLIENT_KEYS", text(&keys))],
            &["CLIENT_KEYS", "\"team-a\"", "16"],
        ),
        (
            &[("OPENAI_BASE_URL", "localhost:8080/v1")],
            &["OPENAI_BASE_URL", "http"],
        ),
        (
            &[("CLASSIFIER_API_KEY", "private-key")],
            &["no target is left", "OPENAI_API_KEY"],
        ),
        (
            &[("WASM", "/nowhere/pointsman.wasm")],
            &["/nowhere/pointsman.wasm", "make build"],
        ),
    ];
    for (env, words) in cases {
        let mut serve = Serve::spawn(free_port(), env);
        let status = serve.end().await;
        let said = serve.said();
        assert_eq!(status.code(), Some(1), "{env:?}: {said}");
        let mut lines = said.lines().filter(|l| l.starts_with("pointsman: "));
        let is_told = lines.any(|line| words.iter().all(|word| line.contains(word)));
        assert!(
            is_told,
            "{env:?}: {said}
lacks a line with {words:?}"
        );
        assert!(
            !said.contains("private-key") && !said.contains("short-secret"),
            "{said}"
        );
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test]
async fn an_envoy_that_ends_by_itself_ends_it_with_an_error() {
    let mut serve = Serve::start(&[]).await;
    let envoys = serve.envoys();
    let [envoy] = envoys.as_slice() else {
        panic!("not one Envoy: {envoys:?}");
    };
    kill(*envoy, "KILL");
    let status = serve.end().await;
    assert_eq!(status.code(), Some(1), "{}", serve.said());
    let said = serve.said();
    assert!(
        said.contains("pointsman: Envoy ended by itself: signal: 9"),
        "{said}"
    );
    assert!(!serve.dir().join("secrets").exists());
}
