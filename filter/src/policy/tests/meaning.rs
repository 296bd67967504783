//! What the parts of a policy come to mean.

use std::sync::Arc;
use std::time::Duration;

use super::*;

#[test]
fn defaults() {
    let policy = policy(&base());
    assert_eq!(
        policy.admit,
        Admit {
            paths: vec!["/v1/chat/completions".into()],
            messages_paths: vec!["/v1/messages".to_owned()],
            models_path: "/v1/models".into(),
            max_body: 4 << 20
        }
    );
    assert_eq!(
        policy.timeouts,
        Timeouts {
            first_token: Duration::from_secs(15),
            one_shot: Duration::from_secs(120),
            first_token_total: Duration::from_secs(45),
            one_shot_total: Duration::from_secs(360)
        }
    );
    assert_eq!(
        policy.cache,
        Cache {
            max_bytes: 1 << 20,
            ttl: Duration::from_secs(600),
            share_between_callers: false
        }
    );
    assert_eq!(
        policy.limits,
        Limits {
            hold_answer: 4 << 20
        }
    );
    assert_eq!(
        policy.health,
        Rules {
            cooldown: Some(Cooldown::default()),
            retry_budget: RetryBudget::default()
        }
    );
    assert_eq!(policy.route_models, RouteModels::default());
    assert_eq!(
        (
            policy.caller.is_none(),
            policy.classify.is_empty(),
            policy.log_reason
        ),
        (true, true, false)
    );
    let openai = &policy.providers["openai"];
    assert_eq!(
        (openai.host.as_str(), openai.path.as_str()),
        ("openai", "/v1/chat/completions")
    );
    assert_eq!(policy.tiers[0].timeouts, None);
    assert_eq!(policy.tiers[0].order, Order::Priority);
    assert_eq!(policy.tiers[0].degrade, None);
}

#[test]
fn every_field_is_read() {
    let policy = policy(&full());
    assert_eq!(
        policy.admit,
        Admit {
            paths: vec!["/v1/chat/completions".into(), "/chat".into()],
            messages_paths: vec!["/v1/messages".to_owned()],
            models_path: "/models".into(),
            max_body: 512 << 10
        }
    );
    assert_eq!(
        policy.caller,
        Some(CallerSource::Metadata(vec![
            "envoy.filters.http.jwt_authn".into(),
            "payload".into(),
            "sub".into()
        ]))
    );
    let quality = TierName(Arc::from("quality"));
    let fast = TierName(Arc::from("fast"));
    assert_eq!(
        policy.callers["batch"],
        CallerLimits {
            tiers: vec![fast.clone()],
            models: Some(vec![Arc::from("gpt-5-nano")]),
            regions: Some(vec![Arc::from("eu")]),
            versions: Some(vec!["gpt-5-nano-2025-08-07".into(), "my-*".into()]),
            order_providers: false,
        }
    );
    assert_eq!(
        policy.callers["*"],
        CallerLimits {
            tiers: vec![quality.clone(), fast.clone()],
            models: None,
            regions: None,
            versions: None,
            order_providers: true,
        }
    );
    // What a tier does not override is the policy's.
    assert_eq!(
        policy.timeouts,
        Timeouts {
            first_token: Duration::from_millis(1500),
            one_shot: Duration::from_secs(600),
            first_token_total: Duration::from_millis(4500),
            one_shot_total: Duration::from_secs(1200)
        }
    );
    assert_eq!(
        policy.tiers[0].timeouts,
        Some(Timeouts {
            // Three times its own: the policy's would not do.
            first_token: Duration::from_secs(10),
            one_shot: Duration::from_secs(600),
            first_token_total: Duration::from_secs(30),
            one_shot_total: Duration::from_secs(1200)
        })
    );
    let weights = |tier: &Tier| tier.targets.iter().map(|t| t.weight).collect::<Vec<_>>();
    assert_eq!(
        (policy.tiers[0].order, weights(&policy.tiers[0])),
        (Order::Weighted(Sticky::Caller), vec![90, 10])
    );
    assert_eq!(
        (policy.tiers[1].order, weights(&policy.tiers[1])),
        (Order::Priority, vec![0, 0])
    );
    // A share is of a tier, not of a model.
    let nano = &policy.models["gpt-5-nano"].targets;
    assert!(nano.iter().all(|target| target.weight == 0));
    assert_eq!(
        policy.tiers[0].degrade,
        Some(Degrade::Answer(Arc::from("Try again \"later\".")))
    );
    assert_eq!(policy.tiers[1].degrade, Some(Degrade::Tier(fast.clone())));
    let azure = &policy.providers["azure"];
    assert_eq!(
        (&*azure.cluster, azure.host.as_str()),
        ("azure-cluster", "x.openai.azure.com:443")
    );
    assert_eq!(
        azure.path,
        "/openai/deployments/{model}/chat/completions?api-version=1"
    );
    let mut set = azure.set_headers.clone();
    set.sort();
    assert_eq!(
        set,
        [
            ("user-agent".into(), "pointsman".into()),
            ("x-a".into(), "b c".into())
        ]
    );
    assert_eq!(azure.pass_headers, ["x-b", "openai-beta"]);
    let model = &policy.models["gpt-5-nano"];
    assert_eq!(
        (model.context, model.tools, model.json_schema),
        (Some(400_000), Some(true), Some(false))
    );
    assert_eq!(
        (model.input.clone(), model.price),
        (
            vec!["text".into(), "image".into()],
            Some(Price {
                input: 0.05,
                output: 0.4
            })
        )
    );
    assert_eq!(model.fallback, [Arc::from("gpt-5.2")]);
    assert_eq!(
        policy.aliases["gpt-4o-mini"],
        AliasTarget::Model(Arc::from("gpt-5-nano"))
    );
    assert_eq!(policy.aliases["best"], AliasTarget::Tier(quality.clone()));
    assert_eq!(
        policy.route_models,
        RouteModels {
            names: vec!["gpt-4*".into(), "o1".into()],
            unknown: true
        }
    );
    let all = When {
        header: Some(("x-team".into(), Some("research".into()))),
        path: Some("/chat".into()),
        caller: Some("batch".into()),
        model_prefix: Some("claude-".into()),
    };
    let flag = When {
        header: Some(("x-flag".into(), None)),
        ..When::default()
    };
    assert_eq!(
        policy.classify[0].kind,
        StepKind::Rules(vec![
            Rule {
                when: all,
                tier: quality
            },
            Rule {
                when: flag,
                tier: fast
            }
        ])
    );
    let shadows: Vec<bool> = policy.classify.iter().map(|step| step.shadow).collect();
    assert_eq!(shadows, [false, true, false]);
    let local = policy.local().unwrap();
    let of = |tier: &LocalTier| {
        (
            tier.tier.to_string(),
            tier.labels.clone(),
            tier.min_confidence,
        )
    };
    assert_eq!(
        local.tiers.iter().map(of).collect::<Vec<_>>(),
        [
            ("fast".to_owned(), vec![0, 1], 0.8),
            ("quality".to_owned(), vec![2, 3], 0.7)
        ]
    );
    assert_eq!(local.under_routing_cost, 2.0);
    assert_eq!(
        policy.llm(),
        Some(&LlmClassifier {
            cluster: "classifier".into(),
            model: "mercury-2".into(),
            timeout: Duration::from_millis(700),
            host: "h".into(),
            path: "/p?q".into(),
            max_system_chars: 1,
            max_user_chars: 20_000,
            max_tokens: 3,
            max_in_flight: 4,
        })
    );
    assert_eq!(
        policy.cache,
        Cache {
            max_bytes: 0,
            ttl: Duration::from_secs(3600),
            share_between_callers: true
        }
    );
    assert_eq!(
        (policy.limits.hold_answer, policy.log_reason),
        (2 << 20, true)
    );
    let cooldown = Cooldown {
        consecutive_failures: 1,
        error_permille: 250,
        min_requests: 2,
        window: Duration::from_secs(3),
        base: Duration::from_secs(4),
        max: Duration::from_secs(5),
        quota: Duration::from_secs(6),
        max_retry_after: Duration::from_secs(7),
    };
    let retry_budget = RetryBudget {
        permille: 100,
        min_per_second: 8,
    };
    assert_eq!(
        policy.health,
        Rules {
            cooldown: Some(cooldown),
            retry_budget
        }
    );
}

#[test]
fn cooldown_is_on_unless_it_is_switched_off() {
    for (cooldown, is_on) in [
        (json!({}), true),
        (json!({"base": "1s"}), true),
        (json!({"enabled": true}), true),
        (json!({"enabled": false}), false),
        (json!({"enabled": false, "base": "1s"}), false),
    ] {
        let policy = super::policy(&edited(base(), &[with("/cooldown", cooldown.clone())]));
        assert_eq!(policy.health.cooldown.is_some(), is_on, "{cooldown}");
    }
}

fn shown(targets: &[Target]) -> Vec<String> {
    targets
        .iter()
        .map(|target| {
            format!(
                "{}:{}>{}",
                target.provider.name, target.model, target.sent_as
            )
        })
        .collect()
}

#[test]
fn a_target_is_sent_as_the_registry_says() {
    let policy = policy(&full());
    let fast = policy.tier("fast").unwrap();
    assert_eq!(
        shown(&fast.targets),
        [
            "openai:gpt-5-nano>gpt-5-nano",
            "azure:gpt-5-nano>my-deployment"
        ]
    );
    assert_eq!(
        shown(&policy.models["gpt-5-nano"].targets),
        [
            "openai:gpt-5-nano>gpt-5-nano",
            "azure:gpt-5-nano>my-deployment"
        ]
    );
}

#[test]
fn a_model_without_targets_is_served_where_tiers_say() {
    let again = json!({"description": "d", "targets": [{"provider": "openai", "model": "gpt-5.2"}, {"provider": "anthropic", "model": "gpt-5.2"}]});
    for models in [json!({}), json!({"gpt-5.2": {"context": 1}})] {
        let policy = policy(&edited(
            base(),
            &[with("/tiers/zz", again.clone()), with("/models", models)],
        ));
        assert_eq!(
            shown(&policy.models["gpt-5.2"].targets),
            ["openai:gpt-5.2>gpt-5.2", "anthropic:gpt-5.2>gpt-5.2"]
        );
        assert_eq!(policy.models.len(), 3);
    }
}

/// What `sticky` says.
#[test]
fn a_weighted_tier() {
    for (sticky, expected) in [
        (None, Sticky::Conversation),
        (Some("conversation"), Sticky::Conversation),
        (Some("caller"), Sticky::Caller),
        (Some("none"), Sticky::None),
    ] {
        let mut tier = json!({"order": "weighted", "description": "d", "targets": [
            {"provider": "openai", "model": "a", "weight": 1_000_000},
            {"provider": "openai", "model": "b", "weight": 0},
        ]});
        if let Some(sticky) = sticky {
            tier["sticky"] = json!(sticky);
        }
        let policy = policy(&edited(base(), &[with("/tiers/fast", tier)]));
        let tier = policy.tier("fast").unwrap();
        assert_eq!(tier.order, Order::Weighted(expected), "{sticky:?}");
        let weights: Vec<u32> = tier.targets.iter().map(|target| target.weight).collect();
        assert_eq!(weights, [1_000_000, 0]);
    }
}

#[test]
fn limits_of_a_caller() {
    let policy = policy(&full());
    assert_eq!(policy.limits_of("batch"), policy.callers.get("batch"));
    assert_eq!(policy.limits_of("anyone"), policy.callers.get("*"));
    assert_eq!(super::policy(&base()).limits_of("anyone"), None);
}

/// The design's document; its `local` names what the model's other tiers are here.
#[test]
fn the_designs_sketch() {
    let text = r#"{
        "version": 1,
        "default_tier": "fast",
        "tiers": {
            "fast": {
                "description": "simple Q&A, classification, summarization, extraction, short tasks",
                "targets": [{"provider": "openai", "model": "gpt-5-nano"}, {"provider": "anthropic", "model": "claude-haiku-4-5"}]
            },
            "reasoning": {"description": "…", "targets": [{"provider": "openai", "model": "gpt-5.2"}]}
        },
        "providers": {"openai": {"cluster": "openai", "api": "openai"}, "anthropic": {"cluster": "anthropic", "api": "openai"}},
        "models": {"gpt-5-nano": {"context": 400000, "input": ["text", "image"], "tools": true, "json_schema": true, "price": {"input": 0.05, "output": 0.40}}},
        "classify": [{"rules": []}, {"local": {"min_confidence": 0.7, "tiers": {"balanced": "fast", "quality": "reasoning"}}}, {"llm": {"cluster": "classifier", "model": "mercury-2", "timeout": "800ms"}}]
    }"#;
    let policy = Policy::from_bytes(text.as_bytes()).unwrap();
    assert_eq!(
        policy
            .tiers
            .iter()
            .map(|tier| &*tier.name.0)
            .collect::<Vec<_>>(),
        ["fast", "reasoning"]
    );
    assert_eq!(policy.models.len(), 3);
}

#[test]
fn the_fingerprint_is_of_what_decides() {
    let of = |edits: &[Edit<'_>]| policy(&edited(full(), edits)).fingerprint;
    let same = of(&[]);
    for edit in [
        with(
            "/tiers/fast/targets",
            json!([{"provider": "openai", "model": "other", "weight": 1}]),
        ),
        with("/tiers/fast/sticky", json!("none")),
        with("/callers/*/order_providers", json!(false)),
        with("/providers/openai/host", json!("elsewhere")),
        with("/classify/2/llm/timeout", json!("2s")),
        with("/log_reason", json!(false)),
        // The local model's decisions are not cached.
        with("/classify/1/local/under_routing_cost", json!(3)),
        with("/classify/1/shadow", json!(false)),
        with("/classify/1/local/tiers/balanced", json!("quality")),
    ] {
        assert_eq!(of(std::slice::from_ref(&edit)), same, "{edit:?}");
    }
    for edit in [
        with("/tiers/fast/description", json!("simple")),
        with("/default_tier", json!("quality")),
        with("/classify/2/llm/model", json!("mercury-3")),
        with("/classify/2/llm/max_user_chars", json!(400)),
        with("/callers/batch/tiers", json!(["quality"])),
        without("/callers/batch/models"),
        with("/callers/batch/models", json!([])),
    ] {
        assert_ne!(of(std::slice::from_ref(&edit)), same, "{edit:?}");
    }
    // Pinned: workers and builds that share a policy must agree.
    assert_eq!(policy(&base()).fingerprint, 13_269_425_466_764_435_158);
}

/// What is read of a conversation: as much as the step that reads most, and no end and no earlier message for an LLM alone.
#[test]
fn what_the_steps_read() {
    let local = json!({"local": {"tiers": {"balanced": "fast", "reasoning": "quality"}}});
    let llm = |chars: usize| json!({"llm": {"cluster": "c", "model": "m", "max_user_chars": chars, "max_system_chars": 3}});
    let check = |steps: Json, expected: [usize; 4]| {
        let cut = policy(&edited(base(), &[with("/classify", steps.clone())])).cut(0);
        let found = [cut.system, cut.user, cut.user_end, cut.previous];
        assert_eq!(found, expected, "{steps}");
    };
    let read = crate::classify::local::READ;
    let [end, previous] = [read.user_end, read.previous];
    check(json!([]), [0; 4]);
    check(json!([llm(7)]), [3, 7, 0, 0]);
    check(json!([local]), [read.system, read.user, end, previous]);
    check(
        json!([llm(7), local]),
        [read.system, read.user, end, previous],
    );
    check(
        json!([local, llm(9000)]),
        [read.system, 9000, end, previous],
    );
}

/// A model of the operator's own, with tiers of its own.
#[test]
fn a_model_in_the_policy() {
    use crate::classify::local::features::MARKS;
    use crate::classify::local::model::{LENGTHS, Model};
    use base64::Engine as _;
    let model = Model {
        labels: vec!["fast".to_owned(), "quality".to_owned()],
        bits: 8,
        temperature: 1.0,
        bias: vec![0.0; 2],
        scales: vec![1.0; 2],
        marks: vec![0.0; MARKS * 2],
        history: vec![0.0; LENGTHS * 4],
        words: vec![0; 512],
    };
    let encoded = base64::engine::general_purpose::STANDARD.encode(model.to_bytes());
    let policy = policy(&edited(
        base(),
        &[with("/classify", json!([{"local": {"model": encoded}}]))],
    ));
    let local = policy.local().unwrap();
    assert_eq!(*local.model, model);
    let of = |tier: &LocalTier| (tier.tier.to_string(), tier.min_confidence);
    assert_eq!(
        local.tiers.iter().map(of).collect::<Vec<_>>(),
        [("fast".to_owned(), 0.7), ("quality".to_owned(), 0.7)]
    );
    assert_eq!(local.under_routing_cost, 1.25);
}
