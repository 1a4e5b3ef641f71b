//! Fields that Envoy has one place for: where they come several times, or a filter adds one that is there, they are one with
//! a comma between. Filters in the field were written against that: who compares the one value of `authorization` sees all that a
//! server may take. Other names have as many fields as came.

use http::{HeaderMap, HeaderName, HeaderValue};

/// In requests. Seen in Envoy 1.40 (the conformance kit's `headers_repeated`).
const REQUEST: [&str; 28] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authorization",
    "cache-control",
    "cdn-loop",
    "content-encoding",
    "content-type",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// In responses.
const RESPONSE: [&str; 26] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "cache-control",
    "content-encoding",
    "content-type",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "last-modified",
    "location",
    "proxy-status",
    "server",
    "vary",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-degraded",
    "x-request-id",
];

/// Whose names count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Request,
    Response,
}

impl Of {
    pub(super) fn has(self, name: &HeaderName) -> bool {
        let names: &[&str] = match self {
            Self::Request => &REQUEST,
            Self::Response => &RESPONSE,
        };
        names.binary_search(&name.as_str()).is_ok()
    }

    /// Joins those that came several times.
    #[inline]
    pub(super) fn join(self, fields: &mut HeaderMap) {
        if fields.len() != fields.keys_len() {
            self.join_several(fields);
        }
    }

    #[cold]
    fn join_several(self, fields: &mut HeaderMap) {
        let names: Vec<_> = fields.keys().filter(|name| self.has(name)).cloned().collect();
        for name in names {
            let mut values = fields.get_all(&name).iter();
            let Some(first) = values.next() else { continue };
            let joined = values.fold(None, |joined: Option<Vec<u8>>, value| {
                let mut joined = joined.unwrap_or_else(|| first.as_bytes().to_vec());
                append(&mut joined, value.as_bytes());
                Some(joined)
            });
            if let Some(joined) =
                joined.and_then(|joined| HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok())
            {
                fields.insert(name, joined);
            }
        }
    }
}

/// One value behind others: an empty one adds nothing.
pub(super) fn append(to: &mut Vec<u8>, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    if !to.is_empty() {
        to.push(b',');
    }
    to.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        assert!(REQUEST.is_sorted() && RESPONSE.is_sorted());
    }
}
