//! The document's JSON Schema, for editors.
//!
//! It is derived from the same structures that read the document, but only by the tests: they keep `schema.json` and
//! `REFERENCE.md` in the tree true. The program carries the finished text, not the machinery that makes it.

/// JSON Schema (2020-12) of the document, with descriptions, patterns and defaults.
#[must_use]
pub fn schema() -> &'static str {
    include_str!("../schema.json")
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::{document::Document, reference::reference};
    use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
    use serde_json::Value;
    use std::{env, fs, path::Path};

    fn derived() -> Value {
        let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(|schema: &mut Schema| {
            // A field without default serialises as null, which says nothing.
            if schema.get("default").is_some_and(Value::is_null) {
                schema.remove("default");
            }
        }));
        settings.into_generator().into_root_schema_for::<Document>().to_value()
    }

    fn up_to_date(name: &str, now: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if env::var_os("PILLION_BLESS").is_some() {
            fs::write(&path, now).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == now, "{name} is out of date; regenerate it: PILLION_BLESS=1 cargo test -p pillion-config");
    }

    #[test]
    fn the_schema_is_up_to_date() {
        up_to_date("schema.json", &format!("{}\n", serde_json::to_string_pretty(&derived()).unwrap()));
    }

    #[test]
    fn the_reference_is_up_to_date() {
        up_to_date("REFERENCE.md", &reference(&derived()));
    }
}
