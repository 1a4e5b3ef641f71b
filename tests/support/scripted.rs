//! A server written byte for byte, and a record of exactly what reached it.
//!
//! A script is a function over one connection; it runs on a thread of its own. [`Peer::request`] reads strictly:
//! what it cannot read without doubt it reports as an error, so that nothing ambiguous passes for a request.

use socket2::SockRef;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A server that follows a script.
#[derive(Debug)]
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: AtomicUsize,
    open: AtomicUsize,
    ended: AtomicBool,
    received: Mutex<Vec<Vec<u8>>>,
}

/// The server's end of one connection.
#[derive(Debug)]
pub struct Peer {
    /// How many connections came before it.
    pub number: usize,
    stream: TcpStream,
    reader: BufReader<Recording>,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The request line.
    pub line: String,
    /// Name in lower case and value, in order; bytes above 127 as Latin-1.
    pub headers: Vec<(String, String)>,
    /// Its content, without framing.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Received {
    /// The first value of a header, by lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or("")
    }

    /// The request target.
    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or("")
    }
}

impl Scripted {
    /// Listens and runs the script for every connection.
    pub fn start(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let server = Arc::clone(&shared);
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if server.ended.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let script = Arc::clone(&script);
                let shared = Arc::clone(&server);
                thread::spawn(move || {
                    shared.open.fetch_add(1, Ordering::SeqCst);
                    script(Peer::new(stream, &shared));
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    /// Answers every request with the same bytes, on connections that stay open.
    pub fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |mut peer| {
            while peer.request().is_ok() {
                peer.send(&response);
            }
        })
    }

    /// Answers each connection's first request with these bytes, then closes.
    pub fn answering_once(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |mut peer| {
            if peer.request().is_ok() {
                peer.send(&response);
            }
        })
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections whose script still runs.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Every byte that came, by connection.
    #[must_use]
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.shared
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Every byte that came, connections one after another, as text (Latin-1).
    #[must_use]
    pub fn received_text(&self) -> String {
        self.received()
            .concat()
            .iter()
            .map(|&byte| char::from(byte))
            .collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it has ended.
        drop(TcpStream::connect(self.address));
    }
}

impl Peer {
    fn new(stream: TcpStream, shared: &Arc<Shared>) -> Self {
        // The record's place is the connection's number: both are taken under one lock.
        let number = {
            let mut received = shared
                .received
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            received.push(Vec::new());
            shared.connections.fetch_add(1, Ordering::SeqCst)
        };
        stream
            .set_nodelay(true)
            .expect("a socket takes TCP_NODELAY");
        // Longer than any test, so that a script never ends by itself while the proxy keeps its connection.
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .expect("a socket takes a read timeout");
        let half = stream.try_clone().expect("a socket can be duplicated");
        let recording = Recording {
            stream: half,
            number,
            shared: Arc::clone(shared),
        };
        Self {
            number,
            stream,
            reader: BufReader::new(recording),
        }
    }

    /// Sends bytes. That the other side has gone is no error of the script.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// The address of the other end.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// Reads a request's head only.
    pub fn head(&mut self) -> io::Result<Received> {
        let line = self.line()?;
        let headers = self.fields()?;
        Ok(Received {
            line,
            headers,
            body: Vec::new(),
            trailers: Vec::new(),
        })
    }

    /// Reads a whole request.
    pub fn request(&mut self) -> io::Result<Received> {
        let mut request = self.head()?;
        let length: Vec<_> = request
            .headers
            .iter()
            .filter(|(name, _)| name == "content-length")
            .collect();
        let coding: Vec<_> = request
            .headers
            .iter()
            .filter(|(name, _)| name == "transfer-encoding")
            .collect();
        match (length.as_slice(), coding.as_slice()) {
            ([], []) => {}
            ([(_, length)], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = length.parse().map_err(|_| odd("content-length", length))?;
                request.body = vec![0; length];
                self.reader.read_exact(&mut request.body)?;
            }
            ([], [(_, coding)]) if coding == "chunked" => {
                while self.chunk(&mut request.body)? {}
                request.trailers = self.fields()?;
            }
            _ => return Err(odd("framing", &request.line)),
        }
        Ok(request)
    }

    /// Reads one chunk; false after the last.
    pub fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let line = self.line()?;
        if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(odd("chunk size", &line));
        }
        let size = usize::from_str_radix(&line, 16).map_err(|_| odd("chunk size", &line))?;
        if size == 0 {
            return Ok(false);
        }
        let start = body.len();
        body.resize(start + size, 0);
        self.reader.read_exact(&mut body[start..])?;
        let end = self.line()?;
        if end.is_empty() {
            Ok(true)
        } else {
            Err(odd("end of a chunk", &end))
        }
    }

    /// Reads what is there; empty at the end.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        let bytes = self.reader.fill_buf()?.to_vec();
        self.reader.consume(bytes.len());
        Ok(bytes)
    }

    /// Reads until the other side closes or resets.
    pub fn until_closed(&mut self) {
        while self.some().is_ok_and(|bytes| !bytes.is_empty()) {}
    }

    /// Closes the sending side.
    pub fn half_close(&mut self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Resets the connection.
    pub fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket takes SO_LINGER");
    }

    fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| odd("field line", &line))?;
            fields.push((
                name.to_ascii_lowercase(),
                value.trim_matches([' ', '\t']).to_owned(),
            ));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !line.ends_with(b"\r\n") {
            return Err(odd("line without CRLF", &String::from_utf8_lossy(&line)));
        }
        line.truncate(line.len() - 2);
        if line.contains(&b'\r') || line.contains(&0) {
            return Err(odd("CR or NUL in a line", &String::from_utf8_lossy(&line)));
        }
        Ok(line.iter().map(|&byte| char::from(byte)).collect())
    }
}

/// Keeps every byte that is read.
#[derive(Debug)]
struct Recording {
    stream: TcpStream,
    number: usize,
    shared: Arc<Shared>,
}

impl Read for Recording {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buffer)?;
        let mut received = self
            .shared
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        received[self.number].extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

fn odd(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {text:?}"))
}
