//! The words of the proxy-wasm ABI: its numbers as types, its encodings as pure functions.
//!
//! Source: proxy-wasm ABI 0.2.1 (<https://github.com/proxy-wasm/spec>, `abi-versions/v0.2.1`); where Envoy differs from
//! it, Envoy is followed, since filters were written against it.

pub mod callback;
pub mod pairs;

/// Which ABI a module speaks, by the marker function it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AbiVersion {
    /// `proxy_abi_version_0_1_0`.
    V0_1_0,
    /// `proxy_abi_version_0_2_0`.
    V0_2_0,
    /// `proxy_abi_version_0_2_1`.
    V0_2_1,
}

impl AbiVersion {
    /// All that are spoken here, the newest first: a module with several markers gets the newest.
    pub const ALL: [Self; 3] = [Self::V0_2_1, Self::V0_2_0, Self::V0_1_0];

    /// The function that marks a module of this version.
    #[must_use]
    pub fn marker(self) -> &'static str {
        match self {
            Self::V0_1_0 => "proxy_abi_version_0_1_0",
            Self::V0_2_0 => "proxy_abi_version_0_2_0",
            Self::V0_2_1 => "proxy_abi_version_0_2_1",
        }
    }

    /// As the specification writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_2_1 => "0.2.1",
        }
    }
}

/// What a host function answers (`proxy_status_t`). Success is not among them: that is `Ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// There is no such thing.
    NotFound = 1,
    /// An argument makes no sense, or not now.
    BadArgument = 2,
    /// The value has no encoding.
    SerializationFailure = 3,
    /// The argument cannot be read.
    ParseFailure = 4,
    /// A pointer or length points outside the guest's memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// Another write came between.
    CasMismatch = 8,
    /// The host failed, or a bound of it is reached.
    InternalFailure = 10,
    /// Not offered.
    Unimplemented = 12,
}

/// Which header map (`proxy_map_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapType {
    /// The request's head, with its pseudo-headers.
    RequestHeaders,
    /// The request's trailers.
    RequestTrailers,
    /// The response's head, with `:status`.
    ResponseHeaders,
    /// The response's trailers.
    ResponseTrailers,
    /// Initial metadata of the gRPC call whose callback runs.
    GrpcInitialMetadata,
    /// Trailing metadata of the gRPC call whose callback runs.
    GrpcTrailingMetadata,
    /// The head of the response to the HTTP call whose callback runs.
    CallHeaders,
    /// Its trailers.
    CallTrailers,
}

impl MapType {
    /// The map of this number.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] when there is none.
    pub fn of(number: u32) -> Result<Self, Status> {
        Ok(match number {
            0 => Self::RequestHeaders,
            1 => Self::RequestTrailers,
            2 => Self::ResponseHeaders,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitialMetadata,
            5 => Self::GrpcTrailingMetadata,
            6 => Self::CallHeaders,
            7 => Self::CallTrailers,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// Which buffer (`proxy_buffer_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferType {
    /// What of the request's body has come.
    RequestBody,
    /// What of the response's body has come.
    ResponseBody,
    /// Bytes from the client of a TCP connection.
    DownstreamData,
    /// Bytes from the server of a TCP connection.
    UpstreamData,
    /// The body of the response to the HTTP call whose callback runs.
    CallBody,
    /// The message of the gRPC call whose callback runs.
    GrpcMessage,
    /// `vm_configuration`.
    VmConfiguration,
    /// `plugin_configuration`.
    PluginConfiguration,
    /// Arguments of the foreign callback that runs.
    ForeignArguments,
}

impl BufferType {
    /// The buffer of this number.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] when there is none.
    pub fn of(number: u32) -> Result<Self, Status> {
        Ok(match number {
            0 => Self::RequestBody,
            1 => Self::ResponseBody,
            2 => Self::DownstreamData,
            3 => Self::UpstreamData,
            4 => Self::CallBody,
            5 => Self::GrpcMessage,
            6 => Self::VmConfiguration,
            7 => Self::PluginConfiguration,
            8 => Self::ForeignArguments,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// Which half of a stream (`proxy_stream_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamType {
    /// An HTTP request.
    Request,
    /// An HTTP response.
    Response,
    /// The client's side of a TCP connection.
    Downstream,
    /// The server's side of a TCP connection.
    Upstream,
}

impl StreamType {
    /// The half of this number.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] when there is none.
    pub fn of(number: u32) -> Result<Self, Status> {
        Ok(match number {
            0 => Self::Request,
            1 => Self::Response,
            2 => Self::Downstream,
            3 => Self::Upstream,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// What a callback on headers, data or trailers wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Go on.
    Continue,
    /// Hold: headers stay, data gathers.
    Pause,
    /// Hold and let data gather; the callback sees each piece by itself.
    PauseAndWatermark,
    /// Hold, and drop the piece.
    PauseAndDrop,
}

impl Action {
    /// What a head's or trailers' callback answered: all but 0 and 2 hold, as in Envoy.
    #[must_use]
    pub fn of_headers(answer: u32) -> Self {
        match answer {
            0 | 2 => Self::Continue,
            _ => Self::Pause,
        }
    }

    /// What a body's callback answered.
    #[must_use]
    pub fn of_data(answer: u32) -> Self {
        match answer {
            0 => Self::Continue,
            2 => Self::PauseAndWatermark,
            1 => Self::Pause,
            // Those of heads, too, as in Envoy.
            _ => Self::PauseAndDrop,
        }
    }
}

/// A log line's level (`proxy_log_level_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum LogLevel {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2
    Info,
    /// 3
    Warn,
    /// 4
    Error,
    /// 5
    Critical,
}

impl LogLevel {
    /// The level of this number.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] when there is none.
    pub fn of(number: u32) -> Result<Self, Status> {
        Ok(match number {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            5 => Self::Critical,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// A metric's kind (`proxy_metric_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// Only grows.
    Counter,
    /// Goes both ways.
    Gauge,
    /// A distribution.
    Histogram,
}

impl MetricType {
    /// The kind of this number.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] when there is none.
    pub fn of(number: u32) -> Result<Self, Status> {
        Ok(match number {
            0 => Self::Counter,
            1 => Self::Gauge,
            2 => Self::Histogram,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// Who closed a TCP connection (`proxy_peer_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Peer {
    /// Nobody knows.
    Unknown = 0,
    /// This proxy.
    Local = 1,
    /// The other end.
    Remote = 2,
}
