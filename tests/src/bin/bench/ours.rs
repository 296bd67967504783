//! The Envoy that is measured: `envoy/` as it is served, with the filter.

use std::path::Path;

use pointsman_tests::envoy as served;
use pointsman_tests::render::{Endpoint, Role, Settings, render};

use crate::envoy::{Envoy, Ports};
use crate::{Result, Setup};

/// Renders `envoy/` into `setup.dir/ours` with every provider at `setup.provider_port`, and starts it. It has no
/// classifier: the requests name their tier.
pub async fn start_ours(setup: &Setup, concurrency: u32) -> Result<Envoy> {
    let ports = Ports::free()?;
    let dir = setup.dir.join("ours");
    let mut settings = Settings::for_test(&dir, served::version(&setup.binary)?)?;
    settings.port = ports.listener;
    settings.admin_port = ports.admin;
    let origin = format!("http://127.0.0.1:{}", setup.provider_port);
    for (cluster, role, base_url) in [
        ("openai", Role::OpenAi, Some(format!("{origin}/v1"))),
        ("anthropic", Role::Anthropic, Some(origin.clone())),
        ("gemini", Role::Gemini, Some(origin)),
        ("classifier", Role::Classifier, None),
    ] {
        let key = base_url.is_some().then_some("bench-key");
        let endpoint = Endpoint::new(role, base_url.as_deref(), key)?;
        settings.endpoints.insert(cluster.into(), endpoint);
    }
    render(&settings)?;
    let bootstrap = Path::new("bootstrap.yaml");
    Envoy::start("ours", &setup.binary, &dir, bootstrap, ports, concurrency).await
}
