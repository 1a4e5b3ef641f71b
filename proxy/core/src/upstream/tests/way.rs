//! How much of a response moves in a round trip. The way is long by the paused clock: what passes it, and when, is exact.

use super::*;
use bytes::BytesMut;
use h2::server;
use std::{cell::Cell, collections::VecDeque, future::poll_fn};
use tokio::{io::split, time::sleep_until};

/// One way.
const WAY: Duration = Duration::from_millis(20);

/// A pipe that carries all that it is given, each byte that much later.
fn far(theirs: DuplexStream) -> DuplexStream {
    let (near, ours) = duplex(64 << 20);
    let (theirs_read, theirs_write) = split(theirs);
    let (ours_read, ours_write) = split(ours);
    spawn_local(late(theirs_read, ours_write));
    spawn_local(late(ours_read, theirs_write));
    near
}

async fn late(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
    let mut on_its_way = VecDeque::<(Instant, BytesMut)>::new();
    let mut buffer = BytesMut::new();
    loop {
        let arrives = on_its_way.front().map(|(arrives, _)| *arrives);
        tokio::select! {
            biased;
            () = async { sleep_until(arrives.unwrap()).await }, if arrives.is_some() => {
                let (_, bytes) = on_its_way.pop_front().unwrap();
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            read = from.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => on_its_way.push_back((Instant::now() + WAY, buffer.split())),
            }
        }
    }
}

/// Answers with as many bytes as the path says; counts what it could send.
fn sends(sent: Rc<Cell<usize>>) -> impl Fn(usize, SocketAddr) -> Step {
    move |_, _| {
        let sent = Rc::clone(&sent);
        let (ours, theirs) = duplex(64 << 20);
        let server = async move {
            let mut connection = server::Builder::new().handshake::<_, Bytes>(far(theirs)).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let sent = Rc::clone(&sent);
                spawn_local(async move {
                    let bytes: usize = request.uri().path()[1..].parse().unwrap();
                    let mut send = respond.send_response(Response::new(()), false).unwrap();
                    let frames = (0..bytes / 1_000).map(move |_| {
                        sent.set(sent.get() + 1_000);
                        Ok(http_body::Frame::data(Bytes::from_static(&[b'x'; 1_000])))
                    });
                    let body: TestBody = Box::pin(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
                    crate::io::h2_pump::send_body(body, &mut send, Duration::from_secs(3_600), |_, _| ()).await.ok();
                });
            }
        };
        Step::Serve(Box::pin(server), ours)
    }
}

/// Reads so many bytes of a body.
async fn read(body: &mut Incoming, bytes: usize) {
    let mut read = 0;
    while read < bytes {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
}

/// Nobody takes what comes of it.
fn stalls(body: Incoming) {
    spawn_local(async move {
        let mut body = body;
        poll_fn(|cx| {
            crate::body::Ahead::poll_ahead(std::pin::Pin::new(&mut body), cx);
            std::task::Poll::<()>::Pending
        })
        .await;
    });
}

#[test]
fn a_long_way_gets_a_larger_window() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http2, &[80]), sends(Rc::default()));
        let response = send(&cluster, get("/16000000"), &options()).await.unwrap();
        let begun = Instant::now();
        assert_eq!(text(response).await.len(), 16_000_000);
        let trips = begun.elapsed().as_millis() / (2 * WAY).as_millis();
        // 245 with windows of 64 KiB.
        assert!(trips <= 20, "{trips} round trips");
        let begun = Instant::now();
        assert_eq!(text(send(&cluster, get("/16000000"), &options()).await.unwrap()).await.len(), 16_000_000);
        let trips = begun.elapsed().as_millis() / (2 * WAY).as_millis();
        assert!(trips <= 12, "{trips} round trips");
        assert_nothing_held(&cluster);
    });
}

#[test]
fn who_takes_slowly_gets_none() {
    run(async {
        let sent = Rc::<Cell<usize>>::default();
        let (cluster, _) = cluster(model(UpstreamProtocol::Http2, &[80]), sends(Rc::clone(&sent)));
        let mut body = send(&cluster, get("/16000000"), &options()).await.unwrap().into_body();
        for nth in 1..=200 {
            read(&mut body, 10_000).await;
            sleep(2 * WAY).await;
            assert!(sent.get() <= nth * 12_000 + 2 * 65_535, "{} sent, {nth} times 10 kB taken", sent.get());
        }
        // Small ones neither, however many.
        for _ in 0..100 {
            text(send(&cluster, get("/30000"), &options()).await.unwrap()).await;
        }
        let before = sent.get();
        stalls(send(&cluster, get("/16000000"), &options()).await.unwrap().into_body());
        sleep(10 * WAY).await;
        assert!(sent.get() - before <= 2 * 65_535, "{} sent", sent.get() - before);
    });
}

#[test]
fn those_who_take_nothing_of_large_windows_stop_nobody() {
    run(async {
        let sent = Rc::<Cell<usize>>::default();
        let (cluster, script) = cluster(model(UpstreamProtocol::Http2, &[80]), sends(Rc::clone(&sent)));
        text(send(&cluster, get("/16000000"), &options()).await.unwrap()).await;
        let before = sent.get();
        for _ in 0..90 {
            stalls(send(&cluster, get("/16000000"), &options()).await.unwrap().into_body());
            sleep(3 * WAY).await;
        }
        sleep(Duration::from_secs(5)).await;
        let held = sent.get() - before;
        // Some have what the large window let them, the others theirs.
        assert!((4 << 20..32 << 20).contains(&held), "{held} held");
        let begun = Instant::now();
        assert_eq!(text(send(&cluster, get("/1000000"), &options()).await.unwrap()).await.len(), 1_000_000);
        let trips = begun.elapsed().as_millis() / (2 * WAY).as_millis();
        assert!(trips <= 30, "{trips} round trips");
        assert_eq!(script.dialed.borrow().len(), 1);
    });
}
