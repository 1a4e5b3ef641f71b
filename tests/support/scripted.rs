//! A server written byte for byte, and a record of exactly what reached it.
//!
//! A script is a function over one connection; it runs on a thread of its own. [`Peer::request`] reads strictly:
//! what it cannot read without doubt it reports as an error, so that nothing ambiguous passes for a request.

use crate::received::{Received, read_chunk};
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

impl Scripted {
    /// Listens and runs the script for every connection.
    pub fn start(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
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
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every byte that came, connections one after another, as text (Latin-1).
    #[must_use]
    pub fn received_text(&self) -> String {
        self.received().concat().iter().map(|&byte| char::from(byte)).collect()
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
            let mut received = shared.received.lock().unwrap_or_else(PoisonError::into_inner);
            received.push(Vec::new());
            shared.connections.fetch_add(1, Ordering::SeqCst)
        };
        stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
        // Longer than any test, so that a script never ends by itself while the proxy keeps its connection.
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket takes a read timeout");
        let half = stream.try_clone().expect("a socket can be duplicated");
        let recording = Recording { stream: half, number, shared: Arc::clone(shared) };
        Self { number, stream, reader: BufReader::new(recording) }
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
        Received::read_head(&mut self.reader)
    }

    /// Reads a whole request.
    pub fn request(&mut self) -> io::Result<Received> {
        Received::read(&mut self.reader)
    }

    /// Reads one chunk; false after the last.
    pub fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        read_chunk(&mut self.reader, body)
    }

    /// Waits for the first byte of what comes next; false at the end of the connection.
    pub fn waits_for_bytes(&mut self) -> bool {
        self.reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty())
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
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket takes SO_LINGER");
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
        let mut received = self.shared.received.lock().unwrap_or_else(PoisonError::into_inner);
        received[self.number].extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}
