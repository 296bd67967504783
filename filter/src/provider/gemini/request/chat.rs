//! Chat: what is read of a client's chat completion request.
//!
//! Everything borrows from the body. Members that are not named here are skipped: the ones of OpenAI's that Gemini has
//! no counterpart for are named, so that their loss can be told. Source of the members:
//! <https://platform.openai.com/docs/api-reference/chat/create>.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::shape::{Field, List, Object, Shape};

/// `None` where the member is `null` or not there.
pub(super) type Raw<'a> = Option<&'a RawValue>;
pub(super) type Text<'a> = Field<Cow<'a, str>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Chat<'a> {
    #[serde(borrow)]
    pub messages: Field<List<Message<'a>>>,

    #[serde(borrow)]
    pub tools: Field<List<Tool<'a>>>,
    #[serde(borrow)]
    pub tool_choice: Field<Choice<'a>>,
    #[serde(borrow)]
    pub parallel_tool_calls: Raw<'a>,
    #[serde(borrow)]
    pub functions: Raw<'a>,
    #[serde(borrow)]
    pub function_call: Raw<'a>,

    #[serde(borrow)]
    pub max_completion_tokens: Raw<'a>,
    #[serde(borrow)]
    pub max_tokens: Raw<'a>,
    #[serde(borrow)]
    pub stop: Field<Stop<'a>>,
    #[serde(borrow)]
    pub temperature: Raw<'a>,
    #[serde(borrow)]
    pub top_p: Raw<'a>,
    /// Not OpenAI's: the gateway writes it for a client of Messages.
    #[serde(borrow, rename = "pointsman.top_k")]
    pub top_k: Raw<'a>,
    #[serde(borrow)]
    pub presence_penalty: Raw<'a>,
    #[serde(borrow)]
    pub frequency_penalty: Raw<'a>,
    #[serde(borrow)]
    pub seed: Raw<'a>,
    #[serde(borrow)]
    pub n: Raw<'a>,
    #[serde(borrow)]
    pub logprobs: Raw<'a>,
    #[serde(borrow)]
    pub top_logprobs: Raw<'a>,
    #[serde(borrow)]
    pub response_format: Field<ResponseFormat<'a>>,
    #[serde(borrow)]
    pub reasoning_effort: Text<'a>,

    #[serde(borrow)]
    pub audio: Raw<'a>,
    #[serde(borrow)]
    pub logit_bias: Raw<'a>,
    #[serde(borrow)]
    pub metadata: Raw<'a>,
    #[serde(borrow)]
    pub modalities: Raw<'a>,
    #[serde(borrow)]
    pub moderation: Raw<'a>,
    #[serde(borrow)]
    pub prediction: Raw<'a>,
    #[serde(borrow)]
    pub prompt_cache_key: Raw<'a>,
    #[serde(borrow)]
    pub prompt_cache_options: Raw<'a>,
    #[serde(borrow)]
    pub prompt_cache_retention: Raw<'a>,
    #[serde(borrow)]
    pub safety_identifier: Raw<'a>,
    #[serde(borrow)]
    pub service_tier: Raw<'a>,
    #[serde(borrow)]
    pub store: Raw<'a>,
    #[serde(borrow)]
    pub user: Raw<'a>,
    #[serde(borrow)]
    pub verbosity: Raw<'a>,
    #[serde(borrow)]
    pub web_search_options: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub role: Text<'a>,
    #[serde(borrow)]
    pub content: Field<Content<'a>>,
    #[serde(borrow)]
    pub name: Raw<'a>,
    #[serde(borrow)]
    pub refusal: Text<'a>,
    #[serde(borrow)]
    pub tool_calls: Field<List<ToolCall<'a>>>,
    #[serde(borrow)]
    pub tool_call_id: Text<'a>,
    #[serde(borrow)]
    pub function_call: Raw<'a>,
    #[serde(borrow)]
    pub audio: Raw<'a>,
    /// An answer's, handed back. Not OpenAI's: gateways carry a provider's own state in it.
    #[serde(borrow)]
    pub reasoning_details: Raw<'a>,
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(List<Part<'a>>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub text: Text<'a>,
    #[serde(borrow)]
    pub refusal: Text<'a>,
    #[serde(borrow)]
    pub image_url: Field<ImageUrl<'a>>,
    #[serde(borrow)]
    pub input_audio: Field<InputAudio<'a>>,
    #[serde(borrow)]
    pub file: Field<File<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ImageUrl<'a> {
    #[serde(borrow)]
    pub url: Text<'a>,
    #[serde(borrow)]
    pub detail: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InputAudio<'a> {
    #[serde(borrow)]
    pub data: Text<'a>,
    #[serde(borrow)]
    pub format: Text<'a>,
}

/// The `filename` is a label that Gemini's `inlineData` has no place for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File<'a> {
    #[serde(borrow)]
    pub file_data: Text<'a>,
    #[serde(borrow)]
    pub file_id: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolCall<'a> {
    #[serde(borrow)]
    pub id: Text<'a>,
    #[serde(rename = "type", borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub function: Field<Called<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Called<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub arguments: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tool<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub function: Field<Function<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub description: Text<'a>,
    #[serde(borrow)]
    pub parameters: Raw<'a>,
    #[serde(borrow)]
    pub strict: Raw<'a>,
}

#[derive(Debug)]
pub(super) enum Choice<'a> {
    Word(Cow<'a, str>),
    Named(Box<NamedChoice<'a>>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NamedChoice<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub function: Field<Named<'a>>,
    #[serde(borrow)]
    pub allowed_tools: Field<AllowedTools<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AllowedTools<'a> {
    #[serde(borrow)]
    pub mode: Text<'a>,
    #[serde(borrow)]
    pub tools: Field<List<AllowedTool<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AllowedTool<'a> {
    #[serde(borrow)]
    pub function: Field<Named<'a>>,
}

#[derive(Debug)]
pub(super) enum Stop<'a> {
    One(Cow<'a, str>),
    Many(List<Cow<'a, str>>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ResponseFormat<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub json_schema: Field<JsonSchema<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JsonSchema<'a> {
    #[serde(borrow)]
    pub schema: Raw<'a>,
}

// === impl Object ===

macro_rules! objects {
    ($($name:ident)*) => { $(impl<'de: 'a, 'a> Object<'de> for $name<'a> {})* };
    ($($name:ident needs $member:ident,)*) => {
        $(impl<'de: 'a, 'a> Object<'de> for $name<'a> {
            fn lacks(&self) -> bool {
                !self.$member.is()
            }
        })*
    };
}

objects! { ImageUrl InputAudio File Called Function NamedChoice Named AllowedTools ResponseFormat JsonSchema }

// Items of lists.
objects! {
    Message needs role,
    Part needs kind,
    ToolCall needs id,
    Tool needs kind,
    AllowedTool needs function,
}

// === impl Shape ===

impl<'de: 'a, 'a> Shape<'de> for Content<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self::Text(text))
    }

    fn list<A: SeqAccess<'de>>(list: A) -> Result<Option<Self>, A::Error> {
        Ok(List::list(list)?.map(Self::Parts))
    }
}

impl<'de: 'a, 'a> Shape<'de> for Choice<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self::Word(text))
    }

    fn object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        Ok(NamedChoice::object(object)?.map(|choice| Self::Named(Box::new(choice))))
    }
}

impl<'de: 'a, 'a> Shape<'de> for Stop<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self::One(text))
    }

    fn list<A: SeqAccess<'de>>(list: A) -> Result<Option<Self>, A::Error> {
        Ok(List::list(list)?.map(Self::Many))
    }
}
