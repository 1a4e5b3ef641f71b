//! How metrics are told.

use super::{Lowering, process::or_default, regexes};
use crate::{
    document::{self, Field, LabelName, Scalar},
    model::{MetricTag, Metrics},
    tree::Place,
};

pub(super) fn metrics(cx: &mut Lowering<'_, '_>, field: Field<document::Metrics>, root: Place) -> Option<Metrics> {
    let (metrics, at) = or_default(field, root)?;
    let at = metrics.tags.place().unwrap_or(at);
    let tags = metrics.tags.elements();
    let written = tags.len();
    let tags = cx.elements(at, tags);
    let tags: Vec<_> = tags.into_iter().filter_map(|(tag, at)| metric_tag(cx, tag, at)).collect();
    (tags.len() == written).then_some(Metrics { tags })
}

fn metric_tag(cx: &mut Lowering<'_, '_>, tag: document::MetricTag, at: Place) -> Option<MetricTag> {
    let name = cx.required_scalar(at, "name", tag.name);
    let (Scalar(expression), at) = cx.required(at, "regex", tag.regex)?;
    let regex = regexes::anywhere(&expression).map_err(|message| cx.error(at, message)).ok()?;
    if regex.captures_len() < 2 {
        cx.error(
            at,
            "no group says what is taken out of the name; write one around it, and one around the value within, as in \
             (_phase=([a-z_]+))",
        );
        return None;
    }
    let (LabelName(name), _) = name?;
    Some(MetricTag { name, regex })
}
