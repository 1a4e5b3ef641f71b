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

/// What a name, in lower case, means to the steps. By length first: nearly every name is told from all of these by
/// its length and first byte.
fn bits(name: &str) -> u32 {
    let field = match name.len() {
        2 if name == "te" => Field::Te,
        3 if name == "via" => Field::Via,
        4 if name == "host" => Field::Host,
        6 if name == "cookie" => Field::Cookie,
        6 if name == "expect" => Field::Expect,
        7 if name == "upgrade" => Field::Upgrade,
        9 if name == "forwarded" => Field::Forwarded,
        10 if name == "connection" => Field::Connection,
        10 if name == "keep-alive" => Field::KeepAlive,
        12 if name == "x-request-id" => Field::XRequestId,
        12 if name == "grpc-timeout" => Field::GrpcTimeout,
        14 if name == "content-length" => Field::ContentLength,
        14 if name == "http2-settings" => Field::Http2Settings,
        15 if name == "x-forwarded-for" => Field::XForwardedFor,
        16 if name == "x-forwarded-host" => Field::XForwardedHost,
        16 if name == "proxy-connection" => Field::ProxyConnection,
        17 if name == "x-forwarded-proto" => Field::XForwardedProto,
        17 if name == "transfer-encoding" => Field::TransferEncoding,
        18 if name == "proxy-authenticate" => Field::ProxyAuth,
        19 if name == "proxy-authorization" => Field::ProxyAuth,
        25 if name == "proxy-authentication-info" => Field::ProxyAuth,
        _ if is_identity(name) => return Field::Identity as u32 | underscore(name),
        _ => return underscore(name),
    };
    field as u32
}

fn underscore(name: &str) -> u32 {
    match name.bytes().any(|byte| byte == b'_') {
        true => Field::Underscore as u32,
        false => 0,
    }
}

/// Whether a name, in lower case, claims who the client is towards servers that expect to hear it from Envoy.
pub(super) fn is_identity(name: &str) -> bool {
    name.starts_with("x-") && (name.starts_with("x-envoy-") || name == "x-forwarded-client-cert")
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
