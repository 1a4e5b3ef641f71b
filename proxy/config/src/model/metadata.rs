//! What wasm filters are told of something that is configured.

/// What is written of something, by name: what JSON can say. Of a listener, a route, a cluster or an endpoint the names are
/// namespaces, each with an object.
pub type Metadata = serde_json::Map<String, serde_json::Value>;
