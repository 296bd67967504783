//! What hostile clients write into heads and between chunks. Pure.

/// In a smuggled value that a provider must not see.
pub const MARK: &str = "smuggled-by-nobody";

/// Names that only the gateway and Envoy's router may say to each other, to a provider, or to a client.
pub const INTERNAL: &[&str] = &[
    "x-classification-time",
    "x-client-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-dst-host",
    "x-envoy-original-path",
    "x-envoy-overloaded",
    "x-envoy-ratelimited",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-service-time",
    "x-envoy-upstream-stream-duration-ms",
    "x-pointsman-",
    "x-pointsman-cluster",
    "x-pointsman-no-host",
    "x-pointsman-plan",
    "x-pointsman-reply",
    "x-routed-attempts",
    "x-routed-model",
    "x-routed-provider",
    "x-routing-confidence",
    "x-routing-degraded",
    "x-routing-dropped",
    "x-routing-reason",
    "x-routing-skipped",
    "x-routing-source",
    "x-routing-tier",
];

/// Each would change how a request is routed or retried, if it were obeyed.
pub const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"true",
    b"200",
    b"200,201,202",
    b"5xx,retriable-status-codes",
    b"18446744073709551616",
    b"127.0.0.1:1",
    b"gamma",
    b"beta=200",
    b"\xff\xfe\x80",
    b"{\"targets\":[]}",
    b"1ms",
];

pub const HOP_BY_HOP: &[&[u8]] = &[
    b"x-llm-policy",
    b"close, x-envoy-max-retries, x-pointsman-plan",
    b"content-length",
    b"upgrade",
    b"trailers",
    b"websocket",
    b"h2c",
    b"100-continue",
    b"200-maybe",
    b"\xff",
];

/// Lines that no head may have.
pub const MALFORMED: &[&[u8]] = &[
    b"x-nul: a\0b",
    b"x-bad name: a",
    b"no colon",
    b": no name",
    b"x-envoy-max-retries : 3",
    b"x-pointsman-\xff: a",
    b"x-pointsman-plan\0: a",
    b"content-length: 3",
    b"transfer-encoding: chunked",
];

pub const NOT_HTTP: &[&[u8]] = &[
    b"",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST /v1/chat/completions\r\n\r\n",
    b"POST /v1/chat/completions HTTP/9.9\r\n\r\n",
    b"\r\n\r\n\r\nGET",
    b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
    b"POST /v1/chat/completions?\xff\x00 HTTP/1.1\r\nhost: g\r\n\r\n",
];

/// How long a body is, said in ways that two readers could read differently.
pub const CONTRADICTORY: &[&str] = &[
    "content-length: 2\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: 2",
    "content-length: 2\r\ncontent-length: 3",
    "content-length: 2, 3",
    "content-length: +2",
    "content-length: -2",
    "content-length: 0x2",
    "content-length: 2 2",
    "content-length: 99999999999999999999999",
];

pub const BAD_CHUNKS: &[&[u8]] = &[
    b"zz\r\n{}\r\n0\r\n\r\n",
    b"-2\r\n{}\r\n0\r\n\r\n",
    b"0x2\r\n{}\r\n0\r\n\r\n",
    b"ffffffffffffffff1\r\n{}\r\n",
    b"1\r\n{}\r\n0\r\n\r\n",
    b"2\r\n{}0\r\n\r\n",
    b"2;\0\r\n{}\r\n0\r\n\r\n",
    b"\r\n\r\n",
    b"2\r\n{}\r\n0\r\nbad trailer\r\n\r\n",
];
