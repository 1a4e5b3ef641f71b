//! handshake: from a connected socket to a connection that takes requests.
//!
//! After connect. The buffers and windows of a connection are decided here and nowhere else.

use super::{
    circuit_wait::Opened,
    connect,
    error::ConnectError,
    heard::Heard,
    host_core::HostCore,
    http1::{Home, Http1Connection},
    http2::{Http2Connection, MAX_STREAMS},
    line::{Held, Line},
    pool::Host,
    tls,
    worker_cluster::WorkerCluster,
};
use crate::{
    downstream::windows::{Back, Window},
    framing::Limits,
    identity::Speaks,
    io::Socket,
    upstream::{Bond, RequestBody},
};
use bytes::Bytes;
use h2::client::Connection;
use pillion_config::model::Cluster;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::{Rc, Weak},
    task::Poll,
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Bytes a stream may be ahead of its consumer as its connection begins: HTTP/2's own initial value (RFC 9113 §6.9.2). It grows where
/// the way is long (`downstream/windows.rs`).
const STREAM_WINDOW: u32 = 65_535;
/// Bytes all streams of a connection may be ahead of their consumers, where memory lets them: room for each, since clients share
/// the connection, and those who take nothing would stop the others; and for what some may hold beyond that.
const CONNECTION_WINDOW: u32 = (MAX_STREAMS as u32 + 256) * STREAM_WINDOW;
/// What DATA frames of less than 256 bytes that wait in h2 may lack of it, together; beyond it h2 ends the connection, with everybody's
/// streams. It holds 800 to 1,200 bytes for a frame, so that a server of single bytes makes us hold 10 MB. Whoever waits for a client
/// takes them out (`io/received.rs`), and the line reads no more than a part of it at once: it bounds what nobody asks for.
const DATA_FRAME_BUDGET: usize = 2 * 1024 * 1024;
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
        host.core.reached();
        let home = Rc::downgrade(host) as Weak<dyn Home>;
        Ok(Http1Connection::new(socket, limits(model), home, bond, opened, announced.cloned()))
    })
    .await
}

/// How long a server's preface is waited for: as long as the connection's task waits for one that is silent while requests wait.
const PREFACE: Duration = Duration::from_secs(35);

/// Connects and makes an HTTP/2 connection, with prior knowledge (RFC 9113 §3.3). Where the cluster only supposes that, the
/// first one to an address is ready when its server has said something that may be HTTP/2.
pub(super) async fn http2<B: RequestBody>(
    host: &Rc<Host<B>>,
    cluster: &WorkerCluster<B>,
    opened: Opened,
    announced: Option<&Rc<[u8]>>,
) -> Result<Rc<Http2Connection>, ConnectError> {
    let model = cluster.model();
    let metrics = cluster.state().metrics();
    let made = connect::within(model.connect_timeout, metrics, async {
        let socket = connect::connect(cluster, &host.core, &opened, announced).await?;
        let (socket, bond) = secure(socket, host, cluster, Speaks::Http2).await?;
        // TLS has agreed upon what is spoken.
        let asks = cluster.asks_for_http2() && !matches!(socket, Socket::Tls(_));
        let (line, watch) = Line::new(socket);
        let held = line.hold();
        let made = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(Window::first(STREAM_WINDOW, CONNECTION_WINDOW))
            .data_frame_budget(DATA_FRAME_BUDGET)
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
            // Of one that it has forgotten h2 answers each frame,
            .max_concurrent_reset_streams(MAX_STREAMS)
            // and ends the connection after so many of them in all, over its life.
            .max_local_error_reset_streams(None)
            .max_header_list_size(model.header_bytes)
            .enable_push(false)
            .handshake(line)
            .await;
        let (sender, connection) = made.map_err(|error| match held.late_refusal() {
            // Its alert was there before our preface.
            Some(failure) => tls::refused(&host.core, failure),
            None => error.get_io().map_or(ConnectError::Reset, ConnectError::from_io),
        })?;
        let held = (asks && host.core.heard.get() != Heard::Http2).then_some(held);
        Ok((sender, connection, watch, bond, held))
    });
    let (sender, mut connection, watch, bond, asked) = made.await?;
    if let Some(held) = asked {
        // Not within the time to connect: a server of HTTP/1.1 with one thread reads it when it is done with others.
        let greeted = Box::pin(greeted(&mut connection, &held, &host.core)).await;
        greeted.inspect_err(|error| metrics.connect_failure(error.reason()))?;
    }
    host.core.reached();
    let window = Window::new(Rc::clone(cluster.windows()), STREAM_WINDOW, CONNECTION_WINDOW, Back::Now);
    Ok(Http2Connection::start(sender, (connection, window), (watch, bond), host, opened, announced.cloned()))
}

/// Waits for the server's preface, and remembers what it was. The request is not sent before: what would be read of it as
/// HTTP/1.1 is not what its client has written.
async fn greeted(connection: &mut Connection<Line, Bytes>, held: &Held, host: &HostCore) -> Result<(), ConnectError> {
    let first = poll_fn(|cx| {
        let over = Pin::new(&mut *connection).poll(cx).is_ready();
        match held.first() {
            None if over => Poll::Ready(held.last_look(cx)),
            None => Poll::Pending,
            first => Poll::Ready(first),
        }
    });
    let first = timeout(PREFACE, first).await.map_err(|_| ConnectError::Timeout(PREFACE))?;
    host.heard.set(host.heard.get().greeted(first, Instant::now()));
    match host.heard.get() {
        Heard::Http2 => Ok(()),
        Heard::Http1 { .. } => Err(ConnectError::NotHttp2),
        Heard::Nothing | Heard::Silence | Heard::SilenceThenHttp1 => Err(ConnectError::Reset),
    }
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
