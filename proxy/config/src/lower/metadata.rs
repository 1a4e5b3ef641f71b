//! What wasm filters are told of listeners, routes, clusters and endpoints.

use super::Lowering;
use crate::{
    document::{Field, Mapping, Namespaces, Table},
    model::Metadata,
    tree::Place,
};
use serde_json::Value;
use std::sync::Arc;

/// `None`: something is wrong with it, and has been told.
pub(super) fn metadata(
    cx: &mut Lowering<'_, '_>,
    field: Field<Box<Namespaces>>,
    at: Place,
) -> Option<Option<Arc<Metadata>>> {
    if !field.is_written() {
        return Some(None);
    }
    let (namespaces, at) = field.at(at)?;
    let Table(entries) = *namespaces;
    let mut all = Metadata::new();
    let count = entries.len();
    for (name, value) in entries {
        let place = name.place().unwrap_or(at);
        let name = name.value();
        if let Some(wrapper @ ("filter_metadata" | "typed_filter_metadata")) = name.as_deref() {
            let remedy =
                if wrapper == "filter_metadata" { "write what is in it" } else { "write it as a plain mapping" };
            cx.error(
                place,
                format!("{wrapper:?} is Envoy's way to hold namespaces, which stand here themselves; {remedy}"),
            );
        }
        if !value.is_written() {
            cx.error(place, "nothing is written after this namespace; write a mapping, or {} for an empty one");
        }
        if let (Some(name), Some(Mapping(value))) = (name, value.take()) {
            all.insert(name, Value::Object(value));
        }
    }
    (all.len() == count).then(|| Some(all).filter(|all| !all.is_empty()).map(Arc::new))
}
