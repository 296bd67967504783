//! The router role: downstream, once per request. Admit, decide, plan, hand over.

pub mod admit;
pub mod cache;
pub mod cascade;
pub mod classifying;
pub mod decide;
pub mod handover;
pub mod plan;
pub mod role;
