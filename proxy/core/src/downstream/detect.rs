//! detect: which protocol a connection speaks, told from its first bytes.
//!
//! The decision is a pure function of a prefix, [`decide`]; [`first_bytes`] reads until it is made. No byte is
//! lost: what was read is handed on with the verdict. Nothing is answered here.

use crate::io::Socket;
use bytes::{Bytes, BytesMut};
use std::{future::poll_fn, io, pin::Pin, task::Poll, time::Duration};
use tokio::io::{AsyncRead, ReadBuf};

/// What a client with prior knowledge of HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How every TLS handshake begins: a record of type handshake, of legacy version 3.x (RFC 8446 §5.1). No method of HTTP
/// begins with a control byte.
const CLIENT_HELLO: &[u8] = &[0x16, 0x03];

/// Bytes read at once: a usual request's head comes whole, and the stack bears it.
const READ: usize = 4096;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// HTTP/2 with prior knowledge.
    Http2,
    /// HTTP/1, or what the HTTP/1 guard will refuse with an answer that every client understands.
    Http1,
    /// TLS, on a listener that speaks clear text: no answer of HTTP's means anything to its client.
    Tls,
    /// Not decided by so few bytes.
    More,
}

/// How detection ended.
#[derive(Debug)]
pub enum Detected {
    /// HTTP/1; the bytes read so far.
    Http1(Bytes),
    /// HTTP/2; the bytes read so far, the preface among them.
    Http2(Bytes),
    /// A TLS handshake.
    Tls,
    /// The client closed without a byte.
    Closed,
    /// The client was silent, or stopped before it could be told what it speaks, beyond the deadline.
    TimedOut,
    /// The connection failed.
    Failed(io::Error),
}

impl Detected {
    /// A stable name in snake case: a metric's label value.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http1(_) => "http1",
            Self::Http2(_) => "http2",
            Self::Tls => "tls",
            Self::Closed => "closed",
            Self::TimedOut => "timeout",
            Self::Failed(_) => "failed",
        }
    }
}

/// Decides by a prefix of the stream. Deciding on a prefix and on any longer one gives the same answer, once
/// it is not [`Verdict::More`].
#[must_use]
pub fn decide(prefix: &[u8]) -> Verdict {
    if prefix.starts_with(CLIENT_HELLO) {
        return Verdict::Tls;
    }
    if prefix.len() >= PREFACE.len() {
        return if prefix.starts_with(PREFACE) { Verdict::Http2 } else { Verdict::Http1 };
    }
    if PREFACE.starts_with(prefix) || CLIENT_HELLO.starts_with(prefix) { Verdict::More } else { Verdict::Http1 }
}

/// Reads until the protocol is known, at most for `deadline`.
///
/// Dropping the future loses the bytes read: the connection must go with it.
pub async fn first_bytes(socket: &mut Socket, deadline: Duration) -> Detected {
    match tokio::time::timeout(deadline, read_until_known(socket)).await {
        Ok(detected) => detected,
        Err(_elapsed) => Detected::TimedOut,
    }
}

async fn read_until_known(socket: &mut Socket) -> Detected {
    let mut prefix = BytesMut::new();
    loop {
        match read_some(socket, &mut prefix).await {
            Ok(0) if prefix.is_empty() => return Detected::Closed,
            // The guard answers a head that was cut short.
            Ok(0) => return Detected::Http1(prefix.freeze()),
            Ok(_) => match decide(&prefix) {
                Verdict::Http1 => return Detected::Http1(prefix.freeze()),
                Verdict::Http2 => return Detected::Http2(prefix.freeze()),
                Verdict::Tls => return Detected::Tls,
                Verdict::More => {}
            },
            Err(error) => return Detected::Failed(error),
        }
    }
}

/// One read. The buffer lives on the stack for the time of a poll: a client that says nothing holds no memory.
async fn read_some(socket: &mut Socket, prefix: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut bytes = [std::mem::MaybeUninit::uninit(); READ];
        let mut buf = ReadBuf::uninit(&mut bytes);
        match Pin::new(&mut *socket).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => {
                prefix.extend_from_slice(buf.filled());
                Poll::Ready(Ok(buf.filled().len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn every_proper_prefix_of_the_preface_asks_for_more() {
        for end in 0..PREFACE.len() {
            assert_eq!(decide(&PREFACE[..end]), Verdict::More, "{end} bytes");
        }
        assert_eq!(decide(PREFACE), Verdict::Http2);
    }

    #[test]
    fn one_byte_that_differs_is_http1() {
        for at in 0..PREFACE.len() {
            let mut bytes = PREFACE.to_vec();
            bytes[at] ^= 1;
            assert_eq!(decide(&bytes), Verdict::Http1, "byte {at}");
            assert_eq!(decide(&bytes[..=at]), Verdict::Http1, "byte {at}, cut behind it");
        }
        assert_eq!(decide(b"PUT / HTTP/1.1\r\n"), Verdict::Http1);
    }

    #[test]
    fn a_client_hello_is_told_by_two_bytes() {
        assert_eq!(decide(&[0x16]), Verdict::More);
        for version in 0..=4 {
            assert_eq!(decide(&[0x16, 0x03, version, 0x02, 0x00, 0x01]), Verdict::Tls);
        }
        assert_eq!(decide(&[0x16, 0x04]), Verdict::Http1);
        assert_eq!(decide(b"\x16GET / HTTP/1.1\r\n"), Verdict::Http1);
    }

    proptest! {
        #[test]
        fn a_decision_stands(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let whole = decide(&bytes);
            for end in 0..bytes.len() {
                let early = decide(&bytes[..end]);
                prop_assert!(early == Verdict::More || early == whole);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_in_pieces_are_kept_and_silence_ends() {
        let (mut client, server) = tokio::io::duplex(256);
        let mut socket = Socket::Memory(server);
        let reading = async { first_bytes(&mut socket, Duration::from_secs(10)).await };
        let writing = async {
            for piece in PREFACE.chunks(5) {
                client.write_all(piece).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (detected, ()) = tokio::join!(reading, writing);
        assert!(matches!(detected, Detected::Http2(bytes) if bytes == PREFACE));

        let silent = first_bytes(&mut socket, Duration::from_secs(10)).await;
        assert!(matches!(silent, Detected::TimedOut));
        drop(client);
        assert!(matches!(first_bytes(&mut socket, Duration::from_secs(10)).await, Detected::Closed));
    }
}
