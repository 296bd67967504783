//! What goes over the wire on both sides of a gateway while SDKs play, and what the SDKs' own types say to it:
//! `tests/fixtures/judge_wire.py`.

use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::render;
use pointsman_tests::scenes;
use pointsman_tests::tap::{Exchange, Tap};
use serde_json::{Value, json};

/// A provider of the policy: its cluster, its wire format, and the port where it is.
#[derive(Debug, Clone, Copy)]
pub struct Provider {
    pub cluster: &'static str,
    pub api: &'static str,
    pub port: u16,
}

/// Which SDK plays; the name is that of its scenes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Chat,
    Messages,
}

/// Whose answers are judged. The requests to providers always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// The gateway's and the providers': those are our own.
    Everything,
    /// What the gateway translated: whatever passes is as good as the stand-in that others wrote.
    Translations,
}

/// A gateway with a tap before it and one before each provider.
pub struct Wire {
    pub gateway: Gateway,
    name: String,
    client: Tap,
    providers: Vec<(Provider, Tap)>,
    /// In the judge's form.
    exchanges: Vec<Value>,
}

// === impl Client ===

impl Client {
    fn name(self) -> &'static str {
        match self {
            Client::Chat => "chat",
            Client::Messages => "messages",
        }
    }

    /// The path whose answers are completions or messages.
    fn path(self) -> &'static str {
        match self {
            Client::Chat => "/v1/chat/completions",
            Client::Messages => "/v1/messages",
        }
    }

    /// The format that passes as it is.
    pub fn api(self) -> &'static str {
        match self {
            Client::Chat => "openai",
            Client::Messages => "anthropic",
        }
    }
}

// === impl Wire ===

impl Wire {
    /// The policy's clusters are led to the providers; `bases` are their paths, as in [`Options`].
    pub async fn start(
        name: &str,
        policy: &str,
        providers: &[Provider],
        bases: Vec<(&'static str, &'static str)>,
    ) -> Self {
        let mut tapped = Vec::new();
        for provider in providers {
            let tap = Tap::before(provider.port).await.expect("a port");
            tapped.push((*provider, tap));
        }
        let ports = tapped
            .iter()
            .map(|(p, tap)| (p.cluster, tap.port))
            .collect();
        let options = Options {
            policy: policy.to_owned(),
            ports,
            bases,
            ..Options::default()
        };
        let gateway = Gateway::start_with(name, options).await;
        let client = Tap::before(gateway.port()).await.expect("a port");
        Wire {
            gateway,
            name: name.to_owned(),
            client,
            providers: tapped,
            exchanges: Vec::new(),
        }
    }

    /// What these scenes saw, all of one SDK.
    pub async fn play(&mut self, client: Client, judged: Judged, scenes: &[String]) -> Value {
        let saw = scenes::play(self.client.port, "", scenes).await;
        for exchange in self.client.take().await.expect("HTTP") {
            // Counting tokens and listing models have other answers.
            if exchange.path == client.path() {
                let by = exchange.headers.text("x-routed-provider");
                let by = self
                    .providers
                    .iter()
                    .find(|(p, _)| Some(p.cluster) == by.as_deref());
                let passed = by.is_some_and(|(provider, _)| provider.api == client.api());
                let answers = judged == Judged::Everything || !passed;
                let of = json!({"of": "client", "client": client.name(), "answers": answers});
                self.exchanges.push(record(of, &exchange));
            }
        }
        for (provider, tap) in &self.providers {
            for exchange in tap.take().await.expect("HTTP") {
                if !exchange.path.ends_with("/count_tokens") {
                    let of = json!({
                        "of": "provider", "api": provider.api, "client": client.name(),
                        "answers": judged == Judged::Everything && exchange.is_whole,
                    });
                    self.exchanges.push(record(of, &exchange));
                }
            }
        }
        saw
    }

    /// How many requests to a provider of this format said so.
    pub fn sent(&self, api: &str, what: &str) -> usize {
        let to = self.exchanges.iter().filter(|e| e["api"] == api);
        to.filter(|e| e["sent"].as_str().is_some_and(|sent| sent.contains(what)))
            .count()
    }

    /// All that was said so far is as the SDKs want it. Returns how much of each kind that was.
    pub async fn judge(&self) -> Value {
        let file = format!("target/tests/{}-{}.jsonl", self.name, std::process::id());
        let file = render::root().join(file);
        let lines: String = self.exchanges.iter().map(|e| format!("{e}\n")).collect();
        std::fs::write(&file, lines).expect("a file");
        let said = scenes::python("judge_wire.py", &[file.display().to_string()]).await;
        std::fs::remove_file(&file).expect("the file");
        serde_json::from_slice(&said).expect("one JSON object")
    }
}

fn record(mut of: Value, exchange: &Exchange) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    of["path"] = json!(exchange.path);
    of["sent"] = json!(text(&exchange.sent));
    of["status"] = json!(exchange.status);
    of["type"] = json!(exchange.headers.text("content-type").unwrap_or_default());
    of["answer"] = json!(text(&exchange.answer));
    of
}

/// At least one of each of these kinds was judged.
pub fn has_judged(judged: &Value, kinds: &[&str]) {
    for kind in kinds {
        assert!(
            judged[kind].as_u64().is_some_and(|n| n > 0),
            "no {kind}: {judged}"
        );
    }
}
