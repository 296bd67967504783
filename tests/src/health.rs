//! Whether the filter is still alive after what a test did to it.

use crate::gateway::Gateway;

/// What a request through the filter's dead VM, or its replacement, would count.
const DEATHS: [&str; 2] = ["wasm.router.vm_reload", "wasm.provider.vm_reload"];

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
