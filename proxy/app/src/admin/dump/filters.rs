//! The filters of a configuration as JSON. What a guest is configured with may be a secret, and is redacted.

use super::{
    REDACTED,
    route::{change_of, value_of},
    time,
};
use pillion_config::model::*;
use serde_json::{Value, json};

pub(super) fn filter(filter: &Filter) -> Value {
    let Filter { name, route, kind, fail, body_buffer: BodyBuffer { http1, http2 }, stands: _ } = filter;
    let (word, kind) = match kind {
        FilterKind::Wasm(wasm) => ("wasm", wasm_of(wasm)),
        FilterKind::Headers(rules) => ("headers", rules.iter().map(rule).collect()),
        FilterKind::RateLimit(limit) => ("rate_limit", limit_of(limit)),
        FilterKind::Jwt(jwt) => ("jwt", jwt_of(jwt)),
    };
    json!({
        "name": name.as_str(),
        "route": route.as_ref().map(Name::as_str),
        "fail": match fail {
            FailPolicy::Closed => "closed",
            FailPolicy::Open => "open",
        },
        "body_buffer": { "http1": http1, "http2": http2 },
        word: kind,
    })
}

fn wasm_of(wasm: &Wasm) -> Value {
    let Wasm {
        source,
        vm_id,
        root_id,
        vm_configuration,
        configuration,
        environment,
        host_environment,
        allowed_clusters,
        allowed_capabilities,
        limits,
        allow_on_headers_stop_iteration,
        // The same of all, and told in none.
        node: _,
    } = wasm;
    let WasmLimits { callback, start, memory, calls, call_response, restarts, log_lines } = limits;
    let redacted = |bytes: &[u8]| if bytes.is_empty() { "" } else { REDACTED };
    json!({
        "source": match source {
            WasmSource::File(path, _) => json!({ "file": path.display().to_string() }),
            WasmSource::Inline(bytes) => json!({ "inline": bytes.len() }),
            WasmSource::Url(WasmUrl { url, sha256, timeout, retry_for }) => json!({
                "url": url,
                "sha256": sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
                "timeout": time(*timeout),
                "retry_for": time(*retry_for),
            }),
        },
        "vm_id": vm_id,
        "root_id": root_id,
        "vm_configuration": redacted(vm_configuration),
        "configuration": redacted(configuration),
        "environment": environment.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "host_environment": host_environment,
        "allowed_capabilities": match allowed_capabilities {
            AllowedCapabilities::All => json!("all"),
            AllowedCapabilities::Only(names) => json!(names),
        },
        "allowed_clusters": match allowed_clusters {
            AllowedClusters::All => json!("all"),
            AllowedClusters::Only(names) => names.iter().map(Name::as_str).collect(),
        },
        "limits": {
            "callback": time(*callback),
            "start": time(*start),
            "memory": memory,
            "calls": calls,
            "call_response": call_response,
            "restarts": restarts,
            "log_lines": log_lines,
        },
        "allow_on_headers_stop_iteration": allow_on_headers_stop_iteration,
    })
}

fn rule(HeaderRule { when, request, response }: &HeaderRule) -> Value {
    let header = |HeaderMatch { name, value, invert }: &HeaderMatch| json!({ "name": name.as_str(), "value": value_of(name.as_str(), value), "invert": invert });
    json!({
        "when": when.iter().map(header).collect::<Vec<_>>(),
        "request": request.iter().map(change_of).collect::<Vec<_>>(),
        "response": response.iter().map(change_of).collect::<Vec<_>>(),
    })
}

fn limit_of(RateLimit { requests, per, burst, keys, most_keys }: &RateLimit) -> Value {
    let key = |key: &RateKey| match key {
        RateKey::Route => "route".to_owned(),
        RateKey::Header(name) => format!("header {name}"),
        RateKey::PeerIdentity => "peer-identity".to_owned(),
        RateKey::Client => "client".to_owned(),
    };
    json!({
        "requests": requests,
        "per": time(*per),
        "burst": burst,
        "keys": keys.iter().map(key).collect::<Vec<_>>(),
        "most_keys": most_keys,
    })
}

fn jwt_of(jwt: &Jwt) -> Value {
    let Jwt {
        presence,
        issuers,
        audiences,
        scopes,
        algorithms,
        keys,
        clock_skew,
        expiry,
        places,
        forward,
        claims,
        payload_in_metadata,
    } = jwt;
    json!({
        "required": *presence == JwtPresence::Required,
        "issuers": issuers,
        "audiences": audiences,
        "scopes": scopes,
        "algorithms": algorithms.iter().map(|algorithm| format!("{algorithm:?}").to_uppercase()).collect::<Vec<_>>(),
        "keys": match keys {
            JwtKeys::Set(set) => json!({ "set": String::from_utf8_lossy(set) }),
            JwtKeys::Url(JwtUrl { cluster, host, path, refresh, timeout }) => json!({
                "cluster": cluster.as_str(),
                "host": host,
                "path": path,
                "refresh": time(*refresh),
                "timeout": time(*timeout),
            }),
            JwtKeys::Secret(_) => json!({ "secret": REDACTED }),
        },
        "clock_skew": time(*clock_skew),
        "expiry_required": *expiry == JwtPresence::Required,
        "places": places.iter().map(|place| match place {
            JwtPlace::Header(name, word) => json!({ "header": name.as_str(), "word": word }),
            JwtPlace::Query(name) => json!({ "query": name }),
            JwtPlace::Cookie(name) => json!({ "cookie": name }),
        }).collect::<Vec<_>>(),
        "forward": *forward == JwtForward::Keep,
        "claims": claims.iter().map(|(name, path)| json!({ "header": name.as_str(), "claim": path })).collect::<Vec<_>>(),
        "payload_in_metadata": payload_in_metadata.as_deref(),
    })
}
