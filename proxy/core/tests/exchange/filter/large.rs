//! Filters: how much of a body one may hold back, by what the client speaks.

use super::*;

const MIB: usize = 1 << 20;

/// More than comes with a body's end, which nobody holds back.
const LAST: usize = 256 * 1024;

/// Bytes of a body, whether the client speaks HTTP/2, and whether a filter may hold it all: as seen of Envoy 1.40.
const CASES: [(usize, bool, bool); 5] = [
    (MIB, false, true),
    (MIB + LAST, false, false),
    (MIB + LAST, true, true),
    (16 * MIB, true, true),
    (16 * MIB + LAST, true, false),
];

/// What the server speaks has no part in it.
fn to(server_h2: bool) -> Setup {
    Setup { cluster: if server_h2 { "    protocol: http2" } else { "" }, ..ONE }
}

/// Sends a body on a new connection. The answer's status.
async fn upload(world: &World, h2: bool, length: usize) -> u16 {
    if h2 {
        let mut sender = http2(world).await;
        let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
        stream.send_data(vec![b'x'; length].into(), true).unwrap();
        return response.await.unwrap().status().as_u16();
    }
    let mut client = world.connect();
    let text = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
    let (mut read, mut write) = tokio::io::split(&mut client);
    let mut status = [0; 12];
    // Who is refused is cut.
    let (_, told) = tokio::join!(write.write_all(text.as_bytes()), read.read_exact(&mut status));
    told.unwrap();
    std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
}

/// Takes a request's body, and answers with nothing.
fn sink(server_h2: bool) -> crate::server::Step {
    if server_h2 {
        return h2_server(|request, mut respond| async move {
            body(&mut request.into_body()).await.ok();
            respond.send_response(Response::builder().status(204).body(()).unwrap(), true).ok();
        });
    }
    serve(|mut stream| async move {
        let Some(head) = head(&mut stream).await else { return };
        let mut body = vec![0; crate::server::length(&head)];
        if stream.read_exact(&mut body).await.is_ok() {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
}

#[test]
fn a_request_may_be_held_as_far_as_its_protocol_says() {
    for (length, h2, fits) in CASES {
        for server_h2 in [false, true] {
            script("a", |event, _| match event {
                Event::RequestHeaders(_) | Event::RequestBody(_, End::No) => Do::Pause,
                _ => Do::Continue,
            });
            run(
                to(server_h2),
                move |_, _| sink(server_h2),
                move |world| async move {
                    let status = upload(&world, h2, length).await;
                    assert_eq!(status, if fits { 204 } else { 413 }, "{length} {h2} {server_h2}");
                    let details = if fits { "via_upstream" } else { "request_payload_too_large" };
                    assert_eq!(world.record().await.details, details);
                    world.assert_quiet().await;
                },
            );
        }
    }
}

/// Fetches a body on a new connection: how much of it comes, and whether that is all.
async fn download(world: &World, h2: bool) -> (usize, bool) {
    if h2 {
        let mut sender = http2(world).await;
        let response = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        return match body(&mut response.into_body()).await {
            Ok((text, _)) => (text.len(), true),
            Err(error) => (0, error.reason() != Some(h2::Reason::INTERNAL_ERROR)),
        };
    }
    let mut client = world.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let head = head(&mut client).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut body = vec![0; crate::server::length(&head)];
    match client.read_exact(&mut body).await {
        Ok(_) => (body.len(), true),
        Err(_) => (0, false),
    }
}

#[test]
fn a_response_may_be_held_as_far_as_its_clients_protocol_says() {
    for (length, h2, fits) in CASES {
        for server_h2 in [false, true] {
            script("a", |event, _| match event {
                Event::ResponseBody(_, End::No) => Do::Pause,
                _ => Do::Continue,
            });
            run(
                to(server_h2),
                move |_, _| {
                    if !server_h2 {
                        let body = "x".repeat(length);
                        return canned(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"));
                    }
                    h2_server(move |_, mut respond| async move {
                        let head = Response::builder().header("content-length", length).body(()).unwrap();
                        let mut stream = respond.send_response(head, false).unwrap();
                        stream.send_data(vec![b'x'; length].into(), true).unwrap();
                    })
                },
                move |world| async move {
                    let came = download(&world, h2).await;
                    assert_eq!(came, if fits { (length, true) } else { (0, false) }, "{length} {h2} {server_h2}");
                    let details = if fits { "via_upstream" } else { "response_payload_too_large" };
                    assert_eq!(world.record().await.details, details);
                    world.assert_quiet().await;
                },
            );
        }
    }
}

/// Nobody is refused for what waits behind a head, so nothing is gained by reading much of it.
#[test]
fn what_waits_behind_a_head_is_read_as_far_over_either_protocol() {
    let kept = held("a", Do::PauseAll);
    run(
        ONE,
        |_, _| sink(false),
        |world| async move {
            let mut sender = http2(&world).await;
            let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
            stream.send_data(vec![b'x'; 3 * MIB].into(), true).unwrap();
            kept.wait().await;
            // The sender is held back by its window: it stands still.
            for _ in 0..100 {
                settle().await;
            }
            drop((response, stream));
            let received = world.record().await.received;
            assert!((MIB as u64..(MIB + 64 * 1024) as u64).contains(&received), "{received}");
        },
    );
}

/// What is shown as it comes, and held back, is held as far as what is gathered.
#[test]
fn a_watermark_stands_where_an_error_would() {
    script("a", |event, _| match event {
        Event::RequestHeaders(_) => Do::Pause,
        Event::RequestBody(_, End::No) => Do::Watermark,
        _ => Do::Continue,
    });
    run(
        ONE,
        |_, _| sink(false),
        |world| async move {
            assert_eq!(upload(&world, true, 3 * MIB).await, 204);
            assert_eq!(world.record().await.received, 3 * MIB as u64);
        },
    );
}
