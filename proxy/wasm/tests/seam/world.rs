//! A worker with one listener whose requests pass wasm filters, and the origin behind it.

use pillion_config::model::{
    AllowedCapabilities, AllowedClusters, BodyBuffer, Config, FailPolicy, Filter, FilterIndex, FilterKind, Name, Node,
    PathMatch, Route, Stands, Wasm, WasmLimits, WasmSource,
};
use pillion_core::{
    downstream::limit::{Limit, PressureGauge},
    exchange::filter::{FilterSet, Native},
    io::{Listening, Tcp},
    snapshot::Snapshot,
    worker::{Capturing, Process, Source, Worker},
};
use pillion_wasm::{Compiler, Directory, WasmLoader};
use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};

/// A filter of a test.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) fail: FailPolicy,
    pub(crate) allowed: AllowedClusters,
    pub(crate) configuration: &'static str,
    /// Bytes of an answer to a call.
    pub(crate) call_response: usize,
    /// CPU time of a callback.
    pub(crate) callback: Duration,
    /// Whether requests pass it.
    pub(crate) chained: bool,
    /// Lines a second.
    pub(crate) log_lines: u32,
    /// `xds.node.id`.
    pub(crate) node: &'static str,
}

impl Guest {
    pub(crate) fn new(name: &'static str, text: String) -> Self {
        Self {
            name,
            text,
            fail: FailPolicy::Closed,
            allowed: AllowedClusters::All,
            configuration: "",
            call_response: 1 << 20,
            callback: Duration::from_millis(50),
            chained: true,
            log_lines: 1000,
            node: "",
        }
    }

    pub(crate) fn configured(self, configuration: &'static str) -> Self {
        Self { configuration, ..self }
    }

    pub(crate) fn open(self) -> Self {
        Self { fail: FailPolicy::Open, ..self }
    }
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) struct World {
    address: SocketAddr,
    /// Heads and bodies of requests as the origin got them.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    upstream: SocketAddr,
    loader: WasmLoader,
    worker: Rc<Worker>,
    in_force: RefCell<Arc<Snapshot>>,
}

/// A guest: the ABI's least, what `imports` names, `body`. Every import is a function that returns a word.
pub(crate) fn guest(imports: &[(&str, usize)], body: &str) -> String {
    let imports: String = imports
        .iter()
        .map(|(name, words)| {
            let params = "i32 ".repeat(*words);
            format!("(import \"env\" \"proxy_{name}\" (func ${name} (param {params}) (result i32)))\n")
        })
        .collect();
    format!(
        r#"(module {imports}
            (memory (export "memory") 2)
            (global $at (mut i32) (i32.const 65536))
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
                (global.get $at)
                (global.set $at (i32.add (global.get $at) (local.get $size)))
                (if (i32.gt_u (global.get $at) (i32.const 120000)) (then (global.set $at (i32.const 65536)))))
            {body})"#
    )
}

/// Runs a test in a world with these filters.
pub(crate) fn run<F: Future<Output = ()>>(guests: Vec<Guest>, test: impl FnOnce(Rc<World>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async move {
        let world = Rc::new(World::start(guests).await);
        tokio::time::timeout(Duration::from_secs(120), test(world)).await.expect("the test ends");
    });
}

impl World {
    async fn start(guests: Vec<Guest>) -> Self {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = origin.local_addr().unwrap();
        spawn_local(serve(origin, Arc::clone(&seen)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(config(address, upstream, &guests));
        let fetch = Rc::new(|_: &_, _: &_| {
            Box::pin(async { Err("nothing is fetched here".to_owned().into()) }) as pillion_wasm::Fetching
        });
        let wasm = WasmLoader::new(Compiler::Here, fetch).with_directory(Directory::memory());
        let filters = FilterSet::load(&config, None, &Native { other: Some(&wasm) }).await;
        let filters = filters.unwrap_or_else(|errors| panic!("{errors:?}"));
        let name = config.listeners[0].name.clone();
        let snapshot = Arc::new(Snapshot::compile(config, None, None, filters));
        let process = Arc::new(Process {
            connections: Limit::new(100),
            pressure: PressureGauge::default(),
            unfinished: Arc::default(),
            lost: Arc::default(),
            capture: Capturing::default(),
            redirect: Arc::default(),
        });
        let worker = Worker::new(process, Rc::new(Tcp::default()), Arc::clone(&snapshot));
        let accept = Box::new(Listening::new(listener, Arc::default()).unwrap());
        let in_force = Arc::clone(&snapshot);
        worker.apply(snapshot, vec![Source { listener: name, accept }]);
        Self { address, seen, upstream, loader: wasm, worker, in_force: RefCell::new(in_force) }
    }

    /// Takes other filters into use, as a reload does.
    pub(crate) async fn reload(&self, guests: Vec<Guest>) {
        let config = Arc::new(config(self.address, self.upstream, &guests));
        let before = Arc::clone(&self.in_force.borrow());
        let native = Native { other: Some(&self.loader) };
        let filters = FilterSet::load(&config, Some(&before), &native).await;
        let filters = filters.unwrap_or_else(|errors| panic!("{errors:?}"));
        let snapshot = Arc::new(Snapshot::compile(config, Some(&before), None, filters));
        self.in_force.replace(Arc::clone(&snapshot));
        self.worker.apply(snapshot, Vec::new());
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, head: &str, body: &str) -> Answer {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        self.send(&[&format!("{head}\r\nHost: test\r\n{length}Connection: close\r\n\r\n{body}")]).await
    }

    /// A request as it is on the wire, the last of its connection; after each part but the last it is waited for a moment.
    pub(crate) async fn send(&self, parts: &[&str]) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            // One that is answered early is not read to its end.
            socket.write_all(part.as_bytes()).await.ok();
        }
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.ok();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1"), "").await
    }

    /// Asks until an answer is as wanted; an answer that never is fails the test by its time.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the origin saw last.
    pub(crate) fn last(&self) -> String {
        self.seen.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

fn config(address: SocketAddr, upstream: SocketAddr, guests: &[Guest]) -> Config {
    let mut config = pillion_config::simple(address, &upstream.to_string()).unwrap();
    let filter = |guest: &Guest| {
        let module = wat::parse_str(&guest.text).unwrap_or_else(|error| panic!("{error}"));
        Arc::new(Filter {
            name: Name(guest.name.into()),
            route: None,
            kind: FilterKind::Wasm(Box::new(Wasm {
                source: WasmSource::Inline(module.into()),
                vm_id: String::new(),
                root_id: "root".to_owned(),
                vm_configuration: Vec::new(),
                configuration: guest.configuration.as_bytes().to_vec(),
                environment: Vec::new(),
                host_environment: Vec::new(),
                allowed_clusters: guest.allowed.clone(),
                allowed_capabilities: AllowedCapabilities::All,
                limits: WasmLimits {
                    callback: guest.callback,
                    start: Duration::from_secs(5),
                    memory: 16 << 20,
                    calls: 10,
                    call_response: guest.call_response,
                    restarts: 1000,
                    log_lines: guest.log_lines,
                },
                allow_on_headers_stop_iteration: false,
                node: Arc::new(Node { id: Some(guest.node.to_owned()), ..Node::default() }),
            })),
            fail: guest.fail,
            body_buffer: BodyBuffer::default(),
            stands: Stands::default(),
        })
    };
    config.filters = guests.iter().map(filter).collect();
    let all: Arc<[FilterIndex]> = (0..guests.len()).filter(|at| guests[*at].chained).map(FilterIndex).collect();
    let listener = Arc::make_mut(&mut config.listeners[0]);
    Arc::make_mut(&mut listener.routes[0]).filters = Some(all);
    let mut second = Route::clone(&listener.routes[0]);
    (second.name, second.matcher.path) = (Name("second".into()), PathMatch::Exact("/second".to_owned()));
    listener.routes.insert(0, Arc::new(second));
    config
}

/// Answers every request with its own body, or "nothing"; what ends within its body is seen as `cut`.
async fn serve(listener: TcpListener, seen: Arc<Mutex<Vec<String>>>) {
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let seen = Arc::clone(&seen);
        spawn_local(async move {
            let mut bytes = Vec::new();
            loop {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        return;
                    }
                    continue;
                };
                let length =
                    head.to_ascii_lowercase().split("content-length: ").nth(1).map_or(0, |rest| {
                        rest.split("\r\n").next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
                    });
                let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
                if body.len() < length || (chunked && !(body.contains("\r\n0\r\n") && body.ends_with("\r\n\r\n"))) {
                    if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        seen.lock().unwrap().push(format!("cut {head}"));
                        return;
                    }
                    continue;
                }
                seen.lock().unwrap().push(text.clone());
                let body = if length > 0 { &body[..length] } else { "nothing" };
                let answer =
                    format!("HTTP/1.1 200 OK\r\nx-origin: yes\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                bytes.clear();
            }
        });
    }
}
