//! The guard with hyper behind it, a scripted client before it, and a clock that only moves when all wait.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::framing::{Fault, Limits, Refusal};

/// A guarded hyper server and its client.
struct Fixture {
    client: DuplexStream,
    handle: GuardHandle,
    serving: JoinHandle<hyper::Result<()>>,
    /// What the service was called with, in order.
    seen: Rc<RefCell<Vec<String>>>,
}

impl Fixture {
    fn new(initial: &'static [u8]) -> Self {
        Self::with_room(initial, 1 << 16)
    }

    fn with_room(initial: &'static [u8], room: usize) -> Self {
        let (client, server) = tokio::io::duplex(room);
        let (socket, handle) =
            GuardedSocket::new(server, Bytes::from_static(initial), Limits::default(), Deadlines::default());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let service = {
            let (seen, handle) = (Rc::clone(&seen), handle.clone());
            hyper::service::service_fn(move |request| Box::pin(answer(request, handle.clone(), Rc::clone(&seen))))
        };
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        Self { client, handle: handle.clone(), serving: spawn_local(serve(connection, handle)), seen }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).await.expect("the server takes it");
    }

    /// Everything up to the end of the connection.
    async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        timeout(Duration::from_secs(600), self.client.read_to_end(&mut all))
            .await
            .expect("an end")
            .expect("a clean one");
        String::from_utf8_lossy(&all).into_owned()
    }

    /// One answer whose body ends as given.
    async fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        while !all.ends_with(end.as_bytes()) {
            let byte = timeout(Duration::from_secs(600), self.client.read_u8()).await.expect("an answer");
            all.push(byte.expect("no end before it"));
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.borrow().clone()
    }
}

/// Serves the connection to its end; an upgrade is echoed.
async fn serve<S>(
    mut connection: hyper::server::conn::http1::Connection<TokioIo<GuardedSocket<DuplexStream>>, S>,
    handle: GuardHandle,
) -> hyper::Result<()>
where
    S: hyper::service::HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible> + Unpin,
    S::Future: Unpin,
{
    (&mut connection).await?;
    if handle.upgraded() {
        let parts = connection.into_parts();
        let mut io = parts.io.into_inner();
        io.write_all(&parts.read_buf).await.expect("an echo");
        let mut buf = [0; 64];
        while let Ok(len @ 1..) = io.read(&mut buf).await {
            io.write_all(&buf[..len]).await.expect("an echo");
        }
    }
    Ok(())
}

/// Answers with path and body length; `/slow` takes ten seconds, `/big` a megabyte, `/ws` upgrades.
async fn answer(
    request: Request<Incoming>,
    handle: GuardHandle,
    seen: Rc<RefCell<Vec<String>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = |refusal: Refusal| StatusCode::from_u16(refusal.status()).expect("a status");
    let reply = |status: StatusCode, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        Ok(response)
    };
    let ticket = match handle.begin() {
        Begin::Serve(ticket) => ticket,
        Begin::Refuse(refusal) => {
            seen.borrow_mut().push(format!("refused {}", refusal.name()));
            return reply(status(refusal), refusal.name().into());
        }
    };
    let path = request.uri().path().to_owned();
    seen.borrow_mut().push(path.clone());
    match path.as_str() {
        "/slow" => sleep(Duration::from_secs(10)).await,
        "/big" => return reply(StatusCode::OK, "x".repeat(1 << 20)),
        "/ws" => {
            if let Err(error) = ticket.accept_upgrade() {
                return reply(StatusCode::BAD_REQUEST, error.to_string());
            }
            return reply(StatusCode::SWITCHING_PROTOCOLS, String::new());
        }
        _ => {}
    }
    match request.into_body().collect().await {
        Ok(body) => reply(StatusCode::OK, format!("{path} {} end", body.to_bytes().len())),
        Err(_) => match handle.body_refusal() {
            Some(refusal) => reply(status(refusal), refusal.name().into()),
            None => reply(StatusCode::BAD_REQUEST, "cut short".into()),
        },
    }
}

macro_rules! guarded {
    ($(#[$attribute:meta])* $name:ident, $body:expr) => {
        $(#[$attribute])*
        #[tokio::test(start_paused = true)]
        async fn $name() {
            LocalSet::new().run_until($body).await;
        }
    };
}

guarded!(a_refusal_is_answered_in_its_place, async {
    let mut it = Fixture::new(b"");
    it.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\nGET /c HTTP/1.1\r\nHost : a\r\n\r\nGET /d HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answers = it.rest().await;
    let first = answers.find("/slow 0 end").expect("the first");
    let second = answers.find("/b 0 end").expect("the second");
    let third = answers.find("HTTP/1.1 400").expect("the third");
    assert!(first < second && second < third, "{answers}");
    assert!(answers.ends_with("space_before_colon"), "{answers}");
    assert_eq!(it.seen(), ["/slow", "/b", "refused space_before_colon"]);
    assert_eq!(it.handle.refusal(), Some(Fault::SpaceBeforeColon.into()));
});

guarded!(a_request_that_looks_like_the_stand_in_is_a_request, async {
    let mut it = Fixture::new(b"");
    it.send("GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n").await;
    assert!(it.rest().await.ends_with("/ 0 end"));
    assert_eq!(it.handle.refusal(), None);
});

guarded!(what_detection_read_comes_first, async {
    let mut it = Fixture::new(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Le");
    it.send("ngth: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
    it.until("/a 5 end").await;
    it.until("/b 0 end").await;
    assert_eq!(it.handle.bytes_read(), 81);
    assert!(it.handle.bytes_written() > 0);
});

guarded!(heads_and_bodies_may_come_byte_by_byte, async {
    let mut it = Fixture::new(b"");
    for _ in 0..2 {
        for byte in
            b"\r\nPOST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
        {
            it.send([*byte]).await;
            sleep(Duration::from_millis(1)).await;
        }
        it.until("/a 5 end").await;
    }
    assert_eq!(it.handle.outstanding(), 0);
});

guarded!(a_broken_body_fails_its_read_and_is_answered, async {
    let mut it = Fixture::new(b"");
    it.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n").await;
    let answers = it.rest().await;
    assert!(answers.starts_with("HTTP/1.1 400") && answers.ends_with("bad_chunk_end"), "{answers}");
    assert_eq!(it.handle.body_refusal(), Some(Fault::BadChunkEnd.into()));
});

guarded!(a_forbidden_trailer_fails_the_body, async {
    let mut it = Fixture::new(b"");
    it.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n").await;
    assert!(it.rest().await.ends_with("forbidden_trailer"));
});

guarded!(a_head_has_an_absolute_deadline, async {
    let mut it = Fixture::new(b"");
    let start = Instant::now();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let mut answer = Vec::new();
    for byte in head.bytes() {
        if it.client.write_all(&[byte]).await.is_err() {
            break;
        }
        if timeout(Duration::from_secs(1), it.client.read_buf(&mut answer)).await.is_ok() {
            break;
        }
    }
    let took = start.elapsed();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", answer.escape_ascii());
    assert!((30..32).contains(&took.as_secs()), "{took:?}");
    assert_eq!(it.handle.refusal(), Some(Refusal::HeadTimeout));
});

guarded!(each_head_has_a_deadline_of_its_own, async {
    let mut it = Fixture::new(b"");
    // Every write completes a head and begins the next: slow, but no head takes 30 seconds.
    it.send("GET /a HTTP/1.1\r\nHost").await;
    for _ in 0..5 {
        sleep(Duration::from_secs(20)).await;
        it.send(": a\r\n\r\nGET /a HTTP/1.1\r\nHost").await;
        it.until("/a 0 end").await;
    }
    assert_eq!(it.handle.refusal(), None);
});

guarded!(an_idle_connection_ends_cleanly, async {
    let mut it = Fixture::new(b"");
    for request in [None, Some("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")] {
        if let Some(request) = request {
            it = Fixture::new(b"");
            it.send(request).await;
            it.until("/a 0 end").await;
            // An old client's extra line is no head.
            it.send("\r\n").await;
        }
        let start = Instant::now();
        assert_eq!(it.rest().await, "");
        let took = start.elapsed().as_secs();
        assert!((60..76).contains(&took), "{took} s");
        assert_eq!(it.handle.ending(), Some(Ending::Idle));
        assert!((&mut it.serving).await.expect("no panic").is_ok());
    }
});

guarded!(idle_time_does_not_run_while_an_answer_is_awaited_or_requests_come, async {
    let mut it = Fixture::new(b"");
    for _ in 0..20 {
        it.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        it.until("/slow 0 end").await;
        sleep(Duration::from_secs(50)).await;
    }
    assert_eq!(it.handle.ending(), None);
});

guarded!(a_body_without_progress_is_refused, async {
    let mut it = Fixture::new(b"");
    it.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
    for _ in 0..5 {
        sleep(Duration::from_secs(25)).await;
        it.send("x").await;
    }
    let start = Instant::now();
    let answer = it.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.ends_with("body_timeout"), "{answer}");
    let took = start.elapsed().as_secs();
    assert!((30..47).contains(&took), "{took} s");
    assert_eq!(it.handle.body_refusal(), Some(Refusal::BodyTimeout));
});

guarded!(a_client_that_takes_nothing_is_dropped, async {
    let mut it = Fixture::with_room(b"", 1024);
    it.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let start = Instant::now();
    let outcome = (&mut it.serving).await.expect("no panic");
    assert!(outcome.is_err());
    let took = start.elapsed().as_secs();
    assert!((30..47).contains(&took), "{took} s");
    assert_eq!(it.handle.ending(), Some(Ending::WriteStalled));
});

guarded!(a_client_that_reads_slowly_is_served, async {
    // The ticket is long gone while the codec still flushes: neither idle time nor a wish to close cuts that off.
    let mut it = Fixture::with_room(b"", 32 * 1024);
    it.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut all = 0;
    let mut buf = vec![0; 32 * 1024];
    loop {
        sleep(Duration::from_secs(20)).await;
        if all == 0 {
            it.handle.close_when_idle();
        }
        match it.client.read(&mut buf).await.expect("no error") {
            0 => break,
            len => all += len,
        }
    }
    assert!(all > 1 << 20);
    assert_eq!(it.handle.ending(), Some(Ending::Closed));
});

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

guarded!(an_accepted_upgrade_passes_everything_in_order, async {
    let mut it = Fixture::new(b"");
    // What is behind the head would be refused as a request.
    it.send(format!("{UPGRADE}\0first\n")).await;
    let answer = it.until("\0first\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    it.send("GET / HTTP/1.1\n").await;
    it.until("GET / HTTP/1.1\n").await;
    // A tunnel has deadlines of its own.
    sleep(Duration::from_secs(600)).await;
    it.send("still here").await;
    it.until("still here").await;
    assert_eq!(it.handle.refusal(), None);
    it.handle.abort();
    assert_eq!(it.client.read(&mut [0]).await.expect("an end"), 0);
});

guarded!(a_declined_upgrade_goes_on_as_http, async {
    let mut it = Fixture::new(b"");
    it.send(UPGRADE.replace("/ws", "/slow")).await;
    it.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
    it.until("/slow 0 end").await;
    it.until("/b 0 end").await;
    it.send("GET /c HTTP/1.1\r\nHost : a\r\n\r\n").await;
    assert!(it.rest().await.ends_with("space_before_colon"));
});

guarded!(an_upgrade_that_was_not_asked_for_cannot_be_accepted, async {
    let mut it = Fixture::new(b"");
    it.send("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n").await;
    let answer = it.until("no upgrade").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
});

guarded!(an_idle_connection_can_be_closed_at_once, async {
    let mut it = Fixture::new(b"");
    it.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    // In progress: it is answered first.
    it.handle.close_when_idle();
    let start = Instant::now();
    assert!(it.rest().await.ends_with("/slow 0 end"));
    assert_eq!(start.elapsed().as_secs(), 9);
    assert_eq!(it.handle.ending(), Some(Ending::Closed));

    let mut it = Fixture::new(b"");
    sleep(Duration::from_secs(1)).await;
    it.handle.close_when_idle();
    let start = Instant::now();
    assert_eq!(it.rest().await, "");
    assert_eq!(start.elapsed(), Duration::ZERO);
});

guarded!(an_abort_ends_what_is_in_progress, async {
    let mut it = Fixture::new(b"");
    it.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    it.handle.abort();
    assert_eq!(it.rest().await, "");
    assert_eq!(it.handle.ending(), Some(Ending::Aborted));
});

guarded!(after_a_refusal_input_is_drained_for_a_second, async {
    let mut it = Fixture::with_room(b"", 4096);
    it.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").await;
    it.until("bad_host").await;
    let start = Instant::now();
    // Far more than the socket holds: someone takes it.
    for _ in 0..10 {
        it.send([b'x'; 4096]).await;
    }
    (&mut it.serving).await.expect("no panic").expect("no error");
    assert_eq!(start.elapsed().as_secs(), 1);

    let mut it = Fixture::with_room(b"", 4096);
    it.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").await;
    it.until("bad_host").await;
    // Not without bound.
    while it.client.write_all(&[b'x'; 4096]).await.is_ok() {}
    assert!((&mut it.serving).await.expect("no panic").is_ok());
});

guarded!(an_unread_body_does_not_hide_its_answer, async {
    let mut it = Fixture::with_room(b"", 2048);
    it.send("POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    let mut all = Vec::new();
    it.client.read_to_end(&mut all).await.expect("the whole answer");
    assert!(all.len() > 1 << 20);
});
