//! Whether the filter is still alive after what a test did to it.

use crate::gateway::Gateway;
use crate::render::REFRESH_CLUSTER;

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
    if let Err(why) = deaths(gateway).await {
        panic!("after {after}: {why}");
    }
}

/// An error if a VM of any worker has died since Envoy started.
pub async fn deaths(gateway: &Gateway) -> Result<(), String> {
    for death in DEATHS {
        match gateway.envoy.stat(death).await? {
            Some(0) => {}
            // An upstream filter's has another name there.
            None if gateway.envoy.settings.version < REFRESH_CLUSTER => {}
            count => return Err(format!("a VM has died: {death} is {count:?}")),
        }
    }
    match gateway.log().lines().find(|line| line.contains("panicked")) {
        Some(line) => Err(format!("the filter panicked: {line}")),
        None => Ok(()),
    }
}
