//! Clients of HTTP/2 that ask and read nothing: what waits for them counts, and where that is too much the one with the most goes.

use crate::{
    client::{body, fetch, http2, request},
    server::{Step, head, http2 as h2_server, serve},
    world::{PLAIN, Setup, World, run},
};
use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Request, Response};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{sleep, timeout},
};

/// Bytes of each response, whether they are in its head or its body.
const LARGE: usize = 30_000;

/// What a pipe and h2's own buffer take, at most.
const ON_ITS_WAY: usize = 200_000;

const FIELDS: [&str; 3] = ["x-a", "x-b", "x-c"];

fn http1() -> Step {
    serve(|mut stream| async move {
        while let Some(head) = head(&mut stream).await {
            let value = "v".repeat(LARGE / FIELDS.len());
            let answer = if head.starts_with("GET /head") {
                let fields: String = FIELDS.iter().map(|name| format!("{name}: {value}\r\n")).collect();
                format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n")
            } else {
                format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n{}", "b".repeat(LARGE))
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
}

async fn answers(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut response = Response::new(());
    if request.uri().path() == "/head" {
        for name in FIELDS {
            response.headers_mut().insert(name, "v".repeat(LARGE / FIELDS.len()).parse().unwrap());
        }
        respond.send_response(response, true).unwrap();
        return;
    }
    let mut stream = respond.send_response(response, false).unwrap();
    stream.send_data(vec![b'b'; LARGE].into(), true).unwrap();
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const END: u8 = 0x5;

/// Whatever can be done is.
async fn soon() {
    sleep(Duration::from_millis(100)).await;
}

/// Asks so many times, beginning with this stream.
async fn ask(client: &mut DuplexStream, path: &str, first: u32, many: u32) {
    // `GET`, `http`, the path and the authority as they are.
    let block = [&[0x82, 0x86, 0x04, path.len() as u8], path.as_bytes(), &[0x01, 4], b"test"].concat();
    for number in 0..many {
        client.write_all(&frame(1, END, first + 2 * number, &block)).await.unwrap();
        tokio::task::yield_now().await;
    }
    soon().await;
}

/// A client with windows for all that it asks for, which it does not read.
async fn reads_nothing(world: &World, path: &str, many: u32) -> DuplexStream {
    let mut client = world.connect();
    let settings = [&4_u16.to_be_bytes()[..], &(1_u32 << 20).to_be_bytes()].concat();
    let opening = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &settings),
        frame(8, 0, 0, &(1_u32 << 30).to_be_bytes()),
    ];
    client.write_all(&opening.concat()).await.unwrap();
    ask(&mut client, path, 1, many).await;
    client
}

fn both(test: impl AsyncFn(&World, &str) + Copy) {
    for path in ["/head", "/body"] {
        run(PLAIN, |_, _| http1(), |world| async move { test(&world, path).await });
        run(
            Setup { cluster: "    protocol: http2", ..PLAIN },
            |_, _| h2_server(answers),
            |world| async move { test(&world, path).await },
        );
    }
}

#[test]
fn what_a_client_does_not_read_is_counted_until_it_is_gone() {
    both(async |world, path| {
        let held = || world.process.unfinished.held();
        // Nobody counts without a limit of memory.
        drop(reads_nothing(world, path, 50).await);
        assert_eq!(held(), 0);
        world.process.unfinished.allow(1 << 30);
        let mut clients = Vec::new();
        for number in 1..=3 {
            clients.push(reads_nothing(world, path, 50).await);
            let all = number * 50 * LARGE;
            assert!((all - number * ON_ITS_WAY..all + all / 4).contains(&held()), "{path}: {} of {all}", held());
        }
        // One gives up what it asked for.
        for stream in (1..100).step_by(2) {
            clients[0].write_all(&frame(3, 0, stream, &8_u32.to_be_bytes())).await.unwrap();
        }
        soon().await;
        assert!(held() <= 2 * 50 * LARGE * 5 / 4 + ON_ITS_WAY, "{path}: {}", held());
        // One reads it all, one goes.
        let mut reader = clients.pop().unwrap();
        let mut read = 0;
        while let Ok(more @ 1..) = timeout(Duration::from_secs(1), reader.read(&mut [0; 65_536])).await.unwrap_or(Ok(0))
        {
            read += more;
        }
        assert!(read > 50 * LARGE / 2, "{read}");
        drop(clients);
        soon().await;
        assert_eq!(held(), 0, "{path}");
        drop(reader);
        world.assert_quiet().await;
    });
}

#[test]
fn who_has_most_to_read_goes_where_memory_is_short() {
    both(async |world, path| {
        world.process.unfinished.allow(1 << 30);
        let mut small = reads_nothing(world, path, 20).await;
        let mut large = reads_nothing(world, path, 90).await;
        world.process.unfinished.allow(90 * LARGE);
        ask(&mut small, path, 41, 20).await;
        // Its connection is over, behind what was on its way.
        let mut said = Vec::new();
        large.read_to_end(&mut said).await.unwrap();
        assert!(said.len() <= ON_ITS_WAY, "{path}: {}", said.len());
        assert!(world.process.unfinished.held() <= 40 * LARGE * 5 / 4);
        assert_eq!(world.refusals("short_memory"), 1.0);
        // Others are served.
        let mut response =
            fetch(&mut http2(world).await, request("GET", "/body").body(()).unwrap()).await.unwrap().into_body();
        assert_eq!(body(&mut response).await.unwrap().0.len(), LARGE);
        drop(small);
        soon().await;
        assert_eq!(world.process.unfinished.held(), 0);
    });
}
