//! Filters: the order of their callbacks, pauses in every phase, answers of their own, failures, bounds.

mod answers;
mod answers_early;
mod answers_grpc;
mod authority;
mod calls;
mod calls_hold;
mod changes;
mod holding;
mod large;
mod order;
mod routed;
mod told;
mod upgrade;

use crate::{
    client::{Answer, answer, ask, body, closed, fetch, get, http2, request, send},
    scripted::{Do, Event, events, on_start, script, services},
    server::{HELLO, canned, echo, head, http2 as h2_server, serve, silent, tell},
    world::{PLAIN, Setup, World, run, settle},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use pillion_core::{
    drain::Signal,
    exchange::filter::{CallError, CallRefused, End, Failed, Headers, HttpCall, LocalReply, Map, Side, Stream},
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const TWO: Setup = Setup { filters: &["a", "b"], ..PLAIN };
const ONE: Setup = Setup { filters: &["a"], ..PLAIN };
const ONE_H2: Setup = Setup { filters: &["a"], cluster: "    protocol: http2", ..PLAIN };

const POST: &str = "POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: 6\r\n\r\nabcdef";

fn hears(expected: &[&str]) {
    assert_eq!(events(), expected);
}

fn reply(status: u16, body: &'static str) -> LocalReply {
    let status = StatusCode::from_u16(status).unwrap();
    LocalReply { body: Bytes::from_static(body.as_bytes()), ..LocalReply::new(status, "by_filter") }
}

/// A stream that a filter kept for later.
#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Option<Stream>>>);

impl Kept {
    fn keep(&self, stream: &Stream) {
        self.0.replace(Some(stream.clone()));
    }

    async fn wait(&self) -> Stream {
        loop {
            let kept = self.0.borrow().clone();
            if let Some(stream) = kept {
                settle().await;
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A filter that keeps each request's stream and holds its head so.
fn held(name: &'static str, how: Do) -> Kept {
    let kept = Kept::default();
    let keep = kept.clone();
    script(name, move |event, stream| match event {
        Event::RequestHeaders(_) => {
            keep.keep(stream);
            how
        }
        _ => Do::Continue,
    });
    kept
}

async fn one_record(world: &World, end: (u16, &str, &str, &str)) {
    let record = world.record().await;
    assert_eq!(record.end(), end, "{record:?}");
    world.assert_quiet().await;
}
