//! Answers before their request has wholly come.

use super::*;

#[test]
fn an_upload_goes_on_behind_its_answer_and_the_connection_with_it() {
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                while let Some(head) = head(&mut stream).await {
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                    stream.read_exact(&mut vec![0; length(&head)]).await.unwrap();
                }
            })
        },
        |world| async move {
            let mut client = world.connect();
            for _ in 0..3 {
                client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
                assert_eq!(answer(&mut client).await.body, "hello");
                sleep(Duration::from_secs(1)).await;
                client.write_all(b"defghi").await.unwrap();
            }
            client.write_all(GET).await.unwrap();
            assert_eq!(answer(&mut client).await.status, 200);
            world.assert_quiet().await;
        },
    );
}

/// Servers that decline an upload before they have read it end their connection, and the client was told that its own goes on.
#[test]
fn what_is_left_of_a_short_upload_is_read_where_its_server_gave_it_up() {
    for rest in [1 << 20, 1, 0] {
        run(
            PLAIN,
            |_, _| {
                serve(|mut stream| async move {
                    head(&mut stream).await;
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                })
            },
            move |world| async move {
                let mut client = world.connect();
                for _ in 0..3 {
                    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\nabc", 3 + rest);
                    client.write_all(head.as_bytes()).await.unwrap();
                    let answer = answer(&mut client).await;
                    assert_eq!((answer.body.as_str(), answer.field("connection")), ("hello", None), "{rest}");
                    sleep(Duration::from_secs(1)).await;
                    client.write_all(&vec![b'x'; rest]).await.unwrap();
                }
            },
        );
    }
}

/// As in Envoy: nobody can tell whether all of it will be read.
#[test]
fn an_answer_before_the_end_of_a_long_upload_is_its_connections_last_and_the_upload_goes_on() {
    const LONG: usize = (1 << 20) + 1;
    for chunked in [false, true] {
        let (whole, was_whole) = oneshot::channel();
        let whole = Rc::new(RefCell::new(Some(whole)));
        run(
            PLAIN,
            move |_, _| {
                let whole = Rc::clone(&whole);
                serve(move |mut stream| {
                    let whole = whole.take();
                    async move {
                        head(&mut stream).await;
                        stream.write_all(HELLO.as_bytes()).await.unwrap();
                        let mut body = vec![0; 3 + LONG];
                        stream.read_exact(&mut body).await.unwrap();
                        whole.unwrap().send(()).unwrap();
                        stream.read_to_end(&mut body).await.ok();
                    }
                })
            },
            move |world| async move {
                let mut client = world.connect();
                let framing =
                    if chunked { "transfer-encoding: chunked" } else { &format!("content-length: {}", 3 + LONG) };
                let (first, last) =
                    if chunked { (format!("{:x}\r\nabc", 3 + LONG), "\r\n0\r\n\r\n") } else { ("abc".into(), "") };
                let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{first}");
                client.write_all(head.as_bytes()).await.unwrap();
                let answer = answer(&mut client).await;
                assert_eq!((answer.body.as_str(), answer.field("connection")), ("hello", Some("close")), "{chunked}");
                sleep(Duration::from_secs(1)).await;
                client.write_all(&vec![b'x'; LONG]).await.unwrap();
                client.write_all(last.as_bytes()).await.unwrap();
                was_whole.await.unwrap();
                assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "it ends");
            },
        );
    }
}

/// It may take the connection's end for the answer's.
#[test]
fn a_client_that_asks_for_the_end_has_it_with_its_answer() {
    for asks in ["HTTP/1.1\r\nconnection: close", "HTTP/1.0"] {
        run(
            PLAIN,
            |_, _| {
                serve(|mut stream| async move {
                    head(&mut stream).await;
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                    stream.read_to_end(&mut Vec::new()).await.ok();
                })
            },
            move |world| async move {
                let mut client = world.connect();
                let head = format!("POST / {asks}\r\nhost: a\r\ncontent-length: 3000000\r\n\r\nabc");
                client.write_all(head.as_bytes()).await.unwrap();
                assert_eq!(answer(&mut client).await.body, "hello");
                let begun = Instant::now();
                client.read_to_end(&mut Vec::new()).await.unwrap();
                assert!(begun.elapsed() < Duration::from_secs(3), "{asks} {:?}", begun.elapsed());
            },
        );
    }
}
