//! An API server of the tests' own: lists and watches EndpointSlices as the real one does, over TLS, and misbehaves on order.
//!
//! A thread for each connection, one request on each, as Pillion's client makes them. What happened is counted, so that a test
//! waits for what the client did and not for time.

use crate::{
    pki::{Authority, Leaf},
    tempdir::TempDir,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::pem::PemObject as _};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How the server misbehaves, towards every request until it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It does not.
    None,
    /// Connections are closed when they are made.
    HangUp,
    /// Requests are read and not answered.
    Silence,
    /// Requests are answered with a Status of this code.
    Refuse(u16),
    /// Lists are no JSON.
    GarbageList,
    /// Lists are JSON and no lists.
    NoList,
    /// Lists break off in the middle.
    CutList,
    /// Lists have no end.
    EndlessList,
    /// Each page of a list names the same next one.
    RepeatedList,
    /// Lists come byte by byte.
    SlowList,
    /// All but the first page of a list is too old to be had.
    ExpiredPages,
    /// Watches are refused with a Status of this code.
    RefuseWatch(u16),
    /// Watches are refused, since this server, of several, has not seen their version yet.
    WatchAhead,
    /// Watches end with an ERROR event of this code.
    WatchError(u16),
    /// Watches say something that is no event.
    GarbageWatch,
    /// Watches say a line that has no end.
    EndlessWatch,
}

/// What clients did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests, those refused included.
    pub requests: usize,
    /// First pages of lists answered.
    pub lists: usize,
    /// Pages of lists answered.
    pub pages: usize,
    /// Most slices in one page.
    pub largest_page: usize,
    /// Watches begun.
    pub watches: usize,
    /// Requests with another token than the right one.
    pub denied: usize,
}

/// An endpoint of a slice.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: String,
    ready: bool,
    terminating: bool,
    zones: Vec<String>,
    nodes: Vec<String>,
}

impl Endpoint {
    /// One that is ready.
    pub fn ready(address: impl ToString) -> Self {
        Self { address: address.to_string(), ready: true, terminating: false, zones: Vec::new(), nodes: Vec::new() }
    }

    /// One that is going away and still serves.
    pub fn terminating(address: impl ToString) -> Self {
        Self { ready: false, terminating: true, ..Self::ready(address) }
    }

    /// One that has not come yet.
    pub fn coming(address: impl ToString) -> Self {
        Self { ready: false, ..Self::ready(address) }
    }

    /// Meant for these zones.
    #[must_use]
    pub fn hinted(mut self, zones: &[&str]) -> Self {
        self.zones = zones.iter().map(ToString::to_string).collect();
        self
    }

    /// Meant for these nodes.
    #[must_use]
    pub fn hinted_for_nodes(mut self, nodes: &[&str]) -> Self {
        self.nodes = nodes.iter().map(ToString::to_string).collect();
        self
    }

    fn json(&self) -> Value {
        let mut endpoint = json!({
            "addresses": [self.address],
            "conditions": { "ready": self.ready, "serving": self.ready || self.terminating, "terminating": self.terminating },
            "targetRef": { "kind": "Pod", "uid": format!("uid-{}", self.address) },
            "nodeName": "node-1",
        });
        if !self.zones.is_empty() {
            let zones: Vec<_> = self.zones.iter().map(|zone| json!({ "name": zone })).collect();
            endpoint["hints"]["forZones"] = zones.into();
        }
        if !self.nodes.is_empty() {
            let nodes: Vec<_> = self.nodes.iter().map(|node| json!({ "name": node })).collect();
            endpoint["hints"]["forNodes"] = nodes.into();
        }
        endpoint
    }
}

/// A running API server; stops on drop.
pub struct ApiServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// The service account of its clients: `token` and `ca.crt`.
    pub account: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    token: String,
    version: u64,
    /// The version below which nothing is remembered.
    oldest: u64,
    /// By service (`NAMESPACE/NAME`) and name.
    slices: BTreeMap<(String, String), Value>,
    services: BTreeMap<String, Value>,
    events: Vec<(u64, String, Value)>,
    trouble: Trouble,
    counts: Counts,
    /// Watches of another age end.
    age: u64,
    stopped: bool,
}

impl ApiServer {
    /// Starts one on loopback.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts one at an address; its certificate is for that one.
    #[must_use]
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("an address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let authority = Authority::new("cluster");
        let issued = authority.issue(&Leaf { addresses: &[address.ip()], ..Leaf::default() });
        let account = TempDir::new();
        account.write("ca.crt", authority.pem());
        account.write("token", "first-token\n");
        let chain = rustls::pki_types::CertificateDer::pem_slice_iter(issued.chain.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("it was made here");
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("it was made here");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .expect("the provider has suites of every version")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key is the certificate's");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                token: "first-token".to_owned(),
                version: 100,
                oldest: 0,
                slices: BTreeMap::new(),
                services: BTreeMap::new(),
                events: Vec::new(),
                trouble: Trouble::None,
                counts: Counts::default(),
                age: 0,
                stopped: false,
            }),
            changed: Condvar::new(),
        });
        let (config, accepting) = (Arc::new(config), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.lock().stopped {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (config, shared) = (Arc::clone(&config), Arc::clone(&accepting));
                // A connection that breaks is the client's affair, or the test's.
                thread::spawn(move || shared.serve(stream, config).ok());
            }
        });
        Self { address, account, shared }
    }

    /// The section `kubernetes` that leads a proxy here.
    #[must_use]
    pub fn section(&self, more: &str) -> String {
        let (address, account) = (self.address, self.account.path().display());
        format!("kubernetes: {{ server: \"https://{address}\", service_account: {account}{more} }}")
    }

    /// Sets the slice `slice` of `service` (`NAMESPACE/NAME`): IPv4 endpoints at port `http`.
    pub fn set(&self, service: &str, slice: &str, port: u16, endpoints: &[Endpoint]) {
        self.set_ports(service, slice, &json!([{ "name": "http", "protocol": "TCP", "port": port }]), endpoints);
    }

    /// The same with ports as written.
    pub fn set_ports(&self, service: &str, slice: &str, ports: &Value, endpoints: &[Endpoint]) {
        let mut state = self.shared.lock();
        state.version += 1;
        let (namespace, name) = service.split_once('/').expect("NAMESPACE/NAME");
        let family = if endpoints.iter().any(|one| one.address.contains(':')) { "IPv6" } else { "IPv4" };
        let object = json!({
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "name": slice, "namespace": namespace, "resourceVersion": state.version.to_string(), "generation": 1,
                "labels": { "kubernetes.io/service-name": name },
                "managedFields": [{ "manager": "kube-controller-manager", "operation": "Update" }],
            },
            "addressType": family,
            "endpoints": endpoints.iter().map(Endpoint::json).collect::<Vec<_>>(),
            "ports": ports,
        });
        let before = state.slices.insert((service.to_owned(), slice.to_owned()), object.clone());
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        let version = state.version;
        state.events.push((version, service.to_owned(), json!({ "type": kind, "object": object })));
        self.shared.changed.notify_all();
    }

    /// Takes a slice away.
    pub fn remove(&self, service: &str, slice: &str) {
        let mut state = self.shared.lock();
        state.version += 1;
        let version = state.version;
        let mut object = state.slices.remove(&(service.to_owned(), slice.to_owned())).expect("the slice is there");
        object["metadata"]["resourceVersion"] = version.to_string().into();
        state.events.push((version, service.to_owned(), json!({ "type": "DELETED", "object": object })));
        self.shared.changed.notify_all();
    }

    /// Sets the ports (number and name) of a service.
    pub fn service(&self, service: &str, ports: &[(u16, &str)]) {
        let (namespace, name) = service.split_once('/').expect("NAMESPACE/NAME");
        let ports: Vec<_> =
            ports.iter().map(|(port, name)| json!({ "name": name, "port": port, "protocol": "TCP" })).collect();
        let object = json!({
            "kind": "Service", "apiVersion": "v1", "metadata": { "name": name, "namespace": namespace },
            "spec": { "ports": ports },
        });
        self.shared.lock().services.insert(service.to_owned(), object);
    }

    /// Takes the Service away; its slices are removed by themselves, as Kubernetes' garbage collector does later.
    pub fn remove_service(&self, service: &str) {
        self.shared.lock().services.remove(service);
    }

    /// Misbehaves from now on; what is open is closed.
    pub fn trouble(&self, trouble: Trouble) {
        let mut state = self.shared.lock();
        state.trouble = trouble;
        state.age += 1;
        self.shared.changed.notify_all();
    }

    /// Closes what is open.
    pub fn disconnect(&self) {
        self.shared.lock().age += 1;
        self.shared.changed.notify_all();
    }

    /// Forgets what happened before now: who watches from an earlier version is told 410.
    pub fn compact(&self) {
        let mut state = self.shared.lock();
        state.oldest = state.version;
        state.events.clear();
    }

    /// Says in each watch that nothing happened up to now.
    pub fn bookmark(&self) {
        let mut state = self.shared.lock();
        state.version += 1;
        let version = state.version;
        let object = json!({ "kind": "EndpointSlice", "metadata": { "resourceVersion": version.to_string() } });
        state.events.push((version, "*".to_owned(), json!({ "type": "BOOKMARK", "object": object })));
        self.shared.changed.notify_all();
    }

    /// From now on only this token is good.
    pub fn expect_token(&self, token: &str) {
        token.clone_into(&mut self.shared.lock().token);
    }

    /// What clients did.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.stopped = true;
            state.age += 1;
        }
        self.shared.changed.notify_all();
        TcpStream::connect(self.address).ok();
    }
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// What was asked for.
struct Asked {
    path: String,
    query: BTreeMap<String, String>,
    token: String,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
        socket.set_nodelay(true)?;
        // A client that goes away is noticed when it is written to, or never: the test's process ends.
        socket.set_write_timeout(Some(Duration::from_secs(30)))?;
        if self.lock().trouble == Trouble::HangUp {
            return Ok(());
        }
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = Stream::new(connection, socket);
        let asked = read(&mut stream)?;
        let (trouble, age, good) = {
            let mut state = self.lock();
            state.counts.requests += 1;
            let good = asked.token == state.token;
            state.counts.denied += usize::from(!good);
            (state.trouble, state.age, good)
        };
        if trouble == Trouble::HangUp {
            return Ok(());
        }
        if !good {
            return status(&mut stream, 401, "Unauthorized");
        }
        match trouble {
            Trouble::Silence => self.wait_while_aged(age),
            Trouble::Refuse(code) => status(&mut stream, code, "the server is in trouble"),
            _ if asked.path.starts_with("/api/v1/") => self.answer_service(&mut stream, &asked),
            _ if asked.query.contains_key("watch") => self.watch(&mut stream, &asked, trouble, age),
            _ => self.list(&mut stream, &asked, trouble, age),
        }
    }

    fn wait_while_aged(&self, age: u64) -> io::Result<()> {
        let mut state = self.lock();
        while state.age == age {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    fn answer_service(&self, stream: &mut Stream, asked: &Asked) -> io::Result<()> {
        let parts: Vec<&str> = asked.path.split('/').collect();
        let [_, "api", "v1", "namespaces", namespace, "services", name] = parts[..] else {
            return status(stream, 404, "the server could not find the requested resource");
        };
        let service = self.lock().services.get(&format!("{namespace}/{name}")).cloned();
        match service {
            Some(service) => whole(stream, 200, &service.to_string()),
            None => status(stream, 404, &format!("services \"{name}\" not found")),
        }
    }

    fn list(&self, stream: &mut Stream, asked: &Asked, trouble: Trouble, age: u64) -> io::Result<()> {
        let service = asked.service();
        let limit = asked.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let from = asked.query.get("continue").cloned().unwrap_or_default();
        if trouble == Trouble::ExpiredPages && !from.is_empty() {
            return status(stream, 410, "The provided continue parameter is too old");
        }
        let body = {
            let mut state = self.lock();
            let mut rest =
                state.slices.iter().filter(|((of, name), _)| *of == service && format!("after/{name}") > from);
            let items: Vec<_> = rest.by_ref().take(limit).map(|(_, slice)| slice.clone()).collect();
            let last = items.last().map(|slice| format!("after/{}", slice["metadata"]["name"].as_str().unwrap_or("")));
            let next = rest.next().and(last).unwrap_or_default();
            let next = if trouble == Trouble::RepeatedList { "after/".to_owned() } else { next };
            let version = state.version;
            state.counts.pages += 1;
            state.counts.lists += usize::from(from.is_empty());
            state.counts.largest_page = state.counts.largest_page.max(items.len());
            json!({
                "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
                "metadata": { "resourceVersion": version.to_string(), "continue": next },
                "items": items,
            })
        };
        let body = body.to_string();
        match trouble {
            Trouble::GarbageList => whole(stream, 200, &body[..body.len() - 1]),
            Trouble::NoList => {
                whole(stream, 200, r#"{"kind":"ConfigMapList","metadata":{"resourceVersion":"1"},"items":[]}"#)
            }
            Trouble::CutList => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.len(), &body[..body.len() / 2])?;
                stream.flush()
            }
            Trouble::EndlessList => {
                begin(stream)?;
                let piece = " ".repeat(64 << 10);
                while self.lock().age == age {
                    chunk(stream, &piece)?;
                }
                Ok(())
            }
            Trouble::SlowList => {
                begin(stream)?;
                for at in body.as_bytes().chunks(512) {
                    chunk(stream, &String::from_utf8_lossy(at))?;
                    thread::sleep(Duration::from_millis(2));
                }
                stream.write_all(b"0\r\n\r\n")?;
                stream.flush()
            }
            _ => whole(stream, 200, &body),
        }
    }

    fn watch(&self, stream: &mut Stream, asked: &Asked, trouble: Trouble, age: u64) -> io::Result<()> {
        let service = asked.service();
        let from = asked.query.get("resourceVersion").and_then(|version| version.parse::<u64>().ok()).unwrap_or(0);
        if let Trouble::RefuseWatch(code) = trouble {
            return status(stream, code, "the server is in trouble");
        }
        if trouble == Trouble::WatchAhead {
            return status(stream, 504, &format!("Timeout: Too large resource version: {from}, current: 1"));
        }
        if from < self.lock().oldest {
            return status(stream, 410, &format!("too old resource version: {from}"));
        }
        begin(stream)?;
        self.lock().counts.watches += 1;
        let end = Instant::now()
            + Duration::from_secs(asked.query.get("timeoutSeconds").and_then(|s| s.parse().ok()).unwrap_or(300));
        match trouble {
            Trouble::WatchError(code) => {
                let object = json!({ "kind": "Status", "status": "Failure", "code": code, "reason": "Expired",
                    "message": format!("too old resource version: {from}"), "metadata": {} });
                return chunk(stream, &format!("{}\n", json!({ "type": "ERROR", "object": object })));
            }
            Trouble::GarbageWatch => return chunk(stream, "{\"type\":\"MODIFIED\",\"object\":{\"meta\n"),
            Trouble::EndlessWatch => {
                let piece = "x".repeat(64 << 10);
                while self.lock().age == age {
                    chunk(stream, &piece)?;
                }
                return Ok(());
            }
            _ => {}
        }
        let mut seen = from;
        loop {
            let mut state = self.lock();
            let news: Vec<(u64, String)> = state
                .events
                .iter()
                .filter(|(version, of, _)| *version > seen && (*of == service || of == "*"))
                .map(|(version, _, event)| (*version, event.to_string()))
                .collect();
            if state.age != age || state.stopped || Instant::now() > end {
                drop(state);
                stream.write_all(b"0\r\n\r\n")?;
                return stream.flush();
            }
            if news.is_empty() {
                state =
                    self.changed.wait_timeout(state, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner).0;
                drop(state);
                continue;
            }
            drop(state);
            for (version, event) in news {
                seen = version;
                // Pieces end anywhere.
                let (one, other) = event.split_at(event.len() / 2);
                chunk(stream, one)?;
                chunk(stream, &format!("{other}\n"))?;
            }
        }
    }
}

impl Asked {
    /// `NAMESPACE/NAME`.
    fn service(&self) -> String {
        let namespace = self.path.split('/').nth(5).unwrap_or_default();
        let selector = self.query.get("labelSelector").map(String::as_str).unwrap_or_default();
        let name = selector.strip_prefix("kubernetes.io/service-name=").expect("the client asks by service");
        format!("{namespace}/{name}")
    }
}

fn read(stream: &mut Stream) -> io::Result<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let mut next = || lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
    let first = next()?;
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut token = String::new();
    loop {
        let line = next()?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            value.trim_start_matches("Bearer ").clone_into(&mut token);
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), unescaped(value))
    };
    Ok(Asked { path: path.to_owned(), query: query.split('&').map(pair).collect(), token })
}

fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: String = bytes.by_ref().take(2).map(char::from).collect();
            out.push(u8::from_str_radix(&digits, 16).expect("two digits follow"));
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).expect("what is escaped is UTF-8")
}

fn whole(stream: &mut Stream, code: u16, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")?;
    stream.flush()
}

fn status(stream: &mut Stream, code: u16, message: &str) -> io::Result<()> {
    let body = json!({ "kind": "Status", "status": "Failure", "code": code, "message": message });
    whole(stream, code, &body.to_string())
}

fn begin(stream: &mut Stream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    stream.flush()
}

fn chunk(stream: &mut Stream, text: &str) -> io::Result<()> {
    write!(stream, "{:x}\r\n{text}\r\n", text.len())?;
    stream.flush()
}

/// Replaces the token of a service account, as a kubelet does.
pub fn renew_token(account: &TempDir, token: &str) {
    let new = account.write("token.new", token);
    fs::rename(new, account.path().join("token")).expect("a file can be renamed");
}
