//! Plain TCP: messages there and back, and bytes as fast as they go.

use super::{
    Direction,
    crew::Crew,
    fault::Fault,
    line::{Context, Stream},
    plan::Reuse,
    request::Request,
    tally::Good,
};
use std::{future::poll_fn, pin::Pin, rc::Rc, task::Poll, time::Instant};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Bytes offered to a socket at once.
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

/// One message there, and the same back.
pub(super) async fn exchange(context: &Context, request: &Request, line: &mut Option<Stream>) -> Result<Good, Fault> {
    let mut stream = match line.take() {
        Some(stream) => stream,
        None => context.connect().await?,
    };
    let message = &request.body[..];
    stream.write_all(message).await.map_err(|error| Fault::of_io(&error))?;
    let mut rest = message;
    while !rest.is_empty() {
        let read = poll_fn(|cx| {
            context.poll_read(cx, &mut stream, |bytes| {
                if bytes.is_empty() {
                    return Err(Fault::Closed);
                }
                let (expected, behind) = rest.split_at_checked(bytes.len()).ok_or(Fault::Mismatch)?;
                if bytes == expected { Ok(behind) } else { Err(Fault::Mismatch) }
            })
        });
        rest = read.await.map_err(|error| Fault::of_io(&error))??;
    }
    if context.plan.reuse == Reuse::KeepAlive {
        *line = Some(stream);
    }
    Ok(Good { received: request.sent, sent: request.sent })
}

/// Bytes one way or both until the end. Reading and writing take turns within one task.
pub(super) async fn stream(crew: Rc<Crew>, line: Option<Stream>, direction: Direction) {
    let mut stream = match line {
        Some(stream) => stream,
        None => match crew.context.connect().await {
            Ok(stream) => stream,
            Err(fault) => return crew.tally.borrow_mut().fault(fault),
        },
    };
    let (reads, writes) = match direction {
        Direction::Download => (true, false),
        Direction::Upload => (false, true),
        Direction::Both => (true, true),
    };
    while Instant::now() < crew.window.end {
        let moved = poll_fn(|cx| {
            let (mut received, mut sent) = (0, 0);
            if reads {
                match crew.context.poll_read(cx, &mut stream, <[u8]>::len) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(Fault::Closed)),
                    Poll::Ready(Ok(bytes)) => received = bytes as u64,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::of_io(&error))),
                    Poll::Pending => {}
                }
            }
            if writes {
                match Pin::new(&mut stream).poll_write(cx, &ZEROS) {
                    Poll::Ready(Ok(bytes)) => sent = bytes as u64,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::of_io(&error))),
                    Poll::Pending => {}
                }
            }
            if received + sent > 0 { Poll::Ready(Ok((received, sent))) } else { Poll::Pending }
        });
        match moved.await {
            Ok((received, sent)) => {
                let now = Instant::now();
                if now >= crew.window.measured && now <= crew.window.end {
                    crew.tally.borrow_mut().streamed(received, sent);
                }
            }
            Err(fault) => return crew.tally.borrow_mut().fault(fault),
        }
    }
}
