//! What the requests and the attempts of one worker share, and no other worker sees.

use std::time::Duration;

use crate::classify::breaker::Breaker;
use crate::classify::local::features::Features;
use crate::health::learn::Health;
use crate::provider::role::Warned;
use crate::router::cache::DecisionCache;

#[derive(Debug)]
pub struct Worker {
    pub cache: DecisionCache,
    pub breaker: Breaker,
    /// Classifier callouts under way.
    pub in_flight: usize,
    /// The local model's working memory.
    pub features: Features,
    pub warned: Warned,
    pub health: Health,
}

impl Default for Worker {
    fn default() -> Self {
        Worker {
            cache: DecisionCache::new(0, Duration::ZERO),
            breaker: Breaker::default(),
            in_flight: 0,
            features: Features::default(),
            warned: Warned::default(),
            health: Health::default(),
        }
    }
}
