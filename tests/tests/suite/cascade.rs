//! The steps of `classify:` on a real Envoy: which of them decides, what one in shadow leaves behind, and that nobody waits for it.

use std::process::Command;
use std::time::{Duration, Instant};

use pointsman_tests::client::{self, Conn, Reply, chat_request};
use pointsman_tests::envoy::Reload;
use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::upstream::{Behaviour, Upstream};
use pointsman_tests::{health, policy_file, render};
use serde_json::{Value, json};

/// The tiers that the built-in model tells apart, and `single` for [`health::check`].
const TIERS: &str = "
version: 1
default_tier: balanced
caller: {header: x-team}
callers:
  strong: {tiers: [quality, reasoning]}
  weak: {tiers: [fast, balanced]}
  one: {tiers: [quality]}
tiers:
  fast: {description: simple questions, targets: [{provider: alpha, model: alpha-small}, {provider: gamma, model: gamma-small}]}
  balanced: {description: everyday work, targets: [{provider: alpha, model: alpha-medium}, {provider: gamma, model: gamma-medium}]}
  quality: {description: careful work, targets: [{provider: beta, model: beta-large}]}
  reasoning: {description: proofs, targets: [{provider: beta, model: beta-huge}, {provider: gamma, model: gamma-huge}]}
  single: {description: one target only, targets: [{provider: alpha, model: alpha-small}]}
providers:
  alpha: {cluster: alpha, api: openai, host: alpha.test}
  beta: {cluster: beta, api: openai, host: beta.test}
  gamma: {cluster: gamma, api: anthropic, host: gamma.test}
timeouts: {first_event: 10s, one_shot: 10s}
cache: {max_bytes: 0}
";

const LOCAL: &str = "- local: {}\n";
/// Sure of nothing.
const UNSURE: &str = "- local: {min_confidence: 1.0}\n";
const LLM: &str = "- llm: {cluster: classifier, model: judge, timeout: 400ms}\n";
const PATIENT_LLM: &str =
    "- llm: {cluster: classifier, model: judge, timeout: 20s, max_in_flight: 1}\n  shadow: true\n";

/// Clear-cut, whatever weights there are.
const EASY: &str = "hi there!";
const HARD: &str = "Prove rigorously that there are infinitely many prime numbers congruent to 3 modulo 4. Then derive a \
    necessary and sufficient condition on the coprime integers a and m under which the same elementary argument works for \
    primes congruent to a modulo m, and give a complete proof by induction of each lemma that you use. State the time \
    complexity of deciding the condition and prove that it is optimal.";
const VAGUE: &str = "How should I go about this?";

const PATIENCE: Duration = Duration::from_secs(10);

fn policy(steps: &str) -> String {
    format!("{TIERS}classify:\n{steps}")
}

fn shadow(step: &str) -> String {
    format!("{step}  shadow: true\n")
}

async fn start(name: &str, steps: &str) -> Gateway {
    let options = Options {
        policy: policy(steps),
        ..Options::default()
    };
    let gateway = Gateway::start_with(name, options).await;
    gateway.classifier.set(Behaviour::classify(
        r#"{"tier":"quality","reason":"judged"}"#,
    ));
    gateway
}

async fn rewrite(gateway: &mut Gateway, steps: &str) {
    let taken = gateway.envoy.rewrite_policy(&policy(steps)).await;
    assert_eq!(taken, Ok(Reload::Taken), "{steps}");
}

fn ask(text: &str) -> Value {
    json!({"model": "auto", "messages": [{"role": "user", "content": text}]})
}

fn decision(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    ["x-routing-source", "x-routing-tier"]
        .map(|name| reply.header(name))
        .join(" ")
}

async fn decided(gateway: &Gateway, headers: &[(&str, &str)], text: &str) -> String {
    decision(&gateway.post(headers, &ask(text)).await)
}

/// A local decision's headers, which repeat no word of the prompt.
fn check_local(reply: &Reply, judged: &str, prompt: &str) {
    let confidence = reply.header("x-routing-confidence");
    let digits = confidence.strip_prefix("0.").unwrap_or_default();
    let is_two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
    assert!(is_two, "below 1.00, in two decimals: {confidence:?}");
    let reason = reply.header("x-routing-reason");
    assert!(
        reason.starts_with(&format!("local model: {judged} ")),
        "{reason}"
    );
    let words = prompt.split(|c: char| !c.is_alphanumeric());
    for word in words.filter(|word| word.len() > 4) {
        assert!(!reason.contains(word), "{reason} says {word}");
    }
}

fn asked(classifier: &Upstream) -> u64 {
    classifier.counters().requests
}

/// The filter's counters of this name: `labels in order value`.
async fn counted(gateway: &Gateway, name: &str) -> Vec<String> {
    let text = gateway.envoy.get("/stats/prometheus").await.expect("stats");
    let ours = text.lines().filter(|line| line.starts_with(name));
    let mut found: Vec<String> = ours
        .map(|line| {
            let (labels, value) = line[name.len()..].rsplit_once(' ').expect("a value");
            let labels = labels.trim_matches(['{', '}']).replace('"', "");
            let mut labels: Vec<&str> = labels.split(',').collect();
            labels.sort_unstable();
            format!("{} {value}", labels.join(","))
        })
        .collect();
    found.sort();
    found
}

const SHADOWS: &str = "pointsman_shadow_decisions_total";

// === which step decides

#[tokio::test]
async fn a_clear_request_is_decided_without_a_callout() {
    let gateway = start("clear", &format!("{LOCAL}{LLM}")).await;
    for (prompt, tier) in [(EASY, "fast"), (HARD, "reasoning")] {
        let reply = gateway.post(&[], &ask(prompt)).await;
        assert_eq!(decision(&reply), format!("local {tier}"));
        check_local(&reply, tier, prompt);
        assert!(!reply.headers.contains("x-classification-time"));
    }
    // A client of Messages.
    let mut body = ask(HARD);
    body["max_tokens"] = 100.into();
    let raw = client::request(
        "POST",
        "/v1/messages",
        &[(b"content-type", b"application/json")],
        body.to_string().as_bytes(),
    );
    let reply = client::send(gateway.port(), &raw).await.expect("an answer");
    assert_eq!(decision(&reply), "local reasoning");
    assert_eq!(reply.json()["type"], "message");
    check_local(&reply, "reasoning", HARD);
    assert_eq!(asked(&gateway.classifier), 0);
    let counts = counted(&gateway, "pointsman_classifications_total").await;
    assert_eq!(counts, ["result=answered,step=local 3"]);
    // What the client named is not classified.
    let reply = gateway
        .post(&[("x-llm-policy", "quality")], &ask(EASY))
        .await;
    assert_eq!(decision(&reply), "header quality");
    assert_eq!(reply.header("x-routing-confidence"), "1.00");
    health::check(&gateway, "local decisions").await;
}

#[tokio::test]
async fn the_first_step_that_is_sure_decides() {
    let mut gateway = start("order", &format!("{UNSURE}{LLM}")).await;
    let reply = gateway.post(&[], &ask(VAGUE)).await;
    assert_eq!(decision(&reply), "llm quality");
    assert!(reply.header("x-classification-time").ends_with("ms"));
    assert!(!reply.headers.contains("x-routing-confidence"));

    // By tier: sure enough of one, not of the other.
    let by_tier =
        "- local: {min_confidence: {fast: 0.5, reasoning: 0.5, balanced: 1, quality: 1}}\n";
    rewrite(&mut gateway, by_tier).await;
    assert_eq!(decided(&gateway, &[], EASY).await, "local fast");
    assert_eq!(decided(&gateway, &[], HARD).await, "local reasoning");

    // Nobody else to ask.
    rewrite(&mut gateway, UNSURE).await;
    let reply = gateway.post(&[], &ask(VAGUE)).await;
    assert_eq!(decision(&reply), "default balanced");
    let reason = reply.header("x-routing-reason");
    assert!(reason.starts_with("not sure; local model: "), "{reason}");
    assert_eq!(asked(&gateway.classifier), 1);

    // The operator's rules first.
    let rules = "- rules: [{when: {header: {name: x-job, value: batch}}, tier: single}]\n";
    rewrite(&mut gateway, &format!("{rules}{LOCAL}{LLM}")).await;
    assert_eq!(
        decided(&gateway, &[("x-job", "batch")], HARD).await,
        "rule single"
    );
    assert_eq!(decided(&gateway, &[], HARD).await, "local reasoning");
    assert_eq!(asked(&gateway.classifier), 1);

    // The classifier first: the model decides where it fails.
    rewrite(&mut gateway, &format!("{LLM}{LOCAL}")).await;
    assert_eq!(decided(&gateway, &[], EASY).await, "llm quality");
    for failure in [Behaviour::error(500), Behaviour::StallBeforeHeaders] {
        gateway.classifier.next([failure]);
        let reply = gateway.post(&[], &ask(HARD)).await;
        assert_eq!(decision(&reply), "local reasoning");
        check_local(&reply, "reasoning", HARD);
        // It was waited for.
        assert!(reply.header("x-classification-time").ends_with("ms"));
    }
    // Both fail: the latest reason.
    rewrite(&mut gateway, &format!("{LLM}{UNSURE}")).await;
    gateway.classifier.next([Behaviour::error(500)]);
    let reply = gateway.post(&[], &ask(VAGUE)).await;
    assert_eq!(decision(&reply), "default balanced");
    assert!(reply.header("x-routing-reason").starts_with("not sure; "));
    health::check(&gateway, "the order of steps").await;
}

#[tokio::test]
async fn a_limited_caller_gets_the_next_stronger_tier_it_may_use() {
    let mut gateway = start("limited", &format!("{LOCAL}{LLM}")).await;
    for (caller, prompt, expected, judged) in [
        ("strong", EASY, "local quality", "fast"),
        ("strong", HARD, "local reasoning", "reasoning"),
        ("weak", HARD, "local balanced", "reasoning"),
    ] {
        let reply = gateway.post(&[("x-team", caller)], &ask(prompt)).await;
        assert_eq!(decision(&reply), expected, "{caller}");
        check_local(&reply, judged, prompt);
    }
    let reply = gateway.post(&[("x-team", "one")], &ask(EASY)).await;
    assert_eq!(decision(&reply), "default quality");
    assert_eq!(reply.header("x-routing-reason"), "the only tier on offer");
    assert_eq!(asked(&gateway.classifier), 0);

    // Mended: it was refused with 403.
    let rules = shadow("- rules: [{when: {header: {name: x-team}}, tier: fast}]\n");
    rewrite(&mut gateway, &format!("{rules}{LOCAL}")).await;
    let strong = [("x-team", "strong")];
    assert_eq!(decided(&gateway, &strong, HARD).await, "local reasoning");
}

#[tokio::test]
async fn a_short_message_after_a_hard_turn_is_read_with_it() {
    let gateway = start("turns", "- local: {min_confidence: 0}\n").await;
    const FOLLOW_UP: &str = "Go on with the second part.";
    let alone = decided(&gateway, &[], FOLLOW_UP).await;
    let body = json!({"model": "auto", "messages": [
        {"role": "user", "content": HARD},
        {"role": "assistant", "content": "Here is the first part."},
        {"role": "user", "content": FOLLOW_UP},
    ]});
    let after = decision(&gateway.post(&[], &body).await);
    assert_ne!(after, alone);
    assert!(
        ["local quality", "local reasoning"].contains(&&*after),
        "{after}"
    );
}

#[tokio::test]
async fn counting_tokens_asks_nobody() {
    let mut gateway = start("count", &format!("{LOCAL}{LLM}")).await;
    gateway
        .gamma
        .set(Behaviour::Body(r#"{"input_tokens":3}"#.into()));
    for (steps, prompt, expected) in [
        (format!("{UNSURE}{LLM}"), VAGUE, "default balanced"),
        (format!("{LLM}{LOCAL}"), EASY, "default balanced"),
        (format!("{PATIENT_LLM}{LOCAL}"), HARD, "local reasoning"),
    ] {
        rewrite(&mut gateway, &steps).await;
        // More than once: what is not asked takes no place.
        for _ in 0..2 {
            let raw = client::request(
                "POST",
                "/v1/messages/count_tokens",
                &[(b"content-type", b"application/json")],
                ask(prompt).to_string().as_bytes(),
            );
            let reply = client::send(gateway.port(), &raw).await.expect("an answer");
            assert_eq!(decision(&reply), expected, "{steps}");
            assert_eq!(reply.json(), json!({"input_tokens": 3}));
        }
    }
    assert_eq!(asked(&gateway.classifier), 0);
    // The place is there for a request that asks.
    gateway.post(&[], &ask(HARD)).await;
    assert!(
        gateway
            .classifier
            .wait_for(PATIENCE, |c| c.requests == 1)
            .await
    );
}

// === shadow

#[tokio::test]
async fn a_model_in_shadow_is_counted_and_logged_and_decides_nothing() {
    let mut gateway = start("shadow-local", &format!("{}{LLM}", shadow(LOCAL))).await;
    assert_eq!(decided(&gateway, &[], EASY).await, "llm quality");
    gateway.classifier.next([Behaviour::error(500)]);
    assert_eq!(decided(&gateway, &[], HARD).await, "default balanced");
    // Nothing is said of what the client named.
    assert_eq!(
        decided(&gateway, &[("x-llm-policy", "single")], HARD).await,
        "header single"
    );
    rewrite(&mut gateway, &format!("{}{LLM}", shadow(UNSURE))).await;
    assert_eq!(decided(&gateway, &[], VAGUE).await, "llm quality");
    assert_eq!(
        counted(&gateway, SHADOWS).await,
        [
            "decided=balanced,said=reasoning,step=local 1",
            "decided=quality,said=fast,step=local 1",
            "decided=quality,said=unsure,step=local 1",
        ]
    );
    let log = gateway.access_log(4).await;
    let said: Vec<&str> = log
        .iter()
        .map(|line| line["shadow"].as_str().unwrap_or("nothing"))
        .collect();
    let (first, second) = (said[0], said[1]);
    assert!(first.starts_with("local=fast:0."), "{first}");
    assert!(second.starts_with("local=reasoning:0."), "{second}");
    assert_eq!(said[2..], ["nothing", "local=unsure"]);
    health::check(&gateway, "a model in shadow").await;
}

#[tokio::test]
async fn nobody_waits_for_a_classifier_in_shadow() {
    let gateway = start("shadow-llm", &format!("{PATIENT_LLM}{LOCAL}")).await;
    // It answers while the provider thinks.
    gateway
        .alpha
        .next([Behaviour::SlowHeaders(Duration::from_secs(1))]);
    let reply = gateway.post(&[], &ask(EASY)).await;
    assert_eq!(decision(&reply), "local fast");
    assert!(!reply.headers.contains("x-classification-time"));
    let said = "decided=fast,said=quality,step=llm 1";
    assert_eq!(counted(&gateway, SHADOWS).await, [said]);

    // It stalls, and the answer comes at once. That gives its place back: the next request asks again.
    gateway.classifier.set(Behaviour::StallBeforeHeaders);
    let before = asked(&gateway.classifier);
    for round in 1..=3 {
        let begun = Instant::now();
        assert_eq!(decided(&gateway, &[], EASY).await, "local fast");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        let is_asked = |c: &pointsman_tests::upstream::Counters| c.requests == before + round;
        assert!(
            gateway.classifier.wait_for(PATIENCE, is_asked).await,
            "round {round}"
        );
    }
    assert_eq!(counted(&gateway, SHADOWS).await, [said]);

    // So does a client that leaves before anything was answered.
    gateway.alpha.next([Behaviour::StallBeforeHeaders]);
    let mut client = Conn::open(gateway.port()).await.expect("a connection");
    client
        .send(&chat_request(&[], &ask(EASY)))
        .await
        .expect("sent");
    let is_asked = |c: &pointsman_tests::upstream::Counters| c.requests == before + 4;
    assert!(gateway.classifier.wait_for(PATIENCE, is_asked).await);
    // While it is there, the only place is taken.
    assert_eq!(decided(&gateway, &[], EASY).await, "local fast");
    assert_eq!(asked(&gateway.classifier), before + 4);
    drop(client);
    let stat = "http.ai.downstream_rq_rx_reset";
    let end = Instant::now() + PATIENCE;
    while gateway.envoy.stat(stat).await.expect("Envoy's stats") < Some(1) {
        assert!(Instant::now() < end, "the client is still there");
    }
    assert_eq!(decided(&gateway, &[], EASY).await, "local fast");
    let is_asked = |c: &pointsman_tests::upstream::Counters| c.requests == before + 5;
    assert!(gateway.classifier.wait_for(PATIENCE, is_asked).await);

    let log = gateway.access_log(7).await;
    let said: Vec<&Value> = log.iter().map(|line| &line["shadow"]).collect();
    assert_eq!(said[0], "llm=quality", "{said:?}");
    assert_eq!(
        said.iter().filter(|s| **s == "llm=unsure").count(),
        1,
        "{said:?}"
    );
    health::check(&gateway, "a classifier in shadow").await;
}

#[tokio::test]
async fn a_classifier_in_shadow_that_cannot_be_called_harms_nothing() {
    let steps = format!("{}{LOCAL}", PATIENT_LLM.replace("classifier,", "nowhere,"));
    let gateway = start("shadow-nowhere", &steps).await;
    // Also after the breaker opened.
    for _ in 0..7 {
        let reply = gateway.post(&[], &ask(HARD)).await;
        assert_eq!(decision(&reply), "local reasoning");
        assert_eq!(reply.content(), "beta answers as beta-huge");
    }
    let log = gateway.access_log(7).await;
    assert!(log.iter().all(|line| line["shadow"] == "llm=unsure"));
    assert_eq!(
        counted(&gateway, SHADOWS).await,
        ["decided=reasoning,said=unsure,step=llm 7"]
    );
    health::check(&gateway, "a callout to nowhere").await;
}

// === a model of the operator's

#[tokio::test]
async fn the_policys_own_model_is_taken_up_and_a_damaged_one_is_refused() {
    let file = render::root().join("filter/model/tiers.bin");
    let output = Command::new("base64").arg("-w0").arg(file).output();
    let model = String::from_utf8(output.expect("base64 runs").stdout).expect("text");
    let with =
        |model: &str| policy_file::to_json(&policy(&format!("- local: {{model: \"{model}\"}}\n")));
    let mut gateway = start("model", UNSURE).await;
    let own = with(&model).expect("YAML");
    assert_eq!(gateway.envoy.reload(&own).await, Ok(Reload::Taken));
    assert_eq!(decided(&gateway, &[], HARD).await, "local reasoning");

    // One byte, in the middle.
    let (start, end) = model.split_at(model.len() / 2);
    let other = if end.starts_with('A') { "B" } else { "A" };
    let damaged = with(&format!("{start}{other}{}", &end[1..])).expect("YAML");
    for (broken, told) in [
        (damaged, "its checksum does not match"),
        (
            with("no model!").expect("YAML"),
            "must be a model file in Base64, on one line",
        ),
    ] {
        assert!(gateway.envoy.reload(&broken).await.is_err());
        let log = gateway.log();
        let line = log.lines().find(|line| line.contains(told));
        let line = line.unwrap_or_else(|| panic!("nothing says {told:?}"));
        assert!(line.contains("classify[0].local.model"), "{line}");
        assert!(!line.contains(&model[..40]), "the model is in the log");
        assert_eq!(decided(&gateway, &[], EASY).await, "local fast");
    }
    health::check(&gateway, "a damaged model").await;
}
