//! Stand-ins that others wrote, from PyPI: what our own would take for granted, they may do otherwise.
//!
//! A server is a child process on a free port of loopback, and ends when it is dropped. None is strict: they answer
//! requests that a provider would refuse. What each says is scripted, see [`Part`].

mod script;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::port::free_port;
use crate::{client, render};
pub use script::{Line, Part};

/// One of these servers.
#[derive(Debug)]
pub struct Other {
    pub port: u16,
    /// Under which path it answers as which provider; `None`: it does not.
    pub paths: Paths,
    child: Child,
}

/// As SDKs read base URLs: `/v1/chat/completions` and so on come after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paths {
    pub openai: &'static str,
    pub anthropic: &'static str,
    pub gemini: Option<&'static str>,
}

/// How a server is started, and the path that answers once it has.
#[derive(Debug)]
struct Program<'a> {
    name: &'a str,
    command: &'a str,
    options: &'a [&'a str],
    ready: &'a str,
}

/// Python, with its imports, on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);

// === impl Other ===

impl Other {
    /// <https://pypi.org/project/fakellm/>: OpenAI's chat completions and Anthropic's Messages. A stream ends without
    /// usage, also when it was asked for, and never fails: a scripted status is a 200 there. It does not think.
    pub async fn fakellm(parts: &[Part]) -> Result<Self, String> {
        let config = written("fakellm", &script::fakellm(parts))?;
        let program = Program {
            name: "fakellm",
            command: "serve",
            options: &["--config", &config],
            ready: "/_fakellm/stats",
        };
        let paths = Paths {
            openai: "",
            anthropic: "",
            gemini: None,
        };
        Self::start(&program, paths).await
    }

    /// <https://pypi.org/project/llmock/>: many formats, each below a path of its own, Gemini under `v1beta`. Unscripted
    /// it calls the tool offered that fits best until there is a result, makes up an object for a schema (of Anthropic's
    /// it knows the beta's `output_format` only), and answers text by quoting the question. It does not think.
    pub async fn llmock(parts: &[Part]) -> Result<Self, String> {
        let program = Program {
            name: "llmock",
            command: "serve",
            options: &["--response-style", "echo", "--log-level", "warning"],
            ready: "/health",
        };
        let paths = Paths {
            openai: "",
            anthropic: "/anthropic",
            gemini: Some("/gemini"),
        };
        let other = Self::start(&program, paths).await?;
        if !parts.is_empty() {
            other.tell_llmock(&script::llmock(parts)).await?;
        }
        Ok(other)
    }

    /// <https://pypi.org/project/llm-mock-api/>: OpenAI's chat completions and Anthropic's Messages. The one that thinks,
    /// unsigned and in Anthropic's format only. A stream's last chunk has usage, asked for or not, beside an empty delta.
    pub async fn llm_mock_api(parts: &[Part]) -> Result<Self, String> {
        let rules = written("llm-mock-api", &script::llm_mock_api(parts))?;
        let program = Program {
            name: "llm-mock-api",
            command: "start",
            // By default each event waits for 200 ms.
            options: &["--rules", &rules, "--latency", "0", "--log-level", "none"],
            ready: "/openapi.json",
        };
        let paths = Paths {
            openai: "",
            anthropic: "",
            gemini: None,
        };
        Self::start(&program, paths).await
    }

    /// Further behaviours for its next requests, in the words of its `/_llmock/scenario`.
    pub async fn tell_llmock(&self, scenario: &Value) -> Result<(), String> {
        let scenario = scenario.to_string();
        let json: [(&[u8], &[u8]); 1] = [(b"content-type", b"application/json")];
        let request = client::request("POST", "/_llmock/scenario", &json, scenario.as_bytes());
        let reply = client::send(self.port, &request).await;
        let reply = reply.map_err(|e| e.to_string())?;
        match reply.status {
            201 => Ok(()),
            _ => Err(format!("llmock takes no script: {}", reply.text())),
        }
    }

    /// What `llmock report --strict` says of the resilience of those who asked it so far, and whether they passed.
    pub async fn llmock_report(&self) -> Result<(bool, Value), String> {
        let path = render::root().join(".venv/bin/llmock");
        let fail = |e: String| format!("{} report: {e}", path.display());
        let output = tokio::process::Command::new(&path)
            .args(["report", "--strict", "--json", "--url"])
            .arg(format!("http://127.0.0.1:{}", self.port))
            .env_clear()
            .output()
            .await
            .map_err(|e| fail(e.to_string()))?;
        let report = serde_json::from_slice(&output.stdout);
        let report = report
            .map_err(|e| fail(format!("{e}: {}", String::from_utf8_lossy(&output.stderr))))?;
        Ok((output.status.success(), report))
    }

    async fn start(program: &Program<'_>, paths: Paths) -> Result<Self, String> {
        let path = render::root().join(".venv/bin").join(program.name);
        if !path.exists() {
            return Err(format!("no {}: run make test", path.display()));
        }
        let port = free_port();
        let mut command = Command::new(&path);
        command
            .args([program.command, "--host", "127.0.0.1"])
            .args(["--port", &port.to_string()])
            .args(program.options)
            .env_clear()
            // Configuration files of the working folder would be taken up.
            .current_dir(empty_folder()?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command
            .spawn()
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let mut other = Other { port, paths, child };
        let since = Instant::now();
        while since.elapsed() < STARTS_WITHIN {
            if let Ok(Some(status)) = other.child.try_wait() {
                return Err(format!("ended by itself, {status}: {command:?}"));
            }
            if client::get(port, program.ready, &[])
                .await
                .is_ok_and(|r| r.status == 200)
            {
                return Ok(other);
            }
            tokio::time::sleep(POLL).await;
        }
        Err(format!("no answer within {STARTS_WITHIN:?}: {command:?}"))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn empty_folder() -> Result<PathBuf, String> {
    let folder = render::root().join("target/tests/others");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// A configuration file that no other test has.
fn written(name: &str, config: &Value) -> Result<String, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let file = format!("{name}-{}-{number}.json", std::process::id());
    let folder = render::root().join("target/tests/others-config");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let path = folder.join(file);
    std::fs::write(&path, config.to_string()).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path.display().to_string())
}
