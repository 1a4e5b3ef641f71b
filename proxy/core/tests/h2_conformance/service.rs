//! What stands behind the codec in these tests, chosen by the path.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame};
use pillion_core::{
    body::{Ahead, BodyError, Incoming},
    downstream::codec::{Cut, Decoded, Inbound},
};
use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::spawn_local,
};

/// What the service saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Calls.
    pub(crate) calls: Cell<usize>,
    /// Services that are running.
    pub(crate) running: Cell<usize>,
    /// Refusals, by name.
    pub(crate) refused: RefCell<Vec<&'static str>>,
    /// Requests reset without an answer, by name.
    pub(crate) reset: RefCell<Vec<&'static str>>,
    /// Why request bodies failed.
    pub(crate) broken: RefCell<Vec<String>>,
    /// Trailers received.
    pub(crate) trailers: RefCell<Vec<HeaderMap>>,
}

struct Running(Rc<Seen>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
    }
}

/// A body of so many bytes, in pieces, then trailers if any.
pub(crate) struct Content {
    left: usize,
    trailers: Option<HeaderMap>,
    _running: Option<Running>,
}

impl Body for Content {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.left > 0 {
            let piece = this.left.min(8192);
            this.left -= piece;
            static ZEROS: [u8; 8192] = [b'0'; 8192];
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS[..piece])))));
        }
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.trailers.is_none()
    }
}

impl Ahead for Content {}

impl Cut for Content {
    fn cut(self: Pin<&mut Self>, why: &'static str) {
        assert_eq!(why, "write_timeout");
    }
}

fn content(left: usize) -> Content {
    Content { left, trailers: None, _running: None }
}

fn answer(status: u16, left: usize) -> Response<Content> {
    Response::builder().status(status).body(content(left)).unwrap()
}

pub(crate) async fn serve(decoded: Decoded, seen: Rc<Seen>) -> Response<Content> {
    seen.calls.set(seen.calls.get() + 1);
    seen.running.set(seen.running.get() + 1);
    let running = Running(Rc::clone(&seen));
    let Inbound { request, upgrade, interim } = match decoded {
        Decoded::Request(inbound) => inbound,
        Decoded::Refused(_, refusal) => {
            seen.refused.borrow_mut().push(refusal.name());
            return answer(refusal.status(), 3);
        }
        Decoded::Reset(_, why) => {
            seen.reset.borrow_mut().push(why);
            return answer(500, 0);
        }
    };
    if let Some(interim) = interim.filter(|_| request.headers().contains_key(http::header::EXPECT)) {
        interim.send(Response::builder().status(StatusCode::CONTINUE).body(()).unwrap());
    }
    if let Some(upgrade) = upgrade {
        if request.uri().authority().is_some_and(|authority| authority.host() == "refuse.example") {
            return answer(405, 0);
        }
        spawn_local(async move {
            // Echoes until the client ends its half.
            let Ok(mut io) = upgrade.end().await else {
                return;
            };
            let mut buf = [0; 1024];
            while let Ok(taken @ 1..) = io.read(&mut buf).await {
                io.write_all(&buf[..taken]).await.unwrap();
            }
            io.shutdown().await.unwrap();
        });
        return answer(200, 0);
    }
    match request.uri().path() {
        "/hang" => pending().await,
        "/panic" => panic!("as asked for"),
        "/early" => answer(200, 5),
        "/empty" => answer(204, 0),
        "/hop" => {
            let mut response = answer(200, 0);
            for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
                response.headers_mut().insert(name, "close".parse().unwrap());
            }
            response
        }
        "/trailers" => {
            let mut response = answer(200, 4);
            let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), "yes".parse().unwrap())]);
            response.body_mut().trailers = Some(trailers);
            response
        }
        path => {
            let size = path.strip_prefix("/bytes/").map_or(5, |size| size.parse().unwrap());
            if let Err(error) = drain(request.into_body(), &seen).await {
                seen.broken.borrow_mut().push(error.to_string());
                return answer(408, 0);
            }
            let mut response = answer(200, size);
            response.body_mut()._running = Some(running);
            response
        }
    }
}

async fn drain(mut body: Incoming, seen: &Seen) -> Result<(), BodyError> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(trailers) = frame?.into_trailers() {
            seen.trailers.borrow_mut().push(trailers);
        }
    }
    Ok(())
}
