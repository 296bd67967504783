//! Scenes that the official SDKs play, unmodified, against whatever serves a port: `tests/fixtures/sdk_formats.py`.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::render;

/// All scenes of a run; generous, since machines are shared.
const PATIENCE: Duration = Duration::from_secs(200);

/// What the scenes saw, by `scene:model`. `base` is the base URL's path; `scenes` are `scene:model`, or `sdk:model` for
/// all of an SDK's.
pub async fn play(port: u16, base: &str, scenes: &[String]) -> Value {
    let url = format!("http://127.0.0.1:{port}{base}");
    let mut args = vec![url, "key-of-nobody".to_owned()];
    args.extend_from_slice(scenes);
    let stdout = python("sdk_formats.py", &args).await;
    serde_json::from_slice(&stdout).expect("one JSON object")
}

/// Runs a script of `tests/fixtures` with the packages that `make` installed; it must succeed. Returns what it printed.
pub async fn python(script: &str, args: &[String]) -> Vec<u8> {
    let python = render::root().join(".venv/bin/python");
    assert!(python.exists(), "no {}: run make test", python.display());
    let ran = tokio::process::Command::new(python)
        .arg(render::root().join("tests/fixtures").join(script))
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(PATIENCE, ran).await;
    let ran = ran.expect("the script ends").expect("python runs");
    let (out, err) = (&ran.stdout, String::from_utf8_lossy(&ran.stderr));
    assert!(
        ran.status.success(),
        "{script}: {}{err}",
        String::from_utf8_lossy(out)
    );
    ran.stdout
}

/// Each scene saw at least this much.
pub fn check(saw: &Value, expected: &Value) {
    for (scene, expected) in expected.as_object().expect("an object") {
        let got = &saw[scene];
        let Some(fields) = expected.as_object() else {
            assert_eq!(got, expected, "{scene}");
            continue;
        };
        for (field, expected) in fields {
            assert_eq!(got[field], *expected, "{scene}: {got}");
        }
    }
}
