//! How metrics are told.

use regex::Regex;

/// How metrics are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metrics {
    /// What is taken out of the names of metrics that wasm filters define, in the order written.
    pub tags: Vec<MetricTag>,
}

/// A label that is taken out of a metric's name.
#[derive(Debug, Clone)]
pub struct MetricTag {
    /// The label's name: `[a-zA-Z_][a-zA-Z0-9_]*`, not `le`, not beginning with `__`. Several tags may have one.
    pub name: Box<str>,
    /// Where it stands. It has a group, which is taken out of the name; the second one's text, or else the first one's, is the
    /// label's value.
    pub regex: Regex,
}

impl PartialEq for MetricTag {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for MetricTag {}
