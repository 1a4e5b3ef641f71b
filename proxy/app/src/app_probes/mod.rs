//! The application's probes, carried out by the proxy over loopback.
//!
//! An injected pod's kubelet asks the proxy (`/app-probes/CONTAINER/KIND` on the probe port), and the proxy asks the
//! application what the manifest's author wrote: with those headers, that scheme, that timeout, and a kubelet's idea of
//! success. Configured by the environment variable that the injection wrote; without it nothing of this exists.

mod grpc;
mod http;
mod read;

pub use read::{Malformed, Probe, Way, read};

use crate::inject::probes::{PATH, VARIABLE};
use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use std::{
    collections::HashMap,
    env,
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};

/// The probes of a pod, by path.
#[derive(Debug, Default)]
pub struct AppProbes(HashMap<String, Probe>);

/// What a kubelet is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its status: the application's own, where it has one.
    pub status: StatusCode,
    /// A word about it, which kubelets show in events.
    pub words: Vec<u8>,
}

impl AppProbes {
    /// The probes that the environment names; none where it names none.
    ///
    /// # Errors
    /// Where the variable is there and is not what an injection writes.
    pub fn of_environment() -> Result<Self, Malformed> {
        match env::var(VARIABLE) {
            Err(env::VarError::NotPresent) => Ok(Self::default()),
            Err(env::VarError::NotUnicode(_)) => Err(Malformed("not UTF-8 text".to_owned())),
            Ok(text) => read(&text),
        }
    }

    /// Whether a path is one of a probe, of this pod or not.
    #[must_use]
    pub fn has(path: &str) -> bool {
        path.starts_with(PATH)
    }

    /// The longest time that one of them may take; zero where there are none.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.0.values().map(|probe| probe.timeout).max().unwrap_or_default()
    }

    /// Asks the application what this path stands for. `headers` are the kubelet's. Dropping it ends the probe.
    pub async fn carry_out(&self, path: &str, headers: &HeaderMap) -> Finding {
        let Some(probe) = self.0.get(path) else {
            return Finding::failed(StatusCode::NOT_FOUND, "there is no such probe in this pod\n");
        };
        let asked = async {
            match &probe.way {
                Way::Http(request) => http::ask(request, probe.port, headers).await,
                Way::Tcp => match connect(probe.port).await {
                    Ok(_) => Ok(Finding { status: StatusCode::OK, words: b"connected\n".to_vec() }),
                    Err(error) => Err(error.to_string()),
                },
                Way::Grpc { service } => grpc::ask(service, probe.port).await,
                Way::Never(words) => Err(words.clone()),
            }
        };
        match timeout(probe.timeout, asked).await {
            Ok(Ok(finding)) => finding,
            Ok(Err(words)) => {
                Finding::failed(StatusCode::SERVICE_UNAVAILABLE, &format!("port {}: {words}\n", probe.port))
            }
            Err(_) => {
                let words = format!("port {}: no answer within {:?}\n", probe.port, probe.timeout);
                Finding::failed(StatusCode::GATEWAY_TIMEOUT, &words)
            }
        }
    }
}

impl Finding {
    fn failed(status: StatusCode, words: &str) -> Self {
        Self { status, words: words.as_bytes().to_vec() }
    }
}

/// Tries both loopback addresses: an application may listen on one family's alone.
async fn either<T, F: Future<Output = io::Result<T>>>(port: u16, connect: impl Fn(SocketAddr) -> F) -> io::Result<T> {
    match connect((Ipv4Addr::LOCALHOST, port).into()).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // What IPv4 said is what most applications are about.
            connect((Ipv6Addr::LOCALHOST, port).into()).await.map_err(|_| error)
        }
        outcome => outcome,
    }
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    either(port, TcpStream::connect).await
}

/// The host part of the kubelet's `Host` with the application's port: what it would have asked for.
fn authority(headers: &HeaderMap, port: u16) -> HeaderValue {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let end = host.rfind(':').filter(|colon| !host[*colon..].contains(']')).unwrap_or(host.len());
    let local = || HeaderValue::from_static("localhost");
    HeaderValue::from_str(&format!("{}:{port}", &host[..end])).unwrap_or_else(|_| local())
}

#[cfg(test)]
mod tests;
