//! Google's wire format: Gemini's generateContent and streamGenerateContent.
//!
//! Pure. Written from Google's API reference, <https://ai.google.dev/api/generate-content>.

pub mod answer;
mod candidate;
pub mod error;
mod logprobs;
mod pieces;
pub mod request;
pub mod stream;

/// The `format` of the `reasoning_details` that carry Gemini's thoughts and signatures to a client and back. OpenRouter's name
/// for it: <https://openrouter.ai/docs/guides/best-practices/reasoning-tokens>.
pub const THINKING_FORMAT: &str = "google-gemini-v1";

/// The path of a request, from the provider's path with the model in it, `/v1beta/models/gemini-2.5-flash`. A query
/// stays. Streams are asked for as server-sent events, which `alt=sse` stands for:
/// <https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent>.
pub fn path(template: &str, stream: bool) -> String {
    let (path, query) = match template.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (template, None),
    };
    match (stream, query) {
        (false, None) => format!("{path}:generateContent"),
        (false, Some(query)) => format!("{path}:generateContent?{query}"),
        (true, None | Some("")) => format!("{path}:streamGenerateContent?alt=sse"),
        (true, Some(query)) => format!("{path}:streamGenerateContent?{query}&alt=sse"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (template, stream, expected) in [
            (
                "/v1beta/models/m",
                false,
                "/v1beta/models/m:generateContent",
            ),
            (
                "/v1beta/models/m",
                true,
                "/v1beta/models/m:streamGenerateContent?alt=sse",
            ),
            ("/m?x=1", false, "/m:generateContent?x=1"),
            ("/m?x=1", true, "/m:streamGenerateContent?x=1&alt=sse"),
            ("/m?", true, "/m:streamGenerateContent?alt=sse"),
            ("", false, ":generateContent"),
        ] {
            assert_eq!(path(template, stream), expected);
        }
    }
}
