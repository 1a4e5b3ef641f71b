//! Streams on which a server speaks while its client listens: no slow bodies.

use super::*;
use crate::scripted::{Do, script};
use std::{net::SocketAddr, rc::Rc};
use tokio::time::Instant;

const ROUTE: &str =
    "      - match: { prefix: / }\n        cluster: up\n        timeout: none\n        idle_timeout: 60s";
const LISTENER: &str = "    timeouts: { body: 2s }";
const EVENTS: usize = 12;
const PAUSE: Duration = Duration::from_secs(10);

const OVER_HTTP1: Setup = Setup { listener: LISTENER, routes: ROUTE, ..PLAIN };
const OVER_HTTP2: Setup = Setup { cluster: "    protocol: http2", ..OVER_HTTP1 };

/// Hears what is wanted, and tells of twelve events, ten seconds between them.
fn watch_http1() -> Step {
    serve(|mut stream| async move {
        head(&mut stream).await;
        stream.read_exact(&mut [0; 8]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        for _ in 0..EVENTS {
            sleep(PAUSE).await;
            stream.write_all(b"1\r\ne\r\n").await.unwrap();
        }
        stream.read_to_end(&mut Vec::new()).await.ok();
    })
}

fn watch_http2() -> Step {
    h2_server(|request, mut respond| async move {
        let mut wanted = request.into_body();
        wanted.data().await.unwrap().unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        for _ in 0..EVENTS {
            sleep(PAUSE).await;
            stream.send_data("e".into(), false).unwrap();
        }
        while let Some(Ok(_)) = wanted.data().await {}
    })
}

const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";

/// Listens to the end, and tells how many events there were and how long it took.
async fn listen_http1(world: &World) -> (usize, u64) {
    let began = Instant::now();
    let mut client = world.connect();
    client.write_all(CHUNKED).await.unwrap();
    (answer(&mut client).await.body.matches('e').count(), began.elapsed().as_secs())
}

async fn listen_http2(world: &World) -> (usize, u64) {
    let began = Instant::now();
    let mut sender = http2(world).await;
    let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
    stream.send_data("abc".into(), false).unwrap();
    let mut events = response.await.unwrap().into_body();
    let mut heard = 0;
    while let Some(Ok(event)) = events.data().await {
        heard += event.len();
    }
    (heard, began.elapsed().as_secs())
}

async fn both_fell_silent(world: &World, (events, took): (usize, u64)) {
    assert_eq!(events, EVENTS, "{took} s");
    let silent = took - EVENTS as u64 * PAUSE.as_secs();
    assert!((60..76).contains(&silent), "{silent} s");
    ended(world, 200, "SI", "stream_idle_timeout", "proxy").await;
    assert_eq!(world.record().await.received, 3);
}

#[test]
fn a_client_that_listens_is_not_slow() {
    let servers: [(Setup, fn() -> Step); 2] = [(OVER_HTTP1, watch_http1), (OVER_HTTP2, watch_http2)];
    for (setup, server) in servers {
        for filters in [&[][..], &["a"]] {
            script("a", |_, _| Do::Continue);
            let setup = Setup { filters, ..setup };
            run(
                setup,
                move |_, _| server(),
                |world| async move {
                    let heard = listen_http1(&world).await;
                    both_fell_silent(&world, heard).await;
                },
            );
            run(
                setup,
                move |_, _| server(),
                |world| async move {
                    let heard = listen_http2(&world).await;
                    both_fell_silent(&world, heard).await;
                },
            );
        }
    }
}

#[test]
fn who_sends_the_rest_after_a_whole_response_has_the_time_of_a_body_for_it() {
    let server = |_: usize, _: SocketAddr| {
        serve(|mut stream| async move {
            while head(&mut stream).await.is_some() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
                sleep(Duration::from_secs(50)).await;
                stream.write_all(b"hello").await.unwrap();
                stream.read_exact(&mut [0; 6]).await.ok();
            }
        })
    };
    for pause in [1, 60] {
        run(OVER_HTTP1, server, move |world| async move {
            let mut client = world.connect();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").await.unwrap();
            assert_eq!(answer(&mut client).await.body, "hello");
            let began = Instant::now();
            let rest = async {
                sleep(Duration::from_secs(pause)).await;
                b"defGET / HTTP/1.1\r\nhost: a\r\n\r\n"
            };
            if pause == 1 {
                client.write_all(rest.await).await.unwrap();
                assert_eq!(answer(&mut client).await.body, "hello");
            } else {
                assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
                let took = began.elapsed().as_secs();
                assert!((2..4).contains(&took), "{took} s");
            }
        });
    }
}

#[test]
fn with_body_none_silence_of_both_sides_ends_a_request_and_nothing_else() {
    let routes = "      - match: { prefix: / }\n        cluster: up\n        idle_timeout: 100s";
    let setup = Setup { listener: "    timeouts: { body: none }", routes, ..PLAIN };
    let clients: [fn(Rc<World>) -> futures_util::future::LocalBoxFuture<'static, u16>; 2] = [
        |world| {
            Box::pin(async move {
                let mut client = world.connect();
                client.write_all(CHUNKED).await.unwrap();
                answer(&mut client).await.status
            })
        },
        |world| {
            Box::pin(async move {
                let mut sender = http2(&world).await;
                let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
                stream.send_data("abc".into(), false).unwrap();
                response.await.unwrap().status().as_u16()
            })
        },
    ];
    for client in clients {
        run(
            setup,
            |_, _| silent(),
            move |world| async move {
                let began = Instant::now();
                assert_eq!(client(Rc::clone(&world)).await, 504);
                assert_eq!(began.elapsed().as_secs(), 100);
                ended(&world, 504, "SI", "stream_idle_timeout", "proxy").await;
            },
        );
    }
}
