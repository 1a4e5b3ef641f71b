//! A worker whose sockets are pipes and whose clock stands still: one listener with the input's guest, one with another.

use crate::guest;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use pillion_config::{
    SourceName,
    model::{
        AllowedCapabilities, AllowedClusters, BodyBuffer, Config, FailPolicy, Filter, FilterIndex, FilterKind,
        ListenerProtocol, Name, Stands, WasmLimits,
    },
    parse,
};
use pillion_core::{
    downstream::limit::{Limit, PressureGauge},
    exchange::filter::{Factory, FilterSet, Loader, Loading},
    io::{Accept, Dial, DialOptions, Socket},
    snapshot::Snapshot,
    worker::{Process, Source, Worker},
};
use pillion_wasm::{
    engine::{self, Runtime},
    filter::WasmFactory,
    module::Module,
    plugin::{MachineSpec, Plugin},
    shared::Shared,
    worker::{Key, Place},
};
use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::spawn_local,
    time::timeout,
};

/// In a field of the other stream; nowhere else.
pub(crate) const SECRET: &str = "4f8c1d-nobody-elses";

/// A guest's memory at most.
const MEMORY: usize = 1 << 20;

/// What comes through the guest's listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Post,
    Trailers,
    Twice,
    Tcp,
}

impl Kind {
    pub(crate) fn of(byte: u8) -> Self {
        match byte % 5 {
            0 => Self::Get,
            1 => Self::Post,
            2 => Self::Trailers,
            3 => Self::Twice,
            _ => Self::Tcp,
        }
    }

    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Get => b"GET /a/b?c=1 HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nconnection: close\r\n\r\n",
            Self::Post => {
                b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nexpect: 100-continue\r\nconnection: close\r\n\r\nsome body"
            }
            Self::Trailers => {
                b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nte: trailers\r\nconnection: close\r\n\r\n\
                  4\r\nsome\r\n5\r\n body\r\n0\r\nx-t: 1\r\n\r\n"
            }
            Self::Twice => {
                b"POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbodyGET /2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
            }
            Self::Tcp => b"opaque bytes",
        }
    }
}

pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    guests: Queue,
    others: Queue,
    received: Rc<RefCell<Vec<u8>>>,
    _worker: Rc<Worker>,
}

/// What is made once: compiling takes long.
struct Made {
    runtime: &'static Runtime,
    module: Arc<Module>,
    http: Config,
    tcp: Config,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let bytes = wat::parse_str(guest::text()).unwrap();
    let runtime = engine::runtime().unwrap();
    let artefact = engine::compile(&bytes).unwrap();
    // SAFETY: made just now by this process.
    let compiled = unsafe { wasmtime::Module::deserialize(&runtime.engine, artefact) }.unwrap();
    Made {
        runtime,
        module: Arc::new(Module::link(runtime, &compiled, &AllowedCapabilities::All).unwrap()),
        http: config(false),
        tcp: config(true),
    }
});

fn config(tcp: bool) -> Config {
    let routes = "    routes:\n      - match: { prefix: / }\n        cluster: up\n        timeout: 3s\n        idle_timeout: 2s\n";
    let guests = if tcp { "    tcp: { cluster: up, idle_timeout: 2s }\n" } else { routes };
    let text = format!(
        "listeners:\n  - name: guests\n    address: 127.0.0.1:8080\n{guests}  - name: others\n    address: \
         127.0.0.1:8081\n{routes}clusters:\n  - name: up\n    endpoints: [\"10.0.0.1:80\"]\n"
    );
    let missing = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let mut config = match parse(&SourceName::new(Path::new("fuzz.yaml")), &text, &missing) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}\n{text}"),
    };
    for (at, name) in ["guest", "keeper"].into_iter().enumerate() {
        config.filters.push(Arc::new(Filter {
            name: Name(name.into()),
            route: None,
            kind: FilterKind::Headers(Vec::new()),
            fail: FailPolicy::Closed,
            body_buffer: BodyBuffer::both(64 << 10),
            stands: Stands::default(),
        }));
        let chain: Arc<[FilterIndex]> = Arc::new([FilterIndex(at)]);
        let listener = Arc::make_mut(&mut config.listeners[at]);
        for route in &mut listener.routes {
            Arc::make_mut(route).filters = Some(Arc::clone(&chain));
        }
        match &mut listener.protocol {
            ListenerProtocol::Http => {}
            ListenerProtocol::Opaque(tcp) | ListenerProtocol::Detect(tcp) => tcp.filters = Some(chain),
        }
    }
    config
}

/// Makes both filters of the one module; what they do is their machines' configuration.
struct Programs<'a> {
    guest: &'a [u8],
    keeper: Vec<u8>,
    shared: Arc<Shared>,
}

impl Loader for Programs<'_> {
    fn load<'a>(&'a self, filter: &'a Arc<Filter>, _: Option<&'a Arc<dyn Factory>>) -> Loading<'a> {
        let program = if filter.name.as_str() == "guest" { self.guest } else { &self.keeper };
        let spec = Arc::new(MachineSpec {
            vm_id: filter.name.as_str().to_owned(),
            configuration: Bytes::copy_from_slice(program),
            environment: vec![b"NAME=value".to_vec()],
            shared: Arc::clone(&self.shared),
            memory: MEMORY,
            ..MachineSpec::default()
        });
        let plugin = Arc::new(Plugin {
            name: filter.name.clone(),
            root_id: "root".to_owned(),
            configuration: Bytes::from_static(b"{}"),
            allowed_clusters: AllowedClusters::All,
            limits: WasmLimits {
                callback: Duration::from_secs(2),
                start: Duration::from_secs(2),
                memory: MEMORY,
                calls: 4,
                call_response: 4096,
                restarts: 5,
                log_lines: 1000,
            },
            fail: FailPolicy::Closed,
            allow_on_headers_stop_iteration: program.len() % 2 == 1,
        });
        let key = Key {
            module: [0; 32],
            vm_id: spec.vm_id.clone(),
            configuration: program.to_vec(),
            environment: Vec::new(),
            memory: MEMORY,
            capabilities: AllowedCapabilities::All,
            node: Arc::default(),
        };
        let factory = WasmFactory::new(MADE.runtime, Arc::clone(&MADE.module), plugin, spec, key, Place::Shared, None);
        Box::pin(async move { Ok(Arc::new(factory) as Arc<dyn Factory>) })
    }
}

impl World {
    pub(crate) async fn start(program: &[u8], kind: Kind) -> Self {
        let shared = Arc::<Shared>::default();
        let config = Arc::new(if kind == Kind::Tcp { MADE.tcp.clone() } else { MADE.http.clone() });
        let programs = Programs { guest: program, keeper: guest::keeper(), shared: Arc::clone(&shared) };
        let filters = FilterSet::load(&config, None, &programs).await.unwrap();
        let snapshot = Arc::new(Snapshot::compile(config, None, None, filters));
        let process = Arc::new(Process {
            connections: Limit::new(100),
            pressure: PressureGauge::default(),
            unfinished: Arc::default(),
            lost: Arc::default(),
            capture: Default::default(),
            redirect: Default::default(),
        });
        let received = Rc::<RefCell<Vec<u8>>>::default();
        let dial = Rc::new(Echo { received: Rc::clone(&received), opaque: kind == Kind::Tcp });
        let worker = Worker::new(process, dial, Arc::clone(&snapshot));
        let (guests, others) = (Queue::default(), Queue::default());
        worker.apply(snapshot, vec![guests.source("guests"), others.source("others")]);
        Self { shared, guests, others, received, _worker: worker }
    }

    /// A request through the other plugin.
    pub(crate) async fn kept(&self) -> Vec<u8> {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-secret: {SECRET}\r\nconnection: close\r\n\r\n");
        let answer = send(&self.others, request.as_bytes()).await;
        self.received.borrow_mut().clear();
        answer
    }

    /// What goes through the guest: what came back, and what the upstream got.
    pub(crate) async fn ask(&self, kind: Kind) -> (Vec<u8>, Vec<u8>) {
        let answer = send(&self.guests, kind.bytes()).await;
        (answer, self.received.take())
    }
}

/// What comes back until the connection ends, which it must. The time is the runtime's own, which passes at once.
async fn send(to: &Queue, bytes: &[u8]) -> Vec<u8> {
    let mut client = to.connect();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(30), async {
        let (mut reader, mut writer) = tokio::io::split(&mut client);
        let writing = async {
            writer.write_all(bytes).await.ok();
        };
        tokio::join!(writing, reader.read_to_end(&mut answer)).1.ok();
    })
    .await
    .expect("a connection ends within its timeouts");
    answer
}

/// Upstreams: each sends back what it gets, as an answer to each request or as it is.
struct Echo {
    received: Rc<RefCell<Vec<u8>>>,
    opaque: bool,
}

impl Dial for Echo {
    fn dial<'a>(&'a self, _: SocketAddr, _: &'a DialOptions) -> LocalBoxFuture<'a, io::Result<Socket>> {
        let (ours, theirs) = duplex(64 * 1024);
        spawn_local(echo(theirs, Rc::clone(&self.received), self.opaque));
        Box::pin(async move { Ok(Socket::Memory(ours)) })
    }
}

async fn echo(mut socket: DuplexStream, received: Rc<RefCell<Vec<u8>>>, opaque: bool) {
    let mut buffer = [0; 4096];
    let mut seen = Vec::new();
    while let Ok(1..) = socket.read(&mut buffer).await.inspect(|read| seen.extend_from_slice(&buffer[..*read])) {
        received.borrow_mut().extend_from_slice(&seen);
        // The other plugin's listener speaks HTTP beside an opaque one too.
        let opaque = opaque && !seen.starts_with(b"GET ");
        // Any end of a head is answered; bodies are not looked at.
        let answered = opaque || seen.windows(4).any(|four| four == b"\r\n\r\n");
        if !answered {
            continue;
        }
        let answer = if opaque {
            seen.clone()
        } else {
            b"HTTP/1.1 200 OK\r\nx-origin: 1\r\ncontent-length: 5\r\n\r\nhello".to_vec()
        };
        seen.clear();
        if socket.write_all(&answer).await.is_err() || opaque {
            return;
        }
    }
}

/// A listener in memory.
#[derive(Clone, Default)]
struct Queue(Rc<RefCell<Waiting>>);

#[derive(Default)]
struct Waiting {
    sockets: VecDeque<Socket>,
    waker: Option<Waker>,
}

impl Queue {
    fn source(&self, listener: &str) -> Source {
        Source { listener: Name(listener.into()), accept: Box::new(self.clone()) }
    }

    fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        let mut waiting = self.0.borrow_mut();
        waiting.sockets.push_back(Socket::Memory(theirs));
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
        ours
    }
}

impl Accept for Queue {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        let mut waiting = self.0.borrow_mut();
        match waiting.sockets.pop_front() {
            Some(socket) => Poll::Ready(Ok((socket, ([192, 0, 2, 7], 5000).into()))),
            None => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn local_addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], 8080).into()
    }
}
