//! Texts with variables, for access-log formats and header values, in Envoy's notation: `%RESPONSE_CODE%`,
//! `%REQ(USER-AGENT)%`, `%%` for a percent sign.

mod parse;

use http::HeaderName;
#[cfg(test)]
pub(crate) use parse::known;
use std::fmt;

/// A text with variables, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

impl Template {
    /// Reads a text with variables. The position in an error counts bytes of `text` from 0.
    ///
    /// # Errors
    /// Where a percent sign begins no known variable.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::template(text).map(Self)
    }

    /// Whether it is the same text for every request.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// The variables in it, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Variable(variable, _) => Some(variable),
        })
    }
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Where the variable begins, in bytes from 0.
    pub at: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {} of the text)", self.message, self.at)
    }
}

impl std::error::Error for TemplateError {}

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Literal(String),
    /// A value known when the template is rendered; at most so many bytes of it (`%REQ(X):10%`).
    Variable(Variable, Option<usize>),
}

/// A value known when a template is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `%START_TIME%`: when the request began, RFC 3339 in UTC with milliseconds.
    StartTime,
    /// `%PROTOCOL%`: HTTP/1.0, HTTP/1.1 or HTTP/2.
    Protocol,
    /// `%RESPONSE_CODE%`: the status sent, 0 for none.
    ResponseCode,
    /// `%RESPONSE_CODE_DETAILS%`: why, in a word.
    ResponseCodeDetails,
    /// `%RESPONSE_FLAGS%`: Envoy's flags, `-` for none.
    ResponseFlags,
    /// `%BYTES_RECEIVED%`: bytes of the request's body.
    BytesReceived,
    /// `%BYTES_SENT%`: bytes of the response's body.
    BytesSent,
    /// `%DURATION%`: milliseconds from the request's head to the response's end.
    Duration,
    /// `%RESPONSE_DURATION%`: milliseconds from the request's head to the response's head from upstream.
    ResponseDuration,
    /// `%UPSTREAM_HOST%`: the endpoint's address.
    UpstreamHost,
    /// `%UPSTREAM_CLUSTER%`: the cluster's name, also of a request that was answered on its way there.
    UpstreamCluster,
    /// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`: how often sending the request was tried.
    UpstreamRequestAttemptCount,
    /// `%ROUTE_NAME%`: the route's name.
    RouteName,
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`: the client's address and port, as forwarding headers of a trusted peer say.
    DownstreamRemoteAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`: the same without port.
    DownstreamRemoteAddressWithoutPort,
    /// `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%`: the peer's address and port.
    DownstreamDirectRemoteAddress,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`: the address and port the client reached.
    DownstreamLocalAddress,
    /// `%REQ(NAME?OTHER)%`: a request header, or the other where it is missing.
    RequestHeader(RequestField, Option<RequestField>),
    /// `%RESP(NAME)%`: a response header.
    ResponseHeader(HeaderName),
    /// `%TRAILER(NAME)%`: a response trailer.
    ResponseTrailer(HeaderName),
    /// `%GRPC_STATUS%`: the number in `grpc-status`.
    GrpcStatus,
    /// `%TERMINATED_BY%`: who ended the request: `downstream`, `upstream`, `proxy`, or `-` when it ended well.
    TerminatedBy,
    /// `%HOSTNAME%`: this machine's name.
    Hostname,
    /// `%DOWNSTREAM_TLS_VERSION%`: `TLSv1.2` or `TLSv1.3`.
    DownstreamTlsVersion,
    /// `%DOWNSTREAM_TLS_CIPHER%`: the cipher suite's name.
    DownstreamTlsCipher,
    /// `%REQUESTED_SERVER_NAME%`: the server name the client asked for by TLS.
    RequestedServerName,
    /// `%DOWNSTREAM_PEER_URI_SAN%`: the client's SPIFFE ID.
    DownstreamPeerUriSan,
    /// `%LISTENER_NAME%`: the listener's name.
    ListenerName,
    /// `%FILTER_STATE(KEY:PLAIN)%`: what a filter set under that key of the stream's state.
    FilterState(Box<str>),
    /// `%DYNAMIC_METADATA(NAMESPACE:KEY:...)%`: what a filter told under that namespace, and keys within it.
    DynamicMetadata(Box<str>, Box<[Box<str>]>),
}

/// A request header or one of the pseudo-headers that stand for the request line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestField {
    /// `:METHOD`
    Method,
    /// `:PATH`: path and query as forwarded.
    Path,
    /// `X-ENVOY-ORIGINAL-PATH`: path and query as they came, before a rewrite.
    OriginalPath,
    /// `:AUTHORITY`
    Authority,
    /// `:SCHEME`
    Scheme,
    /// Any other header.
    Header(HeaderName),
}
