//! HTTP/1.1, by hand: the same bytes again and again, and a reader that keeps nothing of what comes.
//!
//! A request costs a write, a read and a parse of the head; no allocation, no copy.

use super::{
    fault::Fault,
    line::{Context, Stream},
    plan::Reuse,
    request::Request,
    tally::Good,
};
use crate::http1::{Answer, Feed, ResponseReader};
use std::{future::poll_fn, task::Poll};
use tokio::io::AsyncWriteExt;

/// One request and its answer. `line` is a connection that rests, if there is one; what can be used again is put back.
pub(super) async fn exchange(context: &Context, request: &Request, line: &mut Option<Stream>) -> Result<Good, Fault> {
    if let Some(stream) = line
        && !rests(context, stream).await?
    {
        *line = None;
    }
    let mut stream = match line.take() {
        Some(stream) => stream,
        None => context.connect().await?,
    };
    let (answer, compared) = ask(context, request, &mut stream).await?;
    if answer.keep_alive && context.plan.reuse == Reuse::KeepAlive {
        *line = Some(stream);
    }
    // A status or a length tells more than that the bytes differ.
    request.judge(answer.status, answer.body).and_then(|good| compared.map(|()| good))
}

/// Has the server not closed the connection meanwhile? It may, between requests. Without news from the socket this is no
/// system call.
async fn rests(context: &Context, stream: &mut Stream) -> Result<bool, Fault> {
    poll_fn(|cx| {
        Poll::Ready(match context.poll_read(cx, stream, <[u8]>::is_empty) {
            Poll::Pending => Ok(true),
            Poll::Ready(Ok(true) | Err(_)) => Ok(false),
            Poll::Ready(Ok(false)) => Err(Fault::Malformed), // bytes that nobody asked for
        })
    })
    .await
}

/// The answer, and whether its bytes are those that were wanted.
async fn ask(context: &Context, request: &Request, stream: &mut Stream) -> Result<(Answer, Result<(), Fault>), Fault> {
    let sent = async {
        stream.write_all(&request.http1).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| Fault::of_io(&error))?;
    let mut reader = ResponseReader::default();
    let mut comparison = request.compare(&context.compared);
    loop {
        let read = poll_fn(|cx| {
            context.poll_read(cx, stream, |bytes| match bytes {
                [] => match reader.end() {
                    Some(answer) => Ok(Feed::Done(answer)),
                    None if reader.within_response() => Err(Fault::ShortBody),
                    None => Err(Fault::Closed),
                },
                bytes => reader.feed(bytes, |data| comparison.see(data)).map_err(|_malformed| Fault::Malformed),
            })
        });
        match read.await {
            Ok(Ok(Feed::More)) => {}
            Ok(Ok(Feed::Done(answer))) => return Ok((answer, comparison.judge())),
            Ok(Err(fault)) => return Err(fault),
            Err(error) => return Err(Fault::of_io(&error)),
        }
    }
}
