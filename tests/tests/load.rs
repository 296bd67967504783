//! Load: a provider that fails costs no request, however many there are at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pointsman_tests::client::chat_request;
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};
use pointsman_tests::load::{Load, Until};
use pointsman_tests::upstream::{Behaviour, refused_port};

const REQUESTS: u64 = 1000;
const CONCURRENCY: usize = 100;

/// Of a tier whose first target refuses.
const REFUSED: &str = "
  refused:
    description: the first refuses
    targets: [{provider: gamma, model: gamma-small}, {provider: beta, model: beta-small}]
providers:";

async fn start(name: &str, refused: u16, edit: fn(&Path)) -> Gateway {
    let one_shot = "timeouts: {first_token: 1s, one_shot: 10s}";
    let options = Options {
        policy: POLICY
            .replace("timeouts: {first_token: 1s, one_shot: 1s}", one_shot)
            .replace("\nproviders:", REFUSED),
        ports: vec![("gamma", refused)],
        edit,
        ..Options::default()
    };
    Gateway::start_with(name, options).await
}

/// Alpha, or whoever is first in the tier, does this: all is answered by beta. Says how often alpha was asked.
async fn all_by_beta(
    gateway: &Gateway,
    case: &str,
    fault: Behaviour,
    tier: &str,
    stream: bool,
) -> u64 {
    gateway.alpha.clear();
    gateway.beta.clear();
    gateway.alpha.set(fault);
    let request = chat_request(&[("x-llm-policy", tier)], &chat("auto", stream));
    let load = Load {
        tally: Some("x-routed-provider"),
        patience: Duration::from_secs(30),
        ..Load::new(
            gateway.port(),
            CONCURRENCY,
            Until::Requests(REQUESTS),
            request,
        )
    };
    let outcome = load.drive().await;
    let asked = gateway.alpha.counters().requests;
    println!(
        "{case}: {} by {:?}, p50 {} ms, p99 {} ms, {:.1?} in all, alpha asked {asked} times",
        outcome.summary(),
        outcome.tally,
        outcome.p50() / 1000,
        outcome.p99() / 1000,
        outcome.elapsed,
    );
    let expected = BTreeMap::from([("beta".to_owned(), REQUESTS)]);
    assert!(outcome.is_clean(), "{case}: {}", outcome.summary());
    assert_eq!(outcome.ok(), REQUESTS, "{case}");
    assert_eq!(outcome.tally, expected, "{case}");
    assert_eq!(outcome.done, if stream { REQUESTS } else { 0 }, "{case}");
    assert_eq!(gateway.beta.counters().requests, REQUESTS, "{case}");
    asked
}

fn eject_nobody(dir: &Path) {
    let path = dir.join("clusters.yaml");
    let text = std::fs::read_to_string(&path).expect("what was rendered");
    let rule = "enforcing_consecutive_local_origin_failure: ";
    let never = text.replace(&format!("{rule}100"), &format!("{rule}0"));
    assert_ne!(never, text);
    std::fs::write(&path, never).expect("written");
}

#[tokio::test]
async fn with_a_failing_first_provider_all_of_1000_requests_are_answered_by_the_second() {
    let refused = refused_port().expect("a port");
    // Every request meets the fault: nobody is spared it by an ejection.
    let gateway = start("load", refused.port, eject_nobody).await;
    use Behaviour as B;
    for (case, fault, stream) in [
        ("503", B::error(503), false),
        ("429", B::error(429), true),
        ("401", B::error(401), false),
        ("reset at once", B::ResetAtOnce, true),
        ("reset mid body", B::ResetMidBody, false),
        ("stalled before its first event", B::StallMidStream(0), true),
    ] {
        let asked = all_by_beta(&gateway, case, fault, "fast", stream).await;
        assert_eq!(asked, REQUESTS, "{case}");
    }
    all_by_beta(&gateway, "refused", B::Ok, "refused", false).await;
    drop(gateway);

    // As shipped: what breaks off again and again is left out, in the middle of all that.
    let gateway = start("load-ejecting", refused.port, |_| {}).await;
    for (case, fault, tier) in [
        ("refused, ejected", B::Ok, "refused"),
        ("stalled, ejected", B::StallAfterHeaders, "fast"),
    ] {
        let asked = all_by_beta(&gateway, case, fault, tier, true).await;
        assert!(asked < REQUESTS, "{case}: asked {asked} times");
    }
}
