//! Failover: whatever the first provider does wrong, the client is answered by the next one, as if nothing had been.

mod http2;

use std::path::Path;
use std::time::{Duration, Instant};

use pointsman_tests::client::Reply;
use pointsman_tests::gateway::{Gateway, Options, POLICY, chat, key_of};
use pointsman_tests::upstream::{Behaviour, Step, Upstream, refused_port};
use serde_norway::Value;

const FAST: &[(&str, &str)] = &[("x-llm-policy", "fast")];

async fn start(name: &str) -> Gateway {
    let own_paths = Options {
        own_paths: true,
        ..Options::default()
    };
    Gateway::start_with(name, own_paths).await
}

/// The answer of a provider that behaves well, one-shot or streamed.
fn good(provider: &str, model: &str, stream: bool) -> String {
    if stream {
        format!("{provider} 1 2")
    } else {
        format!("{provider} answers as {model}")
    }
}

fn says_served_by(reply: &Reply, provider: &str, attempts: &str, case: &str) {
    let model = format!("{provider}-small");
    assert_eq!(reply.status, 200, "{case}: {}", reply.text());
    assert_eq!(reply.header("x-routed-attempts"), attempts, "{case}");
    assert_eq!(reply.header("x-routed-provider"), provider, "{case}");
    assert_eq!(reply.header("x-routed-model"), model, "{case}");
}

/// The provider got one request: for its own model, at its own host and path, with its own key and no other.
fn was_asked_as_itself(provider: &Upstream, case: &str) {
    let name = provider.name();
    let requests = provider.requests();
    assert_eq!(requests.len(), 1, "{case}: requests at {name}");
    let seen = &requests[0];
    assert_eq!(seen.model(), format!("{name}-small"), "{case}");
    assert_eq!(
        seen.header("host"),
        format!("127.0.0.1:{}", provider.port()),
        "{case}"
    );
    assert_eq!(
        seen.path,
        format!("/{name}/v1/chat/completions"),
        "{case}: path at {name}"
    );
    let keys: Vec<_> = seen.headers.all("authorization").collect();
    assert_eq!(
        keys,
        [format!("Bearer {}", key_of(name)).as_bytes()],
        "{case}"
    );
}

async fn ask(gateway: &Gateway, stream: bool) -> Reply {
    for provider in gateway.providers() {
        provider.clear();
    }
    gateway.post(FAST, &chat("auto", stream)).await
}

/// Alpha does this: beta answers, and the client is told how alpha's attempt ended.
async fn moves_on(gateway: &Gateway, fault: Behaviour, stream: bool, outcome: &str) {
    let case = format!("{fault:?}, stream {stream}");
    gateway.alpha.set(fault);
    let reply = ask(gateway, stream).await;
    let attempts = format!("alpha={outcome}, beta=200");
    says_served_by(&reply, "beta", &attempts, &case);
    assert_eq!(
        reply.content(),
        good("beta", "beta-small", stream),
        "{case}"
    );
    if stream {
        let last = reply.events().pop().map(|event| event.data);
        assert_eq!(last.as_deref(), Some("[DONE]"), "{case}");
    }
    was_asked_as_itself(&gateway.alpha, &case);
    was_asked_as_itself(&gateway.beta, &case);
    assert_eq!(gateway.gamma.counters().requests, 0, "{case}");
}

/// Alpha does this: it is an answer, and nobody else is asked.
async fn stays(gateway: &Gateway, behaviour: Behaviour, stream: bool) {
    let case = format!("{behaviour:?}, stream {stream}");
    gateway.alpha.set(behaviour);
    let reply = ask(gateway, stream).await;
    says_served_by(&reply, "alpha", "alpha=200", &case);
    assert!(reply.content().starts_with("alpha"), "{case}");
    was_asked_as_itself(&gateway.alpha, &case);
    assert_eq!(gateway.beta.counters().requests, 0, "{case}");
}

#[tokio::test]
async fn a_status_that_is_not_the_clients_fault_moves_on() {
    let gateway = start("failover-status").await;
    for status in [
        301, 302, 307, 401, 402, 403, 404, 408, 429, 500, 501, 502, 503, 504, 529,
    ] {
        for stream in [false, true] {
            moves_on(
                &gateway,
                Behaviour::error(status),
                stream,
                &status.to_string(),
            )
            .await;
        }
    }
    // Whatever the error's framing, and whatever it says of retries.
    for (header, value) in [
        ("transfer-encoding", "chunked"),
        ("retry-after", "3600"),
        ("x-should-retry", "false"),
        ("x-envoy-ratelimited", "true"),
        ("x-envoy-overloaded", "true"),
        ("x-envoy-immediate-health-check-fail", "true"),
        ("content-encoding", "gzip"),
        ("content-type", "text/event-stream"),
    ] {
        let chunked = header == "transfer-encoding";
        let error = Behaviour::Status {
            status: 503,
            headers: vec![(header.into(), value.into())],
            body: if chunked {
                "2\r\nno\r\n0\r\n\r\n"
            } else {
                "no"
            }
            .into(),
        };
        for stream in [false, true] {
            moves_on(&gateway, error.clone(), stream, "503").await;
        }
    }
}

#[tokio::test]
async fn an_attempt_that_breaks_off_moves_on() {
    let gateway = start("failover-transport").await;
    use Behaviour as B;
    let half_a_head = || {
        B::Steps(vec![
            Step::Write("HTTP/1.1 200 OK\r\nco".into()),
            Step::Close,
        ])
    };
    for (fault, streams) in [
        (B::ResetAtOnce, &[false, true][..]),
        (B::CloseAtOnce, &[false, true]),
        (B::ResetAfterHeaders, &[false, true]),
        (B::NotHttp, &[false, true]),
        (half_a_head(), &[false, true]),
        (B::ResetMidBody, &[false]),
        (B::TruncatedBody, &[false]),
        // Only the role-only delta came: nothing real.
        (B::ResetMidStream(0), &[true]),
        (B::TruncatedStream(0), &[true]),
    ] {
        for stream in streams {
            moves_on(&gateway, fault.clone(), *stream, "reset").await;
        }
    }
}

#[tokio::test]
async fn an_attempt_that_stalls_moves_on() {
    let gateway = start("failover-stall").await;
    use Behaviour as B;
    for (fault, streams) in [
        (B::StallBeforeHeaders, &[false, true][..]),
        (B::StallAfterHeaders, &[false, true]),
        (B::StallMidBody, &[false]),
        (B::StallMidStream(0), &[true]),
    ] {
        for stream in streams {
            let begun = Instant::now();
            moves_on(&gateway, fault.clone(), *stream, "timeout").await;
            let took = begun.elapsed();
            assert!(
                took >= Duration::from_millis(900),
                "{fault:?}: cut after {took:?} of 1 s"
            );
        }
    }
}

#[tokio::test]
async fn a_200_that_is_no_answer_moves_on() {
    let gateway = start("failover-bad-200").await;
    use Behaviour as B;
    let sse = |event: &'static str| B::StreamBytes {
        writes: vec![event.into()],
        gap: Duration::ZERO,
    };
    for (fault, one_shot, streamed) in [
        (B::EmptyOk, Some("empty"), Some("empty")),
        (B::EmptyChunked, Some("empty"), Some("empty")),
        (B::HeadersOnly, Some("empty"), Some("empty")),
        (B::Body(" \n".into()), Some("empty"), Some("empty")),
        (B::NotJson, Some("bad_event"), Some("bad_event")),
        (B::Body("[]".into()), Some("bad_event"), Some("bad_event")),
        (B::TruncatedJson, Some("bad_event"), Some("bad_event")),
        (B::ErrorObject200, Some("bad_event"), Some("bad_event")),
        (B::StreamForOneShot, Some("bad_event"), None),
        // A stream that does not say that it is one.
        (
            B::WrongContentType("application/json"),
            None,
            Some("bad_event"),
        ),
        (B::SseErrorFirst, None, Some("bad_event")),
        (B::SseRoleThenError, None, Some("bad_event")),
        (B::SseOnlyDone, None, Some("empty")),
        // The role-only delta, and a proper end.
        (B::SseWithoutDone(0), None, Some("empty")),
        (sse("event: error\ndata: {}\n\n"), None, Some("bad_event")),
        (sse("data: not JSON\n\n"), None, Some("bad_event")),
        (sse(": a comment\n\n: another\n\n"), None, Some("empty")),
    ] {
        for (stream, outcome) in [(false, one_shot), (true, streamed)] {
            if let Some(outcome) = outcome {
                moves_on(&gateway, fault.clone(), stream, outcome).await;
            }
        }
    }
    // None of these is one: an answer is not refused for its framing, its label or what comes before it.
    let trailers = vec![("x-checksum".to_owned(), "1".to_owned())];
    for (behaviour, streams) in [
        (B::Ok, &[false, true][..]),
        (B::Chunked { trailers }, &[false]),
        (B::UntilClose, &[false]),
        (B::WrongContentType("text/plain"), &[false]),
        (B::SsePingThenOk, &[true]),
        (B::SseWithoutDone(1), &[true]),
    ] {
        for stream in streams {
            stays(&gateway, behaviour.clone(), *stream).await;
        }
    }
}

#[tokio::test]
async fn two_providers_fail_differently_and_the_third_answers() {
    let gateway = start("failover-chain").await;
    use Behaviour as B;
    for (first, second, attempts) in [
        (
            B::error(503),
            B::error(429),
            "alpha=503, beta=429, gamma=200",
        ),
        (
            B::error(401),
            B::ResetAtOnce,
            "alpha=401, beta=reset, gamma=200",
        ),
        (
            B::CloseAtOnce,
            B::NotJson,
            "alpha=reset, beta=bad_event, gamma=200",
        ),
        (
            B::EmptyOk,
            B::error(404),
            "alpha=empty, beta=404, gamma=200",
        ),
        (
            B::StallBeforeHeaders,
            B::error(500),
            "alpha=timeout, beta=500, gamma=200",
        ),
    ] {
        for stream in [false, true] {
            let case = format!("{attempts}, stream {stream}");
            gateway.alpha.set(first.clone());
            gateway.beta.set(second.clone());
            let reply = ask(&gateway, stream).await;
            says_served_by(&reply, "gamma", attempts, &case);
            assert_eq!(
                reply.content(),
                good("gamma", "gamma-small", stream),
                "{case}"
            );
            for provider in gateway.providers() {
                was_asked_as_itself(provider, &case);
            }
        }
    }
}

#[tokio::test]
async fn an_error_that_is_the_clients_fault_stays_and_comes_as_it_was() {
    let gateway = start("failover-clients-fault").await;
    for status in [400, 409, 413, 415, 422] {
        for stream in [false, true] {
            let body = format!(
                r#"{{ "error": {{"message":"provider {status} \u00e9", "type":"invalid_request_error","param":"messages[0]","code":null, "extra":1.0}}}}"#
            );
            gateway.alpha.set(Behaviour::Status {
                status,
                headers: vec![("content-type".into(), "application/json".into())],
                body: body.clone().into(),
            });
            let reply = ask(&gateway, stream).await;
            assert_eq!((reply.status, reply.text()), (status, body));
            assert_eq!(reply.header("content-type"), "application/json");
            assert_eq!(reply.header("x-routed-attempts"), format!("alpha={status}"));
            assert_eq!(reply.header("x-routed-provider"), "alpha");
            assert_eq!(gateway.beta.counters().requests, 0, "{status}");
        }
    }
}

/// Alpha's port refuses, gamma's cluster has no host.
const UNREACHABLE: &str = "
  refused:
    description: the first refuses
    targets: [{provider: alpha, model: alpha-small}, {provider: beta, model: beta-small}]
  hostless:
    description: the first has no host
    targets: [{provider: gamma, model: gamma-small}, {provider: beta, model: beta-small}]
  both:
    description: no one, then one that refuses, then a good one
    targets:
    - {provider: gamma, model: gamma-small}
    - {provider: alpha, model: alpha-small}
    - {provider: beta, model: beta-small}
providers:";

/// Changes one rendered document.
fn edit(dir: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.join(file);
    let text = std::fs::read_to_string(&path).expect("what was rendered");
    let mut document = serde_norway::from_str(&text).expect("YAML");
    change(&mut document);
    std::fs::write(&path, serde_norway::to_string(&document).expect("YAML")).expect("written");
}

fn cluster<'a>(document: &'a mut Value, name: &str) -> &'a mut Value {
    let list = document["resources"].as_sequence_mut();
    list.and_then(|list| list.iter_mut().find(|c| c["name"] == name))
        .expect("the cluster")
}

fn leave_gamma_without_hosts(dir: &Path) {
    edit(dir, "clusters.yaml", |clusters| {
        cluster(clusters, "gamma_endpoints")["load_assignment"]["endpoints"] =
            Value::Sequence(Vec::new());
    });
}

#[tokio::test]
async fn a_provider_that_refuses_is_ejected_or_has_no_host_moves_on() {
    let refused = refused_port().expect("a port");
    let options = Options {
        policy: POLICY.replace("\nproviders:", UNREACHABLE),
        ports: vec![("alpha", refused.port)],
        own_paths: true,
        edit: leave_gamma_without_hosts,
        ..Options::default()
    };
    let gateway = Gateway::start_with("failover-unreachable", options).await;
    let check = async |tier: &str, stream: bool, attempts: &str| {
        let case = format!("{tier}, stream {stream}");
        gateway.beta.clear();
        let reply = gateway
            .post(&[("x-llm-policy", tier)], &chat("auto", stream))
            .await;
        says_served_by(&reply, "beta", attempts, &case);
        assert_eq!(
            reply.content(),
            good("beta", "beta-small", stream),
            "{case}"
        );
        was_asked_as_itself(&gateway.beta, &case);
    };
    let stat = async |name: &str| gateway.envoy.stat(name).await.expect("stats").unwrap_or(0);
    for stream in [false, true] {
        check("refused", stream, "alpha=connect_failure, beta=200").await;
        check("hostless", stream, "gamma=connect_failure, beta=200").await;
        let both = "gamma=connect_failure, alpha=connect_failure, beta=200";
        check("both", stream, both).await;
    }
    // Five failures eject the host; then nobody waits for it, and the client sees no difference.
    for _ in 0..2 {
        check("refused", false, "alpha=connect_failure, beta=200").await;
    }
    let ejected = "cluster.alpha_endpoints.outlier_detection.ejections_active";
    assert_eq!(stat(ejected).await, 1);
    let tried = stat("cluster.alpha_endpoints.upstream_cx_connect_fail").await;
    for stream in [false, true] {
        check("refused", stream, "alpha=connect_failure, beta=200").await;
    }
    let tries = stat("cluster.alpha_endpoints.upstream_cx_connect_fail").await;
    assert_eq!(tries, tried, "an ejected host is not tried");
}
