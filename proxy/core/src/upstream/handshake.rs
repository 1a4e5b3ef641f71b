//! handshake: from a connected socket to a connection that takes requests.
//!
//! After connect. The buffers and windows of a connection are decided here and nowhere else.

use super::{
    circuit_wait::Opened,
    connect,
    error::ConnectError,
    http1::{Home, Http1Connection},
    http2::Http2Connection,
    line::Line,
    pool::Host,
    tls,
    worker_cluster::WorkerCluster,
};
use crate::{
    framing::Limits,
    identity::Speaks,
    io::Socket,
    upstream::{Bond, RequestBody},
};
use pillion_config::model::Cluster;
use std::rc::{Rc, Weak};

/// Bytes a stream may be ahead of its consumer: HTTP/2's own initial value (RFC 9113 §6.9.2).
const STREAM_WINDOW: u32 = 65_535;
/// Bytes all streams of a connection may be ahead of their consumers.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of a stream that may wait in the codec for the socket: two frames.
const SEND_BUFFER: usize = 32 * 1024;
/// Streams opened before the peer said how many it takes: what most servers say.
const STREAMS_BEFORE_SETTINGS: usize = 100;

/// Connects and makes an HTTP/1.1 connection.
pub(super) async fn http1<B: RequestBody>(
    host: &Rc<Host<B>>,
    cluster: &WorkerCluster<B>,
    opened: Opened,
    announced: Option<&Rc<[u8]>>,
) -> Result<Box<Http1Connection>, ConnectError> {
    let model = cluster.model();
    connect::within(model.connect_timeout, cluster.state().metrics(), async {
        let socket = connect::connect(cluster, &host.core, &opened, announced).await?;
        let (socket, bond) = secure(socket, host, cluster, Speaks::Http1).await?;
        host.reached();
        let home = Rc::downgrade(host) as Weak<dyn Home>;
        Ok(Http1Connection::new(socket, limits(model), home, bond, opened, announced.cloned()))
    })
    .await
}

/// Connects and makes an HTTP/2 connection, with prior knowledge (RFC 9113 §3.3).
pub(super) async fn http2<B: RequestBody>(
    host: &Rc<Host<B>>,
    cluster: &WorkerCluster<B>,
    opened: Opened,
    announced: Option<&Rc<[u8]>>,
) -> Result<Rc<Http2Connection>, ConnectError> {
    let model = cluster.model();
    connect::within(model.connect_timeout, cluster.state().metrics(), async {
        let socket = connect::connect(cluster, &host.core, &opened, announced).await?;
        let (socket, bond) = secure(socket, host, cluster, Speaks::Http2).await?;
        let (line, watch) = Line::new(socket);
        let held = line.hold();
        let made = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
            .max_header_list_size(model.header_bytes)
            .enable_push(false)
            .handshake(line)
            .await;
        let (sender, connection) = made.map_err(|error| match held.late_refusal() {
            // Its alert was there before our preface.
            Some(failure) => tls::refused(&host.core, failure),
            None => error.get_io().map_or(ConnectError::Reset, ConnectError::from_io),
        })?;
        drop(held);
        host.reached();
        Ok(Http2Connection::start(sender, connection, (watch, bond), host, opened, announced.cloned()))
    })
    .await
}

/// Shakes hands, if the cluster wants it; a connection whose server was judged has a bond.
async fn secure<B: RequestBody>(
    socket: Socket,
    host: &Host<B>,
    cluster: &WorkerCluster<B>,
    speaks: Speaks,
) -> Result<(Socket, Option<Rc<Bond>>), ConnectError> {
    let bond = cluster.state().tls().map(|_| cluster.bonds().enter(&host.core));
    let socket = tls::secure(socket, &host.core, speaks).await?;
    let bond = bond.filter(|bond| socket.made_by().inspect(|made_by| bond.made_by(made_by)).is_some());
    Ok((socket, bond))
}

fn limits(model: &Cluster) -> Limits {
    Limits { max_headers: model.headers, max_head_bytes: model.header_bytes, ..Limits::default() }.within_codec()
}
