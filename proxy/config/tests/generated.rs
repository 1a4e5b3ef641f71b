//! The schema tells the truth about the parser. (That it is the one the structures make is a unit test beside it.)

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use pillion_config::{SourceName, parse, schema};
use serde_json::Value;
use std::{fs, io, path::Path};

/// Every structure: what its fields are, and which it cannot do without.
fn structures() -> Vec<(String, Value)> {
    let schema: Value = serde_json::from_str(schema()).unwrap();
    let mut all = vec![("Document".to_owned(), schema.clone())];
    all.extend(schema["$defs"].as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

#[test]
fn every_structure_is_closed_and_every_field_described() {
    for (name, structure) in structures() {
        assert_eq!(structure["additionalProperties"], Value::Bool(false), "{name}");
        for (field, schema) in structure["properties"].as_object().unwrap() {
            assert!(
                schema["description"].as_str().is_some_and(|text| text.len() > 3),
                "{name}.{field} needs a doc comment"
            );
            assert_ne!(schema.get("default"), Some(&Value::Null), "{name}.{field}");
        }
    }
}

/// full.yaml is what its comment says: each field of each structure is written in it.
#[test]
fn the_full_example_is_full() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/full.yaml")).unwrap();
    for (name, structure) in structures() {
        for field in structure["properties"].as_object().unwrap().keys() {
            assert!(text.contains(&format!("{field}:")), "{name}.{field} is not in examples/full.yaml");
        }
    }
}

/// A field left empty is a field left out, whatever its default: nothing of the structure that has it goes with it.
#[test]
fn a_field_left_empty_is_one_left_out() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let text = fs::read_to_string(examples.join("full.yaml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let read = |path: &Path| fs::read(examples.join(path));
    let model = |lines: &[&str]| {
        let loaded = parse(&SourceName::new("full.yaml"), &lines.join("\n"), &read);
        // Where it stands is no part of what it means.
        loaded.map(|loaded| loaded.config).map_err(|_| "refused")
    };
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut looked_at = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        let scalar = !value.starts_with(['{', '[', '|', '>', '&']) && !key.trim_start().starts_with(['#', '-', '"']);
        if !scalar || lines.get(at + 1).is_some_and(|next| indent(next) > indent(line)) {
            continue;
        }
        looked_at += 1;
        let (mut left_out, mut left_empty) = (lines.clone(), lines.clone());
        let empty = format!("{key}:");
        left_out.remove(at);
        left_empty[at] = &empty;
        // Names that the document chooses itself need a value: those are refused.
        let read = model(&left_empty);
        assert!(read.is_err() || read == model(&left_out), "line {}: {line}", at + 1);
    }
    assert!(looked_at > 100, "{looked_at}");
}

/// Empty structures of each kind are refused exactly for the fields that the schema requires.
#[test]
fn required_means_the_same_to_schema_and_parser() {
    let route = |route: &str| {
        format!(
            "listeners: [{{name: a, address: '0.0.0.0:1', routes: [{route}]}}]\nclusters: [{{name: c, endpoints: ['c:1']}}]"
        )
    };
    let documents = [
        ("Document", "{}".to_owned()),
        ("Listener", "listeners: [{}]".to_owned()),
        ("Tcp", "listeners: [{name: a, address: '0.0.0.0:1', tcp: {}}]".to_owned()),
        ("ServerNameRoute", "listeners: [{name: a, address: '0.0.0.0:1', tcp: {server_names: [{}]}}]".to_owned()),
        ("Route", route("{}")),
        ("Match", route("{match: {}, cluster: c}")),
        ("WeightedCluster", route("{match: {}, clusters: [{}]}")),
        ("Respond", route("{match: {}, respond: {}}")),
        ("Redirect", route("{match: {}, redirect: {}}")),
        ("Rewrite", route("{match: {}, cluster: c, rewrite: {}}")),
        ("HeaderChanges", route("{match: {}, cluster: c, request_headers: {}}")),
        ("HeaderCondition", route("{match: {headers: {a: {}}}, cluster: c}")),
        ("QueryCondition", route("{match: {query: {a: {}}}, cluster: c}")),
        ("Identity", "listeners: []\nidentity: {}".to_owned()),
        ("WorkloadApi", "listeners: []\nidentity: {workload_api: {}}".to_owned()),
        ("IdentityFiles", "listeners: []\nidentity: {files: {}}".to_owned()),
        (
            "TrustBundle",
            "listeners: []\nidentity: {files: {certificate_chain: a, private_key: b, trust_bundles: [{}]}}".to_owned(),
        ),
        ("ListenerTls", "listeners: [{name: a, address: '0.0.0.0:1', routes: [], tls: {}}]".to_owned()),
        (
            "TlsException",
            "listeners: [{name: a, address: '0.0.0.0:1', routes: [], tls: {exceptions: [{}]}}]".to_owned(),
        ),
        (
            "Certificate",
            "listeners: [{name: a, address: '0.0.0.0:1', routes: [], tls: {certificates: [{}]}}]".to_owned(),
        ),
        ("ClusterTls", "listeners: []\nclusters: [{name: c, endpoints: ['c:1'], tls: {}}]".to_owned()),
        ("DestinationRoute", "listeners: [{name: a, address: '0.0.0.0:1', tcp: {destinations: [{}]}}]".to_owned()),
        ("CaptureSettings", "listeners: []\ncapture: {}".to_owned()),
        ("OriginalDestination", "listeners: []\nclusters: [{name: c, original_destination: {}}]".to_owned()),
        ("Cluster", "listeners: []\nclusters: [{}]".to_owned()),
        ("Service", "listeners: []\nclusters: [{name: c, service: {}}]".to_owned()),
        ("Endpoint", "listeners: []\nclusters: [{name: c, endpoints: [{}]}]".to_owned()),
        ("ProxyProtocol", "listeners: [{name: a, address: '0.0.0.0:1', routes: [], proxy_protocol: {}}]".to_owned()),
        ("Authorization", "listeners: [{name: a, address: '0.0.0.0:1', routes: [], authorization: {}}]".to_owned()),
        (
            "AuthorizationRule",
            "listeners: [{name: a, address: '0.0.0.0:1', routes: [], authorization: {rules: [{}]}}]".to_owned(),
        ),
        ("Announcement", "listeners: []\nclusters: [{name: c, endpoints: ['c:1'], proxy_protocol: {}}]".to_owned()),
        ("Keepalive", "listeners: []\nclusters: [{name: c, endpoints: ['c:1'], tcp_keepalive: {}}]".to_owned()),
        ("ClusterLimits", "listeners: []\nclusters: [{name: c, endpoints: ['c:1'], limits: {}}]".to_owned()),
        ("Filter", "listeners: []\nfilters: [{}]".to_owned()),
        ("Wasm", "listeners: []\nfilters: [{name: a, wasm: {}}]".to_owned()),
        ("WasmLimits", "listeners: []\nfilters: [{name: a, wasm: {limits: {}}}]".to_owned()),
        ("HeaderRule", "listeners: []\nfilters: [{name: a, headers: [{}]}]".to_owned()),
        ("RateLimit", "listeners: []\nfilters: [{name: a, rate_limit: {}}]".to_owned()),
        ("Jwt", "listeners: []\nfilters: [{name: a, jwt: {}}]".to_owned()),
        ("JwtKeys", "listeners: []\nfilters: [{name: a, jwt: {keys: {}}}]".to_owned()),
        ("JwtPlace", "listeners: []\nfilters: [{name: a, jwt: {keys: {file: none}, from: [{}]}}]".to_owned()),
        ("Admin", "listeners: []\nadmin: {}".to_owned()),
        ("ProcessLimits", "listeners: []\nlimits: {}".to_owned()),
        ("Drain", "listeners: []\ndrain: {}".to_owned()),
        ("AccessLog", "listeners: []\naccess_log: {}".to_owned()),
        ("Format", "listeners: []\naccess_log: {format: {}}".to_owned()),
        ("Dns", "listeners: []\ndns: {}".to_owned()),
        ("Node", "listeners: []\nnode: {}".to_owned()),
        ("Kubernetes", "listeners: []\nkubernetes: {}".to_owned()),
        ("LoopbackRedirect", "listeners: []\nredirect: {}".to_owned()),
        ("RedirectOutbound", "listeners: []\nredirect: {outbound: {}}".to_owned()),
        ("Metrics", "listeners: []\nmetrics: {}".to_owned()),
        ("MetricTag", "listeners: []\nmetrics: {tags: [{}]}".to_owned()),
        ("SourceFilter", "listeners: []\nsource_filter: {}".to_owned()),
        ("SourceRule", "listeners: []\nsource_filter: {rules: [{}]}".to_owned()),
        ("HttpLimits", "listeners: [{name: a, address: '0.0.0.0:1', routes: [], limits: {}}]".to_owned()),
        ("HttpTimeouts", "listeners: [{name: a, address: '0.0.0.0:1', routes: [], timeouts: {}}]".to_owned()),
        ("Http2", "listeners: [{name: a, address: '0.0.0.0:1', routes: [], http2: {}}]".to_owned()),
        ("Flood", "listeners: [{name: a, address: '0.0.0.0:1', routes: [], http2: {flood: {}}}]".to_owned()),
        ("PathPolicy", "listeners: [{name: a, address: '0.0.0.0:1', routes: [], path: {}}]".to_owned()),
        ("Forwarding", "listeners: [{name: a, address: '0.0.0.0:1', routes: [], forwarding: {}}]".to_owned()),
    ];
    for (name, structure) in structures() {
        let required: Vec<&str> =
            structure["required"].as_array().into_iter().flatten().map(|field| field.as_str().unwrap()).collect();
        let (_, text) =
            documents.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no document for {name}"));
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let told =
            parse(&SourceName::new("t"), text, &none).map_or_else(|errors| errors.to_string(), |_| String::new());
        let mut missing: Vec<&str> =
            told.lines().filter_map(|line| line.split_once("missing field \"")?.1.strip_suffix('"')).collect();
        let mut required = required.clone();
        missing.sort_unstable();
        required.sort_unstable();
        assert_eq!(missing, required, "{name}: {told}");
    }
}
