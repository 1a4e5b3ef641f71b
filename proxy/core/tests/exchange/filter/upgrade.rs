//! Filters: requests that ask to leave HTTP, and what becomes of them.

use super::*;
use crate::tunnel::{extended, open, talk, websocket_request, websocket_server};
use tokio::time::timeout;

/// Long before silence ends anything.
const SOON: Duration = Duration::from_secs(1);

/// What a filter sees of a field.
fn field(stream: &Stream, name: &str) -> Option<String> {
    stream
        .headers(Map::RequestHeaders, |head| head.get(name.as_bytes()).map(<[u8]>::to_vec))
        .unwrap()
        .map(|value| String::from_utf8(value).unwrap())
}

/// A filter that tells what it sees of the wish, and holds the head.
fn shows(how: Do) -> (Kept, Rc<RefCell<Vec<Option<String>>>>) {
    let (kept, seen) = (Kept::default(), Rc::<RefCell<Vec<Option<String>>>>::default());
    let (keep, note) = (kept.clone(), Rc::clone(&seen));
    script("a", move |event, stream| match event {
        Event::RequestHeaders(_) => {
            let names = [":method", ":path", "upgrade", "connection", "x-private"];
            note.borrow_mut().extend(names.map(|name| field(stream, name)));
            keep.keep(stream);
            how
        }
        Event::ResponseHeaders(_) => {
            let names = [":status", "upgrade", "connection"];
            let value =
                |name: &str| stream.headers(Map::ResponseHeaders, |head| head.get(name.as_bytes()).map(<[u8]>::to_vec));
            let values = names.map(|name| value(name).unwrap().map(|value| String::from_utf8(value).unwrap()));
            note.borrow_mut().extend(values);
            Do::Continue
        }
        _ => Do::Continue,
    });
    (kept, seen)
}

/// A client's `Connection` takes away fields of the client's, not what a filter says of it in one of the same name.
#[test]
fn what_filters_add_is_not_taken_away_by_the_clients_connection() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.headers(Map::RequestHeaders, |head| head.replace(b"x-user", b"ann")).unwrap();
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let request = websocket_request().replace("Upgrade\r\n", "Upgrade, x-user\r\nx-user: root\r\n");
            let told = ask(&world, &request).await.body.to_ascii_lowercase();
            assert!(told.contains("\r\nx-user: ann\r\n") && told.contains("\r\nupgrade: websocket\r\n"), "{told}");
            assert!(told.contains("\r\nconnection: upgrade\r\n") && !told.contains("root"), "{told}");
        },
    );
}

#[test]
fn filters_see_that_a_request_asks_to_leave_http_and_that_more_follows() {
    const HEARD: [&str; 4] = ["a: open", "a: request_headers No", "a: response_headers No", "a: log"];
    for how in [Do::Continue, Do::Pause, Do::PauseAll] {
        let (kept, seen) = shows(how);
        run(
            ONE,
            |_, _| websocket_server(),
            |world| async move {
                let mut client = world.connect();
                let request =
                    websocket_request().replace("Upgrade\r\n", "keep-alive, Upgrade, x-private\r\nx-private: 1\r\n");
                client.write_all(request.as_bytes()).await.unwrap();
                kept.wait().await.resume(Side::Request);
                assert_eq!(answer(&mut client).await.status, 101);
                let seen: Vec<_> = seen.take().into_iter().map(Option::unwrap_or_default).collect();
                assert_eq!(
                    seen,
                    ["GET", "/chat", "WebSocket", "keep-alive, Upgrade, x-private", "", "101", "websocket", "upgrade"]
                );
                talk(&mut client).await;
                drop(client);
                one_record(&world, (101, "-", "via_upstream", "-")).await;
                assert_eq!(events()[..4], HEARD);
            },
        );
        let (kept, seen) = shows(how);
        run(
            ONE,
            |_, _| websocket_server(),
            |world| async move {
                let (status, mut stream, _sender) = {
                    let opening = open(&world, extended("websocket"));
                    let resume = async { kept.wait().await.resume(Side::Request) };
                    tokio::join!(opening, resume).0
                };
                assert_eq!(status, 200);
                let seen: Vec<_> = seen.take().into_iter().map(Option::unwrap_or_default).collect();
                assert_eq!(
                    seen,
                    ["GET", "/chat", "websocket", "upgrade", "", "101", "websocket", "upgrade"],
                    "as on HTTP/1.1"
                );
                talk(&mut stream).await;
                stream.shutdown().await.unwrap();
                settle().await;
                let record = world.record().await;
                assert_eq!((&*record.method, record.status), ("CONNECT", 200));
                assert_eq!(events()[..4], HEARD);
            },
        );
    }
}

#[test]
fn without_the_field_it_is_an_ordinary_request() {
    let strip = || {
        script("a", |event, stream| {
            if let Event::RequestHeaders(_) = event {
                stream.headers(Map::RequestHeaders, |head| head.remove(b"upgrade")).unwrap();
            }
            Do::Continue
        });
    };
    strip();
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(websocket_request().as_bytes()).await.unwrap();
            let answer = answer(&mut client).await;
            let body = answer.body.to_ascii_lowercase();
            assert!(answer.status == 200 && body.starts_with("get /chat "), "{answer:?}");
            assert!(!body.contains("upgrade") && !body.contains("connection:"), "{answer:?}");
            one_record(&world, (200, "-", "via_upstream", "-")).await;
        },
    );
    strip();
    run(
        ONE,
        |_, _| websocket_server_unasked(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(websocket_request().as_bytes()).await.unwrap();
            assert_eq!(answer(&mut client).await.status, 502);
        },
    );
    strip();
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let (status, _stream, _sender) = open(&world, extended("websocket")).await;
            assert_eq!(status, 502, "a success would say that the tunnel stands");
            assert_eq!(world.record().await.details, "upgrade_failed");
        },
    );
}

/// Switches, whoever asked.
fn websocket_server_unasked() -> crate::server::Step {
    canned("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
}

#[test]
fn a_filter_refuses_who_asks_to_leave_http() {
    let refuse = || {
        script("a", |event, stream| match event {
            Event::RequestHeaders(_) if field(stream, "upgrade").is_some() => {
                stream.reply(reply(403, "not here")).unwrap();
                Do::PauseAll
            }
            _ => Do::Continue,
        });
    };
    refuse();
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            assert_eq!(ask(&world, &websocket_request()).await.status, 403);
            assert_eq!(get(&world, "/").await.status, 200);
            assert_eq!(world.dialed.borrow().len(), 1);
        },
    );
    refuse();
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let (status, _stream, _sender) = open(&world, extended("websocket")).await;
            assert_eq!(status, 403);
            assert!(world.dialed.borrow().is_empty());
        },
    );
}

#[test]
fn a_length_has_no_place_in_what_asks_to_leave_http() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.headers(Map::RequestHeaders, |head| head.add(b"content-length", b"5")).unwrap();
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| websocket_server(),
        |world| async move {
            assert_eq!(ask(&world, &websocket_request()).await.status, 503);
            assert!(world.dialed.borrow().is_empty());
        },
    );
}

#[test]
fn a_filter_cuts_what_left_http() {
    type End = fn(&Stream);
    let cases: [(End, &str); 2] = [
        (|stream| stream.close("script_closed"), "script_closed"),
        (|stream| stream.reply(reply(418, "tea")).unwrap(), "by_filter"),
    ];
    for (end, details) in cases {
        let kept = held("a", Do::Continue);
        run(
            ONE,
            |_, _| websocket_server(),
            |world| async move {
                let mut client = world.connect();
                client.write_all(websocket_request().as_bytes()).await.unwrap();
                assert_eq!(answer(&mut client).await.status, 101);
                talk(&mut client).await;
                end(&kept.wait().await);
                assert!(timeout(SOON, closed(&mut client)).await.unwrap());
                one_record(&world, (101, "LR", details, "proxy")).await;
            },
        );
        let kept = held("a", Do::Continue);
        run(
            ONE,
            |_, _| websocket_server(),
            |world| async move {
                let (status, mut stream, _sender) = open(&world, extended("websocket")).await;
                assert_eq!(status, 200);
                talk(&mut stream).await;
                end(&kept.wait().await);
                assert!(timeout(SOON, stream.read(&mut [0; 1])).await.unwrap().is_err(), "it is no end");
                assert_eq!(world.record().await.end(), (200, "LR", details, "proxy"));
            },
        );
    }
}

/// What a route asks of a request goes before it is sent, and only then.
#[test]
fn a_route_that_asks_for_an_upgrade_is_chosen_again_as_well() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.headers(Map::RequestHeaders, |head| head.add(b"x-a", b"1")).unwrap();
        }
        Do::Continue
    });
    let routes = "      - match: { prefix: /chat, headers: { upgrade: WebSocket } }
        cluster: up
      - match: { prefix: / }
        respond: { status: 404 }";
    run(
        Setup { routes, ..ONE },
        |_, _| websocket_server(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(websocket_request().as_bytes()).await.unwrap();
            assert_eq!(answer(&mut client).await.status, 101);
            talk(&mut client).await;
            drop(client);
            one_record(&world, (101, "-", "via_upstream", "-")).await;
        },
    );
}
