//! What the README prints is what happens: its console blocks are run, its policy is parsed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use pointsman::policy::Policy;
use pointsman_tests::port::free_port;
use pointsman_tests::{policy_file, render};

fn readme() -> String {
    std::fs::read_to_string(render::root().join("README.md")).expect("README.md")
}

/// The bodies of the fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let opening = format!("\n```{language}\n");
    readme
        .split(&opening)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned())
        .collect()
}

/// `make run`'s binary, ended when dropped.
struct Serve {
    child: Child,
    port: u16,
}

impl Drop for Serve {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its Envoy.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        let _ = self.child.wait();
    }
}

fn serve() -> Serve {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
    for name in ["OPENAI", "ANTHROPIC", "GEMINI", "CLASSIFIER"] {
        command.env_remove(format!("{name}_API_KEY"));
        command.env_remove(format!("{name}_BASE_URL"));
    }
    let mut child = command
        .env_remove("POLICY")
        .env_remove("CLIENT_KEYS")
        .env("PORT", port.to_string())
        .env("ADMIN_PORT", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("serve starts");
    let stdout = child.stdout.take().expect("its output");
    let serve = Serve { child, port };
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains("serving http://")),
        "serve ended before it served; run `make test`, which installs Envoy and builds the filter"
    );
    // The access log goes on coming: it must not fill the pipe.
    std::thread::spawn(move || lines.count());
    serve
}

/// What differs from run to run.
fn masked(text: &str) -> String {
    let line = |line: &str| -> String {
        match line.split_once(": ") {
            Some((name @ ("date" | "x-classification-time"), _)) => format!("{name}: …"),
            // Weights are trained anew: which tier it is stays, how sure they are may not.
            Some((name @ "x-routing-confidence", "1.00")) => format!("{name}: 1.00"),
            Some((name @ "x-routing-confidence", _)) => format!("{name}: …"),
            Some((name @ "x-routing-reason", why)) if why.starts_with("local model: ") => {
                let tier = why.split(' ').nth(2).unwrap_or_default();
                format!("{name}: local model: {tier} …")
            }
            _ => masked_created(line.trim_end()),
        }
    };
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

/// `created` is when an answer was translated.
fn masked_created(line: &str) -> String {
    const KEY: &str = "\"created\":";
    match line.split_once(KEY) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}{KEY}…{rest}")
        }
        None => line.to_owned(),
    }
}

#[test]
fn the_console_blocks_print_what_they_say() {
    let serve = serve();
    // Those of the CLI are run by its own tests.
    let mut blocks = blocks("console");
    blocks.retain(|block| block.contains("curl "));
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        let (mut command, mut printed) = (String::new(), String::new());
        for line in block.lines() {
            let is_continued = command.ends_with('\\');
            if let Some(start) = line.strip_prefix("$ ") {
                command.push_str(start);
            } else if is_continued {
                command.pop();
                command.push_str(line);
            } else {
                printed.push_str(line);
                printed.push('\n');
            }
        }
        let command = command.replace(":10000/", &format!(":{}/", serve.port));
        let output = Command::new("bash")
            .args(["-c", &command])
            .output()
            .expect("bash");
        let output = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        assert_eq!(masked(&output), masked(&printed), "{command}");
    }
}

#[test]
fn the_policy_in_one_page_is_valid() {
    let policies: Vec<String> = blocks("yaml")
        .into_iter()
        .filter(|block| block.starts_with("version: 1"))
        .collect();
    assert_eq!(policies.len(), 1);
    let json = policy_file::to_json(&policies[0]).expect("YAML");
    if let Err(errors) = Policy::from_bytes(json.as_bytes()) {
        panic!("{errors}");
    }
}
