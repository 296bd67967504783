//! Kubernetes' own kinds, by the tool that make installs.

use crate::broken::{check, manifests};
use pointsman_k8s::builtin::tool;
use pointsman_k8s::check::Checker;

#[test]
fn kubernetes_own_kinds() {
    let tool = tool().expect("kubernetes-validate is missing: `make k8s-check` installs it");
    let mut checker = Checker::new(None, Some(tool));
    let breaks = [
        (
            "Deployment/gateway",
            ("/spec/template/spec/volumes/0/image", "ref", "x"),
            "spec.template.spec.volumes.0.image: Additional properties are not allowed ('ref' was unexpected)",
        ),
        (
            "Deployment/gateway",
            ("/spec", "replicas", "two"),
            "spec.replicas: 'two' is not of type 'integer', 'null'",
        ),
        (
            "Deployment/gateway",
            ("/spec", "selector", "null"),
            "spec: 'selector' is a required property",
        ),
        (
            "ConfigMap/policy",
            ("", "dat", "{a: b}"),
            "Additional properties are not allowed ('dat' was unexpected)",
        ),
        (
            "Secret/keys",
            ("/stringData", "openai", "{sk: x}"),
            "stringData.openai: is not what the schema wants",
        ),
    ];
    check(&mut checker, &manifests("kubernetes.yaml"), &breaks);

    // One that the tool does not know is not skipped.
    let unknown = serde_json::json!({"apiVersion": "apps/v1", "kind": "Deploymnt", "metadata": {"name": "x"}});
    let problems = checker.check(&[unknown]).problems;
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    let expected = "Deploymnt/x: Couldn't find schema for kind Deploymnt";
    assert!(problem.starts_with(expected), "{problem}");
}
