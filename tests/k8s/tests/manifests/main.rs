//! What checks the manifests, checked: on CRDs of ours always, on the real ones where they are at hand.

mod broken;
mod builtin;
mod command;
mod real;
mod toy;
