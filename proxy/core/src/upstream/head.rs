//! Between the request's canonical form and what HTTP/1.1 and HTTP/2 put on the wire.
//!
//! Pure. Canonical: scheme, authority, path and query in the URI (CONNECT: the authority alone is enough), no Host, no
//! hop-by-hop field.

use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, HOST, TE, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};

/// What [`to_http1`] took from a request that its HTTP/1.1 form does not say.
#[derive(Debug, Clone)]
pub(super) struct Given {
    method: Option<Method>,
    scheme: Option<Scheme>,
}

/// Writes `request` the HTTP/1.1 way: origin-form and Host (RFC 9112 §3.2), `Connection` for what it names. `None`,
/// and the request as it was, without an authority.
pub(super) fn to_http1<B>(request: &mut Request<B>, upgrade: Option<&HeaderValue>) -> Option<Given> {
    let host = HeaderValue::from_str(request.uri().authority()?.as_str()).ok()?;
    let parts = std::mem::take(request.uri_mut()).into_parts();
    let given = Given {
        // An upgrade that came as an extended CONNECT is a GET here (RFC 8441 §5, RFC 6455 §4.1).
        method: upgrade
            .filter(|_| request.method() == Method::CONNECT)
            .map(|_| std::mem::replace(request.method_mut(), Method::GET)),
        scheme: parts.scheme,
    };
    *request.uri_mut() = match (request.method() == Method::CONNECT, parts.authority, parts.path_and_query) {
        (true, Some(authority), _) => Uri::from(authority),
        (_, _, Some(target)) => Uri::from(target),
        (_, _, None) => Uri::from(PathAndQuery::from_static("/")),
    };
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    // RFC 9110 §7.8 and §10.1.4: both fields must be named in Connection.
    let connection = match (upgrade, headers.contains_key(TE)) {
        (None, false) => None,
        (None, true) => Some(HeaderValue::from_static("te")),
        (Some(_), false) => Some(HeaderValue::from_static("upgrade")),
        (Some(_), true) => Some(HeaderValue::from_static("upgrade, te")),
    };
    if let Some(connection) = connection {
        headers.insert(CONNECTION, connection);
    }
    if let Some(protocol) = upgrade {
        headers.insert(UPGRADE, protocol.clone());
    }
    Some(given)
}

/// Undoes [`to_http1`] for a request that was handed back.
pub(super) fn from_http1<B>(mut request: Request<B>, given: Given) -> Option<Request<B>> {
    let headers = request.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
    let host = headers.remove(HOST)?;
    if let Some(method) = given.method {
        *request.method_mut() = method;
    }
    if let Some(scheme) = given.scheme {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(scheme);
        parts.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
    }
    Some(request)
}

/// The head of a request as the HTTP/2 codec takes it; `None` when it has no authority or scheme to say.
pub(super) fn to_http2(
    method: &Method,
    uri: &Uri,
    headers: HeaderMap,
    upgrade: Option<&HeaderValue>,
) -> Option<Request<()>> {
    let mut head = Request::new(());
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = headers;
    match upgrade {
        Some(protocol) => {
            *head.method_mut() = Method::CONNECT;
            head.extensions_mut().insert(Protocol::from(protocol.to_str().ok()?));
            *head.uri_mut() = uri.scheme().and(Some(uri.clone()))?;
        }
        None if method == Method::CONNECT => {
            *head.method_mut() = Method::CONNECT;
            // RFC 9113 §8.5: no :scheme, no :path.
            *head.uri_mut() = Uri::from(uri.authority()?.clone());
        }
        None => {
            *head.method_mut() = method.clone();
            *head.uri_mut() = uri.scheme().and(Some(uri.clone()))?;
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
            let given = to_http1(&mut written, upgrade).unwrap();
            assert_eq!((written.uri().to_string().as_str(), written.method()), (target, &sent));
            assert_eq!(written.headers().get(UPGRADE), upgrade);
            assert!(uri.contains(written.headers()[HOST].to_str().unwrap()));
            let back = from_http1(written, given).unwrap();
            assert_eq!((back.method(), back.uri()), (&method, &Uri::from_static(uri)));
            assert_eq!(back.headers().len(), 1);
        }
    }

    #[test]
    fn without_an_authority_nothing_is_written() {
        let mut written = request(Method::GET, "/x");
        assert!(to_http1(&mut written, None).is_none());
        assert_eq!(written.uri(), "/x");
        assert!(to_http2(&Method::GET, &Uri::from_static("/x"), HeaderMap::new(), None).is_none());
    }

    #[test]
    fn te_is_named_in_connection() {
        let mut written = request(Method::GET, "http://a/");
        written.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        to_http1(&mut written, None).unwrap();
        assert_eq!(written.headers()[CONNECTION], "te");
    }
}
