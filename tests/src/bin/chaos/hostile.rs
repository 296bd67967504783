//! Hostile clients, and whether they or a hundred thousand requests of all kinds leave a mark on the gateway.

use std::collections::BTreeSet;
use std::time::Instant;

use pointsman_tests::chaos::hostile::client::{Crowd, Outcome};
use pointsman_tests::chaos::hostile::leak::{self, Growth, Mix, UNIT};
use pointsman_tests::chaos::hostile::memory::Memory;
use pointsman_tests::chaos::hostile::{self, Honest};
use pointsman_tests::gateway::Gateway;

use super::options::Options;

/// What `--only` names it by.
pub const NAME: &str = "hostile";

const AT_ONCE: usize = 50;
const WORKERS: u32 = 2;
/// Headers are looked at after so many: the providers remember them all.
const PART: u64 = 1000;

/// Bytes for every [`UNIT`] requests that memory may grow by.
const LIMIT: i64 = 256 << 10;

pub async fn leaves_no_mark(options: &Options) -> Result<bool, String> {
    let gateway = hostile::start("hostile", WORKERS, |_| {}).await?;
    let mut fails = of_clients(&gateway, options).await?;
    fails.extend(of_memory(&gateway, options).await?);
    for why in &fails {
        let seed = options.run.seed;
        println!(
            "FAILED {NAME}: {why}; again: make chaos CHAOS_ARGS='--seed {seed} --only {NAME}'"
        );
    }
    Ok(fails.is_empty())
}

/// What hostile clients did that they must not be able to do.
async fn of_clients(gateway: &Gateway, options: &Options) -> Result<Vec<String>, String> {
    let honest = Honest::of(gateway).await?;
    let mut outcome = Outcome::default();
    let mut smuggled = BTreeSet::new();
    let begun = Instant::now();
    let clients = options.leak.div_ceil(10);
    for part in 0..clients.div_ceil(PART) {
        let crowd = Crowd {
            port: gateway.port(),
            clients: part * PART..clients.min((part + 1) * PART),
            at_once: AT_ONCE,
            seed: options.run.seed,
            only: None,
        };
        outcome.add(crowd.play().await);
        smuggled.extend(honest.smuggled(gateway));
    }
    println!("hostile clients              served  refused    ended");
    for (kind, tally) in &outcome.kinds {
        println!(
            "  {kind:24} {:8} {:8} {:8}",
            tally.served, tally.refused, tally.ended
        );
    }
    let took = begun.elapsed().as_secs_f64();
    println!("{} hostile clients in {took:.1}s", outcome.clients());
    let wrong = outcome.wrong.iter();
    let mut fails: Vec<String> = wrong.map(|(why, n)| format!("{n} times: {why}")).collect();
    if !smuggled.is_empty() {
        fails.push(format!(
            "a provider saw what a client smuggled: {smuggled:?}"
        ));
    }
    fails.extend(hostile::is_served(gateway).await.err());
    Ok(fails)
}

async fn of_memory(gateway: &Gateway, options: &Options) -> Result<Vec<String>, String> {
    let (resident, allocated) = grows(gateway, "with the filter", true, options).await?;
    let bare = hostile::start("hostile-bare", WORKERS, leak::strip).await?;
    grows(&bare, "bare Envoy", false, options).await?;
    let mut fails = Vec::new();
    for (what, grown) in [("resident", resident), ("allocated", allocated)] {
        if grown > LIMIT {
            fails.push(format!(
                "{what} memory grows by {} KiB for every {UNIT} requests; {} KiB are allowed",
                grown >> 10,
                LIMIT >> 10
            ));
        }
    }
    fails.extend(hostile::is_served(gateway).await.err());
    Ok(fails)
}

/// Bytes for every [`UNIT`] requests: resident and allocated.
async fn grows(
    gateway: &Gateway,
    who: &str,
    judged: bool,
    options: &Options,
) -> Result<(i64, i64), String> {
    let mix = Mix {
        port: gateway.port(),
        at_once: AT_ONCE,
        seed: options.run.seed,
        judged,
    };
    let kib = |bytes: u64| bytes >> 10;
    let show = |requests: u64, memory: Memory| {
        if !options.brief {
            println!(
                "  {who}: after {requests:6} requests {:7} KiB resident, {:6} KiB allocated",
                kib(memory.resident),
                kib(memory.allocated)
            );
        }
    };
    let begun = Instant::now();
    let growth = Growth::measure(gateway, mix, options.leak, show).await?;
    let [resident, allocated] = growth.per_unit();
    println!(
        "memory {who}, {} requests in {:.1}s after warming up: resident {} to {} KiB, allocated {} to {} KiB; for every {UNIT} \
         requests {:+.1} and {:+.1} KiB",
        growth.requests,
        begun.elapsed().as_secs_f64(),
        kib(growth.before.resident),
        kib(growth.after.resident),
        kib(growth.before.allocated),
        kib(growth.after.allocated),
        resident as f64 / 1024.0,
        allocated as f64 / 1024.0,
    );
    Ok((resident, allocated))
}
