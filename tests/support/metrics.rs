//! Prometheus text as a map.

use std::collections::BTreeMap;

/// One scrape: sample name with its labels as written → value.
#[derive(Debug, Clone, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads the text format. Panics where a line is neither comment nor sample: a scraper would refuse it too.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
            let value = match value {
                "+Inf" => f64::INFINITY,
                number => number.parse().unwrap_or_else(|_| panic!("not a number: {line}")),
            };
            (name.to_owned(), value)
        });
        let mut map = BTreeMap::new();
        for (name, value) in samples {
            assert!(map.insert(name.clone(), value).is_none(), "sample twice: {name}");
        }
        Self(map)
    }

    /// The sum of all samples of this name whose labels hold each of these `name="value"` texts.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.samples(name, labels).map(|(_, value)| value).sum()
    }

    /// Whether there is a sample of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.samples(name, &[]).next().is_some()
    }

    /// The samples of this name with these labels.
    pub fn samples<'a>(&'a self, name: &'a str, labels: &'a [&'a str]) -> impl Iterator<Item = (&'a str, f64)> {
        self.0
            .iter()
            .filter(move |(key, _)| key.split('{').next() == Some(name))
            .filter(move |(key, _)| labels.iter().all(|label| key.contains(label)))
            .map(|(key, value)| (key.as_str(), *value))
    }

    /// Names of all samples.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
