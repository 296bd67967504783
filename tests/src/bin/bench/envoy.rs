//! An Envoy process that is measured: started for the bench, ended with its owner.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pointsman_tests::client;

use crate::Result;
use crate::scenario::request;

/// Compiling the filter takes most of it, on a busy machine.
const START: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Envoy {
    pub name: String,
    pub port: u16,
    child: Child,
    log: PathBuf,
}

/// Where an Envoy listens: both were free a moment ago.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub listener: u16,
    pub admin: u16,
}

impl Ports {
    pub fn free() -> io::Result<Self> {
        let (a, b) = (
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
        );
        Ok(Self {
            listener: a.local_addr()?.port(),
            admin: b.local_addr()?.port(),
        })
    }
}

impl Envoy {
    /// Starts `binary` in `dir` with `bootstrap`, a path that may be relative to `dir`, and waits until a chat completion
    /// is answered 200. Access logs on standard output are formatted and thrown away; the rest is in `dir/envoy.log`.
    pub async fn start(
        name: &str,
        binary: &Path,
        dir: &Path,
        bootstrap: &Path,
        ports: Ports,
        concurrency: u32,
    ) -> Result<Self> {
        let log = dir.join("envoy.log");
        let child = Command::new(binary)
            .arg("--config-path")
            .arg(bootstrap)
            .args([
                "--concurrency",
                &concurrency.to_string(),
                "--log-level",
                "warning",
                "--disable-hot-restart",
            ])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut envoy = Self {
            name: name.to_owned(),
            port: ports.listener,
            child,
            log,
        };
        envoy.wait_ready(ports.admin).await?;
        Ok(envoy)
    }

    async fn wait_ready(&mut self, admin: u16) -> Result<()> {
        let end = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!(
                    "{}: Envoy ended with {status}\n{}",
                    self.name,
                    self.log_tail()
                )
                .into());
            }
            if client::get(admin, "/ready", &[])
                .await
                .is_ok_and(|reply| reply.status == 200)
            {
                let answer = client::send(self.port, &request(false)).await;
                match answer {
                    Ok(reply) if reply.status == 200 => return Ok(()),
                    other if Instant::now() > end => {
                        let got = other.map(|reply| format!("{} {}", reply.status, reply.text()));
                        return Err(format!(
                            "{}: no answer yet: {got:?}\n{}",
                            self.name,
                            self.log_tail()
                        )
                        .into());
                    }
                    _ => {}
                }
            }
            if Instant::now() > end {
                return Err(format!(
                    "{}: Envoy is not ready after {START:?}\n{}",
                    self.name,
                    self.log_tail()
                )
                .into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// CPU time of all threads of the process, user and system.
    pub fn cpu(&self) -> io::Result<Duration> {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        scheduled(&proc).or_else(|_| ticks(&proc))
    }

    /// Resident bytes.
    pub fn resident(&self) -> io::Result<u64> {
        pointsman_tests::envoy::memory(self.child.id(), "VmRSS")
    }

    /// The end of what Envoy logged.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In nanoseconds, where the kernel counts them. Envoy keeps its threads, so none is missing from the sum.
fn scheduled(proc: &Path) -> io::Result<Duration> {
    let mut sum = 0;
    for task in std::fs::read_dir(proc.join("task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = text
            .split_whitespace()
            .next()
            .and_then(|n| n.parse::<u64>().ok());
        sum += on_cpu.ok_or_else(|| io::Error::other("schedstat without a number"))?;
    }
    Ok(Duration::from_nanos(sum))
}

/// utime and stime of `/proc/<pid>/stat`, in hundredths of a second (Linux's USER_HZ).
fn ticks(proc: &Path) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(proc.join("stat"))?;
    // The second field, the name, may hold spaces; the numbers begin after its parenthesis with the third.
    let numbers = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest)
        .unwrap_or_default();
    let field = |n: usize| {
        numbers
            .split_whitespace()
            .nth(n - 3)
            .and_then(|t| t.parse::<u64>().ok())
    };
    let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
    ticks
        .map(|ticks| Duration::from_millis(ticks * 10))
        .ok_or_else(|| io::Error::other("/proc/<pid>/stat has changed"))
}
