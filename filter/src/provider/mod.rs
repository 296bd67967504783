//! The provider role: upstream, once per attempt.
