//! Anthropic's wire format: Messages, first-party.
//!
//! Pure. Written from Anthropic's API reference, <https://docs.claude.com/en/api/messages> and its pages on streaming,
//! tool use, extended thinking, prompt caching and errors.

pub mod answer;
pub mod error;
pub mod request;
pub mod stream;

/// The header that names the API's version, on every request. <https://platform.claude.com/docs/en/api/versioning>
pub const VERSION_HEADER: (&str, &str) = ("anthropic-version", "2023-06-01");

/// The header that names beta features, where a client uses some. <https://platform.claude.com/docs/en/api/beta-headers>
pub const BETA_HEADER: &str = "anthropic-beta";

/// The `format` of the `reasoning_details` that carry Claude's thinking and signatures to a client and back. OpenRouter's name
/// for it: <https://openrouter.ai/docs/guides/best-practices/reasoning-tokens>.
pub const THINKING_FORMAT: &str = "anthropic-claude-v1";
