//! A real registry on loopback, and what pushes to it.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

use pointsman_tests::client::{Conn, Reply, request};
use pointsman_tests::k8s::kustomize::executable;
use tempfile::TempDir;

/// Debian's `docker-registry` with its storage in a folder of its own; both are gone when dropped.
pub struct Registry {
    server: Child,
    port: u16,
    skopeo: PathBuf,
    dir: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Where `make test` unpacks it, or on the `PATH`.
fn find(tool: &str) -> Option<PathBuf> {
    executable(".venv/registry/bin", tool)
}

impl Registry {
    /// `None` when the tools are missing, which is said past what the test harness captures.
    pub fn start() -> Option<Self> {
        let (Some(server), Some(skopeo)) = (find("docker-registry"), find("skopeo")) else {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                let _ = writeln!(
                    io::stderr(),
                    "skipped: pushing the image to a registry; install docker-registry and skopeo, or run `make test` on Debian"
                );
            });
            return None;
        };
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("config.yml");
        let settings = serde_json::json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": dir.path().join("storage")}},
            "http": {"addr": "127.0.0.1:0"},
        });
        fs::write(&config, settings.to_string()).expect("its configuration");
        let mut server = Command::new(server)
            .arg("serve")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");
        let mut log = BufReader::new(server.stderr.take().expect("its log")).lines();
        let port = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| port_in(&line));
        let registry = Self {
            server,
            port: port.expect("docker-registry ended before it listened"),
            skopeo,
            dir,
        };
        // The log goes on coming: it must not fill the pipe.
        std::thread::spawn(move || log.map_while(Result::ok).count());
        Some(registry)
    }

    /// Pushes a layout's image under its own tag, as `make image` tells its user to.
    pub fn push(&self, layout: &Path, repository: &str, tag: &str, options: &[&str]) {
        let pushed = Command::new(&self.skopeo)
            // Debian's package brings the policy that is the default; an unpacked one has none.
            .args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
            ])
            .args(options)
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!(
                "docker://127.0.0.1:{}/{repository}:{tag}",
                self.port
            ))
            // Neither its user's credentials nor its cache; root's would be one of the system.
            .env("_CONTAINERS_ROOTLESS_UID", "1")
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.dir.path())
            .env("XDG_DATA_HOME", self.dir.path())
            .output()
            .expect("skopeo starts");
        let said = String::from_utf8_lossy(&pushed.stderr);
        assert!(pushed.status.success(), "skopeo: {said}");
    }

    pub async fn get(&self, path: &str, accept: &str) -> io::Result<Reply> {
        let mut conn = Conn::open(self.port).await?;
        let headers: &[(&[u8], &[u8])] = &[(b"accept", accept.as_bytes())];
        conn.send(&request("GET", path, headers, b"")).await?;
        conn.reply().await
    }
}

/// `… msg="listening on 127.0.0.1:40123" …`
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
