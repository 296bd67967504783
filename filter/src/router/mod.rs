//! The router role: downstream, once per request. Admit, decide, choose candidates, plan, hand over.

pub mod admit;
pub mod cache;
pub mod candidates;
pub mod cascade;
pub mod classifying;
pub mod deadline;
pub mod decide;
pub mod degrade;
pub mod fit;
pub mod handover;
pub mod order;
pub mod plan;
pub mod refusal;
pub mod role;
pub mod standing;
