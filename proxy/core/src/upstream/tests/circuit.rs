use super::*;
use crate::telemetry::Blame;
use futures_util::future::join_all;
use pillion_config::model::{OriginalAddress, OriginalDestination, Source};
use proptest::prelude::*;

#[test]
fn requests_beyond_the_limit_are_refused_whole() {
    run(async {
        let mut model = model(UpstreamProtocol::Http1, &[80]);
        model.circuit.requests = 1;
        let (cluster, _) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        let held = send(&cluster, get("/"), &options()).await.unwrap();
        let error = send(&cluster, get("/x"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Overflow(Limit::Requests)), "{error:?}");
        assert_eq!(error.cause.blame(), Blame::Proxy);
        assert_eq!(error.request.unwrap().uri(), "http://a.example/x");
        assert_eq!(text(held).await, "hello");
        assert_eq!(text(send(&cluster, get("/"), &options()).await.unwrap()).await, "hello");
    });
}

#[test]
fn at_the_limit_of_connections_requests_wait_their_turn() {
    run(async {
        let mut model = model(UpstreamProtocol::Http1, &[80]);
        model.circuit.connections = 2;
        model.circuit.pending = 6;
        model.idle_connections = 0;
        let (cluster, script) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        let options = options();
        let answers = join_all((0..10).map(|_| async {
            let response = send(&cluster, get("/"), &options).await?;
            sleep(Duration::from_millis(10)).await;
            Ok::<_, SendError<TestBody>>(text(response).await)
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 6, "{answers:?}");
        assert!(
            answers
                .iter()
                .flat_map(|answer| answer.as_ref().err())
                .all(|error| matches!(error.cause, Cause::Overflow(Limit::Pending)))
        );
        assert!(script.dialed.borrow().len() >= 2);
        assert_nothing_held(&cluster);
    });
}

#[test]
fn the_silent_have_half_of_the_connections_and_of_the_requests() {
    for (connections, requests, half) in [(5, 100, 3), (100, 5, 3), (4, 4, 2), (1, 1, 1)] {
        let mut model = model(UpstreamProtocol::Http1, &[80]);
        (model.circuit.connections, model.circuit.requests) = (connections, requests);
        let (one, _) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        let two = beside(&one, |_, _| serve(|stream| canned(stream, HELLO)));
        let workers = [one.state(), two.state()];
        let mut held: Vec<_> = (0..half).map(|at| workers[at % 2].silent(None).unwrap()).collect();
        for worker in workers {
            assert!(worker.silent(None).is_none(), "{connections} {requests}");
        }
        held.pop();
        assert!(workers[0].silent(None).is_some(), "whoever spoke or left makes room");
    }
}

#[test]
fn no_destination_s_silence_takes_the_places_of_all_others() {
    let mut model = model(UpstreamProtocol::Http1, &[]);
    model.circuit.connections = 16;
    model.original_destination =
        Some(OriginalDestination { address: OriginalAddress::Original, source: Source::Proxy });
    let (one, _) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
    let silent = |host: u8| {
        let destination = ([192, 0, 2, host], 5432).into();
        one.state().silent(Some(Captured { destination, client: [192, 0, 2, 99].into() }))
    };
    let until_none = |host| std::iter::from_fn(|| silent(host)).collect::<Vec<_>>();
    // Half of what the silent have for the first whose server hangs, half of the rest for the next one.
    let hung = until_none(1);
    assert_eq!(hung.len(), 4);
    let second = until_none(2);
    assert_eq!(second.len(), 2);
    let mut others: Vec<_> = (3..=4).map(|host| silent(host).expect("there is always one left")).collect();
    assert!(silent(5).is_none(), "all together have half, as ever");
    others.pop();
    assert!(silent(1).is_none());
    drop(hung);
    assert_eq!(until_none(1).len(), 3, "given back, and the others' are still counted");
    drop(second);
    assert_eq!(one.state().describe().members.len(), 1, "nobody is remembered who has none");
    drop(others);
}

#[test]
fn what_rests_at_one_address_makes_room_for_another() {
    run(async {
        let mut model = model(UpstreamProtocol::Http1, &[80, 81]);
        model.circuit.connections = 1;
        let (cluster, script) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        for _ in 0..4 {
            assert_eq!(text(send(&cluster, get("/"), &options()).await.unwrap()).await, "hello");
            assert_eq!(cluster.state().describe().connections, 1);
        }
        assert_eq!(script.dialed.borrow().len(), 4, "by turns, one connection at a time");
    });
}

/// A second worker's view of a cluster.
fn beside(one: &TestCluster, plan: impl Fn(usize, SocketAddr) -> Step + 'static) -> TestCluster {
    let script = Rc::new(Script { plan: Box::new(plan), dialed: RefCell::default() });
    WorkerCluster::new(Arc::clone(one.state()), script, Rc::new(Random::seeded(2)), Rc::default(), Rc::default())
}

#[test]
fn what_rests_in_one_worker_makes_room_in_another() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        run(async move {
            let mut model = model(protocol, &[80]);
            model.circuit.connections = 1;
            let plan = move |_, _| step(Server::Answers(0), protocol);
            let (one, _) = cluster(model, plan);
            let two = beside(&one, plan);
            for _ in 0..4 {
                for worker in [&one, &two] {
                    let began = Instant::now();
                    assert_eq!(text(send(worker, get("/"), &options()).await.unwrap()).await, "hello", "{protocol:?}");
                    assert!(began.elapsed() < Duration::from_secs(1), "{protocol:?}: after {:?}", began.elapsed());
                    assert_eq!(worker.state().describe().connections, 1);
                    settle().await;
                }
            }
        });
    }
}

#[test]
fn a_worker_without_connections_waits_for_those_of_others() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        for read in [true, false] {
            run(async move {
                let mut model = model(protocol, &[80]);
                model.circuit.connections = 1;
                let plan = move |_, _| step(Server::Answers(0), protocol);
                let (one, _) = cluster(model, plan);
                let two = beside(&one, plan);
                let held = send(&one, get("/"), &options()).await.unwrap();
                let (answer, ()) = futures_util::future::join(
                    async { text(send(&two, get("/"), &options()).await.unwrap()).await },
                    async {
                        sleep(Duration::from_millis(50)).await;
                        assert_eq!(two.state().describe().pending, 1);
                        if read {
                            assert_eq!(text(held).await, "hello");
                        } else {
                            drop(held);
                        }
                    },
                )
                .await;
                assert_eq!(answer, "hello");
                assert_eq!(two.state().describe().connections, 1);
                assert_nothing_held(&two);
            });
        }
    }
}

#[test]
fn at_the_limit_every_worker_gets_its_part() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        run(async move {
            let mut model = model(protocol, &[80]);
            model.circuit.connections = 1;
            let plan = move |_, _| step(Server::Answers(1), protocol);
            let (one, _) = cluster(model, plan);
            let workers = [Rc::clone(&one), beside(&one, plan)];
            // Eight clients of the one leave no moment in which its connection rests; one client of the other waits.
            let busy = Rc::new(std::cell::Cell::new(true));
            let client = |worker: usize| {
                let (cluster, busy) = (Rc::clone(&workers[worker]), Rc::clone(&busy));
                async move {
                    let mut served = 0;
                    while busy.get() && served < 20_000 {
                        assert_eq!(text(send(&cluster, get("/"), &options()).await.unwrap()).await, "hello");
                        served += 1;
                        // Others have their turn before a client comes again.
                        settle().await;
                        if worker == 1 && served == 10 {
                            busy.set(false);
                        }
                    }
                    served
                }
            };
            let served = join_all([0, 0, 0, 0, 0, 0, 0, 0, 1].map(client)).await;
            assert_eq!(served[8], 10, "{protocol:?}: {served:?}");
            let most = served[..8].iter().max().unwrap();
            assert!(*most < 1_000, "{protocol:?}: {served:?}");
        });
    }
}

#[test]
fn an_opaque_connection_waits_no_longer_than_a_connect_may_take() {
    run(async {
        let mut model = model(UpstreamProtocol::Http1, &[80]);
        model.circuit.connections = 1;
        let (cluster, _) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        let held = send(&cluster, get("/"), &options()).await.unwrap();
        let began = Instant::now();
        let error = open(&cluster, None, &std::cell::Cell::new(None), None).await.map(drop).unwrap_err();
        assert!(matches!(error, Cause::Overflow(Limit::Connections)), "{error:?}");
        assert!((5..6).contains(&began.elapsed().as_secs()), "after {:?}", began.elapsed());
        drop(held);
        settle().await;
        assert!(open(&cluster, None, &std::cell::Cell::new(None), None).await.is_ok());
    });
}

/// What a client does with its request.
#[derive(Debug, Clone)]
struct Client {
    begins: u64,
    gives_up: u64,
    reads: Option<u64>,
}

/// What the server does with a connection, by its number.
#[derive(Debug, Clone, Copy)]
enum Server {
    Answers(u64),
    ClosesAfter(u64),
    Refuses,
    Hangs,
}

fn a_client() -> impl Strategy<Value = Client> {
    (0u64..40, 0u64..30, prop::option::of(0u64..20)).prop_map(|(begins, gives_up, reads)| Client {
        begins,
        gives_up,
        reads,
    })
}

fn a_server() -> impl Strategy<Value = Server> {
    prop_oneof![
        4 => (0u64..8).prop_map(Server::Answers),
        2 => (0u64..8).prop_map(Server::ClosesAfter),
        1 => Just(Server::Refuses),
        1 => Just(Server::Hangs),
    ]
}

fn step(server: Server, protocol: UpstreamProtocol) -> Step {
    match (server, protocol) {
        (Server::Refuses, _) => Step::Fail(io::ErrorKind::ConnectionRefused),
        (Server::Hangs, _) => Step::Hang,
        (Server::Answers(delay), UpstreamProtocol::Http2) => serve(move |stream| serve_http2(stream, delay)),
        (Server::ClosesAfter(time), UpstreamProtocol::Http2) => serve(move |stream| async move {
            tokio::time::timeout(Duration::from_millis(time), serve_http2(stream, 1)).await.ok();
        }),
        (Server::Answers(delay), _) => serve(move |stream| slow(stream, delay)),
        (Server::ClosesAfter(time), _) => serve(move |stream| async move {
            tokio::time::timeout(Duration::from_millis(time), slow(stream, 1)).await.ok();
        }),
    }
}

async fn slow(mut stream: DuplexStream, delay: u64) {
    while read_head(&mut stream).await.is_some() {
        sleep(Duration::from_millis(delay)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await.ok();
        sleep(Duration::from_millis(delay)).await;
        if stream.write_all(b"llo").await.is_err() {
            return;
        }
    }
}

async fn serve_http2(stream: DuplexStream, delay: u64) {
    let mut builder = h2::server::Builder::new();
    let Ok(mut connection) = builder.max_concurrent_streams(2).handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        spawn_local(async move {
            sleep(Duration::from_millis(delay)).await;
            if let Ok(mut body) = respond.send_response(Response::new(()), false) {
                body.send_data(Bytes::from_static(b"he"), false).ok();
                sleep(Duration::from_millis(delay)).await;
                body.send_data(Bytes::from_static(b"llo"), true).ok();
            }
        });
    }
}

async fn be(client: Client, cluster: TestCluster) {
    sleep(Duration::from_millis(client.begins)).await;
    let options = options();
    let sending = send(&cluster, get("/"), &options);
    let Ok(answer) = tokio::time::timeout(Duration::from_millis(client.gives_up), sending).await else { return };
    let Ok(response) = answer else { return };
    let limits = cluster.state().model().circuit;
    let now = cluster.state().describe();
    assert!(now.connections <= limits.connections && now.pending <= limits.pending && now.requests <= limits.requests);
    match client.reads {
        None => drop(response),
        Some(time) => {
            tokio::time::timeout(Duration::from_millis(time), response.into_body().collect()).await.ok();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_whenever_who_gives_up(
        clients in prop::collection::vec(a_client(), 1..25),
        servers in prop::collection::vec(a_server(), 1..6),
        protocol in prop::sample::select(vec![UpstreamProtocol::Http1, UpstreamProtocol::Http2]),
        circuit in (1usize..5, 1usize..6, 1usize..8),
    ) {
        run(async move {
            let mut model = model(protocol, &[80, 81]);
            let (connections, pending, requests) = circuit;
            model.circuit = Circuit { connections, pending, requests };
            model.connect_timeout = Duration::from_millis(15);
            let plan = move |nth: usize, _| step(servers[nth % servers.len()], protocol);
            let (one, _) = cluster(model, plan.clone());
            let workers = [Rc::clone(&one), beside(&one, plan)];
            let by_turns = clients.into_iter().enumerate();
            join_all(by_turns.map(|(nth, client)| be(client, Rc::clone(&workers[nth % 2])))).await;
            sleep(Duration::from_millis(100)).await;
            settle().await;
            assert_nothing_held(&one);
            workers.iter().for_each(|worker| worker.close_idle());
            sleep(Duration::from_millis(100)).await;
            settle().await;
            for worker in &workers {
                assert_eq!((worker.resting(), worker.open()), (0, 0));
            }
            assert_eq!(one.state().describe().connections, 0);
        });
    }
}
