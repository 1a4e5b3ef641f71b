//! Listeners: where connections are accepted and what is demanded of them.

use super::{
    Authorization, Bytes, Field, FilterUse, Int, Limit, List, ListenerTls, Namespaces, Period, Route, Scalar, Tcp,
    Text, Window, fields, words,
};
use crate::model::{Cidr, Name};
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;
use std::{net::SocketAddr, time::Duration};

/// A socket that accepts connections, and what happens to them. It has `routes`, `tcp` or both.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["name", "address"])))]
pub(crate) struct Listener {
    /// Its name, in logs and metrics; unique among listeners.
    pub name: Text<Name>,
    /// The address it binds, such as `0.0.0.0:8080` or `[::]:8080`. Port 0 lets the kernel choose.
    pub address: Text<SocketAddr>,
    /// Which way its connections go, seen from the application. `inbound`: to it. Of the listeners that capture, the outbound ones carry the proof that connections are captured.
    pub direction: Field<Direction>,
    /// How its connections come to it. `off`: their clients connect to it. Otherwise the kernel's rules (`pillion redirect rules install`), or a program of the node's agent, send them here, and what their clients connected to is their destination: its port decides in `server_first`, and clusters with `original_destination` pass them on to it.
    pub capture: Field<Capture>,
    /// Whether another process may listen on the same port at the same time. `false`: a second instance started by mistake is refused, not given half of the traffic.
    pub share_port: Field<bool>,
    /// Length of the kernel's queue of connections not yet accepted. 1024 bridges a burst; the kernel bounds it by net.core.somaxconn.
    pub backlog: Text<Int<1, 65_535>>,
    /// Connections open at once; more wait in the kernel's queue. 8000, as for the whole process: one listener may use it all.
    pub connections: Text<Int<1, 10_000_000>>,
    /// The age at which a connection is asked to leave (GOAWAY, or `Connection: close`), with some jitter. Absent or `none`: it may stay.
    pub max_connection_age: Text<Limit>,
    /// The PROXY protocol, by which a load balancer before this proxy says who the client is. Absent: none is looked for, and whoever connects is the client.
    pub proxy_protocol: Field<ProxyProtocol>,
    /// TLS. Absent: the listener speaks in the clear.
    pub tls: Field<ListenerTls>,
    /// Who may connect and ask. Absent: everybody.
    pub authorization: Field<Box<Authorization>>,
    /// Sizes and counts of a request's head.
    pub limits: Field<HttpLimits>,
    /// Deadlines of a connection.
    pub timeouts: Field<HttpTimeouts>,
    /// HTTP/2 settings and flood windows.
    pub http2: Field<Http2>,
    /// How a path is cleaned before it is matched and forwarded.
    pub path: Field<PathPolicy>,
    /// What upstreams are told about the client, and whom to believe.
    pub forwarding: Field<Forwarding>,
    /// What happens to header names with an underscore, which CGI-like servers confuse with a hyphen. `reject`: otherwise a client could pass `x_user` where `x-user` is trusted.
    pub underscores: Field<Underscores>,
    /// Whether CONNECT (RFC 9110 §9.3.6) is served. `refuse`: an open tunnel is asked for, not given.
    pub connect: Field<Connect>,
    /// Which requests go where. Absent: HTTP is not spoken. Hosts are tried from the most specific to any: a whole name, then the longest suffix behind a star, then the longest prefix before one, then routes without `host`. Of a host's routes the first written that matches is taken; where none matches, the next less specific host is tried (unlike Envoy's virtual hosts). A request that no route matches is answered with 404, behind the `filters`.
    pub routes: List<Route>,
    /// What its requests pass, in order, and its responses in reverse: filters, or the names of filters. Those that no route takes pass them, too, which may answer them or lead them to a route.
    pub filters: List<FilterUse>,
    /// Where connections go that are not HTTP. Without `routes`, every connection does, unread.
    pub tcp: Field<Tcp>,
    /// What wasm filters are told of it, as a route's `metadata`: `xds.listener_metadata`.
    pub metadata: Field<Box<Namespaces>>,
}

fields! { Listener { name, address, direction, capture, share_port, backlog, connections, max_connection_age, proxy_protocol, tls, authorization, limits, timeouts, http2, path, forwarding, underscores, connect, routes, filters, tcp, metadata } }

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: Field::ABSENT,
            address: Field::ABSENT,
            direction: Field::of(Direction::Inbound),
            capture: Field::of(Capture::Off),
            share_port: Field::of(false),
            backlog: Text::scalar(Int(1024)),
            connections: Text::scalar(Int(8000)),
            max_connection_age: Field::ABSENT,
            proxy_protocol: Field::ABSENT,
            tls: Field::ABSENT,
            authorization: Field::ABSENT,
            limits: Field::ABSENT,
            timeouts: Field::ABSENT,
            http2: Field::ABSENT,
            path: Field::ABSENT,
            forwarding: Field::ABSENT,
            underscores: Field::of(Underscores::Reject),
            connect: Field::of(Connect::Refuse),
            routes: Field::ABSENT,
            filters: Field::ABSENT,
            tcp: Field::ABSENT,
            metadata: Field::ABSENT,
        }
    }
}

/// Which way a listener's connections go.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Direction {
    /// To the application.
    Inbound,
    /// From the application.
    Outbound,
}

words! { Direction { "inbound" => Inbound, "outbound" => Outbound } }

/// How a listener's connections come to it.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Capture {
    /// Their clients connect to it.
    Off,
    /// By a rule that rewrites their destination, which the kernel remembers (SO_ORIGINAL_DST).
    Redirect,
    /// By a rule that leaves them as they are (TPROXY, IP_TRANSPARENT). Needs CAP_NET_ADMIN.
    Tproxy,
    /// By the agent of this node (`pillion redirect agent --capture-inbound`), whose program (sk_lookup) gives this socket whatever comes into the network namespace from outside, as it is; `direction: inbound` only, at most one listener. Needs no privilege. While there is no agent the proxy waits for one, with nothing accepted here, and is not ready. What was captured once stays so as long as the network namespace is there: without this listener nothing comes in.
    Agent,
}

words! { Capture { "off" => Off, "redirect" => Redirect, "tproxy" => Tproxy, "agent" => Agent } }

/// The PROXY protocol, versions 1 and 2, read before anything else of a connection. What it says stands for the socket's addresses everywhere.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["trusted"])))]
pub(crate) struct ProxyProtocol {
    /// Whether a connection must begin with a header. `required`: where a sender always writes one, what comes without it did not pass the sender.
    pub headers: Field<ProxyHeaders>,
    /// Networks of senders who are believed, such as `10.0.0.0/8`. Anybody else could pose as any client.
    pub trusted: List<Scalar<Cidr>>,
    /// Time from the accept to the header's last byte. 3s bears a lost packet; a sender writes it at once.
    pub timeout: Text<Period>,
    /// Bytes of a version 2 header behind its fixed 16. 4KiB: addresses and fields take a few hundred, a client's certificate passed on some 2 KiB.
    pub header_bytes: Text<Bytes<216, 65_535>>,
}

fields! { ProxyProtocol { headers, trusted, timeout, header_bytes } }

impl Default for ProxyProtocol {
    fn default() -> Self {
        Self {
            headers: Field::of(ProxyHeaders::Required),
            trusted: Field::ABSENT,
            timeout: Text::scalar(Period(Duration::from_secs(3))),
            header_bytes: Text::scalar(Bytes(4 << 10)),
        }
    }
}

/// Whether a connection must begin with a PROXY protocol header.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum ProxyHeaders {
    /// It must, and come from a trusted sender; any other connection is closed.
    Required,
    /// A trusted sender may write one; a connection of anybody else is taken as it is, and a header in it is none.
    Optional,
}

words! { ProxyHeaders { "required" => Required, "optional" => Optional } }

/// Sizes and counts of a request's head. Beyond one, the request is answered with 431 or 414.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct HttpLimits {
    /// Header fields in a request, HTTP/2 cookie crumbs counted one by one. 100: browsers send 20 to 40, and a compressed flood of fields stays cheap.
    pub headers: Text<Int<1, 1000>>,
    /// Bytes of a request's head; on HTTP/2 with 32 more for each field (RFC 9113 §6.5.2). 32KiB: several large cookies and a token.
    pub header_bytes: Text<Bytes<1024, { 1 << 20 }>>,
    /// Bytes of the request target. 8KiB, what RFC 9112 §3 asks for at least; where it is not written and `header_bytes` is less, as much as that.
    pub target_bytes: Text<Bytes<256, { 1 << 20 }>>,
}

fields! { HttpLimits { headers, header_bytes, target_bytes } }

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            headers: Text::scalar(Int(100)),
            header_bytes: Text::scalar(Bytes(32 << 10)),
            target_bytes: Text::scalar(Bytes(8 << 10)),
        }
    }
}

/// Deadlines of a downstream connection.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct HttpTimeouts {
    /// Silence allowed between requests. 5m: longer than the pools of common clients keep a connection (Go 90s, browsers up to 5m), so that the client closes first.
    pub idle: Text<Period>,
    /// Time to the last byte of a request's head: from the connection's begin for its first one, from the head's first byte for those that follow. 10s: slow
    /// links manage in 2, slowloris does not.
    pub header: Text<Period>,
    /// Silence allowed within a request's body while the proxy wants more of it and its response has not begun; from then on the route's `idle_timeout` bounds the
    /// silence of both sides. `none` or `0s`: no limit but that, as for gRPC over HTTP/2 in any case, whose clients may wait within a stream. 30s bears a mobile network's pause.
    pub body: Text<Limit>,
    /// Time a client may leave ready bytes of a response unread. 30s, for the same reason.
    pub write: Text<Period>,
}

fields! { HttpTimeouts { idle, header, body, write } }

impl Default for HttpTimeouts {
    fn default() -> Self {
        let seconds = |seconds| Text::scalar(Period(Duration::from_secs(seconds)));
        let body = Text::scalar(Limit(Some(Duration::from_secs(30))));
        Self { idle: seconds(300), header: seconds(10), body, write: seconds(30) }
    }
}

/// HTTP/2 settings announced to clients, and what they may do at most.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Http2 {
    /// Streams open at once (SETTINGS_MAX_CONCURRENT_STREAMS). 100, the least RFC 9113 §6.5.2 recommends.
    pub streams: Text<Int<1, 10_000>>,
    /// Bytes a stream may send ahead (SETTINGS_INITIAL_WINDOW_SIZE), to begin with. 65535, the protocol's own: what one stream can make the proxy hold. Where it is what holds an upload up, since the client is far away and what it sends is taken, it grows for all of the connection, fourfold at once, to a quarter of `connection_window` (1MiB by default) and never beyond 4MiB: less, the more upload at once; in a container with a limit of memory only while there is room. It is never told to be less again, since some clients fail an upload then.
    pub stream_window: Text<Bytes<1024, { (1 << 31) - 1 }>>,
    /// Bytes a connection may send ahead, at most: what one connection can make the proxy hold. It begins with 1MiB (or `stream_window`, if that is more) and grows with the streams that are open, in a container with a limit of memory only while there is room. `auto`: `stream_window` for each of `streams`, 6.25 MiB by default, and beside that what streams hold of grown windows since nobody takes it, up to four times as much in all; where it is written, no more than that, and with less, streams whose bytes nobody takes stop the others of their connection.
    pub connection_window: Text<Window>,
    /// How many control frames are borne before the connection is closed with ENHANCE_YOUR_CALM.
    pub flood: Field<Flood>,
}

fields! { Http2 { streams, stream_window, connection_window, flood } }

impl Default for Http2 {
    fn default() -> Self {
        Self {
            streams: Text::scalar(Int(100)),
            stream_window: Text::scalar(Bytes(65_535)),
            connection_window: Text::scalar(Window(None)),
            flood: Field::ABSENT,
        }
    }
}

/// How many control frames are borne in a window of time.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Flood {
    /// The period over which frames are counted. 30s: long enough to see a patient attacker, short enough to forget.
    pub window: Text<Period>,
    /// RST_STREAM received beyond one for each answer that had begun, as gRPC calls are cancelled; of those twice as many. 500, as Envoy: calls whose deadline passes before their server says a word, sixteen a second; rapid reset (CVE-2023-44487) sends thousands and waits for no answer.
    pub resets: Text<Int<1, 1_000_000>>,
    /// Streams reset by the proxy for the client's errors. 500: they cost less than a request, but MadeYouReset (CVE-2025-8671) makes them in thousands.
    pub reset_by_us: Text<Int<1, 1_000_000>>,
    /// PING received beyond those that DATA frames sent have earned, 20 each together with `window_updates`, and answers to ours: gRPC clients that measure bandwidth send one for each message at most. 100: keepalives come every few seconds.
    pub pings: Text<Int<1, 1_000_000>>,
    /// SETTINGS received beyond acknowledgements of ours. 50: real clients send one or two in a connection's life.
    pub settings: Text<Int<1, 1_000_000>>,
    /// DATA frames without data and without END_STREAM. 100: they move nothing.
    pub empty_data: Text<Int<1, 1_000_000>>,
    /// WINDOW_UPDATE received beyond 20 for each DATA frame sent, as in Envoy: Go's `net/http` answers one of 16 KiB with eight. 1000: a client that opens large windows stream by stream stays below.
    pub window_updates: Text<Int<1, 1_000_000>>,
    /// PRIORITY and unknown frames received, and RST_STREAM of streams that were reset before. 1000: Firefox sends one or two a request.
    pub priorities: Text<Int<1, 1_000_000>>,
    /// CONTINUATION frames in one header block. 20: at 16 KiB each that is ten times `header_bytes` (CVE-2024-30255).
    pub continuations: Text<Int<0, 1000>>,
}

fields! { Flood {
    window, resets, reset_by_us, pings, settings, empty_data, window_updates, priorities, continuations
} }

impl Default for Flood {
    fn default() -> Self {
        Self {
            window: Text::scalar(Period(Duration::from_secs(30))),
            resets: Text::scalar(Int(500)),
            reset_by_us: Text::scalar(Int(500)),
            pings: Text::scalar(Int(100)),
            settings: Text::scalar(Int(50)),
            empty_data: Text::scalar(Int(100)),
            window_updates: Text::scalar(Int(1000)),
            priorities: Text::scalar(Int(1000)),
            continuations: Text::scalar(Int(20)),
        }
    }
}

/// How a path is cleaned before it is matched and forwarded.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct PathPolicy {
    /// Resolve `.` and `..` segments, percent-encoded ones too; a path above the root is refused, and one whose segment is `.` or `..` with parameters (`/public/..;a/admin`), which only some servers resolve. `true`: otherwise `/public/../admin` passes a route for `/public`.
    pub resolve_dots: Field<bool>,
    /// Make one slash of several. `true`: otherwise `//admin` passes a route for `/admin`.
    pub merge_slashes: Field<bool>,
    /// What happens to `%2F` and `%5C`. `keep`: they are data to many APIs; choose `reject` where a server behind decodes them into slashes.
    pub escaped_slashes: Field<EscapedSlashes>,
}

fields! { PathPolicy { resolve_dots, merge_slashes, escaped_slashes } }

impl Default for PathPolicy {
    fn default() -> Self {
        Self {
            resolve_dots: Field::of(true),
            merge_slashes: Field::of(true),
            escaped_slashes: Field::of(EscapedSlashes::Keep),
        }
    }
}

/// What happens to an escaped slash or backslash.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum EscapedSlashes {
    /// Left as it is: no boundary of segments.
    Keep,
    /// Answered with 400.
    Reject,
    /// Made a slash before the path is cleaned and matched.
    Decode,
}

words! { EscapedSlashes { "keep" => Keep, "reject" => Reject, "decode" => Decode } }

/// What upstreams are told about the client, and whom to believe.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Forwarding {
    /// `X-Forwarded-For`, `-Proto` and `-Host`. `append`: applications expect them.
    pub x_forwarded: Field<ForwardingMode>,
    /// `Forwarded` (RFC 7239). `off`: few read it, and two sources of one truth can differ.
    pub forwarded: Field<ForwardingMode>,
    /// `Via` (RFC 9110 §7.6.3) with this pseudonym on requests and responses. Absent: not added.
    pub via: Text<String>,
    /// `X-Request-Id`. `generate`: made (UUID version 4) where there is none, and always for a peer that is not trusted. `pass`: never made.
    pub request_id: Field<RequestId>,
    /// Networks whose word about the client is believed, such as `10.0.0.0/8`. None: whoever connects is the client.
    pub trusted: List<Scalar<Cidr>>,
    /// Proxies before this one to believe by count when the peer is in no trusted network. 0 believes none.
    pub trusted_hops: Text<Int<0, 255>>,
    /// Remove `X-Forwarded-Client-Cert` and `x-envoy-*` that a client sends. `true`: they claim an identity.
    pub strip_identity: Field<bool>,
}

fields! { Forwarding { x_forwarded, forwarded, via, request_id, trusted, trusted_hops, strip_identity } }

impl Default for Forwarding {
    fn default() -> Self {
        Self {
            x_forwarded: Field::of(ForwardingMode::Append),
            forwarded: Field::of(ForwardingMode::Off),
            via: Field::ABSENT,
            request_id: Field::of(RequestId::Generate),
            trusted: Field::ABSENT,
            trusted_hops: Text::scalar(Int(0)),
            strip_identity: Field::of(true),
        }
    }
}

/// What happens to a forwarding header.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum ForwardingMode {
    /// Passed as it came from a trusted peer, removed from any other.
    Off,
    /// This hop is appended to what a trusted peer sent; from any other peer the header is replaced.
    Append,
}

words! { ForwardingMode { "off" => Off, "append" => Append } }

/// Whether requests get an identifier.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum RequestId {
    /// Passed on when there is one, never made.
    Pass,
    /// Made where there is none, and always for a peer that is not trusted.
    Generate,
}

words! { RequestId { "pass" => Pass, "generate" => Generate } }

/// What happens to a header name with an underscore.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Underscores {
    /// Passed on.
    Accept,
    /// Answered with 400.
    Reject,
}

words! { Underscores { "accept" => Accept, "reject" => Reject } }

/// Whether a CONNECT request is served.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Connect {
    /// Answered with 405.
    Refuse,
    /// Routed like any request; the cluster's endpoint is the far end of the tunnel.
    Allow,
}

words! { Connect { "refuse" => Refuse, "allow" => Allow } }
