//! A worker whose sockets are pipes: the whole data path without the kernel.

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use pillion_config::{
    SourceName,
    model::{Config, Name},
    parse,
};
use pillion_core::{
    downstream::limit::{Limit, PressureGauge},
    exchange::filter::FilterSet,
    io::{Accept, Dial, DialOptions, Socket},
    snapshot::Snapshot,
    worker::{Process, Source, Worker},
};
use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::{Builder, Runtime},
    task::{LocalSet, spawn_local},
};

const PIPE: usize = 64 * 1024;

/// What the server behind the worker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// One worker, one client of it.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) local: LocalSet,
    pub(crate) client: DuplexStream,
    pub(crate) _worker: Rc<Worker>,
}

impl World {
    pub(crate) fn new(upstream: Speaks) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let local = LocalSet::new();
        let (client, worker) = local.block_on(&runtime, async {
            let protocol = if upstream == Speaks::Http2 { "    protocol: http2" } else { "" };
            let config = config("      - match: { prefix: / }\n        cluster: up", protocol);
            let snapshot = Arc::new(Snapshot::compile(Arc::new(config), None, None, FilterSet::empty()));
            let process = Arc::new(Process {
                connections: Limit::new(100),
                pressure: PressureGauge::default(),
                unfinished: Arc::default(),
                lost: Arc::default(),
                capture: Default::default(),
                redirect: Arc::default(),
            });
            let worker = Worker::new(process, Rc::new(Pipes(upstream)), Arc::clone(&snapshot));
            let (client, theirs) = duplex(PIPE);
            let queue = Queue(RefCell::new([Socket::Memory(theirs)].into()));
            worker.apply(snapshot, vec![Source { listener: Name("web".into()), accept: Box::new(queue) }]);
            (client, worker)
        });
        Self { runtime, local, client, _worker: worker }
    }
}

/// A configuration with these routes and this cluster.
pub(crate) fn config(routes: &str, cluster: &str) -> Config {
    let text = format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:8080\n    routes:\n{routes}\nclusters:\n  - name: up\n    \
         endpoints: [\"10.0.0.1:80\"]\n{cluster}\n"
    );
    let missing = |_: &Path| Err(io::ErrorKind::NotFound.into());
    match parse(&SourceName::new(Path::new("bench.yaml")), &text, &missing) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}

/// Sockets that wait to be accepted; there are never more.
struct Queue(RefCell<VecDeque<Socket>>);

impl Accept for Queue {
    fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        match self.0.borrow_mut().pop_front() {
            Some(socket) => Poll::Ready(Ok((socket, SocketAddr::from(([192, 0, 2, 7], 5000))))),
            None => Poll::Pending,
        }
    }

    fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8080))
    }
}

/// Every dial meets a server of 16 bytes.
struct Pipes(Speaks);

impl Dial for Pipes {
    fn dial<'a>(&'a self, _: SocketAddr, _: &'a DialOptions) -> LocalBoxFuture<'a, io::Result<Socket>> {
        let (ours, theirs) = duplex(PIPE);
        match self.0 {
            Speaks::Http1 => drop(spawn_local(serve_http1(theirs))),
            Speaks::Http2 => drop(spawn_local(serve_http2(theirs))),
        }
        Box::pin(async move { Ok(Socket::Memory(ours)) })
    }
}

async fn serve_http1(mut stream: DuplexStream) {
    let mut bytes = [0; 4096];
    let mut end = 0;
    loop {
        match stream.read(&mut bytes[end..]).await {
            Ok(0) | Err(_) => return,
            Ok(read) => end += read,
        }
        if bytes[..end].ends_with(b"\r\n\r\n") {
            end = 0;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nabcdefghijklmnop";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

pub(crate) async fn serve_http2(stream: DuplexStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        if let Ok(mut body) = respond.send_response(http::Response::new(()), false) {
            body.send_data(Bytes::from_static(b"abcdefghijklmnop"), true).ok();
        }
    }
}
