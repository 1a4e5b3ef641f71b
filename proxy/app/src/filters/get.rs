//! One attempt to fetch a module: a plain GET, redirects followed. Bounded in bytes here and in time by who calls.
//!
//! What comes is believed only if its SHA-256 is the one configured, so TLS is for who is not to see which filter runs;
//! its certificates are checked against the system's roots all the same.

use crate::{
    dns::{Names, Outcome},
    outgoing::{self, Answer, Stream, Tls},
};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Full};
use pillion_config::model::Dns;
use pillion_wasm::loader::MOST_MODULE;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

/// Redirects followed.
const REDIRECTS: usize = 5;

/// Where systems keep the roots they trust.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why an attempt failed, in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The next one may not, but not before what the server wishes (Retry-After).
    Now(String, Option<Duration>),
    /// So would every other one, until somebody changes something.
    ForGood(String),
}

fn now(words: impl ToString) -> Failed {
    Failed::Now(words.to_string(), None)
}

fn for_good(words: impl ToString) -> Failed {
    Failed::ForGood(words.to_string())
}

/// Fetches what the URL leads to; `most` is what the caller gives it, of which each address of a host has a share.
///
/// # Errors
/// Why it cannot be had.
pub(super) async fn follow(url: &str, dns: &Dns, most: Duration) -> Result<Vec<u8>, Failed> {
    let mut at: Uri = url.parse().map_err(|error| for_good(format!("not a URL: {error}")))?;
    for _ in 0..=REDIRECTS {
        let answer = get(&at, dns, most).await?;
        let status = answer.head.status;
        if status.is_redirection() {
            let location = answer.head.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
            at = target(&at, location.ok_or_else(|| for_good("redirected to nowhere"))?).map_err(Failed::ForGood)?;
            continue;
        }
        if status != StatusCode::OK {
            let wish = answer.head.headers.get(header::RETRY_AFTER);
            let wish = wish.and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
            let words = format!("answered {status}");
            return Err(if may_change(status) { Failed::Now(words, wish) } else { Failed::ForGood(words) });
        }
        return body(answer).await;
    }
    Err(for_good(format!("redirected more than {REDIRECTS} times")))
}

/// Whether a server that answers this may answer otherwise soon: as Istio's agent has it, and where it is busy.
fn may_change(status: StatusCode) -> bool {
    let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    let never = [
        StatusCode::NOT_IMPLEMENTED,
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        StatusCode::NETWORK_AUTHENTICATION_REQUIRED,
    ];
    busy.contains(&status) || (status.is_server_error() && !never.contains(&status))
}

async fn body(mut answer: Answer) -> Result<Vec<u8>, Failed> {
    let too_large = || for_good(format!("it is larger than {} MiB", MOST_MODULE >> 20));
    let length = answer.head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > MOST_MODULE) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = answer.body.frame().await {
        let frame = frame.map_err(|error| now(format!("the answer broke off: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        if (bytes.len() + data.len()) as u64 > MOST_MODULE {
            return Err(too_large());
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
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

async fn get(url: &Uri, dns: &Dns, most: Duration) -> Result<Answer, Failed> {
    let host = url.host().ok_or_else(|| for_good("it has no host"))?;
    let tls = match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => {
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(for_good)?;
            Some(Tls { config: Arc::new(trust().map_err(Failed::ForGood)?), name })
        }
        Some(scheme) if *scheme == Scheme::HTTP => None,
        _ => return Err(for_good("it begins with neither http:// nor https://")),
    };
    let port = url.port_u16();
    let addresses = addresses(host, dns).await.map_err(now)?;
    let stream = connect(&addresses, port.unwrap_or(if tls.is_some() { 443 } else { 80 }), tls.as_ref(), most).await?;
    let request = Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
        .header(header::USER_AGENT, concat!("pillion/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Full::default())
        .map_err(for_good)?;
    outgoing::send(stream, request as Request<Full<Bytes>>).await.map_err(now)
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

/// Connects to the first that takes it; one that is silent leaves time for the others.
async fn connect(addresses: &[IpAddr], port: u16, tls: Option<&Tls>, most: Duration) -> Result<Stream, Failed> {
    let share = most / u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
    let mut words = String::new();
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match timeout(share, outgoing::connect(address, tls)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => words = format!("{address}: {error}"),
            Err(_) => words = format!("{address}: no connection within {share:?}"),
        }
    }
    Err(now(words))
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
