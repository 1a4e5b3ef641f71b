//! Streams that stand still, beside others on the same connection.

use crate::{
    client::{answer, body, fetch, http2, request, send},
    scripted::{Do, Event, script},
    server::{HELLO, Step, head, http2 as h2_server, serve},
    world::{PLAIN, Setup, World, run, settle},
};
use bytes::Bytes;
use futures_util::future::join_all;
use h2::{RecvStream, SendStream, client::SendRequest, server::SendResponse};
use http::{Request, Response, StatusCode};
use pillion_core::exchange::filter::{LocalReply, Map, Stream};
use std::{future::poll_fn, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::spawn_local,
    time::timeout,
};

/// As many as HTTP/2 clients have by default on one connection to us, less one.
const MANY: usize = 99;

/// More than what a stream may send ahead, and than all on the way holds of it.
const LARGE: usize = 400_000;

const H2: Setup = Setup { cluster: "    protocol: http2", ..PLAIN };

const SOON: Duration = Duration::from_secs(5);

/// So many letters go round.
const ROUND: usize = 23;

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + (at % ROUND) as u8).collect()
}

/// Sends so many bytes in parts of `part`, as the window opens; of every hundred one is larger.
async fn push(stream: &mut SendStream<Bytes>, length: usize, part: usize) -> Result<(), h2::Error> {
    let text = Bytes::from(text(ROUND + part.max(300)));
    let (mut done, mut parts) = (0, 0);
    while done < length {
        parts += 1;
        let part = if parts % 100 == 0 { part.max(300) } else { part }.min(length - done);
        stream.reserve_capacity(part);
        let Some(window) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        let now = window?.min(part);
        let from = done % ROUND;
        done += now;
        stream.send_data(text.slice(from..from + now), done == length)?;
    }
    Ok(())
}

/// Answers with as much as the path says, in DATA frames of as much as it says then: `/400000/16384`.
async fn give(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut parts = request.uri().path().split('/').skip(1).map(|part| part.parse().unwrap());
    let (length, part) = (parts.next().unwrap(), parts.next().unwrap());
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    // Whoever is given up takes no more.
    push(&mut stream, length, part).await.ok();
}

/// Somebody else on a connection of its own gets its answer over the same connection to the upstream.
async fn another_is_served(world: &World) {
    let mut other = http2(world).await;
    let served = timeout(SOON, async {
        let head = request("GET", &format!("/{LARGE}/16384")).body(()).unwrap();
        let mut response = fetch(&mut other, head).await.unwrap().into_body();
        body(&mut response).await.unwrap().0.len()
    });
    assert_eq!(served.await.expect("nobody else is kept waiting"), LARGE);
    assert_eq!(world.dialed.borrow().len(), 1, "over the same connection");
}

/// Streams of one client that takes no byte of these; what ends them if it goes on for as long as it may.
async fn not_taken(world: &World, path: &str, many: usize) -> Vec<Response<RecvStream>> {
    let mut client = http2(world).await;
    let mut held = Vec::new();
    for _ in 0..many {
        held.push(fetch(&mut client, request("GET", path).body(()).unwrap()).await.unwrap());
    }
    settle().await;
    held
}

#[test]
fn responses_that_their_client_does_not_take_hold_up_nobody_else() {
    run(
        H2,
        |_, _| h2_server(give),
        |world| async move {
            let held = not_taken(&world, &format!("/{LARGE}/16384"), MANY).await;
            another_is_served(&world).await;
            // They have not been given up for it: the client begins to read.
            let taken = held.into_iter().map(|response| async {
                assert_eq!(body(&mut response.into_body()).await.unwrap().0.len(), LARGE);
            });
            join_all(taken).await;
            world.assert_quiet().await;
        },
    );
}

#[test]
fn small_messages_that_their_client_does_not_take_do_not_end_the_connection_for_all() {
    for (part, many) in [(200, MANY), (20, 20), (5, 2)] {
        run(
            H2,
            |_, _| h2_server(give),
            |world| async move {
                let held = not_taken(&world, &format!("/100000/{part}"), many).await;
                another_is_served(&world).await;
                let taken = held.into_iter().map(|response| async {
                    let whole = body(&mut response.into_body()).await.unwrap().0;
                    assert!(whole.as_bytes() == text(100_000), "in order");
                });
                join_all(taken).await;
                world.assert_quiet().await;
            },
        );
    }
}

#[test]
fn small_messages_that_a_client_of_http1_does_not_take_do_not_end_the_connection_for_all() {
    run(
        H2,
        |_, _| h2_server(give),
        |world| async move {
            let mut held = Vec::new();
            for _ in 0..5 {
                let mut client = world.connect();
                client.write_all(b"GET /300000/10 HTTP/1.1\r\nhost: a.example\r\n\r\n").await.unwrap();
                held.push(client);
            }
            settle().await;
            another_is_served(&world).await;
            for mut client in held {
                assert!(answer(&mut client).await.body.as_bytes() == text(300_000), "in order");
            }
            world.assert_quiet().await;
        },
    );
}

#[test]
fn responses_that_a_filter_holds_hold_up_nobody_else() {
    run(
        Setup { filters: &["a"], ..H2 },
        |_, _| h2_server(give),
        |world| async move {
            script("a", |event, stream: &Stream| {
                let held = stream.headers(Map::RequestHeaders, |head| head.get(b"x-hold").is_some()) == Some(true);
                match event {
                    Event::ResponseHeaders(_) if held => Do::PauseAll,
                    _ => Do::Continue,
                }
            });
            let mut client = http2(&world).await;
            let mut held = Vec::new();
            for place in 0..MANY {
                // Small messages, every tenth.
                let path = format!("/{LARGE}/{}", if place % 10 == 0 { 20 } else { 16_384 });
                let head = request("GET", &path).header("x-hold", "yes").body(()).unwrap();
                held.push(send(&mut client, head, true).await);
            }
            settle().await;
            another_is_served(&world).await;
            drop(held);
            drop(client);
            world.assert_quiet().await;
        },
    );
}

/// Answers those without a body; of one with a body it reads nothing, but for `/taken`, which is read to its end.
fn takes_some(_: usize, _: std::net::SocketAddr) -> Step {
    serve(|mut stream| async move {
        while let Some(head) = head(&mut stream).await {
            if head.starts_with("POST /held") {
                return std::future::pending().await;
            }
            stream.read_exact(&mut vec![0; crate::server::length(&head)]).await.unwrap();
            stream.write_all(HELLO.as_bytes()).await.unwrap();
        }
    })
}

#[test]
fn uploads_that_nobody_takes_hold_up_no_other_of_their_connection() {
    run(PLAIN, takes_some, |world| async move {
        let mut client = http2(&world).await;
        let mut held = Vec::new();
        for _ in 0..MANY {
            let head = request("POST", "/held").header("content-length", 5_000_000).body(()).unwrap();
            let (response, mut upload) = send(&mut client, head, false).await;
            held.push(response);
            spawn_local(async move { push(&mut upload, 5_000_000, 16_384).await.ok() });
        }
        settle().await;
        let served = timeout(SOON, async {
            let head = request("POST", "/taken").header("content-length", LARGE).body(()).unwrap();
            let (response, mut upload) = send(&mut client, head, false).await;
            push(&mut upload, LARGE, 16_384).await.unwrap();
            body(response.await.unwrap().body_mut()).await.unwrap().0
        });
        assert_eq!(served.await.expect("it is not kept waiting"), "hello");
        drop(held);
    });
}

/// Some upload small messages that nobody takes; another one of their connection is served.
async fn small_uploads(world: Rc<World>) {
    small_uploads_by(http2(&world).await).await;
}

async fn small_uploads_by(mut client: SendRequest<Bytes>) {
    let mut held = Vec::new();
    for _ in 0..5 {
        let (response, mut upload) = send(&mut client, request("POST", "/held").body(()).unwrap(), false).await;
        held.push(response);
        spawn_local(async move { push(&mut upload, 5_000_000, 14).await.ok() });
    }
    settle().await;
    let served = timeout(SOON, async {
        let head = request("POST", "/taken").header("content-length", LARGE).body(()).unwrap();
        let (response, mut upload) = send(&mut client, head, false).await;
        push(&mut upload, LARGE, 14).await.unwrap();
        let mut response = response.await.expect("the connection lives");
        body(response.body_mut()).await.unwrap().0
    });
    assert_eq!(served.await.expect("it is not kept waiting"), "hello");
}

/// As [`takes_some`].
async fn takes_some_by_http2(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    if request.uri().path() == "/held" {
        let _unread = request;
        return std::future::pending().await;
    }
    let sent = body(&mut request.into_body()).await.unwrap().0;
    assert!(sent.as_bytes() == text(LARGE), "in order");
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data("hello".into(), true).unwrap();
}

#[test]
fn small_messages_that_a_server_does_not_take_do_not_end_their_clients_connection() {
    run(PLAIN, takes_some, small_uploads);
    let server = |_, _| {
        serve(|stream| async move {
            let mut builder = h2::server::Builder::new();
            // Those that it does not take are not to stop the others.
            builder.initial_connection_window_size(1 << 20).data_frame_budget(usize::MAX);
            let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                spawn_local(takes_some_by_http2(request, respond));
            }
        })
    };
    run(H2, server, small_uploads);
}

#[test]
fn small_messages_that_wait_for_a_connection_do_not_end_their_clients_connection() {
    // Those of the first ones do not come about.
    run(PLAIN, |n, from| if n < 5 { Step::Hang } else { takes_some(n, from) }, small_uploads);
}

#[test]
fn small_messages_that_a_filter_holds_back_do_not_end_their_clients_connection() {
    run(Setup { filters: &["a"], ..PLAIN }, takes_some, |world| async move {
        script("a", |event, stream: &Stream| {
            let held = stream.headers(Map::RequestHeaders, |head| head.get(b"content-length").is_none());
            match event {
                Event::RequestHeaders(_) if held == Some(true) => Do::PauseAll,
                _ => Do::Continue,
            }
        });
        small_uploads(world).await;
    });
}

/// A filter has asked for the body, and lets the head go with its first piece: then nobody asks until there is a connection.
#[test]
fn small_messages_that_a_filter_was_shown_do_not_end_their_clients_connection_either() {
    let server = |n, from| if n < 5 { Step::Hang } else { takes_some(n, from) };
    run(Setup { filters: &["a"], ..PLAIN }, server, |world| async move {
        script("a", |event, stream: &Stream| {
            let held = stream.headers(Map::RequestHeaders, |head| head.get(b"content-length").is_none());
            match event {
                Event::RequestHeaders(_) if held == Some(true) => Do::Pause,
                _ => Do::Continue,
            }
        });
        small_uploads(world).await;
    });
}

/// They send on, and do not read why they need not.
#[test]
fn small_messages_of_refused_uploads_do_not_end_their_clients_connection() {
    run(Setup { filters: &["a"], ..PLAIN }, takes_some, |world| async move {
        script("a", |event, stream: &Stream| {
            let held = stream.headers(Map::RequestHeaders, |head| head.get(b"content-length").is_none());
            if let (Event::RequestHeaders(_), Some(true)) = (event, held) {
                let mut page = LocalReply::new(StatusCode::UNAUTHORIZED, "refused");
                page.body = vec![b'x'; 1 << 20].into();
                stream.reply(page).unwrap();
            }
            Do::Continue
        });
        // What they do not read is not all that the connection may bring.
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1_000).data_frame_budget(usize::MAX);
        let (client, connection) = builder.handshake(world.connect()).await.unwrap();
        spawn_local(connection);
        small_uploads_by(client.ready().await.unwrap()).await;
    });
}

/// A frame of HTTP/2, with END_HEADERS where that is a flag.
fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    [&length.to_be_bytes()[1..], &[kind, 4 * u8::from(kind == HEADERS)], &stream.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;

/// Answers each request with a byte; to whoever gives it up it has sent as many as the window takes in the meantime.
async fn under_way(mut stream: tokio::io::DuplexStream) {
    stream.read_exact(&mut [0; 24]).await.unwrap();
    stream.write_all(&frame(4, 0, b"")).await.unwrap();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, _, id @ ..] = head;
        let (length, id) = (u32::from_be_bytes([0, a, b, c]), u32::from_be_bytes(id));
        stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
        let answer = match kind {
            // `:status: 200`.
            HEADERS => [frame(HEADERS, id, &[0x88]), frame(0, id, b"x")].concat(),
            // RST_STREAM.
            3 => frame(0, id, b"y").repeat(300),
            _ => continue,
        };
        stream.write_all(&answer).await.unwrap();
    }
}

#[test]
fn small_messages_that_were_under_way_when_their_stream_was_given_up_do_not_end_the_connection_for_all() {
    run(
        H2,
        |_, _| serve(under_way),
        |world| async move {
            let mut client = http2(&world).await;
            for n in 0..60 {
                // With a body that goes on, every other time.
                let (response, upload) = send(&mut client, request("POST", "/").body(()).unwrap(), n % 2 == 0).await;
                let mut taken = response.await.expect("the connection lives").into_body();
                assert_eq!(taken.data().await.unwrap().unwrap(), "x");
                drop((upload, taken));
                settle().await;
            }
            assert_eq!(world.dialed.borrow().len(), 1, "over the same connection");
            drop(client);
            world.assert_quiet().await;
        },
    );
}
