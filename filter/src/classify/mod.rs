//! Classify: which tier a request needs, when nothing else says so.
