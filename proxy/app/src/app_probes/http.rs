//! A probe by HTTP, as a kubelet makes it: HTTP/1.1, or HTTP/2 where HTTPS agrees on it, a connection of its own, redirects on
//! the same host followed, a status from 200 to 399 is success.

use super::{Application, Finding, authority, read::Get};
use crate::outgoing::{self, Answer, Tls};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use rustls::pki_types::ServerName;
use std::fmt::Display;
use url::{Position, Url};

/// Bytes of an answer that are passed on; a kubelet reads as many.
const WORDS: usize = 10 * 1024;
/// Redirects that are followed; a kubelet follows as many.
const REDIRECTS: usize = 10;
/// What a kubelet calls itself, where it does not.
const AGENT: HeaderValue = HeaderValue::from_static("kube-probe/1.29");

/// Asks, and says what was answered.
pub(super) async fn ask(
    get: &Get,
    application: Application,
    port: u16,
    kubelet: &HeaderMap,
) -> Result<Finding, String> {
    let (mut get, mut port) = (get.clone(), port);
    for _ in 0..REDIRECTS {
        let answer = once(&get, application, port, kubelet).await?;
        let Some((next, at)) = redirected(&answer, &get, port, kubelet)? else { return finding(answer).await };
        (get, port) = (next, at);
    }
    Err(format!("more than {REDIRECTS} redirects"))
}

async fn once(get: &Get, application: Application, port: u16, kubelet: &HeaderMap) -> Result<Answer, String> {
    let host = authority(kubelet, port);
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = get.path.parse::<Uri>().map_err(|error| format!("{}: {error}", get.path))?;
    let agent = kubelet.get(header::USER_AGENT).cloned().unwrap_or(AGENT);
    let fields = request.headers_mut();
    fields.insert(header::HOST, host.clone());
    fields.insert(header::USER_AGENT, agent);
    fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    for (name, _) in &get.headers {
        fields.remove(name);
    }
    for (name, value) in &get.headers {
        // A request has one host, the first; an empty value takes away what a kubelet says by itself.
        let second = *name == header::HOST && fields.contains_key(header::HOST);
        let silent = value.is_empty() && (*name == header::ACCEPT || *name == header::USER_AGENT);
        if !second && !silent {
            fields.append(name, value.clone());
        }
    }
    // The name a certificate is chosen by; an address is none.
    let asked = get.headers.iter().find(|(name, _)| *name == header::HOST).map_or(&host, |(_, value)| value);
    let name = asked.to_str().ok().map(|host| host.split(':').next().unwrap_or("").to_owned());
    let name = name.and_then(|name| ServerName::try_from(name).ok());
    let name = name.unwrap_or_else(|| ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
    let tls = get.tls.then(|| Tls { config: outgoing::unverified(), name });
    let stream = application.by(port, |address| outgoing::connect(address, tls.as_ref())).await;
    let stream = stream.map_err(|error| error.to_string())?;
    outgoing::send(stream, request).await.map_err(|error| error.to_string())
}

/// Where a redirect leads, if it stays on the host that the kubelet asks; `None`: the answer is one, as a redirect to another
/// host is. The author's `Host` names the application and no place, so a redirect to that name leads elsewhere.
///
/// # Errors
/// It leads nowhere, which fails a kubelet's probe.
fn redirected(answer: &Answer, get: &Get, port: u16, kubelet: &HeaderMap) -> Result<Option<(Get, u16)>, String> {
    let Some(location) = answer.head.headers.get(header::LOCATION) else { return Ok(None) };
    if !matches!(answer.head.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let nowhere = |why: &dyn Display| format!("the redirect to {location:?} leads nowhere: {why}");
    let text = str::from_utf8(location.as_bytes()).map_err(|error| nowhere(&error))?;
    let scheme = if get.tls { "https" } else { "http" };
    let here = authority(kubelet, port);
    let here = format!("{scheme}://{}{}", here.to_str().map_err(|error| nowhere(&error))?, get.path);
    let here = Url::parse(&here).map_err(|error| nowhere(&error))?;
    let there = here.join(text).map_err(|error| nowhere(&error))?;
    if there.host_str() != here.host_str() {
        return Ok(None);
    }
    let tls = match there.scheme() {
        "https" => true,
        "http" => false,
        other => return Err(nowhere(&format_args!("{other} is not HTTP"))),
    };
    let mut headers = get.headers.clone();
    if Url::parse(text).is_ok() {
        // An absolute one says by which name it wants to be asked.
        headers.retain(|(name, _)| *name != header::HOST);
    }
    let path = there[Position::BeforePath..Position::AfterQuery].to_owned();
    Ok(Some((Get { tls, path, headers }, there.port_or_known_default().unwrap_or(port))))
}

async fn finding(answer: Answer) -> Result<Finding, String> {
    let (status, mut body) = (answer.head.status, answer.body);
    let mut words = Vec::new();
    while words.len() < WORDS {
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => words.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Some(Err(error)) => return Err(error.to_string()),
        }
    }
    words.truncate(WORDS);
    // The kubelet would follow a redirect to our own port.
    let status = if status.is_redirection() { StatusCode::OK } else { status };
    Ok(Finding { status, words })
}
