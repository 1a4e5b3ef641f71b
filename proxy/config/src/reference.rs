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
    variables(&mut text);
    text
}

/// Every variable of a template as it is written, and what it is.
const VARIABLES: [(&str, &str); 30] = [
    ("%START_TIME%", "when the request began: RFC 3339, UTC, milliseconds"),
    ("%PROTOCOL%", "HTTP/1.0, HTTP/1.1 or HTTP/2"),
    ("%RESPONSE_CODE%", "the status sent, 0 for none"),
    ("%RESPONSE_CODE_DETAILS%", "why, in a word; in braces of which filter or field"),
    ("%RESPONSE_FLAGS%", "Envoy's flags, `-` for none"),
    ("%BYTES_RECEIVED%", "bytes of the request's body"),
    ("%BYTES_SENT%", "bytes of the response's body"),
    ("%DURATION%", "milliseconds from the request's head to the response's end"),
    ("%RESPONSE_DURATION%", "milliseconds from the request's head to the head of the upstream's response"),
    ("%UPSTREAM_HOST%", "the endpoint's address"),
    ("%UPSTREAM_CLUSTER%", "the cluster's name, also of a request that was answered on its way there"),
    (
        "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "how often sending the request was tried, a connection that could not be had included",
    ),
    ("%ROUTE_NAME%", "the route's name"),
    ("%DOWNSTREAM_REMOTE_ADDRESS%", "the client's address and port, as forwarding headers of a trusted peer say"),
    ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "the same without port"),
    ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "the peer's address and port"),
    ("%DOWNSTREAM_LOCAL_ADDRESS%", "the address and port that the client reached"),
    ("%GRPC_STATUS%", "the number in `grpc-status`"),
    (
        "%TERMINATED_BY%",
        "who ended the request: `downstream`, `upstream`, `proxy` (whatever it refuses or cannot serve, by `jwt` and `rate_limit` too), or `-` when it ended well: with a server's answer, or one that a route or a wasm filter gives",
    ),
    ("%HOSTNAME%", "this machine's name"),
    ("%DOWNSTREAM_TLS_VERSION%", "`TLSv1.2` or `TLSv1.3`"),
    ("%DOWNSTREAM_TLS_CIPHER%", "the cipher suite's name"),
    ("%REQUESTED_SERVER_NAME%", "the server name that the client asked for by TLS"),
    ("%DOWNSTREAM_PEER_URI_SAN%", "the client's SPIFFE ID"),
    ("%LISTENER_NAME%", "the listener's name"),
    (
        "%REQ(X-ORIGINAL?:PATH)%",
        "a request header, or where it is missing the other; `:METHOD`, `:PATH` (as forwarded), `:AUTHORITY`, `:SCHEME` and \
         `X-ENVOY-ORIGINAL-PATH` (as it came) stand for the request line. In the access log and in `response_headers` it is \
         the request as it was forwarded, and where nothing was forwarded as the listener's `forwarding` would have \
         made it: never what a client claims that is not trusted",
    ),
    ("%RESP(CONTENT-TYPE)%", "a response header"),
    ("%TRAILER(GRPC-MESSAGE)%", "a response trailer"),
    (
        "%FILTER_STATE(wasm.KEY:PLAIN)%",
        "what a wasm filter set as property `KEY` (`set_property`), in the access log alone; what it sets in its log's callback is there, too",
    ),
    (
        "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:KEY:claim)%",
        "what a filter told under a namespace and keys: claims of a token (`payload_in_metadata: KEY`), in the access log alone; text as it is, \
         anything else as JSON",
    ),
];

fn variables(text: &mut String) {
    text.push_str(
        "\n## Variables\n\nIn `access_log.format` and in the values of headers, in Envoy's notation: `%NAME:10%` is at most ten bytes \
         of it, `%%` a percent sign.\nIn request headers nothing is known of the response, in response headers nothing of its end; \
         `check` says so.\n\n| Variable | Meaning |\n|---|---|\n",
    );
    for (written, meaning) in VARIABLES {
        let _ = writeln!(text, "| `{written}` | {meaning} |");
    }
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

#[cfg(test)]
mod tests {
    use super::VARIABLES;
    use crate::template::{Template, known};

    #[test]
    fn every_variable_is_described_as_it_can_be_written() {
        for (written, _) in VARIABLES {
            Template::parse(written).unwrap_or_else(|error| panic!("{written}: {error}"));
        }
        for name in known() {
            let described = |written: &str| {
                written
                    .strip_prefix('%')
                    .and_then(|rest| rest.strip_prefix(name))
                    .is_some_and(|rest| rest.starts_with(['%', '(']))
            };
            assert!(VARIABLES.iter().any(|(written, _)| described(written)), "{name}");
        }
    }
}
