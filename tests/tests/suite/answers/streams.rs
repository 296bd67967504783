//! Streams and large answers: what was released flows, late or long, and if it breaks the client knows.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsman_tests::client::{Conn, Event, Sse};
use pointsman_tests::gateway::Gateway;
use pointsman_tests::upstream::{Behaviour, Step};
use pointsman_tests::wire::{chunk, last_chunk};

use super::{FAST, SINGLE, chat_bytes, clear, with_timeout};

const SLOW: Duration = Duration::from_millis(1200);

/// An attempt may take less time than a `SLOW` provider waits.
const IMPATIENT: &str = "800ms";

/// Answers beyond 64 KiB are not held.
async fn start(name: &str, timeout: &str) -> Gateway {
    let mut options = with_timeout(timeout);
    options.policy.push_str("limits: {hold_answer: 64KiB}\n");
    Gateway::start_with(name, options).await
}

fn event(content: &str) -> Bytes {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}]}}\n\n")
        .into()
}

/// The events of one streamed answer as they come, and how it ended.
async fn watch(port: u16, headers: &[(&str, &str)]) -> (Vec<Event>, std::io::Result<()>) {
    let mut conn = Conn::open(port).await.expect("open");
    conn.send(&chat_bytes(headers, true)).await.expect("sent");
    let mut response = conn.response().await.expect("a response");
    assert_eq!(response.status, 200);
    let (mut sse, mut events) = (Sse::default(), Vec::new());
    loop {
        match response.piece().await {
            Ok(Some(piece)) => events.extend(sse.push(&piece)),
            Ok(None) => return (events, Ok(())),
            Err(error) => return (events, Err(error)),
        }
    }
}

#[tokio::test]
async fn events_pass_one_by_one_however_slowly_they_come() {
    let gateway = start("answers-events", IMPATIENT).await;
    // Each pause is longer than the time that an attempt has for its first event.
    gateway.alpha.set(Behaviour::StreamBytes {
        writes: vec![
            event("a"),
            event("b"),
            event("c"),
            Bytes::from("data: [DONE]\n\n"),
        ],
        gap: SLOW,
    });
    let (events, end) = watch(gateway.port(), FAST).await;
    end.expect("a proper end");
    let data: Vec<_> = events.iter().map(|e| e.raw.clone()).collect();
    assert_eq!(
        data,
        [
            event("a"),
            event("b"),
            event("c"),
            "data: [DONE]\n\n".into()
        ]
        .map(|e| e.slice(..e.len() - 2)),
        "every event as the provider wrote it"
    );
    let asked = gateway.alpha.last().expect("a request").at;
    let first = events[0].at - asked;
    assert!(first < SLOW / 2, "the first event was held for {first:?}");
    for pair in events.windows(2) {
        let gap = pair[1].at - pair[0].at;
        assert!(gap > SLOW / 2, "held back: the next came {gap:?} later");
    }
}

#[tokio::test]
async fn the_gateway_adds_little_to_the_time_to_the_first_token() {
    let gateway = Gateway::start("answers-ttft").await;
    let mut best = [Duration::MAX; 2];
    for _ in 0..30 {
        for (best, port) in best.iter_mut().zip([gateway.alpha.port(), gateway.port()]) {
            let begun = Instant::now();
            let (events, _) = watch(port, FAST).await;
            // The first is the role.
            *best = (*best).min(events[1].at - begun);
        }
    }
    let [direct, through] = best;
    println!("first token: {direct:?} direct, {through:?} through the gateway, at best");
    // Two more connections to make, on a machine that others use.
    assert!(
        through < direct + Duration::from_millis(5),
        "{direct:?} became {through:?}"
    );
}

#[tokio::test]
async fn a_stream_that_breaks_after_its_first_event_breaks_for_the_client_too() {
    let gateway = start("answers-broken-streams", IMPATIENT).await;
    use Behaviour as B;
    for fault in [B::ResetMidStream(2), B::TruncatedStream(2)] {
        clear(&gateway);
        gateway.alpha.set(fault.clone());
        let (events, end) = watch(gateway.port(), FAST).await;
        assert!(end.is_err(), "{fault:?}: a clean end");
        assert!(events.len() >= 2, "{fault:?}: what came was passed on");
        assert_eq!(gateway.beta.counters().requests, 0, "{fault:?}");
    }
    // One that stalls then is not cut by the time per attempt, but it is when the client goes.
    gateway.alpha.set(B::StallMidStream(2));
    let mut conn = Conn::open(gateway.port())
        .await
        .expect("open")
        .patience(2 * SLOW);
    conn.send(&chat_bytes(FAST, true)).await.expect("sent");
    let mut response = conn.response().await.expect("a response");
    let end = loop {
        match response.piece().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a clean end"),
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(end, std::io::ErrorKind::TimedOut, "still open");
    drop(conn);
    let gone = gateway
        .alpha
        .wait_for(Duration::from_secs(5), |c| c.in_flight == 0);
    assert!(gone.await, "the provider is left when the client leaves");
}

/// A chunked one-shot answer of 128 KiB, with a pause in it, and its end.
fn large(end: Vec<Step>) -> (String, Behaviour) {
    let body = format!("{{\"choices\":[],\"x\":\"{}\"}}", "x".repeat(128 << 10));
    let (first, second) = body.split_at(100 << 10);
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut steps = vec![
        Step::Write(head.into()),
        Step::Write(chunk(first.as_bytes())),
        Step::Pause(SLOW),
        Step::Write(chunk(second.as_bytes())),
    ];
    steps.extend(end);
    (body, Behaviour::Steps(steps))
}

#[tokio::test]
async fn an_answer_too_large_to_hold_is_released_and_arrives_whole() {
    let gateway = start("answers-large", IMPATIENT).await;
    // Beyond `hold_answer` it flows: the pause in it is longer than an attempt may take.
    let (body, slow) = large(vec![Step::Write(last_chunk(&[]))]);
    gateway.alpha.set(slow);
    let reply = gateway.chat(FAST, "auto").await;
    assert_eq!(
        (reply.status, reply.header("x-routed-attempts").as_str()),
        (200, "alpha=200")
    );
    assert!(reply.text() == body, "{} bytes", reply.body().len());
    // And so it cannot be taken back.
    let (_, broken) = large(vec![Step::Reset]);
    gateway.alpha.set(broken);
    let bytes = chat_bytes(FAST, false);
    let reply = pointsman_tests::client::send(gateway.port(), &bytes).await;
    assert!(reply.is_err(), "a clean end");
}

#[tokio::test]
async fn an_answer_of_any_size_arrives_whole() {
    // Around `hold_answer`, and beyond every buffer.
    let gateway = start("answers-sizes", "20s").await;
    for size in [60 << 10, 65 << 10, 1 << 20, 9 << 20] {
        gateway.alpha.set(Behaviour::BigBody(size));
        let reply = gateway.chat(FAST, "auto").await;
        assert_eq!(reply.status, 200, "{size}: {}", reply.text());
        assert_eq!(reply.content().len(), size);
    }
}

#[tokio::test]
async fn a_large_answer_within_the_limit_is_held_and_so_fails_over() {
    let gateway = Gateway::start_with("answers-held", with_timeout("20s")).await;
    let body = format!("{{\"choices\":[],\"x\":\"{}\"}}", "x".repeat(3 << 20));
    let cut = |steps: Vec<Step>| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let first = Bytes::copy_from_slice(&body.as_bytes()[..2 << 20]);
        let mut all = vec![Step::Write(head.into()), Step::Write(first)];
        all.extend(steps);
        Behaviour::Steps(all)
    };
    for end in [Step::Reset, Step::Close] {
        clear(&gateway);
        gateway
            .alpha
            .set(cut(vec![Step::Pause(Duration::from_millis(20)), end]));
        let reply = gateway.chat(FAST, "auto").await;
        assert_eq!(reply.header("x-routed-attempts"), "alpha=reset, beta=200");
        assert_eq!(reply.content(), "beta answers as beta-small");
    }
    gateway.alpha.set(Behaviour::Body(body.clone().into()));
    let reply = gateway.chat(SINGLE, "auto").await;
    assert!(
        reply.status == 200 && reply.body() == body,
        "{} bytes",
        reply.body().len()
    );
}
