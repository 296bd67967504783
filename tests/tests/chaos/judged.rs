//! llmock as the providers, with its faults switched on, and its verdict on the gateway as their client.
//!
//! It takes the same body at the same path for a repeat of one call: two providers at one llmock and of one model's name are
//! two places of one service to it, and moving on is a repeat. What is an account's or a model's own (401, 404, 429), or says
//! `Retry-After` as its 503 does, is played on one llmock and answered by another. So is an event that is not JSON: the
//! gateway moves on before llmock has ended that stream, and only what begins after the end is a repeat to it.

use pointsman_tests::client::{self, Reply};
use pointsman_tests::gateway::{Gateway, Options};
use pointsman_tests::others::Other;
use serde_json::{Value, json};

const POLICY: &str = "
version: 1
default_tier: fast
tiers:
  fast:
    description: two places of one model
    targets: [{provider: alpha, model: gpt-5-nano}, {provider: beta, model: gpt-5-nano}]
providers:
  alpha: {cluster: alpha, api: openai}
  beta: {cluster: beta, api: openai}
timeouts: {first_token: 1s, one_shot: 1s}
# Each fault is to be met.
cooldown: {enabled: false}
";

async fn gateway(name: &str, alpha: &Other, beta: &Other) -> Gateway {
    let options = Options {
        policy: POLICY.to_owned(),
        ports: vec![("alpha", alpha.port), ("beta", beta.port)],
        ..Options::default()
    };
    Gateway::start_with(name, options).await
}

/// A question that was never asked before: llmock tells calls apart by it.
async fn ask(gateway: &Gateway, question: &str, stream: bool) -> std::io::Result<Reply> {
    let body = json!({
        "model": "auto", "stream": stream, "messages": [{"role": "user", "content": question}],
    });
    client::post_chat(gateway.port(), &[], &body).await
}

/// The whole answer of whoever is well.
fn is_good(reply: &Reply, question: &str, stream: bool) {
    assert_eq!(reply.status, 200, "{question}: {}", reply.text());
    // It echoes.
    assert!(
        reply.content().contains(question),
        "{question}: {}",
        reply.text()
    );
    if stream {
        let last = reply.events().pop().map(|event| event.data);
        assert_eq!(last.as_deref(), Some("[DONE]"), "{question}");
    }
}

fn scenario(behavior: &Value) -> Value {
    json!({"behaviors": [behavior]})
}

#[tokio::test]
async fn llmock_finds_nothing_where_the_next_target_answers() {
    let llmock = Other::llmock(&[]).await.expect("llmock");
    let gateway = gateway("llmock-judges", &llmock, &llmock).await;
    let fail = |status: u16| json!({"type": "fail", "status": status});
    let broken = |kind: &str, after: u32| json!({"type": "stream_fault", "kind": kind, "after_chunks": after, "stall_seconds": 20});
    let mut faults: Vec<(Value, &[bool])> = Vec::new();
    for status in [408, 500, 502] {
        faults.push((fail(status), &[false, true]));
    }
    faults.push((json!({"type": "delay", "seconds": 20}), &[false]));
    faults.push((json!({"type": "slow_first_token", "seconds": 20}), &[true]));
    for kind in ["disconnect", "truncate", "stall"] {
        // Before the role, and before the first word.
        faults.push((broken(kind, 0), &[true]));
        faults.push((broken(kind, 1), &[true]));
    }
    let mut asked = 0;
    for (fault, streams) in faults {
        for stream in streams {
            llmock.tell_llmock(&scenario(&fault)).await.expect("told");
            let question = format!("Question {asked}?");
            let reply = ask(&gateway, &question, *stream).await.expect("an answer");
            is_good(&reply, &question, *stream);
            assert!(
                reply.header("x-routed-attempts").ends_with(", beta=200"),
                "{fault}"
            );
            asked += 1;
        }
    }
    let (passed, report) = llmock.llmock_report().await.expect("a report");
    assert_eq!(report["findings"], json!([]), "{report:#}");
    assert!(passed, "{report:#}");
    // An attempt that was given up while it stalled ends later there, and counts as a call of its own.
    let calls = report["calls"].as_u64().unwrap_or_default();
    assert!(calls >= asked, "{report:#}");
}

/// A stream that breaks off after its first words, or ends early and well, fails for the client, which asks again: as llmock
/// wants it.
#[tokio::test]
async fn llmock_finds_nothing_where_the_client_must_ask_again() {
    for kind in ["disconnect", "truncate"] {
        let llmock = Other::llmock(&[]).await.expect("llmock");
        let gateway = gateway("llmock-judges-mid-stream", &llmock, &llmock).await;
        let fault = json!({"type": "stream_fault", "kind": kind, "after_chunks": 3});
        llmock.tell_llmock(&scenario(&fault)).await.expect("told");
        let question = "Is it whole?";
        let cut = ask(&gateway, question, true).await;
        assert_eq!(cut.is_err(), kind == "disconnect", "{kind}");
        let last = cut.ok().and_then(|cut| cut.events().pop());
        assert!(
            last.is_none_or(|event| event.data.contains("\"error\"")),
            "{kind} came to a good end"
        );
        let reply = ask(&gateway, question, true).await.expect("an answer");
        is_good(&reply, question, true);
        let (passed, report) = llmock.llmock_report().await.expect("a report");
        assert!(passed, "{report:#}");
        let asked = (&report["calls"], &report["attempts"]);
        assert_eq!(asked, (&json!(1), &json!(2)), "{kind}");
    }
}

/// Of a 429 or 503 that another provider answers llmock sees one half, a client that never came back: it warns, and passes.
#[tokio::test]
async fn llmock_has_no_error_to_report_where_another_account_answers() {
    let (one, other) = tokio::join!(Other::llmock(&[]), Other::llmock(&[]));
    let (one, other) = (one.expect("llmock"), other.expect("llmock"));
    let gateway = gateway("llmock-judges-accounts", &one, &other).await;
    let mut asked = 0;
    for fault in [
        json!({"type": "fail", "status": 401}),
        json!({"type": "fail", "status": 403}),
        json!({"type": "fail", "status": 404}),
        json!({"type": "fail", "status": 429}),
        json!({"type": "fail", "status": 429, "retry_after": 30}),
        json!({"type": "fail", "status": 503}),
        json!({"type": "fail", "status": 504}),
        json!({"type": "fail", "status": 529}),
    ] {
        for stream in [false, true] {
            one.tell_llmock(&scenario(&fault)).await.expect("told");
            let question = format!("Question {asked}?");
            let reply = ask(&gateway, &question, stream).await.expect("an answer");
            is_good(&reply, &question, stream);
            asked += 1;
        }
    }
    let malformed = json!({"type": "stream_fault", "kind": "malformed", "after_chunks": 0});
    one.tell_llmock(&scenario(&malformed)).await.expect("told");
    let question = format!("Question {asked}?");
    let reply = ask(&gateway, &question, true).await.expect("an answer");
    is_good(&reply, &question, true);
    asked += 1;
    let (_, report) = one.llmock_report().await.expect("a report");
    assert_eq!(
        (&report["passed"], &report["errors"]),
        (&json!(true), &json!(0)),
        "{report:#}"
    );
    let findings = report["findings"].as_array().expect("findings");
    let codes: Vec<&Value> = findings.iter().map(|finding| &finding["code"]).collect();
    // One for each of the five that are worth a repeat, one-shot and streamed, and one for the event; nothing else.
    let expected = [vec!["gave_up"; 10], vec!["malformed_chunk_ignored"]].concat();
    assert_eq!(codes, expected, "{report:#}");
    let (passed, report) = other.llmock_report().await.expect("a report");
    assert!(passed, "{report:#}");
    assert_eq!(report["calls"], asked);
}
