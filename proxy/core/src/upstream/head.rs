//! Between the request's canonical form and what HTTP/1.1 and HTTP/2 put on the wire.
//!
//! Pure. Canonical is what either codec of the downstream side yields: origin-form with Host, or scheme, authority, path and
//! query in the URI without Host (CONNECT: the authority alone is enough); no hop-by-hop field. A filter may name a host that no
//! URI can say, of any bytes that a field can have: that is always origin-form with Host.

use super::{HostField, host_core::HostCore};
use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, TE, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use std::net::SocketAddr;

/// Gives a request the host that its upstream shall see, in whichever form it names one.
pub(super) fn set_endpoint<B>(request: &mut Request<B>, to: &HostCore, field: HostField) -> Result<(), NoSuchHost> {
    let named = || request.uri().authority().is_some() || request.headers().contains_key(HOST);
    let tunnel = request.method() == Method::CONNECT && request.uri().path_and_query().is_none();
    if tunnel || (field == HostField::Request && named()) {
        return Ok(());
    }
    let Some(host) = to.host() else { return Ok(()) };
    let mut uri = std::mem::take(request.uri_mut());
    let set = set_host(&mut uri, request.headers_mut(), host);
    *request.uri_mut() = uri;
    set
}

/// A host that this request cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSuchHost;

/// Gives a request another host: in its URI where it has an authority and a URI can say this one, in Host otherwise.
///
/// # Errors
///
/// When CONNECT would have no authority, or the map is full; the URI is lost then.
pub(crate) fn set_host(uri: &mut Uri, headers: &mut HeaderMap, host: &HeaderValue) -> Result<(), NoSuchHost> {
    if uri.authority().is_none() {
        return put_host(headers, host);
    }
    let mut parts = std::mem::take(uri).into_parts();
    let scheme_and_path = parts.scheme.is_some() && parts.path_and_query.is_some();
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        *uri = Uri::from(parts.path_and_query.filter(|_| scheme_and_path).ok_or(NoSuchHost)?);
        return put_host(headers, host);
    };
    headers.remove(HOST);
    *uri = if scheme_and_path {
        parts.authority = Some(authority);
        // The rest was a URI before.
        Uri::from_parts(parts).unwrap_or_default()
    } else {
        Uri::from(authority)
    };
    Ok(())
}

fn put_host(headers: &mut HeaderMap, host: &HeaderValue) -> Result<(), NoSuchHost> {
    put(headers, HOST, host.clone()).ok_or(NoSuchHost)
}

/// What [`to_http1`] took from a request that its HTTP/1.1 form does not say.
#[derive(Debug, Clone)]
pub(super) struct Given {
    method: Option<Method>,
    uri: Option<Uri>,
}

/// Writes `request` the HTTP/1.1 way: origin-form and Host (RFC 9112 §3.2), `Connection` for what it names. A request
/// that came by HTTP/1.1 is already so. One that names no host at all, as HTTP/1.0 may, gets the address it goes to.
/// `None`: a field does not fit into the map.
pub(super) fn to_http1<B>(
    request: &mut Request<B>,
    upgrade: Option<&HeaderValue>,
    address: SocketAddr,
) -> Option<Given> {
    // An upgrade that came as an extended CONNECT is a GET here (RFC 8441 §5, RFC 6455 §4.1).
    let extended = upgrade.is_some() && request.method() == Method::CONNECT;
    let given = Given {
        method: extended.then(|| std::mem::replace(request.method_mut(), Method::GET)),
        uri: match request.uri().authority() {
            Some(authority) => Some(origin_form(request, HeaderValue::from_str(authority.as_str()).ok()?)?),
            None => None,
        },
    };
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    if given.uri.is_none() && !headers.contains_key(HOST) {
        put(headers, HOST, HeaderValue::from_str(&address.to_string()).ok()?)?;
    }
    // RFC 9110 §7.8 and §10.1.4: both fields must be named in Connection.
    let connection = match (upgrade, headers.contains_key(TE)) {
        (None, false) => None,
        (None, true) => Some(HeaderValue::from_static("te")),
        (Some(_), false) => Some(HeaderValue::from_static("upgrade")),
        (Some(_), true) => Some(HeaderValue::from_static("upgrade, te")),
    };
    if let Some(connection) = connection {
        put(headers, CONNECTION, connection)?;
    }
    if let Some(protocol) = upgrade {
        put(headers, UPGRADE, protocol.clone())?;
    }
    Some(given)
}

/// Sets a field; `None`: the map is full, as a filter may leave it.
fn put(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Option<()> {
    headers.try_insert(name, value).ok().map(|_| ())
}

/// Makes the target one of origin form (CONNECT: authority form); what it was before.
fn origin_form<B>(request: &mut Request<B>, host: HeaderValue) -> Option<Uri> {
    let before = request.uri().clone();
    let parts = std::mem::take(request.uri_mut()).into_parts();
    *request.uri_mut() = match (request.method() == Method::CONNECT, parts.authority, parts.path_and_query) {
        (true, Some(authority), _) => Uri::from(authority),
        (_, _, Some(target)) => Uri::from(target),
        (_, _, None) => Uri::from(PathAndQuery::from_static("/")),
    };
    put(request.headers_mut(), HOST, host)?;
    Some(before)
}

/// Undoes [`to_http1`] for a request that was handed back.
pub(super) fn from_http1<B>(mut request: Request<B>, given: Given) -> Request<B> {
    let headers = request.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
    if let Some(method) = given.method {
        *request.method_mut() = method;
    }
    if let Some(uri) = given.uri {
        request.headers_mut().remove(HOST);
        *request.uri_mut() = uri;
    }
    request
}

/// The target with scheme and authority, as HTTP/2 says it: from Host, where the request came by HTTP/1.1. A Host that no URI can
/// say stays, and the target has no authority.
fn absolute_form(uri: &Uri, headers: &mut HeaderMap, secure: bool) -> Option<Uri> {
    let host = headers.remove(HOST);
    let mut parts = uri.clone().into_parts();
    if parts.authority.is_none() {
        let host = host?;
        match Authority::try_from(host.as_bytes()) {
            Ok(authority) => parts.authority = Some(authority),
            Err(_) => {
                put_host(headers, &host).ok()?;
                return parts.path_and_query.map(Uri::from);
            }
        }
    }
    // The server knows what it is spoken to by; what the client used is told by X-Forwarded-Proto.
    if secure {
        parts.scheme = Some(Scheme::HTTPS);
    }
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

/// The head of a request as the HTTP/2 codec takes it, on a connection that is `secure` or not; `None` when it names no
/// authority.
///
/// `:authority` is a URI's for the codec. A host that no URI can say goes as `host` without it, which RFC 9113 §8.3.1 allows who
/// translates from HTTP/1, and servers take for the same; the codec knows such requests by their version. Their `:scheme` is `http`.
pub(super) fn to_http2(
    method: &Method,
    uri: &Uri,
    mut headers: HeaderMap,
    upgrade: Option<&HeaderValue>,
    secure: bool,
) -> Option<Request<()>> {
    let uri = absolute_form(uri, &mut headers, secure)?;
    let mut head = Request::new(());
    *head.version_mut() = if uri.authority().is_some() { Version::HTTP_2 } else { Version::HTTP_11 };
    *head.headers_mut() = headers;
    match upgrade {
        Some(protocol) => {
            // RFC 8441 §5: the handshake needs no proof here.
            head.headers_mut().remove(SEC_WEBSOCKET_KEY);
            *head.method_mut() = Method::CONNECT;
            head.extensions_mut().insert(Protocol::from(protocol.to_str().ok()?));
            *head.uri_mut() = uri;
        }
        None if method == Method::CONNECT => {
            *head.method_mut() = Method::CONNECT;
            // RFC 9113 §8.5: no :scheme, no :path.
            *head.uri_mut() = Uri::from(uri.authority()?.clone());
        }
        None => {
            *head.method_mut() = method.clone();
            *head.uri_mut() = uri;
        }
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ACCEPT;

    fn request(method: Method, uri: &'static str) -> Request<()> {
        Request::builder().method(method).uri(uri).header(ACCEPT, "*/*").body(()).unwrap()
    }

    const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

    #[test]
    fn http1_form_and_back() {
        let upgrade = HeaderValue::from_static("websocket");
        for (method, uri, upgrade, target, sent) in [
            (Method::GET, "http://a.example:81/x?y=1", None, "/x?y=1", Method::GET),
            (Method::POST, "https://a.example/", None, "/", Method::POST),
            (Method::CONNECT, "a.example:443", None, "a.example:443", Method::CONNECT),
            (Method::CONNECT, "http://a.example/chat", Some(&upgrade), "/chat", Method::GET),
            (Method::GET, "http://a.example/chat", Some(&upgrade), "/chat", Method::GET),
        ] {
            let mut written = request(method.clone(), uri);
            let given = to_http1(&mut written, upgrade, ADDRESS).unwrap();
            assert_eq!((written.uri().to_string().as_str(), written.method()), (target, &sent));
            assert_eq!(written.headers().get(UPGRADE), upgrade);
            assert!(uri.contains(written.headers()[HOST].to_str().unwrap()));
            let back = from_http1(written, given);
            assert_eq!((back.method(), back.uri()), (&method, &Uri::from_static(uri)));
            assert_eq!(back.headers().len(), 1);
        }
    }

    #[test]
    fn origin_form_with_host_stays_as_it_is() {
        let mut written = request(Method::GET, "/x");
        written.headers_mut().insert(HOST, HeaderValue::from_static("a:81"));
        let given = to_http1(&mut written, None, ADDRESS).unwrap();
        let back = from_http1(written, given);
        assert_eq!((back.uri().to_string().as_str(), &back.headers()[HOST]), ("/x", &HeaderValue::from_static("a:81")));
        let head = to_http2(&Method::GET, back.uri(), back.headers().clone(), None, false).unwrap();
        assert_eq!(head.uri(), "http://a:81/x");
        for uri in ["/x", "http://a:81/x", "https://a:81/x"] {
            let head = to_http2(&Method::GET, &Uri::from_static(uri), back.headers().clone(), None, true).unwrap();
            assert_eq!(head.uri(), "https://a:81/x", "over TLS");
        }
        assert!(!head.headers().contains_key(HOST));
    }

    #[test]
    fn a_request_without_host_gets_the_address_on_http1_and_is_none_on_http2() {
        let mut written = request(Method::GET, "/x");
        to_http1(&mut written, None, ADDRESS).unwrap();
        assert_eq!(written.headers()[HOST], "127.0.0.1:8080");
        assert!(to_http2(&Method::GET, &Uri::from_static("/x"), HeaderMap::new(), None, false).is_none());
    }

    #[test]
    fn a_host_that_no_uri_can_say_is_a_field() {
        for host in [&b""[..], b"outbound|80||x.svc", b"a b", b"a/b", b"\xff", b"a:b:c"] {
            let host = HeaderValue::from_bytes(host).unwrap();
            for (method, uri, upgrade) in [
                (Method::GET, "/x?y", None),
                (Method::GET, "http://a/x?y", None),
                (Method::CONNECT, "http://a/x?y", Some(HeaderValue::from_static("websocket"))),
            ] {
                let mut asked = request(method.clone(), uri);
                let mut uri = std::mem::take(asked.uri_mut());
                set_host(&mut uri, asked.headers_mut(), &host).unwrap();
                *asked.uri_mut() = uri;
                let head = to_http2(&method, asked.uri(), asked.headers().clone(), upgrade.as_ref(), true).unwrap();
                assert_eq!((head.uri().to_string().as_str(), &head.headers()[HOST]), ("/x?y", &host));
                assert_eq!(head.version(), Version::HTTP_11, "the codec takes it without an authority");
                to_http1(&mut asked, upgrade.as_ref(), ADDRESS).unwrap();
                assert_eq!((asked.uri().to_string().as_str(), &asked.headers()[HOST]), ("/x?y", &host));
            }
            let (mut tunnel, mut headers) = (Uri::from_static("a:443"), HeaderMap::new());
            assert_eq!(set_host(&mut tunnel, &mut headers, &host), Err(NoSuchHost));
        }
    }

    #[test]
    fn a_map_that_a_filter_left_full_is_refused_and_no_panic() {
        let mut full = request(Method::GET, "http://a/x");
        let mut names = (0..).map(|number| HeaderName::try_from(format!("x-{number}")).unwrap());
        while full.headers_mut().try_insert(names.next().unwrap(), HeaderValue::from_static("")).is_ok() {}
        assert!(to_http1(&mut full.clone(), None, ADDRESS).is_none());
        let (mut uri, mut headers) = (full.uri().clone(), full.headers().clone());
        assert_eq!(set_host(&mut uri, &mut headers, &HeaderValue::from_static("a b")), Err(NoSuchHost));
        *full.uri_mut() = Uri::from_static("/x");
        assert!(to_http1(&mut full, None, ADDRESS).is_none());
    }

    #[test]
    fn te_is_named_in_connection() {
        let mut written = request(Method::GET, "http://a/");
        written.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        to_http1(&mut written, None, ADDRESS).unwrap();
        assert_eq!(written.headers()[CONNECTION], "te");
    }
}
