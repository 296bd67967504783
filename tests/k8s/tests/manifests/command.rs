//! The command, and kustomize below it: what builds, what is found, and how it ends.

use std::fs;
use std::path::Path;
use std::process::Command;

use pointsman_k8s::kustomize::folders;
use pointsman_tests::k8s::kustomize::build;
use tempfile::TempDir;

const SIGNAL: &str =
    "{apiVersion: toy.example.com/v1, kind: Signal, metadata: {name: s}, spec: {color: Red}}";

/// A folder with these files, in folders of their own.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let top = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = top.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    top
}

/// How it ends, and what it says: on standard output, and on standard error.
fn k8s_check(args: &[&Path]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_k8s-check"))
        .args(args)
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn kustomize_builds_what_is_no_local_config() {
    let folder = tree(&[
        (
            "kustomization.yaml",
            "namePrefix: my-\nresources: [all.yaml]",
        ),
        (
            "all.yaml",
            "{apiVersion: pointsman/v1, kind: Pointsman, metadata: {name: p, annotations: {config.kubernetes.io/local-config: 'true'}}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: n}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}",
        ),
    ]);
    let built = build(folder.path()).expect("it builds");
    let names: Vec<String> = built.iter().map(pointsman_k8s::resource::name).collect();
    assert_eq!(names, ["Namespace/n", "ConfigMap/my-c"]);
}

#[test]
fn what_kustomize_refuses_is_said() {
    let folder = tree(&[("kustomization.yaml", "resources: [nowhere.yaml]")]);
    let error = build::<serde_json::Value>(folder.path()).expect_err("it does not build");
    assert!(error.to_string().contains("nowhere.yaml"), "{error}");
}

#[test]
fn components_are_not_built_by_themselves() {
    let top = tree(&[
        ("b/kustomization.yaml", "resources: [x.yaml]"),
        ("a/deep/kustomization.yml", "kind: Kustomization"),
        ("part/kustomization.yaml", "kind: Component"),
        ("unreadable/kustomization.yaml", "a: ["),
        ("none/x.yaml", ""),
    ]);
    let found = folders(top.path()).expect("read");
    let found: Vec<&Path> = found
        .iter()
        .map(|folder| folder.strip_prefix(top.path()).expect("below"))
        .collect();
    assert_eq!(found, ["a/deep", "b", "unreadable"].map(Path::new));
}

#[test]
fn it_ends_as_it_says() {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/crds");
    let wrong = SIGNAL.replace("Red", "Rad");
    let top = tree(&[
        ("right/kustomization.yaml", "resources: [s.yaml]"),
        ("right/s.yaml", SIGNAL),
        ("wrong/kustomization.yaml", "resources: [s.yaml]"),
        ("wrong/s.yaml", &wrong),
        ("unbuilt/kustomization.yaml", "resources: [nowhere.yaml]"),
    ]);
    let at = |name: &str| top.path().join(name);
    let named = |name: &str| at(name).display().to_string();
    let option = Path::new("--crds");

    let (code, out, err) = k8s_check(&[option, &crds, &at("right")]);
    assert_eq!((code, &*err), (Some(0), ""));
    let line = out.lines().next().expect("a line");
    assert!(
        line.starts_with(&format!("   {} ", named("right"))),
        "{out}"
    );
    assert!(line.ends_with(" 1 resource: 1 Signal"), "{out}");
    assert!(
        out.ends_with("1 of 1 resource checked, in 1 kustomization: 0 mistakes\n"),
        "{out}"
    );

    let (code, out, err) = k8s_check(&[option, &crds, &at("right"), &at("wrong"), &at("unbuilt")]);
    assert_eq!(code, Some(1));
    assert!(
        out.ends_with("2 of 2 resources checked, in 3 kustomizations: 2 mistakes\n"),
        "{out}"
    );
    let expected = "Signal/s: spec.color: \"Rad\" is none of its values; did you mean \"Red\"?";
    assert!(
        err.contains(&format!("{}: {expected}\n", named("wrong"))),
        "{err}"
    );
    assert!(
        err.contains(&format!("{}: ", named("unbuilt"))) && err.contains("nowhere.yaml"),
        "{err}"
    );

    for (args, expected) in [
        (
            vec![Path::new("--strict")],
            "k8s-check: unknown option --strict\n",
        ),
        (vec![option], "k8s-check: --crds needs a folder\n"),
        (
            vec![Path::new("nowhere")],
            "k8s-check: nowhere is no folder\n",
        ),
        (
            vec![option, Path::new("nowhere"), &*at("right")],
            "k8s-check: CRDs: nowhere is no folder\n",
        ),
    ] {
        let (code, out, err) = k8s_check(&args);
        assert_eq!((code, &*out), (Some(2), ""), "{args:?}");
        assert!(err.starts_with(expected), "{err}");
    }
}
