//! Opinion: what the model's probabilities mean under a policy: a tier, and whether they are sure enough to decide.
//!
//! Pure. Tiers have an order here, the model's: the weakest first. Too weak a tier for a request is *under-routing*, too
//! strong a one over-routing.

use super::model::PerLabel;
use crate::policy::{LocalClassifier, TierName};

#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    pub tier: TierName,
    /// How often it is right, 0 to 1.
    pub confidence: f32,
    /// Enough to decide by.
    pub is_sure: bool,
    /// The classifier's own choice, by its place among the classifier's tiers; `tier` differs where a caller may not use it.
    pub judged: usize,
    /// What the choice costs by expectation.
    pub cost: f32,
    /// `fast 0.83, balanced 0.12`: nothing of the request's words.
    pub reason: String,
}

/// The tier that costs least by expectation, among those that `is_offered`.
///
/// A step too strong costs 1, a step too weak `under_routing_cost`, however far off it is. It is sure if the tier is right with its
/// `min_confidence` at least, and the expected cost is no more than what is left of that.
pub fn opinion(
    local: &LocalClassifier,
    found: &PerLabel,
    is_offered: impl Fn(&TierName) -> bool,
) -> Option<Opinion> {
    let probabilities = by_tier(local, found);
    let cost = |at: usize| {
        let weaker: f32 = probabilities.iter().take(at).sum();
        let stronger: f32 = probabilities.iter().skip(at.saturating_add(1)).sum();
        weaker + stronger * local.under_routing_cost
    };
    let tiers = || local.tiers.iter().enumerate();
    let (best, chosen) = tiers().min_by(|(a, _), (b, _)| cost(*a).total_cmp(&cost(*b)))?;
    let confidence = probabilities.get(best).copied().unwrap_or_default();
    let threshold = chosen.min_confidence;
    let expected = cost(best);
    let is_sure = confidence >= threshold && expected <= 1.0 - threshold + f32::EPSILON;
    // What a caller may not use is replaced by the next stronger tier, for too strong is the lesser mistake.
    let stronger = tiers().skip(best).find(|(_, t)| is_offered(&t.tier));
    let weaker = || {
        let mut before = local.tiers.iter().take(best).rev();
        before.find(|t| is_offered(&t.tier))
    };
    let tier = stronger.map(|(_, t)| t).or_else(weaker)?;
    Some(Opinion {
        tier: tier.tier.clone(),
        confidence,
        is_sure,
        judged: best,
        cost: expected,
        reason: reason(local, &probabilities, best),
    })
}

/// The probability of each of the classifier's tiers: of all labels that stand for it.
pub fn by_tier(local: &LocalClassifier, found: &PerLabel) -> Vec<f32> {
    let of = |labels: &Vec<usize>| labels.iter().filter_map(|at| found.get(*at)).sum();
    local.tiers.iter().map(|t| of(&t.labels)).collect()
}

fn reason(local: &LocalClassifier, probabilities: &[f32], best: usize) -> String {
    let at = |index: usize| -> Option<(&str, f32)> {
        Some((&*local.tiers.get(index)?.tier.0, *probabilities.get(index)?))
    };
    let others = (0..local.tiers.len()).filter(|index| *index != best);
    let second = others.filter_map(at).max_by(|a, b| a.1.total_cmp(&b.1));
    let named = at(best).into_iter().chain(second);
    let named: Vec<String> = named.map(|(tier, p)| format!("{tier} {p:.2}")).collect();
    format!("local model: {}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::local;

    /// Probabilities of fast, balanced, quality, reasoning, and what follows from them.
    fn check(policy: &str, found: [f32; 4], offered: &[&str], expected: &str) {
        let local = local(policy);
        let mut per_label = PerLabel::default();
        per_label[..4].copy_from_slice(&found);
        let is_offered = |tier: &TierName| offered.contains(&&*tier.0);
        let shown = match opinion(&local, &per_label, is_offered) {
            Some(o) => format!(
                "{} {:.2} {} ({})",
                o.tier, o.confidence, o.is_sure, o.reason
            ),
            None => "none".to_owned(),
        };
        assert_eq!(shown, expected, "{policy} {found:?} {offered:?}");
    }

    #[test]
    fn opinions() {
        const ALL: &[&str] = &["fast", "balanced", "quality", "reasoning"];
        check(
            "{}",
            [0.83, 0.12, 0.05, 0.0],
            ALL,
            "fast 0.83 true (local model: fast 0.83, balanced 0.12)",
        );
        check(
            "{}",
            [0.5, 0.3, 0.1, 0.1],
            ALL,
            "fast 0.50 false (local model: fast 0.50, balanced 0.30)",
        );
        // Whatever the least confidence, too weak a tier weighs more.
        let costly = r#"{"min_confidence": 0.7, "under_routing_cost": 3}"#;
        check(
            costly,
            [0.8, 0.2, 0.0, 0.0],
            ALL,
            "fast 0.80 false (local model: fast 0.80, balanced 0.20)",
        );
        check(
            costly,
            [0.91, 0.09, 0.0, 0.0],
            ALL,
            "fast 0.91 true (local model: fast 0.91, balanced 0.09)",
        );
        check(
            costly,
            [0.0, 0.0, 0.2, 0.8],
            ALL,
            "reasoning 0.80 true (local model: reasoning 0.80, quality 0.20)",
        );
        check(
            r#"{"min_confidence": 0, "under_routing_cost": 3}"#,
            [0.6, 0.4, 0.0, 0.0],
            ALL,
            "balanced 0.40 true (local model: balanced 0.40, fast 0.60)",
        );
        check(
            r#"{"min_confidence": {"fast": 0.9, "quality": 0.5}}"#,
            [0.83, 0.12, 0.05, 0.0],
            ALL,
            "fast 0.83 false (local model: fast 0.83, balanced 0.12)",
        );
        check(
            r#"{"min_confidence": {"fast": 0.9, "quality": 0.5}, "under_routing_cost": 1}"#,
            [0.0, 0.12, 0.55, 0.33],
            ALL,
            "quality 0.55 true (local model: quality 0.55, reasoning 0.33)",
        );
        // Two labels, one tier.
        check(
            r#"{"tiers": {"quality": "balanced"}}"#,
            [0.1, 0.45, 0.4, 0.05],
            ALL,
            "balanced 0.85 true (local model: balanced 0.85, fast 0.10)",
        );
        // A caller that may not use it.
        check(
            "{}",
            [0.9, 0.1, 0.0, 0.0],
            &["quality", "reasoning"],
            "quality 0.90 true (local model: fast 0.90, balanced 0.10)",
        );
        check(
            "{}",
            [0.0, 0.0, 0.1, 0.9],
            &["fast", "balanced"],
            "balanced 0.90 true (local model: reasoning 0.90, quality 0.10)",
        );
        check("{}", [0.0, 0.0, 0.0, 1.0], &[], "none");
    }
}
