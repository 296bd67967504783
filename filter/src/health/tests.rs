//! The circuit as its users see it: attempts that end, in workers that share a table, and what the next plans know.

use std::time::Duration;

use proptest::prelude::*;

use super::learn::{Attempt, Health};
use super::record::{Phase, Record};
use super::rules::millis;
use super::signs::Sign;
use super::table::{MAX_RECORDS, SIZE, Table, VERSION};
use super::when::When;
use super::*;
use crate::http::Host;
use crate::http::tests::Still;

const KEY: Key = Key(7);

/// Seconds of waiting are as they are said: no jitter (the middle of the range).
struct Fleet {
    host: Still,
    workers: [Health; 2],
    cooldown: Cooldown,
}

impl Fleet {
    fn new() -> Self {
        let fleet = Fleet {
            host: Still::at(1_000_000),
            workers: [Health::default(), Health::default()],
            cooldown: Cooldown::default(),
        };
        // Of ±1 s around 5 s this is nothing, and of the little more than what a provider asks for it is the least.
        fleet.host.random.set(1000 * 2001);
        fleet
    }

    fn now(&self) -> Millis {
        shared::now(&self.host)
    }

    fn standing(&self) -> Standing {
        let table = shared::read(&self.host);
        let record = table.get(KEY);
        record.map_or(Standing::Healthy, |r| {
            r.standing(self.now(), &self.cooldown)
        })
    }

    /// `closed`, `due`, `probing`, or the seconds for which it is open.
    fn phase(&self) -> String {
        let table = shared::read(&self.host);
        let record = table.get(KEY).copied().unwrap_or(Record::new(KEY));
        match record.phase(self.now(), &self.cooldown) {
            Phase::Closed => "closed".to_owned(),
            Phase::Due => "due".to_owned(),
            Phase::Probing => "probing".to_owned(),
            Phase::Open { until } => {
                format!(
                    "{}",
                    Duration::from_millis(until - self.now())
                        .as_secs_f64()
                        .round()
                )
            }
        }
    }

    /// An attempt of this worker, planned now with what is known.
    fn ends(&mut self, worker: usize, sign: Sign) -> Option<Change> {
        let standing = self.standing();
        self.ends_as(worker, standing, Duration::ZERO, sign)
    }

    /// One that was begun so long ago, and planned so.
    fn ends_as(
        &mut self,
        worker: usize,
        standing: Standing,
        ago: Duration,
        sign: Sign,
    ) -> Option<Change> {
        let attempt = Attempt {
            key: KEY,
            standing,
            started: self.host.now() - ago,
            cooldown: &self.cooldown,
        };
        self.workers[worker].learn(attempt, sign, &self.host)
    }

    fn claim(&self) -> bool {
        let timeout = Duration::from_secs(10);
        shared::claim(&self.host, KEY, timeout, self.now(), &self.cooldown)
    }

    fn wait(&self, seconds: u64) {
        self.host.wait(Duration::from_secs(seconds));
    }
}

const FAILS: Sign = Sign::Bad(Kind::Overload, None);

#[test]
fn what_opens_and_for_how_long() {
    let asked = |kind, seconds: u64| Sign::Bad(kind, Some(When::In(seconds * 1000)));
    for (signs, phase) in [
        (&[Sign::Nothing; 9][..], "closed"),
        (&[FAILS; 2], "closed"),
        (&[FAILS; 3], "5"),
        (&[FAILS, FAILS, Sign::Good, FAILS, FAILS], "closed"),
        (&[FAILS, FAILS, Sign::Nothing, FAILS], "5"),
        (&[Sign::Bad(Kind::RateLimit, None); 2], "closed"),
        (&[Sign::Bad(Kind::RateLimit, None); 3], "5"),
        (&[asked(Kind::RateLimit, 20)], "20"),
        (&[asked(Kind::Overload, 20)], "20"),
        (&[asked(Kind::RateLimit, 86_400)], "600"),
        (&[Sign::Bad(Kind::RateLimit, Some(When::In(0)))], "closed"),
        (&[Sign::Bad(Kind::RateLimit, Some(When::At(9)))], "closed"),
        (&[Sign::Bad(Kind::Quota, None)], "600"),
        (&[Sign::Bad(Kind::Refused, None)], "5"),
        (&[Sign::Bad(Kind::Unreachable, None); 2], "closed"),
        (&[Sign::Bad(Kind::Unreachable, None); 3], "5"),
        (&[Sign::Good, Sign::Exhausted(When::In(9000))], "9"),
        (&[Sign::Exhausted(When::At(9000))], "closed"),
        // What is asked for later lengthens the wait, a failure that was under way does not.
        (
            &[asked(Kind::RateLimit, 20), asked(Kind::RateLimit, 60)],
            "60",
        ),
        (
            &[asked(Kind::RateLimit, 20), asked(Kind::RateLimit, 9), FAILS],
            "20",
        ),
    ] {
        let mut fleet = Fleet::new();
        for sign in signs {
            // As they come one after the other, planned before any of it was known to be open.
            let standing = match fleet.standing() {
                Standing::Open => Standing::Healthy,
                known => known,
            };
            fleet.ends_as(0, standing, Duration::ZERO, *sign);
        }
        let about = |text: &str| text.parse::<f64>().ok();
        match (about(&fleet.phase()), about(phase)) {
            (Some(is), Some(should)) => {
                assert!((is - should).abs() <= 0.2 * should, "{signs:?}: {is}")
            }
            _ => assert_eq!(fleet.phase(), phase, "{signs:?}"),
        }
    }
}

#[test]
fn waits_double_until_the_longest_and_begin_anew_when_it_is_forgotten() {
    let mut fleet = Fleet::new();
    fleet.cooldown.max = Duration::from_secs(30);
    for _ in 0..2 {
        assert_eq!(fleet.ends(0, FAILS), None);
    }
    for (longest, shortest) in [(6, 4), (12, 8), (24, 16), (36, 24), (36, 24)] {
        let change = match fleet.standing() {
            Standing::Shaky => fleet.ends(0, FAILS),
            _ => {
                assert!(fleet.claim());
                fleet.ends_as(0, Standing::Probe, Duration::ZERO, FAILS)
            }
        };
        let Some(Change::Opened { why, wait }) = change else {
            panic!("{change:?}");
        };
        assert_eq!(why, Kind::Overload);
        assert!((shortest * 1000..=longest * 1000).contains(&wait), "{wait}");
        fleet.wait(36);
        assert_eq!(fleet.phase(), "due");
    }
    assert!(fleet.claim());
    let closed = fleet.ends_as(0, Standing::Probe, Duration::ZERO, Sign::Good);
    assert_eq!(
        closed,
        Some(Change::Closed {
            why: Kind::Overload
        })
    );
    // What fails again soon waits long; what did not fail for long, short.
    for (passed, shortest) in [(0, 24), (400, 4)] {
        fleet.wait(passed);
        for _ in 0..2 {
            assert_eq!(fleet.ends(1, FAILS), None);
        }
        let Some(Change::Opened { wait, .. }) = fleet.ends(1, FAILS) else {
            panic!("it did not open");
        };
        assert!(
            (shortest * 1000..=shortest * 1500).contains(&wait),
            "{passed}: {wait}"
        );
        fleet.wait(36);
        fleet.ends_as(0, Standing::Open, Duration::ZERO, Sign::Good);
    }
}

/// Envoy's outlier detection has a back-off of its own for a host that cannot be reached.
#[test]
fn the_wait_for_what_cannot_be_reached_does_not_grow() {
    let mut fleet = Fleet::new();
    for _ in 0..5 {
        for _ in 0..3 {
            fleet.ends_as(
                0,
                Standing::Open,
                Duration::ZERO,
                Sign::Bad(Kind::Unreachable, None),
            );
        }
        assert!(
            ["4", "5", "6"].contains(&&*fleet.phase()),
            "{}",
            fleet.phase()
        );
        fleet.wait(6);
    }
}

#[test]
fn a_rate_of_errors_is_of_all_requests() {
    // So many good ones for each failure: in a row there are never three.
    for (good, opens) in [(0, true), (1, true), (2, false), (9, false)] {
        let mut fleet = Fleet::new();
        fleet.cooldown.consecutive_failures = 100;
        let mut opened = false;
        for at in 0..40 {
            opened = fleet.ends(at % 2, FAILS).is_some();
            if opened {
                assert!(at * (good + 1) >= 19, "too few requests to judge by");
                break;
            }
            for _ in 0..good {
                assert_eq!(fleet.ends(at % 2, Sign::Good), None);
            }
        }
        assert_eq!(opened, opens, "{good} good ones for each failure");
    }
}

/// Hours of success would outweigh any outage.
#[test]
fn what_was_good_long_ago_does_not_count() {
    let mut fleet = Fleet::new();
    fleet.cooldown.consecutive_failures = 100;
    for _ in 0..1000 {
        fleet.ends(0, Sign::Good);
    }
    fleet.wait(31);
    let opened = (0..20).filter_map(|_| fleet.ends(0, FAILS)).count();
    assert_eq!(opened, 1);
}

#[test]
fn workers_count_failures_in_a_row_together() {
    let mut fleet = Fleet::new();
    // Good ones before the outage, in both.
    for worker in [0, 1] {
        fleet.ends(worker, Sign::Good);
    }
    fleet.wait(1);
    assert_eq!(fleet.ends(0, FAILS), None);
    assert_eq!(fleet.ends(1, FAILS), None);
    assert!(fleet.ends(0, FAILS).is_some());
    // A good one between, which this worker alone knows of.
    let mut fleet = Fleet::new();
    fleet.ends(0, FAILS);
    fleet.ends(0, FAILS);
    fleet.wait(1);
    fleet.ends_as(1, Standing::Healthy, Duration::ZERO, Sign::Good);
    assert_eq!(fleet.ends(1, FAILS), None);
}

/// Of many at a time, every tenth fails: those that fail come in together, before a request that was begun after them has ended.
#[test]
fn a_burst_of_failures_among_good_ones_is_no_row() {
    let mut fleet = Fleet::new();
    for _ in 0..9 {
        for standing in [Standing::Healthy, Standing::Shaky] {
            let ago = Duration::from_secs(1);
            for number in 0..30 {
                let sign = if number % 10 == 0 { FAILS } else { Sign::Good };
                assert_eq!(fleet.ends_as(number % 2, standing, ago, sign), None);
            }
        }
        fleet.wait(1);
    }
    // Good ones that were begun before say nothing.
    for _ in 0..2 {
        assert_eq!(fleet.ends(0, FAILS), None);
        fleet.ends_as(0, Standing::Shaky, Duration::from_secs(9), Sign::Good);
    }
    assert!(fleet.ends(0, FAILS).is_some());
}

#[test]
fn what_was_sent_before_it_opened_neither_closes_nor_lengthens() {
    let mut fleet = Fleet::new();
    for _ in 0..3 {
        fleet.ends(0, FAILS);
    }
    let open = fleet.phase();
    for standing in [Standing::Healthy, Standing::Shaky] {
        for sign in [FAILS, Sign::Good] {
            assert_eq!(
                fleet.ends_as(1, standing, Duration::from_secs(9), sign),
                None
            );
            assert_eq!(fleet.phase(), open);
        }
    }
    fleet.wait(6);
    assert_eq!(
        fleet.ends_as(1, Standing::Healthy, Duration::from_secs(9), FAILS),
        None
    );
    assert_eq!(fleet.phase(), "due");
    // Asked for want of a better one, and it serves.
    let closed = fleet.ends_as(1, Standing::Open, Duration::ZERO, Sign::Good);
    assert!(matches!(closed, Some(Change::Closed { .. })));
    assert_eq!(fleet.standing(), Standing::Healthy);
}

#[test]
fn one_probe_at_a_time() {
    let mut fleet = Fleet::new();
    assert!(!fleet.claim(), "nothing is known of it");
    for _ in 0..3 {
        fleet.ends(0, FAILS);
    }
    assert!(!fleet.claim(), "too early");
    fleet.wait(6);
    assert!(fleet.claim());
    assert!(!fleet.claim());
    assert_eq!(fleet.phase(), "probing");
    // It has learnt nothing: the client left, or was wrong.
    fleet.ends_as(0, Standing::Probe, Duration::ZERO, Sign::Nothing);
    assert!(fleet.claim());
    // It never reports.
    fleet.wait(14);
    assert!(!fleet.claim());
    fleet.wait(1);
    assert!(fleet.claim());
    fleet.ends_as(1, Standing::Probe, Duration::ZERO, FAILS);
    assert!(!fleet.claim(), "open again");
}

/// Two workers read the same table, and one writes first.
#[test]
fn no_news_is_lost_between_workers() {
    struct Racing<'a>(&'a Still, std::cell::Cell<u32>);

    impl Host for Racing<'_> {
        fn now(&self) -> Duration {
            self.0.now()
        }
        fn random(&self) -> u64 {
            0
        }
        fn shared(&self, key: &str) -> (Vec<u8>, Option<u32>) {
            let read = self.0.shared(key);
            // After the read, and before the write.
            if let Some(left) = self.1.get().checked_sub(1) {
                self.1.set(left);
                let other = Attempt {
                    key: Key(u64::from(left)),
                    standing: Standing::Healthy,
                    started: self.now(),
                    cooldown: &Cooldown::default(),
                };
                Health::default().learn(other, FAILS, self.0);
            }
            read
        }
        fn share(&self, key: &str, value: &[u8], token: Option<u32>) -> bool {
            self.0.share(key, value, token)
        }
    }

    for (races, is_kept) in [(0, true), (1, true), (7, true), (8, false)] {
        let mut fleet = Fleet::new();
        // The first write of all has nothing to compare with.
        fleet.ends(0, FAILS);
        let host = Racing(&fleet.host, races.into());
        let attempt = Attempt {
            key: Key(100),
            standing: Standing::Healthy,
            started: host.now(),
            cooldown: &fleet.cooldown,
        };
        Health::default().learn(attempt, FAILS, &host);
        let table = shared::read(&fleet.host);
        assert_eq!(table.get(Key(100)).is_some(), is_kept, "{races}");
        assert_eq!(
            table.records().len(),
            (races + 1) as usize + usize::from(is_kept) - usize::from(races == 8)
        );
    }
}

#[test]
fn a_fleet_that_recovered_costs_no_more_than_one_that_never_failed() {
    let mut fleet = Fleet::new();
    fleet.ends(0, FAILS);
    assert_eq!(fleet.standing(), Standing::Shaky);
    fleet.wait(1);
    fleet.ends(0, Sign::Good);
    assert_eq!(fleet.standing(), Standing::Healthy);
    fleet.wait(300);
    let table = shared::read(&fleet.host);
    assert!(table.is_stale(fleet.now(), &fleet.cooldown));
    shared::forget(&fleet.host, fleet.now(), &fleet.cooldown);
    assert_eq!(fleet.host.shared(shared::KEY).0, b"");
}

#[test]
fn a_full_table_keeps_what_is_open() {
    let cooldown = Cooldown::default();
    let at = |now| record::Moment {
        now,
        cooldown: &cooldown,
        random: 0,
    };
    let failure = |kind| record::Failure {
        kind,
        wait: None,
        begun: 0,
    };
    let mut table = Table::default();
    for key in 0..1000 {
        let kind = if key < 200 {
            Kind::Quota
        } else {
            Kind::Overload
        };
        table.with(Key(key), |record| {
            record.failed(failure(kind), Standing::Healthy, at(1_000_000 + key))
        });
        assert!(table.records().len() <= MAX_RECORDS);
    }
    assert!((0..200).all(|key| table.get(Key(key)).is_some()));
    assert!(table.get(Key(999)).is_some() && table.get(Key(300)).is_none());
    assert_eq!(Table::decode(&table.encode()), table);
}

#[test]
fn what_is_no_table_is_an_empty_one() {
    let mut table = Table::default();
    assert_eq!(table.encode(), b"");
    table.with(KEY, |record| {
        record.failed(
            record::Failure {
                kind: Kind::Refused,
                wait: None,
                begun: 0,
            },
            Standing::Healthy,
            record::Moment {
                now: 9,
                cooldown: &Cooldown::default(),
                random: 3,
            },
        )
    });
    let good = table.encode();
    assert_eq!(Table::decode(&good), table);
    for end in 0..good.len() {
        assert!(Table::decode(&good[..end]).is_empty(), "{end}");
    }
    for (at, byte) in [(0, VERSION - 1), (1, 5)] {
        let mut other = good.clone();
        other[at] = byte;
        assert!(Table::decode(&other).is_empty(), "{at}");
    }
    let record = &good[1..];
    let many = [&good[..1], &record.repeat(MAX_RECORDS + 1)].concat();
    assert!(Table::decode(&many).is_empty());
}

#[test]
fn rules_survive_the_plan() {
    let odd = Cooldown {
        consecutive_failures: 1,
        error_permille: 2,
        min_requests: 3,
        window: Duration::from_millis(4),
        base: Duration::from_millis(5),
        max: Duration::from_millis(6),
        quota: Duration::from_millis(7),
        max_retry_after: Duration::from_millis(8),
    };
    let retry_budget = RetryBudget {
        permille: 9,
        min_per_second: 10,
    };
    for cooldown in [None, Some(odd), Some(Cooldown::default())] {
        let rules = Rules {
            cooldown,
            retry_budget,
        };
        let mut bytes = Vec::new();
        rules.encode(&mut bytes);
        assert_eq!(bytes.len(), Rules::SIZE);
        assert_eq!(Rules::decode(&bytes), Some(rules));
        assert_eq!(Rules::decode(&bytes[1..]), None);
        bytes[0] = 1 - bytes[0];
        assert!(Rules::decode(&bytes) != Some(rules));
    }
}

proptest! {
    /// Whatever the bytes, whoever reads them: no panic, no more records than there may be, and a circuit that comes back.
    #[test]
    fn no_bytes_wedge_a_target(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        is_ours: bool,
        now in 0_u64..4_000_000_000_000,
        steps in proptest::collection::vec((0_u8..6, 0_u64..100_000), 0..30),
    ) {
        let size = (bytes.len() / SIZE) * SIZE;
        let mut bytes = bytes[..size].to_vec();
        bytes.insert(0, if is_ours { VERSION } else { 0 });
        // Kinds that there are, so that the rest is read.
        for kind in bytes.iter_mut().skip(1).step_by(SIZE) {
            *kind %= 5;
        }
        let table = Table::decode(&bytes);
        prop_assert_eq!(table.is_empty(), !is_ours || size == 0);
        if is_ours {
            prop_assert_eq!(Table::decode(&table.encode()), table.clone());
        }
        let host = Still::default();
        host.share(shared::KEY, &bytes, None);
        host.wait(Duration::from_millis(now));
        let cooldown = Cooldown::default();
        let key = table.records().first().map_or(KEY, |record| record.key);
        let mut health = Health::default();
        for (step, number) in steps {
            let attempt = Attempt {
                key,
                standing: Standing::from_byte(step % 4).unwrap_or_default(),
                started: host.now(),
                cooldown: &cooldown,
            };
            let sign = match step {
                0 | 1 => Sign::Good,
                2 => Sign::Exhausted(When::In(number)),
                3 => Sign::Nothing,
                4 => FAILS,
                _ => Sign::Bad(Kind::RateLimit, Some(When::At(number))),
            };
            health.learn(attempt, sign, &host);
            host.wait(Duration::from_millis(number));
            let table = shared::read(&host);
            prop_assert!(table.records().len() <= MAX_RECORDS);
            if let Some(record) = table.get(key)
                && let Phase::Open { until } = record.phase(shared::now(&host), &cooldown)
            {
                prop_assert!(until - shared::now(&host) <= cooldown.longest());
            }
        }
        // Whatever was: after the longest wait it is asked again.
        host.wait(Duration::from_millis(cooldown.longest()) + Duration::from_secs(25 * 3600));
        let table = shared::read(&host);
        let phase = table.get(key).map(|r| r.phase(shared::now(&host), &cooldown));
        let is_left_alone = matches!(phase, Some(Phase::Open { .. } | Phase::Probing));
        prop_assert!(!is_left_alone, "{:?}", phase);
    }

    #[test]
    fn rules_of_any_bytes(bytes in proptest::collection::vec(any::<u8>(), Rules::SIZE)) {
        if let Some(rules) = Rules::decode(&bytes) {
            let mut again = Vec::new();
            rules.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn a_budget_gives_a_share_and_a_floor() {
    let rules = RetryBudget {
        permille: 200,
        min_per_second: 2,
    };
    let mut budget = budget::Budget::default();
    let mut spent = |requests: usize, seconds: u64| {
        (0..requests).for_each(|_| budget.earn(rules));
        let now = Duration::from_secs(seconds);
        (0..100).filter(|_| budget.spend(rules, now)).count()
    };
    for (requests, seconds, expected) in [
        (0, 50, 2),
        (4, 50, 0),
        (1, 50, 1),
        (50, 50, 10),
        (0, 51, 2),
        // No more than ten seconds' worth is kept, however many requests or hours passed.
        (1000, 51, 20),
        (0, 5000, 20),
        // A clock that goes back gives nothing.
        (0, 50, 0),
    ] {
        assert_eq!(
            spent(requests, seconds),
            expected,
            "{requests} requests at {seconds}"
        );
    }
    let none = RetryBudget {
        permille: 0,
        min_per_second: 1,
    };
    let mut budget = budget::Budget::default();
    budget.earn(none);
    assert!(budget.spend(none, Duration::ZERO) && !budget.spend(none, Duration::from_millis(999)));
    assert_eq!(millis(Duration::from_secs(1)), 1000);
}
