//! The router role: downstream, once per request. Admit, decide, choose candidates, plan, hand over.

pub mod admit;
pub mod cache;
pub mod candidates;
pub mod cascade;
pub mod classifying;
pub mod decide;
pub mod handover;
pub mod plan;
pub mod role;
