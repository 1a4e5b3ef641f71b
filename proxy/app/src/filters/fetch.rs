//! Modules from URLs, fetched on the control thread: a plain GET, redirects followed, tried again after a pause.
//!
//! What comes is believed only if its SHA-256 is the one configured, so TLS is for who is not to see which filter runs;
//! its certificates are checked against the system's roots all the same.

use crate::dns::{Names, Outcome};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use pillion_config::model::{Dns, WasmUrl};
use pillion_wasm::{Fetch, loader::MOST_MODULE};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

/// Attempts, with a pause that doubles between them. A configuration waits meanwhile.
const ATTEMPTS: u32 = 3;

/// The first pause.
const PAUSE: Duration = Duration::from_millis(500);

/// Redirects followed.
const REDIRECTS: usize = 5;

/// Where systems keep the roots they trust.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How the loader fetches; names are resolved as `dns` says at that time.
pub(super) fn fetch(dns: &Rc<RefCell<Option<Dns>>>) -> Fetch {
    let dns = Rc::clone(dns);
    Rc::new(move |url: &WasmUrl| {
        let (url, dns) = (url.clone(), dns.borrow().clone());
        Box::pin(async move {
            let dns = dns.ok_or("no configuration says how names are resolved")?;
            let mut words = String::new();
            for attempt in 0..ATTEMPTS {
                if attempt > 0 {
                    sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
                }
                words = match timeout(url.timeout, follow(&url.url, &dns)).await {
                    Ok(Ok(bytes)) => return Ok(bytes),
                    Ok(Err(words)) => words,
                    Err(_) => format!("no answer within {:?}", url.timeout),
                };
                tracing::warn!(url = url.url, "cannot fetch the filter: {words}");
            }
            Err(format!("{}: {words} ({ATTEMPTS} attempts)", url.url))
        })
    })
}

async fn follow(url: &str, dns: &Dns) -> Result<Vec<u8>, String> {
    let mut at: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
    for _ in 0..=REDIRECTS {
        let response = get(&at, dns).await?;
        if response.status().is_redirection() {
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            at = target(&at, location.ok_or("redirected to nowhere")?)?;
            continue;
        }
        if response.status() != StatusCode::OK {
            return Err(format!("answered {}", response.status()));
        }
        let most = usize::try_from(MOST_MODULE).unwrap_or(usize::MAX);
        let body = Limited::new(response.into_body(), most).collect().await;
        return Ok(body.map_err(|error| error.to_string())?.to_bytes().to_vec());
    }
    Err(format!("redirected more than {REDIRECTS} times"))
}

/// Where a redirect leads: another URL, or another path on the same server.
fn target(from: &Uri, location: &str) -> Result<Uri, String> {
    let to: Uri = location.parse().map_err(|error| format!("redirected to {location}: {error}"))?;
    if to.authority().is_some() {
        return Ok(to);
    }
    if !location.starts_with('/') {
        return Err(format!("redirected to {location}, which is neither a URL nor an absolute path"));
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = to.into_parts().path_and_query;
    Uri::from_parts(parts).map_err(|error| error.to_string())
}

async fn get(url: &Uri, dns: &Dns) -> Result<Response<Incoming>, String> {
    let host = url.host().ok_or("it has no host")?;
    let tls = match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err("it begins with neither http:// nor https://".to_owned()),
    };
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let addresses = addresses(host, dns).await?;
    let socket = connect(&addresses, port).await?;
    let request = Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, url.authority().map_or(host, |authority| authority.as_str()))
        .header(header::USER_AGENT, concat!("pillion/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    if tls {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::new(trust()?));
        let socket = connector.connect(name, socket).await.map_err(|error| format!("TLS: {error}"))?;
        exchange(socket, request).await
    } else {
        exchange(socket, request).await
    }
}

async fn exchange<S>(socket: S, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|error| error.to_string())?;
    // It ends with the response, whose error says what became of it.
    tokio::task::spawn_local(async move { connection.await.ok() });
    sender.send_request(request).await.map_err(|error| error.to_string())
}

async fn addresses(host: &str, dns: &Dns) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return Ok(vec![address]);
    }
    let mut names = Names::new(dns.clone());
    names.want(dns, [Arc::from(host)]);
    loop {
        let known = names.addresses(host);
        if !known.is_empty() {
            return Ok(known.to_vec());
        }
        if let Outcome::Failed(failure) = names.next().await.outcome {
            return Err(format!("{host}: {failure}"));
        }
    }
}

async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, String> {
    let mut words = String::new();
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => words = format!("{address}: {error}"),
        }
    }
    Err(words)
}

fn trust() -> Result<ClientConfig, String> {
    let own = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let path = own.into_iter().chain(ROOTS.map(PathBuf::from)).find(|path| path.is_file());
    let path = path.ok_or("no file of trusted roots on this system; set SSL_CERT_FILE")?;
    let pem = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// Serves these answers, one connection each, on a port of this machine.
    fn serve(answers: Vec<String>) -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut socket, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let read = socket.read(&mut request).unwrap();
                assert!(request[..read].starts_with(b"GET /"));
                socket.write_all(answer.as_bytes()).unwrap();
            }
        });
        port
    }

    async fn fetched(port: u16) -> Result<Vec<u8>, String> {
        let dns = pillion_config::simple("127.0.0.1:0".parse().unwrap(), "127.0.0.1:1").unwrap().dns;
        let url = WasmUrl {
            url: format!("http://127.0.0.1:{port}/a.wasm"),
            sha256: [0; 32],
            timeout: Duration::from_secs(20),
        };
        let local = tokio::task::LocalSet::new();
        local.run_until(fetch(&Rc::new(RefCell::new(Some(dns))))(&url)).await
    }

    #[tokio::test]
    async fn a_failure_is_tried_again_and_a_redirect_followed() {
        let port = serve(vec![
            "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "HTTP/1.1 302 Found\r\nLocation: /b.wasm\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwasm".to_owned(),
        ]);
        assert_eq!(fetched(port).await, Ok(b"wasm".to_vec()));
    }

    #[tokio::test]
    async fn what_cannot_be_had_is_told_with_its_reason() {
        let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
        let words = fetched(serve(vec![missing; 3])).await.unwrap_err();
        assert!(words.contains("404") && words.contains("a.wasm"), "{words}");
    }
}
