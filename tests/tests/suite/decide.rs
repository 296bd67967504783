//! Decide, on a real Envoy: what routes a request, in which order, and what a caller may use.

use pointsman_tests::client::{Reply, get};
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};
use pointsman_tests::upstream::Behaviour;
use serde_json::{Value, json};

type Headers<'a> = &'a [(&'a str, &'a str)];

/// The tests' policy with callers named by `x-team`, and every way to decide.
fn options() -> Options {
    let policy = POLICY.replace("x-client-id", "x-team").replace(
        "classify:\n",
        "
aliases: {quick: fast, large: beta-large}
models:
  beta-large: {fallback: [alpha-large, gamma-small]}
  placed: {targets: [{provider: gamma}, {provider: alpha, model: placed-at-alpha}]}
route_models: {names: [gpt-4o, claude-*]}
callers:
  limited: {tiers: [quality, single]}
  pinning: {tiers: [fast], models: [beta-large, gamma-small]}
classify:
- rules:
  - {when: {header: {name: x-task, value: proof}}, tier: quality}
  - {when: {header: {name: x-flag}, caller: batch}, tier: single}
  - {when: {model_prefix: legacy-}, tier: single}
  - {when: {caller: nightly}, tier: single}
",
    );
    Options {
        policy,
        ..Options::default()
    }
}

/// Where a request went, and why: `status source tier provider/model`; `-` is an absent header.
fn route(reply: &Reply) -> String {
    let header = |name: &str| {
        let value = reply.header(name);
        if value.is_empty() {
            "-".to_owned()
        } else {
            value
        }
    };
    format!(
        "{} {} {} {}/{}",
        reply.status,
        header("x-routing-source"),
        header("x-routing-tier"),
        header("x-routed-provider"),
        header("x-routed-model"),
    )
}

/// `status code param`, and the message.
fn refusal(reply: &Reply) -> (String, String) {
    let body = reply.json();
    let error = &body["error"];
    let param = error["param"].as_str().unwrap_or("-");
    let code = error["code"].as_str().unwrap_or("-");
    let kind = error["type"].as_str().unwrap_or("-");
    let message = error["message"].as_str().unwrap_or_default();
    (
        format!("{} {kind} {code} {param}", reply.status),
        message.to_owned(),
    )
}

fn judged(tier: &str) -> Behaviour {
    Behaviour::classify(
        json!({"tier": tier, "reason": "because", "estimated_complexity": "low"}).to_string(),
    )
}

#[tokio::test]
async fn the_first_that_applies_decides() {
    let gateway = Gateway::start_with("order", options()).await;
    gateway.classifier.set(judged("quality"));
    let proof: (&str, &str) = ("x-task", "proof");
    let policy = |tier| ("x-llm-policy", tier);
    type Case<'a> = (Headers<'a>, &'a str, &'a str, u64);
    let cases: [Case<'_>; 25] = [
        // The header, before every name, rule and classifier.
        (
            &[policy("single")],
            "auto",
            "200 header single alpha/alpha-small",
            0,
        ),
        (
            &[policy("single")],
            "quality",
            "200 header single alpha/alpha-small",
            0,
        ),
        (
            &[policy("single")],
            "beta-large",
            "200 header single alpha/alpha-small",
            0,
        ),
        (
            &[policy("fast"), proof],
            "auto",
            "200 header fast alpha/alpha-small",
            0,
        ),
        (
            &[policy("quality")],
            "no-such-model",
            "200 header quality beta/beta-large",
            0,
        ),
        (
            &[policy(" quality ")],
            "auto",
            "200 header quality beta/beta-large",
            0,
        ),
        // A name, before rules.
        (&[], "quality", "200 model quality beta/beta-large", 0),
        (&[], "fast", "200 model fast alpha/alpha-small", 0),
        (&[], "quick", "200 model fast alpha/alpha-small", 0),
        (&[], "gamma-small", "200 model - gamma/gamma-small", 0),
        (&[], "large", "200 model - beta/beta-large", 0),
        (&[], "placed", "200 model - gamma/placed", 0),
        (&[proof], "single", "200 model single alpha/alpha-small", 0),
        (&[proof], "gamma-small", "200 model - gamma/gamma-small", 0),
        (&[proof], "quick", "200 model fast alpha/alpha-small", 0),
        // Rules, before the classifier, and before a name is unknown.
        (&[proof], "auto", "200 rule quality beta/beta-large", 0),
        (&[proof], "gpt-4o", "200 rule quality beta/beta-large", 0),
        (&[], "legacy-7b", "200 rule single alpha/alpha-small", 0),
        (&[proof], "legacy-7b", "200 rule quality beta/beta-large", 0),
        (
            &[("x-flag", ""), ("x-team", "batch")],
            "auto",
            "200 rule single alpha/alpha-small",
            0,
        ),
        (
            &[("x-team", "nightly")],
            "auto",
            "200 rule single alpha/alpha-small",
            0,
        ),
        // A rule holds in all its conditions or not at all.
        (
            &[("x-flag", "1"), ("x-team", "other")],
            "auto",
            "200 llm quality beta/beta-large",
            1,
        ),
        (
            &[("x-task", "proofs"), ("x-team", "b")],
            "auto",
            "200 llm quality beta/beta-large",
            1,
        ),
        // The classifier, for `auto` and what policy routes by it.
        (&[], "gpt-4o", "200 llm quality beta/beta-large", 1),
        (&[], "claude-next", "200 llm quality beta/beta-large", 1),
    ];
    for (headers, model, expected, asked) in cases {
        gateway.classifier.clear();
        let reply = gateway.chat(headers, model).await;
        let case = format!("{headers:?} {model}: {}", reply.text());
        assert_eq!(route(&reply), expected, "{case}");
        assert_eq!(gateway.classifier.counters().requests, asked, "{case}");
        assert!(!reply.header("x-routing-reason").is_empty(), "{case}");
        let by_classifier = asked > 0;
        assert_eq!(
            reply.headers.contains("x-classification-time"),
            by_classifier,
            "{case}"
        );
        let confidence = reply.header("x-routing-confidence");
        assert_eq!(
            confidence,
            if by_classifier { "" } else { "1.00" },
            "{case}"
        );
    }

    // An alias, or a tier, is sent to the provider by its model's own name.
    gateway.chat(&[], "placed").await;
    assert_eq!(gateway.gamma.last().expect("a request").model(), "placed");
}

#[tokio::test]
async fn what_no_policy_names_is_refused_with_what_there_is() {
    let gateway = Gateway::start_with("unknown", options()).await;
    let unknown_model = "404 invalid_request_error model_not_found model";
    for (model, said) in [
        ("gamma-smal", "did you mean gamma-small"),
        ("beta-larg", "beta-large"),
        ("qualitty", "did you mean quality"),
        ("quik", "quick"),
        ("gpt-4", "GET /v1/models"),
        ("gpt-4o-mini", "GET /v1/models"),
        ("Fast", "fast"),
        ("legacy", "GET /v1/models"),
    ] {
        let reply = gateway.chat(&[], model).await;
        let (refused, message) = refusal(&reply);
        assert_eq!(refused, unknown_model, "{model}");
        assert!(
            message.contains(said) && message.contains("auto"),
            "{model}: {message}"
        );
    }
    // Names that a caller may not use are not suggested to it.
    let reply = gateway.chat(&[("x-team", "limited")], "gamma-smal").await;
    let (refused, message) = refusal(&reply);
    assert_eq!(refused, unknown_model);
    assert!(!message.contains("gamma-small"), "{message}");

    for (headers, listed) in [
        (
            &[("x-llm-policy", "fsat")][..],
            "use one of: fast, quality, single",
        ),
        (
            &[("x-llm-policy", "FAST")],
            "use one of: fast, quality, single",
        ),
        (
            &[("x-llm-policy", "gamma-small")],
            "use one of: fast, quality, single",
        ),
        (
            &[("x-llm-policy", "quick")],
            "use one of: fast, quality, single",
        ),
        (
            &[("x-llm-policy", "fsat"), ("x-team", "limited")],
            "use one of: quality, single",
        ),
    ] {
        let (refused, message) = refusal(&gateway.chat(headers, "auto").await);
        assert_eq!(
            refused, "400 invalid_request_error unknown_tier -",
            "{headers:?}"
        );
        assert!(message.ends_with(listed), "{headers:?}: {message}");
    }
    let asked = [
        &gateway.alpha,
        &gateway.beta,
        &gateway.gamma,
        &gateway.classifier,
    ];
    assert_eq!(asked.map(|u| u.counters().requests), [0, 0, 0, 0]);
}

#[tokio::test]
async fn policy_may_route_every_unknown_model() {
    let mut options = options();
    options.policy = options
        .policy
        .replace("names: [gpt-4o, claude-*]", "unknown: true");
    let gateway = Gateway::start_with("route-unknown", options).await;
    gateway.classifier.set(judged("quality"));
    for (model, expected) in [
        ("no-such-model", "200 llm quality beta/beta-large"),
        ("claude-next", "200 llm quality beta/beta-large"),
        ("gamma-small", "200 model - gamma/gamma-small"),
        ("quick", "200 model fast alpha/alpha-small"),
        ("legacy-1", "200 rule single alpha/alpha-small"),
    ] {
        assert_eq!(route(&gateway.chat(&[], model).await), expected, "{model}");
    }
    let seen = gateway.classifier.requests();
    let prompts: Vec<Value> = seen
        .iter()
        .map(|s| serde_json::from_str(&s.prompt("user")).expect("JSON"))
        .collect();
    let models: Vec<_> = prompts
        .iter()
        .map(|p| p["requested_model"].clone())
        .collect();
    assert_eq!(models, ["no-such-model", "claude-next"]);
}

#[tokio::test]
async fn a_pinned_model_stays_with_its_own_targets_and_fallbacks() {
    let gateway = Gateway::start_with("pinned", options()).await;
    gateway.beta.set(Behaviour::error(503));
    let check = async |headers: &[(&str, &str)], model: &str, attempts: &str, expected: &str| {
        let reply = gateway.chat(headers, model).await;
        assert_eq!(reply.header("x-routed-attempts"), attempts, "{model}");
        assert_eq!(route(&reply), expected, "{model}: {}", reply.text());
    };
    // Its own target failed: the registry's `fallback`.
    check(
        &[],
        "beta-large",
        "beta=503, alpha=200",
        "200 model - alpha/alpha-large",
    )
    .await;
    assert_eq!(
        gateway.alpha.last().expect("a request").model(),
        "alpha-large"
    );
    check(
        &[],
        "large",
        "beta=503, alpha=200",
        "200 model - alpha/alpha-large",
    )
    .await;
    // No fallback: no other model answers in its name, though its tier has others.
    check(&[], "beta-small", "beta=503", "503 model - beta/beta-small").await;
    // A fallback that the caller may not use is passed over.
    check(
        &[("x-team", "pinning")],
        "beta-large",
        "beta=503, gamma=200",
        "200 model - gamma/gamma-small",
    )
    .await;
    // Targets of its own, in their order, each under the name that it has there.
    gateway.gamma.set(Behaviour::error(429));
    check(
        &[],
        "placed",
        "gamma=429, alpha=200",
        "200 model - alpha/placed",
    )
    .await;
    assert_eq!(gateway.gamma.last().expect("a request").model(), "placed");
    assert_eq!(
        gateway.alpha.last().expect("a request").model(),
        "placed-at-alpha"
    );
    // All failed.
    gateway.alpha.set(Behaviour::error(500));
    check(
        &[],
        "beta-large",
        "beta=503, alpha=500, gamma=429",
        "429 model - gamma/gamma-small",
    )
    .await;
}

#[tokio::test]
async fn a_caller_is_held_to_its_limits_however_it_asks() {
    let gateway = Gateway::start_with("limits", options()).await;
    // What the classifier may not choose is not chosen.
    gateway.classifier.set(judged("fast"));
    let tier = "403 permission_error tier_not_allowed -";
    let model = "403 permission_error model_not_allowed model";
    let limited = ("x-team", "limited");
    let pinning = ("x-team", "pinning");
    type Case<'a> = (Headers<'a>, &'a str, &'a str, &'a [&'a str]);
    let refused: [Case<'_>; 9] = [
        (
            &[limited, ("x-llm-policy", "fast")],
            "auto",
            tier,
            &["allowed: quality, single"],
        ),
        (&[limited], "fast", tier, &["allowed: quality, single"]),
        (&[limited], "quick", tier, &["allowed: quality, single"]),
        (
            &[limited],
            "gamma-small",
            model,
            &[
                "alpha-large, alpha-small, beta-large",
                "quality, single, auto",
            ],
        ),
        (
            &[limited],
            "beta-small",
            model,
            &["alpha-large, alpha-small, beta-large"],
        ),
        (
            &[pinning],
            "alpha-small",
            model,
            &[
                "allowed models: beta-large, gamma-small",
                "allowed tiers: fast, auto",
            ],
        ),
        (&[pinning], "quality", tier, &["allowed: fast"]),
        (
            &[pinning, ("x-task", "proof")],
            "auto",
            tier,
            &["allowed: fast"],
        ),
        (&[pinning], "legacy-1", tier, &["allowed: fast"]),
    ];
    for (headers, name, expected, said) in refused {
        let (refused, message) = refusal(&gateway.chat(headers, name).await);
        assert_eq!(refused, expected, "{headers:?} {name}");
        for part in said {
            assert!(message.contains(part), "{headers:?} {name}: {message}");
        }
    }
    for provider in gateway.providers() {
        assert_eq!(provider.counters().requests, 0, "{}", provider.name());
    }

    let allowed: [(Headers<'_>, &str, &str); 7] = [
        (
            &[limited, ("x-llm-policy", "single")],
            "auto",
            "200 header single alpha/alpha-small",
        ),
        (&[limited], "beta-large", "200 model - beta/beta-large"),
        (&[limited], "large", "200 model - beta/beta-large"),
        (
            &[limited, ("x-task", "proof")],
            "auto",
            "200 rule quality beta/beta-large",
        ),
        // The classifier said `fast`: this caller's default is its first tier, for the policy's is not its.
        (&[limited], "auto", "200 default quality beta/beta-large"),
        (&[pinning], "large", "200 model - beta/beta-large"),
        // One tier only: nobody has to be asked.
        (&[pinning], "auto", "200 default fast alpha/alpha-small"),
    ];
    for (headers, name, expected) in allowed {
        let reply = gateway.chat(headers, name).await;
        assert_eq!(
            route(&reply),
            expected,
            "{headers:?} {name}: {}",
            reply.text()
        );
    }
    let asked = gateway.classifier.requests();
    assert_eq!(asked.len(), 1);
    let offered =
        &asked[0].json()["response_format"]["json_schema"]["schema"]["properties"]["tier"]["enum"];
    assert_eq!(offered, &json!(["quality", "single"]));
    assert!(
        !asked[0].prompt("system").contains("fast"),
        "{}",
        asked[0].prompt("system")
    );
    // A caller without an entry is not limited when there is no `*`.
    let reply = gateway.chat(&[("x-team", "nobody")], "fast").await;
    assert_eq!(route(&reply), "200 model fast alpha/alpha-small");
}

#[tokio::test]
async fn the_star_limits_whoever_has_no_entry() {
    let mut options = options();
    options.policy = options
        .policy
        .replace("callers:\n", "callers:\n  \"*\": {tiers: [single]}\n");
    let gateway = Gateway::start_with("star", options).await;
    for (headers, model, expected) in [
        (&[][..], "fast", "403 permission_error tier_not_allowed -"),
        (
            &[("x-team", "nobody")],
            "fast",
            "403 permission_error tier_not_allowed -",
        ),
        (
            &[("x-team", "*")],
            "fast",
            "403 permission_error tier_not_allowed -",
        ),
        (
            &[("x-team", "")],
            "beta-large",
            "403 permission_error model_not_allowed model",
        ),
        // An entry of its own replaces it.
        (
            &[("x-team", "pinning")],
            "single",
            "403 permission_error tier_not_allowed -",
        ),
    ] {
        let (refused, _) = refusal(&gateway.chat(headers, model).await);
        assert_eq!(refused, expected, "{headers:?} {model}");
    }
    for (headers, model, expected) in [
        (&[][..], "auto", "200 default single alpha/alpha-small"),
        (&[], "alpha-small", "200 model - alpha/alpha-small"),
        (
            &[("x-team", "pinning")],
            "fast",
            "200 model fast alpha/alpha-small",
        ),
    ] {
        assert_eq!(
            route(&gateway.chat(headers, model).await),
            expected,
            "{headers:?} {model}"
        );
    }
}

// === client keys

const KEY_OF_A: &str = "client-key-of-team-a-0123456789";
const KEY_OF_B: &str = "client-key-of-team-b-0123456789";

#[tokio::test]
async fn a_client_key_names_the_caller_and_goes_no_further() {
    let key = |client: &str, key: &str| (client.to_owned(), key.to_owned());
    let gateway = Gateway::start_with(
        "client-keys",
        Options {
            client_keys: vec![key("team-a", KEY_OF_A), key("team-b", KEY_OF_B)],
            policy: format!(
                "{POLICY}callers: {{team-a: {{tiers: [quality]}}, \"*\": {{tiers: [single]}}}}\n"
            ),
            ..Options::default()
        },
    )
    .await;
    let a = format!("Bearer {KEY_OF_A}");
    let b = format!("Bearer {KEY_OF_B}");
    let short = format!("Bearer {}", &KEY_OF_A[..KEY_OF_A.len() - 1]);

    let strangers: [Headers<'_>; 8] = [
        &[],
        &[("x-client-id", "team-a")],
        &[
            ("authorization", "Bearer of-nobody"),
            ("x-client-id", "team-a"),
        ],
        &[("authorization", &short)],
        &[("authorization", "Bearer ")],
        &[("x-api-key", &KEY_OF_A[1..])],
        &[("x-api-key", ""), ("x-client-id", "team-a")],
        // Where both are, the first counts.
        &[
            ("authorization", "Bearer of-nobody"),
            ("x-api-key", KEY_OF_A),
        ],
    ];
    for headers in strangers {
        for reply in [
            gateway.chat(headers, "quality").await,
            get(gateway.port(), "/v1/models", headers)
                .await
                .expect("an answer"),
        ] {
            let (refused, message) = refusal(&reply);
            assert_eq!(
                refused,
                "401 invalid_request_error invalid_api_key -",
                "{}",
                reply.text()
            );
            for way in ["Authorization: Bearer <key>", "x-api-key: <key>"] {
                assert!(message.contains(way), "{message}");
            }
            assert_eq!(reply.header("content-type"), "application/json");
        }
    }
    for provider in gateway.providers() {
        assert_eq!(provider.counters().requests, 0, "{}", provider.name());
    }
    gateway.classifier.clear();

    // The key decides who calls, whatever the client says.
    let team_a = "200 default quality beta/beta-large";
    let team_b = "200 default single alpha/alpha-small";
    let cases: [(Headers<'_>, &str); 6] = [
        (&[("authorization", &a)], team_a),
        (&[("authorization", &a), ("x-client-id", "team-b")], team_a),
        (&[("authorization", &b)], team_b),
        (
            &[
                ("x-client-id", "team-a"),
                ("authorization", &b),
                ("x-client-id", "team-a"),
            ],
            team_b,
        ),
        // As Anthropic's SDKs send it; a second key goes no further either.
        (&[("x-api-key", KEY_OF_A)], team_a),
        (&[("authorization", &b), ("x-api-key", KEY_OF_A)], team_b),
    ];
    for (headers, expected) in cases {
        let reply = gateway.chat(headers, "auto").await;
        assert_eq!(route(&reply), expected, "{}", reply.text());
    }
    for provider in gateway.providers() {
        for seen in provider.requests() {
            assert_eq!(
                seen.header("authorization"),
                format!("Bearer key-of-{}", provider.name())
            );
            for secret in [KEY_OF_A, KEY_OF_B, "team-a", "team-b"] {
                assert!(
                    !seen.headers.mentions(secret.as_bytes()),
                    "{}",
                    provider.name()
                );
            }
        }
    }
    let log = gateway.access_log(22).await;
    let callers: Vec<_> = log[16..]
        .iter()
        .map(|line| line["caller"].clone())
        .collect();
    let expected = ["team-a", "team-a", "team-b", "team-b", "team-a", "team-b"];
    assert_eq!(callers, expected);
    let logged = format!("{log:?}{}", gateway.log());
    assert!(!logged.contains(KEY_OF_A) && !logged.contains(KEY_OF_B));
}

#[tokio::test]
async fn without_client_keys_nobody_can_name_himself() {
    let gateway = Gateway::start_with(
        "anonymous",
        Options {
            policy: format!(
                "{POLICY}callers: {{team-a: {{tiers: [quality]}}, \"*\": {{tiers: [single]}}}}\n"
            ),
            ..Options::default()
        },
    )
    .await;
    let reply = gateway
        .post(&[("x-client-id", "team-a")], &chat("quality", false))
        .await;
    assert_eq!(refusal(&reply).0, "403 permission_error tier_not_allowed -");
    let log = gateway.access_log(1).await;
    assert_eq!(log[0]["caller"], Value::Null, "nobody was named");
}
