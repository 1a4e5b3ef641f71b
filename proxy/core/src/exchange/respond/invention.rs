//! [`Invention`]: what each error looks like to a client and in the access log.

use crate::{
    error::{FilterError, ProxyError},
    exchange::{filter::HeadFault, head::grpc::GrpcStatus, retry::TimedOut, route::RouteError},
    upstream::{Cause, Limit, RequestError},
};
use http::StatusCode;
use std::borrow::Cow;

/// What an error looks like to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invention {
    pub(super) status: StatusCode,
    /// A few words for the client, which tell nothing of the inside.
    pub(super) text: Cow<'static, str>,
    /// The answer's details in the access log.
    pub(super) details: Cow<'static, str>,
    /// The same as a gRPC client is told it.
    pub(super) grpc: GrpcStatus,
}

impl Invention {
    /// What each error looks like. No arm stands for several by `_`: a new error must be thought about here.
    pub(super) fn of(error: &ProxyError) -> Self {
        let (status, text, details) = match error {
            ProxyError::Guard(refusal @ crate::framing::Refusal::ShortMemory) => {
                (status(refusal.status()), "overloaded\n", refusal.name())
            }
            ProxyError::ShortMemory => (StatusCode::SERVICE_UNAVAILABLE, "overloaded\n", "short_memory"),
            ProxyError::Guard(refusal) => (status(refusal.status()), "bad request\n", refusal.name()),
            ProxyError::Head(refusal) => (refusal.status(), "bad request\n", refusal.name()),
            ProxyError::Path(refusal) => (refusal.status(), "bad request\n", refusal.name()),
            ProxyError::Denied(_) => (StatusCode::FORBIDDEN, "access denied\n", "rbac_access_denied"),
            ProxyError::Route(RouteError::NotFound) => (StatusCode::NOT_FOUND, "no route\n", "route_not_found"),
            ProxyError::Route(RouteError::NoWeight) => {
                (StatusCode::SERVICE_UNAVAILABLE, "no cluster\n", "cluster_not_found")
            }
            ProxyError::Route(RouteError::ConnectRefused) => {
                (StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here\n", "connect_refused")
            }
            ProxyError::Route(RouteError::UpgradeRefused) => {
                (StatusCode::NOT_IMPLEMENTED, "this protocol is not served here\n", "upgrade_refused")
            }
            ProxyError::Route(RouteError::Rewrite(error)) => (error.status(), "bad request\n", error.name()),
            ProxyError::Filter(error) => filter(error),
            ProxyError::Upstream(cause) => upstream(cause),
            ProxyError::Timeout(TimedOut::Response) => {
                (StatusCode::GATEWAY_TIMEOUT, "upstream request timeout\n", "response_timeout")
            }
            ProxyError::Timeout(TimedOut::Idle) => {
                (StatusCode::GATEWAY_TIMEOUT, "stream timeout\n", "stream_idle_timeout")
            }
            ProxyError::ClientGone => {
                (StatusCode::BAD_REQUEST, "request body failed\n", "downstream_remote_disconnect")
            }
            ProxyError::Timeout(TimedOut::Grpc) => (StatusCode::GATEWAY_TIMEOUT, "deadline exceeded\n", "grpc_timeout"),
            ProxyError::Tunnel(_) => (StatusCode::BAD_GATEWAY, "upgrade failed\n", "upgrade_failed"),
        };
        let late = matches!(error, ProxyError::Timeout(_));
        let grpc = if late { GrpcStatus::DeadlineExceeded } else { GrpcStatus::from_http(status) };
        let (text, details) = match error {
            // A peer who is known is told which rule, in the operator's own words.
            ProxyError::Denied(denied) => {
                let told = denied.told.as_ref().map(|told| Cow::Owned(told.to_string()));
                (told.unwrap_or(Cow::Borrowed(text)), denied.details.clone())
            }
            // For whoever is woken by it, and whoever has to put it where all requests pass it.
            ProxyError::Filter(FilterError::Failed { filter: name, .. } | FilterError::NotPassed(name)) => {
                (Cow::Borrowed(text), format!("{details}{{{name}}}").into())
            }
            // What a filter set is named.
            ProxyError::Filter(FilterError::Request(fault) | FilterError::Response(fault))
                if matches!(fault, HeadFault::Name(_) | HeadFault::Value(_) | HeadFault::Trailers(_)) =>
            {
                (Cow::Owned(fault.to_string()), details.into())
            }
            _ => (Cow::Borrowed(text), details.into()),
        };
        Self { status, text, details, grpc }
    }
}

/// What a filter's failure looks like: Envoy's status for each.
fn filter(error: &FilterError) -> (StatusCode, &'static str, &'static str) {
    const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match error {
        FilterError::Failed { details, .. } => (UNAVAILABLE, "", details),
        FilterError::Interrupted => (UNAVAILABLE, "", "filter_interrupted"),
        FilterError::NotPassed(_) => (UNAVAILABLE, "", "route_filter_not_passed"),
        FilterError::RequestTooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large", "request_payload_too_large")
        }
        FilterError::ResponseTooLarge => {
            (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", "response_payload_too_large")
        }
        FilterError::RequestShortMemory => (UNAVAILABLE, "overloaded\n", "filter_request_short_memory"),
        FilterError::ResponseShortMemory => (UNAVAILABLE, "overloaded\n", "filter_response_short_memory"),
        FilterError::BodyTooShort => (UNAVAILABLE, "invalid body", "filter_body_too_short"),
        FilterError::Request(HeadFault::NoPath) => {
            (StatusCode::NOT_FOUND, "", "filter_removed_required_request_headers{:path}")
        }
        FilterError::Request(HeadFault::NoMethod) => {
            (UNAVAILABLE, "missing required header: :method", "filter_removed_required_request_headers{:method}")
        }
        FilterError::Request(HeadFault::NoAuthority) => {
            (UNAVAILABLE, "missing required header: :authority", "filter_removed_required_request_headers{:authority}")
        }
        FilterError::Request(
            HeadFault::Name(_) | HeadFault::Value(_) | HeadFault::NoStatus | HeadFault::Trailers(_),
        ) => (UNAVAILABLE, "", "filter_set_invalid_request_headers"),
        FilterError::Response(HeadFault::NoStatus) => (
            StatusCode::BAD_GATEWAY,
            "missing required header: :status",
            "filter_removed_required_response_headers{:status}",
        ),
        FilterError::Response(
            HeadFault::Name(_)
            | HeadFault::Value(_)
            | HeadFault::NoPath
            | HeadFault::NoMethod
            | HeadFault::NoAuthority
            | HeadFault::Trailers(_),
        ) => (UNAVAILABLE, "", "filter_set_invalid_response_headers"),
    }
}

/// What an upstream's failure looks like. The words say what happened, never where.
fn upstream(cause: &Cause) -> (StatusCode, &'static str, &'static str) {
    match cause {
        Cause::NoEndpoint => (StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream\n", "no_healthy_upstream"),
        Cause::Overflow(Limit::Connections) => (StatusCode::SERVICE_UNAVAILABLE, "overload\n", "connection_overflow"),
        Cause::Overflow(Limit::Pending) => (StatusCode::SERVICE_UNAVAILABLE, "overload\n", "pending_overflow"),
        Cause::Overflow(Limit::Requests) => (StatusCode::SERVICE_UNAVAILABLE, "overload\n", "request_overflow"),
        Cause::Overflow(Limit::Silent) => (StatusCode::SERVICE_UNAVAILABLE, "overload\n", "silent_overflow"),
        Cause::Connect(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream connect error\n",
            "upstream_reset_before_response_started{connection_failure}",
        ),
        Cause::UpgradeUnsupported => (StatusCode::BAD_GATEWAY, "upgrade failed\n", "upgrade_unsupported_upstream"),
        Cause::Request(error) => request(error),
    }
}

fn request(error: &RequestError) -> (StatusCode, &'static str, &'static str) {
    const RESET: &str = "upstream connect error or disconnect before headers\n";
    match error {
        RequestError::Closed => {
            (StatusCode::SERVICE_UNAVAILABLE, RESET, "upstream_reset_before_response_started{connection_termination}")
        }
        RequestError::TlsFailed => {
            (StatusCode::SERVICE_UNAVAILABLE, RESET, "upstream_reset_before_response_started{tls_error}")
        }
        RequestError::ConnectionReset => {
            (StatusCode::SERVICE_UNAVAILABLE, RESET, "upstream_reset_before_response_started{connection_reset}")
        }
        RequestError::StreamReset(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, RESET, "upstream_reset_before_response_started{remote_reset}")
        }
        RequestError::GoAway(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, RESET, "upstream_reset_before_response_started{go_away}")
        }
        RequestError::Distrusted(why) => (StatusCode::SERVICE_UNAVAILABLE, RESET, why.details()),
        RequestError::Violation(violation) => (StatusCode::BAD_GATEWAY, "protocol error\n", violation.name()),
        RequestError::Malformed => (StatusCode::BAD_GATEWAY, "protocol error\n", "upstream_malformed"),
        RequestError::Http2Protocol => (StatusCode::BAD_GATEWAY, "protocol error\n", "upstream_http2_protocol"),
        RequestError::TooManyHeaders => (StatusCode::BAD_GATEWAY, "protocol error\n", "upstream_too_many_headers"),
        RequestError::RequestBody => (StatusCode::BAD_REQUEST, "request body failed\n", "request_body_failed"),
        RequestError::Stalled => (StatusCode::GATEWAY_TIMEOUT, "upstream request timeout\n", "upstream_stalled"),
        RequestError::Unwritable => (StatusCode::BAD_GATEWAY, "protocol error\n", "request_unwritable"),
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}
