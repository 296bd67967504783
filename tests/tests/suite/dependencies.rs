//! What comes in with the dependencies: licences as deny.toml allows them, and little in the filter itself.

use std::collections::BTreeSet;
use std::process::Command;

use pointsman_tests::render;
use serde_json::Value;

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(render::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo {args:?} failed");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    let deny = std::fs::read_to_string(render::root().join("deny.toml")).expect("deny.toml");
    let deny: toml::Table = deny.parse().expect("TOML");
    let allowed: BTreeSet<&str> = deny["licenses"]["allow"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let metadata: Value = serde_json::from_str(&cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--offline",
        "--locked",
    ]))
    .expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(
        packages.len() > 50,
        "only {} packages were looked at",
        packages.len()
    );
    for package in packages {
        let licence = package["license"].as_str().unwrap_or_default();
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX)
            .unwrap_or_else(|_| panic!("{}: no SPDX licence", package["name"]));
        let is_allowed = expression.evaluate(|required| {
            required
                .license
                .id()
                .is_some_and(|id| allowed.contains(id.name))
        });
        assert!(is_allowed, "{}: {licence}", package["name"]);
    }
}

#[test]
fn little_is_compiled_into_the_filter() {
    let tree = cargo(&[
        "tree",
        "--offline",
        "--locked",
        "-p",
        "pointsman",
        "--target",
        "wasm32-wasip1",
        "-e",
        "no-proc-macro,normal",
        "--depth",
        "1",
        "--prefix",
        "none",
        "--format",
        "{lib}",
    ]);
    let direct: BTreeSet<&str> = tree
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let expected = [
        "log",
        "lru",
        "pointsman",
        "proxy_wasm",
        "serde",
        "serde_json",
        "thiserror",
    ];
    assert_eq!(direct, BTreeSet::from(expected));
}
