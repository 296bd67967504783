//! Error: the gateway's own errors, in OpenAI's form.
//!
//! An official SDK raises its typed exception from the status, and shows `message`, `type`, `param` and `code`.

use serde::Serialize;

use super::request::BadRequest;

/// OpenAI's values of an error's `type`.
pub const INVALID_REQUEST: &str = "invalid_request_error";
pub const PERMISSION: &str = "permission_error";
pub const RATE_LIMIT: &str = "rate_limit_error";
pub const SERVER: &str = "server_error";

/// An answer of the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    pub status: u16,
    /// One of the constants above.
    pub kind: &'static str,
    /// Stable; for programs.
    pub code: &'static str,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// JSON path of the field that is wrong.
    pub param: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    status_type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

/// `{"error":{"message":…,"type":…,"param":…|null,"code":…}}`
pub fn error_body(status_type: &str, code: &str, message: &str, param: Option<&str>) -> Vec<u8> {
    let body = Body {
        error: Fields {
            message,
            status_type,
            param,
            code,
        },
    };
    // Strings always serialise; the fallback is for the type checker.
    serde_json::to_vec(&body).unwrap_or_default()
}

// === impl ErrorReply ===

impl ErrorReply {
    /// The gateway's set-up is wrong; `message` names the repair.
    pub fn misconfigured(message: impl Into<String>) -> Self {
        ErrorReply {
            status: 500,
            kind: SERVER,
            code: "gateway_misconfigured",
            message: message.into(),
            param: None,
        }
    }

    pub fn body(&self) -> Vec<u8> {
        error_body(self.kind, self.code, &self.message, self.param.as_deref())
    }
}

impl From<BadRequest> for ErrorReply {
    fn from(bad: BadRequest) -> Self {
        Self {
            status: 400,
            kind: INVALID_REQUEST,
            code: bad.code,
            message: bad.message,
            param: bad.param,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let check = |param: Option<&str>, expected: &str| {
            let reply = ErrorReply::from(BadRequest {
                code: "invalid_type",
                message: "say \"hi\"\n".to_owned(),
                param: param.map(str::to_owned),
            });
            assert_eq!(reply.status, 400);
            assert_eq!(String::from_utf8(reply.body()).unwrap(), expected);
        };
        check(
            Some("messages[0].role"),
            r#"{"error":{"message":"say \"hi\"\n","type":"invalid_request_error","param":"messages[0].role","code":"invalid_type"}}"#,
        );
        check(
            None,
            r#"{"error":{"message":"say \"hi\"\n","type":"invalid_request_error","param":null,"code":"invalid_type"}}"#,
        );
    }
}
