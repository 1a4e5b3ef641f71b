//! Heads and trailers on their way out: from what filters made of them to what can be sent.

use super::{
    Changed, HeadFault, Headers, Pair,
    pseudo::{Line, RequestLine, Set},
};
use crate::{
    exchange::head::{Survey, hop_by_hop, hop_by_hop::UpgradeField, target},
    upstream::set_host,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request, response,
    uri::{PathAndQuery, Scheme},
};

/// Characters of a name that an answer repeats.
const MOST_NAMED: usize = 100;

impl Headers {
    /// The request's head, as it can be sent.
    ///
    /// # Errors
    ///
    /// [`HeadFault`]: a filter made something of it that cannot.
    pub fn into_request(self) -> Result<request::Parts, HeadFault> {
        let Line::Request(line) = self.line else { return Err(HeadFault::NoMethod) };
        let RequestLine { mut head, set, .. } = *line;
        head.headers = self.fields;
        if self.changed == Changed::No {
            return Ok(head);
        }
        let [authority, path, method, scheme] = set.map_or_else(Default::default, |set| *set);
        sayable(&self.unsayable)?;
        // First, as in Envoy: without a path there is no route to look for. CONNECT has none.
        if path == Set::Removed && head.uri.path_and_query().is_some() {
            return Err(HeadFault::NoPath);
        }
        let wrong = |name: &'static str| move || HeadFault::Value(name.into());
        match method {
            Set::Kept => {}
            Set::To(method) => {
                let method = Method::from_bytes(&method).map_err(|_| wrong(":method")())?;
                // A success would say that a tunnel stands, and nobody has asked for one; what did ask has no path.
                if (method == Method::CONNECT) != (head.method == Method::CONNECT) {
                    return Err(wrong(":method")());
                }
                head.method = method;
            }
            Set::Removed => return Err(HeadFault::NoMethod),
        }
        let host_kept = authority == Set::Kept;
        match authority {
            Set::Kept => {}
            // Whatever a field can be, as in Envoy: what clients name is judged, what filters make of it is theirs.
            Set::To(host) => {
                let host = HeaderValue::from_maybe_shared(host).map_err(|_| wrong(":authority")())?;
                let host = trimmed(&host).unwrap_or(host);
                set_host(&mut head.uri, &mut head.headers, &host).map_err(|_| wrong(":authority")())?;
            }
            Set::Removed => return Err(HeadFault::NoAuthority),
        }
        if let Set::To(path) = path {
            let path = PathAndQuery::from_maybe_shared(path).map_err(|_| wrong(":path")())?;
            let mut parts = std::mem::take(&mut head.uri).into_parts();
            parts.path_and_query = Some(path);
            head.uri = Uri::from_parts(parts).map_err(|_| wrong(":path")())?;
        }
        if let Set::To(scheme) = scheme
            && let Some(scheme) = known(&scheme)
            && head.uri.scheme().is_some()
        {
            let mut parts = std::mem::take(&mut head.uri).into_parts();
            parts.scheme = Some(scheme);
            head.uri = Uri::from_parts(parts).map_err(|_| wrong(":scheme")())?;
        }
        // Which the server as a whole is meant by (RFC 9112 §3.2.4).
        if head.method != Method::OPTIONS && head.uri.path() == "*" {
            return Err(wrong(":path")());
        }
        one_length(&head.headers)?;
        trim(&mut head.headers);
        let judged = match host_kept {
            true => target::authority(&head.method, head.version, &head.uri, &head.headers).map(|_| ()),
            false => target::implied_port(&head.method, &head.uri).map(|_| ()),
        };
        judged.map_err(|_| wrong(":authority")())?;
        Ok(head)
    }

    /// The response's head, as it can be sent.
    ///
    /// # Errors
    ///
    /// [`HeadFault`]: a filter made something of it that cannot.
    pub fn into_response(self) -> Result<response::Parts, HeadFault> {
        let Line::Response(line) = self.line else { return Err(HeadFault::NoStatus) };
        let mut head = line.head;
        head.headers = self.fields;
        if self.changed == Changed::No {
            return Ok(head);
        }
        sayable(&self.unsayable)?;
        match line.status {
            Set::Kept => {}
            Set::To(status) => {
                let status = StatusCode::from_bytes(&status).map_err(|_| HeadFault::NoStatus)?;
                // An interim status would not end the exchange; 101 would end HTTP on a connection nobody took over.
                if !(200..=599).contains(&status.as_u16()) {
                    return Err(HeadFault::NoStatus);
                }
                head.status = status;
            }
            Set::Removed => return Err(HeadFault::NoStatus),
        }
        one_length(&head.headers)?;
        trim(&mut head.headers);
        let survey = Survey::of(&head.headers);
        if head.status != StatusCode::SWITCHING_PROTOCOLS && survey.has_any(&hop_by_hop::OF_CONNECTION) {
            hop_by_hop::response(&mut head.headers, survey, UpgradeField::Strip)
                .map_err(|_| HeadFault::Value("connection".into()))?;
        }
        Ok(head)
    }

    /// Trailers, as they can be sent.
    ///
    /// # Errors
    ///
    /// [`HeadFault`]: a filter made something of them that cannot.
    pub fn into_trailers(self) -> Result<HeaderMap, HeadFault> {
        sayable(&self.unsayable)?;
        let mut fields = self.fields;
        if self.changed != Changed::No {
            trim(&mut fields);
        }
        Ok(fields)
    }
}

/// A scheme that a request can have. What a filter makes of it else is none, as in Envoy: the request keeps its own.
fn known(scheme: &[u8]) -> Option<Scheme> {
    let known = [("https", Scheme::HTTPS), ("http", Scheme::HTTP)];
    known.into_iter().find_map(|(name, known)| scheme.eq_ignore_ascii_case(name.as_bytes()).then_some(known))
}

/// Whether what no message can say may be left out: pseudo-headers that are none go no further, as in Envoy.
fn sayable(unsayable: &[Pair]) -> Result<(), HeadFault> {
    match unsayable.iter().find(|(name, _)| !name.starts_with(b":")) {
        None => Ok(()),
        Some((name, _)) if HeaderName::from_bytes(name).is_ok() => Err(HeadFault::Value(named(name))),
        Some((name, _)) => Err(HeadFault::Name(named(name))),
    }
}

/// A name as an answer can repeat it.
fn named(name: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(name);
    let printable = |one: char| if one.is_control() { char::REPLACEMENT_CHARACTER } else { one };
    text.chars().take(MOST_NAMED).map(printable).collect::<String>().into()
}

/// White space around a value is none of it (RFC 9110 §5.5), and makes an HTTP/2 message malformed (RFC 9113 §8.2.1).
fn trim(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        if let Some(trimmed) = trimmed(value) {
            *value = trimmed;
        }
    }
}

/// A value without the white space around it; `None`: there is none.
fn trimmed(value: &HeaderValue) -> Option<HeaderValue> {
    let whole = value.as_bytes();
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let around = blank(whole.first()) || blank(whole.last());
    // What is left of a value is one.
    if around { HeaderValue::from_bytes(whole.trim_ascii()).ok() } else { None }
}

/// A message has one length or none, and it is a number (RFC 9110 §8.6).
fn one_length(headers: &HeaderMap) -> Result<(), HeadFault> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(()) };
    let digits = !first.is_empty() && first.as_bytes().iter().all(u8::is_ascii_digit) && first.len() < 20;
    if digits && lengths.next().is_none() { Ok(()) } else { Err(HeadFault::Value("content-length".into())) }
}
