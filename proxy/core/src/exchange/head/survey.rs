//! One look at all names of a head, so that each later step knows whether it has anything to do.

use http::HeaderMap;

/// A field that some step cares about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Field {
    /// `Connection`
    Connection = 1 << 0,
    /// `Keep-Alive`
    KeepAlive = 1 << 1,
    /// `Proxy-Connection`
    ProxyConnection = 1 << 2,
    /// `TE`
    Te = 1 << 3,
    /// `Transfer-Encoding`
    TransferEncoding = 1 << 4,
    /// `Upgrade`
    Upgrade = 1 << 5,
    /// `HTTP2-Settings`
    Http2Settings = 1 << 6,
    /// `Proxy-Authenticate`, `Proxy-Authorization` or `Proxy-Authentication-Info`
    ProxyAuth = 1 << 7,
    /// `Host`
    Host = 1 << 8,
    /// `Content-Length`
    ContentLength = 1 << 9,
    /// `Cookie`
    Cookie = 1 << 10,
    /// `X-Forwarded-For`
    XForwardedFor = 1 << 11,
    /// `X-Forwarded-Proto`
    XForwardedProto = 1 << 12,
    /// `X-Forwarded-Host`
    XForwardedHost = 1 << 13,
    /// `Forwarded`
    Forwarded = 1 << 14,
    /// `X-Request-Id`
    XRequestId = 1 << 15,
    /// `Via`
    Via = 1 << 16,
    /// `X-Forwarded-Client-Cert`, or any name beginning with `x-envoy-`
    Identity = 1 << 17,
    /// Any name with an underscore
    Underscore = 1 << 18,
    /// `Expect`
    Expect = 1 << 19,
    /// `grpc-timeout`
    GrpcTimeout = 1 << 20,
}

/// Which fields a head has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey(u32);

impl Survey {
    /// Looks at every name once. Fields added later are not in it.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().map(|name| bits(name.as_str())).fold(0, |all, bits| all | bits))
    }

    /// Whether the field is there.
    #[must_use]
    pub fn has(self, field: Field) -> bool {
        self.0 & field as u32 != 0
    }

    /// Whether any of these is there.
    #[must_use]
    pub fn has_any(self, fields: &[Field]) -> bool {
        self.0 & fields.iter().fold(0, |all, &field| all | field as u32) != 0
    }
}

/// What a name, in lower case, means to the steps.
fn bits(name: &str) -> u32 {
    let field = match name {
        "connection" => Field::Connection,
        "keep-alive" => Field::KeepAlive,
        "proxy-connection" => Field::ProxyConnection,
        "te" => Field::Te,
        "transfer-encoding" => Field::TransferEncoding,
        "upgrade" => Field::Upgrade,
        "http2-settings" => Field::Http2Settings,
        "proxy-authenticate" | "proxy-authorization" | "proxy-authentication-info" => Field::ProxyAuth,
        "host" => Field::Host,
        "content-length" => Field::ContentLength,
        "cookie" => Field::Cookie,
        "x-forwarded-for" => Field::XForwardedFor,
        "x-forwarded-proto" => Field::XForwardedProto,
        "x-forwarded-host" => Field::XForwardedHost,
        "forwarded" => Field::Forwarded,
        "x-request-id" => Field::XRequestId,
        "via" => Field::Via,
        "x-forwarded-client-cert" => Field::Identity,
        "expect" => Field::Expect,
        "grpc-timeout" => Field::GrpcTimeout,
        _ => return other_bits(name),
    };
    field as u32
}

fn other_bits(name: &str) -> u32 {
    let identity = if is_identity(name) { Field::Identity as u32 } else { 0 };
    let underscore = if name.as_bytes().contains(&b'_') { Field::Underscore as u32 } else { 0 };
    identity | underscore
}

/// Whether a name, in lower case, claims who the client is towards servers that expect to hear it from Envoy.
pub(super) fn is_identity(name: &str) -> bool {
    name == "x-forwarded-client-cert" || name.starts_with("x-envoy-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_is_there_is_seen() {
        let mut headers = HeaderMap::new();
        for name in ["Accept", "HOST", "x-envoy-internal", "a_b", "Te"] {
            headers.append(http::HeaderName::try_from(name).expect("a name"), HeaderValue::from_static("x"));
        }
        let survey = Survey::of(&headers);
        for (field, expected) in [
            (Field::Host, true),
            (Field::Identity, true),
            (Field::Underscore, true),
            (Field::Te, true),
            (Field::Connection, false),
            (Field::Cookie, false),
        ] {
            assert_eq!(survey.has(field), expected, "{field:?}");
        }
        assert!(survey.has_any(&[Field::Connection, Field::Te]));
        assert!(!survey.has_any(&[Field::Connection, Field::Via]));
        assert_eq!(Survey::of(&HeaderMap::new()), Survey::default());
    }
}
