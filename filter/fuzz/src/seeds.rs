//! The targets' seeds, made of the cases under `tests/fixtures`, and of labelled prompts.
//!
//! A case holds what a target reads as a field of its own, so that a copy of its file would be no seed: a body is taken
//! out as it stands, a stream's events become server-sent events, and before them go the bytes that choose.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use pointsman::chat::request::Dialect;
use pointsman::health::record::{Failure, Moment};
use pointsman::health::table::Table;
use pointsman::health::{Cooldown, Key, Kind, Rules, Standing};
use pointsman::policy::{Api, Unsupported};
use pointsman::provider::sse::{Event, encode};
use pointsman::router::handover::set_attempts;
use pointsman::router::plan::{Plan, PlannedTarget};
use pointsman::telemetry::state::Attempts;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::asks::{ANTHROPIC, GEMINI, REFUSE};
use crate::local::small;

type Done = Result<(), Box<dyn Error>>;

/// What a target starts from.
#[derive(Debug)]
pub struct Seed {
    pub target: String,
    pub name: String,
    pub bytes: Vec<u8>,
}

/// A fixture: its fields as they stand.
type Case = BTreeMap<String, Box<RawValue>>;

/// Chunks of a few sizes; events of any.
const SPLIT: [u8; 4] = [0, 1, 7, 64];

/// All of them, in the order of their files' names; `root` is the repository.
pub fn seeds(root: &Path) -> Result<Vec<Seed>, Box<dyn Error>> {
    let fixtures = root.join("tests/fixtures");
    let mut seeds = Seeds { list: Vec::new() };
    for (part, from) in PARTS {
        let mut paths = Vec::new();
        for entry in fs::read_dir(fixtures.join(part))? {
            paths.push(entry?.path());
        }
        paths.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        paths.sort();
        for path in paths {
            let case: Case = serde_json::from_slice(&fs::read(&path)?)?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            from(
                &mut seeds,
                &format!("{}_{name}", part.replace('/', "_")),
                &case,
            )?;
        }
    }
    seeds.policy();
    seeds.classifier();
    seeds.handovers();
    seeds.health();
    seeds.local(&root.join("filter/model/test"))?;
    Ok(seeds.list)
}

type From = fn(&mut Seeds, &str, &Case) -> Done;

const PARTS: [(&str, From); 14] = [
    ("anthropic/request", |seeds, name, case| {
        seeds.chat(name, case, "anthropic_request", &ANTHROPIC)
    }),
    ("anthropic/answer", |seeds, name, case| {
        seeds.answer(name, case, "anthropic_answer", [0, 1])
    }),
    ("anthropic/stream", |seeds, name, case| {
        seeds.stream(name, case, Some("anthropic_stream"), [0, 1])
    }),
    ("anthropic/error", Seeds::error),
    ("gemini/request", |seeds, name, case| {
        seeds.chat(name, case, "gemini_request", &GEMINI)
    }),
    ("gemini/answer", |seeds, name, case| {
        seeds.answer(name, case, "gemini_answer", [1, 2])
    }),
    ("gemini/stream", |seeds, name, case| {
        seeds.stream(name, case, Some("gemini_stream"), [1, 2])
    }),
    ("gemini/error", Seeds::error),
    ("messages/request", Seeds::messages),
    ("messages/answer", |seeds, name, case| {
        seeds.answer(name, case, "messages_answer", [1, 0])
    }),
    ("messages/stream", |seeds, name, case| {
        seeds.stream(name, case, None, [1, 0])
    }),
    ("openai/stream", |seeds, name, case| {
        seeds.stream(name, case, None, [0, 0])
    }),
    ("messages/error", Seeds::error),
    ("openai/request", |seeds, name, case| {
        let body = field(case, &["body"]).unwrap_or_default();
        seeds.add("openai_request", name, &[&[3, 0, 0], &body]);
        Ok(())
    }),
];

struct Seeds {
    list: Vec<Seed>,
}

// === impl Seeds ===

impl Seeds {
    fn add(&mut self, target: &str, name: &str, parts: &[&[u8]]) {
        self.list.push(Seed {
            target: target.to_owned(),
            name: name.to_owned(),
            bytes: parts.concat(),
        });
    }

    fn chat(&mut self, name: &str, case: &Case, target: &str, models: &[&str]) -> Done {
        #[derive(Default, Deserialize)]
        struct Asked<'a> {
            model: Option<Cow<'a, str>>,
            unsupported: Option<Cow<'a, str>>,
        }
        let asked: Asked<'_> = match case.get("ask") {
            Some(asked) => serde_json::from_str(asked.get())?,
            None => Asked::default(),
        };
        let model = models
            .iter()
            .position(|model| asked.model.as_deref() == Some(*model));
        let model = u8::try_from(model.unwrap_or_default())?;
        let flags = match asked.unsupported.as_deref() {
            Some("refuse") => REFUSE,
            _ => 0,
        };
        let body = field(case, &["chat"]).unwrap_or_default();
        self.add(target, name, &[&[model, flags], &body]);
        self.add("chat_request", name, &[&[64, 64], &body]);
        self.adapt(name, [0, model], &body);
        Ok(())
    }

    fn messages(&mut self, name: &str, case: &Case) -> Done {
        let body = field(case, &["messages"]).unwrap_or_default();
        self.add("messages_request", name, &[&[0], &body]);
        self.add("messages_view", name, &[&[64, 64], &body]);
        self.adapt(name, [1, 2], &body);
        Ok(())
    }

    fn answer(&mut self, name: &str, case: &Case, target: &str, pair: [u8; 2]) -> Done {
        let body = field(case, &["answer", "chat", "text", "body"]).unwrap_or_default();
        self.add(target, name, &[&body]);
        self.adapt(name, pair, &body);
        Ok(())
    }

    /// `target`: that of a stream which tells the client of usage or does not.
    fn stream(&mut self, name: &str, case: &Case, target: Option<&str>, pair: [u8; 2]) -> Done {
        let stream = match field(case, &["sse"]) {
            Some(sse) => sse,
            None => events(case)?,
        };
        match target {
            Some(target) => self.add(target, name, &[&[1], &SPLIT, &stream]),
            None => {
                self.add("messages_stream", name, &[&SPLIT, &stream]);
                self.add("openai_stream", name, &[&SPLIT, &stream]);
            }
        }
        self.add("sse", name, &[&SPLIT, &stream]);
        self.adapt(name, pair, &stream);
        Ok(())
    }

    fn error(&mut self, name: &str, case: &Case) -> Done {
        let status = case.get("status").map_or("500", |status| status.get());
        let status: u16 = status.parse()?;
        let body = field(case, &["body"]).unwrap_or_default();
        self.add("errors", name, &[&status.to_be_bytes(), &body]);
        Ok(())
    }

    fn adapt(&mut self, name: &str, [client, api]: [u8; 2], body: &[u8]) {
        // A stream, whose usage is asked for.
        let flags = 4 | 8;
        self.add("adapt", name, &[&[client, api, flags], &SPLIT, body]);
    }

    /// A small model; and some of the labelled prompts that the model that ships is tested with, in many languages.
    fn local(&mut self, prompts: &Path) -> Done {
        #[derive(Deserialize)]
        struct Line {
            prompt: Option<String>,
            request: Option<serde_json::Value>,
        }
        const EVERY: usize = 7;
        self.add("local_model", "small", &[&small().to_bytes()]);
        let mut paths = Vec::new();
        for entry in fs::read_dir(prompts)? {
            paths.push(entry?.path());
        }
        paths.sort();
        for path in paths {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = fs::read_to_string(&path)?;
            for (number, line) in text.lines().enumerate().step_by(EVERY) {
                let line: Line = serde_json::from_str(line)?;
                // All of it the latest message; or the second half what is around it.
                let (split, text) = match (line.prompt, line.request) {
                    (Some(prompt), _) => (0, prompt),
                    (None, Some(request)) => (128, texts(&request).join("\n")),
                    (None, None) => continue,
                };
                self.add(
                    "local_text",
                    &format!("{name}_{number}"),
                    &[&[split, 255], text.as_bytes()],
                );
            }
        }
        Ok(())
    }

    /// No fixture: a policy with something of every part.
    fn policy(&mut self) {
        let policy = br#"{"version":1,"default_tier":"fast","tiers":{"fast":{"description":"short tasks","targets":[{"provider":"p","model":"m","weight":9},{"provider":"q","model":"n"}],"order":"weighted","sticky":"conversation","degrade":{"tier":"slow"},"timeouts":{"first_token":"5s"}},"slow":{"description":"long ones","targets":[{"provider":"q","model":"n"}],"degrade":{"answer":"later"}}},"providers":{"p":{"cluster":"p","api":"openai","host":"p.example","region":"eu"},"q":{"cluster":"q","api":"anthropic","headers":{"x-a":"1"}}},"models":{"m":{"context":400000,"input":["text","image"],"tools":true,"json_schema":true,"price":{"input":0.05,"output":0.4}},"n":{"max_tokens":4096}},"aliases":{"gpt":"m"},"caller":{"header":"x-who"},"callers":{"a":{"tiers":["fast"],"regions":["eu"],"order_providers":true}},"cooldown":{"base":"5s","max":"5m"},"retry_budget":{"ratio":0.2,"min_per_second":2},"cache":{"entries":9},"classify":[{"rules":[{"when":{"words":["prove"]},"tier":"slow"}]},{"local":{"min_confidence":0.7}},{"llm":{"cluster":"c","model":"k","timeout":"800ms"}}]}"#;
        self.add("policy", "all", &[policy]);
    }

    /// No fixture: a whole reply, and contents of one.
    fn classifier(&mut self) {
        let body = br#"{"choices":[{"message":{"content":"fast"}}]}"#;
        self.add("classifier_reply", "body", &[&[0], body]);
        let json = br#"{"tier":"fast","reason":"it is short","estimated_complexity":"low"}"#;
        self.add("classifier_reply", "json", &[&[1], json]);
        self.add(
            "classifier_reply",
            "fenced",
            &[&[1], b"```json\n", json, b"\n```"],
        );
        self.add("classifier_reply", "word", &[&[1], b"**Quality**."]);
    }

    /// No fixture: plans of no target, and of two.
    fn handovers(&mut self) {
        let target = PlannedTarget {
            is_degraded: false,
            provider: "p",
            cluster: "c",
            api: Api::Gemini,
            host: "h",
            path: Cow::Borrowed("/v1"),
            model: "m",
            sent_as: "s",
            max_tokens: 4096,
            context: 0,
            unsupported: Unsupported::Refuse,
            prompt_cache: true,
            stream_usage: true,
            key: Key(7),
            standing: Standing::Probe,
            headers: vec![("x-a", "1"), ("x-b", "")],
        };
        for (name, targets) in [("none", vec![]), ("two", vec![target.clone(), target])] {
            let plan = Plan {
                body_len: 99,
                model_span: 9..15,
                client: Dialect::Messages,
                stream: true,
                include_usage: true,
                has_reasoning: true,
                many_choices: false,
                tier: "fast",
                degraded_to: "",
                hold_answer: 1 << 20,
                attempt_timeout_ms: 30_000,
                health: Rules::default(),
                user_agent: Some("sdk"),
                told: vec![("x-routing-tier", "fast")],
                targets,
            };
            let mut bytes = plan.encode();
            self.add("handover", name, &[&bytes]);
            let outcomes = "p=503".to_owned();
            let attempts = Attempts {
                begun: 1,
                target: 0,
                next: 1,
                outcomes,
            };
            set_attempts(&mut bytes, &attempts);
            self.add("handover", &format!("{name}_retried"), &[&bytes]);
        }
    }

    /// No fixture: tables of one target and of two, a second after they opened, and an error that is read for its limits.
    fn health(&mut self) {
        let (opened, cooldown) = (1_738_319_400_000, Cooldown::default());
        let clock = u64::to_le_bytes(opened + 1000);
        let mut table = Table::default();
        for (key, kind, name) in [(1, Kind::Quota, "one"), (2, Kind::RateLimit, "two")] {
            let failure = Failure {
                kind,
                wait: Some(2000),
                begun: opened,
            };
            let moment = Moment {
                now: opened,
                cooldown: &cooldown,
                random: 3,
            };
            table.with(Key(key), |record| {
                record.failed(failure, Standing::Healthy, moment)
            });
            self.add("health", name, &[&clock, &table.encode()]);
        }
        let error = br#"[{"error":{"code":429,"details":[{"violations":[{"quotaId":"PerDay"}]},{"retryDelay":"34s"}]}}]"#;
        self.add("health", "error", &[&clock, error]);
        let date = b"Fri, 31 Jan 2025 10:30:00 GMT";
        self.add("health", "date", &[&clock, date]);
    }
}

// === reading ===

/// What the messages of a request say.
fn texts(request: &serde_json::Value) -> Vec<&str> {
    let messages = request["messages"].as_array().into_iter().flatten();
    messages
        .filter_map(|message| message["content"].as_str())
        .collect()
}

/// The first field that there is: a string's text, which stands for bytes that may be no JSON, or JSON without its
/// white space, so that a mutation hits what counts.
fn field(case: &Case, names: &[&str]) -> Option<Vec<u8>> {
    let value = names.iter().find_map(|name| case.get(*name))?;
    Some(plain(value))
}

fn plain(value: &RawValue) -> Vec<u8> {
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) => text.into_bytes(),
        Err(_) => compact(value.get()),
    }
}

/// Numbers, escapes, the order of keys and keys that come twice stay.
fn compact(json: &str) -> Vec<u8> {
    let (mut in_string, mut is_escaped) = (false, false);
    let stays = |byte: &u8| {
        let stays = in_string || !byte.is_ascii_whitespace();
        in_string ^= *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        stays
    };
    json.bytes().filter(stays).collect()
}

/// Server-sent events, named as Anthropic names them where they have a type.
fn events(case: &Case) -> Result<Vec<u8>, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(rename = "type")]
        kind: Cow<'a, str>,
    }
    let list = case.get("chunks").or_else(|| case.get("events"));
    let list: Vec<&RawValue> = serde_json::from_str(list.ok_or("no events")?.get())?;
    let mut stream = Vec::new();
    for event in list {
        let frame: Option<Frame<'_>> = serde_json::from_str(event.get()).ok();
        let data = plain(event);
        let event = Event {
            event: frame.as_ref().map_or(b"", |frame| frame.kind.as_bytes()),
            data: &data,
        };
        encode(event, &mut stream);
    }
    Ok(stream)
}
