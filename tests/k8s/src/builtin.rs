//! Kubernetes' own kinds, by the tool `kubernetes-validate`, which carries the schemas of Kubernetes' releases.
//!
//! It only warns of a kind that it does not know; here that is a mistake, so that nothing goes unchecked in silence.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::resource::{Gvk, Problem};
use pointsman_tests::k8s::kustomize::executable;

/// The API groups that a cluster has without any CRD. Other `*.k8s.io` ones are CRDs'.
const GROUPS: [&str; 22] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// How much of what the tool says is shown: it quotes values.
const SAID: usize = 300;

pub fn is_builtin(gvk: &Gvk) -> bool {
    GROUPS.contains(&&*gvk.group)
}

/// Where make installs it, or the one of the `PATH`.
pub fn tool() -> Option<PathBuf> {
    executable(".venv/bin", "kubernetes-validate")
}

/// What is wrong with them, the first mistake of each. `Err`: they could not be checked.
pub fn check(tool: &Path, resources: &[&Value]) -> Result<Vec<Problem>, String> {
    if resources.is_empty() {
        return Ok(Vec::new());
    }
    let said = run(tool, resources).map_err(|e| format!("{}: {e}", tool.display()))?;
    // One line each, in their order.
    let verdicts: Vec<&str> = said
        .lines()
        .filter(|line| {
            let level = line.split(' ').next();
            matches!(level, Some("INFO" | "WARN" | "ERROR" | "FATAL"))
        })
        .collect();
    if verdicts.len() != resources.len() {
        let tool = tool.display();
        return Err(format!("{tool} did not check every resource: {said}"));
    }
    let each = resources.iter().zip(verdicts);
    Ok(each.filter_map(|(it, line)| problem(it, line)).collect())
}

fn run(tool: &Path, resources: &[&Value]) -> std::io::Result<String> {
    let mut child = Command::new(tool)
        .args(["--strict", "-"])
        .env("PYTHONUTF8", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // It reads everything before it writes anything. JSON is YAML.
    let mut written = Ok(());
    if let Some(mut stdin) = child.stdin.take() {
        let documents: Vec<String> = resources.iter().map(ToString::to_string).collect();
        written = stdin.write_all(documents.join("\n---\n").as_bytes());
    }
    let output = child.wait_with_output()?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    match written {
        // It ended before it read: what it says is the reason.
        Err(e) if said.is_empty() => Err(e),
        _ => Ok(said),
    }
}

/// `ERROR - did not validate for resource deployment/x against version 1.37: spec.replicas: 'two' is not of type 'integer'`
fn problem(resource: &Value, line: &str) -> Option<Problem> {
    let (level, said) = line.split_once(" - ")?;
    if level == "INFO" {
        return None;
    }
    let found = said.split_once(" against version ");
    let Some((path, what)) = found
        .and_then(|(_, rest)| rest.split_once(": "))
        .and_then(|(_, rest)| rest.split_once(": "))
    else {
        return Some(Problem::new(resource, "", said));
    };
    // What it says of a Secret may quote it.
    let what = match &resource["kind"] {
        kind if kind == "Secret" && !what.starts_with("Additional properties") => {
            "is not what the schema wants".to_owned()
        }
        _ => what.chars().take(SAID).collect(),
    };
    Some(Problem::new(resource, path, what))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tools_lines_are_read() {
        let config = json!({"kind": "ConfigMap", "metadata": {"name": "a"}});
        let secret = json!({"kind": "Secret", "metadata": {"name": "s"}});
        let prefix = "ERROR - did not validate for resource x/a against version 1.37:";
        let cases = [
            (&config, "INFO - passed for resource configmap/a against version 1.37".to_owned(), None),
            (
                &config,
                format!("{prefix} : Additional properties are not allowed ('dat' was unexpected)"),
                Some("ConfigMap/a: Additional properties are not allowed ('dat' was unexpected)"),
            ),
            (
                &config,
                format!("{prefix} spec.replicas: 'a: b' is not of type 'integer'"),
                Some("ConfigMap/a: spec.replicas: 'a: b' is not of type 'integer'"),
            ),
            (
                &config,
                "WARN - Couldn't find schema for kind Foo with api version v1 for kubernetes version 1.37".to_owned(),
                Some("ConfigMap/a: Couldn't find schema for kind Foo with api version v1 for kubernetes version 1.37"),
            ),
            (
                &secret,
                format!("{prefix} data: 'sk-1' is not of type 'object', 'null'"),
                Some("Secret/s: data: is not what the schema wants"),
            ),
        ];
        for (resource, line, expected) in cases {
            let problem = problem(resource, &line).map(|problem| problem.to_string());
            assert_eq!(problem.as_deref(), expected, "{line}");
        }
    }
}
