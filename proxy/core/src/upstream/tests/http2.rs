use super::*;
use futures_util::future::join_all;
use h2::{Reason, server};
use http::header::CONTENT_LENGTH;
use std::cell::Cell;
use std::future::poll_fn;

/// Runs an h2 server whose every request goes to `handle`.
async fn h2_server<F: Future<Output = ()> + 'static>(
    stream: DuplexStream,
    builder: server::Builder,
    handle: impl Fn(Request<h2::RecvStream>, server::SendResponse<Bytes>) -> F,
) {
    let mut connection = builder.handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        spawn_local(handle(request, respond));
    }
}

async fn hello(_: Request<h2::RecvStream>, mut respond: server::SendResponse<Bytes>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
}

/// Collects the request and answers with its length.
async fn count(request: Request<h2::RecvStream>, mut respond: server::SendResponse<Bytes>) {
    let mut body = request.into_body();
    let mut len = 0;
    while let Some(Ok(data)) = body.data().await {
        len += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let mut send = respond.send_response(Response::new(()), false).unwrap();
    send.send_data(Bytes::from(len.to_string()), true).unwrap();
}

fn http2(ports: &[u16]) -> Cluster {
    model(UpstreamProtocol::Http2, ports)
}

fn streamed(chunk: usize, count: usize, taken: Rc<Cell<usize>>) -> TestBody {
    let frames = futures_util::stream::iter((0..count).map(move |_| {
        taken.set(taken.get() + chunk);
        Ok(http_body::Frame::data(Bytes::from(vec![b'x'; chunk])))
    }));
    Box::pin(http_body_util::StreamBody::new(frames))
}

#[test]
fn requests_that_come_together_share_one_connection() {
    run(async {
        let (cluster, script) =
            cluster(http2(&[80]), |_, _| serve(|stream| h2_server(stream, server::Builder::new(), hello)));
        let options = options();
        let answers = join_all((0..50).map(|_| send(&cluster, get("/"), &options))).await;
        for answer in answers {
            assert_eq!(text(answer.unwrap()).await, "hello");
        }
        assert_eq!(script.dialed.borrow().len(), 1);
        assert_nothing_held(&cluster);
        sleep(Duration::from_secs(62)).await;
        settle().await;
        assert_eq!(cluster.open(), 0, "expired");
    });
}

#[test]
fn those_who_wait_for_the_first_connection_fail_as_it_fails() {
    run(async {
        let (cluster, script) = cluster(http2(&[80]), |_, _| Step::Hang);
        let options = options();
        let begun = Instant::now();
        for answer in join_all((0..10).map(|_| send(&cluster, get("/"), &options))).await {
            assert!(matches!(answer.unwrap_err().cause, Cause::Connect(ConnectError::Timeout(_))));
        }
        assert_eq!((script.dialed.borrow().len(), begun.elapsed().as_secs()), (1, 5));
        assert_nothing_held(&cluster);
    });
}

#[test]
fn when_the_first_is_given_up_another_takes_over() {
    run(async {
        let (cluster, script) = cluster(http2(&[80]), |nth, _| match nth {
            0 => Step::Hang,
            _ => serve(|stream| h2_server(stream, server::Builder::new(), hello)),
        });
        let leader = spawn_local({
            let cluster = Rc::clone(&cluster);
            async move { send(&cluster, get("/"), &options()).await.map(drop).ok() }
        });
        settle().await;
        let follower = spawn_local({
            let cluster = Rc::clone(&cluster);
            async move { text(send(&cluster, get("/"), &options()).await.unwrap()).await }
        });
        settle().await;
        leader.abort();
        assert_eq!(follower.await.unwrap(), "hello");
        assert_eq!(script.dialed.borrow().len(), 2);
        assert_nothing_held(&cluster);
    });
}

#[test]
fn the_peers_stream_limit_is_kept() {
    run(async {
        let most = Rc::new(Cell::new((0usize, 0usize)));
        let seen = Rc::clone(&most);
        let (cluster, script) = cluster(http2(&[80]), move |_, _| {
            let active = Rc::new(Cell::new(0usize));
            let seen = Rc::clone(&seen);
            serve(move |stream| {
                let mut builder = server::Builder::new();
                builder.max_concurrent_streams(4);
                h2_server(stream, builder, move |request, respond| {
                    let (active, seen) = (Rc::clone(&active), Rc::clone(&seen));
                    async move {
                        active.set(active.get() + 1);
                        seen.set((seen.get().0.max(active.get()), seen.get().1 + 1));
                        sleep(Duration::from_millis(10)).await;
                        hello(request, respond).await;
                        active.set(active.get() - 1);
                    }
                })
            })
        });
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        let options = options();
        let answers =
            join_all((0..20).map(|_| async { text(send(&cluster, get("/"), &options).await.unwrap()).await })).await;
        assert!(answers.iter().all(|answer| answer == "hello"));
        assert_eq!(most.get(), (4, 21));
        assert!(script.dialed.borrow().len() > 1, "more connections carry what one may not");
    });
}

#[test]
fn with_one_connection_allowed_the_rest_waits() {
    run(async {
        let mut model = http2(&[80]);
        model.circuit.connections = 1;
        model.circuit.pending = 15;
        let (cluster, script) = cluster(model, |_, _| {
            serve(|stream| {
                let mut builder = server::Builder::new();
                builder.max_concurrent_streams(4);
                h2_server(stream, builder, |request, respond| async {
                    sleep(Duration::from_millis(10)).await;
                    hello(request, respond).await;
                })
            })
        });
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        let options = options();
        let answers = join_all((0..20).map(|_| async {
            match send(&cluster, get("/"), &options).await {
                Ok(answer) => Ok(text(answer).await),
                Err(error) => Err(error),
            }
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4 + 15);
        let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert!(refused.iter().all(|error| matches!(error.cause, Cause::Overflow(Limit::Pending))), "{refused:?}");
        assert_eq!(script.dialed.borrow().len(), 1);
        assert_nothing_held(&cluster);
    });
}

#[test]
fn what_goaway_left_is_handed_back_and_what_it_took_is_answered() {
    run(async {
        let (cluster, script) = cluster(http2(&[80]), |nth, _| match nth {
            0 => serve(|stream| async move {
                let mut peer = raw::Peer::accept(stream).await;
                peer.requests(2).await;
                // Stream 1 was taken, stream 3 was not.
                peer.goaway(1, 0).await;
                sleep(Duration::from_secs(5)).await;
                peer.answer(1).await;
                sleep(Duration::from_secs(600)).await;
            }),
            _ => serve(|stream| h2_server(stream, server::Builder::new(), hello)),
        });
        let options = options();
        let taken = spawn_local({
            let cluster = Rc::clone(&cluster);
            async move { send(&cluster, get("/taken"), &super::options()).await.unwrap().status() }
        });
        sleep(Duration::from_millis(10)).await;
        let left = send(&cluster, post("/left", full("")), &options).await;
        let error = left.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::GoAway(Reason::NO_ERROR))), "{error:?}");
        assert_eq!(error.delivery, Delivery::Unsent);
        let again = *error.request.expect("handed back");
        assert_eq!((again.method().as_str(), again.uri().path()), ("POST", "/left"));
        assert_eq!(text(send(&cluster, again, &options).await.unwrap()).await, "hello");
        assert_eq!(script.dialed.borrow().len(), 2, "the connection that is going away takes nothing new");
        assert_eq!(taken.await.unwrap(), 200);
        assert_nothing_held(&cluster);
    });
}

#[test]
fn a_refused_stream_is_handed_back() {
    run(async {
        let (cluster, _) = cluster(http2(&[80]), |_, _| {
            serve(|stream| {
                h2_server(stream, server::Builder::new(), |_, mut respond| async move {
                    respond.send_reset(Reason::REFUSED_STREAM);
                })
            })
        });
        let error = send(&cluster, get("/x"), &options()).await.unwrap_err();
        assert_eq!(error.delivery, Delivery::Unsent, "{error:?}");
        assert_eq!(error.request.unwrap().uri(), "http://a.example/x");
        let error = send(&cluster, post("/x", full("money")), &options()).await.unwrap_err();
        assert_eq!(error.delivery, Delivery::Unsent, "{error:?}");
        assert!(error.request.is_none(), "its body was begun");
        assert_eq!(error.head.unwrap().uri, "http://a.example/x");
        assert_nothing_held(&cluster);
    });
}

#[test]
fn other_resets_are_not_unsent() {
    run(async {
        let (cluster, _) = cluster(http2(&[80]), |_, _| {
            serve(|stream| {
                h2_server(stream, server::Builder::new(), |_, mut respond| async move {
                    respond.send_reset(Reason::INTERNAL_ERROR);
                })
            })
        });
        let error = send(&cluster, get("/x"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::StreamReset(Reason::INTERNAL_ERROR))), "{error:?}");
        assert!(error.delivery != Delivery::Unsent && error.request.is_none());
    });
}

#[test]
fn a_connection_lost_leaves_it_open_whether_it_arrived() {
    run(async {
        let (cluster, _) = cluster(http2(&[80]), |_, _| {
            serve(|stream| async move {
                let mut peer = raw::Peer::accept(stream).await;
                peer.requests(1).await;
            })
        });
        let error = send(&cluster, get("/x"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::Closed)), "{error:?}");
        assert_eq!(error.delivery, Delivery::Unanswered);
        settle().await;
        assert_eq!(cluster.open(), 0);
        assert_nothing_held(&cluster);
    });
}

#[test]
fn a_dead_peer_is_found_by_ping_and_a_slow_one_is_left_alone() {
    run(async {
        let (cluster, _) = cluster(http2(&[80, 81]), |nth, _| match nth {
            0 => serve(|stream| async move {
                let mut peer = raw::Peer::accept(stream).await;
                peer.requests(1).await;
                sleep(Duration::from_secs(6000)).await;
            }),
            _ => serve(|stream| {
                h2_server(stream, server::Builder::new(), |request, respond| async move {
                    sleep(Duration::from_secs(1000)).await;
                    hello(request, respond).await;
                })
            }),
        });
        let begun = Instant::now();
        let error = send(&cluster, get("/"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::Closed)), "{error:?}");
        assert!((30..60).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert_eq!(text(send(&cluster, get("/"), &options()).await.unwrap()).await, "hello");
    });
}

#[test]
fn small_bodies_go_out_in_the_fewest_frames() {
    run(async {
        let (cluster, _) = cluster(http2(&[80]), |_, _| {
            serve(|stream| async move {
                let mut peer = raw::Peer::accept(stream).await;
                let frames = peer.requests(2).await;
                // HEADERS with END_STREAM; HEADERS, then DATA with END_STREAM; nothing else.
                assert_eq!(frames, [(1, 0x5, 1), (1, 0x4, 3), (0, 0x1, 3)]);
                peer.answer(1).await;
                peer.answer(3).await;
                peer.idle().await;
            })
        });
        let options = options();
        let (one, two) =
            tokio::join!(send(&cluster, get("/"), &options), send(&cluster, post("/", full("money")), &options));
        assert_eq!((one.unwrap().status(), two.unwrap().status()), (StatusCode::OK, StatusCode::OK));
    });
}

#[test]
fn a_large_upload_keeps_to_the_window() {
    run(async {
        let (cluster, _) =
            cluster(http2(&[80]), |_, _| serve(|stream| h2_server(stream, server::Builder::new(), count)));
        let taken = Rc::new(Cell::new(0));
        let body = streamed(10_000, 1_000, Rc::clone(&taken));
        assert_eq!(text(send(&cluster, post("/", body), &options()).await.unwrap()).await, "10000000");
        settle().await;
        assert_nothing_held(&cluster);
    });
}

#[test]
fn an_upload_nobody_takes_is_bounded_and_ends_by_deadline() {
    run(async {
        let (cluster, _) = cluster(http2(&[80]), |_, _| {
            serve(|stream| {
                h2_server(stream, server::Builder::new(), |request, respond| async move {
                    sleep(Duration::from_secs(3600)).await;
                    drop((request, respond));
                })
            })
        });
        let taken = Rc::new(Cell::new(0));
        let body = streamed(10_000, 1_000, Rc::clone(&taken));
        let begun = Instant::now();
        let error = send(&cluster, post("/", body), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::Stalled)), "{error:?}");
        assert_eq!(begun.elapsed().as_secs(), 30);
        assert!(taken.get() <= 65_535 + 2 * 10_000, "{} taken", taken.get());
        settle().await;
        assert_nothing_held(&cluster);
    });
}

#[test]
fn a_download_nobody_reads_is_bounded() {
    run(async {
        let sent = Rc::new(Cell::new(0usize));
        let counter = Rc::clone(&sent);
        let (cluster, _) = cluster(http2(&[80]), move |_, _| {
            let counter = Rc::clone(&counter);
            serve(move |stream| {
                h2_server(stream, server::Builder::new(), move |_, mut respond| {
                    let counter = Rc::clone(&counter);
                    async move {
                        let mut send = respond.send_response(Response::new(()), false).unwrap();
                        let body = streamed(10_000, 1_000, counter);
                        crate::io::h2_pump::send_body(body, &mut send, Duration::from_secs(3600), |_, _| ())
                            .await
                            .unwrap();
                    }
                })
            })
        });
        let response = send(&cluster, get("/"), &options()).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert!(sent.get() <= 65_535 + 20_000, "{} sent before a byte was read", sent.get());
        assert_eq!(text(response).await.len(), 10_000_000);
    });
}

#[test]
fn a_download_given_up_resets_its_stream_and_spares_the_connection() {
    run(async {
        let reset = Rc::new(Cell::new(None));
        let told = Rc::clone(&reset);
        let (cluster, script) = cluster(http2(&[80]), move |_, _| {
            let told = Rc::clone(&told);
            serve(move |stream| {
                h2_server(stream, server::Builder::new(), move |_, mut respond| {
                    let told = Rc::clone(&told);
                    async move {
                        let mut send = respond.send_response(Response::new(()), false).unwrap();
                        let reason = poll_fn(|cx| send.poll_reset(cx)).await;
                        told.set(reason.ok());
                    }
                })
            })
        });
        for _ in 0..2 {
            let taken = Rc::new(Cell::new(0));
            drop(send(&cluster, post("/", streamed(10_000, 1_000, taken)), &options()).await.unwrap());
            settle().await;
            assert_eq!(reset.take(), Some(Reason::CANCEL));
            assert_nothing_held(&cluster);
        }
        assert_eq!(script.dialed.borrow().len(), 1);
    });
}

#[test]
fn trailers_go_both_ways() {
    run(async {
        let (cluster, _) = cluster(http2(&[80]), |_, _| {
            serve(|stream| {
                h2_server(stream, server::Builder::new(), |request, mut respond| async move {
                    let mut body = request.into_body();
                    while let Some(Ok(data)) = body.data().await {
                        body.flow_control().release_capacity(data.len()).unwrap();
                    }
                    let trailers = body.trailers().await.unwrap().unwrap();
                    let mut send = respond.send_response(Response::new(()), false).unwrap();
                    send.send_trailers(trailers).unwrap();
                })
            })
        });
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let frames =
            [Ok(http_body::Frame::data(Bytes::from_static(b"x"))), Ok(http_body::Frame::trailers(trailers.clone()))];
        let body: TestBody = Box::pin(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
        let response = send(&cluster, post("/", body), &options()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().trailers(), Some(&trailers));
        settle().await;
        assert_nothing_held(&cluster);
    });
}

#[test]
fn a_known_length_is_told() {
    run(async {
        let (cluster, _) = cluster(http2(&[80]), |_, _| {
            serve(|stream| {
                h2_server(stream, server::Builder::new(), |_, mut respond| async move {
                    let head = Response::builder().header(CONTENT_LENGTH, 5).body(()).unwrap();
                    respond.send_response(head, false).unwrap().send_data(Bytes::from_static(b"hello"), true).unwrap();
                })
            })
        });
        let response = send(&cluster, get("/"), &options()).await.unwrap();
        assert_eq!(response.body().size_hint().exact(), Some(5));
        assert_eq!(text(response).await, "hello");
    });
}

/// A peer that says exactly what a test wants.
mod raw {
    use super::*;

    pub(super) struct Peer {
        stream: DuplexStream,
    }

    impl Peer {
        pub(super) async fn accept(mut stream: DuplexStream) -> Self {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            // Our SETTINGS.
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            Self { stream }
        }

        /// Reads until this many requests have ended: the type, flags and stream of their frames.
        pub(super) async fn requests(&mut self, count: usize) -> Vec<(u8, u8, u32)> {
            let (mut frames, mut ended) = (Vec::new(), 0);
            while ended < count {
                let (kind, flags, id) = self.frame().await.unwrap();
                match kind {
                    0 | 1 => {
                        ended += usize::from(flags & 1 == 1);
                        frames.push((kind, flags, id));
                    }
                    4 if flags == 0 => self.write(&[0, 0, 0, 4, 1, 0, 0, 0, 0]).await,
                    _ => {}
                }
            }
            frames
        }

        pub(super) async fn goaway(&mut self, last: u8, reason: u8) {
            self.write(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, reason]).await;
        }

        /// `:status: 200`, the end.
        pub(super) async fn answer(&mut self, id: u8) {
            self.write(&[0, 0, 1, 1, 5, 0, 0, 0, id, 0x88]).await;
        }

        pub(super) async fn idle(&mut self) {
            while self.frame().await.is_some() {}
        }

        async fn frame(&mut self) -> Option<(u8, u8, u32)> {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            self.stream.read_exact(&mut vec![0; len]).await.ok()?;
            Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
        }

        async fn write(&mut self, bytes: &[u8]) {
            self.stream.write_all(bytes).await.unwrap();
        }
    }
}

#[test]
fn an_early_answer_and_a_stop_leave_the_answer_whole() {
    run(async {
        let (cluster, script) = cluster(http2(&[80]), |_, _| {
            serve(|stream| {
                h2_server(stream, server::Builder::new(), |_, mut respond| async move {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
                    settle().await;
                    // RFC 9113 §8.1: enough of the request.
                    body.send_reset(Reason::NO_ERROR);
                })
            })
        });
        for _ in 0..3 {
            let taken = Rc::new(Cell::new(0));
            let body = streamed(10_000, 1_000, Rc::clone(&taken));
            assert_eq!(text(send(&cluster, post("/", body), &options()).await.unwrap()).await, "hello");
            settle().await;
            settle().await;
            assert!(taken.get() < 1_000_000, "the upload stopped");
            assert_nothing_held(&cluster);
        }
        assert_eq!(script.dialed.borrow().len(), 1);
        cluster.close_idle();
        settle().await;
        assert_eq!(cluster.open(), 0, "no upload holds its stream");
    });
}
