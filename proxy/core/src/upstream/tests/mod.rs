//! The whole of `send` over pipes in memory, with a paused clock: real codecs on both ends, a scripted `Dial` between.

mod circuit;
mod connect;
mod http1;
mod http2;
mod metrics;
mod responses;
mod same;
mod upgrade;
mod way;

use super::*;
use crate::io::{Dial, DialOptions, Socket};
use futures_util::future::LocalBoxFuture;
use http_body_util::BodyExt;
use pillion_config::model::{
    Balance, Circuit, Cluster, Endpoint, EndpointAddress, Metadata, Name, ServicePort, ServiceRef, UpstreamProtocol,
};
use std::{cell::RefCell, future::Future, io, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{LocalSet, spawn_local},
    time::{Instant, sleep},
};

pub(super) type TestBody = std::pin::Pin<Box<dyn Body<Data = Bytes, Error = BodyError>>>;

impl crate::body::Ahead for dyn Body<Data = Bytes, Error = BodyError> {}
pub(super) type TestCluster = Rc<WorkerCluster<TestBody>>;

/// What a dial meets.
pub(super) enum Step {
    Serve(LocalBoxFuture<'static, ()>, DuplexStream),
    Fail(io::ErrorKind),
    Hang,
}

type Plan = Box<dyn Fn(usize, SocketAddr) -> Step>;

/// Dials as the test says: `plan(nth, address)`.
pub(super) struct Script {
    plan: Plan,
    pub(super) dialed: RefCell<Vec<SocketAddr>>,
}

impl Dial for Script {
    fn dial<'a>(&'a self, to: SocketAddr, _: &'a DialOptions) -> LocalBoxFuture<'a, io::Result<Socket>> {
        Box::pin(async move {
            let nth = self.dialed.borrow().len();
            self.dialed.borrow_mut().push(to);
            match (self.plan)(nth, to) {
                Step::Serve(server, ours) => {
                    // A connect takes a moment, so that requests can meet while it is under way.
                    sleep(Duration::from_millis(1)).await;
                    spawn_local(server);
                    Ok(Socket::Memory(ours))
                }
                Step::Fail(kind) => Err(kind.into()),
                Step::Hang => std::future::pending().await,
            }
        })
    }
}

/// A server on the other end of a pipe.
pub(super) fn serve<F: Future<Output = ()> + 'static>(server: impl FnOnce(DuplexStream) -> F) -> Step {
    let (ours, theirs) = duplex(64 * 1024);
    Step::Serve(Box::pin(server(theirs)), ours)
}

pub(super) fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

pub(super) fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

pub(super) fn model(protocol: UpstreamProtocol, ports: &[u16]) -> Cluster {
    Cluster {
        name: Name("test".into()),
        original_destination: None,
        mark: None,
        endpoints: ports
            .iter()
            .map(|port| Endpoint {
                address: EndpointAddress::Ip(address(*port)),
                weight: 1,
                identity: None,
                metadata: None,
            })
            .collect(),
        balance: Balance::RoundRobin,
        protocol,
        tls: None,
        proxy_protocol: None,
        connect_timeout: Duration::from_secs(5),
        tcp_keepalive: None,
        idle_timeout: Duration::from_secs(60),
        idle_connections: 8,
        circuit: Circuit { connections: 100, pending: 100, requests: 100 },
        header_bytes: 32 * 1024,
        headers: 100,
        metadata: None,
    }
}

pub(super) fn cluster(model: Cluster, plan: impl Fn(usize, SocketAddr) -> Step + 'static) -> (TestCluster, Rc<Script>) {
    let script = Rc::new(Script { plan: Box::new(plan), dialed: RefCell::default() });
    let state = ClusterState::new(Arc::new(model));
    let dial = Rc::clone(&script) as Rc<dyn Dial>;
    (WorkerCluster::new(state, dial, Rc::new(Random::seeded(1)), Rc::default(), Rc::default()), script)
}

pub(super) fn empty() -> TestBody {
    Box::pin(Incoming::Empty)
}

pub(super) fn full(text: &'static str) -> TestBody {
    Box::pin(Incoming::Full(Bytes::from_static(text.as_bytes())))
}

pub(super) fn get(path: &str) -> Request<TestBody> {
    Request::builder().uri(format!("http://a.example{path}")).body(empty()).unwrap()
}

pub(super) fn post(path: &str, body: TestBody) -> Request<TestBody> {
    Request::builder().method("POST").uri(format!("http://a.example{path}")).body(body).unwrap()
}

pub(super) fn options() -> SendOptions<'static> {
    SendOptions {
        captured: None,
        downstream: Version::HTTP_11,
        replay: Replay::Possible,
        upgrade: None,
        websocket_key: None,
        host: HostField::Request,
        address: None,
        carrying: None,
        tried: &[],
        on_informational: None,
        announced: None,
        body_stall: Duration::from_secs(30),
    }
}

pub(super) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Lets every task that can run do so.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Reads a head; `None` at the end of the stream.
pub(super) async fn read_head(stream: &mut DuplexStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers every request without a body with `response`.
pub(super) async fn canned(mut stream: DuplexStream, response: &'static str) {
    while read_head(&mut stream).await.is_some() {
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

pub(super) const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

pub(super) fn assert_nothing_held(cluster: &TestCluster) {
    let now = cluster.state().describe();
    assert_eq!((now.pending, now.requests), (0, 0), "{now:?}");
    assert!(now.members.iter().all(|member| member.active == 0), "{now:?}");
}
