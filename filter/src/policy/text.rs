//! What names, hosts, paths and headers of a policy may be made of.
//!
//! They end up in headers, paths, log lines and stat names: what passes here can neither break out of one nor stand for something
//! that the gateway, the connection or Envoy's secrets own. A header's value is never repeated in an error.

use super::error::{Errors, clean};
use super::reader::{At, Charset, Fields};

pub(super) const TIER: Charset = Charset {
    what: "a-z, 0-9, \"_\" and \"-\"",
    max: 64,
    allows: |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'),
};

/// A provider's name stands in `X-Routed-Attempts: openai=503, anthropic=200`.
pub(super) const PROVIDER: Charset = Charset {
    what: "letters, digits, \".\", \"_\" and \"-\"",
    max: 64,
    allows: |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'),
};

/// A region stands in `X-Routing-Skipped`.
pub(super) const REGION: Charset = PROVIDER;

pub(super) const MODEL: Charset = Charset {
    what: "visible ASCII characters without spaces",
    max: 128,
    allows: |b| b.is_ascii_graphic(),
};

pub(super) const CLUSTER: Charset = Charset { max: 256, ..MODEL };

/// Callers are named by whatever authentication yields.
pub(super) const CALLER: Charset = Charset {
    what: "characters (bytes) that are no control characters",
    max: 256,
    allows: |b| !b.is_ascii_control(),
};

const HOST: Charset = Charset {
    what: "letters, digits and \"-._:[]\" (a host and perhaps a port)",
    max: 255,
    allows: |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']'),
};

const PATH: Charset = Charset { max: 1024, ..MODEL };

const HEADER_NAME: Charset = Charset {
    what: "the characters of a header name",
    max: 128,
    allows: |b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b),
};

const HEADER_VALUE: Charset = Charset {
    what: "visible ASCII characters and spaces between them",
    max: 4096,
    allows: |b| b == b' ' || b.is_ascii_graphic(),
};

/// Headers that carry a secret, in lower case.
const SECRETS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
];

/// Which list a header is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Headers {
    /// `set_headers:`
    Set,
    /// `pass_headers:`
    Pass,
}

/// `host:`, which without one is the cluster's name, if that does as a host.
pub(super) fn host(
    fields: &Fields<'_>,
    cluster: Option<&str>,
    errors: &mut Errors,
) -> Option<String> {
    match (fields.get("host"), cluster) {
        (Some(at), _) => at.text(&HOST, errors).map(str::to_owned),
        (None, Some(cluster)) if !HOST.admits(cluster) => {
            errors.push(
                &fields.path_of("host"),
                "required, for the cluster's name is not a host",
            );
            None
        }
        (None, cluster) => cluster.map(str::to_owned),
    }
}

/// A path with or without a query.
pub(super) fn path(at: &At<'_>, errors: &mut Errors) -> Option<String> {
    let text = at.text(&PATH, errors)?;
    let problem = if !text.starts_with('/') {
        "must start with \"/\""
    } else if text.contains('#') {
        "must have no fragment"
    } else {
        return Some(text.to_owned());
    };
    errors.push(&at.path, problem);
    None
}

/// A path as requests are matched: without a query.
pub(super) fn exact_path(at: &At<'_>, errors: &mut Errors) -> Option<String> {
    let path = path(at, errors)?;
    if path.contains('?') {
        errors.push(
            &at.path,
            "must have no query: paths are compared without it",
        );
        return None;
    }
    Some(path)
}

/// A provider's path: `{model}` is its only placeholder.
pub(super) fn path_template(at: &At<'_>, errors: &mut Errors) -> Option<String> {
    let path = path(at, errors)?;
    if path.replace("{model}", "").contains(['{', '}']) {
        errors.push(&at.path, "\"{model}\" is the only placeholder");
        return None;
    }
    Some(path)
}

/// A header's name, in lower case.
pub(super) fn header_name(path: &str, name: &str, errors: &mut Errors) -> Option<String> {
    if name.starts_with(':') {
        errors.push(
            path,
            "a header that starts with \":\" is not one that a policy can name",
        );
        return None;
    }
    HEADER_NAME
        .check(path, name, errors)
        .then(|| name.to_ascii_lowercase())
}

pub(super) fn header_value(at: &At<'_>, errors: &mut Errors) -> Option<String> {
    let text = at.text(&HEADER_VALUE, errors)?;
    if text.trim() != text {
        errors.push(&at.path, "must not begin or end with a space");
        return None;
    }
    Some(text.to_owned())
}

/// The name of a header that a client sends and the router reads.
pub(super) fn client_header(at: &At<'_>, errors: &mut Errors) -> Option<String> {
    let name = header_name(&at.path, at.string(errors)?, errors)?;
    if is_ours(&name) {
        errors.push(
            &at.path,
            format!(
                "\"{}\" is removed from what a client sends, or the gateway's own",
                clean(&name)
            ),
        );
        return None;
    }
    Some(name)
}

/// The name of the header that says who calls.
pub(super) fn caller_header(at: &At<'_>, errors: &mut Errors) -> Option<String> {
    let name = client_header(at, errors)?;
    if SECRETS.contains(&name.as_str()) {
        errors.push(
            &at.path,
            format!("\"{name}\" carries a secret, and a caller's name is logged; let Envoy's authentication write the name to a header of its own"),
        );
        return None;
    }
    Some(name)
}

/// Refuses a header to a provider that is not the policy's to set or to pass.
pub(super) fn provider_header(
    path: &str,
    name: &str,
    list: Headers,
    errors: &mut Errors,
) -> Option<String> {
    let name = header_name(path, name, errors)?;
    let Some(reason) = refusal(&name, list) else {
        return Some(name);
    };
    errors.push(
        path,
        format!("header \"{}\" is refused: {reason}", clean(&name)),
    );
    None
}

fn refusal(name: &str, list: Headers) -> Option<&'static str> {
    if SECRETS.contains(&name) {
        return Some(match list {
            Headers::Set => {
                "keys belong in Envoy's SDS secret and the cluster's credential_injector, not in the policy"
            }
            Headers::Pass => "it carries the client's own secret, which no provider may see",
        });
    }
    if is_ours(name) {
        return Some("it is the gateway's own");
    }
    if name.starts_with("x-b3-") {
        return Some("trace context passes by itself");
    }
    match name {
        "host" => Some("`host` sets it"),
        "content-length" | "transfer-encoding" | "connection" | "te" | "upgrade" | "keep-alive"
        | "proxy-connection" | "trailer" | "expect" => {
            Some("it belongs to the connection, which is Envoy's")
        }
        "accept-encoding" | "content-encoding" => {
            Some("the filter reads bodies, which must not be compressed")
        }
        "traceparent" | "tracestate" | "b3" => Some("trace context passes by itself"),
        "content-type" | "accept" => Some("it always passes"),
        "user-agent" if list == Headers::Pass => Some("it always passes"),
        _ => None,
    }
}

/// Headers that the router removes from a request, and those that it reads or writes itself.
fn is_ours(name: &str) -> bool {
    const PREFIXES: &[&str] = &["x-pointsman-", "x-envoy-", "x-routed-", "x-routing-"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || matches!(
            name,
            "x-llm-policy" | "x-llm-providers" | "x-classification-time"
        )
}
