//! The configuration reference: the schema as pages a person reads.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The reference of every field as Markdown: one table for each structure, in the order in which they are met.
pub(crate) fn reference(schema: &Value) -> String {
    let empty = Map::new();
    let structures = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut order = Vec::new();
    let mut text = String::from(
        "# Configuration reference\n\n\
         Made from the structures that read the configuration; do not edit.\n\
         Regenerate with `PILLION_BLESS=1 cargo test -p pillion-config`.\n\n\
         Durations are written `250ms`, `5s`, `1m30s`, `2h`, `1d`; sizes `512`, `64KiB`, `1MiB`. Text needs quotes only\n\
         where YAML would read it otherwise. Anchors and aliases may be used, merge keys (`<<`) not.\n",
    );
    section(&mut text, "Document", schema, structures, &mut order);
    let mut done = 0;
    while done < order.len() {
        let name = order[done].clone();
        if let Some(structure) = structures.get(&name) {
            section(&mut text, &name, structure, structures, &mut order);
        }
        done += 1;
    }
    text
}

fn section(text: &mut String, name: &str, schema: &Value, structures: &Map<String, Value>, order: &mut Vec<String>) {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let description = schema.get("description").and_then(Value::as_str).unwrap_or("");
    let _ = write!(text, "\n## {name}\n\n{description}\n\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n");
    for (field, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let default = match schema.get("default") {
            Some(default) => format!("`{default}`").replace('"', ""),
            None if required.contains(&field.as_str()) => "*required*".to_owned(),
            None => String::new(),
        };
        let kind = kind(schema, structures, order).replace('|', "\\|");
        let mut meaning =
            schema.get("description").and_then(Value::as_str).unwrap_or("").replace('|', "\\|").replace('\n', " ");
        for choice in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            if let (Some(value), Some(words)) = (choice.get("const"), choice.get("description").and_then(Value::as_str))
            {
                let _ = write!(meaning, "<br>`{}`: {words}", value.as_str().unwrap_or_default());
            }
        }
        let _ = writeln!(text, "| `{field}` | {kind} | {default} | {meaning} |");
    }
}

/// A type in words; structures are linked, and noted to be described.
fn kind(schema: &Value, structures: &Map<String, Value>, order: &mut Vec<String>) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        if structures.contains_key(name) && !order.iter().any(|known| known == name) {
            order.push(name.to_owned());
        }
        return format!("[{name}](#{})", name.to_ascii_lowercase());
    }
    if let Some(words) = schema.get("title").and_then(Value::as_str) {
        return words.to_owned();
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let choices: Vec<String> = choices.iter().map(|choice| kind(choice, structures, order)).collect();
        return choices.join(", or ");
    }
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let words: Vec<String> = choices
            .iter()
            .filter_map(|choice| choice.get("const").and_then(Value::as_str))
            .map(|word| format!("`{word}`"))
            .collect();
        return words.join(", ");
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => match schema.get("items") {
            Some(items) => format!("list of: {}", kind(items, structures, order)),
            None => "list".to_owned(),
        },
        Some("object") => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => {
                format!("names with: {}", kind(values, structures, order))
            }
            _ => "mapping".to_owned(),
        },
        Some("boolean") => "`true` or `false`".to_owned(),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}
