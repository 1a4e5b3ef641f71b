//! What a guest does to its stream: go on, close, answer.

use super::headers::MOST_GIVEN;
use crate::{
    abi::{LogLevel, Status, StreamType, pairs, pairs::Pairs},
    vm::{
        memory::{Answer, slice, split},
        state::Host,
        wish::Wish,
    },
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pillion_core::exchange::filter::{LocalReply, MOST_REPLY, Refused, Side, StreamKind};
use std::borrow::Cow;
use wasmtime::Caller;

/// Bytes of `details`: a line of the access log, not a document.
const MOST_DETAILS: usize = 256;

pub(super) fn continue_stream(caller: &mut Caller<'_, Host>, kind: u32) -> Answer {
    let kind = StreamType::of(kind)?;
    if kind == StreamType::Upstream {
        return Err(Status::Unimplemented.into());
    }
    // Acting on a plugin does nothing, as in Envoy: a guest that forgot to name the stream.
    let Ok(stream) = caller.data().stream() else { return Ok(()) };
    match (kind, stream.kind()) {
        (StreamType::Request, StreamKind::Http) | (StreamType::Downstream, StreamKind::Tcp) => {
            stream.resume(Side::Request);
        }
        (StreamType::Response, StreamKind::Http) => stream.resume(Side::Response),
        (StreamType::Request | StreamType::Response, StreamKind::Tcp)
        | (StreamType::Downstream, StreamKind::Http)
        | (StreamType::Upstream, _) => {}
    }
    Ok(())
}

pub(super) fn continue_request(caller: &mut Caller<'_, Host>) -> Answer {
    continue_stream(caller, 0)
}

pub(super) fn continue_response(caller: &mut Caller<'_, Host>) -> Answer {
    continue_stream(caller, 1)
}

pub(super) fn close_stream(caller: &mut Caller<'_, Host>, kind: u32) -> Answer {
    let kind = StreamType::of(kind)?;
    let host = caller.data_mut();
    let Ok(stream) = host.stream() else { return Ok(()) };
    match (kind, stream.kind()) {
        (StreamType::Request | StreamType::Response, StreamKind::Http)
        | (StreamType::Downstream | StreamType::Upstream, StreamKind::Tcp) => host.wish(Wish::Close),
        // What the stream does not have is not closed, as in Envoy.
        (StreamType::Request | StreamType::Response, StreamKind::Tcp)
        | (StreamType::Downstream | StreamType::Upstream, StreamKind::Http) => {}
    }
    Ok(())
}

pub(super) fn clear_route_cache(caller: &mut Caller<'_, Host>) -> Answer {
    // Without effect on a plugin, as in Envoy.
    if let Ok(stream) = caller.data().stream() {
        stream.clear_route_cache();
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn send_local_response(
    caller: &mut Caller<'_, Host>,
    status: u32,
    details: u32,
    details_length: u32,
    body: u32,
    body_length: u32,
    headers: u32,
    headers_length: u32,
    grpc_status: u32,
) -> Answer {
    let (memory, host) = split(caller);
    let details = slice(memory, details, details_length)?;
    let body = slice(memory, body, body_length)?;
    if headers_length as usize > MOST_GIVEN {
        return Err(Status::BadArgument.into());
    }
    // Fields that cannot be read are none, as in Envoy: what was meant to be answered is answered.
    let fields = pairs::decode(slice(memory, headers, headers_length)?).unwrap_or(Pairs::none());
    // Without effect on a plugin, as in Envoy.
    let Ok(stream) = host.stream().cloned() else { return Ok(()) };
    let reply = match body.len() {
        0..=MOST_REPLY => LocalReply {
            // What does not fit is no status either; the proxy answers 500 for both.
            status: u16::try_from(status).unwrap_or(0),
            headers: fields.filter_map(|(name, value)| field(name, value)).collect(),
            body: Bytes::copy_from_slice(body),
            grpc_status: (grpc_status != u32::MAX).then_some(grpc_status),
            details: self::details(details),
        },
        // A guest that is refused would leave its client waiting: few look at what this function returns.
        length => {
            let words = format!(
                "the filter answers with {length} bytes, and a reply may have {MOST_REPLY}: its client gets 503, or is cut off where the answer had begun"
            );
            host.log(LogLevel::Error, words.as_bytes());
            LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, TOO_LARGE)
        }
    };
    match stream.takes(&reply) {
        // The first answer stands; opaque bytes have none. Neither is the guest's error.
        Err(Refused::Answered | Refused::NotHttp) => {}
        Err(Refused::Over | Refused::TooMuch) => return Err(Status::BadArgument.into()),
        Ok(()) => host.wish(Wish::Reply(reply)),
    }
    Ok(())
}

/// What the access log says of a reply that is too large to be one.
const TOO_LARGE: &str = "wasm_local_reply_too_large";

/// A field of a local reply; those that the proxy sets are left out, as in Envoy.
fn field(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name).ok()?;
    if name == header::CONTENT_LENGTH || name == header::SERVER {
        return None;
    }
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

/// What the access log says of a reply without details. The guest reads them as it gave them: empty.
pub(super) const NO_DETAILS: &str = "wasm_local_reply";

/// A word for the access log: spaces would break its columns.
fn details(text: &[u8]) -> Cow<'static, str> {
    if text.is_empty() {
        return Cow::Borrowed(NO_DETAILS);
    }
    let text = String::from_utf8_lossy(&text[..text.len().min(MOST_DETAILS)]);
    Cow::Owned(text.chars().map(|one| if one.is_whitespace() || one.is_control() { '_' } else { one }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_one_word() {
        assert_eq!(details(b"no token\ngiven"), "no_token_given");
        assert_eq!(details(b""), "wasm_local_reply");
        assert_eq!(details(&[b'a'; 1000]).len(), MOST_DETAILS);
    }

    #[test]
    fn the_proxys_own_fields_are_left_out() {
        assert_eq!(field(b"Content-Length", b"9"), None);
        assert_eq!(field(b":status", b"200"), None);
        assert_eq!(field(b"x", b"a\nb"), None);
        assert!(field(b"X-A", b"b").is_some());
    }
}
