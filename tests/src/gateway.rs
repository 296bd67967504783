//! A gateway for a test: a real Envoy with the filter, scripted providers behind it, all on loopback.
//!
//! ```no_run
//! # async fn example() {
//! use pointsman_tests::{client, gateway::Gateway};
//! let gateway = Gateway::start("example").await;
//! let reply = gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
//! assert_eq!(reply.status, 200);
//! # }
//! ```

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{self, Reply};
use crate::envoy::{self, Envoy, Output};
use crate::render::{self, Endpoint, PolicySource, Role, Settings};
use crate::upstream::Upstream;

/// The providers of every test's policy, in the order of tier `fast`.
pub const PROVIDERS: [&str; 3] = ["alpha", "beta", "gamma"];

/// Three tiers over three providers, and a classifier. Times are short, so that a fault costs a test little; a provider that
/// failed in one scene is asked as ever in the next.
pub const POLICY: &str = "
version: 1
default_tier: fast
caller: {header: x-client-id}
tiers:
  fast:
    description: simple questions
    targets:
    - {provider: alpha, model: alpha-small}
    - {provider: beta, model: beta-small}
    - {provider: gamma, model: gamma-small}
  quality:
    description: careful work
    targets:
    - {provider: beta, model: beta-large}
    - {provider: alpha, model: alpha-large}
  single:
    description: one target only
    targets: [{provider: alpha, model: alpha-small}]
providers:
  alpha: {cluster: alpha, api: openai, host: alpha.test}
  beta: {cluster: beta, api: openai, host: beta.test, set_headers: {x-of-beta: beta}}
  gamma: {cluster: gamma, api: openai, host: gamma.test}
timeouts: {first_token: 1s, one_shot: 1s}
cooldown: {enabled: false}
classify:
- llm: {cluster: classifier, model: judge, timeout: 500ms}
";

/// What a test wants otherwise than by default.
#[derive(Debug)]
pub struct Options {
    pub policy: String,
    pub concurrency: u32,
    pub client_keys: Vec<(String, String)>,
    /// Instead of `ENVOY` or the one that `make` installed.
    pub envoy: Option<PathBuf>,
    /// A folder in the layout of `envoy/`, instead of `ENVOY_CONFIG` or that one.
    pub source: Option<PathBuf>,
    /// Provider ports that lead elsewhere than to the scripted providers, by cluster.
    pub ports: Vec<(&'static str, u16)>,
    /// Paths before what an SDK's base URL has by default, by cluster.
    pub bases: Vec<(&'static str, &'static str)>,
    /// Each provider at a path of its own, under `/<cluster>`.
    pub own_paths: bool,
    /// A change to what was rendered, before Envoy starts.
    pub edit: fn(&std::path::Path),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            policy: POLICY.to_owned(),
            concurrency: 1,
            client_keys: Vec::new(),
            envoy: None,
            source: None,
            ports: Vec::new(),
            bases: Vec::new(),
            own_paths: false,
            edit: |_| {},
        }
    }
}

/// Ends with everything in it when dropped.
#[derive(Debug)]
pub struct Gateway {
    pub envoy: Envoy,
    pub alpha: Upstream,
    pub beta: Upstream,
    pub gamma: Upstream,
    pub classifier: Upstream,
    _run_dir: RunDir,
}

/// A run's folder, kept only for a test that failed.
#[derive(Debug)]
struct RunDir(PathBuf);

impl Drop for RunDir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

impl Gateway {
    /// With [`POLICY`]; `name` is the test's, and its folder's under `target/`.
    pub async fn start(name: &str) -> Self {
        Self::start_with(name, Options::default()).await
    }

    pub async fn start_with(name: &str, options: Options) -> Self {
        match Self::try_start(name, options).await {
            Ok(gateway) => gateway,
            Err(why) => panic!("{name}: {why}"),
        }
    }

    pub async fn try_start(name: &str, options: Options) -> Result<Self, String> {
        let start = |name| Upstream::start(name).map_err(|e| format!("{name}: {e}"));
        let [alpha, beta, gamma] = PROVIDERS.map(start);
        let (alpha, beta, gamma) = (alpha?, beta?, gamma?);
        let classifier = start("classifier")?;
        let binary = match options.envoy {
            Some(path) => path,
            None => envoy::find()?,
        };
        let mut settings = Settings::for_test(run_dir(name), envoy::version(&binary)?)?;
        if let Some(source) = options.source {
            settings.source = source;
        }
        settings.policy = PolicySource::Text(options.policy);
        settings.client_keys = options
            .client_keys
            .into_iter()
            .map(|(client, key)| (client, render::Secret(key)))
            .collect();
        // The shipped providers are no part of the tests' policy.
        for (shipped, role) in render::ENDPOINTS {
            let absent = Endpoint::new(role, None, None)?;
            settings.endpoints.insert(shipped.to_owned(), absent);
        }
        for upstream in [&alpha, &beta, &gamma, &classifier] {
            let cluster = upstream.name();
            let elsewhere = options.ports.iter().find(|(name, _)| *name == cluster);
            let port = elsewhere.map_or(upstream.port(), |(_, port)| *port);
            let role = role(&settings.policy_text()?, cluster);
            let base = options.bases.iter().find(|(name, _)| *name == cluster);
            let own = match base {
                Some((_, base)) => (*base).to_owned(),
                None if options.own_paths => format!("/{cluster}"),
                None => String::new(),
            };
            let path = format!("{own}{}", role.version());
            let url = format!("http://127.0.0.1:{port}{path}");
            let endpoint = Endpoint::new(role, Some(&url), Some(&key_of(cluster)))?;
            settings.endpoints.insert(cluster.to_owned(), endpoint);
        }
        let run_dir = RunDir(settings.out_dir.clone());
        render::render(&settings)?;
        (options.edit)(&settings.out_dir);
        let envoy =
            Envoy::start_rendered(&binary, settings, options.concurrency, Output::Files).await?;
        Ok(Gateway {
            envoy,
            alpha,
            beta,
            gamma,
            classifier,
            _run_dir: run_dir,
        })
    }

    pub fn port(&self) -> u16 {
        self.envoy.port
    }

    pub fn providers(&self) -> [&Upstream; 3] {
        [&self.alpha, &self.beta, &self.gamma]
    }

    /// A one-shot chat completion of one user message.
    pub async fn chat(&self, headers: &[(&str, &str)], model: &str) -> Reply {
        self.post(headers, &chat(model, false)).await
    }

    /// A streamed one.
    pub async fn stream(&self, headers: &[(&str, &str)], model: &str) -> Reply {
        self.post(headers, &chat(model, true)).await
    }

    pub async fn post(&self, headers: &[(&str, &str)], body: &Value) -> Reply {
        client::post_chat(self.port(), headers, body)
            .await
            .expect("the gateway answers")
    }

    pub async fn get(&self, path: &str) -> Reply {
        client::get(self.port(), path, &[])
            .await
            .expect("the gateway answers")
    }

    /// Envoy's log so far.
    pub fn log(&self) -> String {
        self.file("envoy.log")
    }

    /// The access log once it has `lines` lines; Envoy writes it out every 100 ms.
    pub async fn access_log(&self, lines: usize) -> Vec<Value> {
        for _ in 0..100 {
            let log: Vec<Value> = self
                .file("access.log")
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            if log.len() >= lines {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the access log has fewer than {lines} lines");
    }

    fn file(&self, name: &str) -> String {
        let path = self.envoy.settings.out_dir.join(name);
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }
}

/// As the policy says of the cluster's provider.
fn role(policy: &str, cluster: &str) -> Role {
    if cluster == "classifier" {
        return Role::Classifier;
    }
    let policy: serde_norway::Value = serde_norway::from_str(policy).unwrap_or_default();
    let providers = policy["providers"].as_mapping().into_iter().flatten();
    let mut of_cluster = providers.filter(|(_, provider)| provider["cluster"] == cluster);
    match of_cluster.next().and_then(|(_, p)| p["api"].as_str()) {
        Some("anthropic") => Role::Anthropic,
        Some("gemini") => Role::Gemini,
        _ => Role::OpenAi,
    }
}

/// The key that the gateway has for a cluster.
pub fn key_of(cluster: &str) -> String {
    format!("key-of-{cluster}")
}

/// A chat completion request of one short user message.
pub fn chat(model: &str, stream: bool) -> Value {
    json!({
        "model": model,
        "stream": stream,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    })
}

/// A folder that no other test uses, not even of a run at the same time.
fn run_dir(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let run = std::process::id();
    render::root().join(format!("target/tests/{name}-{run}-{number}"))
}
