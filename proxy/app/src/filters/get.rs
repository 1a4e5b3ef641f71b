//! One attempt to fetch a module: a plain GET, redirects followed. Bounded in bytes here and in time by who calls.
//!
//! What comes is believed only if its SHA-256 is the one configured, so TLS is for who is not to see which filter runs;
//! its certificates are checked against the system's roots all the same. No word of an error has a URL's user, password or
//! query, be it the configured one's or a redirect's.

use crate::{
    dns::{Names, Outcome},
    outgoing::{self, Answer, Stream, Tls},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use pillion_config::model::Dns;
use pillion_wasm::loader::{MOST_MODULE, shown};
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
use url::{Position, Url};

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

impl Failed {
    /// The same, of what redirects led to.
    fn behind(self, at: &Url) -> Self {
        let words = |words| format!("redirected to {}: {words}", shown(at.as_str()));
        match self {
            Self::Now(what, wish) => Self::Now(words(what), wish),
            Self::ForGood(what) => Self::ForGood(words(what)),
        }
    }
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
    let first: Url = url.parse().map_err(|error| for_good(format!("not a URL: {error}")))?;
    let mut at = first.clone();
    for _ in 0..=REDIRECTS {
        // The user and password are for the server of which they are written, as curl has it: a redirect tells another nothing.
        let credentials = if at.origin() == first.origin() && is_anonymous(&at) { &first } else { &at };
        let outcome = get(&at, authorization(credentials), dns, most).await;
        let answer = outcome.map_err(|failed| if at == first { failed } else { failed.behind(&at) })?;
        let status = answer.head.status;
        if status.is_redirection() {
            let location = answer.head.headers.get(header::LOCATION);
            at = target(&at, location.ok_or_else(|| for_good("redirected to nowhere"))?)?;
            continue;
        }
        let outcome = if status == StatusCode::OK { body(answer).await } else { Err(refused(&answer)) };
        return outcome.map_err(|failed| if at == first { failed } else { failed.behind(&at) });
    }
    Err(for_good(format!("redirected more than {REDIRECTS} times")))
}

/// What an answer says that is not 200.
fn refused(answer: &Answer) -> Failed {
    let status = answer.head.status;
    let wish = answer.head.headers.get(header::RETRY_AFTER);
    let wish = wish.and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
    let why = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ", it wants other credentials than the URL has",
        _ => "",
    };
    let words = format!("answered {status}{why}");
    if may_change(status) { Failed::Now(words, wish) } else { Failed::ForGood(words) }
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

/// Where a redirect leads (RFC 9110 §10.2.2): a URL, or a reference relative to the one that was asked for.
fn target(from: &Url, location: &HeaderValue) -> Result<Url, Failed> {
    let to = std::str::from_utf8(location.as_bytes()).ok().and_then(|location| from.join(location).ok());
    let to = to.ok_or_else(|| for_good("redirected to what is no URL"))?;
    if matches!(to.scheme(), "http" | "https") {
        return Ok(to);
    }
    Err(for_good(format!(
        "redirected to a URL that begins with {}:, neither with http:// nor with https://",
        to.scheme()
    )))
}

fn is_anonymous(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// A URL's user and password as a request has them (RFC 7617).
fn authorization(url: &Url) -> Option<HeaderValue> {
    if is_anonymous(url) {
        return None;
    }
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a URL's text stands for, percent signs resolved (RFC 3986 §2.1).
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let byte = (*first == b'%').then(|| u8::try_from(digit(0)? * 16 + digit(1)?).ok()).flatten();
        rest = if byte.is_some() { &behind[2..] } else { behind };
        bytes.push(byte.unwrap_or(*first));
    }
    bytes
}

async fn get(url: &Url, authorization: Option<HeaderValue>, dns: &Dns, most: Duration) -> Result<Answer, Failed> {
    let host = url.host_str().ok_or_else(|| for_good("it has no host"))?;
    let tls = match url.scheme() {
        "https" => {
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(for_good)?;
            Some(Tls { config: Arc::new(trust().map_err(Failed::ForGood)?), name })
        }
        "http" => None,
        _ => return Err(for_good("it begins with neither http:// nor https://")),
    };
    let addresses = addresses(host, dns).await.map_err(now)?;
    let port = url.port_or_known_default().ok_or_else(|| for_good("it has no port"))?;
    let stream = connect(&addresses, port, tls.as_ref(), most).await?;
    let mut request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(header::USER_AGENT, concat!("pillion/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Full::default())
        .map_err(for_good)?;
    if let Some(value) = authorization {
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
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
