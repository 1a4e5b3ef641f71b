//! The application's probes, carried out by the proxy where the application gets its traffic.
//!
//! An injected pod's kubelet asks the proxy (`/app-probes/CONTAINER/KIND` on the probe port), and the proxy asks the
//! application what the manifest's author wrote: with those headers, that scheme, that timeout, and a kubelet's idea of
//! success. Configured by the environment variable that the injection wrote; without it nothing of this exists.

mod grpc;
mod http;
mod read;

pub use read::{Malformed, Probe, Way, read};

use crate::inject::probes::{PATH, Place, VARIABLE, is_hook};
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

/// A hook could not be carried out. A kubelet takes any answer for a hook that was, whatever its status (`lifecycle/handlers.go`,
/// `runHTTPHandler`), so the connection must end without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hook could not be carried out")]
pub struct NotCarriedOut;

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

    /// Asks the application what this path stands for. `headers` are the kubelet's, and `asked` is the address at which it asked
    /// us, the pod's. Dropping it ends the probe.
    ///
    /// # Errors
    /// A hook that the application gave no answer to.
    pub async fn carry_out(
        &self,
        path: &str,
        headers: &HeaderMap,
        asked: SocketAddr,
    ) -> Result<Finding, NotCarriedOut> {
        self.ask(path, headers, asked).await.or_else(|failed| {
            if !is_hook(path) {
                return Ok(failed);
            }
            tracing::warn!(path, why = %String::from_utf8_lossy(&failed.words).trim_end(), "a hook could not be carried out");
            Err(NotCarriedOut)
        })
    }

    /// What the application answers; as an error what is to be said where it does not.
    async fn ask(&self, path: &str, headers: &HeaderMap, asked: SocketAddr) -> Result<Finding, Finding> {
        let Some(probe) = self.0.get(path) else {
            return Err(Finding::failed(StatusCode::NOT_FOUND, "there is no such probe in this pod\n"));
        };
        let application = match probe.place {
            Place::Pod => Application::Pod(canonical(asked)),
            Place::Loopback => Application::Loopback,
        };
        let asked = async {
            match &probe.way {
                Way::Http(request) => http::ask(request, application, probe.port, headers).await,
                Way::Tcp => match application.connect(probe.port).await {
                    Ok(_) => Ok(Finding { status: StatusCode::OK, words: b"connected\n".to_vec() }),
                    Err(error) => Err(error.to_string()),
                },
                Way::Grpc { service } => grpc::ask(service, application, probe.port).await,
                Way::Never(words) => Err(words.clone()),
            }
        };
        match timeout(probe.timeout, asked).await {
            Ok(Ok(finding)) => Ok(finding),
            Ok(Err(words)) => {
                Err(Finding::failed(StatusCode::SERVICE_UNAVAILABLE, &format!("port {}: {words}\n", probe.port)))
            }
            Err(_) => {
                let words = format!("port {}: no answer within {:?}\n", probe.port, probe.timeout);
                Err(Finding::failed(StatusCode::GATEWAY_TIMEOUT, &words))
            }
        }
    }
}

impl Finding {
    fn failed(status: StatusCode, words: &str) -> Self {
        Self { status, words: words.as_bytes().to_vec() }
    }
}

/// Where the application is asked.
#[derive(Debug, Clone, Copy)]
enum Application {
    /// At this address, and nowhere else: nobody else's traffic comes to another one.
    Pod(SocketAddr),
    /// At both loopback addresses: it may listen on one family's alone.
    Loopback,
}

impl Application {
    async fn by<T, F: Future<Output = io::Result<T>>>(
        self,
        port: u16,
        connect: impl Fn(SocketAddr) -> F,
    ) -> io::Result<T> {
        if let Self::Pod(mut address) = self {
            address.set_port(port);
            return connect(address).await;
        }
        match connect((Ipv4Addr::LOCALHOST, port).into()).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // What IPv4 said is what most applications are about.
                connect((Ipv6Addr::LOCALHOST, port).into()).await.map_err(|_| error)
            }
            outcome => outcome,
        }
    }

    async fn connect(self, port: u16) -> io::Result<TcpStream> {
        self.by(port, TcpStream::connect).await
    }

    /// What a request that names no other host is for.
    fn authority(self, port: u16) -> String {
        match self {
            Self::Pod(address) => SocketAddr::new(address.ip(), port).to_string(),
            Self::Loopback => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        }
    }
}

/// A socket of both families has IPv4's addresses as IPv6's; a link-local one keeps its interface.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, address.port()),
        _ => address,
    }
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
