//! Pseudo-headers: the line of a message as fields, what a filter made of it, and where each value stands.

use super::Headers;
use super::one_place;
use bytes::Bytes;
use http::{HeaderValue, header::HOST, request, response};

/// What comes before the fields.
#[derive(Debug, Clone)]
pub(super) enum Line {
    Request(Box<RequestLine>),
    Response(Box<ResponseLine>),
    /// Trailers have none.
    None,
}

impl Line {
    /// Which fields behind it have one place.
    pub(super) fn one_place(&self) -> Option<one_place::Of> {
        match self {
            Self::Request(_) => Some(one_place::Of::Request),
            Self::Response(_) => Some(one_place::Of::Response),
            Self::None => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct RequestLine {
    pub(super) head: request::Parts,
    /// What the connection makes of it, where the URI does not say.
    pub(super) scheme: &'static str,
    /// By number of [`Pseudo`]; `None`: all as they were, as nearly always.
    pub(super) set: Option<Box<[Set; 4]>>,
    /// In which order they are shown.
    pub(super) order: [Pseudo; 4],
}

#[derive(Debug, Clone)]
pub(super) struct ResponseLine {
    pub(super) head: response::Parts,
    pub(super) code: [u8; 3],
    pub(super) status: Set,
}

/// What a filter made of a pseudo-header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Set {
    /// Nothing.
    #[default]
    Kept,
    /// This.
    To(Bytes),
    /// It is gone.
    Removed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pseudo {
    Authority = 0,
    Path = 1,
    Method = 2,
    Scheme = 3,
    Status,
}

impl Pseudo {
    /// As Envoy shows an HTTP/1 request.
    pub(super) const REQUEST_HTTP1: [Self; 4] = [Self::Authority, Self::Path, Self::Method, Self::Scheme];
    /// As most HTTP/2 clients send them; which order this one's had, the codec does not tell.
    pub(super) const REQUEST_HTTP2: [Self; 4] = [Self::Method, Self::Scheme, Self::Authority, Self::Path];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Authority => ":authority",
            Self::Path => ":path",
            Self::Method => ":method",
            Self::Scheme => ":scheme",
            Self::Status => ":status",
        }
    }
}

impl Headers {
    /// The value of Host. Most clients send it first: that is a look and no search.
    pub(super) fn host(&self) -> Option<&HeaderValue> {
        match self.fields.iter().next() {
            Some((first, value)) if *first == HOST => Some(value),
            Some(_) => self.fields.get(HOST),
            None => None,
        }
    }

    /// Which pseudo-header a name is here; the old name of `:authority` among them.
    pub(super) fn pseudo(&self, name: &[u8]) -> Option<Pseudo> {
        let colon = name.first() == Some(&b':');
        match &self.line {
            Line::Request(_) if colon => {
                Pseudo::REQUEST_HTTP1.into_iter().find(|known| name.eq_ignore_ascii_case(known.name().as_bytes()))
            }
            Line::Request(_) if name.eq_ignore_ascii_case(b"host") => Some(Pseudo::Authority),
            Line::Response(_) if colon && name.eq_ignore_ascii_case(b":status") => Some(Pseudo::Status),
            Line::Request(_) | Line::Response(_) | Line::None => None,
        }
    }

    pub(super) fn pseudo_value(&self, pseudo: Pseudo) -> Option<&[u8]> {
        let set = match (&self.line, pseudo) {
            (Line::Response(line), Pseudo::Status) => &line.status,
            (Line::Request(line), pseudo) => match &line.set {
                Some(set) => set.get(pseudo as usize)?,
                None => &Set::Kept,
            },
            (Line::Response(_) | Line::None, _) => return None,
        };
        match set {
            Set::To(value) => return Some(value),
            Set::Removed => return None,
            Set::Kept => {}
        }
        match (&self.line, pseudo) {
            (Line::Response(line), _) => Some(&line.code),
            (Line::Request(line), pseudo) => {
                let uri = &line.head.uri;
                match pseudo {
                    Pseudo::Authority => match uri.authority() {
                        Some(authority) => Some(authority.as_str().as_bytes()),
                        None => self.host().map(HeaderValue::as_bytes),
                    },
                    Pseudo::Path => uri.path_and_query().map(|path| path.as_str().as_bytes()),
                    Pseudo::Method => Some(line.head.method.as_str().as_bytes()),
                    Pseudo::Scheme => Some(uri.scheme_str().unwrap_or(line.scheme).as_bytes()),
                    Pseudo::Status => None,
                }
            }
            (Line::None, _) => None,
        }
    }
}
