//! [`Headers`]: a head or trailers as a filter sees them, pseudo-headers among them, and their way back to what can be
//! sent.
//!
//! Behind it stands the message's own `HeaderMap`, moved here and back, so that what no filter touches is never copied.
//! What a filter sets is taken as it is, as Envoy takes it; what no message can say (a name that is no token, a line
//! break in a value) is kept beside the map, is seen like the rest, and makes [`Headers::into_request`] fail. The order
//! is that of the message, on HTTP/1 also between values of one name ([`order`]); a changed field goes to the end. Fields that
//! Envoy has one place for are one ([`one_place`]).

mod change;
mod one_place;
mod order;
mod pseudo;
mod send;

pub(crate) use order::WireOrder;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header::HOST, request, response};
use pseudo::{Line, Pseudo, RequestLine, ResponseLine, Set};
use std::borrow::Cow;

/// Which fields of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Map {
    /// The request's head.
    RequestHeaders,
    /// The request's trailers.
    RequestTrailers,
    /// The response's head.
    ResponseHeaders,
    /// The response's trailers.
    ResponseTrailers,
}

/// Fields of a message in order, pseudo-headers first. Names are case-insensitive throughout.
#[derive(Debug, Clone)]
pub struct Headers {
    line: Line,
    fields: HeaderMap,
    /// Their order, where it is not the map's.
    order: Option<WireOrder>,
    /// What a filter set and no message can say.
    unsayable: Vec<Pair>,
    changed: Changed,
}

/// What of a message's line can be said by a word: of a request that came by HTTP/1 its last two pseudo-headers, of a
/// response its only one.
#[derive(Debug, Clone)]
pub(in crate::exchange::filter) enum Plain {
    /// `:method` and `:scheme`.
    Request {
        /// The one.
        method: Method,
        /// The other.
        scheme: &'static str,
    },
    /// `:status`.
    Response(StatusCode),
}

/// Names with which filters may fill a map. It holds 24,576, and what the proxy itself puts in must fit: that panics where it does not.
pub(in crate::exchange) const MOST_NAMES: usize = 24_000;

/// A name and a value, whatever bytes they are.
type Pair = (Box<[u8]>, Box<[u8]>);

/// Whether a filter changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    No,
    Yes,
    /// And its route was chosen again since.
    Routed,
}

/// Why a head that left the chain cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// No field can have this name.
    #[error("invalid header name: {0}")]
    Name(Box<str>),
    /// The field or pseudo-header of this name cannot have the value it has.
    #[error("invalid header value for: {0}")]
    Value(Box<str>),
    /// `:method` is gone.
    #[error("missing required header: :method")]
    NoMethod,
    /// `:path` is gone.
    #[error("missing required header: :path")]
    NoPath,
    /// `:authority` is gone.
    #[error("missing required header: :authority")]
    NoAuthority,
    /// `:status` is gone, or no status of a response.
    #[error("missing required header: :status")]
    NoStatus,
    /// Trailers that no message may have (RFC 9110 §6.5.1): one of this name, or what is wrong with them.
    #[error("invalid trailers: {0}")]
    Trailers(Box<str>),
}

impl HeadFault {
    /// Whether there is no path by which a route could be looked for.
    pub(super) fn is_of_path(&self) -> bool {
        match self {
            Self::NoPath => true,
            Self::Value(name) => &**name == ":path",
            Self::Name(_) | Self::NoMethod | Self::NoAuthority | Self::NoStatus | Self::Trailers(_) => false,
        }
    }
}

impl Headers {
    /// A request's head. `scheme` is the client's, where the head has none.
    #[must_use]
    pub fn request(mut head: request::Parts, scheme: &'static str) -> Self {
        let fields = std::mem::take(&mut head.headers);
        let wire = head.extensions.remove();
        let order = if head.version == Version::HTTP_2 { Pseudo::REQUEST_HTTP2 } else { Pseudo::REQUEST_HTTP1 };
        // Made where it stays, for it is large.
        let line = Box::write(Box::new_uninit(), RequestLine { head, scheme, set: None, order });
        Self::new(Line::Request(line), fields, wire)
    }

    /// A response's head.
    #[must_use]
    pub fn response(mut head: response::Parts) -> Self {
        let fields = std::mem::take(&mut head.headers);
        let mut code = [0; 3];
        code.copy_from_slice(head.status.as_str().as_bytes());
        let wire = head.extensions.remove();
        let line = Box::write(Box::new_uninit(), ResponseLine { head, code, status: Set::Kept });
        Self::new(Line::Response(line), fields, wire)
    }

    /// Trailers, or any fields without a line.
    #[must_use]
    pub fn trailers(fields: HeaderMap) -> Self {
        Self::new(Line::None, fields, None)
    }

    fn new(line: Line, mut fields: HeaderMap, wire: Option<WireOrder>) -> Self {
        if let Some(of) = line.one_place() {
            of.join(&mut fields);
        }
        let order = wire.and_then(|wire| wire.fit(&fields));
        Self { line, fields, order, unsayable: Vec::new(), changed: Changed::No }
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        match self.pseudo(name) {
            Some(pseudo) => return self.pseudo_value(pseudo),
            None if name.first() == Some(&b':') => {}
            None => {
                // `HeaderName::from_bytes` copies longer names; this look-up does not.
                let found = match std::str::from_utf8(name) {
                    Ok(name) => self.fields.get(name),
                    Err(_) => None,
                };
                if let Some(value) = found {
                    return Some(value.as_bytes());
                }
            }
        }
        let unsayable = self.unsayable.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        unsayable.map(|(_, value)| &**value)
    }

    /// All values of that name, with commas between where there are several (RFC 9110, 5.2).
    #[must_use]
    pub fn joined(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let first = self.get(name)?;
        let fields = std::str::from_utf8(name).ok().filter(|name| !name.starts_with(':'));
        let fields = fields.into_iter().flat_map(|name| self.fields.get_all(name)).map(HeaderValue::as_bytes);
        let unsayable = self.unsayable.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut further = fields.chain(unsayable.map(|(_, value)| &**value)).skip(1).peekable();
        if further.peek().is_none() || self.pseudo(name).is_some() {
            return Some(Cow::Borrowed(first));
        }
        let joined = further.fold(first.to_vec(), |mut joined, value| {
            joined.push(b',');
            joined.extend_from_slice(value);
            joined
        });
        Some(Cow::Owned(joined))
    }

    /// All names, in lower case, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let order: &[Pseudo] = match &self.line {
            Line::Request(line) => &line.order,
            Line::Response(_) => &[Pseudo::Status],
            Line::None => &[],
        };
        let pseudo = order.iter().filter_map(|pseudo| Some((pseudo.name().as_bytes(), self.pseudo_value(*pseudo)?)));
        // A request's Host is its `:authority`.
        let request = matches!(self.line, Line::Request(_));
        let grouped = self.order.is_none().then(|| self.fields.iter()).into_iter().flatten();
        let ordered = self.order.iter().flat_map(|order| order.iter(&self.fields));
        let fields = grouped.chain(ordered).filter(move |(name, _)| !(request && *name == HOST));
        let fields = fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let unsayable = self.unsayable.iter().map(|(name, value)| (&**name, &**value));
        pseudo.chain(fields).chain(unsayable)
    }

    /// What of the line can be said by a word, where no filter changed the line and no URI says otherwise.
    pub(in crate::exchange::filter) fn plain(&self) -> Option<Plain> {
        match &self.line {
            // Among what cannot be said are names that look like pseudo-headers'.
            _ if !self.unsayable.is_empty() => None,
            Line::Request(line) if line.set.is_none() && line.head.version != Version::HTTP_2 => {
                let scheme = line.head.uri.scheme().is_none().then_some(line.scheme)?;
                Some(Plain::Request { method: line.head.method.clone(), scheme })
            }
            Line::Response(line) if line.status == Set::Kept => Some(Plain::Response(line.head.status)),
            Line::Request(_) | Line::Response(_) | Line::None => None,
        }
    }

    /// Gives `f` all that [`iter`](Self::iter) gives, in the same order, for less: what an iterator must remember between
    /// two pairs, loops need not. Without what [`plain`](Self::plain) said, where that was asked.
    pub(in crate::exchange::filter) fn each(&self, plain: Option<&Plain>, mut f: impl FnMut(&[u8], &[u8])) {
        let order: &[Pseudo] = match (&self.line, plain) {
            (Line::Request(_), Some(_)) => &Pseudo::REQUEST_HTTP1[..2],
            (Line::Request(line), None) => &line.order,
            (Line::Response(_), None) => &[Pseudo::Status],
            (Line::Response(_), Some(_)) | (Line::None, _) => &[],
        };
        for pseudo in order {
            if let Some(value) = self.pseudo_value(*pseudo) {
                f(pseudo.name().as_bytes(), value);
            }
        }
        let request = matches!(self.line, Line::Request(_));
        let mut field = |(name, value): (&HeaderName, &HeaderValue)| {
            if !(request && *name == HOST) {
                f(name.as_str().as_bytes(), value.as_bytes());
            }
        };
        match &self.order {
            None => self.fields.iter().for_each(&mut field),
            Some(order) => order.iter(&self.fields).for_each(&mut field),
        }
        for (name, value) in &self.unsayable {
            f(name, value);
        }
    }

    /// How many pairs [`iter`](Self::iter) gives.
    #[must_use]
    pub fn len(&self) -> usize {
        let fields = self.fields.len() + self.unsayable.len();
        match &self.line {
            Line::Request(line) => {
                let host = self.host().is_some();
                let uri = &line.head.uri;
                // Method and scheme always are.
                let there = [host || uri.authority().is_some(), uri.path_and_query().is_some(), true, true];
                let shown = match &line.set {
                    None => there.into_iter().filter(|there| *there).count(),
                    Some(set) => {
                        let shown = set.iter().zip(there).filter(|(set, there)| match set {
                            Set::Kept => *there,
                            Set::To(_) => true,
                            Set::Removed => false,
                        });
                        shown.count()
                    }
                };
                shown + fields - usize::from(host)
            }
            Line::Response(line) => usize::from(line.status != Set::Removed) + fields,
            Line::None => fields,
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Whether a filter changed something since it was made.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.changed != Changed::No
    }

    /// Whether a filter changed something since its route was chosen; after this it is.
    pub(super) fn is_to_be_routed(&mut self) -> bool {
        let is_changed = self.changed == Changed::Yes;
        if is_changed {
            self.changed = Changed::Routed;
        }
        is_changed
    }

    /// Whether it is as it came, and its fields are in the map's order.
    pub(super) fn is_as_it_came(&self) -> bool {
        self.changed == Changed::No && self.order.is_none()
    }

    /// The fields themselves, without pseudo-headers; a request's Host may be among them.
    #[must_use]
    pub fn fields(&self) -> &HeaderMap {
        &self.fields
    }

    /// The fields themselves, to be changed by what needs no pseudo-header.
    pub fn fields_mut(&mut self) -> &mut HeaderMap {
        self.changed = Changed::Yes;
        self.order = None;
        &mut self.fields
    }

    /// Takes a field away without that counting as a change.
    pub(super) fn forget(&mut self, name: &HeaderName) {
        self.fields.remove(name);
        if let Some(order) = &mut self.order {
            order.removed(name);
        }
    }

    /// The request line, as it was before any filter changed it; `None`: it is no request's head.
    #[must_use]
    pub fn request_line(&self) -> Option<(&Method, &Uri, Version)> {
        match &self.line {
            Line::Request(line) => Some((&line.head.method, &line.head.uri, line.head.version)),
            Line::Response(_) | Line::None => None,
        }
    }
}

#[cfg(test)]
mod tests;
