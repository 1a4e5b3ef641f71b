//! The document's JSON Schema, for editors: derived from the same structures that read it.

use crate::document::Document;
use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;

/// JSON Schema (2020-12) of the document, with descriptions, patterns and defaults.
#[must_use]
pub fn schema() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings = settings.with_transform(RecursiveTransform(|schema: &mut Schema| {
        // A field without default serialises as null, which says nothing.
        if schema.get("default").is_some_and(Value::is_null) {
            schema.remove("default");
        }
    }));
    settings.into_generator().into_root_schema_for::<Document>().to_value()
}
