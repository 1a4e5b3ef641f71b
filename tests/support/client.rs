//! A client that sends exactly the bytes it is given and reads strictly.

use crate::{response::Response, wait::SOON};
use socket2::SockRef;
use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// One connection.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<Sleeper>,
}

/// A socket whose read sleeps for as long as its timeout says. A kernel that redirects past TCP ends a sleep with EAGAIN when it is
/// ended for nothing (`duplex` in `ebpf-redirect/README.md`).
#[derive(Debug)]
struct Sleeper(TcpStream);

impl Read for Sleeper {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let limit = self.0.read_timeout()?;
        let begun = Instant::now();
        loop {
            match self.0.read(room) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && limit.is_some_and(|limit| begun.elapsed() < limit / 2) => {}
                done => return done,
            }
        }
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The peer closed it in order.
    Closed,
    /// The peer reset it.
    Reset,
    /// More bytes came.
    Bytes(Vec<u8>),
    /// Nothing came in the time given.
    Open,
}

impl Client {
    /// Connects. Reads and writes give up after [`SOON`].
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, SOON)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over(stream)
    }

    /// Takes a connected stream.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
        stream.set_read_timeout(Some(SOON)).expect("a socket takes a read timeout");
        stream.set_write_timeout(Some(SOON)).expect("a socket takes a write timeout");
        Self { reader: BufReader::new(Sleeper(stream)) }
    }

    /// Connects with a small receive buffer, so that a slow reader is felt soon.
    pub fn connect_narrow(address: SocketAddr, receive_buffer: usize) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
            .expect("a socket can be made");
        socket.set_recv_buffer_size(receive_buffer).expect("a socket takes a buffer size");
        socket.connect(&address.into()).expect("loopback can be connected to");
        Self::over(socket.into())
    }

    /// The address of this end.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.stream().local_addr().expect("a connected socket has an address")
    }

    /// The socket itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.reader.get_ref().0
    }

    /// How long a read waits from now on.
    pub fn patience(&mut self, limit: Duration) -> &mut Self {
        self.stream().set_read_timeout(Some(limit)).expect("a socket takes a read timeout");
        self
    }

    /// Sends bytes. Panics where the connection is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the connection takes bytes");
        self
    }

    /// Sends bytes, if the connection is still there.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.get_mut().0.write_all(bytes.as_ref())
    }

    /// Reads one response to a request with this method.
    pub fn try_receive(&mut self, method: &str) -> io::Result<Response> {
        Response::read(&mut self.reader, method)
    }

    /// Reads one response to a GET. Panics where none comes.
    pub fn receive(&mut self) -> Response {
        self.receive_for("GET")
    }

    /// Reads one response to a request with this method. Panics where none comes.
    pub fn receive_for(&mut self, method: &str) -> Response {
        self.try_receive(method).unwrap_or_else(|error| panic!("no response to {method}: {error}"))
    }

    /// Sends a whole request and reads its response.
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        let method = request.as_ref().split(|&byte| byte == b' ').next().unwrap_or_default();
        let method = String::from_utf8_lossy(method).into_owned();
        self.send(request).receive_for(&method)
    }

    /// A GET on this connection.
    pub fn get(&mut self, path: &str) -> Response {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// Reads exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("so many bytes come");
        bytes
    }

    /// Reads what is there.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 64 << 10];
        let n = self.reader.read(&mut buffer)?;
        buffer.truncate(n);
        Ok(buffer)
    }

    /// What comes within `limit`.
    pub fn end_within(&mut self, limit: Duration) -> End {
        self.patience(limit);
        let end = match self.some() {
            Ok(bytes) if bytes.is_empty() => End::Closed,
            Ok(bytes) => End::Bytes(bytes),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => End::Open,
            Err(_) => End::Reset,
        };
        self.patience(SOON);
        end
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) -> &mut Self {
        self.stream().shutdown(Shutdown::Write).expect("a connected socket can be shut down");
        self
    }

    /// Resets the connection.
    pub fn reset(self) {
        SockRef::from(self.stream()).set_linger(Some(Duration::ZERO)).expect("a socket takes SO_LINGER");
    }
}

/// A GET on a connection of its own.
#[must_use]
pub fn get(address: SocketAddr, path: &str) -> Response {
    Client::connect(address).exchange(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
}

/// A POST on a connection of its own.
#[must_use]
pub fn post(address: SocketAddr, path: &str, body: &[u8]) -> Response {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    Client::connect(address).exchange([head.as_bytes(), body].concat())
}
