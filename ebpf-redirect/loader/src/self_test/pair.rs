//! Pairs of connected sockets, both ends here.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

/// How long anything may take that should be there at once. Generous: a machine that is busy with other things, or
/// stopped for a while, must not look like a fault. Only what fails waits so long.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// A property does not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Seen(String),
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
}

/// Names what was being done.
pub(super) trait During<T> {
    fn during(self, what: &'static str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure::Io(what, error.into()))
    }
}

pub(super) fn seen(what: impl Into<String>) -> Failure {
    Failure::Seen(what.into())
}

pub(super) fn listener() -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// Both ends of a connection.
pub(super) struct Pair {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
}

impl Pair {
    /// A connection whose both ends give up after [`SOON`].
    pub(super) fn new(listener: &TcpListener) -> Result<Self, Failure> {
        let client = connect(listener)?;
        let server = accept(listener, &client)?;
        Ok(Self { client, server })
    }

    /// Either end, and its other one.
    pub(super) fn directions(&self) -> [(&'static str, &TcpStream, &TcpStream); 2] {
        [("to the server", &self.client, &self.server), ("to the client", &self.server, &self.client)]
    }
}

pub(super) fn connect(listener: &TcpListener) -> Result<TcpStream, Failure> {
    let address = listener.local_addr().during("getsockname")?;
    let client = TcpStream::connect_timeout(&address, SOON).during("connect")?;
    patient(&client)?;
    Ok(client)
}

/// Accepts until it is the client's: the port is private, but nothing keeps another from trying it.
pub(super) fn accept(listener: &TcpListener, client: &TcpStream) -> Result<TcpStream, Failure> {
    let wanted = client.local_addr().during("getsockname")?;
    loop {
        if !readable(listener)? {
            return Err(seen("a connection is not accepted"));
        }
        let (server, from) = listener.accept().during("accept")?;
        if from == wanted {
            patient(&server)?;
            return Ok(server);
        }
    }
}

fn patient(stream: &TcpStream) -> Result<(), Failure> {
    stream.set_read_timeout(Some(SOON)).during("SO_RCVTIMEO")?;
    stream.set_write_timeout(Some(SOON)).during("SO_SNDTIMEO")?;
    stream.set_nodelay(true).during("TCP_NODELAY")
}

/// Waits until something can be read, at most [`SOON`].
pub(super) fn readable(socket: &impl std::os::fd::AsFd) -> Result<bool, Failure> {
    let mut waited = [PollFd::new(socket, PollFlags::IN)];
    let limit = Timespec::try_from(SOON).map_err(|error| seen(error.to_string()))?;
    Ok(poll(&mut waited, Some(&limit)).during("poll")? > 0)
}
