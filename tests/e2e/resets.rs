//! What becomes of a connection that one side breaks off: the other side must not take it for a whole one.

use pillion_tests::{
    client::{Client, End},
    pki::{self, Authority, Leaf},
    proxy::Proxy,
    python,
    tempdir::TempDir,
    tls::Offer,
    wait::{self, SOON},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

const SERVER: &str = "spiffe://example.org/ns/shop/sa/server";
const CLIENT: &str = "spiffe://example.org/ns/shop/sa/client";

/// What the server saw of a connection: how much came, and whether it ended in order.
type Seen = (usize, Result<(), std::io::ErrorKind>);

/// A server that says `greeting` and reads to the end; told to, it resets the connection instead.
struct Server {
    address: SocketAddr,
    reached: Receiver<()>,
    seen: Receiver<Seen>,
    reset: Sender<()>,
}

fn server(greeting: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    let ((reach, reached), (see, seen), (reset, told)) = (channel(), channel(), channel());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            reach.send(()).ok();
            stream.write_all(&vec![b's'; greeting]).expect("its client reads");
            if greeting > 0 {
                told.recv().expect("the test tells when");
                Client::over(stream).reset();
                continue;
            }
            let mut came = Vec::new();
            let end = stream.read_to_end(&mut came);
            see.send((came.len(), end.map(drop).map_err(|error| error.kind()))).ok();
        }
    });
    Server { address, reached, seen, reset }
}

impl Server {
    fn saw(&self) -> Seen {
        self.seen.recv_timeout(SOON).expect("the connection ends")
    }
}

const RESET: Result<(), std::io::ErrorKind> = Err(std::io::ErrorKind::ConnectionReset);
const LOG: &str =
    "access_log: { path: \"{dir}/access.log\", format: { text: \"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\" } }";

/// A proxy in the clear before `server`; or two, with TLS between them, of which the first is given.
fn before(server: SocketAddr, legs: usize) -> (Proxy, Option<(Proxy, [TempDir; 2])>) {
    let tcp = |top: &str, listener: &str, endpoint: SocketAddr, cluster: &str| {
        Proxy::start(&format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\n{LOG}\n{top}\nlisteners: [{{ name: tcp, address: \"{{listen}}\", \
             {listener}tcp: {{ cluster: next }} }}]\nclusters: [{{ name: next, endpoints: [\"{endpoint}\"]{cluster} }}]\n"
        ))
    };
    if legs == 1 {
        return (tcp("", "", server, ""), None);
    }
    let root = Authority::new("root");
    let ((a, client), (b, inbound)) = (pki::identity(&root, CLIENT), pki::identity(&root, SERVER));
    let second = tcp(&inbound, "tls: {}, ", server, "");
    let verified = format!(", tls: {{ mode: mutual, spiffe_ids: [\"{SERVER}\"] }}");
    (tcp(&client, "", second.address, &verified), Some((second, [a, b])))
}

fn await_record(proxy: &Proxy, line: &str) {
    wait::until_true(line, || {
        std::fs::read_to_string(proxy.dir().join("access.log")).is_ok_and(|text| text.trim_end() == line)
    });
}

#[test]
fn a_clients_reset_reaches_the_server_behind_the_bytes_before_it() {
    for legs in [1, 2] {
        let server = server(0);
        let (proxy, _second) = before(server.address, legs);
        for count in [1, 3_000, 200_000] {
            let mut client = proxy.connect();
            client.send("c");
            server.reached.recv_timeout(SOON).expect("the server is reached");
            client.send(vec![b'c'; count - 1]);
            client.reset();
            let (came, end) = server.saw();
            assert_eq!(end, RESET, "{legs} legs, {count} bytes");
            // What no kernel had room for went with the connection that it was on.
            assert!(came == count || (count > 3_000 && came < count), "{legs} legs, {count} bytes: {came}");
        }
        // And an end in order stays one.
        let mut client = proxy.connect();
        client.send("c").half_close();
        assert_eq!(server.saw(), (1, Ok(())), "{legs} legs");
        assert_eq!(client.end_within(SOON), End::Closed, "{legs} legs");
    }
}

#[test]
fn a_servers_reset_reaches_the_client_behind_the_bytes_before_it() {
    for legs in [1, 2] {
        let server = server(5_000);
        let (proxy, _second) = before(server.address, legs);
        let mut client = proxy.connect();
        // A TLS listener speaks when it is spoken to.
        client.send("c");
        assert_eq!(client.bytes(5_000), [b's'; 5_000]);
        server.reset.send(()).expect("it waits");
        assert_eq!(client.end_within(SOON), End::Reset, "{legs} legs");
        await_record(&proxy, "UC upstream_broken");
    }
}

#[test]
fn tls_that_is_cut_without_its_end_is_no_end_behind_it() {
    let (root, server) = (Authority::new("root"), server(0));
    let (_dir, identity) = pki::identity(&root, SERVER);
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{LOG}\n{identity}\nlisteners: [{{ name: tcp, address: \"{{listen}}\", \
         tls: {{}}, tcp: {{ cluster: next }} }}]\nclusters: [{{ name: next, endpoints: [\"{}\"] }}]\n",
        server.address
    ));
    let certificate = root.svid(CLIENT);
    let offer = Offer { certificate: Some(&certificate), ..Offer::default() };
    let mut cut = offer.connect(proxy.address).expect("hands are shaken");
    cut.stream().write_all(b"half of it").expect("it is sent");
    cut.stream().sock.shutdown(Shutdown::Write).expect("a socket can be half closed");
    assert_eq!(server.saw(), (10, RESET), "anybody on the way could have done that");
    await_record(&proxy, "DC downstream_broken");
    let mut whole = offer.connect(proxy.address).expect("hands are shaken");
    whole.stream().write_all(b"all of it").expect("it is sent");
    whole.stream().conn.send_close_notify();
    whole.stream().flush().expect("it is sent");
    assert_eq!(server.saw(), (9, Ok(())));
}

/// More than the kernel's buffers between two sides hold where the reader's is [`NARROW`].
const MUCH: usize = 4_000_000;
const NARROW: usize = 8 * 1024;
/// Longer than a copy takes that nobody holds up.
const A_WHILE: Duration = Duration::from_millis(1_500);

/// What is still to be read of a connection, and how it ends.
fn rest(mut stream: impl Read) -> Seen {
    let mut count = 0;
    let mut buffer = vec![0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (count, Ok(())),
            Ok(more) => count += more,
            Err(error) => return (count, Err(error.kind())),
        }
    }
}

/// A listener whose connections have little room, and a thread that does with each what it is told.
fn narrow_server(serve: impl Fn(std::net::TcpStream) -> Seen + Send + 'static) -> (SocketAddr, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    socket2::SockRef::from(&listener).set_recv_buffer_size(NARROW).expect("a socket takes a buffer size");
    let address = listener.local_addr().expect("a bound socket has an address");
    let (see, seen) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            see.send(serve(stream)).ok();
        }
    });
    (address, seen)
}

/// A server in Python that ends with FIN alone, and a configuration's part that believes it.
fn without_goodbye(count: usize, head: &str) -> Option<(python::Server, TempDir, String)> {
    let (root, dir) = (Authority::new("root"), TempDir::new());
    let issued = root.issue(&Leaf { names: &["localhost"], ..Leaf::default() });
    let (pem, ca) = (dir.path().join("server.pem"), dir.path().join("ca.pem"));
    std::fs::write(&pem, format!("{}{}", issued.chain, issued.key)).expect("a directory of ours is written");
    std::fs::write(&ca, root.pem()).expect("a directory of ours is written");
    let server = python::Server::start("no_goodbye", &["serve", &pem.to_string_lossy(), &count.to_string(), head])?;
    let tls = format!("tls: {{ trusted_ca: {}, server_name: localhost }}", ca.display());
    Some((server, dir, tls))
}

#[test]
fn a_server_that_says_no_close_notify_is_heard_to_its_last_byte_and_then_comes_a_reset() {
    let Some((server, _dir, tls)) = without_goodbye(MUCH, "") else { return };
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\naccess_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \
         \"%RESPONSE_FLAGS% %BYTES_SENT%\" }} }}\nlisteners: [{{ name: tcp, address: \"{{listen}}\", tcp: {{ cluster: next }} \
         }}]\nclusters: [{{ name: next, endpoints: [\"{}\"], {tls} }}]\n",
        server.address
    ));
    let mut client = Client::connect_narrow(proxy.address, NARROW);
    client.send("c");
    thread::sleep(A_WHILE);
    assert_eq!(rest(client.stream()), (MUCH, RESET));
    await_record(&proxy, &format!("UC {MUCH}"));
}

#[test]
fn what_nobody_takes_is_given_up_when_nothing_has_moved_and_not_counted() {
    // The first fits into the kernel's buffers, so that its end is known; of the second the proxy holds a part.
    for (count, flag) in [(300_000, "UC"), (4 * MUCH, "SI")] {
        let Some((server, _dir, tls)) = without_goodbye(count, "") else { return };
        let proxy = Proxy::start(&format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\naccess_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \
             \"%RESPONSE_FLAGS% %BYTES_SENT%\" }} }}\nlisteners: [{{ name: tcp, address: \"{{listen}}\", tcp: {{ cluster: \
             next, idle_timeout: 2s }} }}]\nclusters: [{{ name: next, endpoints: [\"{}\"], {tls} }}]\n",
            server.address
        ));
        let mut client = Client::connect_narrow(proxy.address, NARROW);
        client.send("c");
        let log = proxy.dir().join("access.log");
        let record =
            wait::until("a record", SOON, || std::fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n')));
        let (came, end) = rest(client.stream());
        assert_eq!(end, RESET, "{flag}");
        assert!((1..count).contains(&came), "{flag}: {came}");
        assert_eq!(record.trim_end(), format!("{flag} {came}"));
    }
}

#[test]
fn a_client_that_says_no_close_notify_is_heard_to_its_last_byte_and_then_comes_a_reset() {
    let root = Authority::new("root");
    let (address, seen) = narrow_server(|stream| {
        thread::sleep(A_WHILE);
        rest(stream)
    });
    let (_dir, identity) = pki::identity(&root, SERVER);
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{LOG}\n{identity}\nlisteners: [{{ name: tcp, address: \"{{listen}}\", \
         tls: {{ client_certificates: off }}, tcp: {{ cluster: next }} }}]\nclusters: [{{ name: next, endpoints: [\"{address}\"] }}]\n"
    ));
    let sent = python::run("no_goodbye", &["send", &proxy.address.to_string(), &MUCH.to_string()]);
    let Some(sent) = sent else { return };
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(seen.recv_timeout(SOON).expect("the connection ends"), (MUCH, RESET));
    await_record(&proxy, "DC downstream_broken");
}

#[test]
fn what_a_client_was_acknowledged_before_its_reset_reaches_a_slow_server() {
    for legs in [1, 2] {
        let (go, wait) = channel::<()>();
        let (address, seen) = narrow_server(move |stream| {
            wait.recv().expect("the test tells when");
            rest(stream)
        });
        let (proxy, _second) = before(address, legs);
        let client = proxy.connect();
        let mut acknowledged = 0;
        client.stream().set_nonblocking(true).expect("a socket can be told");
        let (mut written, mut still) = (0, 0);
        while still < 20 {
            match client.stream().write(&[b'c'; 65_536]) {
                Ok(more) => (written, still) = (written + more, 0),
                Err(_) => {
                    thread::sleep(Duration::from_millis(20));
                    still += 1;
                }
            }
            let left = pillion_outq::unacknowledged(client.stream()).expect("a connection tells");
            acknowledged = written - usize::try_from(left).expect("it is little");
        }
        assert!(acknowledged > 500_000, "{legs} legs: {acknowledged}");
        client.reset();
        thread::sleep(A_WHILE);
        go.send(()).expect("it waits");
        let (came, end) = seen.recv_timeout(SOON * 3).expect("the connection ends");
        assert_eq!(end, RESET, "{legs} legs");
        assert_eq!(came, acknowledged, "{legs} legs");
    }
}

#[test]
fn an_answer_that_only_its_end_bounds_is_given_to_its_last_byte_and_then_comes_a_reset() {
    const HEAD: &str = "HTTP/1.0 200 OK||";
    let Some((server, _dir, tls)) = without_goodbye(MUCH, HEAD) else { return };
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{LOG}\nlisteners: [{{ name: web, address: \"{{listen}}\", routes: [{{ \
         match: {{ prefix: / }}, cluster: next }}] }}]\nclusters: [{{ name: next, endpoints: [\"{}\"], {tls} }}]\n",
        server.address
    ));
    let mut client = Client::connect_narrow(proxy.address, NARROW);
    client.send("GET / HTTP/1.0\r\n\r\n");
    thread::sleep(A_WHILE);
    let mut came = Vec::new();
    let end = client.stream().read_to_end(&mut came).map(drop).map_err(|error| error.kind());
    let body = came.iter().rev().take_while(|byte| **byte == b's').count();
    assert_eq!((body, end), (MUCH, RESET));
}
