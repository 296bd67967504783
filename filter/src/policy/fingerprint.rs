//! A hash of what can change a classifier's decision. The same policy has the same one in every worker and every build.

use super::Policy;
use crate::fnv::Fnv64;

/// Names a version of the policy in a key.
#[derive(Default)]
struct Fingerprint(Fnv64);

/// Of `policy` without its `fingerprint`.
pub(super) fn fingerprint(policy: &Policy) -> u64 {
    let mut hash = Fingerprint::default();
    hash.text(&policy.default_tier.0);
    hash.number(policy.tiers.len());
    for tier in &policy.tiers {
        hash.text(&tier.name.0);
        hash.text(&tier.description);
    }
    hash.number(policy.llm().iter().count());
    if let Some(llm) = policy.llm() {
        for text in [&llm.cluster, &llm.model, &llm.host, &llm.path] {
            hash.text(text);
        }
        hash.number(llm.max_system_chars);
        hash.number(llm.max_user_chars);
        hash.bytes(&llm.max_tokens.to_le_bytes());
    }
    hash.number(policy.callers.len());
    for (name, limits) in &policy.callers {
        hash.text(name);
        hash.number(limits.tiers.len());
        for tier in &limits.tiers {
            hash.text(&tier.0);
        }
        hash.number(limits.models.iter().count());
        let models = limits.models.as_deref().unwrap_or_default();
        hash.number(models.len());
        for model in models {
            hash.text(model);
        }
    }
    hash.0.0
}

// === impl Fingerprint ===

impl Fingerprint {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = self.0.bytes(bytes);
    }

    /// Eight bytes on every platform: the CLI and the Wasm build agree.
    fn number(&mut self, number: usize) {
        self.bytes(&u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes());
    }

    /// With its length, so that no two lists of texts are the same bytes.
    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes(text.as_bytes());
    }
}
