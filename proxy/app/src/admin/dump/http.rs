//! What a listener asks of HTTP, as JSON.

use super::{cidr, time};
use pillion_config::model::*;
use serde_json::{Value, json};

pub(super) fn of(http: &Http) -> Value {
    let Http { limits, timeouts, http2, path, forwarding, underscores, connect } = http;
    let HttpLimits { headers, header_bytes, target_bytes } = limits;
    let HttpTimeouts { idle, header, body, write } = timeouts;
    let PathPolicy { resolve_dots, merge_slashes, escaped_slashes } = path;
    let Forwarding { x_forwarded, forwarded, via, request_id, trusted, trusted_hops, strip_identity } = forwarding;
    let mode = |mode: &ForwardingMode| match mode {
        ForwardingMode::Off => "off",
        ForwardingMode::Append => "append",
    };
    json!({
        "limits": { "headers": headers, "header_bytes": header_bytes, "target_bytes": target_bytes },
        "timeouts": {
            "idle": time(*idle),
            "header": time(*header),
            "body": body.map(time),
            "write": time(*write),
        },
        "http2": http2_of(http2),
        "path": {
            "resolve_dots": resolve_dots,
            "merge_slashes": merge_slashes,
            "escaped_slashes": match escaped_slashes {
                EscapedSlashes::Keep => "keep",
                EscapedSlashes::Reject => "reject",
                EscapedSlashes::Decode => "decode",
            },
        },
        "forwarding": {
            "x_forwarded": mode(x_forwarded),
            "forwarded": mode(forwarded),
            "via": via,
            "request_id": match request_id {
                RequestId::Pass => "pass",
                RequestId::Generate => "generate",
            },
            "trusted": trusted.iter().map(cidr).collect::<Vec<_>>(),
            "trusted_hops": trusted_hops,
            "strip_identity": strip_identity,
        },
        "underscores": match underscores {
            Underscores::Accept => "accept",
            Underscores::Reject => "reject",
        },
        "connect": match connect {
            Connect::Refuse => "refuse",
            Connect::Allow => "allow",
        },
    })
}

fn http2_of(http2: &Http2) -> Value {
    let Http2 {
        streams,
        stream_window,
        connection_window,
        connection_most,
        flood_window,
        resets,
        reset_by_us,
        pings,
        settings,
        empty_data,
        window_updates,
        priorities,
        continuations,
    } = http2;
    json!({
        "streams": streams,
        "stream_window": stream_window,
        "connection_window": connection_window,
        "connection_most": connection_most,
        "flood_window": time(*flood_window),
        "resets": resets,
        "reset_by_us": reset_by_us,
        "pings": pings,
        "settings": settings,
        "empty_data": empty_data,
        "window_updates": window_updates,
        "priorities": priorities,
        "continuations": continuations,
    })
}
