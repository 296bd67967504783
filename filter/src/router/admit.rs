//! Admit: which requests are ours, who sends them, and what of theirs is let in.
//!
//! Pure. Nothing that a client sent under our names, or under Envoy's, survives it.

use crate::chat::error::{self, ErrorReply};
use crate::chat::request::Dialect;
use crate::http::Headers;
use crate::policy::{Admit, CallerSource};
use crate::telemetry::headers as names;

/// The caller of a request that nothing authenticated.
pub const ANONYMOUS: &str = "anonymous";

/// Longest caller name that counts, in bytes; a longer one is cut.
const MAX_CALLER: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Not ours: passes untouched.
    Pass,
    /// The list of models, or the one named.
    Models(Option<String>),
    /// A request to a model; `path` without its query.
    Chat { path: String, client: Dialect },
}

pub fn admit(admit: &Admit, headers: &Headers) -> Admission {
    let (Some(method), Some(path)) = (headers.text(":method"), headers.text(":path")) else {
        return Admission::Pass;
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    match method {
        "POST" => match dialect(admit, path) {
            Some(client) => Admission::Chat {
                path: path.to_owned(),
                client,
            },
            None => Admission::Pass,
        },
        "GET" => match path.strip_prefix(admit.models_path.as_str()) {
            Some("") => Admission::Models(None),
            Some(rest) => match rest.strip_prefix('/') {
                Some(id) if !id.is_empty() => Admission::Models(Some(id.to_owned())),
                _ => Admission::Pass,
            },
            None => Admission::Pass,
        },
        _ => Admission::Pass,
    }
}

/// What is spoken on a path, if it is one of ours.
fn dialect(admit: &Admit, path: &str) -> Option<Dialect> {
    let is_among = |paths: &[String], path: &str| paths.iter().any(|p| p == path);
    if is_among(&admit.paths, path) {
        return Some(Dialect::Chat);
    }
    if is_among(&admit.messages_paths, path) {
        return Some(Dialect::Messages);
    }
    let counted = path.strip_suffix("/count_tokens")?;
    is_among(&admit.messages_paths, counted).then_some(Dialect::CountTokens)
}

/// What can be refused before a byte of the body has come.
pub fn check_headers(headers: &Headers, max_body: usize) -> Result<(), ErrorReply> {
    let encoded = headers.0.iter().any(|(name, value)| {
        name == "content-encoding" && !value.is_empty() && !value.eq_ignore_ascii_case(b"identity")
    });
    if encoded {
        return Err(ErrorReply {
            status: 415,
            kind: error::INVALID_REQUEST,
            code: "unsupported_content_encoding",
            message: "the gateway reads request bodies and does not decompress them; send the body without content-encoding".to_owned(),
            param: None,
        });
    }
    let announced = headers.content_length().unwrap_or(0);
    if announced > u64::try_from(max_body).unwrap_or(u64::MAX) {
        return Err(too_large(max_body));
    }
    Ok(())
}

pub fn too_large(max_body: usize) -> ErrorReply {
    ErrorReply {
        status: 413,
        kind: error::INVALID_REQUEST,
        code: "request_too_large",
        message: format!(
            "the request body is larger than {max_body} bytes, this gateway's limit (admit.max_body)"
        ),
        param: None,
    }
}

/// Who is calling, as Envoy's authentication said it.
pub fn caller(source: Option<&CallerSource>, headers: &Headers, metadata: Option<&[u8]>) -> String {
    let named = match source {
        None => None,
        Some(CallerSource::Header(name)) => headers.get(name),
        Some(CallerSource::Metadata(_)) => metadata,
    };
    match named {
        Some(name) if !name.is_empty() => {
            let name = name.get(..MAX_CALLER).unwrap_or(name);
            String::from_utf8_lossy(name).into_owned()
        }
        _ => ANONYMOUS.to_owned(),
    }
}

/// The names among the client's headers that only the gateway may set.
pub fn reserved(headers: &Headers) -> Vec<String> {
    let names = headers.0.iter().map(|(name, _)| name);
    names
        .filter(|name| is_reserved(name))
        .map(|name| name.to_string())
        .collect()
}

fn is_reserved(name: &str) -> bool {
    name.starts_with("x-pointsman-")
        || name.starts_with("x-envoy-")
        || names::RESPONSE.contains(&name)
}
