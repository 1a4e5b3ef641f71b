//! Filters on opaque connections.

use crate::{
    client::{answer, closed},
    scripted::{Do, Event, events, script},
    server::{HELLO, canned, serve},
    world::{PLAIN, Setup, World, run, settle},
};
use pillion_core::{
    exchange::filter::{Side, Stream},
    upstream::ConnectError,
};
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TCP: Setup = Setup { listener: "    tcp: { cluster: up }", routes: "", filters: &["a", "b"], ..PLAIN };

/// Sends back what comes, in capitals, to the end.
fn shout() -> crate::server::Step {
    serve(|mut stream| async move {
        let mut buffer = [0; 1000];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let text = buffer[..length].to_ascii_uppercase();
            if stream.write_all(&text).await.is_err() {
                return;
            }
        }
    })
}

async fn one_record(world: &World, end: (&str, &str, &str)) {
    let record = world.record().await;
    assert_eq!((&*record.flags, &*record.details, &*record.by), end, "{record:?}");
    world.assert_quiet().await;
}

#[test]
fn bytes_pass_in_order_and_back_in_reverse() {
    run(
        TCP,
        |_, _| shout(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"abc").await.unwrap();
            let mut got = [0; 3];
            client.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"ABC");
            client.shutdown().await.unwrap();
            assert!(closed(&mut client).await);
            one_record(&world, ("-", "-", "-")).await;
            assert_eq!(
                events(),
                [
                    "a: open",
                    "a: new_connection",
                    "b: open",
                    "b: new_connection",
                    "a: downstream_data 3 No",
                    "b: downstream_data 3 No",
                    "b: upstream_data 3 No",
                    "a: upstream_data 3 No",
                    "a: downstream_data 0 Yes",
                    "b: downstream_data 0 Yes",
                    "b: upstream_data 0 Yes",
                    "b: upstream_closed Unknown",
                    "a: upstream_data 0 Yes",
                    "a: upstream_closed Unknown",
                    "a: downstream_closed Local",
                    "b: downstream_closed Local",
                    "a: done",
                    "a: log",
                    "a: gone",
                    "b: done",
                    "b: log",
                    "b: gone",
                ]
            );
        },
    );
}

#[test]
fn a_connection_and_its_bytes_can_wait() {
    let kept = Rc::new(RefCell::new(None::<Stream>));
    let keep = Rc::clone(&kept);
    script("a", move |event, stream| {
        keep.replace(Some(stream.clone()));
        match event {
            Event::NewConnection => Do::Pause,
            Event::DownstreamData(size, _) if size < 6 => Do::Pause,
            Event::DownstreamData(..) => {
                stream.body(Side::Request, |bytes| bytes.append(b"!")).unwrap();
                Do::Continue
            }
            _ => Do::Continue,
        }
    });
    run(
        TCP,
        |_, _| shout(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"abc").await.unwrap();
            settle().await;
            assert!(world.dialed.borrow().is_empty());
            let stream = kept.borrow().clone().unwrap();
            stream.resume(Side::Request);
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            client.write_all(b"def").await.unwrap();
            let mut got = [0; 7];
            client.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"ABCDEF!");
            let heard = events();
            assert!(heard.contains(&"a: downstream_data 6 No".to_owned()), "{heard:?}");
        },
    );
}

/// As in Envoy: nothing is read beyond what the filter may hold, until it lets go.
#[test]
fn a_client_whose_bytes_are_held_waits() {
    let kept = Rc::new(RefCell::new(None::<Stream>));
    let keep = Rc::clone(&kept);
    script("small", move |event, stream| {
        keep.replace(Some(stream.clone()));
        if matches!(event, Event::DownstreamData(..)) { Do::Pause } else { Do::Continue }
    });
    run(
        Setup { filters: &["small"], ..TCP },
        |_, _| shout(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(&[b'a'; 40]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.write_all(&[b'b'; 40]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let shown: Vec<_> = events().into_iter().filter(|event| event.contains("data")).collect();
            assert_eq!(shown, ["small: downstream_data 40 No"]);
            script("small", |_, _| Do::Continue);
            kept.take().unwrap().resume(Side::Request);
            let mut got = [0; 80];
            client.read_exact(&mut got).await.unwrap();
            assert_eq!(got, [[b'A'; 40], [b'B'; 40]].concat()[..]);
        },
    );
}

#[test]
fn a_filter_closes_fails_and_sends_elsewhere() {
    // Closed: what has passed is flushed.
    script("a", |event, stream| {
        if let Event::UpstreamData(..) = event {
            stream.close("enough");
        }
        Do::Continue
    });
    run(
        TCP,
        |_, _| shout(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"abc").await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            one_record(&world, ("LR", "enough", "proxy")).await;
        },
    );
    for at_once in [true, false] {
        script("a", move |event, _| match event {
            Event::NewConnection if at_once => Do::Fail,
            Event::DownstreamData(..) => Do::Fail,
            _ => Do::Continue,
        });
        run(
            TCP,
            |_, _| shout(),
            |world| async move {
                let mut client = world.connect();
                client.write_all(b"abc").await.unwrap();
                assert!(closed(&mut client).await);
                one_record(&world, ("FF", "script_failed{a}", "proxy")).await;
            },
        );
    }
    script("a", |event, stream| {
        if event == Event::NewConnection {
            stream.set_cluster("nobody");
        }
        Do::Continue
    });
    run(
        TCP,
        |_, _| shout(),
        |world| async move {
            let mut client = world.connect();
            assert!(closed(&mut client).await);
            one_record(&world, ("NC", "cluster_not_found", "proxy")).await;
        },
    );
}

#[test]
fn a_filter_knows_where_its_connection_goes_without_it() {
    let listener = "    tcp: { clusters: [{ name: up, weight: 1 }, { name: out, weight: 0 }], \
                    destinations: [{ address: [':1'], cluster: never }] }";
    let told = Rc::new(RefCell::new(Vec::new()));
    let tells = Rc::clone(&told);
    script("a", move |event, stream| {
        if event == Event::NewConnection {
            tells.borrow_mut().extend(["up", "out", "never", "nobody"].map(|name| stream.goes_to(name)));
        }
        Do::Continue
    });
    run(
        Setup {
            listener,
            cluster: "  - { name: out, endpoints: ['10.0.0.8:80'] }\n  - { name: never, endpoints: ['10.0.0.9:80'] }",
            ..TCP
        },
        |_, _| shout(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"a").await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
            assert_eq!(*told.borrow(), [true, false, false, false]);
        },
    );
}

#[test]
fn a_filter_knows_why_its_connection_goes_nowhere() {
    let known = Rc::new(RefCell::new(None));
    let told = Rc::clone(&known);
    script("a", move |event, stream| {
        if let Event::DownstreamClosed(_) = event {
            told.replace(Some((stream.connect_failure(), stream.connection_wait().is_some())));
        }
        Do::Continue
    });
    run(
        TCP,
        |_, _| crate::server::Step::Fail(std::io::ErrorKind::ConnectionRefused),
        |world| async move {
            let mut client = world.connect();
            assert!(closed(&mut client).await);
            assert_eq!(*known.borrow(), Some((Some(ConnectError::Refused), true)));
        },
    );
}

/// Who ended a connection is told as in Envoy: the upstream's end is nobody's, the client's is its own where it came last.
#[test]
fn filters_hear_who_ended_a_connection() {
    let ends = || events().into_iter().filter(|event| event.starts_with("a: ") && event.contains("closed")).collect();
    run(
        TCP,
        |_, _| {
            serve(|mut stream| async move {
                stream.read_exact(&mut [0; 3]).await.unwrap();
                stream.write_all(b"bye").await.unwrap();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"abc").await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            client.shutdown().await.unwrap();
            drop(client);
            one_record(&world, ("-", "-", "-")).await;
            let heard: Vec<String> = ends();
            assert_eq!(heard, ["a: upstream_closed Unknown", "a: downstream_closed Remote"]);
        },
    );
    // No upstream: of none is heard.
    script("a", |event, stream| {
        if event == Event::NewConnection {
            stream.set_cluster("nobody");
        }
        Do::Continue
    });
    run(
        TCP,
        |_, _| shout(),
        |world| async move {
            let mut client = world.connect();
            assert!(closed(&mut client).await);
            one_record(&world, ("NC", "cluster_not_found", "proxy")).await;
            let heard: Vec<String> = ends();
            assert_eq!(heard, ["a: downstream_closed Local"]);
        },
    );
    // A filter ends it, and hears of the end that it ended alone, as in Envoy.
    script("a", |event, stream| {
        if let Event::UpstreamData(..) = event {
            stream.close("enough");
        }
        Do::Continue
    });
    run(
        TCP,
        |_, _| shout(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"abc").await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            one_record(&world, ("LR", "enough", "proxy")).await;
            let heard: Vec<String> = ends();
            assert_eq!(heard, ["a: downstream_closed Local"]);
        },
    );
}

/// Nobody gets round the routes by waiting: what filters have been told of is given to no route, so they are told of nothing yet.
#[test]
fn a_client_that_may_turn_out_to_be_http_speaks_before_filters_are_told_of_it() {
    const BOTH: Setup = Setup { listener: "    tcp: { cluster: up, detect_timeout: 100ms }", filters: &["a"], ..PLAIN };
    for begun in [&b""[..], b"PO"] {
        run(
            BOTH,
            |number, _| if number == 0 { canned(HELLO) } else { shout() },
            move |world| async move {
                let mut client = world.connect();
                client.write_all(begun).await.unwrap();
                tokio::time::sleep(Duration::from_secs(5)).await;
                settle().await;
                assert_eq!((events(), world.dialed.borrow().len()), (Vec::<String>::new(), 0));
                let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
                client.write_all(&request[begun.len()..]).await.unwrap();
                assert_eq!(answer(&mut client).await.status, 200);
                let told = events();
                assert!(told.iter().any(|event| event.contains("request_headers")), "{told:?}");
                assert!(!told.iter().any(|event| event.contains("downstream_data")), "{told:?}");
                drop(client);
                // What is not HTTP passes the filters, late or not.
                let mut other = world.connect();
                tokio::time::sleep(Duration::from_secs(5)).await;
                other.write_all(b"\x01abc").await.unwrap();
                let mut got = [0; 4];
                other.read_exact(&mut got).await.unwrap();
                assert_eq!(&got, b"\x01ABC");
            },
        );
    }
}
