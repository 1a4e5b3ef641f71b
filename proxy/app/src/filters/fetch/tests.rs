use super::*;
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

/// What a server does with a connection once it has read the request.
type Answer = Box<dyn FnOnce(TcpStream) + Send>;

fn text(answer: &str) -> Answer {
    let answer = answer.to_owned();
    Box::new(move |mut socket| socket.write_all(answer.as_bytes()).unwrap())
}

fn status(line: &str) -> Answer {
    text(&format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"))
}

/// Serves these answers, one connection each, on a port of this machine; beyond them nobody is there.
fn serve(answers: Vec<Answer>) -> u16 {
    serve_asked(answers).0
}

/// The same, and the requests that came.
fn serve_asked(answers: Vec<Answer>) -> (u16, Receiver<String>) {
    serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
}

fn serve_on(listener: TcpListener, answers: Vec<Answer>) -> (u16, Receiver<String>) {
    let (asked, requests) = channel();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let read = socket.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            assert!(request.starts_with("GET /"), "{request}");
            let host =
                request.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
            assert_eq!(host, Some(format!("127.0.0.1:{port}")), "{request}");
            asked.send(request).ok();
            answer(socket);
        }
    });
    (port, requests)
}

fn url(port: u16) -> WasmUrl {
    WasmUrl {
        url: format!("http://me:secret@127.0.0.1:{port}/a.wasm?token=secret"),
        sha256: [0; 32],
        timeout: Duration::from_secs(20),
        retry_for: Duration::from_secs(20),
    }
}

/// Fetches, and what was noted about every 50 ms meanwhile.
async fn fetched(url: &WasmUrl, patience: Patience) -> (Result<Vec<u8>, Fault>, Vec<String>) {
    let dns = pillion_config::simple("127.0.0.1:0".parse().unwrap(), "127.0.0.1:1").unwrap().dns;
    let terms = Terms { dns, patience, began: Instant::now() };
    let awaited = Awaited::default();
    let fetch = fetch(&Rc::new(RefCell::new(Some(terms))), &awaited);
    let name = Name("edge".into());
    let local = tokio::task::LocalSet::new();
    let mut noted = Vec::new();
    let outcome = local
        .run_until(async {
            let mut fetching = fetch(&name, url);
            loop {
                match timeout(Duration::from_millis(50), &mut fetching).await {
                    Ok(outcome) => return outcome,
                    Err(_) => noted.extend(awaited.lines()),
                }
            }
        })
        .await;
    assert!(awaited.lines().is_empty(), "nobody waits any more");
    (outcome, noted)
}

const WASM: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwasm";

#[tokio::test]
async fn a_failure_is_tried_again_and_a_redirect_followed() {
    let cut = text("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nwasm");
    let port = serve(vec![status("503 Unavailable"), cut, redirect("/b.wasm"), text(WASM)]);
    let (outcome, noted) = fetched(&url(port), Patience::Start).await;
    assert_eq!(outcome, Ok(b"wasm".to_vec()));
    let first = noted.first().unwrap();
    assert!(first.starts_with("filter edge: cannot fetch http://127.0.0.1:"), "{first}");
    assert!(first.contains("/a.wasm: answered 503 Service Unavailable (attempt 1); the start waits for it"), "{first}");
    assert!(noted.iter().all(|line| !line.contains("secret")), "{noted:?}");
    assert!(noted.last().unwrap().contains("broke off"), "{noted:?}");
}

fn redirect(location: &str) -> Answer {
    text(&format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
}

#[tokio::test]
async fn a_redirect_is_relative_to_what_was_asked_for() {
    for (location, path) in [
        ("b.wasm?sig=a", "/of/b.wasm?sig=a"),
        ("../b.wasm", "/b.wasm"),
        ("?sig=a#part", "/of/a.wasm?sig=a"),
        ("/b c.wasm", "/b%20c.wasm"),
    ] {
        let (port, asked) = serve_asked(vec![redirect(location), text(WASM)]);
        let url = WasmUrl { url: format!("http://127.0.0.1:{port}/of/a.wasm"), ..url(port) };
        assert_eq!(fetched(&url, Patience::Start).await.0, Ok(b"wasm".to_vec()), "{location}");
        assert_eq!(asked.iter().nth(1).unwrap().split(' ').nth(1), Some(path), "{location}");
    }
}

#[tokio::test]
async fn where_a_redirect_leads_is_told_without_what_may_be_secret() {
    let other = serve(vec![status("404 Not Found")]);
    // Bound and not listened to: nobody else gets the port meanwhile.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gone = nobody.local_addr().unwrap().port();
    for (location, words) in [
        ("http://u:secret@x y/?sig=secret".to_owned(), "redirected to what is no URL".to_owned()),
        ("ftp://u:secret@host/secret?secret".to_owned(), "redirected to a URL that begins with ftp:".to_owned()),
        ("mailto:secret".to_owned(), "redirected to a URL that begins with mailto:".to_owned()),
        (
            format!("http://u:secret@127.0.0.1:{other}/b.wasm?sig=secret#secret"),
            format!("redirected to http://127.0.0.1:{other}/b.wasm: answered 404"),
        ),
        (
            format!("//u:secret@127.0.0.1:{gone}/b.wasm?sig=secret"),
            format!("redirected to http://127.0.0.1:{gone}/b.wasm: 127.0.0.1:{gone}: "),
        ),
    ] {
        let answers = (0..3).map(|_| redirect(&location)).collect();
        let (outcome, noted) = fetched(&url(serve(answers)), Patience::Reload).await;
        let Err(Fault { words: said, .. }) = outcome else { panic!("{location}: {outcome:?}") };
        assert!(said.contains(&words), "{said}");
        assert!(!said.contains("secret") && noted.iter().all(|line| !line.contains("secret")), "{said} {noted:?}");
    }
}

fn authorization(request: &str) -> Option<String> {
    let mut lines = request.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value.to_owned())
}

#[tokio::test]
async fn user_and_password_go_to_the_server_they_are_written_for() {
    // me:s:ö@, as `printf 'me:s:ö@' | base64` has it.
    let basic = Some("Basic bWU6czrDtkA=".to_owned());
    let own = |port, userinfo: &str| WasmUrl { url: format!("http://{userinfo}127.0.0.1:{port}/a"), ..url(port) };
    let (other, others) = serve_asked(vec![text(WASM)]);
    let elsewhere = redirect(&format!("http://127.0.0.1:{other}/b"));
    let (port, asked) = serve_asked(vec![redirect("/b"), elsewhere]);
    assert_eq!(fetched(&own(port, "me:s%3A%C3%B6%40@"), Patience::Start).await.0, Ok(b"wasm".to_vec()));
    assert_eq!(asked.iter().map(|request| authorization(&request)).collect::<Vec<_>>(), [basic.clone(), basic.clone()]);
    assert_eq!(authorization(&others.recv().unwrap()), None);

    // Named again in full, it is the same server; a redirect with a user of its own says so itself.
    for (userinfo, expected) in [("", basic.clone()), ("o@", Some("Basic bzo=".to_owned()))] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{userinfo}{}/b", listener.local_addr().unwrap());
        let (port, asked) = serve_on(listener, vec![redirect(&at), text(WASM)]);
        assert_eq!(fetched(&own(port, "me:s%3A%C3%B6%40@"), Patience::Start).await.0, Ok(b"wasm".to_vec()));
        assert_eq!(asked.iter().map(|request| authorization(&request)).collect::<Vec<_>>(), [basic.clone(), expected]);
    }

    let (port, asked) = serve_asked(vec![text(WASM)]);
    assert_eq!(fetched(&own(port, ""), Patience::Start).await.0, Ok(b"wasm".to_vec()));
    assert_eq!(authorization(&asked.recv().unwrap()), None);
}

#[tokio::test]
async fn a_server_that_wants_other_credentials_is_said_to() {
    for line in ["401 Unauthorized", "403 Forbidden"] {
        let (outcome, _) = fetched(&url(serve(vec![status(line)])), Patience::Start).await;
        let Err(Fault { words, away: false, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(words.contains(&format!("{line}, it wants other credentials than the URL has")), "{words}");
    }
}

#[tokio::test]
async fn what_a_server_says_for_good_is_asked_once() {
    for line in ["404 Not Found", "403 Forbidden", "501 Not Implemented", "204 No Content"] {
        let (outcome, _) = fetched(&url(serve(vec![status(line), text(WASM)])), Patience::Start).await;
        let Err(Fault { words, away: false, .. }) = outcome else { panic!("{line}: {outcome:?}") };
        assert!(
            words.contains(&line[..3]) && words.contains("/a.wasm: ") && words.contains("not tried again"),
            "{words}"
        );
        assert!(!words.contains("secret"), "{words}");
    }
}

#[tokio::test]
async fn a_reload_is_told_no_after_three_attempts() {
    let port = serve(vec![status("500 Oh"), status("429 Slowly"), status("503 Oh"), text(WASM)]);
    let (outcome, _) = fetched(&url(port), Patience::Reload).await;
    let Err(Fault { words, away: true, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(words.contains("answered 503") && words.contains("(3 attempts in"), "{words}");
}

#[tokio::test]
async fn where_nobody_waits_it_is_tried_until_it_is_there() {
    let port = serve(vec![status("500 a"), status("500 b"), status("500 c"), text(WASM)]);
    let (outcome, noted) =
        fetched(&WasmUrl { retry_for: Duration::from_millis(1), ..url(port) }, Patience::Behind).await;
    assert_eq!(outcome, Ok(b"wasm".to_vec()));
    assert!(noted.last().unwrap().contains("(attempt 3); the configuration that has it is not in force"), "{noted:?}");
}

#[tokio::test]
async fn a_start_waits_no_longer_than_it_is_told() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begun = Instant::now();
    let (outcome, _) = fetched(&WasmUrl { retry_for: Duration::from_secs(2), ..url(gone) }, Patience::Start).await;
    let Err(Fault { words, away: true, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(
        words.contains("refused") && words.contains("attempts in 2 s") && words.contains("fetch_retry_for"),
        "{words}"
    );
    assert!((2..4).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_stalls_has_its_time() {
    let head: Answer = Box::new(|socket| {
        thread::sleep(Duration::from_secs(1));
        drop(socket);
    });
    let body: Answer = Box::new(|mut socket| {
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nw").unwrap();
        thread::sleep(Duration::from_secs(1));
    });
    let begun = Instant::now();
    let short = WasmUrl { timeout: Duration::from_millis(300), ..url(serve(vec![body, head])) };
    let (outcome, noted) = fetched(&short, Patience::Reload).await;
    assert!(matches!(outcome, Err(Fault { away: true, .. })), "{outcome:?}");
    assert!(noted[0].contains("no whole answer within 300ms (fetch_timeout)"), "{noted:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_larger_than_modules_may_be_is_not_read_on() {
    let said = text("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
    let endless: Answer = Box::new(|mut socket| {
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let piece = vec![0; 1 << 20];
        // It is cut off.
        let written = (0..).take_while(|_| socket.write_all(&piece).is_ok()).count();
        assert!(written < 80, "{written} MiB were read");
    });
    for answer in [said, endless] {
        let (outcome, _) = fetched(&url(serve(vec![answer])), Patience::Start).await;
        let Err(Fault { words, away: false, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(words.contains("larger than 64 MiB"), "{words}");
    }
}
