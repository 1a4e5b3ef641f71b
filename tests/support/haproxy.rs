//! Debian's HAProxy, before the proxy or behind it.

use crate::{need, port, process::Process, tempdir::TempDir, wait};
use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
};

/// A running HAProxy; killed on drop.
#[derive(Debug)]
pub struct Haproxy {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
    _dir: TempDir,
}

impl Haproxy {
    /// Starts it, or skips loudly. `proxies` are the sections behind `defaults`; `{listen}` in them is its address.
    #[must_use]
    pub fn start(proxies: &str) -> Option<Self> {
        let program = need::program("haproxy", "haproxy")?;
        let dir = TempDir::new();
        let address = port::free();
        let proxies = proxies.replace("{listen}", &address.to_string());
        let file = dir.write(
            "haproxy.cfg",
            format!(
                "global\n  nbthread 1\n  maxconn 256\ndefaults\n  timeout connect 5s\n  timeout client 60s\n  \
                 timeout server 60s\n{proxies}\n"
            ),
        );
        let mut process = Process::start(Command::new(program).arg("-db").arg("-f").arg(file));
        wait::until_true("HAProxy to listen", || {
            assert!(process.ended().is_none(), "HAProxy ended: {}", process.stderr());
            TcpStream::connect(address).is_ok()
        });
        Some(Self { address, process, _dir: dir })
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}
