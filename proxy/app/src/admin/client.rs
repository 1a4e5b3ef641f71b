//! Asking a running proxy, for `pillion wait` and `pillion quit`: one small blocking HTTP/1.0 exchange.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// Where a running proxy is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Its admin or probe port.
    Tcp(SocketAddr),
    /// Its admin socket.
    Unix(PathBuf),
}

/// What it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The text.
    pub body: String,
}

/// Not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a proxy: write 127.0.0.1:15000, or unix:/run/pillion.sock")]
pub struct NotAnAddress(String);

/// Bytes of an answer that are read: statuses and reasons are short.
const ANSWER: u64 = 64 * 1024;

impl Address {
    /// Sends a request and reads the answer.
    ///
    /// # Errors
    ///
    /// When nobody answers in `limit`, or not in HTTP.
    pub fn ask(&self, method: &str, path: &str, limit: Duration) -> io::Result<Answer> {
        // The kernel takes no timeout of zero.
        let limit = limit.max(Duration::from_millis(1));
        let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        match self {
            Self::Tcp(address) => {
                let socket = TcpStream::connect_timeout(address, limit)?;
                socket.set_read_timeout(Some(limit))?;
                socket.set_write_timeout(Some(limit))?;
                exchange(socket, &request)
            }
            Self::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(Some(limit))?;
                socket.set_write_timeout(Some(limit))?;
                exchange(socket, &request)
            }
        }
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text)) {
            return Ok(Self::Unix(path.into()));
        }
        let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let port_on_loopback = || text.replace("localhost:", "127.0.0.1:").parse();
        text.parse().or_else(|_| port_on_loopback()).map(Self::Tcp).map_err(|_| NotAnAddress(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn exchange(mut socket: impl Read + Write, request: &str) -> io::Result<Answer> {
    socket.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    socket.take(ANSWER).read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers there is no HTTP server"))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_in_several_ways() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        assert_eq!("127.0.0.1:15000".parse(), Ok(tcp("127.0.0.1:15000")));
        assert_eq!("http://localhost:15000/".parse(), Ok(tcp("127.0.0.1:15000")));
        assert_eq!("[::1]:1".parse(), Ok(tcp("[::1]:1")));
        assert_eq!("unix:/run/p.sock".parse(), Ok(Address::Unix("/run/p.sock".into())));
        assert_eq!("/run/p.sock".parse(), Ok(Address::Unix("/run/p.sock".into())));
        assert!("15000".parse::<Address>().unwrap_err().to_string().contains("127.0.0.1:15000"));
    }

    #[test]
    fn only_http_is_an_answer() {
        let ok = parse(b"HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\nDRAINING").unwrap();
        assert_eq!((ok.status, ok.body.as_str()), (503, "DRAINING"));
        for bytes in [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 xx OK\r\n\r\n"] {
            assert_eq!(parse(bytes), None);
        }
    }
}
