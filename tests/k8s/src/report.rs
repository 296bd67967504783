//! What was checked, what was not, and how that is said.
//!
//! Pure.

use std::collections::BTreeMap;

use crate::crds;
use crate::resource::{Gvk, Problem};

/// Resources by what they are.
type Counts = BTreeMap<Gvk, usize>;

/// Of one kustomization: what was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Report {
    pub checked: Counts,
    /// Those of a CRD, where there are no CRDs.
    pub unchecked: Counts,
    pub problems: Vec<Problem>,
}

/// Of all kustomizations together.
#[derive(Debug, Default)]
pub struct Total {
    folders: usize,
    checked: Counts,
    unchecked: Counts,
    problems: usize,
}

fn list<'a>(counts: impl Iterator<Item = (&'a Gvk, &'a usize)>) -> String {
    let each: Vec<String> = counts
        .map(|(gvk, count)| format!("{count} {}", gvk.kind))
        .collect();
    each.join(", ")
}

fn plural(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn merge(into: &mut Counts, from: Counts) {
    for (gvk, count) in from {
        *into.entry(gvk).or_default() += count;
    }
}

// === impl Report ===

impl Report {
    /// `3 resources: 1 ConfigMap, 2 EnvoyFilter`
    pub fn kinds(&self) -> String {
        let all = self.checked.iter().chain(&self.unchecked);
        match all.clone().map(|(_, count)| count).sum() {
            0 => "builds no resource by itself".to_owned(),
            count => format!("{}: {}", plural(count, "resource"), list(all)),
        }
    }
}

// === impl Total ===

impl Total {
    pub fn add(&mut self, report: Report) {
        self.folders += 1;
        merge(&mut self.checked, report.checked);
        merge(&mut self.unchecked, report.unchecked);
        self.problems += report.problems.len();
    }

    /// One that kustomize refused.
    pub fn add_unbuilt(&mut self) {
        self.folders += 1;
        self.problems += 1;
    }

    pub fn problems(&self) -> usize {
        self.problems
    }

    /// The last words: without CRDs, what that means, and how to get them.
    pub fn shown(&self, has_crds: bool) -> String {
        let checked: usize = self.checked.values().sum();
        let unchecked: usize = self.unchecked.values().sum();
        let mut shown = format!(
            "{} of {} checked, in {}: {}\n",
            checked,
            plural(checked + unchecked, "resource"),
            plural(self.folders, "kustomization"),
            plural(self.problems, "mistake"),
        );
        if has_crds {
            return shown;
        }
        shown.push_str(&format!(
            "There are no CRDs at {} beside this checkout.\n",
            crds::DEFAULT
        ));
        if unchecked > 0 {
            let kinds = list(self.unchecked.iter());
            shown.push_str(&format!(
                "NOT CHECKED, only built by kustomize: {kinds}. Their fields, enums and CEL rules may be wrong.\n"
            ));
        }
        shown.push_str("To check against CRDs, put these files into a folder, then: make k8s-check CRDS=/that/folder\n");
        shown.push_str(crds::ORIGINS);
        shown.push('\n');
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(kinds: &[(&str, usize)]) -> Counts {
        let gvk = |kind: &str| Gvk {
            group: "example.com".to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
        };
        kinds.iter().map(|(kind, n)| (gvk(kind), *n)).collect()
    }

    #[test]
    fn what_was_not_checked_is_said_plainly() {
        let report = Report {
            checked: counts(&[("Service", 1)]),
            unchecked: counts(&[("EnvoyFilter", 2), ("Gateway", 1)]),
            problems: Vec::new(),
        };
        assert_eq!(
            report.kinds(),
            "4 resources: 1 Service, 2 EnvoyFilter, 1 Gateway"
        );
        let mut total = Total::default();
        total.add(report);
        total.add(Report::default());
        let shown = total.shown(false);
        for part in [
            "1 of 4 resources checked, in 2 kustomizations: 0 mistakes\n",
            "There are no CRDs at ../shared/data/crds beside this checkout.\n",
            "NOT CHECKED, only built by kustomize: 2 EnvoyFilter, 1 Gateway. ",
            "make k8s-check CRDS=/that/folder\n",
            "https://github.com/istio/istio ",
            "https://github.com/envoyproxy/gateway ",
            "https://github.com/kubernetes-sigs/gateway-api/releases",
        ] {
            assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
        }
        assert!(!total.shown(true).contains("CRD"));
    }

    #[test]
    fn a_folder_that_builds_nothing_or_not_at_all() {
        assert_eq!(Report::default().kinds(), "builds no resource by itself");
        let mut total = Total::default();
        total.add_unbuilt();
        assert_eq!(total.problems(), 1);
        let shown = total.shown(true);
        assert_eq!(
            shown,
            "0 of 0 resources checked, in 1 kustomization: 1 mistake\n"
        );
    }
}
