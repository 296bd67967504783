//! Write: a chat completion request, field by field and message by message, straight into its body.
//!
//! What has no counterpart is written down here too. After OpenAI's API reference,
//! <https://platform.openai.com/docs/api-reference/chat/create>.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::read::Path;
use super::{Names, Takes, Translated};
use crate::chat::error::ErrorReply;
use crate::chat::request::BadRequest;
use crate::provider::translate::Unsupported;

/// What a parameter without counterpart is told under [`Unsupported::Refuse`].
pub(super) const NO_COUNTERPART: &str = "has no counterpart at the chosen target; leave it out";

/// A body that grows.
pub(super) struct Chat {
    out: Vec<u8>,
    messages: usize,
    pub(super) losses: Losses,
    pub(super) takes: Takes,
    pub(super) names: Names,
}

/// What the target does not get.
pub(super) struct Losses {
    unsupported: Unsupported,
    dropped: Vec<&'static str>,
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<Cow<'a, str>>,
    pub(super) content: Content<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ToolCall<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reasoning_details: Vec<Reasoning<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    /// Of an assistant that only calls tools. Written, since servers of old want the key.
    Null,
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part<'a> {
    Text { text: Cow<'a, str> },
    ImageUrl { image_url: ImageUrl<'a> },
    File { file: File<'a> },
}

#[derive(Serialize)]
pub(super) struct ImageUrl<'a> {
    pub(super) url: Url<'a>,
}

/// A file inside the request; OpenAI wants its name.
#[derive(Serialize)]
pub(super) struct File<'a> {
    pub(super) filename: Cow<'a, str>,
    pub(super) file_data: Url<'a>,
}

pub(super) enum Url<'a> {
    Plain(Cow<'a, str>),
    /// Base64, as `data:` URL.
    Data {
        media_type: Cow<'a, str>,
        data: Cow<'a, str>,
    },
}

#[derive(Serialize)]
pub(super) struct ToolCall<'a> {
    pub(super) id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Call<'a>,
}

#[derive(Serialize)]
struct Call<'a> {
    name: Cow<'a, str>,
    /// JSON in a string, as the model wrote it.
    arguments: &'a str,
}

/// Anthropic's thinking as OpenRouter carries it through chat completions,
/// <https://openrouter.ai/docs/guides/best-practices/reasoning-tokens>.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum Reasoning<'a> {
    #[serde(rename = "reasoning.text")]
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Cow<'a, str>>,
        format: &'static str,
        index: usize,
    },
    #[serde(rename = "reasoning.encrypted")]
    Encrypted {
        data: Cow<'a, str>,
        format: &'static str,
        index: usize,
    },
}

// === impl Chat ===

impl Chat {
    /// `size`: bytes to expect.
    pub(super) fn new(
        model: &RawValue,
        unsupported: Unsupported,
        takes: Takes,
        size: usize,
    ) -> Self {
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(b"{\"model\":");
        out.extend_from_slice(model.get().as_bytes());
        out.extend_from_slice(b",\"messages\":[");
        Self {
            out,
            messages: 0,
            losses: Losses {
                unsupported,
                dropped: Vec::new(),
            },
            takes,
            names: Names::default(),
        }
    }

    /// Before [`Chat::end_messages`].
    pub(super) fn message(&mut self, message: &Message<'_>) {
        if self.messages > 0 {
            self.out.push(b',');
        }
        self.messages = self.messages.saturating_add(1);
        self.value(message);
    }

    pub(super) fn end_messages(&mut self) {
        self.out.push(b']');
    }

    /// After [`Chat::end_messages`].
    pub(super) fn field(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.value(value);
    }

    pub(super) fn finish(mut self) -> Translated {
        self.out.push(b'}');
        Translated {
            body: self.out,
            dropped: self.losses.dropped,
            names: self.names,
        }
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        let before = self.out.len();
        // Strings and raw values always serialise; the fallback is for the type checker.
        if serde_json::to_writer(&mut self.out, value).is_err() {
            self.out.truncate(before);
            self.out.extend_from_slice(b"null");
        }
    }
}

// === impl Losses ===

impl Losses {
    /// Leaves out what is at `path`, under the name that the client knows; or refuses it.
    pub(super) fn lose(
        &mut self,
        name: &'static str,
        path: Path<'_>,
        words: &str,
    ) -> Result<(), ErrorReply> {
        match self.unsupported {
            Unsupported::Refuse => Err(path.fault("unsupported_parameter", words)),
            Unsupported::Drop if self.dropped.contains(&name) => Ok(()),
            Unsupported::Drop => {
                self.dropped.push(name);
                Ok(())
            }
        }
    }

    /// The same for a key that is none of the API's, already cleaned. Its name is the client's own, and is not kept.
    pub(super) fn lose_unknown(&self, key: &str) -> Result<(), ErrorReply> {
        match self.unsupported {
            Unsupported::Drop => Ok(()),
            Unsupported::Refuse => Err(BadRequest {
                code: "unsupported_parameter",
                message: format!("`{key}` {NO_COUNTERPART}"),
                param: Some(key.to_owned()),
            }
            .into()),
        }
    }
}

// === impl Message ===

impl<'a> Message<'a> {
    pub(super) fn new(role: &'static str, content: Content<'a>) -> Self {
        Self {
            role,
            tool_call_id: None,
            content,
            tool_calls: Vec::new(),
            reasoning_details: Vec::new(),
        }
    }
}

// === impl ToolCall ===

impl<'a> ToolCall<'a> {
    pub(super) fn new(id: Cow<'a, str>, name: Cow<'a, str>, arguments: &'a str) -> Self {
        Self {
            id,
            kind: "function",
            function: Call { name, arguments },
        }
    }
}

// === impl Url ===

impl Serialize for Url<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Url<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Url::Plain(url) => f.write_str(url),
            Url::Data { media_type, data } => write!(f, "data:{media_type};base64,{data}"),
        }
    }
}
