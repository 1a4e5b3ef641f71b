//! The variables of templates, as a filter knows them.

use crate::{
    exchange::filter::{Facts, Headers, Stream},
    telemetry::{Blame, Source, Value},
};
use http::Version;
use pillion_config::template::{RequestField, Variable};

/// What is at hand when a value is rendered.
pub(super) struct AtHand<'a> {
    pub(super) stream: &'a Stream,
    pub(super) facts: &'a Facts,
    pub(super) request: Option<&'a Headers>,
    pub(super) response: Option<&'a Headers>,
}

impl AtHand<'_> {
    fn request_field(&self, field: &RequestField) -> Option<&[u8]> {
        let name: &[u8] = match field {
            RequestField::Method => b":method",
            RequestField::Path | RequestField::OriginalPath => b":path",
            RequestField::Authority => b":authority",
            RequestField::Scheme => b":scheme",
            RequestField::Header(name) => name.as_str().as_bytes(),
        };
        self.request?.get(name)
    }
}

impl Source for AtHand<'_> {
    fn value(&self, variable: &Variable) -> Option<Value<'_>> {
        let facts = self.facts;
        let tls = || facts.connection.tls.get();
        let milliseconds = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match variable {
            Variable::RequestHeader(field, other) => self
                .request_field(field)
                .or_else(|| other.as_ref().and_then(|other| self.request_field(other)))
                .map(Value::Bytes),
            Variable::ResponseHeader(name) => self.response?.get(name.as_str().as_bytes()).map(Value::Bytes),
            Variable::StartTime => Some(Value::Time(self.stream.began())),
            Variable::Protocol => match facts.version? {
                Version::HTTP_10 => Some(Value::Bytes(b"HTTP/1.0")),
                Version::HTTP_2 => Some(Value::Bytes(b"HTTP/2")),
                _ => Some(Value::Bytes(b"HTTP/1.1")),
            },
            Variable::ResponseCode => Some(Value::Number(facts.status.map_or(0, |status| status.as_u16().into()))),
            Variable::ResponseCodeDetails => facts.details.as_ref().map(|details| Value::Bytes(details.as_bytes())),
            Variable::ResponseFlags => Some(Value::Flags(facts.flags)),
            Variable::BytesReceived => Some(Value::Number(facts.received)),
            Variable::BytesSent => Some(Value::Number(facts.sent)),
            Variable::Duration => Some(Value::Number(milliseconds(facts.started.elapsed()))),
            Variable::ResponseDuration => facts.upstream_latency.map(|latency| Value::Number(milliseconds(latency))),
            Variable::UpstreamHost => facts.upstream.map(Value::Address),
            Variable::UpstreamCluster => facts.cluster.as_ref().map(|name| Value::Bytes(name.as_str().as_bytes())),
            Variable::UpstreamRequestAttemptCount => Some(Value::Number(facts.attempts.into())),
            Variable::RouteName => facts.route.as_ref().map(|route| Value::Bytes(route.name.as_str().as_bytes())),
            Variable::DownstreamRemoteAddress => Some(Value::Address(facts.client)),
            Variable::DownstreamRemoteAddressWithoutPort => Some(Value::Ip(facts.client.ip())),
            Variable::DownstreamDirectRemoteAddress => Some(Value::Address(facts.connection.direct)),
            Variable::DownstreamLocalAddress => Some(Value::Address(facts.connection.local)),
            Variable::GrpcStatus => facts.grpc_status.map(|status| Value::Number(status.into())),
            Variable::TerminatedBy => Some(Value::Bytes(facts.blame.map_or("-", Blame::as_str).as_bytes())),
            Variable::Hostname => Some(Value::Bytes(crate::telemetry::hostname())),
            Variable::DownstreamTlsVersion => tls().map(|tls| Value::Bytes(tls.version.as_bytes())),
            Variable::DownstreamTlsCipher => tls().map(|tls| Value::Bytes(tls.cipher.as_bytes())),
            Variable::RequestedServerName => {
                tls().and_then(|tls| tls.server_name.as_deref()).map(|name| Value::Bytes(name.as_bytes()))
            }
            Variable::DownstreamPeerUriSan => {
                let id = facts.connection.peer()?.id.as_ref()?;
                Some(Value::Bytes(id.as_str().as_bytes()))
            }
            Variable::ListenerName => Some(Value::Bytes(facts.listener.as_str().as_bytes())),
            Variable::ResponseTrailer(_) | Variable::FilterState(_) | Variable::DynamicMetadata(..) => None,
        }
    }
}
