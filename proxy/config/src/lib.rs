//! The configuration of Pillion: from a document a person writes to a model the proxy can trust.
//!
//! A leaf: it knows files and text, never sockets. Configuration takes three forms, one way:
//! *document* (YAML, private to this crate) → [`model`] (validated, no `Option` that means a default) →
//! *snapshot* (compiled, in `pillion-core`).

pub mod model;
pub mod template;
