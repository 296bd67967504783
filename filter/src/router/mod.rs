//! The router role: downstream, once per request.
