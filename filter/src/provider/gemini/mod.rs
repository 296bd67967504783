//! Google's wire format: Gemini's generateContent and streamGenerateContent.
//!
//! Pure. Written from Google's API reference, <https://ai.google.dev/api/generate-content>.
