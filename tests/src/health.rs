//! Whether the filter is still alive after what a test did to it.

use crate::gateway::Gateway;

/// What a request that meets a dead VM counts.
const DEATHS: [&str; 4] = [
    "wasm.router.vm_reload_success",
    "wasm.router.vm_reload_backoff",
    "wasm.provider.vm_reload_success",
    "wasm.provider.vm_reload_backoff",
];

/// The next request is served, by the VM that was there before. `after` names what was done.
pub async fn check(gateway: &Gateway, after: &str) {
    let reply = gateway.chat(&[("x-llm-policy", "single")], "auto").await;
    assert_eq!(reply.status, 200, "after {after}: {}", reply.text());
    assert_eq!(reply.content(), "alpha answers as alpha-small");
    for death in DEATHS {
        let count = gateway.envoy.stat(death).await.expect("Envoy's stats");
        assert_eq!(count, Some(0), "{death} after {after}");
    }
    let log = gateway.log();
    let panicked = log.lines().find(|line| line.contains("panicked"));
    assert_eq!(panicked, None, "after {after}");
}
