//! Hostile clients of every kind, many at once, leave no mark. `make chaos CHAOS_ARGS='--only hostile'` plays ten times as many,
//! and looks for leaks.

use std::path::Path;
use std::time::Duration;

use pointsman_tests::chaos::hostile::client::Crowd;
use pointsman_tests::chaos::hostile::memory::Memory;
use pointsman_tests::chaos::hostile::{self, Honest, PONDERED, leak};
use pointsman_tests::edit;
use pointsman_tests::gateway::Gateway;
use pointsman_tests::upstream::Upstream;

/// The seed of every run, so that one that fails can be played again.
const SEED: u64 = 1;
const AT_ONCE: usize = 50;
const WARM_UP: u64 = 500;
const CLIENTS: u64 = 1000;

/// Bytes that [`CLIENTS`] may add to what is resident. They hold 3 MiB between them if 50 have sent their largest body.
const MAY_GROW: u64 = 4 << 20;

fn crowd(gateway: &Gateway, clients: std::ops::Range<u64>) -> Crowd {
    Crowd {
        port: gateway.port(),
        clients,
        at_once: AT_ONCE,
        seed: SEED,
        only: None,
    }
}

fn pondered(upstream: &Upstream) -> usize {
    let seen = upstream.requests();
    let pondered = seen
        .iter()
        .filter(|seen| seen.prompt("user").contains(PONDERED));
    pondered.count()
}

/// The filter must hold by itself: not every Envoy that it is put into has the shipped listener's list of names to remove.
fn without_envoys_guard(dir: &Path) {
    edit::yaml(dir, "listener.yaml", |document| {
        let manager =
            &mut document["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        let manager = manager.as_mapping_mut().expect("the connection manager");
        let guard = manager.remove("early_header_mutation_extensions");
        guard.expect("the names that Envoy removes");
    });
}

#[tokio::test]
async fn hostile_clients_of_every_kind_leave_no_mark() {
    let gateway = hostile::start("hostile", 2, without_envoys_guard).await;
    let gateway = gateway.expect("a gateway");
    let honest = Honest::of(&gateway).await.expect("honest requests");
    crowd(&gateway, 0..WARM_UP).play().await;
    let before = Memory::of(&gateway.envoy).await.expect("memory");
    let outcome = crowd(&gateway, WARM_UP..WARM_UP + CLIENTS).play().await;
    let after = Memory::of(&gateway.envoy).await.expect("memory");

    assert_eq!(outcome.clients(), CLIENTS);
    assert!(outcome.wrong.is_empty(), "{:#?}", outcome.wrong);
    // Some did leave while they were answered, and some while their question was classified: Envoy lets the callout come to
    // its end, and nothing goes on from there.
    let quiet = Duration::from_secs(5);
    let left = gateway
        .alpha
        .wait_for(quiet, |c| c.aborted > 0 && c.in_flight == 0);
    assert!(left.await, "{:?}", gateway.alpha.counters());
    let idle = gateway.classifier.wait_for(quiet, |c| c.in_flight == 0);
    assert!(idle.await, "{:?}", gateway.classifier.counters());
    let [asked, went_on] = [&gateway.classifier, &gateway.alpha].map(pondered);
    assert!(asked > went_on, "{asked} asked, {went_on} went on");
    let smuggled = honest.smuggled(&gateway);
    assert!(smuggled.is_empty(), "{smuggled:?}");
    let is_served = hostile::is_served(&gateway).await;
    is_served.expect("honest requests after hostile ones");
    let grown = after.resident.saturating_sub(before.resident);
    assert!(grown <= MAY_GROW, "{before:?} became {after:?}");
}

/// What the scene above looks for is there to be found: without the filter and Envoy's guard, it gets through.
#[tokio::test]
async fn without_the_filter_the_same_clients_smuggle() {
    let bare = |dir: &Path| {
        leak::strip(dir);
        without_envoys_guard(dir);
    };
    let gateway = hostile::start("hostile-bare", 1, bare)
        .await
        .expect("an Envoy");
    let honest = Honest::of_bare(&gateway).await.expect("honest requests");
    let smugglers = Crowd {
        only: Some("smuggled-headers"),
        ..crowd(&gateway, 0..CLIENTS)
    };
    assert!(smugglers.play().await.clients() > 0);
    let smuggled = honest.smuggled(&gateway);
    for name in [
        "x-pointsman-cluster",
        "x-routing-tier",
        "x-client-id",
        "x-routed-provider",
    ] {
        assert!(smuggled.contains(name), "{name}: {smuggled:?}");
    }
}
