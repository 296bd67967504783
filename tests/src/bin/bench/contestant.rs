//! Who is measured, and how each is started.
//!
//! All but the bare ones are `envoy/` as it is served, and differ in the Wasm file alone.

use std::path::Path;

use pointsman_tests::envoy as served;
use pointsman_tests::render::{Endpoint, PolicySource, Role, Settings, render};

use serde_norway::Value;

use crate::bare::start_bare;
use crate::envoy::{Envoy, Ports};
use crate::options::Options;
use crate::{Result, Setup};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contestant {
    /// No filter.
    Bare,
    /// Two empty Wasm roles that read the body and write it back: `tests/floor`.
    Floor,
    /// The filter.
    Ours,
    /// A second bare Envoy, in place of ours.
    Control,
    /// Another build of the filter.
    Against,
}

/// In the order that the report wants: bare, floor, the one that is judged, and whoever else.
pub fn contestants(options: &Options) -> Vec<Contestant> {
    let judged = match options.control {
        true => Contestant::Control,
        false => Contestant::Ours,
    };
    let mut all = vec![Contestant::Bare, Contestant::Floor, judged];
    all.extend(options.against.as_ref().map(|_| Contestant::Against));
    all
}

/// The turns of a round, as indices: rotated by one from round to round, so that after `n` rounds each was once at each
/// place, and then the other way round, so that nobody always follows the same one.
pub fn order(round: usize, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).map(|i| (i + round) % n).collect();
    if (round / n) % 2 == 1 {
        order.reverse();
    }
    order
}

// === impl Contestant ===

impl Contestant {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Control => "control",
            Self::Against => "against",
        }
    }

    pub async fn start(self, setup: &Setup, workers: u32) -> Result<Envoy> {
        match self {
            Self::Bare | Self::Control => start_bare(setup, self.name(), workers).await,
            Self::Floor => start_served(setup, self.name(), &setup.floor, workers, true).await,
            Self::Ours => start_served(setup, self.name(), &setup.ours, workers, true).await,
            Self::Against => {
                let wasm = setup.against.as_ref().ok_or("--against names no file")?;
                start_served(setup, self.name(), wasm, workers, true).await
            }
        }
    }
}

/// Renders `envoy/` into `setup.dir/<name>` with `wasm` as the filter and every provider at `setup.provider_port`, and
/// starts it. Of the classifiers it has the local one, if that: other requests name their tier.
async fn start_served(
    setup: &Setup,
    name: &str,
    wasm: &Path,
    workers: u32,
    local: bool,
) -> Result<Envoy> {
    let ports = Ports::free()?;
    let dir = setup.dir.join(name);
    let mut settings = Settings::for_test(&dir, served::version(&setup.binary)?)?;
    settings.wasm = wasm.to_owned();
    settings.policy = PolicySource::Text(policy(&settings.policy_text()?, local)?);
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
    Envoy::start(name, &setup.binary, &dir, bootstrap, ports, workers).await
}

/// The filter without its local model.
pub async fn start_without_local(setup: &Setup, workers: u32) -> Result<Envoy> {
    start_served(setup, "without-local", &setup.ours, workers, false).await
}

/// Whatever the model was taught, it decides, and for the tier that the other requests name: targets of another provider
/// would cost a translation.
const LOCAL: &str =
    "[local: {min_confidence: 0, tiers: {balanced: fast, quality: fast, reasoning: fast}}]";

/// The shipped policy with the local model alone, or with no classifier.
fn policy(shipped: &str, local: bool) -> Result<String> {
    let mut policy: Value = serde_norway::from_str(shipped)?;
    policy["classify"] = match local {
        true => serde_norway::from_str(LOCAL)?,
        false => Value::Sequence(Vec::new()),
    };
    Ok(serde_norway::to_string(&policy)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_is_as_often_at_each_place() {
        for n in [3, 4] {
            for block in 0..3 {
                let mut places = vec![vec![0; n]; n];
                for round in block * n..(block + 1) * n {
                    for (place, who) in order(round, n).into_iter().enumerate() {
                        places[who][place] += 1;
                    }
                }
                assert_eq!(places, vec![vec![1; n]; n], "{n} in block {block}");
            }
        }
        assert_eq!(order(1, 3), [1, 2, 0]);
        assert_eq!(order(4, 3), [0, 2, 1]);
    }

    #[test]
    fn the_third_is_judged() {
        let names = |options: Options| -> Vec<_> {
            contestants(&options)
                .into_iter()
                .map(Contestant::name)
                .collect()
        };
        let control = Options {
            control: true,
            ..Options::default()
        };
        let against = Options {
            against: Some("old.wasm".into()),
            ..Options::default()
        };
        assert_eq!(names(Options::default()), ["bare", "floor", "ours"]);
        assert_eq!(names(control), ["bare", "floor", "control"]);
        assert_eq!(names(against), ["bare", "floor", "ours", "against"]);
    }
}
