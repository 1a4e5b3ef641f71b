//! Who speaks first, and how long is waited for it.

use super::*;
use crate::drain::{Register, Signal};
use pillion_config::model::{NotHttp, Tcp};
use std::sync::Arc;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

fn any() -> Ear {
    Ear { among: Among::Any, word: None, greets: Instant::now() + REST }
}

fn names() -> Ear {
    Ear { among: Among::Names, ..any() }
}

struct Ends {
    client: DuplexStream,
    downstream: DuplexStream,
    server: DuplexStream,
    upstream: DuplexStream,
    early: BytesMut,
}

fn ends(early: &[u8]) -> Ends {
    let ((client, downstream), (server, upstream)) = (duplex(4096), duplex(4096));
    Ends { client, downstream, server, upstream, early: early.into() }
}

async fn word_of(ends: &mut Ends, ear: Ear) -> FirstWord {
    first_word(&mut ends.downstream, (&mut ends.early, ear), &mut ends.upstream, std::future::pending()).await
}

async fn word(ends: &mut Ends) -> FirstWord {
    word_of(ends, any()).await
}

#[tokio::test(start_paused = true)]
async fn a_client_that_speaks_first_is_what_it_says() {
    for (said, is) in [
        (&b"GET / HTTP/1.1\r\n"[..], FirstWord::Known),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FirstWord::Known),
        (b"\0\0\0\x08", FirstWord::Opaque),
        (b"HELO\n", FirstWord::Opaque),
    ] {
        for cut in (0..said.len()).filter(|&cut| any().may_become_known(&said[..cut])) {
            let mut ends = ends(&said[..cut]);
            ends.client.write_all(&said[cut..]).await.unwrap();
            assert_eq!(word(&mut ends).await, is, "{}", said.escape_ascii());
            assert_eq!(ends.early, said);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_names_alone_are_looked_at_tls_is_known_and_all_else_is_opaque() {
    let hello = detect::client_hello::tests::named("api.example.com");
    for cut in 0..hello.len() {
        let mut ends = ends(&hello[..cut]);
        ends.client.write_all(&hello[cut..]).await.unwrap();
        assert_eq!(word_of(&mut ends, names()).await, FirstWord::Known, "{cut}");
        assert_eq!(ends.early, hello);
    }
    let mut http = ends(b"");
    http.client.write_all(b"G").await.unwrap();
    assert_eq!(word_of(&mut http, names()).await, FirstWord::Opaque);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_speaks_first_makes_it_opaque_whatever_the_client_began() {
    for begun in [&b""[..], b"GET"] {
        let mut ends = ends(begun);
        ends.server.write_all(b"220 ready\r\n").await.unwrap();
        assert_eq!(word(&mut ends).await, FirstWord::Servers(Bytes::from_static(b"220 ready\r\n")));
        assert_eq!(ends.early, begun);
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_last_call_who_has_said_nothing_goes_and_who_has_begun_may_go_on() {
    let drained = Duration::from_secs(1);
    let register = Register::within(Arc::default(), Arc::default());
    for (silent_for, begun, said, is, after) in [
        (REST, &b""[..], &b""[..], FirstWord::Nobodys, drained + LAST_REQUEST),
        // Its server may be slow to greet.
        (Duration::ZERO, b"", b"", FirstWord::Nobodys, REST),
        (REST / 2, b"", b"", FirstWord::Nobodys, REST / 2),
        (REST, b"", b"GET / HTTP/1.1\r\n", FirstWord::Known, drained + LAST_REQUEST / 2),
        (REST, b"G", b"", FirstWord::Unfinished, REST),
        (REST, b"G", b"ET / HTTP/1.1\r\n", FirstWord::Known, drained + LAST_REQUEST / 2),
    ] {
        let greets = Instant::now() + REST;
        tokio::time::advance(silent_for).await;
        let mut ends = ends(begun);
        let registration = register.enter(0);
        let began = Instant::now();
        let told = async {
            tokio::time::sleep(drained).await;
            registration.control().tell(Signal::Drain);
            tokio::time::sleep(LAST_REQUEST / 2).await;
            ends.client.write_all(said).await.unwrap();
        };
        let word = first_word(
            &mut ends.downstream,
            (&mut ends.early, any()),
            &mut ends.upstream,
            last_call(&registration, greets),
        );
        let (word, ()) = tokio::join!(word, told);
        assert_eq!(word, is, "{} {}", begun.escape_ascii(), said.escape_ascii());
        let (took, accuracy) = (began.elapsed(), Duration::from_millis(5));
        assert!(
            (after..after + accuracy).contains(&took),
            "{} {}: {took:?}",
            begun.escape_ascii(),
            said.escape_ascii()
        );
    }
}

#[test]
fn only_a_server_that_may_be_the_first_to_speak_has_time_to_greet() {
    let began = Instant::now();
    let tcp = Tcp {
        clusters: Vec::new(),
        destinations: Vec::new(),
        server_names: Vec::new(),
        idle_timeout: None,
        detect_timeout: Duration::ZERO,
        server_first: vec![25],
        not_http: NotHttp::Pass,
        filters: None,
    };
    let detect = ListenerProtocol::Detect(tcp.clone());
    assert_eq!([25, 80].map(|port| greets(&detect, port, began) - began), [REST, Duration::ZERO]);
    assert_eq!(greets(&ListenerProtocol::Opaque(tcp), 80, began) - began, REST);
}

#[tokio::test(start_paused = true)]
async fn where_words_pass_those_of_no_usual_method_are_waited_for_no_longer_than_their_time() {
    let time = Duration::from_millis(200);
    let ear = Ear { word: Some(time), ..any() };
    for (begun, is, after) in [
        (&b"JDWP-Handshake"[..], FirstWord::Opaque, time),
        (b"\r\n", FirstWord::Opaque, time),
        (b"GE", FirstWord::Unfinished, REST),
        (b"PRI * HT", FirstWord::Unfinished, REST),
        (b"\x16\x03", FirstWord::Unfinished, REST),
    ] {
        let mut ends = ends(begun);
        let began = Instant::now();
        assert_eq!(word_of(&mut ends, ear).await, is, "{}", begun.escape_ascii());
        assert!((after..after + time).contains(&began.elapsed()), "{}", begun.escape_ascii());
        assert_eq!(ends.early, begun);
    }
    // A word may outgrow a method, and what goes on in time is what it becomes.
    for (first, second, is) in [
        (&b"GE"[..], &b"TX"[..], FirstWord::Opaque),
        (b"RUOK", b" / HTTP/1.1\r\n", FirstWord::Known),
        (b"RUOK", b"\0", FirstWord::Opaque),
    ] {
        let mut ends = ends(first);
        let began = Instant::now();
        let Ends { client, .. } = &mut ends;
        let mut client = std::mem::replace(client, duplex(1).0);
        let said = async {
            tokio::time::sleep(time / 2).await;
            client.write_all(second).await.unwrap();
            std::future::pending::<()>().await;
        };
        let word = tokio::select! {
            word = word_of(&mut ends, ear) => word,
            () = said => unreachable!("it waits"),
        };
        assert_eq!(word, is, "{}", second.escape_ascii());
        assert!(began.elapsed() <= time + time / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_lasts_and_what_was_begun_does_not() {
    let mut quiet = ends(b"");
    assert!(tokio::time::timeout(Duration::from_secs(3600), word(&mut quiet)).await.is_err());
    let mut begun = ends(b"G");
    let began = Instant::now();
    assert_eq!(word(&mut begun).await, FirstWord::Unfinished);
    assert!(began.elapsed() >= REST && began.elapsed() < 2 * REST);
    // The end of either side is the copy's to pass on.
    drop(std::mem::replace(&mut quiet.server, duplex(1).0));
    assert_eq!(word(&mut quiet).await, FirstWord::Opaque);
    let mut left = ends(b"");
    drop(std::mem::replace(&mut left.client, duplex(1).0));
    assert_eq!(word(&mut left).await, FirstWord::Opaque);
}
