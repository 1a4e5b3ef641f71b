//! `--idle`: connections that sent one request each and then rest.

use super::{
    crew::each,
    fault::Fault,
    http1, http2,
    line::{Context, Stream},
    outcome::Held,
    plan::{Application, Plan},
    tcp,
};
use crate::stdin;
use std::{future::poll_fn, io, rc::Rc, sync::Arc, task::Poll};
use tokio::{select, time::sleep};

/// A connection at rest.
enum Resting {
    Stream(Stream),
    Http2(http2::Handle),
}

/// Opens the connections, tells so through `tell`, holds them until standard input ends or the time is over, tells how
/// many the peer closed.
pub(super) async fn hold(plan: Arc<Plan>, count: usize, tell: impl Fn(&Held) -> io::Result<()>) -> io::Result<()> {
    let duration = plan.duration;
    let context = Rc::new(Context::new(plan));
    let mut held = Held::default();
    let mut resting = Vec::with_capacity(count);
    for opened in each(count, || open(Rc::clone(&context))).await {
        match opened {
            Ok(connection) => resting.push(connection),
            Err(fault) => *held.errors.entry(fault.name().into()).or_default() += 1,
        }
    }
    held.open = resting.len() as u64;
    tell(&held)?;
    select! {
        () = stdin::ended() => {}
        () = sleep(duration) => {}
    }
    for connection in &mut resting {
        held.closed_by_peer += u64::from(is_closed(&context, connection).await);
    }
    held.open -= held.closed_by_peer;
    tell(&held)
}

async fn open(context: Rc<Context>) -> Result<Resting, Fault> {
    let request = &context.plan.requests[0];
    match context.plan.application {
        Application::Http2 | Application::Grpc => {
            let (shared, mut mine) = (http2::Shared::default(), None);
            http2::exchange(&context, request, &shared, &mut mine).await?;
            mine.map(Resting::Http2).ok_or(Fault::Closed)
        }
        Application::Http1 => {
            let mut line = None;
            http1::exchange(&context, request, &mut line).await?;
            line.map(Resting::Stream).ok_or(Fault::Closed)
        }
        Application::Messages | Application::Stream(_) => {
            let mut line = None;
            tcp::exchange(&context, request, &mut line).await?;
            line.map(Resting::Stream).ok_or(Fault::Closed)
        }
    }
}

async fn is_closed(context: &Context, connection: &mut Resting) -> bool {
    match connection {
        Resting::Stream(stream) => {
            poll_fn(|cx| Poll::Ready(context.poll_read(cx, stream, <[u8]>::is_empty).is_ready())).await
        }
        Resting::Http2(handle) => handle.is_closed().await,
    }
}
