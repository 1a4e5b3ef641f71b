//! Templates of log lines and header values, in the notation they are written in.

use pillion_config::template::{Part, RequestField, Template, Variable};
use std::fmt::Write as _;

/// A template in the notation it is written in.
pub(super) fn template(Template(parts): &Template) -> String {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Literal(text) => out.push_str(&text.replace('%', "%%")),
            Part::Variable(variable, limit) => {
                out.push('%');
                out.push_str(&variable_name(variable));
                if let Some(limit) = limit {
                    write!(out, ":{limit}").ok();
                }
                out.push('%');
            }
        }
    }
    out
}

fn variable_name(variable: &Variable) -> String {
    let plain = match variable {
        Variable::RequestHeader(field, None) => return format!("REQ({})", field_name(field)),
        Variable::RequestHeader(field, Some(other)) => {
            return format!("REQ({}?{})", field_name(field), field_name(other));
        }
        Variable::ResponseHeader(name) => return format!("RESP({name})"),
        Variable::ResponseTrailer(name) => return format!("TRAILER({name})"),
        Variable::FilterState(key) => return format!("FILTER_STATE({key}:PLAIN)"),
        Variable::DynamicMetadata(namespace, keys) => {
            let keys: String = keys.iter().map(|key| format!(":{key}")).collect();
            return format!("DYNAMIC_METADATA({namespace}{keys})");
        }
        Variable::StartTime => "START_TIME",
        Variable::Protocol => "PROTOCOL",
        Variable::ResponseCode => "RESPONSE_CODE",
        Variable::ResponseCodeDetails => "RESPONSE_CODE_DETAILS",
        Variable::ResponseFlags => "RESPONSE_FLAGS",
        Variable::BytesReceived => "BYTES_RECEIVED",
        Variable::BytesSent => "BYTES_SENT",
        Variable::Duration => "DURATION",
        Variable::ResponseDuration => "RESPONSE_DURATION",
        Variable::UpstreamHost => "UPSTREAM_HOST",
        Variable::UpstreamCluster => "UPSTREAM_CLUSTER",
        Variable::UpstreamRequestAttemptCount => "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        Variable::RouteName => "ROUTE_NAME",
        Variable::DownstreamRemoteAddress => "DOWNSTREAM_REMOTE_ADDRESS",
        Variable::DownstreamRemoteAddressWithoutPort => "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Variable::DownstreamDirectRemoteAddress => "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        Variable::DownstreamLocalAddress => "DOWNSTREAM_LOCAL_ADDRESS",
        Variable::GrpcStatus => "GRPC_STATUS",
        Variable::TerminatedBy => "TERMINATED_BY",
        Variable::Hostname => "HOSTNAME",
        Variable::DownstreamTlsVersion => "DOWNSTREAM_TLS_VERSION",
        Variable::DownstreamTlsCipher => "DOWNSTREAM_TLS_CIPHER",
        Variable::RequestedServerName => "REQUESTED_SERVER_NAME",
        Variable::DownstreamPeerUriSan => "DOWNSTREAM_PEER_URI_SAN",
        Variable::ListenerName => "LISTENER_NAME",
    };
    plain.to_owned()
}

fn field_name(field: &RequestField) -> &str {
    match field {
        RequestField::Method => ":METHOD",
        RequestField::Path => ":PATH",
        RequestField::OriginalPath => "X-ENVOY-ORIGINAL-PATH",
        RequestField::Authority => ":AUTHORITY",
        RequestField::Scheme => ":SCHEME",
        RequestField::Header(name) => name.as_str(),
    }
}
