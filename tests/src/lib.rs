//! Real Envoys, real providers.
