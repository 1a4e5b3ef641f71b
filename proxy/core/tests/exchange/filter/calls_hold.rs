//! Filters: what their calls hold in memory.

use super::*;
use pillion_core::exchange::filter::{Bound, GrpcCall, GrpcEvent, Holds, NoRoom, Services};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Lets calls hold so many bytes.
#[derive(Debug)]
struct Most {
    requests: usize,
    all: usize,
    held: AtomicUsize,
}

impl Most {
    fn of(requests: usize, all: usize) -> Arc<Self> {
        Arc::new(Self { requests, all, held: AtomicUsize::new(0) })
    }

    fn services(self: &Arc<Self>) -> Services {
        services().holding(Arc::clone(self) as _)
    }

    fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Waits until so much is held: given up a call is by its task, which runs later.
    async fn until(&self, bytes: usize) {
        for _ in 0..1000 {
            if self.held() == bytes {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{} bytes are held, and not {bytes}", self.held());
    }
}

impl Bound for Most {
    fn take(&self, bytes: usize, what: Holds) -> Result<(), NoRoom> {
        let most = if what == Holds::Request { self.requests } else { self.all };
        let held = self.held() + bytes;
        if held > most {
            return Err(NoRoom);
        }
        self.held.store(held, Relaxed);
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
    }
}

const POST: [(&[u8], &[u8]); 3] = [(b":method", b"POST"), (b":path", b"/"), (b":authority", b"a")];

/// What a field takes beside its letters, and a frame of messages beside its bytes.
const FIELD: usize = 100;
const FRAME: usize = 256;

/// Bytes of those fields.
const SAID: usize = 28 + 3 * FIELD;

fn post(body: &[u8]) -> HttpCall<'_> {
    HttpCall { cluster: "up", headers: &POST, body, trailers: &[], timeout: Duration::from_secs(5) }
}

fn grpc() -> GrpcCall<'static> {
    GrpcCall {
        cluster: "up",
        authority: None,
        service: "s.S",
        method: "M",
        metadata: &[(b"x-bin", b"\x01\x02")],
        timeout: None,
    }
}

/// Bytes of its metadata, and of what stands before a message.
const METADATA: usize = 7 + FIELD;
const PREFIX: usize = 5;

#[test]
fn a_body_counts_until_it_is_written_or_given_up() {
    const BODY: usize = 1 << 20;
    run(
        ONE,
        |_, _| {
            serve(|stream| async move {
                std::future::pending::<()>().await;
                drop(stream);
            })
        },
        |_world| async move {
            let most = Most::of(2 * (SAID + BODY), usize::MAX);
            let (services, body) = (most.services(), vec![b'x'; BODY]);
            let first = services.http_call(&post(&body)).unwrap();
            let second = services.http_call(&post(&body)).unwrap();
            assert_eq!(most.held(), 2 * (SAID + BODY));
            assert_eq!(services.http_call(&post(&body)).err(), Some(CallRefused::NoRoom(NoRoom)));
            assert_eq!(services.http_call(&post(b"")).err(), Some(CallRefused::NoRoom(NoRoom)), "its fields count");
            assert_eq!(most.held(), 2 * (SAID + BODY), "of what is refused nothing is held");
            drop(second);
            most.until(SAID + BODY).await;
            // Its server does not read.
            let task = services.spawn(async move { drop(first.await) });
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(most.held(), SAID + BODY);
            drop(task);
            most.until(0).await;
        },
    );
    run(
        ONE,
        |_, _| echo(),
        |_world| async move {
            let most = Most::of(SAID + 100, 10_000);
            let services = most.services();
            let reply = services.http_call(&post(b"who?")).unwrap().await.unwrap();
            assert_eq!(most.held(), reply.body.len(), "what is written counts no more, what is answered does");
            let part = reply.body.slice(..4);
            drop(reply);
            assert!(most.held() > 4, "a part holds the whole");
            drop(part);
            assert_eq!(most.held(), 0);
        },
    );
}

/// A connection is let go with what waits on it, though the answer has come and the call is over.
#[test]
fn a_server_that_has_answered_and_reads_no_more_holds_a_body_for_half_a_minute() {
    const BODY: usize = 1 << 20;
    run(
        ONE,
        |_, _| {
            serve(|mut stream| async move {
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                std::future::pending::<()>().await;
                drop(stream);
            })
        },
        |_world| async move {
            let most = Most::of(usize::MAX, usize::MAX);
            let body = vec![b'x'; BODY];
            let reply = most.services().http_call(&post(&body)).unwrap().await.unwrap();
            assert_eq!(reply.body, "hello");
            drop(reply);
            tokio::time::sleep(Duration::from_secs(29)).await;
            assert_eq!(most.held(), BODY);
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(most.held(), 0);
        },
    );
}

#[test]
fn an_answer_beyond_what_calls_may_hold_is_a_failed_call() {
    run(
        ONE,
        |_, _| canned(HELLO),
        |_world| async move {
            let most = Most::of(SAID, SAID + 4);
            let error = most.services().http_call(&post(b"")).unwrap().await.unwrap_err();
            assert!(matches!(error, CallError::NoRoom(_)) && error.as_response().is_none(), "{error:?}");
            assert_eq!(most.held(), 0);
            let enough = Most::of(SAID, SAID + 5);
            assert_eq!(enough.services().http_call(&post(b"")).unwrap().await.unwrap().body, "hello");
        },
    );
}

#[test]
fn messages_count_until_they_are_written_read_or_given_up() {
    run(
        ONE_H2,
        |_, _| h2_server(super::calls::grpc_echo),
        |world| async move {
            const BOTH: usize = 2 * (PREFIX + 3);
            let most = Most::of(METADATA + FRAME + BOTH, METADATA + FRAME + 2 * BOTH);
            let services = most.services();
            let (stream, mut events) = services.grpc_stream(&grpc()).unwrap();
            stream.send(b"one").unwrap();
            stream.send(b"two").unwrap();
            assert!(matches!(stream.send(b""), Err(CallError::NoRoom(_))));
            assert_eq!(most.held(), METADATA + FRAME + BOTH);
            assert!(matches!(events.next().await.unwrap(), Some(GrpcEvent::Initial(_))));
            let Some(GrpcEvent::Message(message)) = events.next().await.unwrap() else { panic!("no message") };
            assert_eq!(message, "one");
            let Some(GrpcEvent::Message(two)) = events.next().await.unwrap() else { panic!("no message") };
            // Both are written and answered; the instance has them.
            assert_eq!(most.held(), METADATA + BOTH);
            drop((message, two));
            assert_eq!(most.held(), METADATA);
            // Given up before it is written.
            stream.send(b"six").unwrap();
            stream.cancel();
            assert_eq!(most.held(), METADATA);
            drop(events);
            most.until(0).await;
            assert!(matches!(services.grpc_call(&grpc(), &[0; 2 * BOTH]).err(), Some(CallRefused::NoRoom(_))));
            assert_eq!(most.held(), 0);
            world.assert_quiet().await;
        },
    );
}

/// Nothing of a stream outlives both of its halves, though its server leaves the window shut.
#[test]
fn messages_nobody_reads_go_with_their_stream() {
    const MESSAGE: usize = 1 << 20;
    async fn silent(request: http::Request<h2::RecvStream>, _respond: h2::server::SendResponse<Bytes>) {
        let mut body = request.into_body();
        // Takes, and opens no window.
        while let Some(Ok(_)) = body.data().await {}
    }
    run(
        ONE_H2,
        |_, _| h2_server(silent),
        |world| async move {
            let most = Most::of(usize::MAX, usize::MAX);
            let services = most.services();
            let (stream, mut events) = services.grpc_stream(&grpc()).unwrap();
            stream.send(&vec![0; MESSAGE]).unwrap();
            stream.send(&vec![0; MESSAGE]).unwrap();
            let task = services.spawn(async move { drop(events.next().await) });
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(most.held(), METADATA + 2 * (FRAME + PREFIX + MESSAGE), "the first is not written whole");
            drop((stream, task));
            most.until(0).await;
            world.assert_quiet().await;
        },
    );
}

/// Neither the places of short messages nor the bytes of long ones are had for nothing, and both go to their server as said.
#[test]
fn messages_wait_in_what_they_count_for() {
    async fn lengths(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
        let mut body = request.into_body();
        let mut all = 0;
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            all += data.len();
        }
        let head = Response::builder().header("grpc-status", "0").header("x-bytes", all).body(()).unwrap();
        respond.send_response(head, true).unwrap();
    }
    run(
        ONE_H2,
        |_, _| h2_server(lengths),
        |world| async move {
            for (number, length) in [(20_000, 0), (20_000, 20), (2_000, 5_000), (3, 5 << 20)] {
                let most = Most::of(usize::MAX, usize::MAX);
                let (stream, mut events) = most.services().grpc_stream(&grpc()).unwrap();
                let message = vec![b'm'; length];
                (0..number).for_each(|_| stream.send(&message).unwrap());
                let (held, all) = (most.held() - METADATA, number * (PREFIX + length));
                // Frames of up to 16 KiB with room that no message fits in, or of one message each where they are longer.
                let most_held = all + all / 8 + number.min(all / (8 << 10) + 1) * FRAME + (16 << 10);
                assert!((all + FRAME..=most_held).contains(&held), "{number} {length}: {held}");
                stream.close();
                assert!(matches!(events.next().await, Ok(Some(GrpcEvent::Initial(_)))));
                let Ok(Some(GrpcEvent::Trailing(said))) = events.next().await else { panic!("no trailers") };
                assert_eq!(said.fields["x-bytes"], all.to_string());
                drop((stream, events));
                most.until(0).await;
            }
            world.assert_quiet().await;
        },
    );
}
