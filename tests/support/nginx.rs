//! Debian's nginx as a server behind the proxy.

use crate::{need, port, process::Process, tempdir::TempDir, wait};
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::Command,
};

/// A running nginx; killed on drop.
#[derive(Debug)]
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
    _dir: TempDir,
}

/// The content of `/big.bin`, in bytes.
pub const BIG: usize = 10 << 20;

impl Nginx {
    /// Starts it, or skips loudly. Serves `/` (text), `/big.bin` ([`BIG`] bytes of the origin's pattern), `/empty`
    /// (204), `/moved` (301), `/chunked` (a file without its length known); closes a connection after `requests`.
    #[must_use]
    pub fn start(requests: usize) -> Option<Self> {
        Self::serving("backlog=1024", |root| {
            format!(
                "keepalive_requests {requests}; root {root};\n\
             location = / {{ return 200 \"hello from nginx\\n\"; }}\n\
             location /load {{ return 200 ok; }}\n\
             location /healthy {{ return 200 ok; }}\n\
             location = /empty {{ return 204; }}\n\
             location = /moved {{ return 301 /elsewhere; }}\n\
             location = /big.bin {{ }}\n\
             location = /chunked {{ ssi on; ssi_types text/plain; types {{ text/plain txt; }} \
             try_files /page.txt =404; }}\n"
            )
        })
    }

    /// Starts it with a server of the test's own, or skips loudly: what stands behind `listen ADDRESS`, and what
    /// stands in `server`, given the directory it runs in.
    #[must_use]
    pub fn serving(listen: &str, server: impl FnOnce(&str) -> String) -> Option<Self> {
        let program = need::program("nginx", "nginx-light")?;
        let dir = TempDir::new();
        let address = port::free();
        let root = dir.path().display().to_string();
        dir.write("big.bin", crate::origin::pattern(0, BIG));
        dir.write("page.txt", "chunk ".repeat(4096));
        let server = server(&root);
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p;\n\
             fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen {address} {listen};\n{server} }} }}\n"
        );
        let file = dir.write("nginx.conf", config);
        // Debian's nginx starts as root and drops to www-data unless it runs as a single process.
        let mut process = Process::start(Command::new(program).arg("-p").arg(dir.path()).arg("-c").arg(file));
        wait::until_true("nginx to listen", || {
            assert!(process.ended().is_none(), "nginx ended: {}", process.stderr());
            TcpStream::connect(address).is_ok()
        });
        Some(Self { address, process, _dir: dir })
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What it logged as errors.
    #[must_use]
    pub fn errors(&self) -> String {
        fs::read_to_string(self._dir.path().join("error.log")).unwrap_or_default()
    }
}
