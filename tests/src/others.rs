//! Stand-ins that others wrote, from PyPI: what our own would take for granted, they may do otherwise.
//!
//! A server is a child process on a free port of loopback, and ends when it is dropped. Neither is strict: they answer
//! requests that a provider would refuse, and know nothing of thinking.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{client, render};

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

/// Python, with its imports, on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);

// === impl Other ===

impl Other {
    /// <https://pypi.org/project/fakellm/>: OpenAI's chat completions and Anthropic's Messages, scripted by
    /// `tests/fixtures/fakellm.yaml`. A stream ends without usage, also when it was asked for.
    pub async fn fakellm() -> Result<Self, String> {
        let config = render::root().join("tests/fixtures/fakellm.yaml");
        let config = config.display().to_string();
        let paths = Paths {
            openai: "",
            anthropic: "",
            gemini: None,
        };
        let options = ["--config", config.as_str()];
        Self::start("fakellm", &options, "/_fakellm/stats", paths).await
    }

    /// <https://pypi.org/project/llmock/>: many formats, each below a path of its own, Gemini under `v1beta`. It calls
    /// the tool offered that fits best until there is a result, and answers text by quoting the question.
    pub async fn llmock() -> Result<Self, String> {
        let paths = Paths {
            openai: "",
            anthropic: "/anthropic",
            gemini: Some("/gemini"),
        };
        let options = ["--response-style", "echo", "--log-level", "warning"];
        Self::start("llmock", &options, "/health", paths).await
    }

    async fn start(
        name: &str,
        options: &[&str],
        ready: &str,
        paths: Paths,
    ) -> Result<Self, String> {
        let program = render::root().join(".venv/bin").join(name);
        if !program.exists() {
            return Err(format!("no {}: run make test", program.display()));
        }
        let port = free_port()?;
        let mut command = Command::new(&program);
        command
            .args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(options)
            .env_clear()
            // Configuration files of the working folder would be taken up.
            .current_dir(empty_folder()?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let mut other = Other { port, paths, child };
        let since = Instant::now();
        while since.elapsed() < STARTS_WITHIN {
            if let Ok(Some(status)) = other.child.try_wait() {
                return Err(format!("ended by itself, {status}: {command:?}"));
            }
            if client::get(port, ready, &[])
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

/// Free a moment ago.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    Ok(address.port())
}

fn empty_folder() -> Result<PathBuf, String> {
    let folder = render::root().join("target/tests/others");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}
