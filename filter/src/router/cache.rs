//! Cache: decisions of the LLM classifier, per worker.
//!
//! Bounded in bytes, whatever is put in. The whole key is compared, so that no two questions share an answer. Time
//! is passed in; an entry outlives its TTL by no more than what a clock goes back.

use std::hash::RandomState;
use std::time::Duration;

use lru::LruCache;

use crate::policy::TierName;

/// Bytes that an entry takes beside its texts: its key and value themselves, and about 160 for the list's links,
/// its place in the hash table (which doubles when it grows), and the allocator's headers of its six allocations.
pub const ENTRY_OVERHEAD: usize = {
    let fixed = size_of::<Key>().saturating_add(size_of::<Entry>());
    fixed.saturating_add(160)
};

/// All that a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The policy's fingerprint.
    pub policy: u64,
    /// Empty if policy shares decisions between callers.
    pub caller: String,
    /// Names of the tiers offered.
    pub offered: String,
    /// What the classifier would see.
    pub question: String,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    pub tier: TierName,
    /// Cleaned, fit for a header.
    pub reason: String,
}

#[derive(Debug)]
pub struct DecisionCache {
    // The keys are the clients' own texts: std's keyed SipHash withstands keys made to collide, which hashbrown's
    // default does not promise. Its seed comes from WASI's random_get, which Envoy provides; no result depends on it.
    entries: LruCache<Key, Entry, RandomState>,
    bytes: usize,
    max_bytes: usize,
    ttl: Duration,
}

#[derive(Debug)]
struct Entry {
    cached: Cached,
    /// When it was put, or last kept alive.
    since: Duration,
}

// === impl DecisionCache ===

impl DecisionCache {
    /// At most `max_bytes`; 0 turns it off. A decision is forgotten after `ttl`.
    pub fn new(max_bytes: usize, ttl: Duration) -> Self {
        Self {
            entries: LruCache::unbounded_with_hasher(RandomState::new()),
            bytes: 0,
            max_bytes,
            ttl,
        }
    }

    /// A decision, if there is one. `keep_alive` starts its TTL anew: a tool loop that goes on keeps its tier.
    /// `now` is the time since any fixed moment.
    pub fn get(&mut self, key: &Key, now: Duration, keep_alive: bool) -> Option<&Cached> {
        let entry = self.entries.get_mut(key)?;
        // After a clock that went back, the TTL counts from there.
        entry.since = entry.since.min(now);
        if now.saturating_sub(entry.since) >= self.ttl {
            self.remove(key);
            return None;
        }
        if keep_alive {
            entry.since = now;
        }
        self.entries.peek(key).map(|entry| &entry.cached)
    }

    /// Keeps a decision, at the expense of those unused for longest. One larger than the whole cache is not kept.
    pub fn put(&mut self, key: Key, cached: Cached, now: Duration) {
        self.remove(&key);
        let cost = cost(&key, &cached);
        let Some(room) = self.max_bytes.checked_sub(cost) else {
            return;
        };
        self.shrink_to(room);
        self.bytes = self.bytes.saturating_add(cost);
        self.entries.put(key, Entry { cached, since: now });
    }

    /// A new policy's bounds; they hold for what is already there.
    pub fn resize(&mut self, max_bytes: usize, ttl: Duration) {
        self.max_bytes = max_bytes;
        self.ttl = ttl;
        self.shrink_to(max_bytes);
    }

    /// Bytes taken, [`ENTRY_OVERHEAD`] included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove(&mut self, key: &Key) {
        if let Some((key, entry)) = self.entries.pop_entry(key) {
            self.bytes = self.bytes.saturating_sub(cost(&key, &entry.cached));
        }
    }

    fn shrink_to(&mut self, max_bytes: usize) {
        while self.bytes > max_bytes {
            let Some((key, entry)) = self.entries.pop_lru() else {
                self.bytes = 0;
                return;
            };
            self.bytes = self.bytes.saturating_sub(cost(&key, &entry.cached));
        }
    }
}

/// Capacities, for they are what is allocated.
fn cost(key: &Key, cached: &Cached) -> usize {
    [
        key.caller.capacity(),
        key.offered.capacity(),
        key.question.capacity(),
        cached.tier.0.len(),
        cached.reason.capacity(),
    ]
    .into_iter()
    .fold(ENTRY_OVERHEAD, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn key(question: &str) -> Key {
        Key {
            policy: 1,
            caller: "a".to_owned(),
            offered: "fast,reasoning".to_owned(),
            question: question.to_owned(),
        }
    }

    fn cached(tier: &str) -> Cached {
        Cached {
            tier: TierName(tier.into()),
            reason: "short".to_owned(),
        }
    }

    fn tier(cache: &mut DecisionCache, key: &Key, now: u64, keep_alive: bool) -> Option<String> {
        let found = cache.get(key, at(now), keep_alive)?;
        Some(found.tier.to_string())
    }

    #[test]
    fn whole_key_is_compared() {
        let mut cache = DecisionCache::new(1 << 20, TTL);
        cache.put(key("q"), cached("fast"), at(0));
        let mut check = |key: Key, expected: Option<&str>| {
            let found = tier(&mut cache, &key, 0, false);
            assert_eq!(found.as_deref(), expected, "{key:?}");
        };
        check(key("q"), Some("fast"));
        check(key("q "), None);
        check(
            Key {
                policy: 2,
                ..key("q")
            },
            None,
        );
        check(
            Key {
                caller: "b".into(),
                ..key("q")
            },
            None,
        );
        check(
            Key {
                caller: String::new(),
                ..key("q")
            },
            None,
        );
        check(
            Key {
                offered: "fast".into(),
                ..key("q")
            },
            None,
        );
    }

    #[test]
    fn ttl() {
        // Gets at a second, kept alive or not, and whether they find it; put at second 100.
        let check = |gets: &[(u64, bool, bool)]| {
            let mut cache = DecisionCache::new(1 << 20, TTL);
            cache.put(key("q"), cached("fast"), at(100));
            for &(now, keep_alive, expected) in gets {
                let found = tier(&mut cache, &key("q"), now, keep_alive).is_some();
                assert_eq!(found, expected, "{now} of {gets:?}");
            }
            let found = gets.last().is_none_or(|get| get.2);
            assert_eq!((cache.len() == 1, cache.bytes() > 0), (found, found));
        };
        check(&[(100, false, true), (699, false, true), (700, false, false)]);
        // Reading alone does not lengthen it; a tool loop does.
        check(&[(600, false, true), (700, false, false)]);
        check(&[
            (600, true, true),
            (1199, true, true),
            (1798, false, true),
            (1799, false, false),
        ]);
        // Too late to be kept alive.
        check(&[(700, true, false)]);
        // A clock that goes back.
        check(&[(0, false, true), (599, false, true), (600, false, false)]);
        check(&[(u64::MAX, true, false)]);
    }

    #[test]
    fn replaces_and_evicts_the_longest_unused() {
        let one = cost(&key("1"), &cached("fast"));
        let mut cache = DecisionCache::new(one * 2, TTL);
        cache.put(key("1"), cached("slow"), at(0));
        cache.put(key("1"), cached("fast"), at(0));
        assert_eq!((cache.len(), cache.bytes()), (1, one));
        cache.put(key("2"), cached("fast"), at(0));
        assert_eq!(
            tier(&mut cache, &key("1"), 0, false).as_deref(),
            Some("fast")
        );
        cache.put(key("3"), cached("fast"), at(0));
        let found = ["1", "2", "3"].map(|q| tier(&mut cache, &key(q), 0, false).is_some());
        assert_eq!(found, [true, false, true]);
    }

    #[test]
    fn bounds() {
        let one = cost(&key("1"), &cached("fast"));
        let check = |max_bytes: usize, expected: usize| {
            let mut cache = DecisionCache::new(max_bytes, TTL);
            for question in ["1", "2", "3"] {
                cache.put(key(question), cached("fast"), at(0));
            }
            assert_eq!(cache.len(), expected, "{max_bytes}");
            // The same bounds by a reload.
            let mut cache = DecisionCache::new(usize::MAX, TTL);
            for question in ["1", "2", "3"] {
                cache.put(key(question), cached("fast"), at(0));
            }
            cache.resize(max_bytes, TTL);
            assert_eq!(cache.len(), expected, "{max_bytes}");
        };
        check(0, 0);
        check(one - 1, 0);
        check(one, 1);
        check(one * 3 - 1, 2);
        check(one * 3, 3);
    }

    #[test]
    fn an_entry_too_large_evicts_nothing_else() {
        let mut cache = DecisionCache::new(2000, TTL);
        cache.put(key("1"), cached("fast"), at(0));
        cache.put(key(&"x".repeat(2000)), cached("fast"), at(0));
        assert_eq!(cache.len(), 1);
        // Nor does the old answer stay for a question whose new one is too large.
        let large = Cached {
            reason: "x".repeat(2000),
            ..cached("slow")
        };
        cache.put(key("1"), large, at(0));
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn a_shorter_ttl_holds_for_what_is_there() {
        let mut cache = DecisionCache::new(2000, TTL);
        cache.put(key("1"), cached("fast"), at(0));
        cache.resize(2000, at(10));
        assert_eq!(tier(&mut cache, &key("1"), 10, true), None);
    }

    proptest! {
        #[test]
        fn never_exceeds_its_bytes(
            steps in proptest::collection::vec((0u8..8, 0usize..600, 0u64..1000), 0..100),
        ) {
            let mut max_bytes = 3000;
            let mut cache = DecisionCache::new(max_bytes, TTL);
            for (step, size, now) in steps {
                let question = key(&"x".repeat(size % 20));
                match step {
                    0 => {
                        max_bytes = size * 10;
                        cache.resize(max_bytes, at(now));
                    }
                    1..=3 => {
                        let before = cache.get(&question, at(now), step == 1).cloned();
                        let after = cache.get(&question, at(now), false).cloned();
                        prop_assert_eq!(before, after);
                    }
                    _ => {
                        let value = Cached { reason: "y".repeat(size), ..cached("fast") };
                        cache.put(question, value, at(now));
                    }
                }
                let sum: usize = cache.entries.iter().map(|(k, e)| cost(k, &e.cached)).sum();
                prop_assert_eq!(sum, cache.bytes());
                prop_assert!(sum <= max_bytes);
            }
        }
    }
}
