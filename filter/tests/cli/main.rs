//! The CLI as an operator meets it: arguments and files in, text and an exit code out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod check;
mod envoy;
mod eval;
mod explain;
mod readme;
mod train;

/// What a run printed.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn fixtures() -> PathBuf {
    root().join("tests/fixtures/cli")
}

/// Run in a folder, with standard input.
fn run_in(dir: &Path, args: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // It may end without reading all.
    let _ = child.stdin.take().expect("its input").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Run in the folder of the fixtures.
fn run(args: &[&str]) -> Ran {
    run_in(&fixtures(), args, b"")
}

#[test]
fn help_and_version_are_told() {
    for (args, part) in [
        (&["--help"][..], "Exit codes: 0"),
        (&["check", "--help"], "--envoy <DIR>"),
        (&["explain", "--help"], "--caller <NAME>"),
        (&["eval", "--help"], "--min-confidence <SHARE>"),
        (&["train", "--help"], "--leave-one-source-out"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let ran = run(args);
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{args:?}");
        assert!(ran.out.contains(part), "{args:?}: {}", ran.out);
    }
}

#[test]
fn misuse_is_one_line_and_code_2() {
    for (args, expected) in [
        (
            &[][..],
            "'pointsman' requires a subcommand but one was not provided [subcommands: check, explain, eval, train, help]; see pointsman --help",
        ),
        (
            &["check"],
            "the following required arguments were not provided: <POLICY>; see pointsman --help",
        ),
        (
            &["check", "gone.yaml"],
            "gone.yaml: there is no such file; check the path",
        ),
        (&["check", "."], ".: is a folder; name a file in it"),
        (
            &["check", "small.yaml", "--envoy", "gone"],
            "gone: cannot be read as a folder: No such file or directory (os error 2)",
        ),
        (
            &["explain", "policy.yaml", "gone.json"],
            "gone.json: there is no such file; check the path",
        ),
        (
            &["explain", "policy.yaml", "chat.json", "-H", "x-team"],
            "invalid value 'x-team' for '--header <NAME: VALUE>': write it as `name: value`; see pointsman --help",
        ),
        (
            &["explain", "policy.yaml", "chat.json", "--path", "/v2"],
            "--path /v2 is none that the policy routes (admit.paths, admit.messages_paths): /v1/chat/completions, /v1/messages",
        ),
        (
            &["explain", "-", "-"],
            "the policy and the request cannot both be standard input; name a file for one of them",
        ),
        (
            &["explain", "several.yaml", "chat.json"],
            "several.yaml: has several policies; say which by --at: [0], [1]",
        ),
        (
            &["check", "several.yaml", "--at", "data"],
            "several.yaml: no policy at data; there is one at [0], [1], [2]",
        ),
    ] {
        let ran = run(args);
        assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{args:?}");
        assert_eq!(ran.err, format!("pointsman: {expected}\n"), "{args:?}");
    }
}

/// A reader that leaves, as `head` does: it is no panic and no error.
#[test]
fn a_closed_output_is_no_panic() {
    let check = |args: &[&str], code: i32| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(args)
            .current_dir(fixtures())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stdout.take());
        let request = std::fs::read(fixtures().join("pinned.json")).expect("a fixture");
        let _ = child.stdin.take().expect("its input").write_all(&request);
        let output = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?} {err}");
        assert!(!err.contains("panic"), "{err}");
    };
    // This one waits for its input until its output is closed.
    check(&["explain", "policy.yaml", "-"], 0);
    check(&["check", "mistakes.yaml"], 1);
}
