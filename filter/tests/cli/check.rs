//! `pointsman check`: wherever a policy stands it is found, and its mistakes are the filter's words behind a place.

use super::{fixtures, run, run_in};

const SUMMARY: &str = "  tiers      fast  openai/m
  default    fast
  classify   no steps: what nobody names goes to the default tier
  providers  openai (cluster openai)
";

#[test]
fn a_policy_is_found_in_every_kind_of_file() {
    let value = "resources[0].typed_config.config.configuration.value";
    for (file, at) in [
        ("small.yaml", ""),
        ("small.json", ""),
        ("ecds_string.yaml", value),
        ("ecds_struct.yaml", value),
        (
            "bootstrap.yaml",
            "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.config.configuration.value",
        ),
        ("configmap.yaml", "[1].data.policy.yaml"),
        (
            "configmap_of_envoy.yaml",
            &format!("data.router.yaml.{value}"),
        ),
        (
            "envoy_filter.yaml",
            "spec.configPatches[0].patch.value.typed_config.value.config.configuration.value",
        ),
        ("extension_policy.yaml", "spec.wasm[0].config"),
        ("wasm_plugin.yaml", "spec.pluginConfig"),
    ] {
        let ran = run(&["check", file]);
        let name = match at {
            "" => file.to_owned(),
            at => format!("{file}: {at}"),
        };
        let expected = format!("{name}: a valid policy\n{SUMMARY}");
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{file}");
        assert_eq!(ran.out, expected, "{file}");
        // The same by its path, and from standard input.
        if !at.is_empty() {
            assert_eq!(run(&["check", file, "--at", at]).out, expected);
        }
        let bytes = std::fs::read(fixtures().join(file)).expect("a fixture");
        let ran = run_in(&fixtures(), &["check", "-"], &bytes);
        assert_eq!(ran.code, Some(0), "{file}");
        assert_eq!(ran.out, expected.replacen(file, "standard input", 1));
    }
}

#[test]
fn a_summary_names_steps_and_their_clusters() {
    let ran = run(&["check", "policy.yaml"]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    let expected = "\
policy.yaml: a valid policy
  tiers      strong  claude/large
             fast    openai/small, claude/large, google/other
  default    fast
  classify   1 rules, then judge (cluster classifier)
  providers  claude (cluster anthropic), google (cluster gemini), openai (cluster openai)
";
    assert_eq!(ran.out, expected);
}

#[test]
fn mistakes_are_the_filters_words_behind_a_line() {
    for (file, expected) in [
        (
            "mistakes.yaml",
            &[
                "mistakes.yaml:13: providers.openai.api: given twice",
                "mistakes.yaml:10: tiers.fast.targets[1].provider: no provider \"opnai\"; did you mean \"openai\"?",
                "mistakes.yaml:18: models.gpt-5.2.tols: unknown field; did you mean \"tools\"?",
                "mistakes.yaml:3: default_tier: no tier \"fats\"; did you mean \"fast\"?",
            ][..],
        ),
        (
            "unfinished.yaml",
            &[
                "unfinished.yaml: version: required",
                "unfinished.yaml: providers: required",
                "unfinished.yaml: default_tier: required",
            ],
        ),
        (
            "several.yaml",
            &["several.yaml:7: default_tier: no tier \"fats\"; did you mean \"fast\"?"],
        ),
        (
            "yaml_in_a_plugin.yaml",
            &[
                "yaml_in_a_plugin.yaml:4: the policy is neither JSON text that starts with \"{\" nor a Struct; YAML text is not read, so write it as a Struct or as JSON",
            ],
        ),
        (
            "no_policy.yaml",
            &[
                "no_policy.yaml: no policy found: looked for a map with `tiers` and `providers`, in all documents and in the strings in them; see README, The policy",
            ],
        ),
    ] {
        let ran = run(&["check", file]);
        assert_eq!(ran.code, Some(1), "{file}: {}", ran.err);
        let found: Vec<&str> = ran.err.lines().collect();
        assert_eq!(found, expected, "{file}");
    }
}

#[test]
fn what_is_no_yaml_is_said_to_be_none() {
    for (file, start) in [
        ("no_yaml.yaml", "no_yaml.yaml: is neither YAML nor JSON: "),
        (
            "broken_string.yaml",
            "broken_string.yaml:2: data.policy.yaml: is neither YAML nor JSON: ",
        ),
    ] {
        let ran = run(&["check", file]);
        assert_eq!((ran.code, &*ran.out), (Some(1), ""), "{file}");
        assert!(ran.err.starts_with(start), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
    // JSON text is the filter's to judge.
    let ran = run_in(&fixtures(), &["check", "-"], b"{\"tiers\": ");
    let start = "standard input: the policy is not valid JSON: ";
    assert!(ran.err.starts_with(start), "{}", ran.err);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn of_several_policies_each_is_checked_or_the_one_that_is_named() {
    // The third is the first again.
    let ran = run(&["check", "several.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.out,
        format!("several.yaml: [0]: a valid policy\n{SUMMARY}")
    );
    let ran = run(&["check", "several.yaml", "--at", "[0]"]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
}

/// Whatever the bytes: an answer or a mistake, never a panic.
#[test]
fn no_bytes_panic() {
    for input in [
        &b""[..],
        b"\xff\xfe",
        b"null",
        b"[]",
        b"--- ---",
        b"a: *b",
        b"!tag {tiers: {}, providers: {}}",
        b"{1: 2, true: 3, ~: 4, tiers: .inf, providers: .nan}",
        b"? [a]\n: b",
        b"tiers: &a [*a]",
        &[b'['; 5000],
    ] {
        let ran = run_in(&fixtures(), &["check", "-"], input);
        assert!(matches!(ran.code, Some(1 | 2)), "{input:?}: {ran:?}");
        assert!(!ran.err.is_empty() && !ran.err.contains("panic"), "{ran:?}");
    }
}
