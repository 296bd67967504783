//! Classify: which tier a request needs, when nothing else says so.
//!
//! Pure: the callout itself is the router role's. User text reaches the classifier only as data, inside one JSON
//! string, and a reply counts only if it names a tier that was offered.

pub mod breaker;
pub mod local;
pub mod prompt;
pub mod reply;
pub mod rules;
