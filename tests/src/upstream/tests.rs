use super::*;
use crate::client::{self, Conn, Reply, chat_request};
use serde_json::json;

async fn ask(upstream: &Upstream, stream: bool) -> io::Result<Reply> {
    ask_for(upstream, stream, client::PATIENCE).await
}

async fn ask_for(upstream: &Upstream, stream: bool, patience: Duration) -> io::Result<Reply> {
    let mut conn = Conn::open(upstream.port()).await?.patience(patience);
    conn.send(&chat_request(
        &[],
        &json!({"model": "m-1", "messages": [], "stream": stream}),
    ))
    .await?;
    conn.reply().await
}

/// What a client sees: status, and content or raw body; or the kind of error.
async fn check(behaviour: Behaviour, stream: bool, expected: Result<(u16, &str), io::ErrorKind>) {
    let upstream = Upstream::start("one").unwrap();
    upstream.set(behaviour.clone());
    // Where silence is expected, a short wait shows it; elsewhere a busy machine must not look like silence.
    let patience = match expected {
        Err(io::ErrorKind::TimedOut) => Duration::from_millis(60),
        _ => client::PATIENCE,
    };
    let got = ask_for(&upstream, stream, patience).await;
    match (&got, expected) {
        (Ok(reply), Ok((status, text))) => {
            let said = if reply.content().is_empty() {
                reply.text()
            } else {
                reply.content()
            };
            assert_eq!(reply.status, status, "{behaviour:?}");
            assert!(said.starts_with(text), "{behaviour:?}: {said:?}");
            assert_eq!(said.is_empty(), text.is_empty(), "{behaviour:?}: {said:?}");
        }
        (Err(error), Err(kind)) => assert_eq!(error.kind(), kind, "{behaviour:?}: {error}"),
        _ => panic!("{behaviour:?}: {got:?}"),
    }
    assert_eq!(upstream.counters().requests, 1, "{behaviour:?}");
}

#[tokio::test]
async fn answers_in_order() {
    let said = "one answers as m-1";
    let soon = Duration::from_millis(10);
    check(Behaviour::Ok, false, Ok((200, said))).await;
    check(Behaviour::Ok, true, Ok((200, "one 1 2"))).await;
    check(
        Behaviour::Stream {
            events: 4,
            gap: soon,
        },
        true,
        Ok((200, "one 1 2 3")),
    )
    .await;
    check(Behaviour::SlowFirstToken(soon), false, Ok((200, said))).await;
    check(Behaviour::SlowFirstToken(soon), true, Ok((200, "one 1 2"))).await;
    check(Behaviour::SlowHeaders(soon), false, Ok((200, said))).await;
    check(Behaviour::SsePingThenOk, true, Ok((200, "one 1 2"))).await;
    check(Behaviour::UntilClose, false, Ok((200, said))).await;
    check(Behaviour::BigBody(1 << 20), false, Ok((200, "xxx"))).await;
    check(Behaviour::Body("{}".into()), false, Ok((200, "{}"))).await;
    check(
        Behaviour::StreamBytes {
            writes: vec!["da".into(), "ta: 1\n\n".into()],
            gap: soon,
        },
        true,
        Ok((200, "data: 1")),
    )
    .await;
    check(Behaviour::classify("fast"), false, Ok((200, "fast"))).await;
    check(Behaviour::error(429), true, Ok((429, r#"{"error""#))).await;
}

#[tokio::test]
async fn misbehaves_in_its_answers() {
    check(Behaviour::EmptyOk, false, Ok((200, ""))).await;
    check(Behaviour::EmptyChunked, true, Ok((200, ""))).await;
    check(Behaviour::HeadersOnly, false, Ok((200, ""))).await;
    check(Behaviour::NotJson, false, Ok((200, "<!doctype"))).await;
    check(Behaviour::TruncatedJson, false, Ok((200, "{"))).await;
    check(Behaviour::ErrorObject200, false, Ok((200, r#"{"error""#))).await;
    check(
        Behaviour::WrongContentType("text/plain"),
        false,
        Ok((200, "one")),
    )
    .await;
    check(
        Behaviour::WrongContentType("application/json"),
        true,
        Ok((200, "one")),
    )
    .await;
    check(Behaviour::OneShotForStream, true, Ok((200, "one answers"))).await;
    check(Behaviour::StreamForOneShot, false, Ok((200, "one 1 2"))).await;
    check(
        Behaviour::SseErrorFirst,
        true,
        Ok((200, r#"data: {"error""#)),
    )
    .await;
    check(Behaviour::SseRoleThenError, true, Ok((200, "data: {"))).await;
    check(Behaviour::SseErrorAfter(2), true, Ok((200, "one 1"))).await;
    check(Behaviour::SseOnlyDone, true, Ok((200, "data: [DONE]"))).await;
    check(Behaviour::SseWithoutDone(1), true, Ok((200, "one"))).await;
}

#[tokio::test]
async fn misbehaves_in_its_transport() {
    use io::ErrorKind::{ConnectionReset, InvalidData, TimedOut, UnexpectedEof};
    check(Behaviour::ResetBeforeBody, false, Err(ConnectionReset)).await;
    check(Behaviour::ResetAtOnce, false, Err(ConnectionReset)).await;
    check(Behaviour::CloseAtOnce, false, Err(UnexpectedEof)).await;
    check(Behaviour::ResetAfterHeaders, false, Err(ConnectionReset)).await;
    check(Behaviour::ResetAfterHeaders, true, Err(ConnectionReset)).await;
    check(Behaviour::ResetMidBody, false, Err(ConnectionReset)).await;
    check(Behaviour::TruncatedBody, false, Err(UnexpectedEof)).await;
    check(Behaviour::ResetMidStream(2), true, Err(ConnectionReset)).await;
    check(Behaviour::TruncatedStream(2), true, Err(UnexpectedEof)).await;
    check(Behaviour::StallBeforeHeaders, false, Err(TimedOut)).await;
    check(Behaviour::StallAfterHeaders, true, Err(TimedOut)).await;
    check(Behaviour::StallMidBody, false, Err(TimedOut)).await;
    check(Behaviour::StallMidStream(2), true, Err(TimedOut)).await;
    check(Behaviour::NotHttp, false, Err(InvalidData)).await;
    check(
        Behaviour::Steps(vec![Step::Write("HTTP/1.1 200".into()), Step::Close]),
        false,
        Err(UnexpectedEof),
    )
    .await;
}

#[tokio::test]
async fn remembers_what_it_was_asked() {
    let upstream = Upstream::start("one").unwrap();
    let bytes: &[u8] = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: h\r\nX-Odd: \xff\r\nx-odd: 2\r\n\
        transfer-encoding: chunked\r\n\r\n5\r\n{\"mod\r\n8\r\nel\":\"a\"}\r\n0\r\nx-t: \xfe\r\n\r\n";
    client::send(upstream.port(), bytes).await.unwrap();
    let seen = upstream.last().unwrap();
    assert_eq!(
        (
            seen.method.as_str(),
            seen.path.as_str(),
            seen.model().as_str()
        ),
        ("POST", "/v1/x?y=1", "a")
    );
    assert_eq!(
        seen.headers.0[1],
        ("X-Odd".into(), Bytes::from_static(b"\xff"))
    );
    assert_eq!(seen.headers.all("x-odd").count(), 2);
    assert_eq!(seen.trailers.get("x-t"), Some(&b"\xfe"[..]));
    assert_eq!(seen.body, r#"{"model":"a"}"#);

    let ask =
        json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]});
    client::post_chat(upstream.port(), &[("x-a", "b")], &ask)
        .await
        .unwrap();
    let seen = upstream.last().unwrap();
    assert_eq!(
        (seen.prompt("user").as_str(), seen.header("x-a").as_str()),
        ("u", "b")
    );
    assert!(
        upstream
            .wait_for(Duration::from_secs(5), |c| c.in_flight == 0)
            .await
    );
    upstream.clear();
    assert_eq!(
        (upstream.requests().len(), upstream.counters()),
        (0, Counters::default())
    );
}

#[tokio::test]
async fn follows_a_script_that_changes() {
    let upstream = Upstream::start("one").unwrap();
    upstream.next([Behaviour::error(503), Behaviour::error(429)]);
    upstream.set_by(|seen| {
        if seen.path == "/a" {
            Behaviour::error(404)
        } else {
            Behaviour::Ok
        }
    });
    let mut conn = Conn::open(upstream.port()).await.unwrap();
    for (path, expected) in [("/a", 503), ("/b", 429), ("/a", 404), ("/b", 200)] {
        conn.send(&client::request("POST", path, &[], b"{}"))
            .await
            .unwrap();
        assert_eq!(conn.reply().await.unwrap().status, expected);
    }
    assert_eq!(upstream.counters().connections, 1);
}

#[tokio::test]
async fn sends_events_as_they_come_and_usage_when_asked() {
    let upstream = Upstream::start("one").unwrap();
    upstream.set(Behaviour::Stream {
        events: 2,
        gap: Duration::from_millis(20),
    });
    let ask = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}});
    let events = client::post_chat(upstream.port(), &[], &ask)
        .await
        .unwrap()
        .events();
    assert_eq!(events.len(), 6, "{events:?}");
    assert_eq!(
        events[4].json().pointer("/usage/total_tokens"),
        Some(&json!(9))
    );
    assert_eq!(events[5].data, "[DONE]");
    assert!(events[5].at - events[0].at > Duration::from_millis(80));
}

#[tokio::test]
async fn sends_trailers() {
    let upstream = Upstream::start("one").unwrap();
    upstream.set(Behaviour::Chunked {
        trailers: vec![("x-end".into(), "1".into())],
    });
    let reply = ask(&upstream, false).await.unwrap();
    assert_eq!(
        (reply.content().as_str(), reply.pieces.len()),
        ("one answers as m-1", 2)
    );
    assert_eq!(reply.trailers.get("x-end"), Some(&b"1"[..]));
}

#[tokio::test]
async fn notices_a_client_that_goes_away() {
    let upstream = Upstream::start("one").unwrap();
    upstream.set(Behaviour::StallMidStream(1));
    let mut conn = Conn::open(upstream.port()).await.unwrap();
    conn.send(&chat_request(&[], &json!({"stream": true})))
        .await
        .unwrap();
    let mut response = conn.response().await.unwrap();
    assert!(response.piece().await.unwrap().is_some());
    assert!(
        upstream
            .wait_for(Duration::from_secs(5), |c| c.in_flight == 1)
            .await
    );
    conn.reset().unwrap();
    assert!(
        upstream
            .wait_for(Duration::from_secs(5), |c| c.aborted == 1
                && c.in_flight == 0)
            .await
    );
}

#[tokio::test]
async fn refuses_connections_and_comes_back() {
    let refused = refused_port().unwrap();
    let error = client::get(refused.port, "/", &[]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

    let upstream = Upstream::start("one").unwrap();
    let port = upstream.port();
    ask(&upstream, false).await.unwrap();
    drop(upstream);
    assert_eq!(
        Conn::open(port).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    let upstream = Upstream::start_on("one", port).unwrap();
    assert_eq!(ask(&upstream, false).await.unwrap().status, 200);
}
