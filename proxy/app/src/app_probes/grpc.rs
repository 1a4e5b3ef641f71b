//! A probe by gRPC: `grpc.health.v1.Health/Check`, success where the answer is SERVING.
//!
//! One unary call with one string going out and one number coming back: written here, since a gRPC library is larger than
//! all of the probes.

use super::{Application, Finding};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, Version, header};

/// Bytes of an answer that are read; a health answer has seven.
const ANSWER: usize = 16 * 1024;
/// Longest name of a service.
const SERVICE: usize = 4096;

/// Asks, and says what was answered.
pub(super) async fn ask(service: &str, application: Application, port: u16) -> Result<Finding, String> {
    if service.len() > SERVICE {
        return Err(format!("the service's name has more than {SERVICE} bytes"));
    }
    let socket = application.connect(port).await.map_err(|error| error.to_string())?;
    let (mut client, connection) = h2::client::handshake(socket).await.map_err(|error| error.to_string())?;
    let asked = async move {
        let request = Request::builder()
            .version(Version::HTTP_2)
            .method(Method::POST)
            .uri(format!("http://{}/grpc.health.v1.Health/Check", application.authority(port)))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(())
            .map_err(|error| error.to_string())?;
        let (response, mut body) = client.send_request(request, false).map_err(|error| error.to_string())?;
        body.send_data(message(service), true).map_err(|error| error.to_string())?;
        let response = response.await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("HTTP status {}", response.status()));
        }
        let (head, mut body) = response.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(|error| error.to_string())?;
            // The window is given back, or a long answer would stop.
            body.flow_control().release_capacity(data.len()).ok();
            if bytes.len() + data.len() > ANSWER {
                return Err("the answer is too large for a health check".to_owned());
            }
            bytes.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.map_err(|error| error.to_string())?;
        judge(trailers.as_ref().unwrap_or(&head.headers), &bytes)
    };
    // The connection moves the bytes; its own end decides nothing.
    let connection = async {
        connection.await.ok();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = asked => outcome,
        () = connection => Err("the connection ended".to_owned()),
    }
}

/// `HealthCheckRequest { service }` with the five bytes that go before each message.
fn message(service: &str) -> Bytes {
    let mut payload = BytesMut::new();
    if !service.is_empty() {
        payload.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            payload.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        payload.put_u8((length & 0x7f) as u8);
        payload.put_slice(service.as_bytes());
    }
    let mut message = BytesMut::with_capacity(5 + payload.len());
    message.put_u8(0);
    // At most SERVICE and some bytes.
    message.put_u32(u32::try_from(payload.len()).unwrap_or(0));
    message.put(payload);
    message.freeze()
}

fn judge(status: &HeaderMap, bytes: &[u8]) -> Result<Finding, String> {
    let code = status.get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("none");
    if code != "0" {
        let words = status.get("grpc-message").and_then(|words| words.to_str().ok()).unwrap_or("");
        return Err(match code {
            "12" => format!("gRPC status 12: the server does not implement grpc.health.v1.Health {words}"),
            "5" => format!("gRPC status 5: the server does not know this service {words}"),
            code => format!("gRPC status {code} {words}"),
        });
    }
    match serving(bytes) {
        Some(1) => Ok(Finding { status: StatusCode::OK, words: b"SERVING\n".to_vec() }),
        Some(2) => Err("NOT_SERVING".to_owned()),
        Some(3) => Err("SERVICE_UNKNOWN".to_owned()),
        Some(_) => Err("UNKNOWN".to_owned()),
        None => Err("what was answered is no HealthCheckResponse".to_owned()),
    }
}

/// Field 1 of a `HealthCheckResponse`; 0 where it is left out.
fn serving(bytes: &[u8]) -> Option<u64> {
    let (head, rest) = bytes.split_at_checked(5)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut message = rest.get(..length).filter(|_| head[0] == 0)?;
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read_whatever_else_is_in_it() {
        for (bytes, expected) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 2], Some(2)),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[0, 0, 0], None),
            (&[0, 0, 0, 0, 2, 8, 0xff], None),
        ] {
            assert_eq!(serving(bytes), expected, "{bytes:?}");
        }
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(message(&"x".repeat(200))[5..8], [0x0a, 0xc8, 1]);
    }
}
