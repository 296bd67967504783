//! The policy, changed while requests run: taken up, refused, mended, in each of its forms.

use std::path::Path;
use std::time::Duration;

use pointsman_tests::client::{self, Conn, Sse};
use pointsman_tests::edit;
use pointsman_tests::envoy::Reload;
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat};
use pointsman_tests::policy_file;
use pointsman_tests::upstream::Behaviour;
use serde_json::json;

const QUALITY: &str = r#"{"tier":"quality","reason":"needs care","estimated_complexity":"high"}"#;

/// [`POLICY`] with this text replaced, as JSON. The text must be there.
fn changed(from: &str, to: &str) -> String {
    assert!(POLICY.contains(from), "no {from:?} in POLICY");
    policy_file::to_json(&POLICY.replace(from, to)).expect("YAML")
}

/// `fast` begins at gamma, and `quality` has no other target than gamma.
fn all_to_gamma() -> String {
    let policy = POLICY
        .replace(
            "- {provider: alpha, model: alpha-small}\n    - {provider: beta",
            "- {provider: gamma, model: gamma-new}\n    - {provider: beta",
        )
        .replace(
            "- {provider: beta, model: beta-large}\n    - {provider: alpha, model: alpha-large}",
            "- {provider: gamma, model: gamma-large}",
        )
        .replace("timeout: 500ms", "timeout: 5s");
    policy_file::to_json(&policy).expect("YAML")
}

#[tokio::test]
async fn a_reload_changes_the_next_request_and_none_under_way() {
    let options = Options {
        // A loaded machine has seconds for the reload.
        policy: POLICY
            .replace("timeout: 500ms", "timeout: 5s")
            .replace("one_shot: 1s", "one_shot: 3s"),
        ..Options::default()
    };
    let mut gateway = Gateway::start_with("reload", options).await;
    let port = gateway.port();
    gateway.alpha.set(Behaviour::Stream {
        events: 60,
        gap: Duration::from_millis(50),
    });
    gateway.beta.next([Behaviour::StallBeforeHeaders]);
    gateway.classifier.set(Behaviour::Classify {
        content: QUALITY.into(),
        delay: Duration::from_millis(2500),
    });

    // A stream of which the first event is there…
    let mut conn = Conn::open(port).await.expect("connects");
    let fast = client::chat_request(&[("x-llm-policy", "fast")], &chat("auto", true));
    conn.send(&fast).await.expect("sends");
    let mut streaming = conn.response().await.expect("a stream");
    let first = streaming.piece().await.expect("a piece").expect("an event");
    // …a request whose first attempt has not been answered…
    let failing_over = tokio::spawn(async move {
        client::post_chat(port, &[("x-llm-policy", "quality")], &chat("auto", false)).await
    });
    // …and one that waits for the classifier.
    let asking =
        tokio::spawn(async move { client::post_chat(port, &[], &chat("auto", false)).await });
    let patience = Duration::from_secs(5);
    assert!(gateway.beta.wait_for(patience, |c| c.in_flight == 1).await);
    assert!(
        gateway
            .classifier
            .wait_for(patience, |c| c.in_flight == 1)
            .await
    );

    let reload = gateway.envoy.reload(&all_to_gamma()).await;
    assert_eq!(reload, Ok(Reload::Taken));
    let next = gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
    assert_eq!(
        next.header("x-routed-model"),
        "gamma-new",
        "{}",
        next.text()
    );
    for (upstream, what) in [
        (&gateway.alpha, "stream"),
        (&gateway.beta, "first attempt"),
        (&gateway.classifier, "question"),
    ] {
        let counters = upstream.counters();
        assert_eq!(counters.in_flight, 1, "the {what} outlived the reload");
    }

    let asked = asking.await.expect("joined").expect("an answer");
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert_eq!(asked.header("x-routed-model"), "beta-large");
    assert_eq!(asked.header("x-routing-source"), "llm");
    let failed_over = failing_over.await.expect("joined").expect("an answer");
    assert_eq!(failed_over.status, 200, "{}", failed_over.text());
    assert_eq!(failed_over.header("x-routed-model"), "alpha-large");
    assert_eq!(
        failed_over.header("x-routed-attempts"),
        "beta=timeout, alpha=200"
    );
    let mut sse = Sse::default();
    let mut events = sse.push(&first);
    while let Some(piece) = streaming.piece().await.expect("the stream goes on") {
        events.extend(sse.push(&piece));
    }
    // The role, 60 of content, the finish reason, and the end.
    assert_eq!(events.len(), 63);
    assert_eq!(events[62].data, "[DONE]");
    assert_eq!(gateway.gamma.counters().requests, 1);

    // The new policy decides of its own, though the question is one that was asked under the old.
    gateway.classifier.set(Behaviour::classify(QUALITY));
    let asked = gateway.chat(&[], "auto").await;
    assert_eq!(asked.header("x-routed-model"), "gamma-large");
}

/// The models that serve tier `fast`, asked on so many connections that each worker gets some.
async fn routed_to(gateway: &Gateway, connections: u32) -> Vec<String> {
    let mut models = std::collections::BTreeSet::new();
    for _ in 0..connections {
        let reply = gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
        models.insert(reply.header("x-routed-model"));
    }
    models.into_iter().collect()
}

#[tokio::test]
async fn every_worker_takes_the_new_policy() {
    const WORKERS: u32 = 4;
    let options = Options {
        concurrency: WORKERS,
        ..Options::default()
    };
    let mut gateway = Gateway::start_with("workers", options).await;
    assert_eq!(routed_to(&gateway, 64).await, ["alpha-small"]);
    for model in ["second", "third"] {
        let json = changed(
            "model: alpha-small}\n    - {provider: beta",
            &format!("model: {model}}}\n    - {{provider: beta"),
        );
        assert_eq!(gateway.envoy.reload(&json).await, Ok(Reload::Taken));
        assert_eq!(routed_to(&gateway, 64).await, [model]);
    }
    let stats = gateway
        .envoy
        .get("/stats?filter=worker_[0-9]%2B.downstream_cx_total")
        .await
        .expect("stats");
    let per_worker: Vec<&str> = stats
        .lines()
        .filter(|line| !line.contains("internal"))
        .collect();
    assert_eq!(per_worker.len(), WORKERS as usize, "{stats}");
    for worker in per_worker {
        assert!(!worker.ends_with(": 0"), "never asked: {worker}");
    }
}

#[tokio::test]
async fn a_mistake_is_refused_in_one_line_and_the_policy_in_force_keeps_serving() {
    let mut gateway = Gateway::start("refused").await;
    for (broken, path, repair) in [
        (
            changed("- {provider: gamma", "- {provider: gama"),
            "tiers.fast.targets[2].provider",
            "did you mean \"gamma\"?",
        ),
        (
            changed("default_tier: fast", "default_tier: fats"),
            "default_tier",
            "did you mean \"fast\"?",
        ),
        (
            changed("default_tier: fast", "default_tier: fast\ntimeout: 1s"),
            "timeout",
            "did you mean \"timeouts\"?",
        ),
        (
            changed("one_shot: 1s", "one_shot: 1s, one_shoot: 2s"),
            "timeouts.one_shoot",
            "did you mean \"one_shot\"?",
        ),
        (
            changed("llm: {cluster: classifier", "llm: {cluster: beta"),
            "classify[0].llm.cluster",
            "beta",
        ),
        (changed("version: 1", "version: 2"), "version", "1"),
        ("{\"version\": 1,".to_owned(), "", "JSON"),
        (String::new(), "", "empty"),
    ] {
        let before = gateway.log().len();
        let refused = gateway.envoy.reload(&broken).await;
        assert!(refused.is_err(), "taken, though {path} is wrong");
        let log = gateway.log();
        let ours: Vec<&str> = log[before..]
            .lines()
            .filter(|line| line.contains("pointsman: configuration refused"))
            .collect();
        let [line] = ours.as_slice() else {
            panic!("not one line for {path}: {ours:#?}");
        };
        for words in [path, repair] {
            assert!(line.contains(words), "{line}\nlacks {words:?}");
        }
        let reply = gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
        assert_eq!(
            reply.header("x-routed-model"),
            "alpha-small",
            "after {path}"
        );
    }
    // None of the refusals stands in the way of what is right.
    let right = changed(
        "alpha-small}\n    - {provider: beta",
        "alpha-new}\n    - {provider: beta",
    );
    assert_eq!(gateway.envoy.reload(&right).await, Ok(Reload::Taken));
    let reply = gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
    assert_eq!(reply.header("x-routed-model"), "alpha-new");
}

/// The policy as YAML in place, which Envoy hands to the filter as a serialized protobuf `Struct`.
fn as_struct(dir: &Path, policy: &str) {
    let policy: serde_norway::Value = serde_norway::from_str(policy).expect("YAML");
    edit::yaml(dir, "ecds/router.yaml", |doc| {
        let configuration = &mut doc["resources"][0]["typed_config"]["config"]["configuration"];
        configuration["@type"] = "type.googleapis.com/google.protobuf.Struct".into();
        configuration["value"] = policy;
    });
}

#[tokio::test]
async fn a_yaml_struct_is_a_policy_as_good_as_json_text() {
    let options = Options {
        edit: |dir| as_struct(dir, POLICY),
        ..Options::default()
    };
    let gateway = Gateway::start_with("struct", options).await;
    assert_eq!(
        gateway.envoy.has_policy().await,
        Ok(true),
        "{}",
        gateway.log()
    );
    gateway.classifier.set(Behaviour::classify(QUALITY));
    gateway
        .alpha
        .next([Behaviour::error(503), Behaviour::error(503)]);
    let reply = gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
    assert_eq!(reply.header("x-routed-attempts"), "alpha=503, beta=200");
    assert_eq!(reply.header("x-routed-model"), "beta-small");
    let beta = gateway.beta.last().expect("a request");
    assert_eq!(beta.header("host"), "beta.test");
    assert_eq!(beta.header("x-of-beta"), "beta");
    let reply = gateway.chat(&[], "auto").await;
    assert_eq!(reply.header("x-routed-model"), "beta-large");
    assert_eq!(reply.header("x-routing-source"), "llm");

    // The same two verdicts on a change.
    let dir = &gateway.envoy.settings.out_dir;
    let before = gateway.log().len();
    as_struct(
        dir,
        &POLICY.replace("default_tier: fast", "default_tier: fats"),
    );
    let mut looks = 0..250;
    while !gateway.log()[before..].contains("did you mean \"fast\"?") {
        assert!(looks.next().is_some(), "{}", &gateway.log()[before..]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reply = gateway.chat(&[("x-llm-policy", "quality")], "auto").await;
    assert_eq!(reply.header("x-routed-model"), "beta-large");
    as_struct(dir, &POLICY.replace("beta-large", "beta-huge"));
    for _ in 0..250 {
        let reply = gateway.chat(&[("x-llm-policy", "quality")], "auto").await;
        if reply.header("x-routed-model") == "beta-huge" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the changed Struct was not taken up");
}

#[tokio::test]
async fn a_mistake_in_the_first_policy_is_answered_until_it_is_mended() {
    let options = Options {
        edit: |dir| {
            edit::replace(
                dir,
                "ecds/router.yaml",
                "\"default_tier\":\"fast\"",
                "\"default_tier\":\"fats\"",
            );
        },
        ..Options::default()
    };
    let mut gateway = Gateway::start_with("first", options).await;
    assert_eq!(gateway.envoy.has_policy().await, Ok(false));
    for stream in [false, true] {
        let reply = gateway.post(&[], &chat("auto", stream)).await;
        assert_eq!(reply.status, 500);
        assert_eq!(reply.header("content-type"), "application/json");
        let error = &reply.json()["error"];
        assert_eq!(error["code"], "policy_not_loaded", "{error}");
        assert_eq!(error["type"], "server_error", "{error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains("mend the policy"), "{message}");
    }
    let log = gateway.log();
    assert!(
        log.contains("default_tier: no tier \"fats\"; did you mean \"fast\"?"),
        "{log}"
    );
    assert_eq!(gateway.alpha.counters().requests, 0);
    let id = gateway.envoy.id();
    let json = policy_file::to_json(POLICY).expect("YAML");
    assert_eq!(gateway.envoy.reload(&json).await, Ok(Reload::Taken));
    let reply = gateway.chat(&[("x-llm-policy", "fast")], "auto").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(gateway.envoy.id(), id);
    let models = gateway.get("/v1/models").await.json();
    assert_eq!(models["object"], json!("list"));
}
