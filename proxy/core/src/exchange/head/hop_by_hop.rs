//! Fields that belong to one connection and go no further (RFC 9110 §7.6.1).
//!
//! Removed: `Connection` and what it names, `Keep-Alive`, `Proxy-Connection`, `Transfer-Encoding` (framing is the
//! codec's), `HTTP2-Settings`, `Proxy-Authenticate`, `Proxy-Authentication-Info` and `Proxy-Authorization` (§11.7: they
//! are between a client and the proxy it chose), `TE` but for `trailers` in requests, `Upgrade` but on an accepted upgrade. `Trailer`
//! is kept, so that trailers can be sent on.
//!
//! A client may not use `Connection` to take away what the next server must see: a request that names such a field
//! is refused, a response that does keeps it.

use super::{
    Field, HeadRefusal, Survey,
    survey::is_identity,
    target::{add, put},
};
use http::{HeaderMap, HeaderValue, header};

/// What becomes of `Upgrade`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeField {
    /// Removed.
    Strip,
    /// Sent on with `Connection: upgrade`; `h2c` is removed all the same.
    Keep,
}

/// What is between the two ends of a connection, beside what a proxy is asked to authenticate by.
pub const OF_CONNECTION: [Field; 7] = [
    Field::Connection,
    Field::KeepAlive,
    Field::ProxyConnection,
    Field::Te,
    Field::TransferEncoding,
    Field::Upgrade,
    Field::Http2Settings,
];

const ALL: [Field; 8] = {
    let [a, b, c, d, e, f, g] = OF_CONNECTION;
    [a, b, c, d, e, f, g, Field::ProxyAuth]
};

/// What `Connection` commonly names; all of it is dealt with by name.
const KNOWN: [&str; 8] =
    ["close", "keep-alive", "upgrade", "te", "trailer", "http2-settings", "proxy-connection", "transfer-encoding"];

/// What `Connection` may not take away: who is asked for what, by whom, with which right, and how the body is read.
const END_TO_END: [&str; 27] = [
    "host",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "location",
    "origin",
    "range",
    "set-cookie",
    "strict-transport-security",
    "traceparent",
    "tracestate",
    "vary",
    "via",
    "www-authenticate",
    "x-real-ip",
    "x-request-id",
];

/// Removes from a request what is not for the next hop.
pub fn request(headers: &mut HeaderMap, survey: Survey, upgrade: UpgradeField) -> Result<(), HeadRefusal> {
    if !survey.has_any(&ALL) {
        return Ok(());
    }
    let others = names_others(headers, survey);
    if others && named(headers).any(is_end_to_end) {
        return Err(HeadRefusal::ConnectionNamesEndToEnd);
    }
    strip(headers, survey, upgrade, others)
}

/// Removes from a request that filters have passed what was shown to them of its connection, and what they wrote of one.
/// What a client's `Connection` names has gone before: a field of such a name is the filters'.
pub fn behind_filters(headers: &mut HeaderMap, survey: Survey) -> Result<(), HeadRefusal> {
    if !survey.has_any(&ALL) {
        return Ok(());
    }
    strip(headers, survey, UpgradeField::Strip, false)
}

/// Removes from a response what is not for the client.
pub fn response(headers: &mut HeaderMap, survey: Survey, upgrade: UpgradeField) -> Result<(), HeadRefusal> {
    if !survey.has_any(&ALL) {
        return Ok(());
    }
    let others = names_others(headers, survey);
    strip(headers, survey, upgrade, others)?;
    if survey.has(Field::Te) {
        // Only requests say what they take (RFC 9110 §10.1.4).
        headers.remove(header::TE);
    }
    Ok(())
}

/// The one protocol an HTTP/1.1 request asks to change to (RFC 9110 §7.8); `None` when it asks for none, for
/// several, for `h2c`, or does not say so in `Connection`.
#[must_use]
pub fn upgrade(headers: &HeaderMap, survey: Survey) -> Option<&str> {
    if !survey.has(Field::Upgrade) || !named(headers).any(|name| name.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let mut protocols = tokens(headers, header::UPGRADE);
    let only = protocols.next()?;
    (protocols.next().is_none() && !is_h2c(only)).then_some(only)
}

fn strip(headers: &mut HeaderMap, survey: Survey, upgrade: UpgradeField, others: bool) -> Result<(), HeadRefusal> {
    if others {
        remove_named(headers);
    }
    if survey.has(Field::Connection) {
        headers.remove(header::CONNECTION);
    }
    if survey.has(Field::TransferEncoding) {
        headers.remove(header::TRANSFER_ENCODING);
    }
    if survey.has(Field::KeepAlive) {
        headers.remove("keep-alive");
    }
    if survey.has(Field::ProxyConnection) {
        headers.remove("proxy-connection");
    }
    if survey.has(Field::Http2Settings) {
        headers.remove("http2-settings");
    }
    if survey.has(Field::ProxyAuth) {
        headers.remove(header::PROXY_AUTHENTICATE);
        headers.remove(header::PROXY_AUTHORIZATION);
        headers.remove("proxy-authentication-info");
    }
    if survey.has(Field::Te) {
        let trailers = tokens(headers, header::TE).any(is_trailers);
        headers.remove(header::TE);
        if trailers {
            put(headers, header::TE, HeaderValue::from_static("trailers"))?;
        }
    }
    if survey.has(Field::Upgrade) {
        keep_upgrade(headers, upgrade)?;
    }
    Ok(())
}

fn keep_upgrade(headers: &mut HeaderMap, upgrade: UpgradeField) -> Result<(), HeadRefusal> {
    let kept: Option<HeaderValue> = match upgrade {
        UpgradeField::Strip => None,
        UpgradeField::Keep => {
            let mut wanted = tokens(headers, header::UPGRADE).filter(|name| !is_h2c(name));
            wanted.next().and_then(|first| {
                let all = wanted.fold(first.to_owned(), |all, name| all + ", " + name);
                HeaderValue::try_from(all).ok()
            })
        }
    };
    headers.remove(header::UPGRADE);
    if let Some(kept) = kept {
        put(headers, header::UPGRADE, kept)?;
        add(headers, header::CONNECTION, HeaderValue::from_static("upgrade"))?;
    }
    Ok(())
}

/// Whether `Connection` names anything that is not dealt with by name.
fn names_others(headers: &HeaderMap, survey: Survey) -> bool {
    survey.has(Field::Connection) && named(headers).any(is_other)
}

fn is_other(name: &str) -> bool {
    !KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Removes the fields that `Connection` names, but for those it may not.
fn remove_named(headers: &mut HeaderMap) {
    // Rare: the values are held while the map changes. They are counted references.
    let values = headers.get_all(header::CONNECTION).iter().cloned();
    let values: Vec<HeaderValue> = values.collect();
    for name in values.iter().flat_map(list) {
        if is_other(name) && !is_end_to_end(name) {
            headers.remove(name);
        }
    }
}

fn is_end_to_end(name: &str) -> bool {
    const PREFIXES: [&str; 2] = ["x-forwarded-", "x-envoy-"];
    let begins = |prefix: &&str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    is_identity(name) || PREFIXES.iter().any(begins) || END_TO_END.iter().any(|field| name.eq_ignore_ascii_case(field))
}

fn is_h2c(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("h2c") || protocol.eq_ignore_ascii_case("h2")
}

/// `trailers`, with or without a weight.
fn is_trailers(coding: &str) -> bool {
    let name = coding.split(';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case("trailers")
}

fn named(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    tokens(headers, header::CONNECTION)
}

fn tokens(headers: &HeaderMap, name: http::HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().flat_map(list)
}

/// The members of a list (RFC 9110 §5.6.1); one that is not text is none of those looked for.
fn list(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value
        .as_bytes()
        .split(|&byte| byte == b',')
        .filter_map(|member| std::str::from_utf8(member.trim_ascii()).ok())
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests;
