//! Google's wire format: Gemini's generateContent and streamGenerateContent.
//!
//! Pure. Written from Google's API reference, <https://ai.google.dev/api/generate-content>.

pub mod answer;
mod candidate;
pub mod error;
#[cfg(test)]
mod fixtures;
mod logprobs;
mod pieces;
pub mod stream;
