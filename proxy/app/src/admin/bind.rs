//! The sockets of the two ports that are not traffic.

use super::Port;
use pillion_config::model::AdminAddress;
use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::{
        fd::AsFd,
        unix::{fs::FileTypeExt, fs::MetadataExt, net::UnixStream},
    },
    path::{Path, PathBuf},
};
use tokio::net::{TcpListener, UnixListener};

/// Why a port cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there; most often another instance.
    #[error("{what} address {address} is in use by another process (stop it, or give this one another address)")]
    InUse {
        /// `admin` or `probes`.
        what: &'static str,
        /// Where it should listen.
        address: String,
    },
    /// The path is something else than a socket, and is not touched.
    #[error("admin address {0}: a file that is not a socket is there; it is left alone")]
    NotASocket(PathBuf),
    /// Anything else the kernel says.
    #[error("{what} address {address}: cannot listen: {source}")]
    Io {
        /// `admin` or `probes`.
        what: &'static str,
        /// Where it should listen.
        address: String,
        /// What it says.
        source: io::Error,
    },
}

/// A bound port.
#[derive(Debug)]
pub struct Bound {
    /// Which of the two.
    pub port: Port,
    pub(super) listener: Listener,
    address: String,
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// Removes the socket's file when the socket goes, unless another one is there by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl Bound {
    /// Binds the admin address. Call within the control thread's runtime.
    ///
    /// # Errors
    ///
    /// When it cannot listen there.
    pub fn admin(address: &AdminAddress) -> Result<Self, BindError> {
        match address {
            AdminAddress::Tcp(address) => Self::tcp(Port::Admin, *address),
            AdminAddress::Unix(path) => Self::unix(path),
        }
    }

    /// Binds the probes' address. Call within the control thread's runtime.
    ///
    /// # Errors
    ///
    /// When it cannot listen there.
    pub fn probes(address: SocketAddr) -> Result<Self, BindError> {
        Self::tcp(Port::Probes, address)
    }

    fn tcp(port: Port, address: SocketAddr) -> Result<Self, BindError> {
        let bind = || -> io::Result<Self> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
            if address.is_ipv6() {
                socket.set_only_v6(false)?;
            }
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let listener = TcpListener::from_std(socket.into())?;
            let address = listener.local_addr()?.to_string();
            Ok(Self { port, listener: Listener::Tcp(listener), address })
        };
        bind().map_err(|source| failed(port, address.to_string(), source))
    }

    fn unix(path: &Path) -> Result<Self, BindError> {
        let address = path.display().to_string();
        let io = |source| failed(Port::Admin, address.clone(), source);
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
            // A socket file outlives a process that was killed; only one that nobody answers is replaced.
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(BindError::InUse { what: "admin", address: path.display().to_string() });
            }
            Ok(_) => fs::remove_file(path).map_err(io)?,
            Err(_) => {}
        }
        let bind = || -> io::Result<Self> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
            // The file gets the mode that the unbound socket has (unix(7)): there is no moment at which it is wider.
            rustix::fs::fchmod(socket.as_fd(), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
            socket.bind(&SockAddr::unix(path)?)?;
            let inode = fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
            let file = SocketFile { path: path.to_owned(), inode };
            socket.listen(BACKLOG)?;
            let listener =
                UnixListener::from_std(std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket)))?;
            Ok(Self { port: Port::Admin, listener: Listener::Unix { listener, _file: file }, address: address.clone() })
        };
        bind().map_err(io)
    }
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// The address really bound.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).ok().map(|meta| (meta.dev(), meta.ino()));
        if self.inode.is_some() && now == self.inode {
            // Nothing is left to tell anybody at this point.
            fs::remove_file(&self.path).ok();
        }
    }
}

fn failed(port: Port, address: String, source: io::Error) -> BindError {
    let what = match port {
        Port::Admin => "admin",
        Port::Probes => "probes",
    };
    if source.kind() == io::ErrorKind::AddrInUse {
        BindError::InUse { what, address }
    } else {
        BindError::Io { what, address, source }
    }
}
