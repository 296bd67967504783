//! A real Envoy: started from a rendered folder, asked through its admin port, ended by its id.
//!
//! Many run side by side: hot restart is off, and with port 0 Envoy picks its own ports. An `Envoy` that is dropped is gone.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::policy_file;
use crate::render::{self, Settings, Version};

/// Compiling the filter takes most of it; a loaded machine with many Envoys starting at once takes longer.
const START: Duration = Duration::from_secs(60);
const RELOAD: Duration = Duration::from_secs(20);
const ADMIN: Duration = Duration::from_secs(10);
/// Between two looks at Envoy.
const POLL: Duration = Duration::from_millis(20);
/// Lines of its log that are kept to explain its end.
const LAST_LINES: usize = 20;

/// Where Envoy's log and access log go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// `envoy.log` and `access.log` in the run's folder.
    Files,
    /// Standard error and standard output.
    Terminal,
}

#[derive(Debug)]
pub struct Envoy {
    child: Child,
    pub settings: Settings,
    /// Where clients connect.
    pub port: u16,
    pub admin_port: u16,
    log: Log,
    /// The last policy that Envoy took.
    in_force: Option<String>,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ENVOY`, or the one that `make` installed, or the first on the PATH.
pub fn find() -> Result<PathBuf, String> {
    if let Some(path) = render::var("ENVOY")? {
        return Ok(path.into());
    }
    let venv = render::root().join(".venv/lib");
    let pythons = std::fs::read_dir(venv).into_iter().flatten().flatten();
    let installed = pythons.map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("envoy"));
    let found = installed.chain(on_path).find(|envoy| envoy.is_file());
    found.ok_or_else(|| "no Envoy: run `make envoy`, or name one by ENVOY=/path/to/envoy".into())
}

/// What `envoy --version` says.
pub fn version(envoy: &Path) -> Result<Version, String> {
    let fail = |e: &str| format!("{} --version: {e}", envoy.display());
    let out = Command::new(envoy)
        .arg("--version")
        .output()
        .map_err(|e| fail(&e.to_string()))?;
    parse_version(&String::from_utf8_lossy(&out.stdout)).ok_or_else(|| fail("says no version"))
}

/// Bytes of memory of a process, by their name in `/proc/<pid>/status`: `VmRSS`, `RssAnon`.
pub fn memory(process: u32, name: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = |line: &str| {
        let kib = line.strip_prefix(name)?.strip_prefix(':')?;
        kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let kib = status.lines().find_map(value);
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other(format!("no {name} in /proc/{process}/status")))
}

/// `…/envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`
fn parse_version(text: &str) -> Option<Version> {
    let release = text.rsplit("version:").next()?.split('/').nth(1)?;
    let mut numbers = release.split(['.', '-']).map(|n| n.parse().ok());
    Some(Version(
        numbers.next()??,
        numbers.next()??,
        numbers.next()??,
    ))
}

// === impl Envoy

impl Envoy {
    /// Renders, starts, and waits until Envoy listens. The error says why it does not, in its own last words.
    pub async fn start(
        binary: &Path,
        settings: Settings,
        concurrency: u32,
        output: Output,
    ) -> Result<Self, String> {
        render::render(&settings)?;
        Self::start_rendered(binary, settings, concurrency, output).await
    }

    /// As [`Envoy::start`], from what is in `settings.out_dir` already.
    pub async fn start_rendered(
        binary: &Path,
        settings: Settings,
        concurrency: u32,
        output: Output,
    ) -> Result<Self, String> {
        let dir = &settings.out_dir;
        let admin_file = dir.join("admin-address");
        let _ = std::fs::remove_file(&admin_file);
        let binary = binary
            .canonicalize()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let file = |name: &str| {
            File::create(dir.join(name)).map_err(|e| format!("{}/{name}: {e}", dir.display()))
        };
        let mut command = Command::new(&binary);
        command
            .current_dir(dir)
            .args(["-c", "bootstrap.yaml", "--disable-hot-restart"])
            .args(["--admin-address-path", "admin-address"])
            .args(["--concurrency", &concurrency.to_string()])
            // The filter's own lines from `info`; `misc` warns of every API that is still young.
            .args([
                "-l",
                "warning",
                "--component-log-level",
                "wasm:info,misc:error",
            ])
            .args(["--file-flush-interval-msec", "100"])
            .stdin(Stdio::null())
            // A Ctrl-C in the terminal reaches only us; Envoy ends when we end it.
            .process_group(0);
        match output {
            Output::Files => command
                .stdout(file("access.log")?)
                .stderr(file("envoy.log")?),
            Output::Terminal => command.stdout(Stdio::inherit()).stderr(Stdio::piped()),
        };
        let mut child = command
            .spawn()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let log = match child.stderr.take() {
            Some(stderr) => Log::show(stderr),
            None => Log::File(dir.join("envoy.log")),
        };
        let mut envoy = Envoy {
            child,
            port: settings.port,
            admin_port: settings.admin_port,
            settings,
            log,
            in_force: None,
        };
        envoy.wait_until_ready(&admin_file).await?;
        Ok(envoy)
    }

    async fn wait_until_ready(&mut self, admin_file: &Path) -> Result<(), String> {
        let until = Instant::now() + START;
        loop {
            if let Some(status) = self.exited() {
                return Err(format!("Envoy did not start: {}", self.last_words(status)));
            }
            if Instant::now() > until {
                return Err(format!(
                    "Envoy is not ready after {START:?}; its last lines:\n{}",
                    self.last_lines()
                ));
            }
            sleep(POLL).await;
            if let Ok(address) = std::fs::read_to_string(admin_file)
                && let Some(port) = address
                    .trim()
                    .rsplit(':')
                    .next()
                    .and_then(|p| p.parse().ok())
            {
                self.admin_port = port;
                if self
                    .get("/ready")
                    .await
                    .is_ok_and(|text| text.starts_with("LIVE"))
                {
                    break;
                }
            }
        }
        for part in [
            "listener_manager.lds",
            "cluster_manager.cds",
            "http.ai.rds.ai",
        ] {
            if self
                .stat(&format!("{part}.update_rejected"))
                .await?
                .unwrap_or(0)
                > 0
            {
                return Err(format!(
                    "Envoy refused its configuration ({part}); its last lines:\n{}",
                    self.last_lines()
                ));
            }
        }
        self.port = self.listening_port("ai").await?;
        if self.has_policy().await? {
            self.in_force = render::written_policy(&self.settings)?;
        }
        Ok(())
    }

    async fn listening_port(&self, listener: &str) -> Result<u16, String> {
        // Lines of `ai::127.0.0.1:10000`.
        let text = self.get("/listeners").await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(listener)?.strip_prefix("::"));
        let port = line.and_then(|address| address.rsplit(':').next()?.parse().ok());
        port.ok_or_else(|| format!("no listener {listener:?} in Envoy's /listeners"))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `Some` once it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it in order, so that its access log is written out.
    pub async fn stop(mut self) {
        let _ = self.request("POST", "/quitquitquit").await;
        let until = Instant::now() + Duration::from_secs(3);
        while self.exited().is_none() && Instant::now() < until {
            sleep(POLL).await;
        }
    }

    /// Why it ended, in one paragraph.
    pub fn last_words(&self, status: ExitStatus) -> String {
        format!("{status}; its last lines:\n{}", self.last_lines())
    }

    pub fn last_lines(&self) -> String {
        self.log.last_lines()
    }

    // === admin

    pub async fn get(&self, path: &str) -> Result<String, String> {
        self.request("GET", path).await
    }

    /// One counter or gauge; `None` if Envoy has none of that name.
    pub async fn stat(&self, name: &str) -> Result<Option<u64>, String> {
        let text = self
            .get(&format!("/stats?filter=^{}$", name.replace('.', "\\.")))
            .await?;
        Ok(text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok()))
    }

    async fn request(&self, method: &str, path: &str) -> Result<String, String> {
        let exchange = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port)).await?;
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let fail = |e: &str| format!("Envoy's admin port, {method} {path}: {e}");
        let answer = timeout(ADMIN, exchange)
            .await
            .map_err(|_| fail("no answer"))?
            .map_err(|e| fail(&e.to_string()))?;
        body(&answer).ok_or_else(|| fail("not an HTTP answer"))
    }

    // === policy

    /// Replaces the policy by this YAML, checked first as `make run` does, and waits until Envoy routes by it.
    pub async fn rewrite_policy(&mut self, yaml: &str) -> Result<Reload, String> {
        let json = policy_file::prepare(yaml, &self.settings.endpoints)?.json;
        self.reload(&json).await
    }

    /// Hands Envoy this policy as it stands, valid or not, and waits for its verdict.
    pub async fn reload(&mut self, json: &str) -> Result<Reload, String> {
        // Envoy compares as well: it reads a policy that it has, and does nothing.
        let same = self.in_force.as_deref() == Some(json);
        let before = self.reloads().await?;
        render::write_policy(&self.settings, json)?;
        let until = Instant::now() + RELOAD;
        while Instant::now() < until {
            sleep(POLL).await;
            let now = self.reloads().await?;
            if now.refused > before.refused {
                return Err(match &self.log {
                    Log::Shown(_) => "Envoy refused it, for the reason in its log above".into(),
                    Log::File(_) => format!("Envoy refused the policy: {}", self.last_lines()),
                });
            }
            if same && now.read > before.read {
                return Ok(Reload::Same);
            }
            // Counted when every worker has it.
            if !same && now.taken > before.taken {
                self.in_force = Some(json.to_owned());
                return Ok(Reload::Taken);
            }
        }
        Err(format!(
            "Envoy did not look at the policy within {RELOAD:?}"
        ))
    }

    /// False when the policy that it started with was refused: every request is answered 500 then.
    pub async fn has_policy(&self) -> Result<bool, String> {
        // `config_reload` counts the refusal of a first policy too.
        Ok(self.reloads().await?.read > 0)
    }

    async fn reloads(&self) -> Result<Reloads, String> {
        let text = self
            .get("/stats?filter=^extension_config_discovery\\.http_filter\\.router\\.")
            .await?;
        let count = |name: &str| -> u64 {
            let line = text.lines().find_map(|l| {
                l.strip_prefix("extension_config_discovery.http_filter.router.")?
                    .strip_prefix(name)
            });
            line.and_then(|rest| rest.strip_prefix(": ")?.parse().ok())
                .unwrap_or(0)
        };
        Ok(Reloads {
            read: count("update_success"),
            taken: count("config_reload"),
            refused: count("config_fail") + count("update_rejected") + count("update_failure"),
        })
    }
}

/// What Envoy did with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    Taken,
    /// It is the one that Envoy has already.
    Same,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reloads {
    read: u64,
    taken: u64,
    refused: u64,
}

/// An answer's body, chunked or not; the connection was closed after it.
fn body(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (head, mut rest) = text.split_once("\r\n\r\n")?;
    if !head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return Some(rest.to_owned());
    }
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

// === log

/// Envoy's log, and its last lines.
#[derive(Debug)]
enum Log {
    File(PathBuf),
    Shown(Arc<Mutex<VecDeque<String>>>),
}

impl Log {
    /// Passes the log on to standard error.
    fn show(stderr: std::process::ChildStderr) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let keep = Arc::clone(&kept);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("{line}");
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LAST_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Log::Shown(kept)
    }

    fn last_lines(&self) -> String {
        let lines = match self {
            Log::Shown(kept) => kept.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Log::File(path) => {
                let text = std::fs::read(path)
                    .map(|b| String::from_utf8_lossy(&b).into_owned())
                    .unwrap_or_default();
                text.lines()
                    .rev()
                    .take(LAST_LINES)
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .collect()
            }
        };
        lines
            .into_iter()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let text = "/x/envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n\n";
        assert_eq!(parse_version(text), Some(Version(1, 40, 0)));
        assert_eq!(
            parse_version("envoy version: abc/1.36.4-dev/Modified/DEBUG/BoringSSL"),
            Some(Version(1, 36, 4))
        );
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn bodies() {
        assert_eq!(
            body(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").as_deref(),
            Some("ok")
        );
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(body(chunked).as_deref(), Some("abc0123456789"));
        assert_eq!(body(b"nonsense"), None);
    }
}
