//! HTTP/1.1, by hand: read, find the ends of the requests, write the answers. No allocation a request.

use super::bodies::Bodies;
use crate::http1::{Length, Malformed, parse_request};
use std::{io, sync::Arc};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// A head must fit in this; bodies pass through it.
const BUFFER: usize = 16 * 1024;

/// What a connection's reads have brought and nothing has used.
struct Input {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
}

/// Serves a connection until the client leaves.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bodies: Arc<Bodies>) -> io::Result<()> {
    let mut input = Input { bytes: vec![0; BUFFER].into(), from: 0, to: 0 };
    loop {
        let head = match parse_request(&input.bytes[input.from..input.to]) {
            Ok(Some(head)) => head,
            Ok(None) if input.to - input.from < BUFFER => {
                if !input.fill(&mut stream).await? {
                    return Ok(());
                }
                continue;
            }
            Ok(None) | Err(Malformed) => {
                stream.write_all(BAD).await?;
                return stream.shutdown().await;
            }
        };
        let answer = bodies.find(head.target);
        let (length, keep_alive, waits) = (head.length, head.keep_alive, head.expects_continue);
        input.from += head.len;
        if waits {
            stream.write_all(CONTINUE).await?;
            stream.flush().await?;
        }
        input.skip(&mut stream, length).await?;
        stream.write_all(&answer.http1).await?;
        // Else the write is all there is to do: TLS alone keeps bytes back.
        stream.flush().await?;
        if !keep_alive {
            return stream.shutdown().await;
        }
    }
}

impl Input {
    /// Reads more; `false`: the client left.
    async fn fill<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<bool> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.to == self.bytes.len() {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let read = stream.read(&mut self.bytes[self.to..]).await?;
        self.to += read;
        Ok(read > 0)
    }

    /// Passes over a body.
    async fn skip<S: AsyncRead + Unpin>(&mut self, stream: &mut S, length: Length) -> io::Result<()> {
        let mut length = length;
        loop {
            let bytes = &self.bytes[self.from..self.to];
            match &mut length {
                Length::Known(left) => {
                    let take = (*left).min(bytes.len() as u64);
                    (*left, self.from) = (*left - take, self.from + take as usize);
                    if *left == 0 {
                        return Ok(());
                    }
                }
                Length::Chunked(chunked) => {
                    let eaten = chunked.eat(bytes, |_| {}).map_err(io::Error::other)?;
                    self.from += eaten.bytes;
                    if eaten.ended {
                        return Ok(());
                    }
                }
                Length::UntilClose => return Err(io::ErrorKind::InvalidData.into()),
            }
            if !self.fill(stream).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
