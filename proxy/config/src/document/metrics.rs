//! How metrics are told.

use super::{FromText, List, Text, fields};
#[cfg(test)]
use schemars::JsonSchema;
use std::borrow::Cow;

/// How metrics are told.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Metrics {
    /// Labels that are taken out of the names of metrics which wasm filters define, since proxy-wasm has names alone: of `waf_filter.tx.interruptions_ruleid=933100_phase=http_request_body` two tags make `waf_filter_tx_interruptions{rule_id="933100",phase="http_request_body"}`. They are Envoy's `stats_config.stats_tags`, `tag_name` as `name` and the expression as it is: each looks at the whole name as the filter gave it, behind `wasmcustom.`, and of several tags with one name the first that matches counts. Metrics whose names become one are one family; one of another kind, or with the same labels, has a number behind its name. A reload renames what is there, with what it has counted. None: names are printed whole. Envoy's own tags (`use_all_default_tags`) do not hold; those that such names meet are `{ name: envoy_response_code, regex: '_rq(_(\d{3}))$' }` and `{ name: envoy_response_code_class, regex: '_rq_(\d)xx$' }`. For a `fixed_value` the scraper has labels of its own. The proxy's metrics are not looked at.
    pub tags: List<MetricTag>,
}

fields! { Metrics { tags } }

/// A label that is taken out of a name.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["name", "regex"])))]
pub(crate) struct MetricTag {
    /// The label's name.
    pub name: Text<LabelName>,
    /// Where it stands, anywhere in the name: the first group is taken out of it, the second is the label's value, as in `(_phase=([a-z_]+))`; where there is one group it is both. A dot at a value's end is left out, an empty value is no label, and what would make one metric's values longer than 1 KiB together stays in the name.
    pub regex: Text<String>,
}

fields! { MetricTag { name, regex } }

/// A name that a label can have.
#[derive(Debug, Clone)]
pub(crate) struct LabelName(pub(crate) Box<str>);

impl FromText for LabelName {
    fn words() -> Cow<'static, str> {
        "a label's name of letters, digits and _ such as rule_id".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let fits = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let remedy = match text {
            "le" => "le is the bound of a histogram's bucket; write another".to_owned(),
            _ if text.starts_with("__") => "names that begin with __ are the scraper's own; write another".to_owned(),
            _ if text.is_empty() || text.starts_with(|first: char| first.is_ascii_digit()) => String::new(),
            _ if text.chars().all(fits) => return Ok(Self(text.into())),
            // As Envoy prints them.
            _ => format!("write {}", text.replace(|character| !fits(character), "_")),
        };
        Err(Self::expected(text, &remedy))
    }
}
